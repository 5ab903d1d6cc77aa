"""A vision-language model is trained by SFTTrainer on the rows that were scored, with the labels that were scored."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, Features, Image, List, Value

from hf_datasel import Labels, OneStepTrain, Proxy, TargetTraining, TopCount, WarmUp, score, select
from hf_datasel.errors import BadRecipe
from hf_datasel.proxy.batch_size import IMAGE_ROWS
from hf_datasel.proxy.vision import PROJECTOR
from hf_datasel.rows import labels, token_row
from hf_datasel.rows.reader import load_reader
from hf_datasel.training import generate_answers, heldout_loss

from ..vlm import PLACEHOLDERS, png, real_rows


LABELS = Labels(max_length=200)
FAMILIES = ("llava", "qwen2_5_vl")


def dataset_of(family: str, count: int = 10, skip: int = 0) -> Dataset:
    features = Features(
        {"images": List(Image()), "prompt": Value("string"), "completion": Value("string"), "kind": Value("string")}
    )
    rows = [
        {
            "images": [{"bytes": row["image"], "path": None}],
            "prompt": f"{PLACEHOLDERS[family]} {row['question']}",
            "completion": f" {row['answer']}",
            "kind": "real",
        }
        for row in real_rows(count + skip)[skip:]
    ]
    return Dataset.from_list(rows, features=features)


def broken(dataset: Dataset) -> Dataset:
    """The dataset with an unreadable image, a missing one and a placeholder too few; and a row of text, which is none."""
    row = dataset.with_format(None).cast_column("images", List(Image(decode=False)))[0]
    bad = [
        {**row, "images": [{"bytes": b"no picture", "path": None}]},
        {**row, "images": None},
        {**row, "prompt": "no placeholder"},
        {**row, "images": [], "prompt": "two and two?", "completion": " four"},
    ]
    rows = [*dataset.cast_column("images", List(Image(decode=False))), *bad]
    return Dataset.from_list(list(rows), features=dataset.features)


def recorded_batches(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the collator hands to the trainer's model, batch by batch. The collator itself is as it was."""
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling as Collator

    seen: list[Any] = []
    plain = Collator.torch_call

    def record(self: Any, examples: Any) -> Any:
        made = plain(self, examples)
        if len(examples) > 1:  # rows are read one by one before
            seen.append({name: made[name].clone() for name in ("input_ids", "labels", "attention_mask")})
        return made

    monkeypatch.setattr(Collator, "torch_call", record)
    return seen


@pytest.mark.parametrize("family", FAMILIES)
def test_trained_on_what_was_scored(
    family: str, vlm_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = broken(dataset_of(family))
    reader = load_reader(vlm_folder(family), LABELS)
    encoded = [token_row(row, reader, LABELS) for row in rows.cast_column("images", List(Image(decode=False)))]
    expected = [(row.input_ids, row.labels) for row in encoded if row.scorable]
    assert len(expected) == 11
    training = TargetTraining(
        vlm_folder(family), protocol="A", epochs=1, order="score",
        sft={"per_device_train_batch_size": 4, "learning_rate": 1e-2},
    )  # fmt: skip
    batches = recorded_batches(monkeypatch)
    trained = training.train(rows, LABELS, tmp_path)
    found = [
        (tuple(ids[: mask.sum()].tolist()), tuple(labels[: mask.sum()].tolist()))
        for batch in batches
        for ids, labels, mask in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True)
    ]
    assert found == expected
    assert (trained.num_rows, trained.num_excluded, trained.steps) == (11, 3, 3)
    before, after = (heldout_loss(folder, dataset_of(family), LABELS) for folder in (vlm_folder(family), tmp_path))
    assert after < before - 0.1


def moved(before: str, after: Path) -> set[str]:
    """The parts of a model whose weights differ: the language model, the encoder of images, the projector, the head."""
    names = {"lm_head": "head", "language_model": "language", "vision_tower": "images", "visual": "images"}
    one, other = (Proxy(str(folder)).load(LABELS).parameters for folder in (before, after))
    changed = [name for name, value in one.items() if not torch.equal(value, other[name])]
    parts = {"projector" if PROJECTOR.search(name) else name.split(".")[name.startswith("model.")] for name in changed}
    return {names.get(part, part) for part in parts}


