"""Benchmarks are run by hand and seldom: at least they fit the code they measure."""

import importlib
import inspect
import pkgutil

import pytest

import benchmarks


NAMES = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if not module.name.startswith("_")]


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_can_be_loaded_and_run_by_its_name(name):
    run = importlib.import_module(f"benchmarks.{name}").run
    assert "quick" in inspect.signature(run).parameters
