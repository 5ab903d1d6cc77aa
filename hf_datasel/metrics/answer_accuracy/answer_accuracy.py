"""Answer accuracy: do generated solutions end on the right number?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets

from hf_datasel.errors import BadRow, MissingExtra
from hf_datasel.metrics.answers import final_answer


# Indented, and not `from evaluate import Metric`: `evaluate.load` scans flush-left imports with a regular expression
# and takes the first Metric class it meets in this module.
try:
    import evaluate
except ImportError as error:
    raise MissingExtra("Metrics need `evaluate`. Install it with: pip install 'hf_datasel[metrics]'") from error


class AnswerAccuracy(evaluate.Metric):
    """Share of generated solutions whose final number is the reference's, from 0 to 1; higher is better.

    Answers are read by `hf_datasel.metrics.final_answer` on both sides and compared as text.

    Inputs:
        predictions: N generated texts, whole solutions or bare answers. One without a number counts as wrong and in
            `num_unparsed`.
        references: N texts, whole solutions or bare answers.

    Returns:
        `answer_accuracy` (NaN for no rows) and `num_unparsed`.

    Raises:
        BadRow: a reference holds no number, so nothing could be right.

    Source: GSM8K, https://huggingface.co/papers/2110.14168 (final answers are compared, not the steps).

    Example:
        >>> solutions = ["6 * 3 = <<6*3=18>>18\\nA: $18.00", "The answer is 17.", "I give up"]
        >>> AnswerAccuracy().compute(predictions=solutions, references=["#### 18", "#### 18", "#### 18"])
        {'answer_accuracy': 0.333..., 'num_unparsed': 1}
    """

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="Share of generated solutions whose final number is the reference's. Higher is better.",
            citation="",
            inputs_description="predictions: N generated texts. references: N texts with the right answer.",
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
            reference_urls=["https://huggingface.co/papers/2110.14168"],
        )

    def _compute(self, predictions: Sequence[str], references: Sequence[str]) -> dict[str, float | int]:
        answers = [final_answer(text) for text in predictions]
        right = [final_answer(text) for text in references]
        if None in right:
            row = right.index(None)
            raise BadRow(
                f"`references` row {row} is {references[row]!r}, which holds no number, expected one in each. Drop "
                f"such rows from the evaluation set: no prediction could be right."
            )
        num_right = sum(answer == wanted for answer, wanted in zip(answers, right, strict=True))
        return {
            "answer_accuracy": num_right / len(answers) if answers else float("nan"),
            "num_unparsed": answers.count(None),
        }
