"""The step that Adam would take on one row next, from a checkpoint's optimizer state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hf_datasel.errors import DataselError


if TYPE_CHECKING:
    from hf_datasel.proxy.proxy import LoadedProxy, Parameters

# Which weights `transformers.Trainer` decays; the order of its optimizer state follows from it.
NOT_DECAYED = [r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)"]


@dataclass(frozen=True)
class AdamState:
    """Where Adam (or AdamW) stands after `steps` steps.

    Args:
        mean: m of every parameter, the running mean of its gradients.
        square: v of every parameter, the running mean of their squares.
        steps: t, steps taken. Parameters share it.
        betas: decay of `mean` and of `square`.
        eps: added to the root.
        weight_decay: of every parameter, decoupled.
    """

    mean: Parameters = field(repr=False)
    square: Parameters = field(repr=False)
    steps: int
    betas: tuple[float, float]
    eps: float
    weight_decay: Mapping[str, float]

    def direction(self, gradient: Parameters, parameters: Parameters) -> Parameters:
        """What `theta - learning_rate * direction` takes away, for each parameter, in the gradient's own dtype.

        m' = b1 m + (1 - b1) g, v' = b2 v + (1 - b2) g^2; (m' / (1 - b1^t')) / (sqrt(v' / (1 - b2^t')) + eps) with
        t' = t + 1, plus the weight decay times theta. Without the clipping of gradients that a Trainer may do
        (`max_grad_norm`). Cost: no pass.

        Args:
            gradient: g of one row.
            parameters: theta, for the decay.

        Example:
            >>> zero, one = {"w": torch.zeros(1)}, {"w": torch.tensor([3.0])}
            >>> direction = AdamState(zero, zero, 0, (0.9, 0.999), 1e-8, {"w": 0.0}).direction(one, zero)
            >>> round(float(direction["w"]), 6)
            1.0
        """
        first, second = self.betas
        step = self.steps + 1
        found = {}
        for name, own in gradient.items():
            mean = first * self.mean[name] + (1 - first) * own
            square = second * self.square[name] + (1 - second) * own * own
            root = (square / (1 - second**step)).sqrt() + self.eps
            found[name] = (mean / (1 - first**step) / root).to(own.dtype)
            if self.weight_decay[name]:
                found[name] = found[name] + self.weight_decay[name] * parameters[name]
        return found

    def less_direction(self, gradient: Parameters) -> Parameters:
        """What LESS puts in place of a row's gradient: (b1 m + (1 - b1) g) / sqrt(b2 v + (1 - b2) g^2 + eps).

        Not the step that Adam would take: no bias correction, `eps` inside the root, no weight decay. Cost: no pass.

        Source: https://huggingface.co/papers/2402.04333, 3.1, and its released code, where betas are 0.9 and 0.999 and eps is
            1e-8; here they are the checkpoint's own.

        Example:
            >>> zero, row = {"w": torch.zeros(2)}, {"w": torch.tensor([3.0, 4.0])}
            >>> state = AdamState(zero, zero, 0, (0.9, 0.999), 1e-8, {"w": 0.0})
            >>> [round(float(value), 3) for value in state.less_direction(row)["w"]]
            [3.162, 3.162]
        """
        first, second = self.betas
        found = {}
        for name, own in gradient.items():
            mean = torch.add(first * self.mean[name], own, alpha=1 - first)
            square = torch.addcmul(second * self.square[name], own, own, value=1 - second)
            found[name] = mean.div_(square.add_(self.eps).sqrt_()).to(own.dtype)
        return found


def load_adam_state(path: Path, proxy: LoadedProxy) -> AdamState:
    """Read the `optimizer.pt` that `transformers.Trainer` saved beside the weights of `proxy`.

    The file numbers its entries; the numbers follow the Trainer's own order, and every shape is checked against it.

    Args:
        path: the file (see `Proxy.optimizer`).
        proxy: the model of that checkpoint. All of its `parameters` must have been trained.

    Raises:
        DataselError: another optimizer than Adam, or a state that is not of this model.
    """
    try:
        saved = torch.load(path, map_location=_device(proxy), weights_only=True)
    except Exception as error:  # whatever unpickling a broken file leads to
        raise DataselError(
            f"`{path}` cannot be read as tensors and numbers alone ({type(error).__name__}), expected what Trainer saves: anything "
            f"else in a pickle can be a program. Train the checkpoint again."
        ) from error
    groups = saved["param_groups"]
    if not _is_plain_adam(saved):
        raise DataselError(
            f"`{path}` is not the state of AdamW (or of Adam without weight decay), expected `exp_avg` and `exp_avg_sq`, one "
            f"`betas` and `eps` for all, and neither `amsgrad` nor `maximize`. Train the proxy with optim='adamw_torch', or "
            f"use step='sgd'."
        )
    numbers = [number for group in groups for number in group["params"]]
    decays = [float(group.get("weight_decay", 0.0)) for group in groups for _ in group["params"]]
    names = _optimizer_order(proxy)
    if len(names) != len(numbers):  # a part of the model was trained
        names = [name for name in names if name in proxy.parameters]
    states = saved["state"]
    entries = {
        name: (states[number], decay)
        for name, number, decay in zip(names, numbers, decays, strict=False)
        if number in states
    }
    _check(path, proxy, names, numbers, entries)
    used = {name: entries[name] for name in proxy.parameters}
    return AdamState(
        mean={name: state["exp_avg"] for name, (state, _) in used.items()},
        square={name: state["exp_avg_sq"] for name, (state, _) in used.items()},
        steps=int(next(iter(used.values()))[0]["step"]),
        betas=tuple(groups[0]["betas"]),
        eps=float(groups[0]["eps"]),
        weight_decay={name: decay for name, (_, decay) in used.items()},
    )


def _is_plain_adam(saved: Mapping[str, Any]) -> bool:
    groups, states = saved["param_groups"], list(saved["state"].values())
    if not states or not all({"betas", "eps"} <= group.keys() for group in groups):
        return False
    if not all({"exp_avg", "exp_avg_sq", "step"} <= state.keys() for state in states):
        return False
    variants = any(
        group.get("amsgrad") or group.get("maximize") or (group.get("weight_decay") and not _decoupled(group))
        for group in groups
    )
    settings = {(*group["betas"], group["eps"]) for group in groups}
    return not variants and len(settings) == 1 and len({int(state["step"]) for state in states}) == 1


def _decoupled(group: Mapping[str, Any]) -> bool:
    return bool(group.get("decoupled_weight_decay", True))


def _optimizer_order(proxy: LoadedProxy) -> list[str]:
    """Names of the trained parameters as the Trainer's optimizer numbers them: the decayed first."""
    from transformers.trainer_pt_utils import get_parameter_names

    trained = [name for name, _ in proxy.model.named_parameters()]
    if hasattr(proxy.model, "peft_config"):
        prefix = str(proxy.model.base_model.prefix)  # of the adapter's parameters, such as "lora_"
        trained = [name for name in trained if prefix in name or "modules_to_save" in name]
    decayed = set(get_parameter_names(proxy.model, [torch.nn.LayerNorm], NOT_DECAYED))
    return [name for name in trained if name in decayed] + [name for name in trained if name not in decayed]


def _check(
    path: Path, proxy: LoadedProxy, names: list[str], numbers: list[int], entries: Mapping[str, tuple[Any, float]]
) -> None:
    shapes = {name: parameter.shape for name, parameter in proxy.model.named_parameters()}
    wrong = [name for name, (state, _) in entries.items() if state["exp_avg"].shape != shapes[name]]
    missing = [name for name in proxy.parameters if name not in entries]
    if len(names) != len(numbers) or wrong or missing:
        raise DataselError(
            f"`{path}` holds the state of {len(numbers)} parameters, expected {len(names)} of the same shapes "
            f"(of another shape: {wrong[:3]}; without a state: {missing[:3]}). It belongs to another model, or only a part "
            f"of the model was trained: name that part in `proxy.trainable`."
        )


def _device(proxy: LoadedProxy) -> torch.device:
    return next(iter(proxy.parameters.values())).device
