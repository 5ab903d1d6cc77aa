"""A recipe over rows with images: warmed up, scored, trained, answered; and rows that differ in their image alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, Features, Image, Value

from hf_datasel.errors import BadRecipe
from hf_datasel.recipe import Run
from hf_datasel.recipe.loading import check_recipe

from ..vlm import png


def write(path: Path, shades: list[int], chat: bool = False, kind: str = "image") -> None:
    def turn(role: str, text: str) -> Any:
        return [{"role": role, "content": text}] if chat else text

    rows = [
        {"image": {"bytes": png(shade), "path": None}, "prompt": turn("user", "how much?" if chat else "<image> how much?"),
         "completion": turn("assistant", " 3 + 4 = 7")}
        for shade in shades
    ]  # fmt: skip
    features = Dataset.from_list(rows).features
    if kind == "image":
        features = Features({**features, "image": Image()})
    Dataset.from_list(rows, features=features).to_parquet(str(path))


def sections(folder: str) -> dict[str, Any]:
    return {
        "pool": {"path": "pool.parquet", "labels": {"max_length": 100}},
        "score": {
            "proxy": {"model": folder},
            "warm_up": {"steps": 1, "batch_size": 2},
            "scorers": [{"Perplexity": {}}],
        },
        "select": {"TopCount": {"column": "low_perplexity", "count": 2}},
        "train": {
            "target": {"target": folder, "steps": 1, "sft": {"per_device_train_batch_size": 2}},
            "evaluation": {"path": "evaluation.parquet"},
            "seeds": [0],
            "answers": True,
            "max_new_tokens": 3,
        },
    }


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("kind", ["image", "struct"])  # as `datasets` writes it, and as any other program does
def test_a_run_over_images(kind: str, chat: bool, vlm_folder: Any, tmp_path: Path) -> None:
    write(tmp_path / "pool.parquet", [1, 2, 3, 4, 1, 2, 3, 4], chat, kind)
    write(tmp_path / "evaluation.parquet", [7, 8, 9], chat, kind)
    run = Run(check_recipe(sections(vlm_folder("llava")), tmp_path), tmp_path / "run")
    before, after = run.trained()
    assert {"answer_accuracy", "num_unparsed", "heldout_loss"} <= before.keys() & after.keys()
    assert 0 <= after["answer_accuracy"] <= 1
    scored = run.scored()
    assert set(scored["low_perplexity_status"]) == {"ok"}
    seen = scored["seen_in_warmup"][:]
    assert len(set(run.contents)) == 4  # told apart by their image alone
    assert seen[:4] == seen[4:]  # a copy of a row that was seen was seen
    assert 1 <= sum(seen[:4]) <= 2  # of two rows drawn, which may be copies


def test_answers_need_something_to_ask_and_something_to_compare(vlm_folder: Any, tmp_path: Path) -> None:
    write(tmp_path / "pool.parquet", [1, 2])
    rows = [{"text": "<image> 7", "image": {"bytes": png(7), "path": None}}]
    features = Features({"text": Value("string"), "image": Image()})
    Dataset.from_list(rows, features=features).to_parquet(str(tmp_path / "evaluation.parquet"))
    with pytest.raises(BadRecipe, match=r"`train.answers` is true, expected `prompt` and `completion`"):
        check_recipe(sections(vlm_folder("llava")), tmp_path)


@pytest.mark.parametrize("trainable", ["language", "all"])
def test_what_trl_sft_cannot_repeat_is_not_written(
    trainable: str, vlm_folder: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "pool.parquet", [1, 2, 3, 4])
    write(tmp_path / "evaluation.parquet", [7])
    values = sections(vlm_folder("llava"))
    values["train"]["target"]["trainable"] = trainable
    values["train"]["answers"] = False
    values["publish"] = {"repo_id": "tester/pictures", "license": "mit", "sources": ["drawn here"]}
    run = Run(check_recipe(values, tmp_path), tmp_path / "run")
    run.publish(dry_run=True)
    assert (run.folder / "sft.yaml").is_file() is (trainable == "all")
    assert ("No sft.yaml is written" in caplog.text) is (trainable == "language")
