"""Scoring inside real TRL training: nothing about the training changes, and the scores are the saved checkpoint's."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

from hf_datasel import S2L, Labels, LossTrajectoryCallback, OneStepTrain, Perplexity, Proxy, ProxyScoringCallback
from hf_datasel.errors import BadRecipe, DataselError
from hf_datasel.training import snapshots
from tests.training.conftest import same_weights, sums


LABELS = Labels(max_length=64)
ANCHORS = [{"prompt": f"{n} + 1 = ", "completion": str(n + 1)} for n in range(50, 54)]
LORA = LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", r=4, lora_dropout=0.2)


@pytest.fixture(scope="module")
def rows():
    return Dataset.from_list(sums(32))


class StopAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step == self.step


def train(
    model,
    rows,
    folder,
    callbacks=(),
    peft_config=None,
    eval_dataset=None,
    resume=None,
    callbacks_beside=(),
    **arguments,
):
    config = SFTConfig(**{
        "output_dir": str(folder), "max_steps": 8, "per_device_train_batch_size": 4, "learning_rate": 1e-2,
        "report_to": "none", "save_strategy": "no", "use_cpu": True, "bf16": False, "gradient_checkpointing": False,
        "logging_strategy": "no", "disable_tqdm": True, "max_length": 64, "seed": 3, **arguments,
    })  # fmt: skip
    torch.manual_seed(config.seed)  # TRL 1.14 draws an adapter's start before it seeds
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(model),
        args=config,
        train_dataset=rows,
        eval_dataset=eval_dataset,
        processing_class=AutoTokenizer.from_pretrained(model),
        peft_config=peft_config,
        callbacks=[*callbacks, *callbacks_beside],
    )
    trainer.train(resume_from_checkpoint=resume)
    trainer.save_model(str(folder))
    return trainer


def approx(scores):
    """Equal but for the order of additions: rows meet others in a batch. Weights a step apart differ a thousandfold more."""
    return pytest.approx(np.asarray(scores).tolist(), rel=1e-6, abs=1e-12)


def callback(tiny, pool, folder, at=(0.0, 0.25, 1.0), **options):
    trainable = options.pop("trainable", "all")
    mode = options.pop("mode", "score")
    scorer = OneStepTrain(Proxy(tiny, trainable=trainable), ANCHORS, labels=LABELS, **options)
    return ProxyScoringCallback(pool, scorer, folder, at, mode)


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_training_is_the_same_to_the_last_bit(tiny, rows, tmp_path, kind):
    # Random dropout in the adapters, and random row order: both would shift with one random number drawn.
    peft = LORA if kind == "lora" else None
    trainable = "lora" if kind == "lora" else "all"
    train(tiny, rows, tmp_path / "without", peft_config=peft)
    scoring = callback(tiny, rows, tmp_path / "scores", trainable=trainable)
    train(tiny, rows, tmp_path / "with", [scoring], peft)
    assert same_weights(tmp_path / "without", tmp_path / "with")
    assert np.isfinite(scoring.scored["ost_utility_at_25pct"][:]).all()


def test_the_guard_is_what_keeps_it_so(tiny, rows, tmp_path):
    # The same drawing of random numbers outside the guard does change the run: the test above can fail.
    class Drawing(ProxyScoringCallback):
        def _reach(self, step, args, kwargs):
            torch.rand(1)

    scorer = OneStepTrain(Proxy(tiny), ANCHORS, labels=LABELS)
    train(tiny, rows, tmp_path / "without", peft_config=LORA)
    train(tiny, rows, tmp_path / "with", [Drawing(rows, scorer, tmp_path / "s", at=(0.25,))], LORA)
    assert not same_weights(tmp_path / "without", tmp_path / "with")


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_scores_are_those_of_the_saved_checkpoint(tiny, rows, tmp_path, kind):
    trainable = "lora" if kind == "lora" else "all"
    scoring = callback(tiny, rows, tmp_path / "scores", at=(0.25, 1.0), trainable=trainable)
    train(
        tiny, rows, tmp_path / "run", [scoring], LORA if kind == "lora" else None,
        save_strategy="steps", save_steps=2,
    )  # fmt: skip
    scored = scoring.scored
    for share, step in (("25pct", 2), ("100pct", 8)):
        checkpoint = str(tmp_path / "run" / f"checkpoint-{step}")
        proxy = Proxy(tiny, adapter=checkpoint, trainable="lora") if kind == "lora" else Proxy(checkpoint)
        alone = OneStepTrain(proxy, ANCHORS, labels=LABELS)(rows[:])
        assert scored[f"ost_utility_at_{share}"][:] == approx(alone["ost_utility"])
    assert scored["ost_utility_at_25pct"][:] != scored["ost_utility_at_100pct"][:]


def test_the_start_is_the_model_training_starts_from(tiny, rows, tmp_path):
    scoring = callback(tiny, rows, tmp_path / "scores", at=(0,))
    train(tiny, rows, tmp_path / "run", [scoring])
    alone = OneStepTrain(Proxy(tiny), ANCHORS, labels=LABELS)(rows[:])
    assert scoring.scored["ost_utility_at_0pct"][:] == approx(alone["ost_utility"])


def test_rows_trained_on_so_far_are_flagged(tiny, rows, tmp_path):
    strangers = [{"prompt": f"{n} - 1 = ", "completion": str(n - 1)} for n in range(5)]
    pool = Dataset.from_list([*sums(32), *strangers])
    scoring = callback(tiny, pool, tmp_path / "scores", at=(0, 0.25, 1))
    train(tiny, rows, tmp_path / "run", [scoring])  # 8 steps of 4 rows: each of the 32 once
    seen = {share: scoring.scored[f"seen_in_training_at_{share}"][:] for share in ("0pct", "25pct", "100pct")}
    assert sum(seen["0pct"]) == 0
    assert sum(seen["25pct"]) == 8
    assert seen["100pct"] == [True] * 32 + [False] * 5


def test_rows_only_looked_at_are_not_flagged(tiny, rows, tmp_path):
    strangers = Dataset.from_list([{"prompt": f"{n} - 1 = ", "completion": str(n - 1)} for n in range(5)])
    scoring = callback(tiny, strangers, tmp_path / "scores", at=(1,))
    config = {"eval_strategy": "steps", "eval_steps": 2, "per_device_eval_batch_size": 2}
    train(tiny, rows, tmp_path / "run", [scoring], eval_dataset=strangers, **config)
    assert scoring.scored["seen_in_training_at_100pct"][:] == [False] * 5


@pytest.mark.parametrize("difference", ["resumed", "another max_length"])
def test_what_cannot_be_known_is_null(tiny, rows, tmp_path, difference):
    if difference == "resumed":
        train(tiny, rows, tmp_path / "run", save_strategy="steps", save_steps=4)
    scoring = callback(tiny, rows, tmp_path / "scores", at=(0.75,))
    options = {"max_length": 63} if difference == "another max_length" else {}
    resume = str(tmp_path / "run" / "checkpoint-4") if difference == "resumed" else None
    train(tiny, rows, tmp_path / "run", [scoring], resume=resume, **options)
    assert scoring.scored["seen_in_training_at_75pct"][:] == [None] * len(rows)


def test_scores_are_of_this_pool_and_this_scorer_and_this_training(tiny, rows, tmp_path):
    folder = tmp_path / "scores"
    first = callback(tiny, rows, folder, at=(0.25, 1))
    train(tiny, rows, tmp_path / "run", [first])
    for other in (
        callback(tiny, rows.select(range(9)), folder, at=(0.25, 1)),
        callback(tiny, rows, folder, at=(0.25, 1), reduction="sum"),
    ):
        with pytest.raises(DataselError, match="holds no scores"):
            other.scored  # noqa: B018
        again = other.score_snapshots()
        alone = dataclasses.replace(other.scorer, proxy=other.snapshots[0].proxy(Proxy(tiny)))(other.pool[:])
        assert again["ost_utility_at_25pct"][:] == approx(alone["ost_utility"])
    assert "ost_utility_at_100pct" in first.scored.column_names
    # A second training that ends early has no business with the end of the first.
    second = callback(tiny, rows, folder, at=(0.25, 1))
    train(tiny, rows, tmp_path / "run", [second], max_steps=8, seed=4, callbacks_beside=[StopAt(3)])
    assert "ost_utility_at_100pct" not in second.scored.column_names


def test_two_callbacks_may_share_a_folder(tiny, rows, tmp_path):
    first = callback(tiny, rows, tmp_path / "scores", at=(0.25,))
    second = callback(tiny, rows.select(range(9)), tmp_path / "scores", at=(0.25,))
    train(tiny, rows, tmp_path / "run", [first, second])
    assert len(first.scored) == 32 and len(second.scored) == 9
    assert second.scored["ost_utility_at_25pct"][:] == approx(first.scored["ost_utility_at_25pct"][:9])


def test_parts_of_another_number_of_processes_are_no_obstacle(tiny, rows, tmp_path):
    scoring = callback(tiny, rows, tmp_path / "scores", at=(0.25,))
    train(tiny, rows, tmp_path / "run", [scoring])
    part = next((tmp_path / "scores" / "at_25pct").glob("scores-*"))
    (part.parent / part.name.replace("-of-00001", "-of-00002")).write_bytes(part.read_bytes())
    assert len(scoring.scored) == 32


def test_packed_rows_cannot_be_told_and_are_null(tiny, rows, tmp_path):
    scoring = callback(tiny, rows, tmp_path / "scores", at=(1,))
    train(tiny, rows, tmp_path / "run", [scoring], max_steps=2, packing=True, packing_strategy="wrapped")
    assert scoring.scored["seen_in_training_at_100pct"][:] == [None] * len(rows)


def test_snapshots_are_scored_afterwards_and_outlive_their_checkpoints(tiny, rows, tmp_path):
    now = callback(tiny, rows, tmp_path / "now", at=(0.25, 0.5))
    train(tiny, rows, tmp_path / "run", [now])
    later = callback(tiny, rows, tmp_path / "later", at=(0.25, 0.5), mode="snapshot")
    train(tiny, rows, tmp_path / "run2", [later], save_total_limit=1)
    assert same_weights(tmp_path / "run", tmp_path / "run2")
    assert not (tmp_path / "run2" / "checkpoint-2").exists()
    with pytest.raises(DataselError, match="score_snapshots"):
        later.scored  # noqa: B018
    # Another process knows nothing but the folder.
    again = callback(tiny, rows, tmp_path / "later", at=(0.25, 0.5), mode="snapshot")
    found, expected = again.score_snapshots(), now.scored
    assert found.column_names == expected.column_names
    for share in ("25pct", "50pct"):
        assert found[f"ost_utility_at_{share}"][:] == approx(expected[f"ost_utility_at_{share}"][:])
        assert found[f"seen_in_training_at_{share}"][:] == expected[f"seen_in_training_at_{share}"][:]


def test_an_average_weighs_checkpoints_by_their_learning_rate(tiny, rows, tmp_path):
    scoring = callback(tiny, rows, tmp_path / "scores", at=(0.25, 0.5, 1))
    train(tiny, rows, tmp_path / "run", [scoring])
    # A linear decay from 0.01 over 8 steps: 0.0075 after 2, 0.005 after 4, nothing after the last.
    assert [snapshot.learning_rate for snapshot in scoring.snapshots] == pytest.approx([0.0075, 0.005, 0.0])
    scored = scoring.averaged()
    early, middle = (np.array(scored[f"ost_utility_at_{share}"][:]) for share in ("25pct", "50pct"))
    assert scored["ost_utility_average"][:] == pytest.approx(0.6 * early + 0.4 * middle, rel=1e-12)
    equal = scoring.averaged("equal")["ost_utility_average"][:]
    last = np.array(scored["ost_utility_at_100pct"][:])
    assert equal == pytest.approx((early + middle + last) / 3, rel=1e-12)


def test_no_learning_rate_left_to_weigh_by(tiny, rows, tmp_path):
    scoring = callback(tiny, rows, tmp_path / "scores", at=(1,))
    train(tiny, rows, tmp_path / "run", [scoring])
    with pytest.raises(DataselError, match="learning rate was 0"):
        scoring.averaged()


def test_a_training_that_ends_early_says_what_it_missed(tiny, rows, tmp_path, caplog):
    class Stop(ProxyScoringCallback):
        def on_step_end(self, args, state, control, **kwargs):
            super().on_step_end(args, state, control, **kwargs)
            control.should_training_stop = state.global_step == 3

    scorer = OneStepTrain(Proxy(tiny), ANCHORS, labels=LABELS)
    scoring = Stop(rows, scorer, tmp_path / "scores", at=(0.25, 1))
    train(tiny, rows, tmp_path / "run", [scoring])
    assert "never reached the shares [1.0]" in caplog.text
    assert "ost_utility_at_25pct" in scoring.scored.column_names
    assert "ost_utility_at_100pct" not in scoring.scored.column_names


def test_adam_looks_ahead_from_the_snapshots_own_state(tiny, rows, tmp_path):
    scoring = callback(tiny, rows, tmp_path / "scores", at=(0.5,), step="adam", estimator="exact", learning_rate=1e-4)
    train(tiny, rows, tmp_path / "run", [scoring], save_strategy="steps", save_steps=4)
    checkpoint = Proxy(str(tmp_path / "run" / "checkpoint-4"))
    options = {"step": "adam", "labels": LABELS, "learning_rate": 1e-4}
    alone = OneStepTrain(checkpoint, ANCHORS, estimator="exact", **options)(rows[:])
    assert scoring.scored["ost_utility_at_50pct"][:] == approx(alone["ost_utility"])


def test_loss_trajectories_are_the_losses_of_the_checkpoints(tiny, rows, tmp_path):
    bad = {"prompt": "3 + 3 = ", "completion": ""}
    pool = Dataset.from_list([*sums(6), bad])
    recording = LossTrajectoryCallback(pool, Proxy(tiny), tmp_path / "losses", at=(0.25, 0.75), labels=LABELS)
    train(tiny, rows, tmp_path / "run", [recording], save_strategy="steps", save_steps=2)
    found = np.array(recording.trajectories["loss_trajectory"][:])
    assert found.shape == (7, 2) and np.isnan(found[6]).all()
    for place, step in enumerate((2, 6)):
        proxy = Proxy(str(tmp_path / "run" / f"checkpoint-{step}"))
        assert found[:6, place] == approx(Perplexity(proxy, labels=LABELS)(pool[:6])["row_loss"])
    kept = S2L("loss_trajectory", 0.5, clusters=2).rank(recording.trajectories)
    assert len(kept) == 3 and 6 not in kept


def test_a_scored_snapshot_is_not_scored_again_and_a_stopped_one_goes_on(tiny, rows, tmp_path):
    scoring = callback(tiny, rows, tmp_path / "scores", at=(0.25,))
    train(tiny, rows, tmp_path / "run", [scoring])
    before = scoring.scored.to_dict()
    parts = list((tmp_path / "scores").glob("*/scores-*.parquet"))
    assert len(parts) == 1
    parts[0].unlink()
    assert scoring.score_snapshots().to_dict() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"at": ()}, "`at` is"),
        ({"at": (0.1, 1.5)}, "0 to 1"),
        ({"at": (0.1, 0.1)}, "different shares"),
        ({"mode": "sometimes"}, "`mode` is 'sometimes'"),
        ({"mode": "snapshot", "at": (0, 1)}, "starting model"),
        ({"pool": Dataset.from_list([])}, "`pool` has no rows"),
        ({"scorer": "length"}, "`scorer` is a str"),
        ({"pool": Dataset.from_list(ANCHORS)}, "shares 4 rows with `anchors`"),
        ({"pool": Dataset.from_list([{**ANCHORS[0], "ost_utility": 0.0}])}, "already has the columns"),
    ],
)
def test_bad_arguments_are_named_before_training(tiny, rows, tmp_path, change, message):
    scorer = OneStepTrain(Proxy(tiny), ANCHORS, labels=LABELS)
    with pytest.raises(DataselError, match=message):
        ProxyScoringCallback(**{"pool": rows, "scorer": scorer, "folder": tmp_path, **change})


def test_adam_needs_adam_and_more_than_the_start(tiny, rows, tmp_path):
    with pytest.raises(BadRecipe, match="no state at the start"):
        callback(tiny, rows, tmp_path, at=(0, 0.5), step="adam")
    scoring = callback(tiny, rows, tmp_path / "scores", at=(0.5,), step="adam")
    with pytest.raises(BadRecipe, match="expected Adam or AdamW"):
        train(tiny, rows, tmp_path / "run", [scoring], optim="sgd")


@pytest.mark.slow
def test_sharded_weights_are_recognised_and_refused(tiny, rows, tmp_path):
    code = f"""
