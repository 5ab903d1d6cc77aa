"""The verb `score`: what a plain map gives, and nothing lost when a run is stopped."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from hf_datasel import AUM, EL2N, IFD, Labels, OneStepTrain, Perplexity, Proxy, ResponseLength, score
from hf_datasel.errors import BadRecipe, BadRow, DataselError, OverlapError
from hf_datasel.runs import Journal, spec_key


@dataclass(frozen=True)
class StopsAfter:
    """Scores the length of the text; raises KeyboardInterrupt once `calls` batches are done."""

    calls: int
    seen: list = field(default_factory=list, compare=False)
    columns = ("length", "length_status")

    def __getstate__(self):
        return {"calls": self.calls}

    @property
    def spec(self):
        return {"scorer": "length"}

    def __call__(self, batch, rank=None):
        if len(self.seen) == self.calls:
            raise KeyboardInterrupt
        self.seen.append(list(batch["text"]))
        return {
            "length": np.array([float(len(text)) for text in batch["text"]]),
            "length_status": ["ok"] * len(batch["text"]),
        }


def test_score_adds_what_map_adds(tiny_model, pool, anchors):
    scorer = OneStepTrain(Proxy(tiny_model), anchors, labels=Labels(max_length=512))
    scored = score(pool, scorer, ResponseLength())
    mapped = pool.map(scorer, batched=True)
    assert scored["ost_utility"][:] == pytest.approx(mapped["ost_utility"][:], rel=1e-5)
    assert scored["response_length"][:] == [float(len(text)) for text in pool["completion"]]
    assert scored.column_names[: len(pool.column_names)] == pool.column_names
    assert len(set(scored["row_id"])) == len(pool)


def test_a_stopped_run_goes_on_where_it_stopped(tmp_path):
    pool = Dataset.from_dict({"text": ["x" * n for n in range(300)]})
    stopped = StopsAfter(calls=2)
    with pytest.raises(KeyboardInterrupt):
        score(pool, stopped, journal=tmp_path / "journal.sqlite")
    done = [text for batch in stopped.seen for text in batch]
    assert 0 < len(done) < 300
    rest = StopsAfter(calls=1000)
    scored = score(pool, rest, journal=tmp_path / "journal.sqlite")
    assert scored["length"][:] == [float(n) for n in range(300)]
    assert not set(done) & {text for batch in rest.seen for text in batch}
    again = StopsAfter(calls=0)
    shuffled = score(pool.shuffle(seed=0), again, journal=tmp_path / "journal.sqlite")
    assert shuffled.sort("length")["length"][:] == scored["length"][:]


def test_copies_of_a_row_share_a_score_and_keep_their_own_ids(tmp_path):
    pool = Dataset.from_dict({"text": ["one", "two", "one"]})
    scored = score(pool, StopsAfter(calls=1000), journal=tmp_path / "journal.sqlite")
    assert scored["length"][:] == [3.0, 3.0, 3.0]
    assert len(set(scored["row_id"])) == 3


def test_the_scorers_of_one_forward_stand_beside_each_other(tiny_model, pool):
    proxy = Proxy(tiny_model)
    scored = score(pool, Perplexity(proxy), IFD(proxy, drop_above_one=False), EL2N(proxy), AUM(proxy))
    losses = [scored[name][:] for name in ("row_loss", "ifd_row_loss", "el2n_row_loss", "aum_row_loss")]
    assert np.isfinite(losses).all() and len(set(losses[0])) > 1
    assert losses[1:] == [pytest.approx(losses[0], rel=1e-5)] * 3


def test_the_pool_is_checked_before_anything_runs(tiny_model, pool, anchors):
    with pytest.raises(BadRow, match="`pool` has no rows"):
        score(pool.select([]), ResponseLength())
    with pytest.raises(
        BadRow, match=r"`pool` is a list, expected a `datasets\.Dataset`\. Of a list: `Dataset\.from_list"
    ):
        score(pool.to_list(), ResponseLength())
    with pytest.raises(BadRow, match="`pool` is a DatasetDict"):
        score(DatasetDict(train=pool), ResponseLength())
    with pytest.raises(BadRecipe, match=r"`proxy` is 'somewhere', expected a Proxy"):
        score(pool, Perplexity("somewhere"))
    with pytest.raises(BadRow, match=r"already has the columns \['response_length'.*ResponseLength writes"):
        score(pool, StopsAfter(0), ResponseLength(), ResponseLength())  # StopsAfter would stop at its first batch
    with pytest.raises(BadRow, match=r"already has the columns \['response_length'\]"):
        score(pool.add_column("response_length", [1.0] * len(pool)), ResponseLength())
    scorer = OneStepTrain(Proxy("a model that does not exist"), anchors)
    with pytest.raises(OverlapError, match="`pool` shares 6 rows with `anchors`"):
        score(anchors, scorer)


def test_the_journal_keeps_every_bit(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite")
    values = {"a": {"score": 0.1 + 0.2, "why": "ok"}, "b": {"score": float("nan"), "why": "nan_loss"}}
    journal.put({"scorer": "x"}, values)
    found = Journal(tmp_path / "journal.sqlite").get({"scorer": "x"}, ["a", "b", "c"])
    assert found["a"] == values["a"] and np.isnan(found["b"]["score"]) and set(found) == {"a", "b"}
    assert journal.get({"scorer": "x", "learning_rate": 1}, ["a"]) == {}


def test_a_number_that_has_become_another_on_disk_is_scored_again(tmp_path, caplog):
    path = tmp_path / "journal.sqlite"
    rows = {row: {"score": 1.25} for row in "abc"}
    Journal(path).put({"scorer": "x"}, rows)
    with sqlite3.connect(path) as connection:
        connection.execute("update rows set columns = replace(columns, '1.25', '7.25') where row = 'a'")
        connection.execute("update rows set columns = (select columns from rows where row = 'c') where row = 'b'")
    assert Journal(path).get({"scorer": "x"}, list("abc")) == {"c": {"score": 1.25}}
    assert "holds 2 damaged rows: they are scored again" in caplog.text
    Journal(path).put({"scorer": "x"}, rows)
    assert Journal(path).get({"scorer": "x"}, list("abc")) == rows


@pytest.mark.parametrize("damage", ["no database at all", "a page overwritten"])
def test_a_damaged_journal_is_said_put_aside_and_begun_anew(tmp_path, caplog, damage):
    path = tmp_path / "journal.sqlite"
    if damage == "no database at all":
        path.write_bytes(b"no database at all" * 100)
    else:
        Journal(path).put({"scorer": "x"}, {f"row {n}": {"score": float(n)} for n in range(2000)})
        content = bytearray(path.read_bytes())
        content[4096 * 3 : 4096 * 5] = b"x" * 8192
        path.write_bytes(content)
    journal = Journal(path)
    assert "is damaged" in caplog.text and len(list(tmp_path.glob("journal.sqlite.damaged-*"))) == 1
    journal.put({"scorer": "x"}, {"a": {"score": 1.0}})
    assert Journal(path).get({"scorer": "x"}, ["a", "row 7"]) == {"a": {"score": 1.0}}


def test_a_journal_that_others_write_to_is_not_read_through_at_every_turn(tmp_path, monkeypatch):
    path, read = tmp_path / "journal.sqlite", []
    opened = Journal._open

    def listening(journal):
        connection = opened(journal)
        connection.set_trace_callback(lambda said: read.append(path.stat().st_size) if "quick_check" in said else None)
        return connection

    monkeypatch.setattr(Journal, "_open", listening)
    Journal(path).put({"scorer": "x"}, {f"row {n}": {"score": float(n)} for n in range(1000)})
    Journal(path)
    first = path.stat().st_size
    for turn in range(30):
        with closing(sqlite3.connect(path)) as another, another:
            another.executemany(
                "insert into rows values ('y', ?, ?)", [(f"row {turn} {n}", "{}" * 50) for n in range(100)]
            )
        journal = Journal(path)
        assert set(journal.get({"scorer": "x"}, ["row 7"])) == {"row 7"}
        journal.put({"scorer": "x"}, {f"mine {turn}": {"score": 1.0}})
    assert path.stat().st_size > 4 * first
    assert all(2 * a <= b for a, b in pairwise(read[1:]))  # each time it has doubled
    assert read[-1] > path.stat().st_size / 2.5


def test_a_full_disk_is_said_and_what_was_there_stays(tmp_path):
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    journal.put({"scorer": "x"}, {"a": {"score": 1.0}})
    opened = journal._open

    def almost_full():  # SQLite's own limit on a file's pages: the same error as a full disk
        connection = opened()
        connection.execute(f"pragma max_page_count = {connection.execute('pragma page_count').fetchone()[0]}")
        return connection

    journal._open = almost_full
    with pytest.raises(DataselError, match=r"`journal` .* failed \(database or disk is full\).*What it holds is safe"):
        journal.put({"scorer": "x"}, {f"row {n}": {"score": float(n)} for n in range(10_000)})
    journal._open = opened
    assert journal.get({"scorer": "x"}, ["a", "row 1"]) == {"a": {"score": 1.0}}


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "journal.sqlite").mkdir()
    with pytest.raises(DataselError, match="which is no file, expected one"):
        Journal(tmp_path / "journal.sqlite")


def test_keys_do_not_depend_on_the_order_of_settings():
    assert spec_key({"a": 1, "b": [1, 2]}) == spec_key({"b": (1, 2), "a": 1})
    assert spec_key({"a": 1}) != spec_key({"a": 2})


OPENING = """
import sys
from hf_datasel.runs import Journal
journal = Journal(sys.argv[1])
for turn in range(20):
    journal.put({"scorer": sys.argv[2]}, {f"row {turn}": {"score": float(turn)}})
"""


def test_processes_that_open_one_journal_at_once_all_get_their_turn(tmp_path):
    path = tmp_path / "journal.sqlite"
    running = [subprocess.Popen([sys.executable, "-c", OPENING, str(path), str(n)]) for n in range(6)]
    assert [process.wait(timeout=120) for process in running] == [0] * 6
    rows = [f"row {turn}" for turn in range(20)]
    assert all(len(Journal(path).get({"scorer": str(n)}, rows)) == 20 for n in range(6))
