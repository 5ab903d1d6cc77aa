"""The pool of 20 rows whose picks were worked out against the authors' functions."""

from __future__ import annotations

from itertools import count

from datasets import Dataset

from hf_datasel.learners import GoalScore
from hf_datasel.scorers.goal import GoalBins


def known_pool() -> Dataset:
    """Images i1..i8 and j1..j4, videos v1..v8, every word of it there once; scored without descriptors."""
    number = count()

    def words(how_many: int) -> list[str]:
        return [f"w{next(number)}" for _ in range(how_many)]

    rows = []
    for name, lengths, source, answer in (("i", range(14, 6, -1), "I1", 16), ("j", (14, 12, 10, 8), "I2", 15)):
        for place, length in enumerate(lengths, start=1):
            rows.append((f"{name}{place}", words(length), words(answer), source, None))
    for place, (length, video) in enumerate(zip((14, 13, 12, 14, 13, 12, 11, 10), "AAABCDEF", strict=True), start=1):
        question = [*words(length - 1), "after"] if place <= 3 else words(length)
        rows.append((f"v{place}", question, words(16), "V1", video))
    pool = Dataset.from_list(
        [
            {"row_id": row_id, "question": " ".join(question), "answer": " ".join(answer), "source": source,
             "video": video, "frames": 1 if video is None else 32, "images": [f"{row_id}.png"]}
            for row_id, question, answer, source, video in rows
        ]
    )  # fmt: skip
    # The name "video" is a column of media, and an id would be taken for one.
    pool = pool.rename_column("video", "clip")
    pool = pool.map(GoalBins(source="source", video_id="clip", num_frames="frames"), batched=True)
    return pool.map(GoalScore().fit(pool), batched=True)
