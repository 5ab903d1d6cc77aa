"""The features in which coverage is measured, and the scorer that measures it against centres of the pool."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Batch, Columns, Scores
from hf_datasel.errors import BadRow
from hf_datasel.rows.pixels import MEDIA_COLUMNS, frames_of
from hf_datasel.rows.video import UnreadableMedia
from hf_datasel.scorers.goal.batches import columns_of, unbatched
from hf_datasel.scorers.goal.bins import TEXT_COLUMNS
from hf_datasel.scorers.goal.text import Fidelity, check_fidelity, question_and_answer, words


WORD_BINS = 16
NUM_FRAMES = 6
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CoverageFeatures:
    """What a row's words and pixels are like, in 22 numbers. For `Dataset.map`; it scores nothing. Cost: no forward pass.

    Args:
        fidelity: `"corrected"` counts the words of any script in 16 bins by their CRC-32. `"authors"` counts words of ASCII
            by Python's hash of text, which is another one in each process unless the environment fixes it.

    Writes:
        `text_features`: 16 counts, of length 1 together (0 where there is no word); `vision_features`: mean and standard
        deviation of red, green and blue over at most 6 frames, 0 to 1, or missing where there is nothing to see.

    Raises:
        ValueError: `fidelity` is unknown, or `"authors"` where PYTHONHASHSEED is not a number.
        BadRow: the rows have no text.
        MissingExtra: what decodes the media is not installed.

    Source: the features of the released merge of https://huggingface.co/papers/2603.12478.

    Example:
        >>> found = CoverageFeatures()({"question": ["a a"], "answer": ["a"], "images": [[np.full((2, 2), 255)]]})
        >>> sum(found["text_features"][0]), found["vision_features"][0]
        (1.0, [1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    """

    fidelity: Fidelity = "corrected"

    columns = ("text_features", "vision_features")
    algo_version = 1

    def __post_init__(self) -> None:
        check_fidelity(self.fidelity)
        if self.fidelity == "authors" and not _hash_seed().isdecimal():
            raise ValueError(
                f"`fidelity` is 'authors', which bins words by Python's hash, and PYTHONHASHSEED is {_hash_seed()!r}, expected "
                f"a number, so that all processes count alike. Start Python with PYTHONHASHSEED=0, or take 'corrected'."
            )

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers."""
        seed = {"hash_seed": _hash_seed()} if self.fidelity == "authors" else {}
        return {"scorer": "CoverageFeatures", "algo_version": self.algo_version, "fidelity": self.fidelity, **seed}

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """The features of B rows (or one): see the class."""
        found, size, single = columns_of(batch, (*TEXT_COLUMNS, *MEDIA_COLUMNS))
        rows = [{name: values[i] for name, values in found.items()} for i in range(size)]
        return unbatched(
            {"text_features": [text_features(row, self.fidelity) for row in rows], "vision_features": [vision_features(row) for row in rows]},
            single,
        )  # fmt: skip


def text_features(row: Mapping[str, Any], fidelity: Fidelity = "corrected") -> list[float]:
    """Counts of the words of question and answer in 16 bins, of length 1 together."""
    found = [word for text in question_and_answer(row) for word in words(text, fidelity)]
    bins = [(hash(word) if fidelity == "authors" else zlib.crc32(word.encode())) % WORD_BINS for word in found]
    counts = np.bincount(np.array(bins, dtype=np.int64), minlength=WORD_BINS)
    return list((counts / max(float(np.linalg.norm(counts)), 1e-12)).tolist())


def _hash_seed() -> str:
    return os.environ.get("PYTHONHASHSEED", "random")


def vision_features(row: Mapping[str, Any]) -> list[float] | None:
    """Mean and standard deviation of red, green and blue over at most 6 frames; None without media that can be read."""
    try:
        frames = frames_of(row, NUM_FRAMES)
    except UnreadableMedia:
        return None
    if not frames:
        return None
    pixels = np.concatenate([frame.reshape(-1, 3) for frame in frames]) / 255.0
    return [*pixels.mean(axis=0).tolist(), *pixels.std(axis=0).tolist()]


@dataclass(frozen=True, eq=False)
class CoveredBy:
    """How close a row is to the nearest centre of the pool that `learners.Coverage` saw: exp(-distance), 0 to 1.

    Cost: no forward pass; D x K multiplications a row.

    Args:
        features: columns of numbers, or of lists of numbers, that together make D features.
        widths: numbers in each column.
        centres: K centres, shape (K, D).
        shift, scale: what is taken off each feature and what it is divided by, shape (D,).

    Writes:
        `coverage`, `coverage_status` (`"ok"`, `"partial"`, or `"no_features"` and the score is NaN), `coverage_centre`
        (number of the nearest centre, -1 for none).

    Raises:
        BadRow: a column is not there, or its lists have another length.

    Example:
        >>> centres = np.array([[0.0, 0.0], [9.0, 9.0]])
        >>> covered = CoveredBy(("embedding",), (2,), centres, np.zeros(2), np.ones(2))
        >>> found = covered({"embedding": [[0.0, 0.0], [9.0, 8.0], None]})
        >>> found["coverage"].round(4), found["coverage_centre"]
        (array([1.    , 0.3679,    nan]), array([ 0,  1, -1]))
    """

    features: tuple[str, ...]
    widths: tuple[int, ...]
    centres: Matrix
    shift: Scores
    scale: Scores

    columns = ("coverage", "coverage_status", "coverage_centre")
    algo_version = 1

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that it reads beside a row's content."""
        return self.features

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers."""
        content = b"".join(np.ascontiguousarray(part).tobytes() for part in (self.centres, self.shift, self.scale))
        digest = blake2b(content, digest_size=16).hexdigest()
        return {
            "scorer": "CoveredBy", "algo_version": self.algo_version, "features": list(self.features), "centres": digest,
        }  # fmt: skip

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Score B rows (or one): see the class."""
        absent = [name for name in self.features if name not in batch]
        if absent:
            raise BadRow(f"`batch` lacks {absent}, expected the features that the centres were found in.")
        first = batch[self.features[0]]
        single = columns_of(batch, ())[2] or (self.widths[0] > 1 and not _holds_rows(first))
        rows = [[batch[name]] if single else batch[name] for name in self.features]
        values = stacked(dict(zip(self.features, rows, strict=True)), self.widths)
        missing = np.isnan(values)
        points = np.where(missing, 0.0, (values - self.shift) / self.scale)
        # The nearest by products, its distance by differences: the former cancel where a row is close to its centre.
        nearest = np.argmin((self.centres**2).sum(axis=1) - 2 * points @ self.centres.T, axis=1)
        coverage = np.exp(-np.linalg.norm(points - self.centres[nearest], axis=1))
        nothing = missing.all(axis=1)
        status = np.where(nothing, "no_features", np.where(missing.any(axis=1), "partial", "ok"))
        columns = {
            "coverage": np.where(nothing, np.nan, coverage),
            "coverage_status": status.tolist(),
            "coverage_centre": np.where(nothing, -1, nearest),
        }
        return unbatched(columns, single)


def stacked(columns: Mapping[str, Sequence[Any]], widths: Sequence[int]) -> Matrix:
    """Columns of numbers and of lists of numbers side by side, shape (N, D); NaN where missing or not finite.

    Raises:
        BadRow: a list has another length than its column's width.

    Example:
        >>> stacked({"a": [1, None], "b": [[2.0, 3.0], None]}, (1, 2))
        array([[ 1.,  2.,  3.], [nan, nan, nan]])
    """
    parts = []
    for (name, values), width in zip(columns.items(), widths, strict=True):
        part = np.full((len(values), width), np.nan)
        for row, value in enumerate(values):
            if value is not None:
                numbers = np.atleast_1d(np.asarray(value, dtype=np.float64))
                if numbers.shape != (width,):
                    raise BadRow(
                        f"`{name}` has {numbers.shape} numbers in row {row}, expected {width}. Drop such rows, or name "
                        f"another column."
                    )
                part[row] = numbers
        parts.append(part)
    matrix: Matrix = np.concatenate(parts, axis=1)
    return np.where(np.isfinite(matrix), matrix, np.nan)


def _holds_rows(values: Any) -> bool:
    return any(value is None or isinstance(value, Sequence | np.ndarray) for value in values)
