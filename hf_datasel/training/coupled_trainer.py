"""Training a model and a `CoupledLoss` together, in one backward pass a batch, under any Trainer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from trl.trainer.sft_trainer import SFTTrainer

from hf_datasel.errors import DataselError
from hf_datasel.rows.labels import IGNORED
from hf_datasel.training.coupled_loss import CoupledLoss, Terms


if TYPE_CHECKING:
    from torch.nn import Module

ROW = "coupled_row"  # column with each row's place in the features
PART = "coupled_loss"  # name of the loss as a part of the model


class Coupled:
    """Makes a Trainer minimise a `CoupledLoss` of its rows' losses: `class Mine(Coupled, Trainer)`.

    The loss becomes a part of the model, so that everything a Trainer does to parameters (devices, processes, accumulation,
    clipping, schedules) is done to it too. Rows carry their place in the features in the column `ROW`. Evaluation is left as
    it is. Logs `importance_loss`, `diversity_loss`, `log_sigma_importance`, `log_sigma_diversity`.

    Args:
        coupled: what is minimised.
        coupled_learning_rate: of the network and the sigmas; None for the Trainer's own.
    """

    coupled: CoupledLoss

    def __init__(
        self, *args: Any, coupled: CoupledLoss, coupled_learning_rate: float | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        trainer: Any = self
        self.coupled, self.coupled_learning_rate = coupled.to(trainer.args.device), coupled_learning_rate
        self.coupled_terms: dict[str, list[float]] = defaultdict(list)
        trainer.model.add_module(PART, self.coupled)
        trainer.data_collator = _WithRows(trainer.data_collator)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """The Trainer's own, with a learning rate for the loss' parameters where one is given."""
        optimizer = super().create_optimizer(*args, **kwargs)  # type: ignore[misc]
        if self.coupled_learning_rate is None:
            return optimizer
        own = set(self.coupled.parameters())
        for group in list(optimizer.param_groups):
            mine = [parameter for parameter in group["params"] if parameter in own]
            if mine:
                group["params"] = [parameter for parameter in group["params"] if parameter not in own]
                settings = {name: value for name, value in group.items() if name != "params"}
                optimizer.add_param_group({**settings, "params": mine, "lr": self.coupled_learning_rate})
        return optimizer

    def compute_loss(
        self, model: Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The coupled loss in training; the Trainer's own in evaluation."""
        rows, labels = inputs.pop(ROW, None), inputs["labels"]
        options = {"return_outputs": return_outputs, "num_items_in_batch": num_items_in_batch}
        if rows is None or not model.training:
            return super().compute_loss(model, inputs, **options)  # type: ignore[misc]
        seen: list[Any] = []
        # The Trainer runs the model in its own way, and keeps its own figures; the tokens' losses are read as they pass.
        handle = model.register_forward_hook(lambda module, given, output: seen.append(output))
        try:
            found = super().compute_loss(model, inputs, **options)  # type: ignore[misc]
        finally:
            handle.remove()
        terms = self.coupled(rows, *row_losses(seen[0], labels))
        if not torch.isfinite(terms.total):
            total, importance, diversity = (
                float(t.detach()) for t in (terms.total, terms.importance, terms.diversity)
            )
            raise DataselError(
                f"the coupled loss is {total} (importance {importance:.4g}, diversity {diversity:.4g}), expected a number. "
                f"Lower the learning rates."
            )
        self._note(terms)
        # Where the Trainer counts the tokens of a step, it leaves it to the loss to divide by the batches of that step.
        steps = 1 if num_items_in_batch is None else getattr(self, "current_gradient_accumulation_steps", 1)
        return (terms.total / steps, found[1]) if return_outputs else terms.total / steps

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log what the Trainer logs, and the means of the losses and sigmas since the last time."""
        if "loss" in logs:
            logs |= {name: sum(values) / len(values) for name, values in self.coupled_terms.items()}
            self.coupled_terms.clear()
        super().log(logs, *args, **kwargs)  # type: ignore[misc]

    def detach_coupled(self) -> None:
        """Take the loss out of the model, so that the model saves and loads as it did before."""
        trainer: Any = self
        delattr(trainer.model, PART)

    def _note(self, terms: Terms) -> None:
        for name, value in (
            ("importance_loss", terms.importance),
            ("diversity_loss", terms.diversity),
            ("log_sigma_importance", terms.log_sigmas[0]),
            ("log_sigma_diversity", terms.log_sigmas[1]),
        ):
            self.coupled_terms[name].append(float(value.detach()))

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()  # type: ignore[misc]
        trainer: Any = self
        if ROW not in trainer._signature_columns:
            trainer._signature_columns = [*trainer._signature_columns, ROW]


class CoupledSFTTrainer(Coupled, SFTTrainer):
    """TRL's SFTTrainer, minimising a coupled loss."""


class _WithRows:
    """A collator that passes the rows' places on beside what another one makes of the rest."""

    def __init__(self, collator: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> None:
        self.collator = collator

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """A batch, with `ROW` where the rows have it."""
        plain = [{name: value for name, value in row.items() if name != ROW} for row in examples]
        batch = self.collator(plain)
        if ROW in examples[0]:
            batch[ROW] = torch.tensor([row[ROW] for row in examples])
        return batch


def row_losses(output: Any, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean loss of each of B rows over its target tokens, in nats, and how many targets it has: (B,) each.

    Args:
        output: of the model: with the tokens' log-probabilities, where TRL computes no logits, or with logits.
        labels: (B, T), `IGNORED` where a token carries no loss.
    """
    targets = labels[:, 1:]
    there = targets != IGNORED
    found = getattr(output, "log_probs", None)
    if found is None:
        logits = output.logits[:, :-1].float()
        found = -torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none"
        ).view(targets.shape)
    counts = there.sum(1)
    sums = torch.where(there, -found.float(), 0.0).sum(1)
    return sums / counts.clamp(min=1), counts
