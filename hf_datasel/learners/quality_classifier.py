"""`QualityClassifier`: a cheap classifier of the pool's best and worst rows by a dear score."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from hf_datasel.errors import BadRow
from hf_datasel.rows.turns import text_of
from hf_datasel.scorers.pre_select import PreSelect, fast_text, one_line
from hf_datasel.selectors.budgets import check_fraction, rows_in
from hf_datasel.selectors.ordering import best_first


if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class QualityClassifier:
    """Fits a fastText classifier to the best and the worst rows by any score; returns a `PreSelect` that uses it.

    A score that costs forwards (`PredictiveStrength`, a judge) is taken of a sample, and the classifier carries it to all of
    a pool for next to nothing. One thread, so that the same rows give the same model.

    Args:
        column: score of the pool fitted on, higher is better. Rows without one are not used.
        folder: where the model is kept, as `quality_classifier.bin`; made if missing.
        fraction: share of the scored rows that are positives, and again negatives; up to 0.5.
        of: text that is read, as in `PreSelect`.
        epochs, learning_rate, dimensions, word_ngrams: of fastText; its own defaults.
        seed: of fastText.

    Raises:
        BadBudget: `fraction` is out of range, or there is no such column.
        BadRow: fewer than two rows have a score and a text, or the best score no higher than the worst.
        MissingExtra: fastText is not installed.

    Source: https://huggingface.co/papers/2503.00808: about 200 thousand positives and as many negatives of 900 thousand
        documents.

    Example:
        >>> QualityClassifier("predictive_strength", "classifier").fraction
        0.22
    """

    column: str
    folder: str
    fraction: float = 0.22
    of: Literal["row", "prompt", "answer"] = "row"
    epochs: int = 5
    learning_rate: float = 0.1
    dimensions: int = 100
    word_ngrams: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_fraction("fraction", self.fraction)
        if self.fraction > 0.5:
            raise BadRow(f"`fraction` is {self.fraction}, expected at most 0.5: no row is good and bad.")

    def fit(self, pool: Dataset) -> PreSelect:
        """Fit to the N rows of `pool`; return the scorer that classifies rows."""
        best = best_first(pool, self.column)
        scores = np.asarray(pool.select_columns([self.column]).with_format("numpy")[self.column])
        count = rows_in(self.fraction, len(best))
        if len(best) < 2 or not scores[best[count - 1]] > scores[best[-count]]:
            raise BadRow(
                f"`column` is {self.column!r}, whose best {count} of {len(best)} scored rows score no higher than its worst, "
                f"expected a difference to learn. Score more rows, or lower `fraction`."
            )
        lines = [
            f"__label__{label} {text}"
            for label, rows in ((1, best[:count]), (0, best[-count:]))
            for text in (one_line(text_of(row, self.of)) for row in pool.select(rows))
            if text
        ]
        folder = Path(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "quality_classifier.bin"
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
            # Alternating, since fastText reads its examples in the order of the file.
            file.writelines(f"{line}\n" for line in np.array(lines, dtype=object)[_alternating(len(lines))])
            file.flush()
            model = fast_text().train_supervised(
                file.name, lr=self.learning_rate, epoch=self.epochs, dim=self.dimensions, wordNgrams=self.word_ngrams,
                thread=1, seed=self.seed, verbose=0,
            )  # fmt: skip
        model.save_model(str(path))
        return PreSelect(str(path), self.of)


def _alternating(count: int) -> list[int]:
    """0, n/2, 1, n/2 + 1, …: the first half and the second by turns."""
    half = (count + 1) // 2
    return [place for pair in zip(range(half), range(half, 2 * half), strict=True) for place in pair if place < count]
