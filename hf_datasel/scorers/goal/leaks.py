"""`LeakGuard`: which rows of a pool ask what an evaluation set asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal, get_args

from hf_datasel.contracts import Batch, Columns
from hf_datasel.scorers.goal.batches import columns_of, unbatched
from hf_datasel.scorers.goal.bins import TEXT_COLUMNS
from hf_datasel.scorers.goal.text import digest, normalised, question_and_answer


Mode = Literal["question", "question_answer", "both"]


@dataclass(frozen=True, repr=False)
class LeakGuard:
    """Marks rows whose question, or question and answer, also stands in an evaluation set. For `Dataset.map`.

    Texts are compared as `normalised` leaves them. Questions that many tasks share ("What is this?") leak by their
    question alone: compare by `"question_answer"` where that costs too many rows.

    Args:
        evaluation: rows of the evaluation sets, in any format that the pool may have.
        mode: `"question"`: the same question leaks; `"question_answer"`: the same question with the same answer;
            `"both"`: either does, so that a changed answer saves no question.

    Writes:
        `leaked`: 1 where the row leaks, else 0; give it to `GoalBuilder(exclude="leaked")`.

    Raises:
        ValueError: `mode` is unknown, or `evaluation` has no rows.
        BadRow: rows have no text.

    Source: the leak guard of the released builder of https://huggingface.co/papers/2603.12478.

    Example:
        >>> guard = LeakGuard([{"prompt": "Who  won?", "completion": "She did."}], mode="question_answer")
        >>> guard({"prompt": ["Who won?", "Who won?"], "completion": ["She did.", "He did."]})["leaked"]
        [1, 0]
    """

    evaluation: Iterable[Mapping[str, Any]]
    mode: Mode = "both"

    columns = ("leaked",)
    algo_version = 1

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise ValueError(f"`mode` is {self.mode!r}, expected one of {get_args(Mode)}.")
        rows: Any = self.evaluation
        if hasattr(rows, "select_columns"):  # a Dataset: reading its rows whole would decode their images
            rows = rows.select_columns(
                [name for name in rows.column_names if name in TEXT_COLUMNS] or rows.column_names
            )
        pairs = [question_and_answer(row) for row in rows]
        if not pairs:
            raise ValueError("`evaluation` has no rows, expected the evaluation sets to guard. Leave the guard out.")
        # Only digests are kept: the fingerprint stays small, and no test set travels with a pickle.
        object.__setattr__(self, "evaluation", tuple(sorted({key for pair in pairs for key in self._keys(*pair)})))
        object.__setattr__(self, "_known", frozenset(self.evaluation))

    def __getstate__(self) -> dict[str, Any]:
        # Without the set: its order depends on the hash seed, and the fingerprint of a map must not.
        return {"evaluation": self.evaluation, "mode": self.mode}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _known=frozenset(state["evaluation"]))

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the column."""
        known = blake2b("".join(map(str, self.evaluation)).encode(), digest_size=16).hexdigest()
        return {"scorer": "LeakGuard", "algo_version": self.algo_version, "mode": self.mode, "evaluation": known}

    def __repr__(self) -> str:
        return f"LeakGuard({len(self.__dict__['_known'])} keys, mode={self.mode!r})"

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Mark B rows (or one): see the class."""
        found, size, single = columns_of(batch, TEXT_COLUMNS)
        known: frozenset[str] = self.__dict__["_known"]
        pairs = (question_and_answer({name: values[i] for name, values in found.items()}) for i in range(size))
        return unbatched({"leaked": [int(not known.isdisjoint(self._keys(*pair))) for pair in pairs]}, single)

    def _keys(self, question: str, answer: str) -> list[str]:
        question, answer = normalised(question), normalised(answer)
        if not question:
            return []
        keys = {"question": digest(question), "question_answer": digest(question, answer)}
        return list(keys.values()) if self.mode == "both" else [keys[self.mode]]
