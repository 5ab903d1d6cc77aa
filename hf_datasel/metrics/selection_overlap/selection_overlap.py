"""Selection overlap: did two rules keep the same rows?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import datasets

from hf_datasel.errors import BadRow, MissingExtra


# Indented, and not `from evaluate import Metric`: `evaluate.load` scans flush-left imports with a regular expression
# and takes the first Metric class it meets in this module.
try:
    import evaluate
except ImportError as error:
    raise MissingExtra("Metrics need `evaluate`. Install it with: pip install 'hf_datasel[metrics]'") from error


class SelectionOverlap(evaluate.Metric):
    """How far two selections keep the same rows: two shares from 0 to 1, 1 for the same rows.

    `overlap` is the rows in common by the size of the smaller selection, so a selection within a larger one has 1.
    `jaccard` is the rows in common by the rows in either. Two random selections of a fraction f of a pool overlap by
    f, not by 0. A ratio whose denominator is 0 (an empty selection) is NaN.

    Inputs:
        predictions: row ids of one selection, each once: `selection.ids`.
        references: row ids of the other, which may be longer or shorter.

    Returns:
        `overlap` and `jaccard`; means over the pairs where several were added with `add(prediction=…, reference=…)`.

    Raises:
        BadRow: a selection names a row twice.

    Example:
        >>> SelectionOverlap().compute(predictions=["a", "b", "c"], references=["b", "c", "d", "e"])
        {'overlap': 0.666..., 'jaccard': 0.4}
    """

    def compute(
        self,
        *,
        predictions: Sequence[str] | None = None,
        references: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Compare two selections by their row ids; without arguments, the pairs added before."""
        # `evaluate` wants columns of equal length, and two selections seldom have that: each becomes one cell.
        # Named, because `evaluate` copies this method and `super()` would lose its class.
        pair = {"predictions": predictions, "references": references}
        cells = {name: None if ids is None else [list(ids)] for name, ids in pair.items()}
        return evaluate.Metric.compute(self, **cells, **kwargs)

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="How far two selections keep the same rows.",
            citation="",
            inputs_description="predictions, references: the row ids of one selection each.",
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("string")),
                    "references": datasets.Sequence(datasets.Value("string")),
                }
            ),
        )

    def _compute(self, predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> dict[str, float]:
        overlaps, jaccards = [], []
        for one, other in zip(predictions, references, strict=True):
            kept, other_kept = _unique(one, "predictions"), _unique(other, "references")
            common = len(kept & other_kept)
            overlaps.append(_ratio(common, min(len(kept), len(other_kept))))
            jaccards.append(_ratio(common, len(kept | other_kept)))
        return {"overlap": _ratio(sum(overlaps), len(overlaps)), "jaccard": _ratio(sum(jaccards), len(jaccards))}


def _unique(ids: Sequence[str], argument: str) -> set[str]:
    unique = set(ids)
    if len(unique) < len(ids):
        twice = Counter(ids).most_common(1)[0][0]
        raise BadRow(f"`{argument}` names row {twice!r} more than once, expected each once. Pass `selection.ids`.")
    return unique


def _ratio(part: float, whole: int) -> float:
    return part / whole if whole else float("nan")
