"""Over all figures: nothing is cut off, text is literal, and the user's matplotlib is left alone."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hf_datasel.errors import MissingExtra
from hf_datasel.reports import plots, utility_curve
from hf_datasel.reports.scales import Scale


RNG = np.random.default_rng(4)
HEAVY = RNG.standard_t(2, 300) * 2e-3 + 1e-3
ODD = "costs $5_{x\\frac vs $6\nsecond line & <b> % # ~ ^ and a name much longer than any axis has room for"
ODD_ROW = {"prompt": ODD * 9, "completion": "W" * 400 + ODD, "ost_utility": 1.0, "row_id": "W" * 60}
GOOD = [{"arm": arm, "seed": seed, "value": seed + 0.5} for arm in (ODD, "full", "a" * 90) for seed in range(3)]
TALL, BROKEN = np.zeros((40, 10, 3), dtype=np.uint8), {"bytes": b"no picture", "path": None}

CURVES = {
    "a": [[(0, 5.0), (10, 3.0), (20, 1.5)], [(0, 5.0), (10, 2.5), (20, 1.9)]],
    "full": [[(0, 5.0), (100, 3.0), (200, 2.0)], [(0, 5.0), (100, 3.0), (200, 2.2)]],
}


def weights_report(names: tuple[str, ...], kept: str = "learned", parts: int = 11) -> dict[str, Any]:
    """A report of `IndicatorWeights` with a trade-off of its first two indicators."""
    found = {name: 1 / len(names) for name in names}
    table = RNG.random((parts, 11)).tolist()
    surface = {"pair": list(names[:2]), "shares": np.linspace(0, 1, 11).tolist(), "objective": table,
               "parts": np.linspace(0, 1, 11).tolist() if parts > 1 else [1.0]}  # fmt: skip
    objective = {"found": 0.3, "uniform": 0.2, "random": -0.1, **found}
    return {"weights": found, "found": found, "kept": kept, "objective": objective, "surface": surface,
            "interval": [0.01, 0.02], "held_out_interval": [-0.00012345, 0.0123456]}  # fmt: skip


FIGURES: dict[str, Callable[[], Any]] = {
    "histogram": lambda: plots.figure_histogram(np.append(HEAVY, np.nan), threshold=0.003),
    "histogram, loss change": lambda: plots.figure_histogram(HEAVY, threshold=0.003, as_loss_change=True),
    "histogram, one row": lambda: plots.figure_histogram([0.01], threshold=0.01),
    "histogram, all equal": lambda: plots.figure_histogram([-0.5] * 100),
    "histogram, nearly all equal": lambda: plots.figure_histogram([0.0] * 999 + [1e-300]),
    "histogram, threshold beyond": lambda: plots.figure_histogram(HEAVY, threshold=9.0),
    "histogram, odd names": lambda: plots.figure_histogram(HEAVY, 0.0, name=ODD, scale=Scale(ODD)),
    "histogram, 50,000 rows": lambda: plots.figure_histogram(RNG.standard_t(1.5, 50_000) * 3e-7, threshold=1e-7),
    "independence": lambda: plots.figure_independence(np.append(HEAVY, np.nan)),
    "independence, odd names": lambda: plots.figure_independence(HEAVY, name=ODD, scale=Scale(ODD)),
    "independence, three rows": lambda: plots.figure_independence([0.1, 0.2, 0.15]),
    "independence, all equal": lambda: plots.figure_independence([0.5] * 100),
    "independence, 50,000 rows": lambda: plots.figure_independence(RNG.standard_t(1.5, 50_000) * 3e-7),
    "curve": lambda: plots.figure_utility_curve(utility_curve(np.append(HEAVY, np.nan)), chosen_fraction=0.2),
    "curve, odd names": lambda: plots.figure_utility_curve(utility_curve(HEAVY), 0.5, name=ODD, scale=Scale(ODD)),
    "curve, not the best kept": lambda: plots.figure_utility_curve(utility_curve(HEAVY), 0.2, chosen_sum=-0.5),
    "independence, a sorted pool": lambda: plots.figure_independence(np.append(np.sort(HEAVY), np.nan)),
    "curve, one row": lambda: plots.figure_utility_curve(utility_curve([0.5]), chosen_fraction=1.0),
    "curve, all toxic": lambda: plots.figure_utility_curve(utility_curve(-np.abs(HEAVY)), chosen_fraction=0.01),
    "arms": lambda: plots.figure_arms(GOOD),
    "arms, odd metric": lambda: plots.figure_arms(GOOD, metric=ODD, unit=ODD, lower_is_better=True),
    "arms, before training": lambda: plots.figure_arms(GOOD, lower_is_better=True, before=0.7),
    "arms, before training far off": lambda: plots.figure_arms(GOOD, lower_is_better=True, before=-1234.5),
    "arms, one run": lambda: plots.figure_arms(GOOD[:1]),
    "composition": lambda: plots.figure_composition(
        {"pool": {"image": 0.8, "video": 0.2}, "a": {"video": 1.0}}, "modality"
    ),
    "composition, small shares": lambda: plots.figure_composition(
        {"pool": {ODD: 0.97, f"a {ODD}": 0.01, "b": 0.01, "c": 0.01}}, "modality"
    ),
    "composition, odd names": lambda: plots.figure_composition({ODD: {f"{n} {ODD}": 1 / 9 for n in range(9)}}, ODD),
    "convergence": lambda: plots.figure_convergence(CURVES, "full"),
    "convergence, odd names": lambda: plots.figure_convergence(
        {ODD: CURVES["full"], ODD * 2: CURVES["a"]}, ODD, ODD, ODD
    ),
    "indicator weights": lambda: plots.figure_indicator_weights(weights_report(("a", "b", "c"))),
    "indicator weights, uniform": lambda: plots.figure_indicator_weights(weights_report(("a", "b"), "uniform: no", 1)),
    "indicator weights, odd names": lambda: plots.figure_indicator_weights(weights_report((ODD, ODD * 2, "a" * 90))),
    "indicator weights, nothing found": lambda: plots.figure_indicator_weights(
        {"weights": {"a": 1.0}, "found": {}, "kept": ODD}
    ),
    "rows": lambda: plots.figure_rows([ODD_ROW] * 3, [ODD_ROW]),
    "rows, odd names": lambda: plots.figure_rows([ODD_ROW | {ODD: 1.0}], [], column=ODD, scale=Scale(ODD)),
    "rows, pictures": lambda: plots.figure_rows([ODD_ROW | {"images": [TALL] * 12}], [ODD_ROW | {"image": BROKEN}]),
    "rows, no side": lambda: plots.figure_rows([], [ODD_ROW]),
}


@pytest.fixture(params=FIGURES)
def figure(request: pytest.FixtureRequest) -> Any:
    return FIGURES[request.param]()


@pytest.mark.filterwarnings("error")
def test_no_text_leaves_the_figure_and_none_is_typeset_as_a_formula(figure: Any, tmp_path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    from hf_datasel.reports.plots.style import house_style, save

    save(figure, tmp_path / "figure.png")
    with house_style():
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        width, height = figure.bbox.size
        shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
        assert shown
        for text in shown:
            box = text.get_window_extent(renderer)
            inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
            assert inside or _hidden_tick(text, figure), (text.get_text(), box)
            assert not text.get_parse_math() and not text.get_usetex()


def _hidden_tick(text: Any, figure: Any) -> bool:
    """Labels of ticks beyond an axis' limits exist, and are not drawn."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if text in (tick.label1, tick.label2) and not low <= tick.get_loc() <= high:
                    return True
    return False


