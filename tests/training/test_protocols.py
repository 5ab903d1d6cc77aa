"""How long a subset is trained on."""

from __future__ import annotations

import pytest

from hf_datasel.training import protocol_arguments, protocol_epochs


@pytest.mark.parametrize(
    ("fraction", "epochs"), [(0.1, 5.0), (0.2, 2.5), (0.3, 1.67), (0.5, 1.0)]
)  # the paper prints 1.6 for 30 %
def test_the_papers_epochs_under_b(fraction: float, epochs: float) -> None:
    assert protocol_epochs(int(351_157 * fraction)) == pytest.approx(epochs, abs=0.005)


def test_epochs_follow_steps_and_batch() -> None:
    assert protocol_epochs(100, steps=50, samples_per_step=8) == 4.0


def test_arguments() -> None:
    assert protocol_arguments("A", epochs=2) == {"num_train_epochs": 2.0, "max_steps": -1}
    assert protocol_arguments("B", epochs=2, steps=7) == {"max_steps": 7}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"protocol": "C"}, "`protocol` is 'C', expected 'A'"),
        ({"protocol": "A", "epochs": 0}, "`epochs` is 0, expected a positive"),
        ({"protocol": "B", "steps": 0}, "`steps` is 0, expected at least one"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        protocol_arguments(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["num_rows", "steps", "samples_per_step"])
def test_bad_counts(name: str) -> None:
    with pytest.raises(ValueError, match=f"`{name}` is 0, expected a positive number"):
        protocol_epochs(**{"num_rows": 10, name: 0})
