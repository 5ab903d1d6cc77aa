"""Known faults in the versions that `constraints.txt` pins, by pip-audit: `make audit`.

Where the advisories cannot be had, that is said, in one line that begins with NOT AUDITED, and is no failure.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
# Advisories that do not concern us, each with its reason in docs/security.md.
ACCEPTED: frozenset[str] = frozenset()
OFFLINE = re.compile(r"connect|resolve|timed? ?out|max retries|unreachable", re.IGNORECASE)
TRUST = "Of the pins' safety nothing is known from this run."


def verdict(report: Mapping[str, Any], accepted: frozenset[str] = ACCEPTED) -> tuple[int, str]:
    """The exit code and what to say of a report of pip-audit, as JSON."""
    pins = report["dependencies"]
    unknown = [pin["name"] for pin in pins if "skip_reason" in pin]
    if len(unknown) == len(pins):
        return (
            0,
            f"NOT AUDITED: the advisory service knows none of the {len(pins)} pins, so it is a mirror without advisories. {TRUST}",
        )
    faults = [
        f"{pin['name']} {pin['version']}: {its['id']}, mended in {', '.join(its['fix_versions']) or 'no version yet'}"
        for pin in pins
        for its in pin.get("vulns", ())
        if not accepted & {its["id"], *its.get("aliases", ())}
    ]
    told = f"{len(pins) - len(unknown)} of {len(pins)} pins audited."
    if unknown:
        told += f" NOT AUDITED, as the service does not know them: {', '.join(unknown)}."
    advice = (
        "Raise the pin, run the tests of what it touches, or list it with a reason in docs/security.md and ACCEPTED."
    )
    return (1, "\n".join([told, *faults, advice])) if faults else (0, f"{told} No known fault.")


def failed(said: str) -> tuple[int, str]:
    """The exit code and what to say where pip-audit gave no report."""
    last = said.strip().splitlines()[-1][:200] if said.strip() else "no word"
    if OFFLINE.search(said):
        return 0, f"NOT AUDITED: the advisory service cannot be reached ({last}). {TRUST}"
    return 1, f"pip-audit failed: {last}"


def main() -> int:
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(CONSTRAINTS), "--no-deps", "--disable-pip"]
    done = subprocess.run(
        [*command, "--format", "json", "--progress-spinner", "off"], capture_output=True, text=True, check=False
    )
    try:
        report = json.loads(done.stdout)
    except ValueError:
        code, words = failed(done.stderr)
    else:
        code, words = verdict(report)
    print(words)
    return code


if __name__ == "__main__":
    sys.exit(main())
