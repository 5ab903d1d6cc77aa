"""A model and a coupled loss in one backward pass: under Trainer and SFTTrainer, on the right rows, with the right scale."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq, Trainer, TrainingArguments

from hf_datasel import Labels, Perplexity, Proxy
from hf_datasel.errors import DataselError
from hf_datasel.rows.reader import load_reader
from hf_datasel.scorers.coido.networks import make_network
from hf_datasel.training.coupled_loss import CoupledLoss
from hf_datasel.training.coupled_trainer import ROW, Coupled, CoupledSFTTrainer
from hf_datasel.training.sft import no_telemetry, sft_trainer

from .conftest import sums


LABELS = Labels(max_length=64)
LOGGED = {"importance_loss", "diversity_loss", "log_sigma_importance", "log_sigma_diversity"}


class Watched(CoupledLoss):
    """Remembers what it was given."""

    def forward(self, rows: Any, losses: Any, counts: Any) -> Any:
        self.given = (rows.tolist(), losses.detach().tolist(), counts.tolist())
        self.terms = [*getattr(self, "terms", []), super().forward(rows, losses, counts)]
        return self.terms[-1]


def loss_over(num_rows: int, kind: str = "mlp", coupling: str = "uncertainty", made: Any = Watched) -> CoupledLoss:
    torch.manual_seed(0)
    network = make_network(kind, [num_rows], 0, width=8, dropout=0.0)
    return made(network, torch.eye(num_rows), torch.zeros(num_rows, 0), torch.arange(num_rows) % 2, coupling)


def sft(model: str, rows: Any, loss: CoupledLoss, folder: Any, **arguments: Any) -> Any:
    rows = Dataset.from_list(rows).add_column(ROW, list(range(len(rows))))
    rate = arguments.pop("coupled_learning_rate", None)
    settings = {"per_device_train_batch_size": len(rows), "max_steps": 1, "learning_rate": 1e-2, "logging_steps": 1}
    with no_telemetry():
        return sft_trainer(
            model, load_reader(model, LABELS), rows, LABELS, folder, {**settings, **arguments},
            trainer_class=partial(CoupledSFTTrainer, coupled=loss, coupled_learning_rate=rate),
        )  # fmt: skip


def test_every_row_brings_its_own_loss_and_features(tiny, tmp_path):
    rows, loss = sums(12), loss_over(12)
    sft(tiny, rows, loss, tmp_path).train()
    places, losses, counts = loss.given
    expected = Perplexity(Proxy(tiny), labels=LABELS)(Dataset.from_list(rows)[:])["row_loss"]
    assert sorted(places) == list(range(12)) and places != list(range(12))  # the trainer shuffles
    assert losses == pytest.approx(expected[places], rel=1e-4)
    assert min(counts) > 0


def test_sft_trains_both_and_logs_losses_and_sigmas(tiny, tmp_path):
    loss = loss_over(12)
    trainer = sft(tiny, sums(12), loss, tmp_path, max_steps=4, per_device_train_batch_size=6)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    after = trainer.model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith("coupled_loss.network") for name in changed)
    assert "coupled_loss.log_sigmas" in changed and "model.embed_tokens.weight" in changed
    first = trainer.state.log_history[0]
    assert first.keys() >= LOGGED | {"mean_token_accuracy"}
    assert first["importance_loss"] > 0 and first["diversity_loss"] > 0 and first["log_sigma_importance"] == 0
    for logged, terms in zip(trainer.state.log_history, loss.terms, strict=False):
        sigmas = [logged["log_sigma_importance"], logged["log_sigma_diversity"]]
        assert [logged["importance_loss"], logged["diversity_loss"], *sigmas] == pytest.approx(
            [float(terms.importance.detach()), float(terms.diversity.detach()), *terms.log_sigmas.tolist()]
        )
    assert sigmas[0] != pytest.approx(sigmas[1])
    trainer.detach_coupled()
    trainer.save_model(str(tmp_path))
    assert not [name for name in AutoModelForCausalLM.from_pretrained(tmp_path).state_dict() if "coupled" in name]


def test_the_loss_has_a_learning_rate_of_its_own(tiny, tmp_path):
    trainer = sft(tiny, sums(4), loss_over(4), tmp_path, coupled_learning_rate=0.25)
    own = set(trainer.coupled.parameters())
    rates = {group["lr"]: group["params"] for group in trainer.create_optimizer().param_groups if group["params"]}
    assert set(rates) == {1e-2, 0.25}
    assert not own & set(rates[1e-2])
    assert sum(len(g["params"]) for g in trainer.optimizer.param_groups) == len(list(trainer.model.parameters()))
    assert own == {p for g in trainer.optimizer.param_groups if g["lr"] == 0.25 for p in g["params"]}


def test_accumulated_batches_count_once(tiny, tmp_path):
    # The same four rows in one batch, and twice in two batches that are accumulated: one and the same step.
    # No clipping, which would hide a step of another length.
    plain = {"optim": "sgd", "max_grad_norm": 0.0, "learning_rate": 1e-3, "train_sampling_strategy": "sequential"}
    once = sft(tiny, sums(4), loss_over(4), tmp_path / "1", **plain)
    loss = loss_over(4)
    for name in ("embedding", "scores", "clusters"):
        setattr(loss, name, torch.cat([getattr(loss, name)] * 2))
    halves = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    twice = sft(tiny, sums(4) * 2, loss, tmp_path / "2", **plain, **halves)
    once.train()
    twice.train()
    weights = [dict(trainer.model.state_dict()) for trainer in (once, twice)]
    start = AutoModelForCausalLM.from_pretrained(tiny).state_dict()["model.embed_tokens.weight"]
    assert not torch.equal(weights[0]["model.embed_tokens.weight"], start)
    for name, value in weights[0].items():
        assert torch.allclose(value, weights[1][name], atol=1e-6), name


class Plain(Coupled, Trainer):
    """transformers' own Trainer."""


def test_it_runs_under_plain_trainer(tiny, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    texts = [f"{row['prompt']}{row['completion']}" for row in sums(8)]
    rows = [{**tokenizer(text), ROW: place} for place, text in enumerate(texts)]
    rows = Dataset.from_list([{**row, "labels": row["input_ids"]} for row in rows])
    loss = loss_over(8)
    trainer = Plain(
        AutoModelForCausalLM.from_pretrained(tiny),
        TrainingArguments(str(tmp_path), max_steps=2, per_device_train_batch_size=8, logging_steps=1, report_to=[]),
        data_collator=DataCollatorForSeq2Seq(tokenizer),
        train_dataset=rows,
        eval_dataset=rows,
        coupled=loss,
    )
    trainer.train()
    assert trainer.state.log_history[0].keys() >= LOGGED
    places, losses, _ = loss.given
    assert sorted(places) == list(range(8)) and max(losses) < 8
    found = trainer.evaluate()["eval_loss"]
    trainer.detach_coupled()
    own = Trainer(trainer.model, trainer.args, data_collator=DataCollatorForSeq2Seq(tokenizer), eval_dataset=rows)
    expected = own.evaluate(rows.remove_columns(ROW))["eval_loss"]
    assert found == pytest.approx(expected, rel=1e-5)  # the Trainer's own loss


def test_a_loss_that_is_no_number_stops_the_training(tiny, tmp_path):
    loss = loss_over(4, coupling="importance")
    loss.embedding[0, 0] = float("nan")
    with pytest.raises(DataselError, match=r"the coupled loss is nan .* Lower the learning rates"):
        sft(tiny, sums(4), loss, tmp_path).train()
