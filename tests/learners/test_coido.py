"""The whole way: a pool with features, a network learned beside a model, scores that say which rows are hard."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from datasets import Dataset

from hf_datasel import CoIDO, Labels, Proxy, SelfFilter, TopFractionPerGroup, score, select
from hf_datasel.errors import BadBudget, BadRecipe, BadRow
from hf_datasel.learners.weight_learning import draw_share
from hf_datasel.scorers.coido.networks import make_network
from hf_datasel.training.co_training import CoTraining, _adapter


LABELS = Labels(max_length=128)
QUICK = {"epochs": 1.0, "learning_rate": 1e-3, "network_learning_rate": 1e-2, "method": "full"}


def pool_of(num_rows=48, seed=0):
    """Half the rows repeat one short answer, half answer with letters drawn at random; the embedding tells which."""
    draw = np.random.default_rng(seed)
    rows = []
    for number in range(num_rows):
        hard = bool(number % 2)
        letters = "".join(chr(97 + n) for n in draw.integers(0, 26, 12))
        rows.append(
            {
                "prompt": f"row {number} is",
                "completion": f" {letters}" if hard else " once upon a time",
                "hard": hard,
                "task": "abc"[number % 3],
                "embedding": (np.array([hard, not hard, 0.3]) + 0.1 * draw.normal(size=3)).tolist(),
                "length": float(draw.random()),
            }
        )
    return Dataset.from_list(rows)


def learner(model, cls=CoIDO, **changes):
    training = CoTraining(**{**QUICK, **changes.pop("training", {})})
    given = {
        "embeddings": ["embedding"],
        "scores": ["length"],
        "fraction": 1.0,
        "labels": LABELS,
        "training": training,
    }
    if cls is CoIDO:
        given |= {"clusters": 2, "neighbours": 8, "width": 16}
    return cls(Proxy(model), **{**given, **changes})


@pytest.fixture(scope="module")
def fitted(tiny_model):
    return learner(tiny_model, coupling="importance", training={"epochs": 5.0}).fit(pool_of())


def test_hard_rows_score_higher_in_this_pool_and_in_another(fitted):
    for pool in (pool_of(), pool_of(30, seed=7)):  # the second was never seen: no training, no model
        scored = pool.map(fitted, batched=True)
        score, hard = np.array(scored["coido"]), np.array(scored["hard"])
        assert score[hard].min() > score[~hard].max()
        assert scored["coido_status"][:] == ["ok"] * len(pool)
        assert -np.array(scored["coido_weight"]) == pytest.approx(score)


def test_quantiles_are_of_the_scores_it_gives(fitted):
    scores = fitted(pool_of()[:])["coido"]  # it learned from all of them
    assert fitted.quantiles[::50] == pytest.approx(np.quantile(scores, [0, 0.5, 1]))


@pytest.mark.parametrize("cls", [CoIDO, SelfFilter])
def test_a_learner_says_before_the_fit_what_comes_of_it(tiny_model, cls):
    asked = learner(tiny_model, cls)
    found = asked.fit(pool_of(16))
    assert (asked.columns, asked.reads) == (found.columns, found.reads) and set(asked.needs) <= set(asked.reads)
    spec = json.loads(json.dumps(asked.spec))
    assert spec["scorer"] == cls.__name__ and spec["proxy"]["weights"] == Proxy(tiny_model).digest
    assert json.loads(json.dumps(found.spec))["learned"].items() >= spec.items()
    assert score(pool_of(16), asked)[asked.columns[0]][:] == pytest.approx(found(pool_of(16)[:])[asked.columns[0]])


def test_it_selects_of_every_task(fitted):
    scored = pool_of().map(fitted, batched=True)
    kept = select(scored, TopFractionPerGroup("coido", "task", 0.25)).kept
    assert sorted(kept["task"]) == list("aaaabbbbcccc") and all(kept["hard"])


@pytest.mark.parametrize(
    ("coupling", "network"),
    [
        ("uncertainty", "mlp"),
        ("sum", "mlp"),
        ("learned", "mlp"),
        ("uncertainty", "attention"),
        ("uncertainty", "transformer"),
    ],
)
def test_every_coupling_and_network_learns_and_says_how(tiny_model, coupling, network):
    found = learner(tiny_model, coupling=coupling, network=network, fraction=0.5).fit(pool_of(32))
    assert np.isfinite(found(pool_of(32)[:])["coido"]).all()
    said = json.loads(json.dumps(found.spec))["learned"]
    assert (said["coupling"], said["network"], said["rows"]) == (coupling, network, 16)
    assert {"importance_loss", "diversity_loss", "log_sigma_importance"} <= set(found.learned["last_log"])


def test_a_seed_says_it_all_and_the_order_of_the_pool_nothing(tiny_model):
    pool = pool_of(24)
    one, again, turned, other = (
        learner(tiny_model, seed=seed, fraction=0.5).fit(rows)
        for rows, seed in ((pool, 0), (pool, 0), (pool.shuffle(seed=3), 0), (pool, 1))
    )
    assert one.spec == again.spec == turned.spec
    assert one.spec != other.spec


def test_an_adapter_trains_too_and_the_proxy_stays_as_it_is(tiny_model):
    before = Proxy(tiny_model).digest
    found = learner(tiny_model, training={"method": "lora", "lora": {"r": 4}}).fit(pool_of(16))
    assert np.isfinite(found(pool_of(16)[:])["coido"]).all()
    torch.manual_seed(0)  # as the fit began
    start = make_network(**found.network).state_dict()
    moved = [not np.allclose(found.weights[name], value.numpy(), atol=1e-4) for name, value in start.items()]
    assert sum(moved) > len(moved) / 2
    assert Proxy(tiny_model).digest == before


def test_the_authors_way_is_their_deviation_and_counts_tokens(tiny_model):
    # One step of all rows, so what is logged is from before any training. Without scores both cluster alike.
    one_step = {"scores": [], "training": {"batch_size": 16, "sft": {"logging_steps": 1}}}
    ours, theirs = (
        learner(tiny_model, fidelity=fidelity, **one_step).fit(pool_of(16)).learned["last_log"]
        for fidelity in ("corrected", "authors")
    )
    assert theirs["diversity_loss"] == pytest.approx(np.sqrt(ours["diversity_loss"] + 1e-8), rel=1e-4)
    assert theirs["importance_loss"] > 1.05 * ours["importance_loss"]  # the hard rows have more tokens


def test_settings_nobody_gave_are_those_of_the_paper(tiny_model):
    plain, training = CoIDO(Proxy(tiny_model)), CoTraining()
    assert (plain.fraction, plain.clusters, plain.clustering, plain.neighbours) == (0.2, 20, "spectral", 30)
    assert (plain.coupling, plain.network, plain.width, plain.dropout) == ("uncertainty", "mlp", 256, 0.1)
    given = training.arguments(plain.proxy, 0)
    asked = {"num_train_epochs": 2, "per_device_train_batch_size": 8, "learning_rate": 2e-5, "weight_decay": 0}
    asked |= {"lr_scheduler_type": "cosine", "warmup_steps": 0.03}
    assert asked.items() <= given.items()
    adapter = _adapter(training)
    assert (adapter.r, adapter.lora_alpha) == (128, 256)


def test_self_filter_is_linear_and_finds_the_hard_rows(tiny_model):
    found = learner(tiny_model, SelfFilter, training={"epochs": 4.0, "network_learning_rate": 5e-2}).fit(pool_of())
    assert {name: value.shape for name, value in found.weights.items()} == {"factors.weight": (1, 4)}
    said = found.learned["last_log"]  # importance alone: no sigma that moves, no clusters
    assert said["importance_loss"] > 0 and said["diversity_loss"] == said["log_sigma_importance"] == 0
    scored = pool_of(30, seed=7).map(found, batched=True)
    hard = np.array(scored["hard"])
    assert np.array(scored["self_filter"])[hard].min() > np.array(scored["self_filter"])[~hard].max()


def test_rows_without_a_loss_or_an_embedding_are_not_learned_from(tiny_model):
    rows = pool_of(20).to_list()
    rows[3]["completion"], rows[5]["embedding"] = "", None
    found = learner(tiny_model, incomplete="not_scored").fit(Dataset.from_list(rows))
    assert found.spec["learned"]["rows"] == 18
    scored = found(Dataset.from_list(rows)[:])
    assert scored["coido_status"][5] == "missing_embedding"
    assert np.isnan(scored["coido"]).sum() == 1  # the row without a loss has features, and so a score


def test_every_row_of_a_share_keeps_its_own_features(tiny_model):
    rows = pool_of(24).to_list()
    for place in (2, 9, 10, 17):
        rows[place] |= {"completion": ""} if place % 2 else {"embedding": None}
    share = draw_share(Dataset.from_list(rows), Proxy(tiny_model), LABELS, ["embedding"], ["length"], 0.8, seed=3)
    assert 14 <= len(share.rows) <= 19 and len(share.rows) == len(share.features.embedding)
    unit = np.array(share.rows["embedding"])
    assert share.features.embedding == pytest.approx(unit / np.linalg.norm(unit, axis=1, keepdims=True), abs=1e-6)


def test_faults_are_told_before_anything_runs(tiny_model):
    with pytest.raises(BadRecipe, match=r"`clustering` is 'ward'[\s\S]*`coupling` is 'product'"):
        learner(tiny_model, clustering="ward", coupling="product")
    with pytest.raises(BadBudget, match="`fraction` is 2"):
        learner(tiny_model, fraction=2)
    with pytest.raises(BadRecipe, match=r"`batch_size` is 1[\s\S]*`sft` has 'learning_rate': set `learning_rate`"):
        CoTraining(batch_size=1, sft={"learning_rate": 1.0})
    with pytest.raises(BadRecipe, match="`sft` has 'leraning_rate'"):
        learner(tiny_model, training={"sft": {"leraning_rate": 1}}).fit(pool_of(8))
    with pytest.raises(BadRow, match="`clusters` is 20, expected at most 8"):
        learner(tiny_model, clusters=20).fit(pool_of(8))
    with pytest.raises(BadRow, match="leaves 1 rows with a loss"):
        learner(tiny_model, fraction=0.1).fit(pool_of(10))
    with pytest.raises(BadBudget, match="`embeddings` is 'clip', expected a column"):
        learner(tiny_model, embeddings=["clip"]).fit(pool_of(8))
