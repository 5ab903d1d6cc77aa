"""Every engine on real rows and a pretrained proxy: 16 bits, calibrated steps, groups, padding, fresh processes."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset
from scipy.stats import spearmanr
from transformers import AutoModelForCausalLM

from hf_datasel import OneStepTrain, Proxy
from hf_datasel.errors import DataselError
from hf_datasel.proxy.engines import choose
from hf_datasel.proxy.engines.finite_differences import LENGTHS, finite_differences
from hf_datasel.proxy.proxy import encode

from .families import LABELS, near, plain_gradient, save_model


@pytest.fixture(scope="module")
def rows(real_rows):
    """60 real rows of many lengths."""
    return real_rows("pool.jsonl", 240).select(range(0, 240, 4))[:]


@pytest.fixture(scope="module")
def scorer(tiny_model, anchors):
    return OneStepTrain(Proxy(tiny_model), anchors, labels=LABELS, engine="per_row")


@pytest.fixture(scope="module")
def expected(scorer, rows):
    return scorer(rows)["ost_dot"]


@pytest.mark.parametrize("engine", ["forward_mode", "ghost"])
def test_exact_engines_equal_per_row_on_real_rows(scorer, rows, expected, engine):
    assert replace(scorer, engine=engine)(rows)["ost_dot"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("engine", ["forward_mode", "ghost"])
def test_in_bfloat16_the_order_stays(scorer, rows, expected, engine):
    """Measured: rank correlation 0.998, largest difference 1 % of the largest value; `per_row` is no better."""
    rough = replace(scorer, proxy=Proxy(scorer.proxy.model, dtype="bfloat16"), engine=engine)
    found = rough(rows)["ost_dot"]
    assert spearmanr(found, expected).statistic > 0.99
    assert np.max(np.abs(found - expected)) < 0.03 * np.max(np.abs(expected))
    assert (rough.engine_report["engine"], rough.engine_report["passed_over"]) == (engine, {})


def test_rounded_forward_mode_ranks_as_exact_values_do(scorer, rows, expected):
    rough = replace(scorer, engine="bfloat16")
    found = rough(rows)["ost_dot"]
    assert np.corrcoef(found, expected)[0, 1] >= 0.999
    assert 0 < rough.engine_report["difference"] < 0.03
    assert found.tolist() != replace(scorer, engine="forward_mode")(rows)["ost_dot"].tolist()
    assert {value.dtype for value in rough._engines(None)[0].anchors.proxy.parameters.values()} == {torch.float32}


def test_rounded_forward_mode_that_does_not_correlate_is_refused(scorer, rows, real_rows, monkeypatch):
    scorer = replace(scorer, anchors=real_rows("held_out.jsonl", 10))
    monkeypatch.setattr("hf_datasel.proxy.engines.choice.ROUNDED_AGREEMENT", 1.0)
    with pytest.raises(DataselError, match=r"`engine` is 'bfloat16', which correlates with exact values at [01]"):
        replace(scorer, engine="bfloat16")(rows)


@pytest.mark.parametrize("engine", ["finite_differences", "bfloat16"])
def test_engines_that_round_are_refused_in_bfloat16(tiny_model, anchors, engine):
    rough = OneStepTrain(Proxy(tiny_model, dtype="bfloat16"), anchors, labels=LABELS)
    with pytest.raises(ValueError, match=rf"`engine` is '{engine}' and `proxy.dtype` 'bfloat16', expected"):
        replace(rough, engine=engine)
    loaded = rough._engines(None)[0]
    with pytest.raises(
        ValueError, match=r"is torch.bfloat16, expected float32 or float64: in 16 bits .* rounding noise"
    ):
        choose(loaded.task, engine, loaded.anchors.rows, loaded.budget)
    with pytest.raises(ValueError, match="rounding noise"):
        finite_differences(loaded.task, (1e-3,))


def test_calibrated_finite_differences_rank_as_exact_values_do(scorer, rows, expected):
    moved = replace(scorer, engine="finite_differences")
    found = moved(rows)["ost_dot"]
    assert spearmanr(found, expected).statistic >= 0.999
    assert found == near(expected, 1e-3)
    report = moved.engine_report
    assert report["steps"] == [step for step in LENGTHS if step in report["steps"]] and len(report["steps"]) == 1
    assert report["rows_checked"] == len(scorer.anchors)
    assert 0 < report["difference"] < 1e-3


def test_each_direction_has_a_step_of_its_own(scorer, rows, anchors):
    grouped = anchors.select(range(3)).add_column("group", ["a", "b", "a"])
    moved = replace(scorer, anchors=grouped, anchor_groups="group", engine="finite_differences")
    some = {name: values[:8] for name, values in rows.items()}
    found, exact = moved(some), replace(moved, engine="per_row")(some)
    for group in ("a", "b"):
        assert found[f"ost_utility_group_{group}"] == near(exact[f"ost_utility_group_{group}"], 1e-3)
    assert len(moved.engine_report["steps"]) == 2


def test_the_step_that_agrees_best_is_taken(scorer, rows, monkeypatch):
    """Whatever the order in which they are tried: one overflows, one is too long, one good, one lost in rounding."""
    some = {name: values[:1] for name, values in rows.items()}
    for lengths in ((1e20, 3.0, 1e-3, 1e-7), (1e-7, 1e-3, 3.0, 1e20)):
        monkeypatch.setattr("hf_datasel.proxy.engines.choice.LENGTHS", lengths)
        moved = replace(scorer, anchors=scorer.anchors[:2], engine="finite_differences")
        moved(some)
        assert moved.engine_report["steps"] == [1e-3]


@pytest.mark.parametrize("lengths", [(30.0, 300.0), (1e-8,)])
def test_a_direction_that_cannot_be_calibrated_is_refused(scorer, rows, monkeypatch, lengths):
    monkeypatch.setattr("hf_datasel.proxy.engines.choice.LENGTHS", lengths)
    with pytest.raises(DataselError, match=r"its best step differs by .* from exact values .* Use engine='auto'"):
        replace(scorer, anchors=scorer.anchors[:3], engine="finite_differences")(rows)


@pytest.mark.parametrize("engine", ["forward_mode", "ghost", "finite_differences"])
def test_anchors_without_finite_values_let_no_engine_be_named(scorer, rows, engine):
    broken = replace(scorer, anchors=scorer.anchors[:2], engine=engine)
    next(iter(broken._engines(None)[0].anchors.proxy.parameters.values()))[:] = float("nan")
    with pytest.raises(DataselError, match=f"`engine` is '{engine}'"):
        broken(rows)


def test_ghost_products_give_every_column_of_groups(scorer, rows, real_rows):
    """Three groups of unlike sizes, one a single anchor."""
    grouped = real_rows("held_out.jsonl", 7).add_column("group", ["a", "b", "c", "a", "b", "a", "a"])
    slow = replace(scorer, anchors=grouped, anchor_groups="group", group_score="minimum")
    some = {name: values[::3] for name, values in rows.items()}
    fast = replace(slow, engine="auto")
    found, exact = fast(some), slow(some)
    assert fast.engine_report["engine"] == "ghost"
    groups = np.stack([found[f"ost_utility_group_{group}"] for group in "abc"])
    for column in slow.columns:
        if column != "ost_utility_status":
            assert found[column] == near(exact[column], 1e-5)
    assert found["ost_utility"] == pytest.approx(groups.min(0))
    assert not np.allclose(groups[0], groups[1], rtol=0.01)


@pytest.mark.parametrize("tied", [True, False])
def test_padding_tokens_within_rows_count_as_in_training(tiny_model, tmp_path, anchors, pool, tied):
    """The model pads with its end-of-sequence token, which stands in the rows; a head tied to it has a gradient there."""
    model = save_model(tmp_path, tiny_model, "LlamaConfig", pad_token_id=2, tie_word_embeddings=tied)
    scorer = OneStepTrain(Proxy(model), anchors.select(range(3)), labels=LABELS)
    rows = {"prompt": [f"{row}</s> " for row in pool[:4]["prompt"]], "completion": pool[:4]["completion"]}
    found = scorer._engines(None)[0].anchors
    tokens = [encode({key: rows[key][i] for key in rows}, found.proxy, LABELS) for i in range(4)]
    assert all(2 in row.input_ids[1:-1] for row in tokens)
    plain = AutoModelForCausalLM.from_pretrained(model)
    names = list(found.proxy.parameters)
    direction = sum(plain_gradient(plain, row, names) for row in found.rows) / 3
    by_hand = [float(direction @ plain_gradient(plain, row, names)) for row in tokens]
    for engine, tolerance in {
        "per_row": 1e-5,
        "forward_mode": 1e-5,
        "ghost": 1e-5,
        "finite_differences": 1e-3,
    }.items():
        assert replace(scorer, engine=engine)(rows)["ost_dot"] == near(by_hand, tolerance)


FRESH_PROCESS = """
import json, sys
from datasets import load_from_disk
from hf_datasel import Labels, OneStepTrain, Proxy
folder, model = sys.argv[1:]
rows, anchors = (load_from_disk(f"{folder}/{name}") for name in ("rows", "anchors"))
reports = {}
for engine in ("auto", "finite_differences"):
    scorer = OneStepTrain(Proxy(model), anchors, labels=Labels(max_length=512), engine=engine)
    scorer(rows[:6])
    reports[engine] = scorer.engine_report
