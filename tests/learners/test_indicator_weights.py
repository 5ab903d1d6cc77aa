"""Indicator weights, from gains planted and from gains of a real proxy."""

import json
import pickle

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel import (
    DataWhisperer,
    Indicator,
    IndicatorWeights,
    Labels,
    LogicalComplexity,
    Proxy,
    ResponseLength,
    weighted_sum,
)
from hf_datasel.errors import BadRow
from hf_datasel.learners.data_whisperer import exact_match
from hf_datasel.learners.in_context_gains import exact_match_gains
from hf_datasel.learners.learned_weights import Judge
from hf_datasel.learners.weight_search import objective
from hf_datasel.proxy.in_context import InContext
from hf_datasel.proxy.in_context_answers import answers_in_context


def planted(weights, rows=150, items=20, noise=0.3):
    draw = np.random.default_rng(0)
    indicators = draw.random((rows, len(weights)))
    return indicators, (indicators @ np.array(weights))[:, None] + noise * draw.normal(size=(rows, items))


def judged(indicators, gains, names="abcdefg", **options):
    judge = Judge(0.3, rounds=8, **options)
    return judge(tuple(names[: indicators.shape[1]]), indicators, gains, np.ones(gains.shape[1]), ("a", "b"))


def test_a_planted_trade_off_is_kept_and_reported():
    found = judged(*planted((1.0, 0.8, -1.0)))
    report = found.report
    assert report["kept"] == "learned" and report["held_out_interval"][0] > 0
    assert report["weights"]["c"] < 0.2 and report["weights"]["a"] > 0.25 and report["weights"]["b"] > 0.25
    assert report["objective"]["found"] > max(report["objective"][name] for name in ("a", "b", "c", "uniform"))
    ends, middle = (report["trade_off"][0], report["trade_off"][-1]), report["trade_off"][5]
    assert [ends[0][0], middle[0], ends[1][0]] == [0.0, 0.5, 1.0]
    assert ends[0][1] == pytest.approx(report["objective"]["a"]) and ends[1][1] == pytest.approx(
        report["objective"]["b"]
    )
    assert middle[1] > max(end[1] for end in ends)
    assert json.loads(json.dumps(report))["weights"] == report["weights"]


def test_noise_keeps_uniform_weights_where_rows_are_held_out():
    found = judged(*planted((0.0, 0.0, 0.0)))
    assert found.report["kept"].startswith("uniform: held out gain over uniform is -")
    assert found.weights == pytest.approx([1 / 3] * 3)
    assert judged(*planted((0.0, 0.0, 0.0)), guard="none").weights != pytest.approx([1 / 3] * 3)


def test_weights_found_are_a_point_of_the_surface():
    indicators, gains = planted((1.0, 0.8, 0.9, -1.0))
    own, found = gains.mean(1), np.array([0.3, 0.3, 0.3, 0.1])
    surface = Judge(0.3)._trade_off(("a", "b", "c", "d"), indicators, own, found, ("a", "b"))["surface"]
    assert (surface["parts"][6], surface["shares"][5]) == pytest.approx((0.6, 0.5))
    assert surface["objective"][6][5] == pytest.approx(objective(found, indicators, own, 0.3))
    assert surface["objective"][0][0] == pytest.approx(objective(np.array([0, 0, 0.75, 0.25]), indicators, own, 0.3))


def test_edges():
    indicators, gains = planted((1.0, 0.5))
    constant = np.column_stack([indicators, np.full(len(indicators), 0.5)])
    found = judged(constant, gains)
    assert found.weights[2] == 0 and found.report["constant"] == ["c"] and found.weights.sum() == pytest.approx(1)
    twice = judged(indicators[:, [0, 0, 1]], gains)
    assert twice.report["alike"] == [["a", "b"]] and np.isfinite(twice.weights).all()
    equal = judged(indicators, np.ones_like(gains))
    assert equal.weights.tolist() == [0.5, 0.5] and equal.report["kept"] == "uniform: all gains are equal"
    alone = judged(indicators[:, :1], gains)
    assert alone.weights.tolist() == [1.0] and alone.report["kept"] == "uniform: nothing to weigh"
    one_row = judged(indicators[:1], gains[:1])
    assert one_row.report["kept"].startswith("uniform") and one_row.weights.tolist() == [0.5, 0.5]


@pytest.fixture(scope="module")
def pool(real_rows):
    """Short rows of several lengths."""
    rows = real_rows("pool.jsonl", 330).select(range(0, 330, 25)).select_columns(["prompt", "completion"])
    return rows.map(ResponseLength(), batched=True).map(LogicalComplexity(), batched=True)


