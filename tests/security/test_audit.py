"""Is an audit that did not happen ever taken for a good one?"""

import pytest

from .audit import failed, verdict


SOUND = {"name": "numpy", "version": "2.4.6", "vulns": []}
FAULTY = {
    "name": "urllib3",
    "version": "2.0.0",
    "vulns": [{"id": "PYSEC-2023-192", "fix_versions": ["2.0.6"], "aliases": ["CVE-2023-43804"]}],
}
UNKNOWN = {"name": "torch", "skip_reason": "Dependency not found on PyPI and could not be audited: torch (2.13.0)"}


@pytest.mark.parametrize(
    ("pins", "accepted", "code", "words"),
    [
        ([SOUND], (), 0, "1 of 1 pins audited. No known fault."),
        ([SOUND, FAULTY], (), 1, "urllib3 2.0.0: PYSEC-2023-192, mended in 2.0.6"),
        ([SOUND, FAULTY], ("CVE-2023-43804",), 0, "No known fault."),
        ([SOUND, UNKNOWN], (), 0, "1 of 2 pins audited. NOT AUDITED, as the service does not know them: torch."),
        ([FAULTY, UNKNOWN], (), 1, "NOT AUDITED"),
        ([UNKNOWN, UNKNOWN], (), 0, "NOT AUDITED: the advisory service knows none of the 2 pins"),
    ],
)  # fmt: skip
def test_what_is_said_of_a_report(pins, accepted, code, words):
    found, said = verdict({"dependencies": pins}, frozenset(accepted))
    assert found == code and words in said


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        ("requests.exceptions.ConnectionError: Failed to resolve 'api.osv.dev'", 0, "NOT AUDITED: the advisory service cannot be reached"),
        ("ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed", 0, "NOT AUDITED"),
        ("requirement foo is not pinned", 1, "pip-audit failed: requirement foo is not pinned"),
        ("", 1, "pip-audit failed: no word"),
    ],
)  # fmt: skip
def test_what_is_said_where_there_is_none(said, code, words):
    found, told = failed(said)
    assert found == code and told.startswith(words)
