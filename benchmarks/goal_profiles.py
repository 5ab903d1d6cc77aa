"""What do the four goals pick of real mixed media, and how far does each descriptor move their picks?

Tables of TabMWP, drawings of NLVR and figures of MATH-Vision with their own questions; six real clips (the folder `video` of the shared data):
parts of three with the questions of the goal recipes, windows of the three others with questions written here. All six descriptors are
measured, by the probe of the goal recipes: a Qwen3-VL of 355 thousand parameters that knows easy-VQA and nothing of these rows, and judges
time by keywords. So the figures show that every part works and what it weighs, not which rows are worth training on.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from datasets import Dataset, Features, Image, List, Value

from hf_datasel import (
    GOAL_PROFILES,
    Coverage,
    CoverageFeatures,
    GoalBins,
    GoalQuality,
    GoalScore,
    Labels,
    OpticalFlow,
    Probe,
    Proxy,
    SelfConsistency,
    score,
    select,
)
from hf_datasel.errors import DataselError
from hf_datasel.reports.plots import plot_composition
from recipes.goal.build import clip_rows, row
from recipes.goal.clips import POOL, Segment


HERE = Path(__file__).parent
DATA = HERE.parents[1] / "shared/data"
PROBE = HERE.parent / "recipes/goal/probe"
SOURCES = ("tabmwp", "nlvr", "mathvision", "video")
TURNS = List({"role": Value("string"), "content": Value("string")})
QUESTIONS = {  # keywords of time in half of them
    "What is shown?": "A short clip of a scene.",
    "Describe the scene in one sentence.": "A few things that move a little in front of a background.",
    "Which colours can be seen in this clip?": "Mostly grey, brown and green.",
    "What happens after the beginning?": "Something moves on.",
    "What comes first, and what comes later?": "First there is little to see, later there is more of it.",
    "Does anything change before the end of the clip?": "Yes, the things that are shown change their place.",
}
WINDOWS = {"beginning": Segment(0.0, 0.4, 8, QUESTIONS), "rest": Segment(0.4, 1.0, 28, QUESTIONS)}
COMPOSED_OF = {
    "source": "source", "modality": "goal_bucket", "temporal tag": "goal_temporal", "duration": "goal_duration",
}  # fmt: skip
ABLATIONS: dict[str, tuple[list[str], tuple[str, ...]]] = {  # columns that are taken away; parts of the score that are
    "flow": (["optical_flow"], ()),
    "video dependence": (["video_dependence", "loss_sighted", "loss_blind"], ()),
    "temporal necessity": (["temporal_necessity"], ()),
    "self-consistency": (["self_consistency"], ()),
    "difficulty": (["answer_difficulty"], ()),
    "coverage": (["coverage"], ()),
    "frame diversity (with flow in the paper)": (["frame_diversity"], ()),
    "all descriptors": ([
        "optical_flow", "video_dependence", "loss_sighted", "loss_blind", "temporal_necessity", "self_consistency",
        "answer_difficulty", "coverage", "frame_diversity",
    ], ()),
    "w/o VDS of the paper's table": ([], ("vds",)),
    "w/o PPL of the paper's table (text prior)": ([], ("ppl",)),
    "w/o SC of the paper's table (quality)": ([], ("sc",)),
}  # fmt: skip


def image_rows(count: int) -> list[dict]:
    """`count` rows of each set of images."""
    from pyarrow import parquet

    def lines(name: str) -> list[dict]:
        return parquet.read_table(DATA / name).slice(0, count).to_pylist()

    tables = [
        row(its["question"], its["solution"], [its["image"]], "tabmwp") for its in lines("tabmwp/dev400.parquet")
    ]
    drawings = [
        row(f"True or false? {its['sentence'].strip()}", its["label"].capitalize(), [its["image"]], "nlvr")
        for its in lines("nlvr/test.parquet")
    ]
    figures = [
        row(its["question"].replace("<image1>", "").strip(), str(its["answer"]), [its["image"]], "mathvision")
        for its in lines("mathvision/dev1000.parquet")
    ]
    return [*tables, *drawings, *figures]


def pool_of(images: int) -> Dataset:
    """Rows of images, and of parts of all six clips."""
    rows = image_rows(images)
    for file in sorted((DATA / "video").glob("*.mp4")):
        rows += clip_rows(file, POOL.get(file.stem, WINDOWS))
    features = {"prompt": TURNS, "completion": TURNS, "images": List(Image())}
    named = {name: Value("string") for name in ("source", "video_id", "license")}
    return Dataset.from_list(rows, features=Features({**features, **named})).remove_columns("license")


def run(quick: bool = False) -> dict:
    """Compositions of the four goals' picks, and the share of picks that stay without each descriptor."""
    missing = [name for name in SOURCES if not (DATA / name).is_dir()]
    if missing:
        raise DataselError(f"`{DATA}` lacks {missing}, expected the shared data. Nothing was measured.")
    count = 24 if quick else 60
    pool = pool_of(20 if quick else 80)
    measured = described(pool)
    whole = score(measured, GoalQuality(), GoalScore())
    kept, figures = {}, {}
    for goal, profile in GOAL_PROFILES.items():
        rule = profile.rule(count=count)
        build = rule.build(whole)
        chosen = whole.select(build.indices)
        kept[goal] = set(chosen["row_id"])
        figures[goal] = {
            **{name: share(chosen, column) for name, column in COMPOSED_OF.items()},
            "temporal share of videos": round(temporal_share(chosen), 3),
            "clips": len(set(chosen["video_id"]) - {None}),
            "constraints": {its["name"]: [its["required"], its["achieved"]] for its in build.report["constraints"]},
            "unmet": build.unmet,
        }
    compositions = {name: share(whole, column) for name, column in COMPOSED_OF.items()}
    if not quick:
        for name in COMPOSED_OF:
            bars = {"pool": compositions[name], **{goal: its[name] for goal, its in figures.items()}}
            plot_composition(bars, HERE / "results" / f"goal_profiles_{name.replace(' ', '_')}.png", name)
    return {
        "rows": len(pool), "count": count, "pool": {**compositions, "temporal share of videos": round(temporal_share(whole), 3)},
        "goals": figures,
        "overlap_of_goals": {f"{a} / {b}": round(len(kept[a] & kept[b]) / count, 3) for a in kept for b in kept if a < b},
        "picks_that_stay_without": {name: without(measured, kept, *its) for name, its in ABLATIONS.items()},
        "mean_by_source": by_source(whole),
        "statuses": {name: dict(Counter(whole[name][:])) for name in ("video_dependence_status", "goal_quality_status")},
    }  # fmt: skip


