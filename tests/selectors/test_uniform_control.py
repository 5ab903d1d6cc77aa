from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel.errors import BadBudget
from hf_datasel.selectors import GoalBuilder, UniformControl, control_of


def pool(num_rows=400):
    return Dataset.from_dict(
        {
            "row_id": [f"r{n}" for n in range(num_rows)],
            "key": [n // 2 for n in range(num_rows)],
            "clip": [f"c{n % 10}" if n % 4 else None for n in range(num_rows)],
            "leaked": [n % 5 == 0 for n in range(num_rows)],
            "half": [n < num_rows // 2 for n in range(num_rows)],
        }
    )


POOL = pool()


def test_it_is_uniform():
    # 200 of 400, so 100 of each half but for chance: the standard deviation is 5.
    halves = [int(np.sum(np.array(POOL["half"])[UniformControl(200, seed=seed).rank(POOL)])) for seed in range(40)]
    assert np.mean(halves) == pytest.approx(100, abs=4 * 5 / 40**0.5)
    assert 2 < np.std(halves) < 9


def test_no_row_no_copy_and_no_full_group_twice():
    found = UniformControl(150, unique=["key"], cap_by="clip", cap=7, exclude="leaked").rank(POOL)
    rows = POOL.select(found)
    assert len(set(found.tolist())) == len(found) == len(set(rows["key"]))
    assert not any(rows["leaked"])
    clips = [clip for clip in rows["clip"] if clip is not None]
    assert max(clips.count(clip) for clip in clips) <= 7
    assert rows["clip"].count(None) > 7 if isinstance(rows["clip"], list) else list(rows["clip"]).count(None) > 7


def test_falling_short_is_said(caplog):
    assert len(UniformControl(300, unique=["key"]).rank(POOL)) == 200
    assert "UniformControl falls short: 200 of 300 rows" in caplog.text and "200 by 'copy'" in caplog.text
    caplog.clear()
    assert len(UniformControl(200, unique=["key"]).rank(POOL)) == 200
    assert not caplog.text


def clips(sizes):
    rows = [(clip, place) for clip, size in enumerate(sizes) for place in range(size)]
    return Dataset.from_dict({
        "row_id": [f"{clip}-{place}" for clip, place in rows],
        "clip": [str(clip) for clip, _ in rows],
        "text": [f"question {clip} {place}" for clip, place in rows],
    })  # fmt: skip


def test_the_known_answers(caplog):
    """Ten times a subset of 2, at most 8 rows of a video: 3 videos of 10 rows give 20, 2 of 15 give 16 and no copies."""
    control = control_of(GoalBuilder("s", count=2, unique=["text"], cap_by="clip", cap=8), 2)
    full = clips([10, 10, 10])
    kept = control.rank(full)
    assert len(set(kept.tolist())) == 20
    assert max(full["clip"][:].count(clip) for clip in "012") == 10
    assert max([full["clip"][row] for row in kept].count(clip) for clip in "012") <= 8
    assert not caplog.text
    short = clips([15, 15])
    kept = control.rank(short)
    assert sorted([short["clip"][row] for row in kept].count(clip) for clip in "01") == [8, 8]
    assert len(set(kept.tolist())) == 16 and "falls short: 16 of 20 rows" in caplog.text


def test_the_control_of_a_build_keeps_its_rules():
    builder = GoalBuilder("s", count=5, unique=["key"], cap_by="clip", cap=3, exclude="leaked", seed=42)
    assert control_of(builder, 5) == UniformControl(50, ("key",), "clip", 3, "leaked", 42)
    assert control_of(builder, 5, times=3).count == 15


def test_what_is_wrong_is_named():
    with pytest.raises(BadBudget, match="`count` is 0"):
        UniformControl(0)
    with pytest.raises(BadBudget, match="`seed` is 'a'"):
        UniformControl(1, seed="a")
    with pytest.raises(BadBudget, match="`exclude` is 'all', and of 400 rows none is left"):
        UniformControl(1, exclude="all").rank(POOL.add_column("all", [1] * 400))
    with pytest.raises(BadBudget, match="`unique` is 'text', expected a column"):
        UniformControl(1, unique=["text"]).rank(POOL)
