"""Importing the package and asking the command line for help load no torch."""

import subprocess
import sys

import pytest

import hf_datasel


CODE = "import sys; {}; print([name for name in ('torch', 'transformers', 'trl', 'datasets') if name in sys.modules])"


@pytest.mark.parametrize(
    "statement",
    ["import hf_datasel", "import hf_datasel.cli as cli; cli.parser().format_help()", "import hf_datasel.contracts"],
)
def test_nothing_heavy_is_imported(statement):
    found = subprocess.run([sys.executable, "-c", CODE.format(statement)], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("names", ["OneStepTrain, ResponseLength, Proxy, TopFraction, WarmUp, TargetTraining"])
def test_specs_need_no_torch(names):
    code = CODE.format(f"from hf_datasel import {names}")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "torch" not in found.stdout


@pytest.mark.parametrize("name", hf_datasel.__all__)
def test_every_export_is_there(name):
    assert getattr(hf_datasel, name).__doc__


def test_an_unknown_name_says_what_there_is():
    with pytest.raises(AttributeError, match="has no attribute 'TopFractoin'"):
        hf_datasel.TopFractoin  # noqa: B018
