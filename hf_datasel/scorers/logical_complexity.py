"""Logical complexity: how many steps of reasoning an answer writes down."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from hf_datasel.contracts import Batch, Columns
from hf_datasel.rows.batches import answer_text, rows_of


CALCULATOR_MARK = re.compile(r"<<[^<>\n]*>>")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
# Between two numbers, brackets allowed: a hyphen between words is no minus.
OPERATOR = re.compile(r"(?<=[\d)%]) ?[-+*/\u00d7\u00f7^\u2212] ?(?=[($]*\.?\d)")
COUNTS = ("steps", "calculator_marks")


@dataclass(frozen=True)
class LogicalComplexity:
    """Steps of reasoning in the answer, ln(1 + steps); more means keep. Cost: no forward pass.

    Args:
        count: what is a step. `"steps"`: each sentence or line, and each arithmetic operator between two numbers, as in any
            text. `"calculator_marks"`: each `<<3+4=7>>` of GSM8K; an answer without any is not scored, since it was written
            down in another way.

    Writes:
        `logical_complexity`, `logical_complexity_status` (`"ok"`, `"no_answer"`, `"no_calculator_marks"`),
        `reasoning_steps`, their number.

    Raises:
        ValueError: `count` is unknown.

    Source: an indicator that https://huggingface.co/papers/2605.09665 names and whose definition is not known here: a design
        after its abstract, not a reproduction.

    Example:
        >>> answer = "She has 3 + 4 = <<3+4=7>>7 pens. Two are lost: 7 - 2 = <<7-2=5>>5.\\n#### 5"
        >>> LogicalComplexity()({"prompt": ["How many?"], "completion": [answer]})["reasoning_steps"]
        array([5.])
    """

    count: Literal["steps", "calculator_marks"] = "steps"

    columns = ("logical_complexity", "logical_complexity_status", "reasoning_steps")
    algo_version = 2

    def __post_init__(self) -> None:
        if self.count not in COUNTS:
            raise ValueError(f"`count` is {self.count!r}, expected one of {COUNTS}.")

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers."""
        return {"scorer": "LogicalComplexity", "algo_version": self.algo_version, **asdict(self)}

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Score B rows (or one): see the class."""
        rows, single = rows_of(batch)
        texts = [answer_text(row) for row in rows]
        count = reasoning_steps if self.count == "steps" else calculator_marks
        steps = np.array([count(text) or np.nan for text in texts], dtype=np.float64)
        status = [
            "ok" if found > 0 else "no_calculator_marks" if text.strip() and self.count != "steps" else "no_answer"
            for text, found in zip(texts, steps, strict=True)
        ]
        values: Columns = dict(zip(self.columns, (np.log1p(steps), status, steps), strict=True))
        return {name: column[0] for name, column in values.items()} if single else values


def reasoning_steps(answer: str) -> int:
    """Sentences or lines, and arithmetic operators between numbers; what a calculator mark repeats does not count.

    Example:
        >>> reasoning_steps("A well-known fact.\\nSo 2 * (3 + 4) is 14")
        4
    """
    text = CALCULATOR_MARK.sub("", answer)
    sentences = [part for part in SENTENCE_END.split(text) if any(letter.isalnum() for letter in part)]
    return len(sentences) + len(OPERATOR.findall(text))


def calculator_marks(answer: str) -> int:
    """How many `<<3+4=7>>` an answer has."""
    return len(CALCULATOR_MARK.findall(answer))
