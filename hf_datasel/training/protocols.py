"""How long to train on a subset: as many passes as the whole pool gets (A), or as many steps (B)."""

from __future__ import annotations

from typing import Any, Literal


Protocol = Literal["A", "B"]


def protocol_arguments(protocol: Protocol, epochs: float = 1.0, steps: int = 1000) -> dict[str, Any]:
    """The SFTConfig arguments of a protocol.

    A, "proportional steps": the number of passes is fixed, so a tenth of the rows gets a tenth of the optimisation
    steps. It asks what selection saves. B, "fixed compute": the number of optimisation steps is fixed, so a tenth of
    the rows is seen ten times as often. It asks which rows teach more at equal cost.

    Args:
        protocol: `"A"` or `"B"`.
        epochs: passes over the rows (A).
        steps: optimisation steps (B).

    Raises:
        ValueError: another protocol, or a length that is not positive.

    Source: https://huggingface.co/papers/2605.07488, 5.1 and Tab. 2: one epoch under A, 1000 steps under B.

    Example:
        >>> protocol_arguments("A", epochs=1.0)
        {'num_train_epochs': 1.0, 'max_steps': -1}
        >>> protocol_arguments("B", steps=1000)
        {'max_steps': 1000}
    """
    if protocol == "A":
        if not epochs > 0:
            raise ValueError(f"`epochs` is {epochs}, expected a positive number of passes over the rows.")
        return {"num_train_epochs": float(epochs), "max_steps": -1}
    if protocol != "B":
        raise ValueError(f"`protocol` is {protocol!r}, expected 'A' (epochs fixed) or 'B' (steps fixed).")
    if steps < 1:
        raise ValueError(f"`steps` is {steps}, expected at least one optimisation step.")
    return {"max_steps": int(steps)}


def protocol_epochs(num_rows: int, steps: int = 1000, samples_per_step: float = 175.58) -> float:
    """Passes over a subset that protocol B makes.

    Args:
        num_rows: K, rows kept.
        steps: optimisation steps.
        samples_per_step: rows an optimisation step sees. The paper's runs take 351,157 rows in 2000 steps: 2.74 rows
            for each place of its stated batch of 64, so rows were packed or mixed with others there.

    Raises:
        ValueError: a number that is not positive.

    Source: https://huggingface.co/papers/2605.07488, Tab. 2; the constant is computed from it.

    Example:
        >>> round(protocol_epochs(70_231), 2)
        2.5
    """
    for name, value in (("num_rows", num_rows), ("steps", steps), ("samples_per_step", samples_per_step)):
        if not value > 0:
            raise ValueError(f"`{name}` is {value}, expected a positive number.")
    return steps * samples_per_step / num_rows
