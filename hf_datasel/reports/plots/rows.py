"""The best kept and the worst dropped rows, as cards to read and, where they have pictures, to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Scores
from hf_datasel.errors import DataselError
from hf_datasel.reports.plots.style import DOTS_PER_INCH, FAINT, INK, KEPT, TOXIC, WIDTH, house_style, save, title_size
from hf_datasel.reports.plots.text_layout import fitted, measure_at
from hf_datasel.reports.plots.wording import number, printable, shortened
from hf_datasel.reports.row_pictures import first_picture
from hf_datasel.reports.row_text import prompt_and_answer
from hf_datasel.reports.scales import Scale, scale_of
from hf_datasel.rows.identity import with_encoded_media
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
_PICTURE, _REMARK = 0.95, 0.15  # the longer side of a picture, and the line under it
# No card shows more, and measuring a book to cut it would take minutes.
_MOST_CHARACTERS = 3000


@dataclass(frozen=True)
class _Card:
    score: float
    row_id: str
    prompt: list[str]
    answer: list[str]
    picture: npt.NDArray[np.uint8] | None = None
    remark: str = ""

    @property
    def height(self) -> float:
        between = _BETWEEN if self.prompt and self.answer else 0.0
        text = between + _LINE * (len(self.prompt) + len(self.answer))
        remark = _REMARK if self.remark else 0.0
        shown = 0.0 if self.picture is None else self.picture_size[1] + remark
        return _PADDING + _HEADER + max(text, shown) + _PADDING / 2

    @property
    def picture_size(self) -> tuple[float, float]:
        """Width and height in inches."""
        assert self.picture is not None  # noqa: S101 (the caller looked)
        height, width = self.picture.shape[:2]
        return _PICTURE * width / max(width, height), _PICTURE * height / max(width, height)


def plot_rows(
    kept_rows: Dataset | Rows,
    dropped_rows: Dataset | Rows,
    path: str | Path,
    column: str = "ost_utility",
    scale: Scale | None = None,
    num_rows: int = 3,
) -> Path:
    """Draw the best kept and the worst dropped rows to a PNG 1600 pixels wide, as high as they need.

    Of a row with images or a video the first picture is shown. Prompts are cut after 4 lines and answers after 8; what is cut ends in "…".

    Args:
        kept_rows: `selection.kept`, or any rows in a format TRL's SFT trains on as text.
        dropped_rows: `selection.dropped`. Rows without a score are passed over.
        path: the PNG to write.
        column: of the score, higher means keep.
        scale: its unit. By default what is known of `column`.
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
    return save(figure_rows(kept_rows, dropped_rows, column, scale, num_rows), path)


@house_style()
def figure_rows(
    kept_rows: Dataset | Rows,
    dropped_rows: Dataset | Rows,
    column: str = "ost_utility",
    scale: Scale | None = None,
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
    unit = shortened((scale or scale_of(column)).unit, 24)
    title = ", ".join(filter(None, [f"Rows with the highest and the lowest {shortened(column, 32)}", unit]))
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
    places = order[: int((~np.isnan(scores)).sum())][:num_rows].tolist()
    # Undecoded, so that one broken file does not hide the row it belongs to.
    shown = (
        [rows[place] for place in places] if isinstance(rows, Sequence) else with_encoded_media(rows.select(places))
    )
    cards = []
    for place, row in zip(places, shown, strict=True):
        picture, remark = first_picture(row)
        inside = _COLUMN - 2 * _PADDING - (0.0 if picture is None else _PICTURE + _PADDING)
        prompt, answer = (printable(text[:_MOST_CHARACTERS]) for text in prompt_and_answer(row))
        cards.append(
            _Card(
                score=float(scores[place]),
                row_id=shortened(str(row.get("row_id") or ""), 20),
                prompt=fitted(prompt, inside, _PROMPT_LINES, measure) if prompt.strip() else [],
                answer=fitted(answer, inside, _ANSWER_LINES, measure) if answer.strip() else ["(empty answer)"],
                picture=picture,
                remark=shortened(remark, 44),
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
    if card.picture is not None:
        _draw_picture(figure, card, inside, top + _PADDING + _HEADER - 0.06)
        inside += _PICTURE + _PADDING
    elif card.remark:
        _write(figure, inside + 0.75, line, f"({card.remark})", size=8, color=FAINT)
    line += _HEADER
    for lines, shade in ((card.prompt, FAINT), (card.answer, INK)):
        for text in lines:
            _write(figure, inside, line, text, size=_TEXT_SIZE, color=shade)
            line += _LINE
        line += _BETWEEN if lines else 0.0


def _draw_picture(figure: Figure, card: _Card, left: float, top: float) -> None:
    _, page = figure.get_size_inches()
    width, height = card.picture_size
    axes = figure.add_axes((left / WIDTH, 1 - (top + height) / page, width / WIDTH, height / page))
    axes.set_zorder(2)  # over the card, which belongs to the figure
    axes.imshow(card.picture, aspect="auto")  # type: ignore[arg-type]
    axes.set_axis_off()
    _write(figure, left, top + height + 0.11, card.remark, size=7, color=FAINT)


def _write(figure: Figure, left: float, top: float, text: str, size: float, **look: Any) -> None:
    """One line of text, its baseline `top` inches under the upper edge."""
    width, height = figure.get_size_inches()
    figure.text(left / width, 1 - top / height, text, fontsize=size, va="baseline", **look)
