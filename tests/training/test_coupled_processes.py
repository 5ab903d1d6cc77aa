"""Two processes that train together come to the same network, to the last bit."""

from __future__ import annotations

import subprocess
import sys

import pytest


CODE = """
import os, sys
from datasets import Dataset
from hf_datasel import CoIDO, Labels, Proxy
from hf_datasel.training import CoTraining
rows = [{"prompt": f"{n} + {n % 3} =", "completion": f" {n + n % 3}", "e": [n % 2, 1.0, n / 16]} for n in range(16)]
training = CoTraining(1.0, 4, 1e-3, method="full", sft={"use_cpu": True, "disable_tqdm": True})
learner = CoIDO(Proxy(sys.argv[1]), ["e"], [], 1.0, clusters=2, neighbours=4, width=8, training=training, labels=Labels(max_length=64))
weights = learner.fit(Dataset.from_list(rows)).spec["weights"]
open(f"weights-{os.environ['RANK']}", "w").write(weights)  # what both print gets mixed up
"""


@pytest.mark.slow
def test_processes_share_one_network(tiny_model, tmp_path):
    (tmp_path / "fit.py").write_text(CODE, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "fit.py",
        tiny_model,
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    found = [(tmp_path / f"weights-{rank}").read_text(encoding="utf-8") for rank in range(2)]
    assert found[0] == found[1]
