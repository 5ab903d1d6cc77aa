"""`QuestionAnswerPairs`: dialogues as the authors read them, one row for each question and its answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hf_datasel.contracts import Batch
from hf_datasel.errors import BadRow
from hf_datasel.rows.batches import is_single_row
from hf_datasel.scorers.goal.text import normalised, question_and_answer


DIALOGUES = ("messages", "conversations")


@dataclass(frozen=True)
class QuestionAnswerPairs:
    """Splits dialogues into one row for each user turn that an assistant turn follows, without what was said before.

    For `Dataset.map(..., batched=True, remove_columns=pool.column_names)`, before everything else: the authors' reading of
    dialogues. White space is made one, media tags are removed, rows without a pair are left out, and of the images of a
    row that is about no video the first is kept. Without it a dialogue is one row with all its turns and images.

    Args:
        video_id: column that names the video a row is about, where there is one; such rows keep all their images.

    Writes:
        `prompt` and `completion` (texts) in place of `messages` or `conversations`; the other columns as they are, but for
        `row_id`, which gets the number of the turn: `"::t0"`, `"::t1"` and so on.

    Raises:
        BadRow: called without `batched=True`, or the rows have neither dialogues nor a known format of pairs.

    Source: the released builder of https://huggingface.co/papers/2603.12478 (its rows, not its prefixes of ids).

    Example:
        >>> turns = [("user", "Who?"), ("assistant", "He."), ("user", "And\\nwhy?"), ("assistant", "So.")]
        >>> dialogue = [{"role": role, "content": content} for role, content in turns]
        >>> QuestionAnswerPairs()({"row_id": ["a"], "messages": [dialogue]})
        {'row_id': ['a::t0', 'a::t1'], 'prompt': ['Who?', 'And why?'], 'completion': ['He.', 'So.']}
    """

    video_id: str | None = None

    def __call__(self, batch: Batch) -> dict[str, list[Any]]:
        """The pairs of B rows: see the class."""
        if is_single_row(batch):
            raise BadRow("`batch` is a single row, which cannot become several, expected many. Map with batched=True.")
        names = list(batch)
        kept = [name for name in names if name not in (*DIALOGUES, "prompt", "completion", "question", "answer")]
        found: dict[str, list[Any]] = {name: [] for name in (*kept, "prompt", "completion")}
        for values in zip(*(batch[name] for name in names), strict=True):
            row = dict(zip(names, values, strict=True))
            for turn, (question, answer) in enumerate(_pairs(row)):
                own = {**self._media(row), "prompt": question, "completion": answer}
                if row.get("row_id") is not None:
                    own["row_id"] = f"{row['row_id']}::t{turn}"
                for name, its in found.items():
                    its.append(own.get(name, row.get(name)))
        return found

    def _media(self, row: Mapping[str, Any]) -> dict[str, Any]:
        of_video = self.video_id is not None and row.get(self.video_id) not in (None, "")
        return {} if of_video or not row.get("images") else {"images": list(row["images"])[:1]}


def _pairs(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Question and answer of each user turn and the assistant turn behind it, where both have text."""
    turns = next((row[name] for name in DIALOGUES if row.get(name) is not None), None)
    if turns is None and isinstance(row.get("completion"), list):
        turns = [*(row.get("prompt") or ()), *row["completion"]]
    parts = [row] if turns is None else [{"messages": [one, other]} for one, other in pairwise(turns)]
    for part in parts:
        question, answer = (normalised(text) for text in question_and_answer(part))
        if question and answer and (turns is None or _speaks_first(part["messages"])):
            yield question, answer


def _speaks_first(turns: list[Mapping[str, Any]]) -> bool:
    return (turns[0].get("role") or turns[0].get("from")) in ("user", "human")
