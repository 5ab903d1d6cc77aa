"""One process, two under torchrun, and Ray's actors: the same numbers to the last bit, whatever dies on the way."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel import Labels, OneStepTrain, Perplexity, Proxy, ResponseLength, score
from hf_datasel.cli import main
from hf_datasel.errors import DataselError
from hf_datasel.runs import runners


@pytest.fixture
def small_chunks(monkeypatch):
    import importlib

    monkeypatch.setattr(importlib.import_module("hf_datasel.runs.score"), "CHUNK", 16)


@pytest.fixture(scope="module")
def rows(real_rows):
    """59 real rows and one that cannot be scored."""
    found = real_rows("pool.jsonl", 59).to_list()
    return Dataset.from_list([*found, {**found[6], "completion": ""}])


@pytest.mark.parametrize("runner", ["torchrun", "ray"])
@pytest.mark.slow
def test_two_workers_give_what_one_gives(tiny_model, anchors, rows, tmp_path, small_chunks, runner):
    if runner == "ray":
        pytest.importorskip("ray")
    scorers = (
        OneStepTrain(Proxy(tiny_model), anchors, labels=Labels(max_length=512), token_level=True),
        ResponseLength(),
    )
    alone = score(rows, *scorers, journal=tmp_path / "alone" / "journal.sqlite")
    together = score(rows, *scorers, journal=tmp_path / "both" / "journal.sqlite", runner=runner, processes=2)
    assert together.column_names == alone.column_names and together.features == alone.features
    assert str(together.to_dict()) == str(alone.to_dict())
    assert together["ost_utility_status"][-1] == "empty_completion" and np.isnan(together["ost_utility"][-1])
    files = sorted(path.name for path in tmp_path.glob("both/job-*/scores/*"))
    assert files == [f"{n:06d}.parquet" for n in range(4)]
    assert not list(tmp_path.glob("both/job-*/journal-*"))  # finished chunks need none


@dataclass(frozen=True)
class DiesOnce:
    """Takes its process down with it the first time it meets a certain row."""

    marker: str
    columns = ("length", "length_status")
    keeps_journal = True

    @property
    def spec(self):
        return {"scorer": "DiesOnce", "marker": self.marker}

    def __call__(self, batch, rank=None):
        if "die" in batch["text"] and not Path(self.marker).exists():
            Path(self.marker).touch()
            os._exit(9)
        return {
            "length": np.array([float(len(text)) for text in batch["text"]]),
            "length_status": ["ok"] * len(batch["text"]),
        }


@pytest.mark.slow
def test_ray_restarts_an_actor_that_dies(tmp_path, small_chunks):
    pytest.importorskip("ray")
    pool = Dataset.from_dict({"text": ["x" * n for n in range(40)] + ["die"] + ["x" * n for n in range(41, 60)]})
    scored = score(
        pool, DiesOnce(str(tmp_path / "died")), journal=tmp_path / "journal.sqlite", runner="ray", processes=2
    )
    assert (tmp_path / "died").exists()
    assert scored["length"][:] == [float(len(text)) for text in pool["text"]]


@pytest.mark.slow
def test_a_worker_that_fails_is_said_and_the_next_run_goes_on(tiny_model, rows, tmp_path, small_chunks):
    scorer = Perplexity(Proxy(tiny_model))
    first = score(rows, scorer, journal=tmp_path / "journal.sqlite", runner="torchrun", processes=2)
    lost = sorted(tmp_path.glob("job-*/scores/*.parquet"))
    times = {path: path.stat().st_mtime_ns for path in lost}
    lost[1].unlink()
    rows_file = lost[1].parent.parent / "rows" / lost[1].name
    kept = rows_file.read_bytes()
    rows_file.write_bytes(b"no parquet")
    # The numbers of that share are in its journal, but the rows cannot be read.
    with pytest.raises(DataselError, match=r"`runner` 'torchrun' failed \(exit code 1\)"):
        score(rows, scorer, journal=tmp_path / "journal.sqlite", runner="torchrun", processes=2)
    rows_file.write_bytes(kept)
    again = score(rows, scorer, journal=tmp_path / "journal.sqlite", runner="torchrun", processes=2)
    assert str(again.to_dict()) == str(first.to_dict())
    assert all(path.stat().st_mtime_ns == times[path] for path in lost if path != lost[1])


@pytest.mark.slow
def test_the_command_line_names_them(tmp_path, tiny_model, rows):
    import json

    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "recipe.yaml").write_text(
        "pool: {path: pool.jsonl}\n"
        f"score: {{proxy: {{model: {tiny_model}}}, scorers: [{{Perplexity: {{}}}}]}}\n"
        "select: {TopCount: {column: low_perplexity, count: 3}}\n"
    )
    options = ["--output-dir", str(tmp_path / "run"), "--runner", "torchrun", "--processes", "2"]
    assert main(["score", str(tmp_path / "recipe.yaml"), *options]) == 0
    assert len(list(tmp_path.glob("run/scores/job-*/scores/*.parquet"))) == 1
    assert main(["select", str(tmp_path / "recipe.yaml"), "--output-dir", str(tmp_path / "run")]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runner": "slurm", "journal": "x"}, "`runner` is 'slurm'"),
        ({"runner": "torchrun", "processes": 0, "journal": "x"}, "at least one"),
        ({"runner": "torchrun"}, "`journal` is missing"),
    ],
)
def test_what_cannot_be_run_is_refused(rows, options, message):
    with pytest.raises(ValueError, match=message):
        score(rows, ResponseLength(), **options)


def test_without_ray_the_extra_is_named(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DataselError, match=r"pip install 'hf_datasel\[ray\]'"):
        runners._ray(tmp_path, "", [], 1)
