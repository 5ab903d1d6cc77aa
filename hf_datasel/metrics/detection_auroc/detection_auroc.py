"""Detection AUROC: does a score put good rows above bad ones?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np

from hf_datasel.errors import MissingExtra


# Indented, and not `from evaluate import Metric`: `evaluate.load` scans flush-left imports with a regular expression
# and takes the first Metric class it meets in this module.
try:
    import evaluate
except ImportError as error:
    raise MissingExtra("Metrics need `evaluate`. Install it with: pip install 'hf_datasel[metrics]'") from error


class DetectionAuroc(evaluate.Metric):
    """Chance that a good row scores above a bad one, ties counting half: 1 is perfect, 0.5 knows nothing, 0 is upside down.

    NaN where the rows left are all good or all bad.

    Inputs:
        predictions: N scores, higher means keep. A row without one (NaN or None) is dropped and counted.
        references: N booleans, True for a good row. A row without one (None) is dropped and counted.

    Returns:
        `detection_auroc` and `num_dropped`.

    Source: the area under the ROC curve is Mann and Whitney's U by the number of pairs. OST claims to find toxic rows
        (https://huggingface.co/papers/2605.07488, section 5.2); with rows known to be wrong this measures it.

    Example:
        >>> DetectionAuroc().compute(predictions=[0.9, 0.4, 0.4, 0.1], references=[True, True, False, False])
        {'detection_auroc': 0.875, 'num_dropped': 0}
    """

    def _info(self) -> Any:
        return evaluate.MetricInfo(
            description="Chance that a good row scores above a bad one, ties counting half.",
            citation="",
            inputs_description="predictions: N scores, NaN where a row was not scored. references: N booleans.",
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("bool")}
            ),
        )

    def _compute(
        self, predictions: Sequence[float | None], references: Sequence[bool | None]
    ) -> dict[str, float | int]:
        scores, labels = np.asarray(predictions, dtype=np.float64), np.asarray(references, dtype=np.float64)
        usable = ~(np.isnan(scores) | np.isnan(labels))
        good = labels[usable] == 1
        num_good, num_bad = int(good.sum()), int((~good).sum())
        auroc = float("nan")
        if num_good and num_bad:
            _, group, sizes = np.unique(scores[usable], return_inverse=True, return_counts=True)
            # Equal scores share the mean of the ranks they cover, which is what makes a tie count half.
            mean_ranks = np.cumsum(sizes) - (sizes - 1) / 2
            wins = mean_ranks[group][good].sum() - num_good * (num_good + 1) / 2
            auroc = float(wins / (num_good * num_bad))
        return {"detection_auroc": auroc, "num_dropped": int((~usable).sum())}
