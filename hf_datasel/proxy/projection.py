"""Random projections of gradients to K numbers that keep inner products, without a P x K matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch


if TYPE_CHECKING:
    from hf_datasel.proxy.proxy import Parameters

ProjectionKind = Literal["sparse", "rademacher", "gaussian"]
PIECE = 2**16  # coordinates whose places are widened, or whose signs are drawn, at a time
ROWS = 16  # gradients that share one draw of a dense projection


@dataclass(frozen=True)
class Projection:
    """R, K x P, drawn from a seed: the mean of <R x, R y> over seeds is <x, y>.

    The variance over seeds is (|x|^2 |y|^2 + <x, y>^2 - 2 c) / K, where c is the sum of x_i^2 y_i^2 for `"sparse"` and
    `"rademacher"` and 0 for `"gaussian"`: so `"sparse"` loses nothing against `"rademacher"`, and costs P additions
    instead of P x K. What a parameter's coordinates become follows from seed, name and shape alone, in every process.

    Args:
        dimensions: K.
        kind: `"sparse"` adds each coordinate, with a random sign, to one of the K numbers (4 bytes a parameter are kept);
            `"rademacher"` multiplies by signs, `"gaussian"` by normal numbers, over the root of K: both are drawn anew, a
            block at a time, for every `rows_at_once` gradients.
        seed: of R.

    Source: https://huggingface.co/papers/0902.2206 (sparse: feature hashing, with its variance);
        https://huggingface.co/papers/2402.04333, 3.2 (LESS: Rademacher, K = 8192).

    Example:
        >>> row = {"w": torch.tensor([3.0, 4.0])}
        >>> projected = Projection(64)([row])
        >>> projected.shape, sorted(projected.abs().flatten().tolist())[-2:]
        (torch.Size([1, 64]), [3.0, 4.0])
    """

    dimensions: int
    kind: ProjectionKind = "sparse"
    seed: int = 0
    _places: dict[str, torch.Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def rows_at_once(self) -> int:
        """Gradients to hand over together."""
        return 1 if self.kind == "sparse" else ROWS

    def __call__(self, gradients: Sequence[Parameters]) -> torch.Tensor:
        """(B, K) float32 of B gradients, or what stands for them."""
        device = next(iter(gradients[0].values())).device
        if self.kind == "sparse":
            return torch.stack([self._sparse(one, device) for one in gradients])
        found = torch.zeros(len(gradients), self.dimensions, device=device)
        for name, first in gradients[0].items():
            values = torch.stack([one[name].float().flatten() for one in gradients])
            draw = torch.Generator().manual_seed(self._seed(name, first))
            for start in range(0, values.shape[1], PIECE // 16):
                part = values[:, start : start + PIECE // 16]
                found += part @ self._block(part.shape[1], draw).to(device)
        return found.div_(self.dimensions**0.5)

    def _sparse(self, gradient: Parameters, device: torch.device) -> torch.Tensor:
        # The sign is half of the place: what lands in the second K numbers is taken away.
        found = torch.zeros(2 * self.dimensions, device=device)
        for name, values in gradient.items():
            places, flat = self._places_of(name, values), values.float().flatten()
            for start in range(0, len(flat), PIECE):
                part = slice(start, start + PIECE)
                found.scatter_add_(0, places[part].long(), flat[part])
        return found[: self.dimensions] - found[self.dimensions :]

    def _places_of(self, name: str, values: torch.Tensor) -> torch.Tensor:
        key = f"{name}:{tuple(values.shape)}"
        if key not in self._places:
            raw = np.random.PCG64(self._seed(name, values)).random_raw(values.numel() // 2 + 1)
            drawn = np.asarray(raw).astype("<u8").view("<u4")[: values.numel()] % np.uint32(2 * self.dimensions)
            self._places[key] = torch.from_numpy(drawn.astype(np.int32)).to(values.device)
        return self._places[key]

    def _block(self, rows: int, draw: torch.Generator) -> torch.Tensor:
        if self.kind == "gaussian":
            return torch.randn(rows, self.dimensions, generator=draw)
        return torch.randint(0, 2, (rows, self.dimensions), generator=draw, dtype=torch.int8).float() * 2 - 1

    def _seed(self, name: str, values: torch.Tensor) -> int:
        digest = blake2b(f"{self.seed}:{name}:{tuple(values.shape)}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little") >> 1
