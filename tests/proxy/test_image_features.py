"""A frozen encoder's outputs, kept in a folder when asked: nothing is encoded twice, no number changes, nothing is stale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hf_datasel import Labels, OneStepTrain, Perplexity, Proxy
from hf_datasel.errors import DataselError
from hf_datasel.proxy.image_features import VARIABLE
from hf_datasel.proxy.vision import encoder_name

from ..vlm import FAMILIES, PLACEHOLDERS, png, real_rows


LABELS = Labels(max_length=512)


def rows_of(family: str, start: int, stop: int) -> dict[str, Any]:
    rows, mark = real_rows(stop)[start:], PLACEHOLDERS[family]
    return {
        "images": [[row["image"]] for row in rows],
        "prompt": [f"{mark} {row['question']}" for row in rows],
        "completion": [f" {row['answer']}" for row in rows],
    }


def listed(columns: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def scorer(family: str, folder: str, trainable: str = "language") -> OneStepTrain:
    return OneStepTrain(Proxy(folder, trainable=trainable), listed(rows_of(family, 0, 3)), labels=LABELS)


def encoded(own: Any, batch: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> tuple[list[float], int]:
    """What a scorer writes first, and how often an encoder's first layer ran, anchors and choice of engine included."""
    runs, load = [], Proxy.load

    def watched(*arguments: Any) -> Any:
        proxy = load(*arguments)
        encoder = proxy.model.get_submodule(encoder_name(proxy.model))
        layer = next(module for module in encoder.modules() if isinstance(module, torch.nn.Conv2d | torch.nn.Conv3d))
        layer.register_forward_hook(lambda *_: runs.append(1))
        return proxy

    with monkeypatch.context() as patched:
        patched.setattr(Proxy, "load", watched)
        return own(batch)[own.columns[0]].tolist(), len(runs)


@pytest.mark.parametrize("family", FAMILIES)
def test_kept_features_are_found_again_and_change_nothing(
    family: str, vlm_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, batch = vlm_folder(family), rows_of(family, 3, 7)
    plain, often = encoded(scorer(family, folder), batch, monkeypatch)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    first, _ = encoded(scorer(family, folder), batch, monkeypatch)
    again, never = encoded(scorer(family, folder), batch, monkeypatch)
    assert plain == first == again
    assert often > 0 and never == 0
    _, other = encoded(Perplexity(Proxy(folder, trainable="language"), labels=LABELS), batch, monkeypatch)
    assert other == 0  # another scorer, of the same rows
    changed = {**batch, "images": [[png(77)], *batch["images"][1:]]}
    there, once = encoded(scorer(family, folder), changed, monkeypatch)
    monkeypatch.delenv(VARIABLE)
    assert once > 0 and there == encoded(scorer(family, folder), changed, monkeypatch)[0] != plain


def test_another_encoder_finds_nothing(vlm_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForImageTextToText

    monkeypatch.setenv(VARIABLE, str(tmp_path / "features"))
    batch, own = rows_of("llava", 3, 6), vlm_folder("llava")
    encoded(scorer("llava", own), batch, monkeypatch)
    for moved in ("vision_tower", "language_model"):
        model = AutoModelForImageTextToText.from_pretrained(own)
        with torch.no_grad():
            next(value for name, value in model.named_parameters() if moved in name and value.dim() > 1).mul_(1.5)
        model.save_pretrained(tmp_path / moved)
        for path in Path(own).glob("*"):
            if not (tmp_path / moved / path.name).exists():
                (tmp_path / moved / path.name).write_bytes(path.read_bytes())
        _, runs = encoded(scorer("llava", str(tmp_path / moved)), batch, monkeypatch)
        assert (runs > 0) is (moved == "vision_tower")


def test_an_encoder_that_steps_is_not_kept(vlm_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    encoded(scorer("llava", vlm_folder("llava"), "all"), rows_of("llava", 3, 5), monkeypatch)
    assert not list(tmp_path.iterdir())


def test_a_broken_file_is_named(vlm_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    own, batch = Perplexity(Proxy(vlm_folder("llava"), trainable="language"), labels=LABELS), rows_of("llava", 3, 5)
    own(batch)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataselError, match=rf"holds '.*{path.name}', which cannot be read .* Delete this file"):
        Perplexity(own.proxy, labels=LABELS)(batch)
