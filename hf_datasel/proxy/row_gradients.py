"""Projected gradients of rows: one forward and one backward each, kept as K numbers and a length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from hf_datasel.proxy.gradient_store import Features
from hf_datasel.proxy.losses import Reduction, collate, row_values, token_losses
from hf_datasel.proxy.one_step import gradient
from hf_datasel.proxy.projection import Projection
from hf_datasel.rows.labels import TokenRow


if TYPE_CHECKING:
    from hf_datasel.proxy.proxy import LoadedProxy, Parameters

NAN_GRADIENT = "nan_gradient"
Change = Callable[["Parameters"], "Parameters"]  # of a row's gradient: what is projected in its place


@dataclass(frozen=True)
class RowGradients:
    """Measures rows one by one, so that no row's numbers depend on its neighbours. Cost: 1 F + 1 B a row.

    Args:
        proxy: the model.
        projection: to K numbers.
        reduction: of a row's loss over its targets.
        change: Adam's direction, say; `None` projects the gradient itself.
    """

    proxy: LoadedProxy
    projection: Projection
    reduction: Reduction = "mean"
    change: Change | None = None

    def __call__(self, rows: Sequence[TokenRow]) -> Features:
        """Of B rows; those without a loss, or whose gradient is not finite, get NaN and a status."""
        found = Features.empty([row.status for row in rows], self.projection.dimensions)
        places = [place for place, row in enumerate(rows) if row.scorable]
        for start in range(0, len(places), self.projection.rows_at_once):
            group = places[start : start + self.projection.rows_at_once]
            projected = self.projection(list(self._gradients([rows[place] for place in group], group, found)))
            for place, vector in zip(group, projected.double().cpu().numpy(), strict=True):
                self._keep(found, place, vector)
        return found

    def _gradients(self, rows: Sequence[TokenRow], places: Sequence[int], found: Features) -> Iterator[Parameters]:
        for row, place in zip(rows, places, strict=True):
            batch = collate([row], self.proxy)

            def loss(parameters: Parameters, batch: object = batch) -> torch.Tensor:
                return row_values(token_losses(self.proxy, parameters, batch), batch, self.reduction).sum()  # type: ignore[arg-type]

            own, value = gradient(loss, self.proxy.parameters)
            found.losses[place], found.gradient_norms[place] = float(value), _length(own)
            yield own if self.change is None else self.change(own)

    def _keep(self, found: Features, place: int, vector: np.ndarray) -> None:
        length = float(np.linalg.norm(vector))
        if np.isfinite(length) and np.isfinite(found.gradient_norms[place]):
            found.lengths[place] = length
            found.directions[place] = vector / length if length > 0 else 0.0
            return
        found.losses[place] = found.gradient_norms[place] = np.nan
        found.status[place] = NAN_GRADIENT


def _length(gradient: Parameters) -> float:
    """Over all parameters, squares and sums in float64."""
    return float(np.linalg.norm([float(torch.linalg.vector_norm(v, dtype=torch.float64)) for v in gradient.values()]))