import torch
from torch.distributed.fsdp import fully_shard
from transformers import AutoModelForCausalLM
from hf_datasel.training.snapshots import is_sharded
torch.distributed.init_process_group("gloo", init_method="file://{tmp_path}/meet", rank=0, world_size=1)
mesh = torch.distributed.init_device_mesh("cpu", (1,))
model = AutoModelForCausalLM.from_pretrained({tiny!r})
print(is_sharded(model), is_sharded(fully_shard(model, mesh=mesh)))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stdout.split()[-2:] == ["False", "True"], found.stderr  # Gloo of torch 2.8 speaks first
    scoring = callback(tiny, rows, tmp_path / "s")
    config = SFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, report_to="none")
    config.fsdp = ["full_shard"]  # what the Trainer of an FSDP run hands over
    with pytest.raises(BadRecipe, match="expected 'snapshot'"):
        scoring.on_train_begin(config, None, None, model=torch.nn.Linear(1, 1))


def test_a_checkpoint_without_whole_weights_is_refused(tmp_path):
    (tmp_path / "checkpoint-2" / "global_step2").mkdir(parents=True)
    (tmp_path / "checkpoint-2" / "config.json").write_text("{}")
    with pytest.raises(DataselError, match="stage3_gather_16bit"):
        snapshots.copy_checkpoint(tmp_path / "checkpoint-2", tmp_path / "model")


