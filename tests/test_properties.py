"""What holds for whatever is given: rules, selections, digests, the journal, recipes and what is read from replies."""

import json
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_datasel.recipe import load_recipe
from hf_datasel.rows import row_digest
from hf_datasel.rows.journal import Journal
from hf_datasel.scorers.judging import read_rating, read_verdict
from hf_datasel.selectors import (
    AboveThreshold,
    D2Pruning,
    FacilityLocation,
    KCenter,
    MiddleBand,
    NeighbourPenalty,
    Prototypes,
    Random,
    RepresentationFilter,
    Selection,
    SemDeDup,
    SoftmaxSample,
    TokenBudget,
    TopCount,
    TopFraction,
    TopFractionPerGroup,
    select,
)


RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))
NAN = float("nan")
FEW = settings(max_examples=25)
RULES = (
    AboveThreshold("s", 0.0), MiddleBand("s", 0.2, 0.8), TopCount("s", 3), TopFraction("s", 0.3), TopFractionPerGroup("s", "g", 0.3), TokenBudget("s", 9, "w"),
    SoftmaxSample("s", 0.3), Random(0.3), KCenter("e", 0.3), Prototypes("e", 0.3), FacilityLocation("e", 0.3), SemDeDup("e", 0.3), D2Pruning("s", "e", 0.3),
    NeighbourPenalty("s", "e", 0.3), RepresentationFilter("s", "e", 0.3),
)  # fmt: skip

scores = st.one_of(st.sampled_from([0.0, -0.0, 1.0, -1.0, NAN]), st.floats(-1e6, 1e6))
vector = st.tuples(st.integers(-4, 4), st.integers(-4, 4)).filter(any).map(lambda its: [float(part) for part in its])
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@st.composite
def pools(draw):
    """3 to 14 rows with ids, scores (three at least), weights, groups and directions."""
    count = draw(st.integers(3, 14))
    found = [draw(scores) for _ in range(count)]
    found[:3] = [draw(st.floats(0.5, 10)) for _ in range(3)]
    return Dataset.from_dict(
        {
            "row_id": draw(st.permutations([f"id {row}" for row in range(count)])),
            "s": found,
            "w": [draw(st.integers(1, 4)) for _ in range(count)],
            "g": [draw(st.sampled_from("abc")) for _ in range(count)],
            "e": [draw(vector) for _ in range(count)],
        }
    )


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
@FEW
@given(pool=pools(), seed=st.integers(0, 99))
def test_what_a_rule_keeps(rule, pool, seed):
    kept = rule.rank(pool).tolist()
    assert len(set(kept)) == len(kept) and all(0 <= row < len(pool) for row in kept)
    ids = [pool["row_id"][row] for row in kept]
    shuffled = pool.shuffle(seed=seed)
    assert [shuffled["row_id"][row] for row in rule.rank(shuffled)] == ids
    if hasattr(rule, "column"):
        assert not np.isnan(np.array(pool["s"][:])[kept]).any()
    if isinstance(rule, TopCount):
        assert len(kept) == min(3, np.isfinite(pool["s"][:]).sum())
    elif hasattr(rule, "fraction") and not hasattr(rule, "group"):
        assert len(kept) <= max(1, int(0.3 * len(pool)))
    elif isinstance(rule, TokenBudget):
        assert sum(pool["w"][row] for row in kept) <= 9


@pytest.mark.parametrize(
    "rule", [TopCount("s", 3), TopFraction("s", 0.3), AboveThreshold("s", 0.0)], ids=lambda its: type(its).__name__
)
@FEW
@given(pool=pools())
def test_a_worse_row_pushes_nobody_out(rule, pool):
    worst = min(its for its in pool["s"] if not math.isnan(its))
    more = Dataset.from_list([*pool, {"row_id": "worse", "s": worst - 1.0, "w": 1, "g": "a", "e": [1.0, 1.0]}])
    before, after = set(select(pool, rule).ids), set(select(more, rule).ids)
    assert before <= after


