"""One backward pass per row: the definition, which every other engine is checked against."""

from __future__ import annotations

import torch

from hf_datasel.proxy.engines.task import Engine, Measured, Task
from hf_datasel.proxy.figures import plain_figures
from hf_datasel.proxy.losses import TokenBatch, row_values, token_losses
from hf_datasel.proxy.one_step import gradient


def per_row(task: Task) -> Engine:
    """For batches of one row. Cost: 1 F + 1 B; with `token_level` 1 F + 1 B per target, with `also` 1 F more."""
    parameters = task.proxy.parameters
    groups = task.num_directions

    def dots(weights: torch.Tensor, batch: TokenBatch) -> tuple[torch.Tensor, torch.Tensor]:
        seen = []

        def loss(moved: dict[str, torch.Tensor]) -> torch.Tensor:
            seen.append(token_losses(task.proxy, moved, batch))
            return (seen[0].double() * weights).sum()

        own, _ = gradient(loss, parameters)
        found = sum(torch.mv(task.directions[n].double().reshape(groups, -1), own[n].double().flatten()) for n in own)
        return torch.as_tensor(found), seen[0].detach()

    def measure(batch: TokenBatch) -> Measured:
        whole = torch.ones_like(batch.targets, dtype=torch.float64)
        found, losses = dots(whole / row_values(whole, batch, "sum") if task.reduction == "mean" else whole, batch)
        figures = plain_figures(task.proxy, batch, task.also) if task.also else {"loss": losses[batch.is_target]}
        slopes = None
        if task.token_level:
            each = torch.eye(whole.shape[1], dtype=torch.float64, device=whole.device)
            slopes = torch.stack([dots(one.unsqueeze(0), batch)[0] for one in each])
        return Measured(found.unsqueeze(0), figures, slopes)

    return measure
