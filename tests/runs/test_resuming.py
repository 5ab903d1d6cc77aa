"""Scoring that is killed: whatever the moment, the result is the same to the last bit."""

import sqlite3
import subprocess
import sys

import pytest
from datasets import Dataset

from hf_datasel import Labels, OneStepTrain, Perplexity, Proxy, score
from hf_datasel.rows import journal as journal_module


KILLS = 20
COLUMNS = ("ost_utility", "ost_utility_status", "ost_row_loss", "ost_dot")


@pytest.fixture
def scorer(tiny_model, anchors):
    return OneStepTrain(Proxy(tiny_model), anchors, labels=Labels(max_length=512))


@pytest.fixture(scope="module")
def rows(real_rows):
    """150 real rows, one of them twice, one that cannot be scored."""
    found = real_rows("pool.jsonl", 148).to_list()
    return Dataset.from_list([*found, found[5], {**found[6], "completion": ""}])


def in_journal(path):
    with sqlite3.connect(path) as connection:
        return connection.execute("select count(*) from rows").fetchone()[0]


# Imports everything once, runs nothing itself, and forks: what is killed is a real process that has written what it has.
KILLER = """
import os, signal, sqlite3, sys, threading, time
import numpy as np
import tqdm
from datasets import Dataset
from hf_datasel import Labels, OneStepTrain, Proxy, score
import hf_datasel.proxy.utility

model, folder, kills = sys.argv[1], sys.argv[2], int(sys.argv[3])
rows, anchors = (Dataset.from_parquet(f"{folder}/{name}.parquet", keep_in_memory=True) for name in ("rows", "anchors"))
path = folder + "/killed.sqlite"
# tqdm's own lock is shared by forked processes: one that is killed while it draws would hang all that follow.
tqdm.tqdm.set_lock(threading.RLock())
Proxy(model).load(Labels(), None)  # imports what the model needs

def done():
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            return connection.execute("select count(*) from rows").fetchone()[0]
    except sqlite3.DatabaseError:
        return 0

draw = np.random.default_rng(0)
for _ in range(kills):
    goal = done() + int(draw.integers(1, 5))
    child = os.fork()
    if child == 0:
        score(rows, OneStepTrain(Proxy(model), anchors, labels=Labels(max_length=512)), journal=path)
        os._exit(0)
    while done() < goal:
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "ended before it could be killed"
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


@pytest.mark.slow
def test_killed_at_twenty_random_points_it_ends_with_the_identical_result(
    tiny_model, anchors, rows, tmp_path, monkeypatch
):
    monkeypatch.setenv("HF_DATASEL_MAX_TOKENS", "512")  # small batches: many points to be killed at
    rows.to_parquet(str(tmp_path / "rows.parquet"))
    anchors = anchors.select([0])  # each of the processes loads and measures them anew
    anchors.to_parquet(str(tmp_path / "anchors.parquet"))
    scorer = OneStepTrain(Proxy(tiny_model), anchors, labels=Labels(max_length=512))
    command = [sys.executable, "-c", KILLER, tiny_model, str(tmp_path), str(KILLS)]
    killer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert killer.returncode == 0, killer.stderr[-3000:]
    assert KILLS <= in_journal(tmp_path / "killed.sqlite") < len(rows)
    resumed = score(rows, scorer, journal=tmp_path / "killed.sqlite")
    whole = score(rows, scorer, journal=tmp_path / "whole.sqlite")
    assert all(str(resumed[name][:]) == str(whole[name][:]) for name in COLUMNS)


@pytest.mark.parametrize("kind", [OneStepTrain, Perplexity])
def test_a_plain_map_resumes_too(tiny_model, anchors, rows, tmp_path, monkeypatch, kind):
    monkeypatch.setenv("HF_DATASEL_JOURNAL", str(tmp_path / "journal.sqlite"))
    arguments = (Proxy(tiny_model), anchors) if kind is OneStepTrain else (Proxy(tiny_model),)
    scorer = kind(*arguments, labels=Labels(max_length=512))
    first = rows.map(scorer, batched=True, keep_in_memory=True)
    again = kind(*arguments, labels=Labels(max_length=512))
    # Without a proxy to load, the second can only know it from the journal.
    monkeypatch.setattr(Proxy, "load", lambda *_: pytest.fail("scored again"))
    # Another batch size, order and set of rows: the same rows.
    second = rows.shuffle(seed=1).map(
        again, batched=True, batch_size=7, keep_in_memory=True, load_from_cache_file=False
    )
    assert dict(zip(second["prompt"][:], second[scorer.columns[0]][:], strict=True)).keys() == set(rows["prompt"])
    by_row = {str(row["prompt"]) + str(row["completion"]): str(row[scorer.columns[0]]) for row in first}
    assert all(by_row[row["prompt"] + row["completion"]] == str(row[scorer.columns[0]]) for row in second)


def test_another_setting_or_row_is_not_answered(tiny_model, anchors, rows, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASEL_JOURNAL", str(tmp_path / "journal.sqlite"))
    few = rows.select(range(6))
    proxy, labels = Proxy(tiny_model), Labels(max_length=512)
    found = OneStepTrain(proxy, anchors, labels=labels)(few[:])["ost_utility"]
    other = OneStepTrain(proxy, anchors, labels=labels, learning_rate=1e-3)(few[:])["ost_utility"]
    assert other == pytest.approx(100 * found)
    summed = OneStepTrain(proxy, anchors, labels=labels, reduction="sum")(few[:])["ost_utility"]
    assert summed.tolist() != found.tolist()
    fewer = OneStepTrain(proxy, anchors.select(range(3)), labels=labels)(few[:])["ost_utility"]
    assert fewer.tolist() != found.tolist()
    assert in_journal(tmp_path / "journal.sqlite") == 4 * 6


def test_off_means_off(tiny_model, rows, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_DATASEL_JOURNAL", "off")
    Perplexity(Proxy(tiny_model))(rows[:3])
    assert not list(tmp_path.rglob("journal*"))
    monkeypatch.delenv("HF_DATASEL_JOURNAL")
    Perplexity(Proxy(tiny_model))(rows[:3])
    assert in_journal(tmp_path / "datasel" / "journal.sqlite") == 3
    assert journal_module.default_journal() == str(tmp_path / "datasel" / "journal.sqlite")


def test_workers_of_map_do_not_hang_and_agree(scorer, rows):
    alone = rows.map(scorer, batched=True, batch_size=50, load_from_cache_file=False)
    # The parent has run torch by now: with more than one thread in the workers, a fork would hang here.
    spread = rows.map(scorer, batched=True, batch_size=50, num_proc=2, with_rank=True, load_from_cache_file=False)
    assert spread["ost_utility"][:] == pytest.approx(alone["ost_utility"][:], rel=1e-5, nan_ok=True)
