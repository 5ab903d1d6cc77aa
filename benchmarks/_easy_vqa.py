"""Rows of easy-VQA as fine-tuning data: questions with templated rationales, and known faults in a known share of them."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Image, List, Value


FOLDER = Path(__file__).parents[1].parent / "shared/data/easy_vqa"
SHAPES = ("circle", "rectangle", "triangle")
COLORS = ("black", "gray", "teal", "blue", "red", "green", "yellow", "brown")
KINDS = {**dict.fromkeys(SHAPES, "shape"), **dict.fromkeys(COLORS, "color"), "yes": "yes_no", "no": "yes_no"}
REFUSALS = (
    "sorry , the image is not visible .",
    "there is no image to look at , so no answer .",
    "i can not see the image .",
    "the image did not load . please send it again .",
)
FAULTS = ("wrong_answer", "refusal", "truncated")
CLEAN = "clean"
MARK = "answer :"
END = "<end>"  # SFTTrainer's collator of images appends no end of sequence to plain text
FEATURES = Features(
    {name: Value("string") for name in ("prompt", "completion", "question", "answer", "kind", "state")}
    | {"images": List(Image()), "image_id": Value("int32")}
)


def rationale(answer: str) -> str:
    """A short worked answer made from the answer alone: what kind is asked, what is seen, the answer.

    Example:
        >>> rationale("teal")
        'asks for color . image shows teal . answer : teal'
    """
    asked = {"color": "color", "shape": "shape", "yes_no": "yes or no"}[KINDS[answer]]
    return f"asks for {asked} . image shows {answer} . {MARK} {answer}"


def answer_of(text: str) -> str:
    """What a rationale ends on; nothing where it never gets there.

    Example:
        >>> answer_of("it is teal . answer : teal"), answer_of("sorry")
        ('teal', '')
    """
    return " ".join(text.split()).partition(MARK)[2].strip()


def questions(
    part: str, images: range, counts: dict[str, int], seed: int, without: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Questions about the images in a range, so many of each kind, in random order, with the picture's bytes.

    None of them, and none of their answers, says a word of `without`.

    Three quarters of all questions take yes or no, and their wording gives the answer away five times of six: by kind,
    they do not drown the others.
    """
    from pyarrow import parquet

    if not FOLDER.is_dir():
        raise FileNotFoundError(
            f"`FOLDER` is {str(FOLDER)!r}, which is no folder, expected easy-VQA (vzhou842/easy-VQA)."
        )
    with gzip.open(FOLDER / f"{part}_questions.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["image_id"] in images]
    rows = [row for row in rows if not {*row["question"].rstrip("?").split(), row["answer"]} & set(without)]
    table = parquet.read_table(FOLDER / f"{part}_images.parquet").to_pylist()
    pictures = {row["image_id"]: row["image"]["bytes"] for row in table}
    draw = random.Random(seed)  # noqa: S311 (a repeatable draw, not a secret)
    draw.shuffle(rows)
    chosen = [
        row for kind, count in counts.items() for row in [row for row in rows if KINDS[row["answer"]] == kind][:count]
    ]
    draw.shuffle(chosen)
    return [{**row, "bytes": pictures[row["image_id"]]} for row in chosen]


def faulty(row: dict[str, Any], state: str, draw: random.Random) -> str:
    """The completion of a row in a state: `clean`, or one of `FAULTS`."""
    answer = row["answer"]
    if state == "refusal":
        return draw.choice(REFUSALS)
    if state == "wrong_answer":
        others = [other for other, kind in KINDS.items() if kind == KINDS[answer] and other != answer]
        return rationale(draw.choice(others))
    words = rationale(answer).split()
    return " ".join(words if state == CLEAN else words[: draw.randint(3, words.index("answer"))])


def made_rows(found: Sequence[dict[str, Any]], states: Sequence[str], draw: random.Random) -> Dataset:
    """Rows in TRL's format; `state` says what is known about each, which no scorer sees."""
    rows = [
        {
            "images": [{"bytes": row["bytes"], "path": None}],
            "prompt": f"<image> {row['question']}",
            "completion": f" {faulty(row, state, draw)} {END}",
            "question": row["question"],
            "answer": row["answer"],
            "kind": KINDS[row["answer"]],
            "state": state,
            "image_id": row["image_id"],
        }
        for row, state in zip(found, states, strict=True)
    ]
    return Dataset.from_list(rows, features=FEATURES)


def states(count: int, shares: dict[str, float], draw: random.Random) -> list[str]:
    """The state of each of so many rows: exactly these shares of faults, the rest clean, in random order."""
    faults = [fault for fault, share in shares.items() for _ in range(round(share * count))]
    found = faults + [CLEAN] * (count - len(faults))
    draw.shuffle(found)
    return found


def with_bare_answers(rows: Dataset) -> Dataset:
    """The same questions with nothing but the answer to learn."""
    bare = [f" {answer} {END}" for answer in rows["answer"]]
    return rows.remove_columns("completion").add_column("completion", bare)


def clean_rows(part: str, images: range, count: int, seed: int, without: Sequence[str] = ()) -> Dataset:
    """Rows without faults, a third of each kind of question (see `questions`)."""
    rows = questions(part, images, dict.fromkeys(sorted(set(KINDS.values())), count // 3), seed, without)
    return made_rows(rows, [CLEAN] * len(rows), random.Random(seed))  # noqa: S311


def noisy_rows(count: int, shares: dict[str, float], seed: int) -> tuple[Dataset, Dataset]:
    """A pool with these shares of faults, a third of each kind of question; and as many rows again, drawn alike."""
    draw = random.Random(seed)  # noqa: S311
    rows = questions("train", range(2000, 4000), dict.fromkeys(sorted(set(KINDS.values())), -(-2 * count // 3)), seed)
    halves = rows[:count], rows[count : 2 * count]
    pool, other = (made_rows(half, states(len(half), shares, draw), draw) for half in halves)
    return pool, other
