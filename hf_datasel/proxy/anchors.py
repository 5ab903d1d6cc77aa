"""The anchors under a proxy: their loss, its gradient and its curvature, per group, in fixed batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from hf_datasel.errors import BadRow
from hf_datasel.proxy.batch_size import length_buckets
from hf_datasel.proxy.losses import TokenBatch, collate, row_values, token_losses
from hf_datasel.proxy.one_step import Loss, curvature, gradient
from hf_datasel.proxy.proxy import encode
from hf_datasel.rows.labels import Labels, TokenRow


if TYPE_CHECKING:
    from hf_datasel.proxy.proxy import LoadedProxy, Parameters


@dataclass(frozen=True)
class AnchorSet:
    """A anchors in G groups, batched once, so that every row is measured by the same yardstick to the last bit.

    Args:
        proxy: the loaded model.
        groups: G names, sorted; `("",)` when anchors have no groups.
        batches: of each group.
        sizes: A_g, anchors of each group.
        rows: the A anchors.
    """

    proxy: LoadedProxy
    groups: tuple[str, ...]
    batches: tuple[tuple[TokenBatch, ...], ...] = field(repr=False)
    sizes: tuple[int, ...]
    rows: tuple[TokenRow, ...] = field(repr=False)

    def losses(self, parameters: Parameters) -> torch.Tensor:
        """(G,) float64: mean over a group's anchors of their mean loss per target token, in nats. Cost: A F."""
        totals = []
        for batches in self.batches:
            parts = [
                row_values(token_losses(self.proxy, parameters, batch, precise=True), batch, "mean").sum()
                for batch in batches
            ]
            totals.append(torch.stack(parts).sum())
        return torch.stack(totals) / torch.tensor(self.sizes, device=totals[0].device)

    def gradients(self) -> Parameters:
        """g_V of each group, (G, ...) for every parameter, in float32 or wider. Cost: A (F + B) in all, whatever G."""
        total: Parameters = {}
        for name, parameter in self.proxy.parameters.items():
            wide = torch.promote_types(parameter.dtype, torch.float32)
            total[name] = torch.zeros((len(self.groups), *parameter.shape), dtype=wide, device=parameter.device)
        for group in range(len(self.groups)):
            for loss in self._batch_losses(group):
                part, _ = gradient(loss, self.proxy.parameters)
                for name, value in part.items():
                    total[name][group] += value
        return total

    def curvatures(self, direction: Parameters) -> list[float]:
        """direction' H direction for each group's loss. Cost: about 3 A (F + B)."""
        parameters = self.proxy.parameters
        return [
            sum(curvature(loss, parameters, direction) for loss in self._batch_losses(group))
            for group in range(len(self.groups))
        ]

    def _batch_losses(self, group: int) -> Iterator[Loss]:
        """Functions of the parameters that add up to the group's mean loss."""
        for batch in self.batches[group]:

            def loss(parameters: Parameters, batch: TokenBatch = batch) -> torch.Tensor:
                values = row_values(token_losses(self.proxy, parameters, batch), batch, "mean")
                return values.sum() / self.sizes[group]

            yield loss


def anchor_set(
    proxy: LoadedProxy, rows: Sequence[Mapping[str, Any]], labels: Labels, group: str | None, max_tokens: int
) -> AnchorSet:
    """Tokenise and batch the anchors.

    Args:
        proxy: the loaded model.
        rows: A rows.
        labels: the options shared with training.
        group: the key that names a row's group.
        max_tokens: padded tokens a batch.

    Raises:
        BadRow: an anchor cannot be scored; names every such anchor and why.
    """
    encoded = [encode(row, proxy, labels) for row in rows]
    bad = [f"anchor {i}: {row.status}" for i, row in enumerate(encoded) if not row.scorable]
    if bad or not encoded:
        raise BadRow(
            f"`anchors` has {len(bad)} of {len(encoded)} rows without a loss ({'; '.join(bad[:5]) or 'no rows at all'}),"
            f" expected a loss from every one. Remove them, or raise `max_length` (now {labels.max_length})."
        )
    names = [str(row[group]) if group else "" for row in rows]
    groups = tuple(sorted(set(names)))
    batches = []
    for name in groups:
        members = [row for row, its in zip(encoded, names, strict=True) if its == name]
        buckets = length_buckets([len(row.input_ids) for row in members], max_tokens)
        batches.append(tuple(collate([members[i] for i in bucket], proxy) for bucket in buckets))
    return AnchorSet(proxy, groups, tuple(batches), tuple(names.count(name) for name in groups), tuple(encoded))
