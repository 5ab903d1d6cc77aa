"""A folder of projected gradients: measured once, read by every method that compares gradients."""

from __future__ import annotations

import json
import logging
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hf_datasel.contracts import Scores
from hf_datasel.errors import DataselError
from hf_datasel.proxy.proxy import Proxy, encode
from hf_datasel.rows import Labels, row_digest
from hf_datasel.rows.journal import spec_key


if TYPE_CHECKING:
    from hf_datasel.proxy.row_gradients import RowGradients

logger = logging.getLogger(__name__)

GradientKind = Literal["sgd", "adam"]
ROWS_A_PART = 64  # what a stopped run may lose
ALGO_VERSION = 1  # raise when the numbers change


@dataclass(frozen=True)
class Features:
    """Projected gradients of B rows, each as a direction and a length. NaN in all numbers of a row that has none.

    Args:
        directions: (B, K) float32, of length 1; zeros for a gradient of zero.
        lengths: (B,) of the projected vectors.
        gradient_norms: (B,) of the gradients before projection (and before Adam), exact.
        losses: (B,) nats.
        status: `"ok"`, `"truncated"`, or why there are no numbers.
    """

    directions: npt.NDArray[np.float32]
    lengths: Scores
    gradient_norms: Scores
    losses: Scores
    status: list[str]

    @classmethod
    def empty(cls, status: Sequence[str], dimensions: int) -> Features:
        """As many rows as there are statuses, all NaN."""
        directions = np.full((len(status), dimensions), np.nan, np.float32)
        lengths, norms, losses = (np.full(len(status), np.nan) for _ in range(3))
        return cls(directions, lengths, norms, losses, list(status))

    @property
    def scored(self) -> npt.NDArray[np.bool_]:
        """(B,) which rows have numbers."""
        return np.isfinite(self.lengths)

    def take(self, places: Sequence[int]) -> Features:
        """The rows at these places."""
        at = list(places)
        status = [self.status[place] for place in at]
        return Features(self.directions[at], self.lengths[at], self.gradient_norms[at], self.losses[at], status)

    def put(self, places: Sequence[int], others: Features) -> None:
        """Overwrite the rows at these places."""
        at = list(places)
        for name in ("directions", "lengths", "gradient_norms", "losses"):
            getattr(self, name)[at] = getattr(others, name)
        for place, status in zip(at, others.status, strict=True):
            self.status[place] = status


@dataclass(frozen=True)
class GradientStore:
    """Where projected gradients lie and how they are projected. A spec: nothing is read or made until rows are asked for.

    A row takes K numbers of `dtype` and 33 bytes: 16.4 kB at the defaults, 4.4 GB for 270 thousand rows and one
    checkpoint. Finished rows are on disk after every 64; a stopped run goes on there. Several processes may share a
    folder. The files are Arrow streams: `datasets.Dataset.from_file` opens them.

    Args:
        folder: for the files; another proxy, projection or way to read rows gets a folder of its own in it.
        dimensions: K. The standard error of an inner product is at most |x| |y| (2 / K)^0.5.
        projection: see `Projection`.
        seed: of the projection.
        dtype: of what is on disk. Directions have length 1, so float16 loses 5e-4 of a number and nothing to overflow.

    Raises:
        ValueError: a value out of range.

    Source: https://huggingface.co/papers/2402.04333 (LESS): K = 8192, float16, seed 0. `"sparse"` is ours: the same
        error as LESS's Rademacher projection, in P additions a row.

    Example:
        >>> GradientStore("runs/gradients").bytes_a_row
        16417
    """

    folder: str
    dimensions: int = 8192
    projection: Literal["sparse", "rademacher", "gaussian"] = "sparse"
    seed: int = 0
    dtype: Literal["float16", "float32"] = "float16"

    def __post_init__(self) -> None:
        if self.dimensions < 1:
            raise ValueError(f"`dimensions` is {self.dimensions}, expected at least 1. The paper has 8192.")
        for name, known in (("projection", ("sparse", "rademacher", "gaussian")), ("dtype", ("float16", "float32"))):
            if getattr(self, name) not in known:
                raise ValueError(f"`{name}` is {getattr(self, name)!r}, expected one of {known}.")

    @property
    def bytes_a_row(self) -> int:
        """On disk, without Arrow's overhead and the status: directions, four numbers, and an id of 16 characters."""
        return self.dimensions * np.dtype(self.dtype).itemsize + 4 + 4 + 8 + 16 + 1

    @property
    def spec(self) -> dict[str, Any]:
        """What decides the numbers: all but the place."""
        return {name: value for name, value in asdict(self).items() if name != "folder"}


