"""The best kept and the worst dropped rows, as cards to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.contracts import Scores
from hf_datasel.errors import DataselError
from hf_datasel.reports.plots.style import DOTS_PER_INCH, FAINT, INK, KEPT, TOXIC, WIDTH, house_style, save, title_size
from hf_datasel.reports.plots.text_layout import fitted, measure_at
from hf_datasel.reports.plots.wording import number, printable, shortened
from hf_datasel.reports.row_text import prompt_and_answer
from hf_datasel.selectors.columns import read_numbers


if TYPE_CHECKING:
    from datasets import Dataset
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]

# Inches, but for the sizes of letters, which are points.
_MARGIN, _GAP, _PADDING = 0.15, 0.2, 0.12
_COLUMN = (WIDTH - 2 * _MARGIN - _GAP) / 2
_LINE, _TEXT_SIZE, _SCORE_SIZE = 0.172, 9.0, 10.0
_HEADING, _HEADER, _BETWEEN = 0.68, 0.3, 0.06
_PROMPT_LINES, _ANSWER_LINES = 4, 8
# No card shows more, and measuring a book to cut it would take minutes.
_MOST_CHARACTERS = 3000


@dataclass(frozen=True)
class _Card:
    score: float
    row_id: str
    prompt: list[str]
    answer: list[str]

    @property
    def height(self) -> float:
        between = _BETWEEN if self.prompt and self.answer else 0.0
        return _PADDING + _HEADER + between + _LINE * (len(self.prompt) + len(self.answer)) + _PADDING / 2


def plot_rows(
    kept_rows: Dataset | Rows,
    dropped_rows: Dataset | Rows,
    path: str | Path,
    column: str = "ost_utility",
    unit: str = "nats per token",
    num_rows: int = 3,
) -> Path:
    """Draw the best kept and the worst dropped rows as text to a PNG 1600 pixels wide, as high as they need.

    Prompts are cut after 4 lines and answers after 8; what is cut ends in "…".

    Args:
        kept_rows: `selection.kept`, or any rows in a format TRL's SFT trains on as text.
        dropped_rows: `selection.dropped`. Rows without a score are passed over.
        path: the PNG to write.
        column: of the score, higher means keep.
        unit: of the score.
        num_rows: cards per side.

    Returns:
        `path`.

    Raises:
        BadRow: a row has no text to show.
        DataselError: a dataset has no such column, or no row of either has a score.
        MissingExtra: matplotlib is not installed.

    Source: Fig. 6 and 7 of OST (https://huggingface.co/papers/2605.07488), which contrast good and bad samples.

    Example:
        >>> from tempfile import mkdtemp
        >>> kept = [{"prompt": "1 + 1", "completion": "2", "ost_utility": 0.3}]
        >>> dropped = [{"prompt": "2 + 2", "completion": "I cannot see the image.", "ost_utility": -0.2}]
        >>> plot_rows(kept, dropped, f"{mkdtemp()}/rows.png").name
        'rows.png'
    """
    return save(figure_rows(kept_rows, dropped_rows, column, unit, num_rows), path)


@house_style()
def figure_rows(
    kept_rows: Dataset | Rows,
    dropped_rows: Dataset | Rows,
    column: str = "ost_utility",
    unit: str = "nats per token",
    num_rows: int = 3,
) -> Figure:
    """The figure `plot_rows` saves; same arguments."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 1.0))
    best = _cards(kept_rows, "kept_rows", column, num_rows, worst=False)
    worst = _cards(dropped_rows, "dropped_rows", column, num_rows, worst=True)
    if not best and not worst:
        raise DataselError(f"no row of `kept_rows` and `dropped_rows` has a {column!r}, expected at least one.")
    pairs = max(len(best), len(worst))
    heights = [max(cards[place].height for cards in (best, worst) if place < len(cards)) for place in range(pairs)]
    figure.set_size_inches(WIDTH, _HEADING + sum(heights) + _GAP * (pairs - 1) + _MARGIN)
    title = f"Rows with the highest and the lowest {shortened(column, 32)}, {shortened(unit, 24)}"
    _write(figure, _MARGIN, 0.24, title, size=title_size(title), weight="bold")
    sides = ((best, _MARGIN, KEPT, "Best kept"), (worst, _MARGIN + _COLUMN + _GAP, TOXIC, "Worst dropped"))
    for cards, left, color, heading in sides:
        _write(figure, left, 0.54, heading if cards else f"{heading}: none", size=10.5, weight="bold", color=color)
        top = _HEADING
        for card, height in zip(cards, heights, strict=False):
            _draw_card(figure, card, left, top, height, color)
            top += height + _GAP
    return figure


def _cards(rows: Dataset | Rows, argument: str, column: str, num_rows: int, worst: bool) -> list[_Card]:
    """Cards of the rows with the highest scores, or the lowest; equal scores in the rows' order."""
    scores = _scores(rows, argument, column)
    order = np.argsort(scores if worst else -scores, kind="stable")
    measure = measure_at(_TEXT_SIZE, DOTS_PER_INCH)
    inside = _COLUMN - 2 * _PADDING
    cards = []
    for place in order[: int((~np.isnan(scores)).sum())][:num_rows]:
        row = rows[int(place)]
        prompt, answer = (printable(text[:_MOST_CHARACTERS]) for text in prompt_and_answer(row))
        cards.append(
            _Card(
                score=float(scores[place]),
                row_id=shortened(str(row.get("row_id") or ""), 20),
                prompt=fitted(prompt, inside, _PROMPT_LINES, measure) if prompt.strip() else [],
                answer=fitted(answer, inside, _ANSWER_LINES, measure) if answer.strip() else ["(empty answer)"],
            )
        )
    return cards


def _scores(rows: Dataset | Rows, argument: str, column: str) -> Scores:
    """Scores of all the rows, shape (number of rows,); of a dataset without reading anything else of its rows."""
    if isinstance(rows, Sequence):
        lacking = [row for row in rows if column not in row]
        if lacking:
            raise DataselError(
                f"`column` is {column!r}, which a row of `{argument}` lacks: it has {sorted(lacking[0])}. Correct the "
                f"name, or pass rows that were scored."
            )
        return np.array([row[column] for row in rows], dtype=np.float64)
    return read_numbers(rows, column)


def _draw_card(figure: Figure, card: _Card, left: float, top: float, height: float, color: str) -> None:
    from matplotlib.patches import Rectangle

    for width, shade in ((_COLUMN, "#F5F7F8"), (0.04, color)):
        _, page = figure.get_size_inches()
        corner = (left / WIDTH, 1 - (top + height) / page)
        figure.add_artist(Rectangle(corner, width / WIDTH, height / page, facecolor=shade, edgecolor="none"))
    inside, line = left + _PADDING, top + _PADDING + 0.1
    _write(figure, inside, line, number(card.score), size=_SCORE_SIZE, weight="bold", color=color)
    _write(figure, left + _COLUMN - _PADDING, line, card.row_id, size=8, color=FAINT, ha="right")
    line += _HEADER
    for lines, shade in ((card.prompt, FAINT), (card.answer, INK)):
        for text in lines:
            _write(figure, inside, line, text, size=_TEXT_SIZE, color=shade)
            line += _LINE
        line += _BETWEEN if lines else 0.0


def _write(figure: Figure, left: float, top: float, text: str, size: float, **look: Any) -> None:
    """One line of text, its baseline `top` inches under the upper edge."""
    width, height = figure.get_size_inches()
    figure.text(left / width, 1 - top / height, text, fontsize=size, va="baseline", **look)