def learner(tiny_model, validation, **options):
    indicators = [Indicator("response_length"), Indicator("response_length", "low"), Indicator("logical_complexity")]
    return IndicatorWeights(
        Proxy(tiny_model), validation, indicators, **{"probes": 24, "rounds": 8, "longest": 1.0, **options}
    )


def test_two_tasks_on_one_pool_have_two_weights(tiny_model, real_rows):
    # The same questions answered in two ways: an example in a task's own way is the better one for it.
    rows = [row for row in real_rows("pool.jsonl", 40) if row["task"] == "svamp"][:18]
    equations = [{"prompt": row["prompt"], "completion": row["completion"], "equation": 1.0} for row in rows]
    words = [
        {
            **row,
            "completion": "The big red dog said " + row["completion"].split()[-1] + ".",
            "equation": 0.0,
        }
        for row in equations
    ]
    pool = Dataset.from_list([*equations[:8], *words[8:16]])
    indicators = [Indicator("equation"), Indicator("equation", "low")]
    for validation, own in ((equations[16:], "equation"), (words[16:], "low equation")):
        its = IndicatorWeights(
            Proxy(tiny_model), validation, indicators, probes=16, rounds=8, longest=1.0, guard="none"
        )
        report = its.learn(pool).report
        assert report["weights"][own] > 0.5
        other = {"equation": "low equation", "low equation": "equation"}[own]
        assert report["objective"][own] > report["objective"][other] + 0.04


