"""The card says what the results say, and row text cannot break out of it."""

import copy

import jinja2
import pytest

from hf_datasel.hub import render_card
from hf_datasel.recipe.reporting import arms, verdict


LOSS = {"mean": 2.0, "low": 1.9, "high": 2.1, "seeds": 3}
RESULTS = {
    "card": {"title": "Title", "about": "About.", "license": "mit", "sources": ["A", "B"], "limits": "Small."},
    "score": {"column": "ost_utility", "unit": "nats per token", "toxic_below_zero": True},
    "selection": {"rule": "TopCount('s', 2)", "rows": 8, "kept": 2, "not_scored": 1, "threshold": 0.25},
    "protocol": "B", "seeds": 3, "has_answers": False, "verdict": "Lowest: **a**.",
    "arms": [{"arm": "a | <script>alert(1)</script>", "rows": 2, "epochs": 4.0, "heldout_loss": LOSS}],
    "trained": [], "overlaps": [{"arm": "b", "num_common": 1, "overlap": 0.5, "jaccard": 1 / 3}],
    "constraints": [
        {"name": "source 'a|b' at least", "required": 3, "achieved": 2, "met": False, "note": "too few | left"},
        {"name": "rows", "required": 2, "achieved": 2, "met": True, "note": ""},
    ],
    "weights": None,
    "composition": [{"column": "task", "same": ["goal_task"], "plot": "composition-task.png", "arms": ["pool", "a"], "lines": [{"value": "x|y", "shares": [0.5, 1.0]}]}],
    "statuses": [{"status": "ok", "rows": 7}, {"status": "empty_completion", "rows": 1}],
    "independence": {"slope": 0.0, "r_squared": 0.5, "t_statistic": 2.0, "largest_acf": 0.1, "passed": False},
    "curve": {"suggested_fraction": 0.6, "knee_fraction": 0.3},
    "scorers": [{"scorer": "OneStepTrain", "weights": "abc", "settings": {"learning_rate": 1e-5}, "spec": {}}],
    "versions": {"python": "3.11"},
}  # fmt: skip


def test_every_figure_is_on_the_card():
    card = render_card(RESULTS)
    for expected in (
        "license: mit", "# Title", "**2 of 8 rows** (25.0 %)", "lowest kept `ost_utility` 0.25 nats per token.", "1 row has no score",
        "| 2 | 4 | 2 [1.9, 2.1] |", "Lowest: **a**.", "Small.", "| ok | 7 |", "| empty_completion | 1 |", "| b | 1 | 50.0 % | 0.3333 |",
        "R² 0.5", "Outside the gates: scores differ along the pool", "| task = goal_task |", "plots/composition-task.png", "peaks at 60.0 %", "| OneStepTrain | abc |", "A; B", "python 3.11", "| 3 | 2 | **no**: too few", "| rows | 2 | 2 | yes |",
    ):  # fmt: skip
        assert expected in card, expected


def test_a_score_whose_zero_says_nothing_has_no_peak_and_no_utility():
    score = {"column": "goal_score", "unit": "", "toxic_below_zero": False}
    card = render_card({**RESULTS, "score": score, "curve": None})
    assert "lowest kept `goal_score` 0.25." in card
    for claim in ("utility", "peaks", "nats per token)", "utility_curve.png"):
        assert claim not in card, claim


def test_a_pool_that_scores_differ_along_is_not_called_a_dependence_on_its_order():
    assert "scores depend on" not in render_card(RESULTS).replace("whose scores depend on the order", "")
    passed = {**RESULTS["independence"], "passed": True}
    assert "score the pool shuffled" in render_card(RESULTS)
    assert "score the pool shuffled" not in render_card({**RESULTS, "independence": passed})


def test_text_cannot_break_out_of_a_table():
    card = render_card(RESULTS)
    assert "<script>" not in card
    assert "source 'a\\|b' at least" in card and "too few \\| left" in card
    assert "a \\| &lt;script&gt;" in card and "| x\\|y | 50.0 % | 100.0 % |" in card


def test_tables_have_as_many_cells_in_every_line():
    lines = render_card(RESULTS).replace("\\|", "").splitlines()
    for number, line in enumerate(lines):
        if line.startswith("|---"):
            cells = line.count("|")
            assert lines[number - 1].count("|") == cells, lines[number - 1]
            assert lines[number + 1].count("|") == cells, lines[number + 1]


def test_a_missing_figure_is_an_error_not_a_blank():
    results = copy.deepcopy(RESULTS)
    del results["selection"]["kept"]
    with pytest.raises(jinja2.UndefinedError):
        render_card(results)


def test_without_training_there_is_no_table_of_arms():
    card = render_card({**RESULTS, "arms": [], "verdict": ""})
    assert "What came of it" not in card and "plots/arms.png" not in card


def test_the_verdict_names_overlapping_seeds_and_random_when_it_wins():
    def runs(arm, losses):
        return [{"arm": arm, "rows": 1, "epochs": 1.0, "heldout_loss": loss} for loss in losses]

    close = arms([*runs("best", [2.0, 2.2]), *runs("random", [1.9, 2.1])])
    assert verdict(close) == "Lowest: **random**, but its seeds overlap with those of **best**, the next."
    apart = arms([*runs("best", [1.0, 1.2]), *runs("random", [1.9, 2.1])])
    assert verdict(apart) == "Lowest: **best**, below every seed of **random**, the next."
    single = verdict(arms([*runs("before training", [1.5]), *runs("best", [1.0]), *runs("random", [1.9])]))
    assert single == (
        "Lowest: **best**, then **random**; with one seed nobody knows how much is chance. "
        "No better than before training: **random**."
    )
    # What has no seeds takes no part in who wins by how much.
    assert verdict(arms([*runs("before training", [0.5]), *runs("best", [1.0, 1.2])])) == (
        "No better than before training: **best**."
    )
