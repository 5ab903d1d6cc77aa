"""How many hostile inputs each parser was given, how many it refused in so many words, and how many it answered badly.

See `_hostile.py` for what a bad answer is. Three seeds (one with --quick), each with other inputs.
"""

from __future__ import annotations

import os
from collections import Counter

from benchmarks import _hostile


# Of a seed. Those that read a recipe with its files, ask a server or load a journal take a while for each.
INPUTS = 1500
FEWER = {
    "recipe values": 150,
    "recipe files": 60,
    "command line": 60,
    "journal": 150,
    "judge endpoint": 100,
    "repository names": 150,
}


def run(quick: bool = False) -> dict:
    """By parser: inputs, refusals, bad answers and seconds for a thousand inputs; every bad answer in full."""
    os.environ["HF_DATASEL_JOURNAL"] = "off"
    figures: dict = {"seeds": 1 if quick else 3, "parsers": {}, "crashes": []}
    for name in _hostile.parsers():
        inputs, refused, seconds, crashes = Counter(), Counter(), 0.0, []
        for seed in range(figures["seeds"]):
            count = FEWER.get(name, INPUTS) // (3 if quick else 1)
            found = _hostile.attack(count, seed + 100, only=[name])
            inputs.update(found.inputs)
            refused.update(found.refused)
            seconds += sum(found.seconds.values())
            crashes += [vars(crash) for crash in found.crashes]
        figures["parsers"][name] = {
            "inputs": inputs[name], "refused": refused[name], "crashes": len(crashes),
            "seconds_per_1000": round(1000 * seconds / inputs[name], 2),
        }  # fmt: skip
        figures["crashes"] += crashes
    figures["inputs"] = sum(its["inputs"] for its in figures["parsers"].values())
    return figures