@FEW
@given(pool=pools())
def test_a_saved_selection_comes_back(pool):
    chosen = select(pool, TopFraction("s", 0.5), [{"scorer": "made up", "settings": [1, "\u202e"]}])
    with tempfile.TemporaryDirectory() as folder:
        again = Selection.load(chosen.save(folder), pool)
    assert again.ids == chosen.ids and again.rule == chosen.rule and again.scorers == chosen.scorers
    np.testing.assert_array_equal(again.scores, chosen.scores)


@given(prompt=texts, completion=texts, remark=st.one_of(texts, st.floats(), st.none()))
def test_a_digest_knows_content_alone(prompt, completion, remark):
    row = {"prompt": prompt, "completion": completion}
    digest = row_digest(row)
    assert (
        digest
        == row_digest({"completion": completion, "prompt": prompt})
        == row_digest({**row, "remark": remark, "tools": None})
    )
    assert digest != row_digest({"prompt": prompt, "completion": completion + "x"})
    assert prompt == completion or digest != row_digest({"prompt": completion, "completion": prompt})
    assert digest != row_digest({"prompt": prompt + completion, "completion": ""}) or not completion


values = st.one_of(st.floats(), st.text(), st.none(), st.booleans(), st.integers(), st.lists(st.floats(), max_size=3))


@settings(max_examples=40)
@given(
    columns=st.dictionaries(st.text(max_size=8), values, max_size=4),
    row=st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)
def test_the_journal_keeps_every_bit(columns, row):
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "journal.sqlite")
        journal.put({"scorer": "x"}, {row: columns})
        found = journal.get({"scorer": "x"}, [row])
        assert journal.get({"scorer": "y"}, [row]) == {}
    assert json.dumps(found[row]) == json.dumps(columns)  # NaN and the sign of 0 too


@pytest.mark.parametrize(
    "path",
    [path for path in RECIPES if path.stem in ("quickstart", "builder", "d2", "indicators")],
    ids=lambda its: its.stem,
)
def test_a_resolved_recipe_is_its_own_resolution(path, tmp_path):
    once = load_recipe(path).resolved
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(once, sort_keys=False), encoding="utf-8")
    assert load_recipe(tmp_path / "recipe.yaml").resolved == once


words = st.text(st.characters(categories=["L", "P", "Z"]), max_size=40)


@given(reply=words)
def test_a_reply_without_digits_has_no_rating(reply):
    assert math.isnan(read_rating(reply, 0, 10))


@given(
    rating=st.integers(0, 100),
    noise=words,
    thoughts=st.text(max_size=40),
    ends=st.sampled_from(["", "/10", ".", "**"]),
)
def test_a_rating_is_found_behind_thoughts_and_before_reasons(rating, noise, thoughts, ends):
    value = rating / 10
    assert read_rating(f"<think>{thoughts}</think>\n{value}{ends}\n{noise}", 0, 10) == value
    assert read_rating(f"Score: {value}{ends}", 0, 10) == value


@given(number=st.floats(allow_nan=False, allow_infinity=False), low=st.integers(-5, 5), width=st.integers(1, 10))
def test_a_rating_lies_on_the_scale_or_is_none(number, low, width):
    found = read_rating(f"{number:.3f}", low, low + width)
    assert math.isnan(found) or low <= found <= low + width


@given(
    verdict=st.sampled_from(["ACCEPT", "reject", "Verdict: accept", "**Rejected**"]),
    reasons=words,
    thoughts=st.text(max_size=40),
)
def test_a_verdict_is_read_from_the_first_line(verdict, reasons, thoughts):
    expected = 1.0 if "accept" in verdict.lower() else 0.0
    assert read_verdict(f"<think>{thoughts}</think>{verdict}\n{reasons}") == expected


@given(reply=st.text(st.characters(categories=["N", "P", "Z"]), max_size=30))
def test_a_reply_without_words_has_no_verdict(reply):
    assert math.isnan(read_verdict(reply))
