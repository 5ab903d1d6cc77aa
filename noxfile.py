"""The fast tests with the lowest and with the newest dependencies that pyproject.toml allows, on every Python: `make matrix`.

One cell: `nox -s 'lowest-3.10'`; other arguments of pytest after `--`. A Python that is not there is skipped, and nox says so.
"""

import nox


PYTHONS = nox.project.python_versions(nox.project.load_toml("pyproject.toml"))
FAST = ("-n", "2", "-q", "-m", "not slow and not gpu and not browser")
# As in the Makefile, and one thread a worker.
ENVIRONMENT = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
}
# The lowest version is the lowest with a wheel for this Python: nobody builds SciPy to test a lower bound.
# docopt, which num2words needs, is pure Python and has no wheel at all.
WHEELS = ("--only-binary", ":all:", "--no-binary", "docopt")

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = False
nox.options.stop_on_first_error = False


@nox.session(python=PYTHONS)
def lowest(session: nox.Session) -> None:
    """Lower bounds of pyproject.toml; what they bring along is as new as it can be."""
    fast_tests(session, "lowest-direct")


@nox.session(python=PYTHONS)
def newest(session: nox.Session) -> None:
    """The newest release of everything."""
    fast_tests(session, "highest")


def fast_tests(session: nox.Session, resolution: str) -> None:
    """Install everything anew, say what came, run the tests."""
    session.install("--resolution", resolution, "--upgrade", *WHEELS, "--editable", ".[dev]")
    session.run("uv", "pip", "freeze")
    session.run("python", "-m", "pytest", *(session.posargs or FAST), env=ENVIRONMENT)
