"""Rows that were trained on are told from rows that differ in their image alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, Features, Image, List, Value
from trl import SFTConfig, SFTTrainer

from hf_datasel import Labels, Perplexity, Proxy
from hf_datasel.rows.reader import load_reader
from hf_datasel.training.proxy_scoring import ProxyScoringCallback
from hf_datasel.training.seen_rows import SeenRows, read_seen

from ..vlm import FAMILIES, PLACEHOLDERS, png


LABELS = Labels(max_length=200)


def dataset_of(family: str, pictures: list[list[bytes]]) -> Dataset:
    features = Features({"images": List(Image()), "prompt": Value("string"), "completion": Value("string")})
    rows = [
        {"images": [{"bytes": its, "path": None} for its in shown], "prompt": f"{PLACEHOLDERS[family] * len(shown)} what?",
         "completion": " this"}
        for shown in pictures
    ]  # fmt: skip
    return Dataset.from_list(rows, features=features)


def shapes(*shades: int) -> list[bytes]:
    return [png(shade, (40, 24 + 12 * (shade % 3))) for shade in shades]


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_are_told_apart_by_their_images(family: str, vlm_folder: Any, tmp_path: Path) -> None:
    trained_on = [shapes(1), shapes(2), [], shapes(3, 4), shapes(5), shapes(6)]
    strangers = [shapes(7), shapes(8), shapes(4, 3), shapes(3, 5), shapes(9, 2)]
    scorer = Perplexity(Proxy(vlm_folder(family)), labels=LABELS)
    callback = ProxyScoringCallback(dataset_of(family, trained_on + strangers), scorer, tmp_path / "scores", at=(1,))
    settings = SFTConfig(
        str(tmp_path / "run"), max_steps=2, per_device_train_batch_size=3, report_to="none", bf16=False, use_cpu=True,
        save_strategy="no", **LABELS.sft_arguments(),
    )  # fmt: skip
    SFTTrainer(
        model=vlm_folder(family), args=settings, train_dataset=dataset_of(family, trained_on),
        processing_class=load_reader(vlm_folder(family), LABELS), callbacks=[callback],
    ).train()  # fmt: skip
    assert callback.scored["seen_in_training_at_100pct"][:] == [True] * 6 + [False] * 5


class Watched(torch.nn.Module):
    """Takes what models take, and counts nothing."""

    def forward(self, input_ids: Any, pixel_values: Any) -> None:
        pass


def test_batches_that_cannot_be_told_apart_make_it_unsure(tmp_path: Path) -> None:
    model = Watched()
    model.config = type("Config", (), {"image_token_id": 9})()  # type: ignore[assignment]
    seen = SeenRows(model)
    model(input_ids=torch.tensor([[9, 1], [2, 9]]), pixel_values=torch.ones(2, 3, 4, 4))
    seen.save(tmp_path / "seen-00000.npy")
    assert len(read_seen(tmp_path) or ()) == 2
    model(input_ids=torch.tensor([[9, 9, 1], [2, 3, 9]]), pixel_values=torch.ones(2, 3, 4, 4))
    assert seen.is_sure  # an image each
    model(input_ids=torch.tensor([[9, 9, 1], [2, 3, 9]]), pixel_values=torch.ones(4, 3, 4, 4))
    assert not seen.is_sure
    seen.save(tmp_path / "seen-00001.npy")
    assert read_seen(tmp_path) is None
    assert read_seen(tmp_path / "nowhere") is None
