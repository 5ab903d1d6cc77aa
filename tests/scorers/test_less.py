"""LESS by its released definition: Adam directions, cosines, checkpoints by weight, the best subtask."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments

from hf_datasel import ICONS, LESS, GradientStore, Labels, Proxy, score, select
from hf_datasel.errors import BadRow, DataselError, OverlapError
from hf_datasel.proxy.gradient_store import GradientReader
from hf_datasel.proxy.losses import collate, row_values, token_losses
from hf_datasel.proxy.one_step import gradient
from hf_datasel.proxy.proxy import encode
from hf_datasel.scorers.less import weighted
from hf_datasel.scorers.with_gradients import group_means


LABELS = Labels(max_length=512)


@pytest.fixture(scope="module")
def checkpoints(tiny_model, tmp_path_factory):
    """Two checkpoints of one training, with the state of Adam."""
    rows = Dataset.from_list([{"input_ids": [1, n, n + 1], "labels": [1, n, n + 1]} for n in range(9, 33)])
    folder = tmp_path_factory.mktemp("trained")
    arguments = TrainingArguments(
        str(folder), max_steps=4, save_steps=2, learning_rate=1e-3, report_to="none", use_cpu=True, disable_tqdm=True
    )
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_model), AutoTokenizer.from_pretrained(tiny_model)
    Trainer(model, arguments, train_dataset=rows, processing_class=tokenizer).train()
    return [str(folder / "checkpoint-2"), str(folder / "checkpoint-4")]


@pytest.fixture
def scorer(tiny_model, anchors, tmp_path):
    subtasks = anchors.add_column("subtask", ["a", "a", "a", "b", "b", "b"])
    store = GradientStore(str(tmp_path), 4096, dtype="float32")
    return LESS(Proxy(tiny_model), subtasks, store, gradient="sgd", anchor_groups="subtask", labels=LABELS)


def test_checkpoints_by_weight_and_the_best_subtask():
    values = weighted([np.array([[0.9]]), np.array([[0.3]])], (2e-5, 1e-5))
    assert values[0, 0] == pytest.approx(0.7, abs=1e-12)
    rows = [{"t": name} for name in ("one", "one", "two", "two")]
    influence = group_means(np.array([[0.2, 0.4, 0.9, -0.1]]), rows, "t")
    assert influence.max(1)[0] == pytest.approx(0.4, abs=1e-12)  # a flat mean would say .35


def test_it_is_the_mean_cosine_of_adam_directions_with_gradients(scorer, checkpoints, pool, anchors):
    """Unprojected, from the optimizer's own file, up to the error of the projection."""
    less = replace(scorer, checkpoints=checkpoints, weights=(3.0, 1.0), gradient="adam")
    rows = pool.select(range(6))
    found = less(rows[:])
    expected = np.zeros((6, 2))
    for place, weight in zip(checkpoints, (0.75, 0.25), strict=True):
        directions = [_unit(place, row, True) for row in rows]
        gradients = [_unit(place, row, False) for row in anchors]
        cosines = np.array([[float(d @ g) for g in gradients] for d in directions])
        expected += weight * np.stack([cosines[:, :3].mean(1), cosines[:, 3:].mean(1)], 1)
    # A cosine of projected vectors is off by (1 - c^2) / K^0.5 = .016 at most; means of several, alike in sign.
    for place, group in enumerate("ab"):
        assert found[f"less_influence_group_{group}"] == pytest.approx(expected[:, place], abs=0.05)
    assert found["less_influence"] == pytest.approx(expected.max(1), abs=0.05)
    assert np.corrcoef(found["less_influence"], expected.max(1))[0, 1] > 0.9


def _unit(place, row, adam):
    proxy = Proxy(place).load(LABELS)
    batch = collate([encode(row, proxy, LABELS)], proxy)
    own, _ = gradient(lambda p: row_values(token_losses(proxy, p, batch), batch, "mean").sum(), proxy.parameters)
    if adam:
        state = torch.load(Proxy(place).optimizer, weights_only=True)
        # The Trainer numbers decayed parameters first; norms are not decayed.
        names = sorted(own, key=lambda name: ("norm" in name, list(own).index(name)))
        for number, name in enumerate(names):
            mean, square = (state["state"][number][moment] for moment in ("exp_avg", "exp_avg_sq"))
            top = 0.9 * mean + 0.1 * own[name]
            own[name] = top / (0.999 * square + 0.001 * own[name] ** 2 + 1e-8).sqrt()
    vector = torch.cat([value.double().flatten() for value in own.values()])
    return (vector / vector.norm()).numpy()