print(json.dumps(reports))
"""


@pytest.mark.slow
def test_a_fresh_process_and_a_resumed_run_choose_alike(tiny_model, anchors, rows, tmp_path, monkeypatch):
    """A process scores the first rows; another takes up its journal, where the rows to come are others."""
    pool = Dataset.from_dict(rows).select(range(12))
    pool.save_to_disk(tmp_path / "rows")
    anchors.save_to_disk(tmp_path / "anchors")
    monkeypatch.setenv("HF_DATASEL_JOURNAL", str(tmp_path / "journal.sqlite"))
    command = [sys.executable, "-c", FRESH_PROCESS, str(tmp_path), tiny_model]
    reports = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert reports["auto"]["engine"] == "forward_mode" and reports["finite_differences"]["steps"]
    for engine, report in reports.items():
        monkeypatch.setenv("HF_DATASEL_JOURNAL", str(tmp_path / "journal.sqlite"))
        resumed = OneStepTrain(Proxy(tiny_model), anchors, labels=LABELS, engine=engine)
        first = resumed(pool[:6])["ost_dot"]
        assert "_loaded" not in vars(resumed)  # all from the journal: nothing was measured
        assert resumed.engine_report == report  # chosen when asked for
        last = resumed(pool[6:])["ost_dot"]
        monkeypatch.setenv("HF_DATASEL_JOURNAL", "off")
        whole = replace(resumed)
        assert np.array_equal(first, whole(pool[:6])["ost_dot"])
        assert np.array_equal(last, whole(pool[6:])["ost_dot"])
        assert whole.engine_report == report
