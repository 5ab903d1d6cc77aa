"""Ghost products: one forward and one backward for a whole batch, and <g_V, g_i> of every row for G directions at once.

The backward pass stops at each layer's output. What the layer's weights would add to row i's gradient is known from
its input x and the gradient d at its output; for a linear layer d_i' x_i, made layer by layer and never kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from hf_datasel.proxy.engines.ghost_rules import Spans, contribution, image_spans, tells_rows_apart
from hf_datasel.proxy.engines.task import Engine, Measured, Task
from hf_datasel.proxy.figures import read_figures
from hf_datasel.proxy.label_forward import (
    NotApplicable,
    attention,
    body_of,
    chunks,
    fast_attention,
    padding_as_in_training,
    target_logits,
    target_states,
    text_body,
)
from hf_datasel.proxy.losses import TokenBatch
from hf_datasel.proxy.vision import encoder_name, is_of_images


if TYPE_CHECKING:
    from hf_datasel.proxy.proxy import Parameters


@dataclass(frozen=True)
class _Owner:
    """A module with trainable parameters of its own, its part of the directions, and whether it reads images."""

    module: torch.nn.Module
    directions: Parameters = field(repr=False)
    sees: bool


@dataclass
class _Tape:
    """Where contributions add up while a backward pass runs.

    Args:
        dots: (B, G).
        spans: where each row's tokens are among the flattened leading dimensions, by their number.
        pieces: images or patches of each row.
        called: ids of the modules met so far.
    """

    dots: torch.Tensor
    spans: dict[int, Spans]
    pieces: tuple[int, ...] = ()
    called: set[int] = field(default_factory=set)

    def add(self, owner: _Owner, x: torch.Tensor, d: torch.Tensor) -> None:
        module, own = owner.module, owner.directions
        spans = image_spans(module, d, self.pieces) if owner.sees else tells_rows_apart(module, d, self.spans)
        if spans is None:
            raise NotApplicable(f"{type(module).__name__} gives {tuple(d.shape)}, where rows cannot be told apart")
        with torch.no_grad():
            self.dots += contribution(module, own, x, d, spans)


def ghost(task: Task) -> Engine:
    """For linear layers (LoRA's too), embeddings, norms and convolutions. Cost: 2.9 F, and 0.05 F per further direction.

    Raises:
        NotApplicable: another kind of module holds parameters of its own (experts, state-space mixers), or shares them
            in a way that hides which row a token belongs to. Never silently wrong: `choice` checks rows of every pool.
    """
    if task.token_level:
        raise NotApplicable("ghost products are of whole rows, not of targets")
    owners = _owners(task)

    def measure(batch: TokenBatch) -> Measured:
        rows = batch.input_ids.shape[0]
        dots = torch.zeros(rows, task.num_directions, dtype=torch.float64, device=batch.targets.device)
        tape = _Tape(dots, {}, batch.pieces)
        with ExitStack() as stack:
            stack.enter_context(torch.enable_grad())
            # Recorded before the padding's gradient is cut off, so that what is recorded arrives without it.
            stack.enter_context(_recording(owners, tape))
            stack.enter_context(padding_as_in_training(task.proxy))
            stack.enter_context(attention(task.proxy, fast_attention(task.proxy)))
            figures = _forward_and_backward(task, batch, tape)
        needed = [owner.module for owner in owners if "pixel_values" in batch.media or not owner.sees]
        unmet = [type(module).__name__ for module in needed if id(module) not in tape.called]
        if unmet:
            raise NotApplicable(f"{unmet[0]} holds parameters and is never called")
        return Measured(tape.dots, figures)

    return measure


def _owners(task: Task) -> list[_Owner]:
    """Modules with trainable parameters of their own; tied ones all of them."""
    model = task.proxy.model
    encoder = encoder_name(model)
    names = {id(parameter): name for name, parameter in model.named_parameters() if name in task.directions}
    found = []
    for module in model.modules():
        held = {name: names[id(p)] for name, p in module.named_parameters(recurse=False) if id(p) in names}
        if held and next(module.children(), None) is not None:
            raise NotApplicable(f"{type(module).__name__} holds parameters beside its layers")
        if held:
            sees = any(is_of_images(name, encoder) for name in held.values())
            found.append(_Owner(module, {name: task.directions[whole] for name, whole in held.items()}, sees))
    return found


@contextmanager
def _recording(owners: list[_Owner], tape: _Tape) -> Iterator[None]:
    hooks = []
    for owner in owners:

        def record(module: torch.nn.Module, arguments: Any, output: Any, owner: _Owner = owner) -> torch.Tensor:
            if len(arguments) != 1 or not isinstance(output, torch.Tensor):
                raise NotApplicable(f"{type(module).__name__} takes or gives more than one tensor")
            tape.called.add(id(module))
            if not output.requires_grad:
                output = output.detach().requires_grad_()
            x = arguments[0].detach()
            output.register_hook(lambda d: tape.add(owner, x, d.detach()))
            recorded: torch.Tensor = output
            return recorded

        hooks.append(owner.module.register_forward_hook(record))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _forward_and_backward(task: Task, batch: TokenBatch, tape: _Tape) -> dict[str, torch.Tensor]:
    rows, length = batch.input_ids.shape[0], batch.input_ids.shape[1] - batch.spare
    counts = batch.is_target.sum(1)
    real = (batch.attention_mask.sum(1) - batch.spare).tolist()
    in_body: dict[int, Spans] = {rows * length: [(i * length, i * length + size) for i, size in enumerate(real)]}
    ends = counts.cumsum(0).tolist()
    of_targets: Spans = [(end - count, end) for end, count in zip(ends, counts.tolist(), strict=True)]
    in_body.setdefault(ends[-1], of_targets)
    tape.spans = in_body
    states, output = target_states(task.proxy, batch, **_own_positions(task, rows, length))
    targets = batch.targets[batch.is_target]
    weights = torch.ones(len(targets), dtype=torch.float64, device=targets.device)
    if task.reduction == "mean":
        weights = 1 / counts[batch.places[0]].double()
    figures = []
    slopes = torch.zeros_like(states)
    for part in chunks(task.proxy, targets):
        tape.spans = {part.stop - part.start: _within(of_targets, part)}
        given = states[part].detach().requires_grad_()
        logits = target_logits(task.proxy, given, output)
        losses = torch.nn.functional.cross_entropy(
            logits.to(torch.promote_types(logits.dtype, torch.float32)), targets[part], reduction="none"
        )
        (losses * weights[part]).sum().backward()
        if given.grad is not None:
            slopes[part] = given.grad
        figures.append(read_figures(logits.detach(), targets[part], task.also)[0])
    tape.spans = in_body
    if states.requires_grad:
        states.backward(slopes.detach())
    return {name: torch.cat([part[name] for part in figures]) for name in figures[0]}


def _own_positions(task: Task, rows: int, length: int) -> dict[str, torch.Tensor]:
    """Position ids for every row apart, for models that learn positions: else they are looked up once for all rows."""
    learned = [m for m in text_body(body_of(task.proxy)).modules() if isinstance(m, torch.nn.Embedding)]
    if len(learned) < 2:
        return {}
    device = next(iter(task.proxy.parameters.values())).device
    return {"position_ids": torch.arange(length, device=device).expand(rows, length)}


def _within(spans: Spans, part: slice) -> Spans:
    """The spans' shares of a part, counted from its beginning; empty where a row has none."""
    first, last = int(part.start), int(part.stop)

    def inside(end: int) -> int:
        return min(max(end, first), last) - first

    return [(inside(start), inside(stop)) for start, stop in spans]