@pytest.mark.parametrize(
    ("trainable", "expected"),
    [
        ("language", {"language", "head"}),
        ("all", {"language", "head", "images", "projector"}),
        ("projector", {"projector"}),
        (("language_model.layers.0.self_attn", "merger", "multi_modal"), {"language", "projector"}),
    ],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_trains(family: str, trainable: Any, expected: set[str], vlm_folder: Any, tmp_path: Path) -> None:
    settings = {"steps": 1, "sft": {"per_device_train_batch_size": 4, "learning_rate": 1e-2}}
    training = TargetTraining(vlm_folder(family), **settings, trainable=trainable)  # type: ignore[arg-type]
    assert trainable != "language" or training == TargetTraining(vlm_folder(family), **settings)  # type: ignore[arg-type]
    training.train(dataset_of(family, 4), LABELS, tmp_path)
    assert moved(vlm_folder(family), tmp_path) == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_stay_off_what_sees_images(family: str, vlm_folder: Any, tmp_path: Path) -> None:
    from safetensors import safe_open

    def adapted(trainable: str, **lora: Any) -> set[bool]:
        """Whether an adapter's places are of images."""
        training = TargetTraining(
            vlm_folder(family), method="lora", steps=1, lora={"r": 2, **lora}, trainable=trainable,
            sft={"per_device_train_batch_size": 2},
        )  # fmt: skip
        folder = training.train(dataset_of(family, 2), LABELS, tmp_path / trainable).folder
        with safe_open(Path(folder, "adapter_model.safetensors"), "pt") as file:
            return {any(part in name for part in ("vision_tower", "visual", "projector")) for name in file.keys()}  # noqa: SIM118

    assert adapted("language") == {False}
    assert adapted("all") == {False, True}
    assert adapted("lora", exclude_modules=["q_proj"]) == {False, True}


def test_what_cannot_train_is_said(vlm_folder: Any, tmp_path: Path) -> None:
    with pytest.raises(
        BadRecipe, match="`trainable` is 'projector' while `method` is 'lora', expected 'language' or 'all'"
    ):
        TargetTraining("any", method="lora", trainable="projector")
    with pytest.raises(BadRecipe, match="`trainable` is 'lora' while `method` is 'full'"):
        TargetTraining("any", trainable="lora")
    with pytest.raises(BadRecipe, match="`trl sft` freezes nothing"):
        TargetTraining("any", trainable="projector").trl_config(LABELS, "me/data", "top", "out")
    with pytest.raises(ValueError, match="`trainable` is 'nowhere' and matches none of the"):
        TargetTraining(vlm_folder("llava"), steps=1, trainable="nowhere").train(
            dataset_of("llava", 2), LABELS, tmp_path
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_score_select_train_with_an_adapter(family: str, vlm_folder: Any, tmp_path: Path) -> None:
    pool, anchors = dataset_of(family), dataset_of(family, 3, skip=10)
    warm = WarmUp(steps=1, batch_size=2).fit(
        Proxy(vlm_folder(family), trainable="language"), pool, LABELS, tmp_path / "w"
    )
    scored = score(pool, OneStepTrain(warm.proxy, anchors, labels=LABELS))
    assert set(scored["ost_utility_status"]) == {"ok"}
    kept = select(scored, TopCount("ost_utility", 4)).kept
    training = TargetTraining(
        vlm_folder(family), method="lora", steps=2, lora={"r": 2}, sft={"per_device_train_batch_size": 2}
    )
    trained = training.train(kept, LABELS, tmp_path / "t")
    assert (trained.num_rows, trained.num_excluded, trained.steps) == (4, 0, 2)
    assert (tmp_path / "t" / "adapter_model.safetensors").is_file()
    before, after = (heldout_loss(folder, anchors, LABELS) for folder in (vlm_folder(family), tmp_path / "t"))
    assert after != before


def test_a_warm_up_on_other_pictures_is_another(vlm_folder: Any, tmp_path: Path) -> None:
    rows = dataset_of("llava", 4)
    mirrored = rows["images"][::-1]
    proxy, warm_up = Proxy(vlm_folder("llava")), WarmUp(steps=1, batch_size=4)

    def digest(pool: Dataset) -> str:
        named = pool.add_column("row_id", list("abcd"))  # the user's own ids: they say nothing of the pictures
        return warm_up.fit(proxy, named, LABELS, tmp_path / "warm").proxy.digest

    first = digest(rows)
    others = Dataset.from_list([{**row, "images": images} for row, images in zip(rows, mirrored, strict=True)], features=rows.features)  # fmt: skip
    assert digest(rows) == first != digest(others)


def test_an_evaluation_holds_few_pictures_at_a_time(
    vlm_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 2 * IMAGE_ROWS + 3
    rows = [
        {"images": [{"bytes": png(i % 7), "path": None}], "prompt": f"<image> number {i}?", "completion": " yes"}
        for i in range(count)
    ]
    features = Features({"images": List(Image()), "prompt": Value("string"), "completion": Value("string")})
    dataset = Dataset.from_list(rows, features=features)
    alive: list[weakref.ref[Any]] = []
    most, plain = [0], labels.read_vision_row

    def watched(*arguments: Any) -> Any:
        found = plain(*arguments)
        alive.append(weakref.ref(found[2]["pixel_values"]))
        most[0] = max(most[0], sum(its() is not None for its in alive))
        return found

    monkeypatch.setattr(labels, "read_vision_row", watched)
    whole = heldout_loss(vlm_folder("llava"), dataset, LABELS)
    assert len(alive) == count and most[0] <= 2 * IMAGE_ROWS  # those before go when the next ones are there
    parts = [heldout_loss(vlm_folder("llava"), dataset.select([i]), LABELS) for i in (0, 1, count - 1)]
    chosen = heldout_loss(vlm_folder("llava"), dataset.select([0, 1, count - 1]), LABELS)
    assert chosen == pytest.approx(sum(parts) / 3, rel=1e-6)
    assert whole == pytest.approx(chosen, rel=0.2)
    alive.clear()
    most[0] = 0
    images = [row["images"] for row in rows]
    written = generate_answers(
        vlm_folder("llava"), [row["prompt"] for row in rows], max_new_tokens=2, images=images, batch_size=32
    )
    assert len(alive) == count and most[0] <= 2 * IMAGE_ROWS
    last = generate_answers(vlm_folder("llava"), [rows[-1]["prompt"]], max_new_tokens=2, images=images[-1:])
    assert (len(written), written[-1]) == (count, last[0])


def test_plain_text_with_images_is_trained_on(vlm_folder: Any, tmp_path: Path) -> None:
    features = Features({"image": Image(), "text": Value("string")})
    rows = [
        {"image": {"bytes": row["image"], "path": None}, "text": f"<image> {row['question']} {row['answer']}"}
        for row in real_rows(4)
    ]
    training = TargetTraining(vlm_folder("llava"), steps=1, sft={"per_device_train_batch_size": 2})
    trained = training.train(Dataset.from_list(rows, features=features), LABELS, tmp_path)
    assert (trained.num_rows, trained.steps) == (4, 1)
