from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hf_datasel import metrics
from hf_datasel.errors import DataselError, MissingExtra


# In a fresh process without a network: the loader copies the script elsewhere and imports it from there.
LOAD_ALL = """
import json, socket
def refuse(*_): raise AssertionError("touched the network")
socket.socket.connect = socket.getaddrinfo = refuse
import evaluate
from hf_datasel.metrics import path
calls = {
    "answer_accuracy": (["A: 5", "6"], ["#### 5", "#### 5"]),
    "rank_agreement": ([1.0, 2.0], [3.0, 4.0]),
    "selection_overlap": (["a", "b"], ["b"]),
    "detection_auroc": ([1.0, 2.0], [False, True]),
}
print(json.dumps({
    name: evaluate.load(path(name)).compute(predictions=one, references=other) for name, (one, other) in calls.items()
}))
"""
EXPECTED = {
    "answer_accuracy": {"answer_accuracy": 0.5, "num_unparsed": 0},
    "rank_agreement": {"spearman": pytest.approx(1.0), "kendall": pytest.approx(1.0), "num_dropped": 0},
    "selection_overlap": {"overlap": 1.0, "jaccard": 0.5},
    "detection_auroc": {"detection_auroc": 1.0, "num_dropped": 0},
}


def run(code: str, folder: Path) -> str:
    environment = {**os.environ, "HF_HOME": str(folder), "HF_HUB_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1"}
    for own in ("HF_MODULES_CACHE", "HF_EVALUATE_CACHE", "HF_METRICS_CACHE"):
        environment.pop(own, None)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    results: dict[str, Any] = json.loads(run(LOAD_ALL, tmp_path_factory.mktemp("home")))
    return results


@pytest.mark.parametrize("name", EXPECTED)
def test_each_metric_loads_by_its_folder_without_a_network(name: str, loaded: dict[str, Any]) -> None:
    assert loaded[name] == EXPECTED[name]


def test_importing_the_metrics_imports_neither_evaluate_nor_scipy(tmp_path: Path) -> None:
    code = (
        "import sys, hf_datasel.metrics as m; assert m.final_answer('#### 5') == '5'\n"
        "print(sorted({'evaluate', 'scipy', 'datasets', 'torch'} & set(sys.modules)), dir(m))"
    )
    assert run(code, tmp_path).startswith("[] ['AnswerAccuracy'")


@pytest.mark.parametrize("metric", ["AnswerAccuracy", "DetectionAuroc", "RankAgreement", "SelectionOverlap"])
def test_a_missing_package_is_named_with_the_line_that_installs_it(
    metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.startswith("hf_datasel.metrics.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "evaluate", None)
    with pytest.raises(MissingExtra, match=r"pip install 'hf_datasel\[metrics\]'"):
        getattr(metrics, metric)


def test_an_unknown_metric_is_answered_with_the_known_ones() -> None:
    with pytest.raises(DataselError, match=r"`name` is 'accuracy', expected one of .*'answer_accuracy'"):
        metrics.path("accuracy")
    with pytest.raises(AttributeError, match="no attribute 'Accuracy'"):
        metrics.Accuracy  # noqa: B018
