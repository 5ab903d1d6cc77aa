"""What the numbers in a budget mean: exact fractions, and the checks every rule makes at construction."""

from __future__ import annotations

import sys
from fractions import Fraction
from numbers import Integral, Real
from typing import TypeGuard

from hf_datasel.errors import BadBudget, shown


def exact(fraction: float) -> Fraction:
    """The fraction a person meant by a float: 0.1 is one tenth, 1/3 is one third.

    `0.29 * 100` is 28.999999999999996 in binary, and its floor one row short. A denominator of up to 10^8 brings back
    every decimal people write and every count / N for pools of up to 10 million rows.

    Example:
        >>> exact(0.29) * 100
        Fraction(29, 1)
    """
    return Fraction(float(fraction)).limit_denominator(10**8)


def rows_in(fraction: float, num_rows: int) -> int:
    """How many rows a fraction of `num_rows` is: rounded down exactly, at least 1.

    Example:
        >>> rows_in(0.1, 351_157), rows_in(0.29, 100), rows_in(0.01, 5)
        (35115, 29, 1)
    """
    return max(1, int(exact(fraction) * num_rows))


def is_number(value: object) -> TypeGuard[float]:
    """Whether the value is a real number that a float can hold, numpy's included; True and False are none."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    return not isinstance(value, Integral) or abs(int(value)) <= sys.float_info.max


def is_whole(value: object) -> TypeGuard[int]:
    """Whether the value is a whole number, numpy's included; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_fraction(argument: str, value: object) -> None:
    """Refuse what is not a fraction of a pool: a number above 0 and up to 1.

    Raises:
        BadBudget: the value is no such number.

    Example:
        >>> check_fraction("fraction", 20)
        Traceback (most recent call last):
        hf_datasel.errors.BadBudget: `fraction` is 20, expected a number above 0 and up to 1. ...
    """
    if not is_number(value) or not 0 < value <= 1:
        raise BadBudget(
            f"`{argument}` is {shown(value)}, expected a number above 0 and up to 1. Give 0.2 for twenty percent of the "
            f"pool, or use a rule with a count."
        )


def check_count(argument: str, value: object, unit: str = "rows") -> None:
    """Refuse what cannot be counted: anything but a whole number of at least 1.

    Raises:
        BadBudget: the value is no such number.

    Example:
        >>> check_count("count", 0)
        Traceback (most recent call last):
        hf_datasel.errors.BadBudget: `count` is 0, expected a whole number of at least 1. Give the number of rows ...
    """
    if not is_whole(value) or value < 1:
        raise BadBudget(
            f"`{argument}` is {shown(value)}, expected a whole number of at least 1. Give the number of {unit} to keep."
        )


def check_seed(value: object) -> None:
    """Refuse what cannot begin a series of random numbers: anything but a whole number from 0, of 64 bits.

    Raises:
        BadBudget: the value is no such number.

    Example:
        >>> check_seed(-1)
        Traceback (most recent call last):
        hf_datasel.errors.BadBudget: `seed` is -1, expected a whole number below 2**64, and from 0. Give one, e.g. 0.
    """
    if not is_whole(value) or not 0 <= value < 2**64:
        raise BadBudget(
            f"`seed` is {shown(value)}, expected a whole number below 2**64, and from 0. Give one, e.g. 0."
        )
