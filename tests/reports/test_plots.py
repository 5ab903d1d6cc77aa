"""What the figures show; that nothing is cut off is in test_plots_whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from datasets import Dataset

from hf_datasel.errors import BadRow, DataselError
from hf_datasel.reports import independence, plots, utility_curve


Utilities = npt.NDArray[np.float64]
NAN = float("nan")


def words(figure: Any) -> str:
    from matplotlib.text import Text

    return " | ".join(text.get_text() for text in figure.findobj(Text) if text.get_text().strip())


def bars(figure: Any, label: str) -> list[tuple[float, float, int]]:
    """(left, right, rows) of the bars of one kind."""
    (series,) = [series for series in figure.axes[0].containers if series.get_label() == label]
    return [(bar.get_x(), bar.get_x() + bar.get_width(), int(bar.get_height())) for bar in series]


def lines(figure: Any, label: str, panel: int = 0) -> list[Any]:
    return [line for line in figure.axes[panel].lines if line.get_label() == label]


# Histogram


def test_bars_hold_every_row_and_meet_at_the_threshold(utilities: Utilities) -> None:
    threshold = float(np.sort(utilities)[-60])
    figure = plots.figure_histogram(np.clip(utilities, -0.01, 0.01), threshold=threshold)
    kept, dropped = bars(figure, "kept"), bars(figure, "dropped")
    assert sum(rows for *_, rows in kept) == 60 and sum(rows for *_, rows in dropped) == 240
    assert min(left for left, _, rows in kept if rows) == pytest.approx(threshold)
    assert max(right for _, right, rows in dropped if rows) == pytest.approx(threshold)
    assert "20 % of rows kept" in words(figure) and "60 kept" in words(figure) and "240 dropped" in words(figure)
    num_toxic = int((utilities < 0).sum())
    assert f"{num_toxic} toxic, below 0 ({num_toxic / 3:.1f} %)" in words(figure)


def test_as_loss_change_mirrors_the_picture_and_nothing_else() -> None:
    scores = [0.3, 0.2, 0.2, 0.1, -0.1]
    plain, mirrored = (plots.figure_histogram(scores, 0.2, as_loss_change=flag) for flag in (False, True))
    for label in ("kept", "dropped"):
        turned = sorted((-right, -left, rows) for left, right, rows in bars(plain, label))
        assert np.allclose(turned, sorted(bars(mirrored, label)))
    # The row at the threshold itself is kept in both, though it lies on the edge between two bars.
    assert sum(rows for *_, rows in bars(mirrored, "kept")) == 3
    assert plain.axes[0].get_xlim() == pytest.approx(tuple(-end for end in reversed(mirrored.axes[0].get_xlim())))
    assert "utility of at least 0.2 " in words(plain) and "utility, nats per token; higher is better" in words(plain)
    assert "of at most \u22120.2 " in words(mirrored) and "nats per token; lower is better" in words(mirrored)
    assert "1 toxic, above 0 (20 %)" in words(mirrored)


def test_heavy_tails_end_the_axis_and_are_counted() -> None:
    scores = np.concatenate([np.linspace(-1, 1, 998), [1e6, -1e6]])
    figure = plots.figure_histogram(scores)
    low, high = figure.axes[0].get_xlim()
    assert -1.1 < low < -0.9 and 0.9 < high < 1.1
    left_out = int((scores < low).sum()), int((scores > high).sum())
    assert f"Beyond the axis: {left_out[0]} rows below, {left_out[1]} above." in words(figure)
    assert sum(rows for *_, rows in bars(figure, "kept")) == 1000 - sum(left_out)
    assert "Beyond" not in words(plots.figure_histogram(np.linspace(-1, 1, 1000)))


@pytest.mark.parametrize("scores", [[0.01], [-0.5] * 9, [0.0] * 9 + [1e-300], [1.0] * 9 + [1.0 + 1e-15]])
def test_equal_scores_make_one_bar_one_can_see(scores: list[float]) -> None:
    figure = plots.figure_histogram(scores)
    figure.draw_without_rendering()
    low, high = figure.axes[0].get_xlim()
    (bar,) = [bar for bar in bars(figure, "kept") if bar[2]]
    assert bar[2] == len(scores) and 0.05 < (bar[1] - bar[0]) / (high - low) < 0.5


def test_rows_without_a_score_are_counted_and_in_no_share() -> None:
    figure = plots.figure_histogram([0.1, None, -0.2, NAN, NAN], threshold=0.0)
    assert "Not scored: 3 rows." in words(figure) and "50 % of rows kept" in words(figure)


def test_a_mask_shows_what_a_threshold_cannot() -> None:
    scores, mask = [0.5] * 4 + [0.1, NAN], [True, False, False, False, True, False]
    figure = plots.figure_histogram(scores, threshold=0.1, kept=mask)
    assert "2 kept" in words(figure) and "3 dropped" in words(figure) and "40 % of rows kept" in words(figure)
    with pytest.raises(DataselError, match=r"`kept` has the shape \(2,\), expected \(6,\)"):
        plots.figure_histogram(scores, kept=[True, False])


def test_a_score_without_a_toxic_side_is_drawn_without_one() -> None:
    figure = plots.figure_histogram([-10, 20, 40], name="response_length")
    assert "toxic" not in words(figure) and "Median response_length of 3 rows: 20 characters" in words(figure)
    assert "response_length, characters; higher is better" in words(figure)


def test_nothing_is_said_of_the_unit_and_the_sign_of_an_unknown_score() -> None:
    scores = [-0.8, 0.1, 0.4, -0.9]
    rows = [{"text": "a", "goal_score": score} for score in scores]
    drawn = {
        "Median goal_score of 4 rows: \u22120.35": plots.figure_histogram(scores, name="goal_score"),
        "R² =": plots.figure_independence(scores, name="goal_score"),
        "Rows with the highest and the lowest goal_score": plots.figure_rows(rows, rows, column="goal_score"),
    }
    for title, figure in drawn.items():
        assert title in words(figure)
        for claim in ("toxic", "utility", "nats"):
            assert claim not in words(figure), (claim, title)


def test_the_title_of_a_grouped_choice_counts_the_better_rows_it_dropped() -> None:
    scores, mask = [0.5, 0.4, 0.3, 0.2, 0.1], [True, False, False, True, False]
    grouped = words(plots.figure_histogram(scores, threshold=0.2, kept=mask))
    assert "40 % of rows kept, not simply the best: 2 dropped rows score above the lowest kept" in grouped
    assert "lowest kept 0.2" in grouped and "at least" not in grouped
    best = words(plots.figure_histogram(scores, threshold=0.4, kept=[True, True, False, False, False]))
    assert "40 % of rows kept: utility of at least 0.4 nats per token" in best


def test_tiny_utilities_have_their_power_of_ten_in_the_label() -> None:
    figure = plots.figure_histogram([-3e-7, 1e-7, 5e-7])
    figure.draw_without_rendering()
    ticks = [float(tick.get_text().replace("\u2212", "-")) for tick in figure.axes[0].get_xticklabels()]
    assert "utility, 10⁻⁷ nats per token" in words(figure) and max(ticks) <= 10


# Independence


def test_the_fitted_line_and_the_autocorrelation_are_those_of_the_check(utilities: Utilities) -> None:
    scores = np.append(utilities, [NAN, 0.01])
    result, figure = independence(scores), plots.figure_independence(scores)
    points, fit = figure.axes[0].lines[:2]
    assert len(points.get_xdata()) == 301 and points.get_xdata()[-1] == 301
    assert fit.get_ydata().tolist() == pytest.approx([result.intercept, result.intercept + 301 * result.slope])
    (stems,) = figure.axes[1].collections
    assert [segment[1][1] for segment in stems.get_segments()] == pytest.approx(result.acf.tolist())
    gates = sorted({line.get_ydata()[0] for line in figure.axes[1].lines})
    assert gates == pytest.approx([-result.acf_gate, 0, result.acf_gate])
    assert "Not scored: 1 row." in words(figure)


@pytest.mark.parametrize(
    ("scores", "finding"),
    [
        (np.random.default_rng(5).standard_normal(20_000), "Scores do not drift along the pool: R² ="),
        (np.arange(100.0) % 7 + np.arange(100) / 10, "Scores differ along the pool: R² ="),
        (np.repeat(np.random.default_rng(5).standard_normal(2500), 2), "Rows near each other score alike: R² ="),
        ([2.0] * 9, "All scores are equal: nothing to judge independence by"),
    ],
)
def test_the_title_says_what_was_found(scores: Any, finding: str) -> None:
    assert finding in words(plots.figure_independence(scores))


def test_a_sorted_pool_is_not_said_to_be_scored_in_dependence_and_its_line_is_seen_whole() -> None:
    # 240 images, then 60 clips that score higher: what position explains says nothing of the scoring.
    scores = np.append(np.random.default_rng(1).normal(-0.8, 0.02, 240), np.random.default_rng(2).normal(0.4, 0.3, 60))
    figure = plots.figure_independence(scores)
    assert "To tell, score it shuffled" in words(figure) and "depend" not in words(figure)
    assert "score it shuffled" not in words(plots.figure_independence(np.random.default_rng(0).permutation(scores)))
    (line,) = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    low, high = figure.axes[0].get_ylim()
    assert line.get_ydata().min() < scores.min() and low < line.get_ydata().min() and line.get_ydata().max() < high


# Utility curve


def test_the_curve_starts_at_nothing_kept_and_marks_peak_knee_and_choice() -> None:
    curve = utility_curve([-1.0, 3.0, 0.5, 1.0, -0.5])
    figure = plots.figure_utility_curve(curve, chosen_fraction=0.2)
    drawn = next(line for line in figure.axes[0].lines if len(line.get_xdata()) == 6)
    assert drawn.get_xdata().tolist() == pytest.approx([0, 20, 40, 60, 80, 100])
    assert drawn.get_ydata().tolist() == [0, 3.0, 4.0, 4.5, 4.0, 3.0]
    assert [point.get_xydata()[0].tolist() for point in lines(figure, "peak")] == [[60.0, 4.5]]
    assert [point.get_xydata()[0].tolist() for point in lines(figure, "knee")] == [[40.0, 4.0]]
    for text in ("peak: 60 %", "knee: 40 %", "chosen: 20 %", "3 rows are above 0", "rows repeat each other"):
        assert text in words(figure)


def test_a_choice_that_is_not_the_best_rows_lies_under_the_curve() -> None:
    curve = utility_curve([-1.0, 3.0, 0.5, 1.0, -0.5])
    best, other = (plots.figure_utility_curve(curve, 0.4, chosen_sum=total) for total in (None, 3.5))
    assert lines(best, "chosen")[0].get_xydata().tolist() == [[40.0, 4.0]]
    assert lines(other, "chosen")[0].get_xydata().tolist() == [[40.0, 3.5]]
    (dashed,) = [line for line in other.axes[0].lines if list(line.get_xdata()) == [40.0, 40.0]]
    assert dashed.get_ydata()[1] == 3.5  # it ends there: above are the labels of peak and knee
    assert "chosen: 40 %, not simply the best" in words(other) and "not simply" not in words(best)


def test_the_line_of_the_choice_passes_under_no_label() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from hf_datasel.reports.plots.style import house_style

    # A knee at a fifth and a choice at three tenths, as in recipes/ost_vlm.yaml.
    curve = utility_curve(np.concatenate([np.full(20, 1.0), np.full(40, 0.05), np.full(40, -0.02)]))
    assert curve.knee_fraction == 0.2
    figure = plots.figure_utility_curve(curve, 0.3)
    with house_style():
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        (dashed,) = [line for line in figure.axes[0].lines if line.get_xdata()[0] == 30 and len(line.get_xdata()) == 2]
        for text in figure.axes[0].texts:
            assert not text.get_window_extent(renderer).overlaps(dashed.get_window_extent(renderer)), text.get_text()


def test_a_curve_without_peak_or_knee_says_so() -> None:
    assert "No row has a positive utility" in words(plots.figure_utility_curve(utility_curve([-1.0, -2.0])))
    straight = plots.figure_utility_curve(utility_curve([1.0, 1.0, NAN]))
    assert "the sum never falls" in words(straight) and not lines(straight, "knee")
    assert "Not scored: 1 row of 3" in words(straight)


# Arms


def runs(**arms: list[float | None]) -> list[dict[str, Any]]:
    return [{"arm": arm, "seed": seed, "value": value} for arm, its in arms.items() for seed, value in enumerate(its)]


def test_every_seed_is_a_dot_and_the_best_mean_is_on_top() -> None:
    figure = plots.figure_arms(runs(full=[0.3, 0.4], top=[0.5, 0.6, None], random=[0.35, 0.45]))
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["top", "random", "full"]
    assert [lines(figure, arm)[0].get_xdata().tolist() for arm in ("top", "random", "full")] == [
        [0.5, 0.6], [0.35, 0.45], [0.3, 0.4],
    ]  # fmt: skip
    assert [lines(figure, arm)[0].get_ydata()[0] for arm in ("top", "random", "full")] == [0, 1, 2]
    assert figure.axes[0].get_ylim()[0] > figure.axes[0].get_ylim()[1]
    for text in ("0.550  (2 seeds)", "No value from 1 of 7 runs.", "answer accuracy; higher is better"):
        assert text in words(figure)


@pytest.mark.parametrize(
    ("results", "finding"),
    [
        (runs(a=[0.5, 0.6], b=[0.3, 0.4], c=[0.1, 0.2]), "a has the highest mean loss, with every seed"),
        (runs(a=[0.5, 0.6], b=[0.3, 0.55]), "a has the highest mean loss, within the spread of seeds"),
        (runs(a=[0.5, 0.6], b=[0.4, 0.41], c=[0.0, 0.55]), "a has the highest mean loss, within the spread of seeds"),
        (runs(a=[0.5], b=[0.3, 0.4]), "a has the highest mean loss; too few seeds to tell"),
        (runs(a=[0.5, 0.5], b=[0.5, 0.5]), "No single best arm"),
        (runs(a=[0.5, 0.7]), "a: mean loss 0.600"),
    ],
)
def test_the_title_claims_no_more_than_the_seeds_show(results: list[dict[str, Any]], finding: str) -> None:
    assert finding in words(plots.figure_arms(results, metric="loss"))


def test_lower_can_be_better() -> None:
    figure = plots.figure_arms(runs(a=[2.0, 2.1], b=[1.0, 1.1]), metric="loss", unit="nats", lower_is_better=True)
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["b", "a"]
    assert "b has the lowest mean loss, with every seed" in words(figure)
    assert "loss, nats; lower is better" in words(figure)


def test_before_training_is_a_line_where_it_fits_and_words_where_it_does_not() -> None:
    results = runs(a=[0.4], b=[0.53], c=[0.2])
    near, far = (plots.figure_arms(results, "loss", lower_is_better=True, before=value) for value in (0.5, 5.0))
    dashed = [
        [line for line in it.axes[0].lines if set(line.get_xdata()) == {value}]
        for it, value in ((near, 0.5), (far, 5.0))
    ]
    assert [len(found) for found in dashed] == [1, 0] and far.axes[0].get_xlim()[1] < 1
    assert "before training 0.500; 1 arm no better" in words(near)
    assert "before training 5.00, off the axis to the right" in words(far) and "no better" not in words(far)
    higher = plots.figure_arms(results, before=0.45)
    assert "2 arms no better" in words(higher)


def test_runs_that_cannot_be_drawn_are_refused() -> None:
    with pytest.raises(DataselError, match=r"number 1 lacks \['seed'\]"):
        plots.figure_arms([{"arm": "a", "seed": 0, "value": 1.0}, {"arm": "a", "value": 1.0}])
    with pytest.raises(DataselError, match="has 2 runs and none with a value"):
        plots.figure_arms(runs(a=[None, NAN]))


# Rows


def scored_rows(scores: list[float | None]) -> list[dict[str, Any]]:
    return [
        {"row_id": f"id{place}", "prompt": f"ask{place}", "completion": f"say{place}", "ost_utility": score}
        for place, score in enumerate(scores)
    ]


@pytest.mark.parametrize("make", [list, Dataset.from_list])
def test_the_best_kept_and_the_worst_dropped_are_shown_in_that_order(make: Callable[..., Any]) -> None:
    kept, dropped = scored_rows([0.1, 0.9, None, 0.5]), scored_rows([-0.1, NAN, -0.9, -0.5])
    figure = plots.figure_rows(make(kept), make(dropped), num_rows=2)
    seen = [text.get_text() for text in figure.texts]
    assert seen[1:] == [
        "Best kept", "0.9", "id1", "ask1", "say1", "0.5", "id3", "ask3", "say3",
        "Worst dropped", "\u22120.9", "id2", "ask2", "say2", "\u22120.5", "id3", "ask3", "say3",
    ]  # fmt: skip


def test_the_first_picture_of_a_row_is_shown_with_it(tmp_path: Path) -> None:
    from PIL import Image

    from hf_datasel.reports.plots.style import save

    red, wide = np.zeros((30, 30, 3), dtype=np.uint8), np.zeros((10, 40, 3), dtype=np.uint8)
    red[..., 0], wide[..., 1] = 255, 200
    rows = scored_rows([0.9, 0.5, 0.1])
    rows[0]["images"], rows[1]["image"], rows[2]["image"] = [red, wide], wide, {"bytes": b"broken", "path": None}
    figure = plots.figure_rows(rows, scored_rows([-1.0]))
    shown = [axes.images[0].get_array() for axes in figure.axes]
    assert [tuple(picture[0, 0]) for picture in shown] == [(255, 0, 0), (0, 200, 0)]
    assert shown[1].shape[:2] == (10, 40) and "first of 2 images" in words(figure)
    assert "(image that cannot be read)" in words(figure) and "say2" in words(figure)
    seen = np.asarray(Image.open(save(figure, tmp_path / "rows.png")).convert("RGB"))
    assert (seen == (255, 0, 0)).all(axis=2).sum() > 150 * 150  # not hidden by the card it lies on


def test_long_texts_are_cut_and_hostile_ones_shown_as_they_are() -> None:
    row = {"prompt": "word " * 500, "completion": "$x_{$ \\frac\nsecond\x00 \u202eline", "ost_utility": 1.0}
    seen = [text.get_text() for text in plots.figure_rows([row], []).texts]
    prompt = [line for line in seen if line.startswith("word")]
    assert len(prompt) == 4 and prompt[-1].endswith("word …")
    assert "$x_{$ \\frac" in seen and "second\\x00 \\u202eline" in seen
    assert "Worst dropped: none" in seen


def test_rows_that_cannot_be_shown_are_refused() -> None:
    with pytest.raises(DataselError, match=r"`column` is 'ppl', which a row of `kept_rows` lacks"):
        plots.figure_rows(scored_rows([1.0]), [], column="ppl")
    with pytest.raises(DataselError, match="`column` is 'ppl', expected a column"):
        plots.figure_rows(Dataset.from_list(scored_rows([1.0])), [], column="ppl")
    with pytest.raises(DataselError, match="expected at least one"):
        plots.figure_rows(scored_rows([None]), [])
    with pytest.raises(BadRow, match="expected `messages`"):
        plots.figure_rows([{"question": "q", "ost_utility": 1.0}], [])


# Files


def test_each_plot_writes_a_png_of_1600_pixels_and_returns_its_path(
    tmp_path: Path, png_size: Callable[[Path], tuple[int, int]], utilities: Utilities
) -> None:
    folder = tmp_path / "new" / "folder"
    written = {
        plots.plot_histogram(utilities, folder / "histogram.png"): 800,
        plots.plot_independence(utilities, folder / "independence.png"): 720,
        plots.plot_utility_curve(utility_curve(utilities), folder / "curve.png"): 800,
        plots.plot_arms(runs(a=[0.1], b=[0.2]), folder / "arms.png"): 468,
    }
    assert {path: (1600, height) for path, height in written.items()} == {path: png_size(path) for path in written}
    rows = plots.plot_rows(scored_rows([1.0]), scored_rows([-1.0]), str(folder / "rows.png"))
    assert rows == folder / "rows.png" and png_size(rows)[0] == 1600


def test_the_same_scores_give_the_same_bytes(tmp_path: Path, utilities: Utilities) -> None:
    one, other = (plots.plot_histogram(utilities, tmp_path / name) for name in ("a.png", "b.png"))
    assert one.read_bytes() == other.read_bytes()


def test_fifty_thousand_rows_are_drawn(tmp_path: Path, png_size: Callable[[Path], tuple[int, int]]) -> None:
    scores = np.random.default_rng(2).standard_t(1.5, 50_000) * 3e-7
    assert png_size(plots.plot_histogram(scores, tmp_path / "h.png", threshold=1e-7)) == (1600, 800)
    assert png_size(plots.plot_independence(scores, tmp_path / "i.png")) == (1600, 720)
    assert png_size(plots.plot_utility_curve(utility_curve(scores), tmp_path / "u.png")) == (1600, 800)


@pytest.mark.parametrize("plot", [plots.plot_histogram, plots.plot_independence])
def test_without_scores_there_is_a_clear_error_and_no_file(plot: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DataselError, match="has 0 scored rows of 4, expected at least"):
        plot([NAN] * 4, tmp_path / "none.png")
    assert not list(tmp_path.iterdir())


def test_a_composition_draws_every_share_where_it_belongs():
    bars = {"pool": {"image": 0.75, "video": 0.25}, "Temp+": {"video": 0.5, "image": 0.48, "text": 0.02}}
    figure = plots.figure_composition(bars, "modality")
    found = [(round(bar.get_x(), 6), round(bar.get_width(), 6)) for bar in figure.axes[0].patches if bar.get_width()]
    # Values in the order they first come; a value that a bar lacks takes no room.
    assert found == [(0.0, 0.75), (0.75, 0.25), (0.0, 0.48), (0.48, 0.5), (0.98, 0.02)]
    said = words(figure)
    assert "75" in said and "48" in said and "Shares of modality" in said
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["image", "video", "text"]


def test_a_share_too_small_for_its_number_stands_beside_its_bar() -> None:
    figure = plots.figure_composition({"pool": {"image": 0.95, "video": 0.04, "text": 0.01}}, "modality")
    said = [text.get_text() for text in figure.axes[0].texts]
    assert said == ["95", "4", "text 1.0"]


def test_more_values_than_colours_are_refused():
    with pytest.raises(DataselError, match="has 10 values, expected 1 to 9"):
        plots.figure_composition({"pool": {str(n): 0.1 for n in range(10)}}, "source")


def test_convergence_draws_means_bands_the_reference_and_the_peak_match():
    curves = {
        "a": [[(0, 5.0), (10, 3.0), (20, 1.0)], [(0, 5.0), (10, 4.0), (20, 2.0)]],
        "full": [[(0, 5.0), (100, 3.0), (200, 2.5)]],
    }
    axes = plots.figure_convergence(curves, "full").axes[0]
    by_name = {line.get_label(): line for line in axes.lines}
    assert by_name["a"].get_xydata().tolist() == [[10, 3.5], [20, 1.5]]  # the start has no place on a logarithmic axis
    assert axes.get_xscale() == "log"
    level = next(line for line in axes.lines if set(line.get_ydata()) == {2.5})
    assert level.get_ydata()[0] == 2.5
    (dot,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert dot.get_xydata().tolist() == [[15.0, 2.5]]  # half-way from 3.5 to 1.5
    assert len(axes.collections) == 2
    with pytest.raises(DataselError, match="`baseline` is 'uniform'"):
        plots.figure_convergence(curves, "uniform")


def test_the_title_of_the_convergence_says_what_was_found() -> None:
    slow, fast = [[(0, 5.0), (100, 3.0), (200, 2.5)]], [[(0, 5.0), (10, 3.0), (20, 2.0)]]
    met = plots.figure_convergence({"a": fast, "b": [[(0, 5.0), (80, 2.5)]], "full": slow}, "full")
    assert "a matches the best of full after 15 samples, not 200" in words(met)
    never = plots.figure_convergence({"a": [[(0, 5.0), (10, 4.0)]], "full": slow}, "full")
    assert "No arm gets to the best held-out loss of full" in words(never)


# Indicator weights


def judged(weights: list[float], noise: float = 0.2) -> dict[str, Any]:
    from hf_datasel.learners.learned_weights import Judge

    draw = np.random.default_rng(0)
    indicators = draw.random((120, len(weights)))
    gains = (indicators @ np.array(weights))[:, None] + noise * draw.normal(size=(120, 12))
    names = ("semantic_diversity", "logical_complexity", "length")[: len(weights)]
    return Judge(0.3, "random")(names, indicators, gains, np.ones(12), names[:2]).report


def test_weights_found_lie_on_the_surface_of_the_trade_off() -> None:
    report = judged([1.0, 0.8, -1.0])
    figure = plots.figure_indicator_weights(report)
    left, right, below, *_ = figure.axes
    assert [bar.get_width() for bar in left.patches] == pytest.approx(list(report["weights"].values()))
    (line,) = [line for line in right.lines if line.get_label() == "found"]
    assert line.get_xdata()[0] == pytest.approx(report["objective"]["found"])
    (dot,) = [line for line in below.lines if line.get_label() == "found"]
    one, other, _ = report["found"].values()
    assert [*dot.get_xdata(), *dot.get_ydata()] == pytest.approx([other / (one + other), one + other])
    table = np.array(report["surface"]["objective"])
    assert np.array_equal(below.images[0].get_array(), table)
    # The top row is the two alone; the bottom one the rest alone, whatever their shares.
    assert [value for _, value in report["trade_off"]] == table[-1].tolist()
    assert np.ptp(table[0]) == 0 and table[0, 0] == pytest.approx(report["objective"]["length"])
    assert table[-1, 0] == pytest.approx(report["objective"]["semantic_diversity"])
    assert table[-1, -1] == pytest.approx(report["objective"]["logical_complexity"])
    low, high = report["held_out_interval"]
    assert "Learned weights are kept" in words(figure) and f"{low:.2g} to {high:.2g} on held-out rows" in words(figure)


def test_uniform_weights_that_are_kept_stand_beside_those_found() -> None:
    report = judged([0.0, 0.0], noise=1.0)
    figure = plots.figure_indicator_weights(report)
    assert report["kept"].startswith("uniform") and "Uniform weights are kept" in words(figure)
    (found,) = [line for line in figure.axes[0].lines if line.get_label() == "found"]
    assert found.get_xdata().tolist() == pytest.approx(list(report["found"].values()))
    assert len(report["surface"]["parts"]) == 1  # there is no rest
    with pytest.raises(DataselError, match=r"`report` lacks \['found', 'kept', 'weights'\]"):
        plots.figure_indicator_weights({})
