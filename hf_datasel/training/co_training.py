"""One run of a model and a weight network together, on a share of a pool."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from hf_datasel.errors import BadRecipe
from hf_datasel.proxy.proxy import Proxy
from hf_datasel.rows.labels import Labels
from hf_datasel.rows.reader import load_reader
from hf_datasel.scorers.coido.features import Features
from hf_datasel.training.sft import DECIDED, decided_problems, no_telemetry, refuse_unknown_fields, sft_trainer
from hf_datasel.training.warm_up import starting_point


if TYPE_CHECKING:
    from datasets import Dataset

    from hf_datasel.training.coupled_loss import Coupling, Per, Variance

logger = logging.getLogger(__name__)

CO_TRAINING_DECIDED = {
    **DECIDED,
    "num_train_epochs": "set `epochs`",
    "max_steps": "set `epochs`",
    "learning_rate": "set `learning_rate`",
    "per_device_train_batch_size": "set `batch_size`",
    "seed": "set `seed` of the learner",
    "model_init_kwargs": "set the fields of `proxy`",
    "trust_remote_code": "set `trust_remote_code` of `proxy`",
    "padding_free": "leave it out: a row's loss must be its own",
}


@dataclass(frozen=True)
class CoTraining:
    """How a model and the network that weighs its rows are trained together.

    Args:
        epochs: passes over the share of the pool.
        batch_size: s, rows a batch on each device. Weights are compared within a batch, so more accumulation is not the same.
        learning_rate: of the model, and of the network where `network_learning_rate` is None.
        network_learning_rate: of the network and the sigmas. At the paper's 2e-5, two epochs of its 133,040 rows (2,079 steps)
            move a sigma by 4 % at most: where there are fewer steps, give 1e-3 or so.
        method: train an adapter on the model (`"lora"`) or all its weights (`"full"`). A proxy with an adapter trains that.
        lora: fields of `peft.LoraConfig`.
        sft: any other fields of `trl.SFTConfig`.

    Raises:
        BadRecipe: a value out of range, or `sft` keys that another field decides; lists them all.

    Source: CoIDO (NeurIPS 2025), B.2 (2 epochs, batches of 8 a device, 2e-5, cosine with 3 % warm-up, no decay); rank 128 and
        alpha 256 from the scripts of its first release.

    Example:
        >>> CoTraining(epochs=1.0).batch_size
        8
    """

    epochs: float = 2.0
    batch_size: int = 8
    learning_rate: float = 2e-5
    network_learning_rate: float | None = None
    method: Literal["lora", "full"] = "lora"
    lora: Mapping[str, Any] = field(default_factory=dict)
    sft: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = []
        for name in ("epochs", "learning_rate"):
            if not getattr(self, name) > 0:
                problems.append(f"`{name}` is {getattr(self, name)}, expected a positive number.")
        if self.network_learning_rate is not None and not self.network_learning_rate > 0:
            problems.append(f"`network_learning_rate` is {self.network_learning_rate}, expected a positive number.")
        if self.batch_size < 2:
            problems.append(f"`batch_size` is {self.batch_size}, expected at least 2: a row alone has all the weight.")
        if self.method not in ("lora", "full"):
            problems.append(f"`method` is {self.method!r}, expected 'lora' or 'full'.")
        if self.lora and self.method != "lora":
            problems.append(f"`lora` is {dict(self.lora)} while `method` is {self.method!r}, expected method='lora'.")
        problems += decided_problems(self.sft, CO_TRAINING_DECIDED)
        if problems:
            raise BadRecipe("\n".join(problems))

    def check(self) -> None:
        """Say what `sft` and `lora` hold that TRL and PEFT do not know. Imports TRL; loads no model.

        Raises:
            BadRecipe: lists every problem at once.
            MissingExtra: TRL is not installed.
        """
        refuse_unknown_fields(self.sft, self.lora)

    def arguments(self, proxy: Proxy, seed: int) -> dict[str, Any]:
        """Of SFTConfig."""
        return {
            "lr_scheduler_type": "cosine",
            "warmup_steps": 0.03,
            "weight_decay": 0.0,
            # Several processes would look for the loss' parameters in the model's own output, and not find them there.
            "ddp_find_unused_parameters": False,
            **self.sft,
            "num_train_epochs": self.epochs,
            "learning_rate": self.learning_rate,
            "per_device_train_batch_size": self.batch_size,
            "seed": seed,
            "trust_remote_code": proxy.trust_remote_code,
            **({} if proxy.adapter else {"model_init_kwargs": {"revision": proxy.revision}}),
        }


@dataclass(frozen=True)
class CoTrained:
    """What a run left behind.

    Args:
        weights: of the network, by name.
        history: what was logged: losses and sigmas by step.
    """

    weights: Mapping[str, npt.NDArray[np.float32]]
    history: tuple[Mapping[str, float], ...]


def co_train(
    proxy: Proxy,
    rows: Dataset,
    labels: Labels,
    features: Features,
    clusters: npt.NDArray[np.int64],
    network: Mapping[str, Any],
    training: CoTraining,
    coupling: Coupling = "uncertainty",
    variance: Variance = "population",
    per: Per = "row",
    seed: int = 0,
) -> CoTrained:
    """Train a copy of the proxy's model on `rows`, and beside it the network that weighs them. Cost: 1 F + 1 B a row a pass.

    Args:
        proxy: to start from; stays as it is.
        rows: n rows with a loss each (see `sft.trainable_rows`).
        labels: how rows become tokens and labels.
        features: of the n rows.
        clusters: (n,) number of each row's cluster, -1 for none.
        network: arguments of `networks.make_network`.
        training: how.
        coupling, variance, per: see `CoupledLoss`.
        seed: of the network's start, row order, dropout and new adapter weights.

    Raises:
        BadRecipe: see `CoTraining.check`.
    """
    training.check()
    import torch

    from hf_datasel.scorers.coido.networks import make_network
    from hf_datasel.training.coupled_loss import CoupledLoss
    from hf_datasel.training.coupled_trainer import ROW, CoupledSFTTrainer

    torch.manual_seed(seed)
    made = make_network(**network)
    loss = CoupledLoss(
        made, torch.from_numpy(features.embedding), torch.from_numpy(features.scores), torch.from_numpy(clusters),
        coupling, variance, per,
    )  # fmt: skip
    trainer_class = partial(CoupledSFTTrainer, coupled=loss, coupled_learning_rate=training.network_learning_rate)
    code = {"revision": proxy.revision, "trust_remote_code": proxy.trust_remote_code}
    reader = load_reader(proxy.model, labels, **code)
    numbered = rows.add_column(ROW, list(range(len(rows))))
    adapter = _adapter(training) if training.method == "lora" and proxy.adapter is None else None
    with tempfile.TemporaryDirectory() as folder, no_telemetry():
        trainer = sft_trainer(
            starting_point(proxy), reader, numbered, labels, Path(folder), training.arguments(proxy, seed), adapter,
            trainer_class,
        )  # fmt: skip
        trainer.train()
        trainer.detach_coupled()
    weights = {name: value.detach().float().cpu().numpy().copy() for name, value in made.state_dict().items()}
    return CoTrained(weights, tuple(entry for entry in trainer.state.log_history if "importance_loss" in entry))


def _adapter(training: CoTraining) -> Any:
    from peft import LoraConfig

    fields = {"r": 128, "lora_alpha": 256, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
    return LoraConfig(**{**fields, **training.lora})
