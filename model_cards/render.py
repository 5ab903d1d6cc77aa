"""Render the cards of a shipped recipe from a finished run of it, and keep what they were rendered from beside them.

    datasel run recipes/quickstart.yaml --output-dir runs/quickstart
    python model_cards/render.py recipes/quickstart.yaml runs/quickstart

`tests/hub/test_model_cards.py` renders every card again from what was kept and compares.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from hf_datasel import Published
from hf_datasel.hub import model, tree
from hf_datasel.hub.card import render
from hf_datasel.recipe import Run, load_recipe, reporting
from hf_datasel.recipe.running import SELECTED


HERE = Path(__file__).parent
NAMESPACE = "your-name"


def main(recipe_path: Path, run_folder: Path) -> None:
    name = recipe_path.stem
    recipe = load_recipe(recipe_path)
    run = Run(recipe, run_folder)
    run.report(train=recipe.train is not None)
    results = json.loads((run_folder / "results.json").read_text())
    shown = {key: results[key] for key in ("arms", "verdict", "seeds", "protocol")} if results["arms"] else None
    selection = tree.without_places(run.selections()[SELECTED])
    section = recipe.publish
    about = {
        "title": section.title, "about": section.about, "limits": section.limits, "license": section.license,
        "sources": reporting.sources(recipe), "results": shown,
    }  # fmt: skip
    repo_id = f"{NAMESPACE}/{name}"
    with tempfile.TemporaryDirectory() as scratch:
        said = tree.write_files(Path(scratch), selection, section.config_name, tuple(about["sources"]), plots=False)
    dataset = tree.card_values(selection, said, repo_id, section.config_name, section.light, True, about)
    write(f"{name}-dataset", "dataset_card.md.jinja", dataset)
    if recipe.train is not None:
        target, seed = recipe.train.target, recipe.train.seeds[0]
        trained_on = Published(repo_id, section.config_name, None, "", said)
        settings = {"method": target.method, "protocol": target.protocol, "seed": seed}
        folder = run_folder / "training" / SELECTED / f"seed-{seed}" / "model"
        values = model.card_values(
            f"{repo_id}-target", trained_on, target.target, settings, shown, section.license, folder
        )
        write(f"{name}-model", "model_card.md.jinja", values)


def write(name: str, template: str, values: dict) -> None:
    """A card, and what it was rendered from."""
    kept = {"template": template, "values": values}
    (HERE / f"{name}.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (HERE / f"{name}.md").write_text(render(template, json.loads(json.dumps(values))), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