def test_cards_keep_their_text_inside_their_own_column() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from hf_datasel.reports.plots.style import house_style

    figure = plots.figure_rows([ODD_ROW] * 2, [ODD_ROW] * 2)
    with house_style():
        figure.set_dpi(200)
        renderer = FigureCanvasAgg(figure).get_renderer()
        for text in figure.texts[1:]:
            box = text.get_window_extent(renderer)
            middle = figure.bbox.width / 2
            assert box.x1 <= middle or box.x0 >= middle, text.get_text()


def test_the_users_own_style_changes_nothing_and_is_kept(tmp_path: Path) -> None:
    import matplotlib

    ours = plots.plot_histogram(HEAVY, tmp_path / "ours.png").read_bytes()
    theirs = {"font.size": 30, "axes.facecolor": "black", "savefig.bbox": "tight", "savefig.dpi": 20}
    with matplotlib.rc_context(theirs):
        assert plots.plot_histogram(HEAVY, tmp_path / "theirs.png").read_bytes() == ours
        assert all(matplotlib.rcParams[name] == value for name, value in theirs.items())


def test_characters_no_font_has_are_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    row = {"prompt": "\U00010c80\U00010c81 " * 40, "completion": "x", "ost_utility": 1.0}
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        plots.plot_rows([row], [], tmp_path / "rows.png")
    assert [record.getMessage().split(" have")[0] for record in caplog.records] == ["2 characters in rows.png"]


def test_reports_import_matplotlib_only_to_draw_and_pyplot_never() -> None:
    code = (
        "import sys, hf_datasel.reports, hf_datasel.reports.plots as plots\n"
        "assert 'matplotlib' not in sys.modules, 'at import'\n"
        "plots.figure_histogram([0.1, 0.2])\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "draw",
    [
        lambda path: plots.plot_histogram([1.0], path),
        lambda path: plots.plot_independence([1.0, 2.0, 4.0], path),
        lambda path: plots.plot_utility_curve(utility_curve([1.0]), path),
        lambda path: plots.plot_arms(GOOD, path),
        lambda path: plots.plot_rows([ODD_ROW], [], path),
    ],
)
def test_without_matplotlib_the_line_that_installs_it_is_given(
    draw: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"pip install 'hf_datasel\[plots\]'"):
        draw(tmp_path / "none.png")
