from __future__ import annotations

import pytest

from hf_datasel.reports.plots.text_layout import fitted, measure_at


def test_words_wrap_and_line_breaks_stay() -> None:
    assert fitted("one two three\n\n  four", 9, 9, len) == ["one two", "three", "", "  four"]


def test_what_is_left_out_shows_as_dots_after_a_whole_word() -> None:
    assert fitted("one two three four five six", 9, 2, len) == ["one two", "three …"]
    assert fitted("one two\nthree", 9, 1, len) == ["one two …"]
    assert fitted("one two", 9, 1, len) == ["one two"]


def test_a_word_too_long_is_cut_where_the_line_ends() -> None:
    assert fitted("a " + "x" * 10, 4, 9, len) == ["a", "xxxx", "xxxx", "xx"]
    assert fitted("x" * 100, 4, 2, len) == ["xxxx", "xx …"]


@pytest.mark.parametrize("text", ["a b c d e f g h i j", "x" * 40, "\n\n\n\n\n", "word " * 50, "a\n" * 20])
@pytest.mark.parametrize("max_lines", [1, 2, 5])
def test_never_more_lines_nor_wider_ones(text: str, max_lines: int) -> None:
    lines = fitted(text, 6, max_lines, len)
    assert len(lines) <= max_lines and max(map(len, lines), default=0) <= 6


def test_no_word_is_lost_or_doubled() -> None:
    text = "Natalia sold clips to 48 of her friends in April, and then she sold half as many in May."
    assert " ".join(fitted(text, 20, 99, len)).split() == text.split()


def test_width_is_measured_in_inches_of_the_font() -> None:
    measure = measure_at(9.0, 200)
    assert measure("W" * 20) > 2 * measure("i" * 20)
    assert measure_at(18.0, 200)("some words") == pytest.approx(2 * measure("some words"), rel=0.05)
    assert measure("$x$") > measure("x") * 2  # a dollar sign is a letter here