def test_the_best_subtask_or_their_mean_is_the_score(scorer, pool):
    rows = pool[:6]
    found, mean = scorer(rows), replace(scorer, group_score="mean")(rows)
    groups = np.stack([found["less_influence_group_a"], found["less_influence_group_b"]])
    assert np.abs(groups[0] - groups[1]).min() > 1e-4, "alike, they would prove nothing"
    assert found["less_influence"].tolist() == groups.max(0).tolist()
    assert mean["less_influence"] == pytest.approx(groups.mean(0), abs=1e-12)


def test_other_anchors_cost_no_pass_over_the_pool(scorer, pool, real_rows):
    scorer(pool[:])
    other = replace(scorer, anchors=real_rows("held_out.jsonl", 12).select([8, 9]).to_list(), anchor_groups=None)
    (reader, _), *_ = other._readers(None)
    reader.__dict__.pop("_gradients")
    found = other(pool[:])
    assert np.isfinite(found["less_influence"]).all() and "_gradients" not in reader.__dict__


def test_the_specialists_of_icons_and_their_vote(scorer, pool):
    scored = score(pool, scorer, journal="off")
    names = ("less_influence_group_a", "less_influence_group_b")
    kept = select(scored, ICONS(names, 0.25)).kept
    values = np.stack([np.array(scored[name]) for name in names], 1)
    both = (values >= np.quantile(values, 0.75, axis=0)).all(1)
    assert 0 < both.sum() <= 6 and set(np.array(scored["row_id"])[both]) <= set(kept["row_id"])


def test_what_cannot_be_is_refused(scorer, pool, anchors, tiny_model):
    with pytest.raises(OverlapError, match="`anchors` and the pool share"):
        scorer(anchors[:])
    bad = replace(scorer, anchors=[{"prompt": "Why?", "completion": ""}], anchor_groups=None)
    with pytest.raises(BadRow, match="`anchors` has 1 of 1 rows without a gradient"):
        bad(pool[:1])
    with pytest.raises(DataselError, match=r"optimizer\.pt"):
        replace(scorer, gradient="adam")(pool[:1])
    with pytest.raises(ValueError, match=r"`weights` is \(1.0, 2.0\) for 1 checkpoints"):
        replace(scorer, weights=(1.0, 2.0))
    with pytest.raises(ValueError, match="`gradient` is 'lion'"):
        replace(scorer, gradient="lion")
    with pytest.raises(ValueError, match="`anchor_groups` is 'task'"):
        replace(scorer, anchor_groups="task")
    with pytest.raises(ValueError, match="`anchors` has no rows"):
        replace(scorer, anchors=[])


def test_a_checkpoint_counts_by_content_and_the_folder_of_the_store_does_not(scorer, checkpoints, tmp_path):
    spec = scorer.spec
    assert replace(scorer, store=replace(scorer.store, folder=str(tmp_path / "other"))).spec == spec
    assert replace(scorer, store=replace(scorer.store, seed=1)).spec != spec
    assert replace(scorer, checkpoints=checkpoints[:1]).spec != replace(scorer, checkpoints=checkpoints[1:]).spec


def test_another_state_of_adam_is_another_store(scorer, checkpoints, tmp_path):
    place = shutil.copytree(checkpoints[0], tmp_path / "checkpoint")

    def folders():
        readers = (GradientReader(scorer.store, Proxy(str(place)), LABELS, kind) for kind in ("sgd", "adam"))
        return [reader.folder for reader in readers]

    plain, adam = folders()
    assert folders() == [plain, adam]
    state = torch.load(place / "optimizer.pt", weights_only=True)
    state["state"][0]["exp_avg"] += 1
    torch.save(state, place / "optimizer.pt")
    assert folders()[0] == plain and folders()[1] != adam


def test_matching_is_the_published_formula_on_random_features():
    """Inf(z, task) = max over subtasks of the mean over their anchors of the sum over checkpoints of w <f(z), f(v)>."""
    draw = np.random.default_rng(0)
    rows, anchors, checkpoints, width = 7, 5, 3, 16
    own, theirs = (draw.normal(size=(checkpoints, count, width)) for count in (rows, anchors))
    own, theirs = (its / np.linalg.norm(its, axis=-1, keepdims=True) for its in (own, theirs))
    rates, tasks = [2e-5, 1.5e-5, 0.5e-5], ["a", "b", "a", "c", "b"]
    expected = np.full(rows, -np.inf)
    for task in "abc":
        members = [place for place, name in enumerate(tasks) if name == task]
        for row in range(rows):
            total = 0.0
            for checkpoint, rate in enumerate(rates):
                for anchor in members:
                    total += (
                        rate / sum(rates) * float(own[checkpoint, row] @ theirs[checkpoint, anchor]) / len(members)
                    )
            expected[row] = max(expected[row], total)
    products = [own[checkpoint] @ theirs[checkpoint].T for checkpoint in range(checkpoints)]
    found = group_means(weighted(products, rates), [{"task": name} for name in tasks], "task").max(1)
    assert found == pytest.approx(expected, abs=1e-12)
