"""Do the four goals pick different subsets of real mixed media, and what does each part of the score change?

Pictures of easy-VQA with their questions; eight frames of each of six real clips (the folder `video` of the shared data) with questions
written here. The probe is a tiny Qwen3-VL with random weights: the figures show that every part works and what composition each goal
gives, and nothing about which rows are worth training on.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from datasets import Dataset, Features, Image, List, Value

from hf_datasel import (
    GOAL_PROFILES,
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
from hf_datasel.rows.frames import sample_frames
from tests.vlm import EASY_VQA, PLACEHOLDERS, real_rows, save


VIDEO = EASY_VQA.parent / "video"
IMAGE = PLACEHOLDERS["qwen3_vl"]
FRAMES = 8
QUESTIONS = {  # keywords of time in half of them
    "What is shown?": "A short clip of a scene.",
    "Describe the scene in one sentence.": "A few things that move a little in front of a background.",
    "Which colours can be seen in this clip?": "Mostly grey, brown and green.",
    "Is the camera still?": "Yes, mostly.",
    "What happens after the beginning?": "Something moves on.",
    "What comes first, and what comes later?": "First there is little to see, later there is more of it.",
    "Does anything change before the end of the clip?": "Yes, the things that are shown change their place.",
    "Who enters while the camera watches the scene?": "Nobody can be named.",
}


def pool_of(images: int) -> Dataset:
    """Rows of pictures, and of clips with each question."""
    rows = [
        {"prompt": f"{IMAGE} {r['question']}", "completion": f" {r['answer']}", "source": "easy_vqa", "video_id": None,
         "images": [{"bytes": r["image"], "path": None}]}
        for r in real_rows(images)
    ]  # fmt: skip
    for clip in sorted(VIDEO.glob("*.mp4")):
        frames = sample_frames(str(clip), FRAMES, max_pixels=64 * 64)
        rows += [
            {"prompt": f"{IMAGE * len(frames)} {asked}", "completion": f" {answer}", "source": clip.stem,
             "video_id": clip.stem, "images": frames}
            for asked, answer in QUESTIONS.items()
        ]  # fmt: skip
    names = ("prompt", "completion", "source", "video_id")
    return Dataset.from_list(
        rows, features=Features({**{name: Value("string") for name in names}, "images": List(Image())})
    )


def share(kept: Dataset, column: str) -> dict[str, float]:
    """Share of each value among the kept rows."""
    counts = Counter(kept[column][:])
    return {str(value): round(count / len(kept), 3) for value, count in sorted(counts.items())}


def run(quick: bool = False) -> dict:
    """Composition of each goal's subset and what ablations leave of it, in pools of two shares of videos."""
    if not VIDEO.is_dir() or not EASY_VQA.is_dir():
        raise DataselError(f"`{VIDEO}` or `{EASY_VQA}` is missing, expected the shared data with its clips.")
    return {
        f"{images} images": compared(pool_of(images), 24 if quick else 40)
        for images in ((48,) if quick else (72, 144))
    }


def compared(pool: Dataset, count: int) -> dict:
    """Composition of each goal's subset, and how much of the full score's subset stays without each part."""
    with tempfile.TemporaryDirectory() as folder:
        proxy = Proxy(save("qwen3_vl", Path(folder) / "model"))
        probe = Probe(proxy, Labels(max_length=None), samples=3, max_new_tokens=8, verdict="keywords")
        measured = score(
            pool, GoalBins(source="source", video_id="video_id"), OpticalFlow(), probe, SelfConsistency(),
            journal=Path(folder) / "journal.sqlite",
        )  # fmt: skip
    whole = score(measured, GoalQuality(), GoalScore())
    names = ("goal_bucket", "goal_temporal", "goal_answer_length")
    figures: dict = {
        "rows": len(pool),
        "count": count,
        "pool": {name: share(whole, name) for name in names},
        "statuses": dict(Counter(whole["video_dependence_status"][:])),
    }
    kept = {}
    for goal, profile in GOAL_PROFILES.items():
        kept[goal] = set(select(whole, profile.rule(count=count)).kept["row_id"])
        chosen = whole.filter(lambda row_id, ids=kept[goal]: row_id in ids, input_columns="row_id")
        figures[goal] = {
            **{name: share(chosen, name) for name in names},
            "clips": len(set(chosen["video_id"]) - {None}),
        }
    figures["overlap_of_goals"] = {f"{a} / {b}": len(kept[a] & kept[b]) / count for a in kept for b in kept if a < b}
    # Nothing in the ablated columns: the score takes them for not measured.
    dropped = {
        "without video dependence": (["video_dependence", "loss_sighted", "loss_blind"], ()),
        "without flow": (["optical_flow"], ()),
        "without frame diversity": (["frame_diversity"], ()),
        "without temporal necessity": (["temporal_necessity"], ()),
        "without self-consistency": (["self_consistency"], ()),
        "without difficulty": (["answer_difficulty"], ()),
        "without text prior": ([], ("ppl",)),
        "without quality": ([], ("sc",)),
    }
    for name, (columns, without) in dropped.items():
        scored = score(measured.remove_columns(columns), GoalQuality(), GoalScore(without=without))
        figures[name] = {
            goal: round(len(kept[goal] & set(select(scored, profile.rule(count=count)).kept["row_id"])) / count, 3)
            for goal, profile in GOAL_PROFILES.items()
        }
    return figures