def test_the_search_needs_no_model(tiny_model, pool, real_rows, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASEL_JOURNAL", str(tmp_path / "journal.sqlite"))
    validation = list(real_rows("held_out.jsonl", 2))
    first = learner(tiny_model, validation, probes=6).learn(pool)
    monkeypatch.setattr(Proxy, "load", lambda *_: pytest.fail("a model was loaded"))
    again = learner(tiny_model, validation, probes=6, search="ridge").learn(pool)
    assert again.gains.tolist() == first.gains.tolist()
    assert set(again.report["weights"]) == set(first.report["weights"])


def test_the_defaults_are_those_of_the_design(tiny_model):
    its = IndicatorWeights(Proxy(tiny_model), [], [])
    assert (its.fraction, its.probes, its.items, its.rounds, its.shots, its.seed) == (0.3, 256, 100, 40, 4, 42)
    assert (its.normalisation, its.search, its.signed, its.temperature, its.longest) == (
        "rank",
        "bayes",
        False,
        None,
        0.25,
    )
    shown = DataWhisperer(Proxy(tiny_model), [])
    assert (shown.block, shown.num_queries, shown.seed, shown.metric) == (5, 8, 42, "exact_match")


def test_items_that_stand_for_more_rows_count_more(tiny_model, pool, real_rows):
    validation = real_rows("held_out.jsonl", 4).select_columns(["prompt", "completion"])
    validation = validation.add_column("embedding", [[1.0, 0.0], [1.0, 0.01], [1.0, -0.01], [0.0, 1.0]])
    its = learner(tiny_model, validation, items=2, embedding="embedding", probes=6, search="random").learn(pool)
    assert its.gains.shape[1] == its.report["items"] == 2
    assert its.report["objective"]["random"] == pytest.approx((its.gains @ [0.75, 0.25]).mean())


def test_another_task_option_or_indicator_is_another_spec(tiny_model, pool, real_rows):
    validation = real_rows("held_out.jsonl", 3)
    its = learner(tiny_model, validation)
    assert json.loads(json.dumps(its.spec)) == its.spec
    assert its.spec == learner(tiny_model, list(validation)).spec
    assert its.reads == ("response_length", "logical_complexity")
    others = [
        learner(tiny_model, validation.select([0, 1])), learner(tiny_model, validation, fraction=0.2),
        IndicatorWeights(Proxy(tiny_model, dtype="float64"), validation, its.indicators, probes=24, rounds=8, longest=1.0),
        IndicatorWeights(its.proxy, validation, its.indicators[:2], probes=24, rounds=8, longest=1.0),
    ]  # fmt: skip
    specs = [json.dumps(one.spec) for one in (its, *others)]
    assert len(set(specs)) == len(specs)


def test_the_scorer_scores_like_any_other(tiny_model, pool, real_rows):
    scorer = learner(tiny_model, list(real_rows("held_out.jsonl", 2)), probes=6, search="random").fit(pool)
    scored = pool.map(scorer, batched=True)
    assert scored["weighted_sum_status"][:] == ["ok"] * len(pool)
    assert pickle.loads(pickle.dumps(scorer)).spec == scorer.spec  # noqa: S301 (our own bytes)
    assert scorer.spec["learned"]["items"] == 2


def test_a_shuffled_pool_has_the_same_probes(tiny_model, pool, real_rows):
    its = learner(tiny_model, list(real_rows("held_out.jsonl", 2)), probes=5, search="random")
    one, other = its.learn(pool), its.learn(pool.shuffle(seed=1))
    assert one.report["weights"] == other.report["weights"]
    assert one.gains == pytest.approx(other.gains, abs=1e-6)


def test_rows_of_the_task_and_copies_are_no_probes(tiny_model, pool):
    its = learner(tiny_model, pool.select([0, 1]), search="random")
    twice = Dataset.from_list([*pool.select(range(5)), pool[2]])
    learned = its.learn(twice)
    assert sorted(learned.probes.tolist()) == [2, 3, 4] and learned.report["probes"] == {"ok": 3}


def test_what_does_not_fit_is_counted_and_never_zero(tiny_model, pool, real_rows, caplog):
    validation = list(real_rows("held_out.jsonl", 2))
    long = Dataset.from_list([*pool, {**pool[0], "prompt": "So " * 300, "response_length": 5.0}])
    learned = learner(tiny_model, validation, probes=100, search="random").learn(long)
    assert learned.report["probes"]["longer_than_context"] == 1 and len(long) - 1 not in learned.probes
    assert "probes were left out" in caplog.text
    with pytest.raises(BadRow, match=r"none of 6 rows could be shown .*'demonstration_too_long': 6"):
        learner(tiny_model, validation, probes=6, longest=0.01).learn(pool)


def test_exact_match_in_blocks(tiny_model, pool, real_rows):
    its = learner(tiny_model, list(pool.select([0, 1])), probes=4, signal="exact_match", shots=2, max_new_tokens=4)
    learned = its.learn(pool.select(range(12)))
    assert learned.gains.shape == (len(learned.probes), 2)
    assert set(np.unique(learned.gains)) <= {-1.0, -0.5, 0.0, 0.5, 1.0}
    with pytest.raises(BadRow, match="`validation` has a question without room for 500 tokens"):
        learner(tiny_model, list(pool.select([0])), signal="exact_match", max_new_tokens=500).learn(pool)


def test_what_is_right_without_examples_is_taken_off_the_gain(tiny_model):
    # The proxy goes on with zeros, after the first story too, and not after the second.
    items = [{"prompt": "1 2 3 1 2 3 1 2", "completion": answer} for answer in (" 0", " 7")]
    stories = [
        {"prompt": "Once upon a time, there was a", "completion": " little girl named Lily."},
        {"prompt": "Tom saw a big dog. The dog", "completion": " was happy."},
    ]
    engine = InContext(Proxy(tiny_model).load(Labels()), items, Labels())
    right = [
        [
            exact_match(said, its["completion"])
            for said, its in zip(answers_in_context(engine, shots, 4)[1], items, strict=True)
        ]
        for shots in ([], stories[:1], stories[1:])
    ]
    assert right == [[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]
    status, gains = exact_match_gains(engine, stories, 1, 4, 1.0, seed=0)
    assert status == ["ok", "ok"] and gains.tolist() == [[0.0, 0.0], [-1.0, 0.0]]


def test_faults_are_said(tiny_model, pool):
    for option, value in (("search", "grid"), ("guard", "some"), ("signal", "bleu"), ("temperature", 0.0)):
        with pytest.raises(ValueError, match=f"`{option}` is {value!r}"):
            learner(tiny_model, pool, **{option: value})
    with pytest.raises(BadRow, match="`indicators` is empty"):
        weighted_sum(pool, [])
    same = pool.remove_columns(["response_length", "logical_complexity"])
    same = same.add_column("response_length", [1.0] * len(pool)).add_column("logical_complexity", [2.0] * len(pool))
    with pytest.raises(BadRow, match=r"`indicators` .* are constant in the pool"):
        learner(tiny_model, list(pool.select([0]))).learn(same)
    with pytest.raises(BadRow, match="`pool` has no row with an indicator that is not an item"):
        learner(tiny_model, pool).learn(pool)


def test_labels_do_not_cut_answers(tiny_model, pool, real_rows):
    validation = list(real_rows("held_out.jsonl", 2))
    whole, cut = (
        learner(tiny_model, validation, probes=3, search="random", labels=Labels(max_length=length)).learn(pool).gains
        for length in (512, 8)
    )
    assert whole == pytest.approx(cut)
