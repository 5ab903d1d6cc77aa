"""Rank agreement: do two scores order the same rows alike?"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np

from hf_datasel.errors import MissingExtra


# Indented, and not `from evaluate import Metric`: `evaluate.load` scans flush-left imports with a regular expression
# and takes the first Metric class it meets in this module.
try:
    import evaluate
    from scipy import stats
except ImportError as error:
    raise MissingExtra(
        "Rank agreement needs `evaluate` and `scipy`. Install them with: pip install 'hf_datasel[metrics]'"
    ) from error


class RankAgreement(evaluate.Metric):
    """Spearman's and Kendall's rank correlation of two scores over the same rows, from -1 to 1; 1 is the same order.

    Kendall's is tau-b, so ties count neither for nor against. Both are NaN where fewer than two rows are left or one
    score is the same in all of them: no order is no agreement.

    Inputs:
        predictions: N scores, in any unit.
        references: N scores of the same rows, in any unit. A row that either side has not scored (NaN or None) is
            dropped and counted.

    Returns:
        `spearman`, `kendall` and `num_dropped`.

    Source: "ranking consistency" of OST (Theorem 3.1, https://huggingface.co/papers/2605.07488) is what it measures,
        e.g. between a proxy's and a target's utilities; the statistics are SciPy's `spearmanr` and `kendalltau`.

    Example:
        >>> agreement = RankAgreement().compute(predictions=[1, 2, 3, 4], references=[10, 30, 20, float("nan")])
        >>> agreement["spearman"], agreement["num_dropped"]
        (0.5, 1)
    """

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="Spearman's and Kendall's rank correlation of two scores over the same rows.",
            citation="",
            inputs_description="predictions, references: N scores each; NaN or None where a row was not scored.",
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("float64")}
            ),
        )

    def _compute(
        self, predictions: Sequence[float | None], references: Sequence[float | None]
    ) -> dict[str, float | int]:
        one, other = np.asarray(predictions, dtype=np.float64), np.asarray(references, dtype=np.float64)
        scored = ~(np.isnan(one) | np.isnan(other))
        one, other = one[scored], other[scored]
        spearman = kendall = float("nan")
        if len(one) > 1:
            with warnings.catch_warnings():
                # Constant scores: the NaN in the result says it.
                warnings.simplefilter("ignore")
                spearman = float(stats.spearmanr(one, other).statistic)
                kendall = float(stats.kendalltau(one, other).statistic)
        return {"spearman": spearman, "kendall": kendall, "num_dropped": int((~scored).sum())}
