"""The README's Python runs as printed, from a clean working folder beside the recipes."""

import os
import re
import subprocess
import sys
from pathlib import Path


ROOT = Path(__file__).parents[1]


def test_the_python_of_the_readme_runs(tmp_path):
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert blocks
    code = "\n".join(blocks) + "\nprint(len(selection.kept), len(selection.dropped))"
    found = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=tmp_path, capture_output=True, text=True, env=os.environ.copy()
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[0].startswith("8 rows in common (overlap 1.00")
    assert found.stdout.splitlines()[-1] == "8 32"


def test_the_python_of_the_page_on_engines_runs(tmp_path):
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    blocks = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "engines.md").read_text(encoding="utf-8"), flags=re.DOTALL
    )
    found = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], check=False, cwd=tmp_path, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines() == ["forward_mode True", "True True"]


def test_the_python_of_the_page_on_co_training_runs(tmp_path):
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    page = (ROOT / "docs" / "co_training.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    found = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint('kept', len(selection.kept), selection.num_not_scored)"],
        check=False, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == "kept 10 0"


def test_every_scorer_and_rule_stands_in_the_method_index_or_the_docs():
    from hf_datasel import scorers

    index = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    for name in scorers.__all__:
        home = getattr(scorers, name).__module__.rsplit(".", 1)[1]
        assert f"scorers/{home}.py" in index, f"add a line for {name} to docs/methods.md"
