"""The peak match of the paper's Table 1, and what it is where a curve never gets there."""

import pytest

from hf_datasel.reports.convergence import best_of, matches, mean_curve, samples_to_reach


def test_the_reductions_of_the_paper_follow_from_its_samples():
    # Table 1 of 2603.12478: the reference after 512k samples, met after these.
    for benchmark, met, reduction in (
        ("MVBench", 35.4, 14.5),
        ("VideoMME", 26.6, 19.2),
        ("MLVU", 27.3, 18.8),
        ("LVBench", 34.7, 14.8),
    ):
        curves = {"GDO": [[(0.0, 0.0), (met, 60.0), (53.3, 61.0)]], "Uni-10x": [[(0.0, 0.0), (512.0, 60.0)]]}
        (line,) = matches(curves, "Uni-10x", lower_is_better=False)
        assert line["samples"] == met and round(line["reduction"], 1) == reduction, benchmark
        assert line["gain"] == 1.0


def test_a_curve_that_dips_is_matched_where_it_first_gets_there():
    assert samples_to_reach([(0, 4.0), (10, 2.0), (20, 3.0), (30, 1.0)], 2.0) == 10.0
    assert samples_to_reach([(0, 4.0), (10, 2.0)], 5.0) == 0.0
    assert samples_to_reach([(0, 0.1), (10, 0.5)], 0.3, lower_is_better=False) == pytest.approx(5.0)


def test_the_best_of_a_baseline_need_not_be_its_end():
    assert best_of([(0, 5.0), (50, 2.0), (100, 2.5)]) == (2.0, 50.0)
    (line,) = matches({"a": [[(0, 5.0), (10, 2.0)]], "full": [[(0, 5.0), (50, 2.0), (100, 2.5)]]}, "full")
    assert line["reduction"] == 5.0


def test_seeds_are_matched_each_for_itself():
    curves = {"a": [[(0, 4.0), (10, 0.0)], [(0, 4.0), (10, 3.0)]], "full": [[(0, 4.0), (40, 2.0)]]}
    (line,) = matches(curves, "full")
    assert mean_curve(curves["a"]) == [(0.0, 4.0), (10.0, 1.5)]
    assert line["by_seed"] == [5.0, None] and (line["reached"], line["seeds"]) == (1, 2)
    assert line["samples"] == 8.0 and line["reduction"] == 5.0


def test_never_is_said_and_not_guessed():
    (line,) = matches({"a": [[(0, 4.0), (10, 3.0)]], "full": [[(0, 4.0), (40, 2.0)]]}, "full")
    assert line["samples"] is None and line["reduction"] is None and line["gain"] == -1.0