def described(pool: Dataset) -> Dataset:
    """The pool with bins and all six descriptors."""
    probe = Probe(Proxy(str(PROBE)), Labels(max_length=1024), samples=3, max_new_tokens=8, verdict="keywords")
    with tempfile.TemporaryDirectory() as folder:
        return score(
            pool, GoalBins(source="source", video_id="video_id"), OpticalFlow(), probe, SelfConsistency(),
            CoverageFeatures(), Coverage(clusters=32), journal=Path(folder) / "journal.sqlite",
        )  # fmt: skip


def without(measured: Dataset, kept: dict[str, set], columns: list[str], parts: tuple[str, ...]) -> dict[str, float]:
    """Share of each goal's picks that stay when columns, or parts of the score, are taken away."""
    scored = measured.remove_columns(columns)
    if len(columns) < 9:
        scored = score(scored, GoalQuality())
    scored = score(scored, GoalScore(without=parts))
    return {
        goal: round(
            len(ids & set(select(scored, GOAL_PROFILES[goal].rule(count=len(ids))).kept["row_id"])) / len(ids), 3
        )
        for goal, ids in kept.items()
    }


def share(rows: Dataset, column: str) -> dict[str, float]:
    """Share of each value among the rows."""
    counts = Counter(rows[column][:])
    return {str(value): round(count / len(rows), 3) for value, count in sorted(counts.items())}


def temporal_share(rows: Dataset) -> float:
    """Share of videos whose question is about time."""
    tags = [
        tag for tag, bucket in zip(rows["goal_temporal"], rows["goal_bucket"], strict=True) if bucket == "short_video"
    ]
    return tags.count("Temporal") / max(1, len(tags))


def by_source(scored: Dataset) -> dict[str, dict[str, float]]:
    """Mean of each descriptor over the rows of each source."""
    import numpy as np

    names = (
        "optical_flow", "video_dependence", "temporal_necessity", "self_consistency", "loss_sighted", "coverage",
        "goal_quality",
    )  # fmt: skip
    sources = np.array(scored["source"][:])
    columns = {name: np.array(scored[name][:], dtype=np.float64) for name in names}
    return {
        str(source): {name: round(float(np.nanmean(values[sources == source])), 4) for name, values in columns.items()}
        for source in sorted(set(sources))
    }