TWO_RANKS = """
import json, sys
from accelerate import PartialState
PartialState(cpu=True)
from datasets import Dataset
from tests.training.test_proxy_scoring import LABELS, callback, train
from tests.training.conftest import sums
model, folder, scored = sys.argv[1:]
rows = Dataset.from_list(sums(33))
scoring = [callback(model, rows, folder + "/scores", at=(0.5, 1.0))] if scored == "yes" else []
train(model, rows, folder + "/run", scoring, max_steps=4)
import torch
torch.distributed.barrier()
torch.distributed.destroy_process_group()
import os
os._exit(0)  # all is written: threads of the group, gone or not, may abort the interpreter on its way out
"""


def torchrun(tiny, folder, scored):
    script = folder / "train.py"
    folder.mkdir(parents=True, exist_ok=True)
    script.write_text(TWO_RANKS)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [*command, str(script), tiny, str(folder), scored],
        capture_output=True, text=True, cwd=root, check=False, timeout=240,
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-20000:]


@pytest.mark.slow
def test_two_ranks_share_the_pool_and_train_the_same(tiny, tmp_path):
    torchrun(tiny, tmp_path / "without", "no")
    torchrun(tiny, tmp_path / "with", "yes")
    assert same_weights(tmp_path / "without" / "run", tmp_path / "with" / "run")
    pool = Dataset.from_list(sums(33))
    scoring = callback(tiny, pool, tmp_path / "with" / "scores", at=(0.5, 1.0))
    parts = sorted(path.name[-22:] for path in (tmp_path / "with" / "scores" / "at_50pct").glob("scores-*"))
    assert parts == ["00000-of-00002.parquet", "00001-of-00002.parquet"]
    scored = scoring.scored
    for snapshot in scoring.snapshots:
        alone = dataclasses.replace(scoring.scorer, proxy=snapshot.proxy(Proxy(tiny)))(pool[:])
        column = f"ost_utility_at_{snapshots.percent(snapshot.fraction)}"
        assert scored[column][:] == approx(alone["ost_utility"])
    # 4 steps of 2 x 4 rows: both ranks' rows are flagged.
    assert sum(scored["seen_in_training_at_100pct"][:]) == 32
    assert json.loads((tmp_path / "with" / "scores" / "at_100pct" / "snapshot.json").read_text())["step"] == 4
