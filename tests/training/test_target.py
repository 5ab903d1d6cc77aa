"""Target training is the stock SFTTrainer on exactly the rows and labels that were scored."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from hf_datasel.errors import BadRecipe, BadRow
from hf_datasel.rows import Labels, prepare_tokenizer, token_row
from hf_datasel.training import TargetTraining, heldout_loss

from .conftest import Seen, same_weights, sums, weights


LABELS = Labels(max_length=64)
FAST = {"learning_rate": 1e-2, "per_device_train_batch_size": 4}


def dataset_of(rows: list[dict[str, Any]]) -> Any:
    from datasets import Dataset

    return Dataset.from_list(rows)


def encoded(rows: Any, folder: str, labels: Labels) -> list[Any]:
    from transformers import AutoTokenizer

    tokenizer = prepare_tokenizer(AutoTokenizer.from_pretrained(folder), labels)
    return [token_row(row, tokenizer, labels) for row in rows]


def test_training_lowers_the_loss_and_leaves_a_model_to_load(tiny: str, tmp_path: Path) -> None:
    rows = dataset_of(sums(12))
    before = heldout_loss(tiny, rows, LABELS)
    trained = TargetTraining(tiny, steps=20, sft=FAST).train(rows, LABELS, tmp_path / "out")
    assert (trained.folder, trained.steps, trained.num_rows, trained.num_excluded) == (
        str(tmp_path / "out"),
        20,
        12,
        0,
    )
    assert trained.epochs == pytest.approx(20 / 3)
    assert trained.seconds > 0
    after = heldout_loss(trained.folder, rows, LABELS)
    assert after < trained.train_loss < before
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= {f.name for f in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize(
    ("num_rows", "arguments", "steps", "epochs"),
    [
        (16, {"protocol": "A"}, 4, 1.0),
        (8, {"protocol": "A"}, 2, 1.0),  # half the rows, half the steps
        (8, {"protocol": "A", "epochs": 2.0}, 4, 2.0),
        (16, {"protocol": "B", "steps": 4}, 4, 1.0),
        (8, {"protocol": "B", "steps": 4}, 4, 2.0),  # half the rows, the same steps
    ],
)
def test_protocols(
    num_rows: int, arguments: dict[str, Any], steps: int, epochs: float, tiny: str, tmp_path: Path
) -> None:
    trained = TargetTraining(tiny, sft=FAST, **arguments).train(dataset_of(sums(num_rows)), LABELS, tmp_path)
    assert (trained.steps, trained.epochs) == (steps, epochs)


@pytest.mark.parametrize("quiet", [True, False])
def test_operations_are_told_whatever_prints_the_log(quiet: bool, tiny: str, tmp_path: Path) -> None:
    rows = dataset_of(sums(8))
    short, long = (
        TargetTraining(tiny, steps=steps, sft={**FAST, "disable_tqdm": quiet})
        .train(rows, LABELS, tmp_path / str(steps))
        .flops
        for steps in (2, 4)
    )
    assert 0 < short == pytest.approx(long / 2)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_same_seed_gives_the_same_weights(method: Literal["full", "lora"], tiny: str, tmp_path: Path) -> None:
    rows = dataset_of(sums(12))
    training = TargetTraining(tiny, method=method, steps=3, sft=FAST)
    folders = [training.train(rows, LABELS, tmp_path / str(i), seed).folder for i, seed in enumerate((0, 0, 1))]
    assert same_weights(folders[0], folders[1])
    assert not same_weights(folders[0], folders[2])
    assert not same_weights(folders[0], tiny)


MIXED = [
    *sums(6),
    {"prompt": "5 + 5 = ", "completion": " "},
    {"prompt": "a long question " * 40, "completion": "4"},
    {"prompt": "3 + 3 = ", "completion": "6" * 200},
    {"prompt": None, "completion": "lost"},
    {"prompt": "4 + 4 = ", "completion": None},
]


def test_labels_trained_on_are_those_scored(tiny: str, tmp_path: Path, seen: Seen) -> None:
    rows = dataset_of([{**row, "ost_utility": 0.1, "row_id": str(i)} for i, row in enumerate(MIXED)])
    trained = TargetTraining(tiny, steps=1, sft=FAST).train(rows, LABELS, tmp_path)
    scored = {row["row_id"]: found for row, found in zip(rows, encoded(rows, tiny, LABELS), strict=True)}
    expected = {row_id: (row.input_ids, row.labels) for row_id, row in scored.items() if row.scorable}
    prepared = seen.prepared[0]
    assert {row["row_id"]: (tuple(row["input_ids"]), tuple(row["labels"])) for row in prepared} == expected
    assert (trained.num_rows, trained.num_excluded) == (7, 4)
    assert {row.status.split(":")[0] for row in scored.values()} == {
        "ok", "truncated", "empty_completion", "masked_by_truncation", "malformed",
    }  # fmt: skip


@pytest.mark.parametrize(
    "row",
    [
        {"text": "one and two"},
        {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]},
        {"conversations": [{"from": "user", "value": "hi"}, {"from": "assistant", "value": "ho"}]},
    ],
)
def test_other_formats(row: dict[str, Any], tiny: str, tmp_path: Path, seen: Seen) -> None:
    labels = Labels(assistant_only_loss="text" not in row)
    rows = dataset_of([row] * 2)
    TargetTraining(tiny, steps=1).train(rows, labels, tmp_path)
    found = [(tuple(row["input_ids"]), tuple(row["labels"])) for row in seen.prepared[0]]
    assert found == [(row.input_ids, row.labels) for row in encoded(rows, tiny, labels)]


def test_nothing_to_train_on_is_refused(tiny: str, tmp_path: Path) -> None:
    with pytest.raises(BadRow, match=r"2 rows and none with a loss \(\{'empty_completion': 2\}\)"):
        TargetTraining(tiny).train(dataset_of([{"prompt": "1 + 1 =", "completion": ""}] * 2), LABELS, tmp_path)
    with pytest.raises(BadRow, match="no training column found"):
        TargetTraining(tiny).train(dataset_of([{"question": "1 + 1?"}]), LABELS, tmp_path)
    assert not (tmp_path / "model.safetensors").exists()


def test_score_order_is_a_curriculum(tiny: str, tmp_path: Path, seen: Seen) -> None:
    from hf_datasel.selectors import TopCount, select

    scored = dataset_of([{**row, "score": float(i * 5 % 12)} for i, row in enumerate(sums(12))])
    kept = select(scored, TopCount("score", 8)).kept
    best_first = [row.input_ids for row in encoded(kept, tiny, LABELS)]
    TargetTraining(tiny, steps=4, order="score", sft=FAST).train(kept, LABELS, tmp_path / "score")
    assert seen.batches == [best_first[:4], best_first[4:]] * 2
    seen.batches.clear()
    TargetTraining(tiny, steps=4, sft=FAST).train(kept, LABELS, tmp_path / "shuffled")
    assert seen.batches[:2] != [best_first[:4], best_first[4:]]
    assert sorted(itertools.chain(*seen.batches[:2])) == sorted(best_first)


def test_sft_arguments_reach_the_trainer_over_sensible_defaults(tiny: str, tmp_path: Path, seen: Seen) -> None:
    sft = {
        "learning_rate": 3e-3,
        "lr_scheduler_type": "constant",
        "model_init_kwargs": {"attn_implementation": "eager"},
    }
    TargetTraining(tiny, steps=1, sft=sft).train(dataset_of(sums(4)), Labels(max_length=9), tmp_path, seed=5)
    (arguments,) = seen.arguments
    assert (arguments.learning_rate, str(arguments.lr_scheduler_type.value)) == (3e-3, "constant")
    assert arguments.model_init_kwargs == {
        "attn_implementation": "eager",
        "revision": None,
        "use_safetensors": True,
    }
    assert (arguments.seed, arguments.max_length, arguments.packing) == (5, 9, False)
    assert arguments.report_to in ([], ["none"], "none")
    assert arguments.save_strategy.value == "no"
    assert not arguments.disable_tqdm


@pytest.mark.parametrize("has_gpu", [False, True])
def test_bf16_only_where_supported(has_gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from hf_datasel.training.sft import default_arguments

    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert default_arguments({})["bf16"] is has_gpu
    assert not default_arguments({"fp16": True})["bf16"]
    # The second is its name in older transformers.
    assert bool({"activation_checkpointing", "gradient_checkpointing"} & default_arguments({}).keys()) is not has_gpu


def test_no_telemetry(tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants
    from trl.trainer import base_trainer

    told = []
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", False)
    monkeypatch.setattr(base_trainer, "send_telemetry", lambda **_: told.append(constants.HF_HUB_DISABLE_TELEMETRY))
    TargetTraining(tiny, steps=1).train(dataset_of(sums(2)), LABELS, tmp_path)
    assert told == [True]
    assert constants.HF_HUB_DISABLE_TELEMETRY is False


def test_lora_trains_an_adapter_beside_frozen_weights(tiny: str, tmp_path: Path) -> None:
    rows = dataset_of(sums(12))
    training = TargetTraining(tiny, method="lora", steps=10, lora={"r": 4}, sft=FAST)
    trained = training.train(rows, LABELS, tmp_path)
    names = weights(tmp_path).keys()
    assert names
    assert all("lora_" in name for name in names)
    assert any("down_proj" in name for name in names)  # all linear layers
    assert not (tmp_path / "model.safetensors").exists()
    assert heldout_loss(trained.folder, rows, LABELS) < heldout_loss(tiny, rows, LABELS) - 0.1


def test_eos_token_is_kept_with_the_model(tiny: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    labels = Labels(max_length=64, eos_token="<|im_end|>")  # noqa: S106
    TargetTraining(tiny, steps=1).train(dataset_of(sums(2)), labels, tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).eos_token == "<|im_end|>"  # noqa: S105


def test_every_contradiction_is_listed_at_once() -> None:
    with pytest.raises(BadRecipe) as caught:
        TargetTraining(
            "some/model",
            method="qlora",  # type: ignore[arg-type]
            order="best",  # type: ignore[arg-type]
            steps=0,
            lora={"r": 8},
            sft={"max_steps": 5, "max_length": 10, "packing": True, "seed": 1, "model_init_kwargs": {"revision": "x"}},
        )
    lines = str(caught.value).splitlines()
    assert len(lines) == 9
    for part in (
        "`method` is 'qlora', expected one of ('full', 'lora')",
        "`order` is 'best'",
        "`steps` is 0",
        "`lora` is {'r': 8} while `method`",
        "'max_steps': set `steps`",
        "'max_length': set `max_length` of `labels`",
        "'packing': leave it out",
        "'seed': pass `seed` to `train`",
        "set `revision`",
    ):
        assert any(part in line for line in lines), part


@pytest.mark.parametrize("name", ["output_dir", "num_train_epochs", "assistant_only_loss", "eos_token", "push_to_hub"])
def test_decided_keys_are_refused(name: str) -> None:
    with pytest.raises(BadRecipe, match=f"`sft` has '{name}': "):
        TargetTraining("some/model", sft={name: 1})


def test_every_decided_key_is_one_of_sftconfig() -> None:
    from dataclasses import fields

    from trl import SFTConfig

    from hf_datasel.training.target import TARGET_DECIDED
    from hf_datasel.training.warm_up import WARM_UP_DECIDED

    assert TARGET_DECIDED.keys() | WARM_UP_DECIDED.keys() <= {f.name for f in fields(SFTConfig)}


def test_unknown_keys_are_listed_at_once(tiny: str, tmp_path: Path) -> None:
    sft = {"learning_rat": 1e-5, "learning_rate": "1e-5", "zzz": 1, "weight_decay": 0.1, "optim": "adamw_torch"}
    training = TargetTraining(tiny, method="lora", lora={"rank": 4, "r": 4}, sft=sft)
    with pytest.raises(BadRecipe) as caught:
        training.check()
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert "'learning_rat', expected a field of SFTConfig, did you mean 'learning_rate'?" in lines[0]
    assert "'learning_rate': '1e-5', expected a number. In YAML write 1.0e-5" in lines[1]
    assert "'zzz', expected a field of SFTConfig, remove it." in lines[2]
    assert "`lora` has 'rank'" in lines[3]
    with pytest.raises(BadRecipe):
        training.train(dataset_of(sums(2)), LABELS, tmp_path)


def test_a_spec_is_made_without_torch() -> None:
    code = (
        "import sys; from hf_datasel.training import TargetTraining, WarmUp; TargetTraining('x'); WarmUp();"
        "print(sorted({'torch', 'transformers', 'trl', 'peft'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
