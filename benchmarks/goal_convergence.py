"""After how many training samples is a goal's selection as good as training on the whole pool?

The four goal recipes, three seeds, protocol B: 75 steps of 4 rows for every arm, so 300 samples, once through the pool or five times through a
fifth of it. The target is the small probe, which has to learn words it never saw: figures of a 355-thousand-parameter model on 300 rows,
a check of the machinery and no evidence for a goal.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from hf_datasel.recipe.comparing import Comparison, load_recipes


HERE = Path(__file__).parent
RECIPES = sorted((HERE.parent / "recipes").glob("goal_*.yaml"))
STUDY = HERE.parent / "build" / "goal_convergence"  # kept: a stopped study goes on where it stopped


def run(quick: bool = False) -> dict:
    """Curves, peak matches and overlaps of the study."""
    steps = 10 if quick else 75
    changes = {"train.target.protocol": "B", "train.target.steps": steps, **({"train.seeds": [0]} if quick else {})}
    recipes = load_recipes(RECIPES[:2] if quick else RECIPES, changes)
    study = STUDY.with_name(f"{STUDY.name}_quick") if quick else STUDY
    results = Comparison(recipes, study, points=2 if quick else 10, protocols=("B",)).report()
    if not quick:
        shutil.copy(study / "convergence-B.png", HERE / "results" / "goal_convergence.png")
    left_out = ("trained", "versions", "rules")
    return {name: value for name, value in results.items() if name not in left_out}