class GradientReader:
    """Features of rows under one proxy: those in the store from there, the others measured and put into it.

    Cost: 1 F + 1 B for a row that is not in the store, 0 for one that is. The model loads when a row is missing.

    Args:
        store: where, and how projected.
        proxy: the model, of one checkpoint.
        labels: how rows become tokens and labels.
        gradient: `"sgd"`, a row's gradient; `"adam"`, the direction LESS makes of it (see `AdamState.less_direction`).
        reduction: of a row's loss over its targets.
        rank: of this process among several on the machine.
    """

    def __init__(
        self,
        store: GradientStore,
        proxy: Proxy,
        labels: Labels,
        gradient: GradientKind = "sgd",
        reduction: Literal["mean", "sum"] = "mean",
        rank: int | None = None,
    ) -> None:
        self.store, self.proxy, self.labels, self.rank = store, proxy, labels, rank
        self.gradient, self.reduction = gradient, reduction
        self._index: dict[str, tuple[Path, int]] = {}
        self._tables: dict[Path, Any] = {}

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What decides the numbers of a row."""
        optimizer = self.proxy.optimizer_digest if self.gradient == "adam" else None
        return {
            "algo_version": ALGO_VERSION, "proxy": self.proxy.spec, "labels": vars(self.labels), "optimizer": optimizer,
            "gradient": self.gradient, "reduction": self.reduction, **self.store.spec,
        }  # fmt: skip

    @cached_property
    def folder(self) -> Path:
        """Of this proxy's features; made when first asked for, with `spec.json` that says what they are."""
        folder = Path(self.store.folder) / spec_key(self.spec)
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"spec.json.{uuid.uuid4().hex}"
        partial.write_text(json.dumps(self.spec, indent=1, default=list) + "\n", encoding="utf-8")
        os.replace(partial, folder / "spec.json")
        return folder

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Features:
        """Of B rows. Copies of a row are measured once."""
        digests = [row_digest(row, self.labels.dataset_text_field) for row in rows]
        first = {digest: place for place, digest in reversed(list(enumerate(digests)))}
        self._look()
        missing = [digest for digest in dict.fromkeys(digests) if digest not in self._index]
        for start in range(0, len(missing), ROWS_A_PART):
            part = missing[start : start + ROWS_A_PART]
            self._write(part, self._measure([rows[first[digest]] for digest in part]))
        return self._read(digests)

    def is_stored(self, rows: Sequence[Mapping[str, Any]]) -> npt.NDArray[np.bool_]:
        """(B,) which rows are in the store."""
        self._look()
        return np.array([row_digest(row, self.labels.dataset_text_field) in self._index for row in rows])

    @cached_property
    def _gradients(self) -> RowGradients:
        from hf_datasel.proxy.adam import load_adam_state
        from hf_datasel.proxy.projection import Projection
        from hf_datasel.proxy.row_gradients import RowGradients

        proxy = self.proxy.load(self.labels, self.rank)
        change = load_adam_state(self.proxy.optimizer, proxy).less_direction if self.gradient == "adam" else None
        projection = Projection(self.store.dimensions, self.store.projection, self.store.seed)
        return RowGradients(proxy, projection, self.reduction, change)

    def _measure(self, rows: Sequence[Mapping[str, Any]]) -> Features:
        return self._gradients([encode(row, self._gradients.proxy, self.labels) for row in rows])

    def _look(self) -> None:
        """Take up what this or another process has finished since the last look."""
        for path in sorted(self.folder.glob("part-*.arrow")):
            if path not in self._tables:
                self._tables[path] = table = _opened(path)
                for place, digest in enumerate(table["row"].to_pylist()):
                    self._index.setdefault(digest, (path, place))

    def _write(self, digests: Sequence[str], found: Features) -> None:
        flat = np.nan_to_num(found.directions).astype(self.store.dtype).reshape(-1)
        table = pa.table({
            "row": pa.array(digests, pa.string()),
            "direction": pa.FixedSizeListArray.from_arrays(pa.array(flat), self.store.dimensions),
            "length": pa.array(found.lengths, pa.float32()),
            "gradient_norm": pa.array(found.gradient_norms, pa.float32()),
            "row_loss": pa.array(found.losses, pa.float64()),
            "status": pa.array(found.status, pa.string()),
        })  # fmt: skip
        path = self.folder / f"part-{uuid.uuid4().hex}.arrow"
        partial = path.with_suffix(".partial")
        with pa.OSFile(str(partial), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
        os.replace(partial, path)
        self._look()

    def _read(self, digests: Sequence[str]) -> Features:
        found = Features.empty([""] * len(digests), self.store.dimensions)
        by_part: dict[Path, list[int]] = {}
        for place, digest in enumerate(digests):
            by_part.setdefault(self._index[digest][0], []).append(place)
        for path, places in by_part.items():
            at = [self._index[digests[place]][1] for place in places]
            found.put(places, _features(self._tables[path], at, self.store.dimensions))
        return found


def _opened(path: Path) -> Any:
    try:
        with pa.memory_map(str(path)) as file:
            return pa.ipc.open_stream(file).read_all().combine_chunks()
    except (pa.ArrowInvalid, OSError) as error:
        raise DataselError(
            f"`store` holds {str(path)!r}, which cannot be read ({error}), expected an Arrow stream. Delete this file: its "
            f"rows are measured again, nothing else is lost."
        ) from error


def _features(table: Any, places: Sequence[int], dimensions: int) -> Features:
    flat = table["direction"].chunk(0).flatten().to_numpy(zero_copy_only=False)
    directions = flat.reshape(-1, dimensions)[list(places)].astype(np.float32)
    taken = table.select(["length", "gradient_norm", "row_loss", "status"]).take(pa.array(places, pa.int64()))
    length, norm, loss = (
        taken[name].to_numpy().astype(np.float64) for name in ("length", "gradient_norm", "row_loss")
    )
    found = Features(directions, length, norm, loss, taken["status"].to_pylist())
    found.directions[~found.scored] = np.nan
    return found
