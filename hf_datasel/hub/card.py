"""Cards: what was selected, how, and what came of it, from figures that a run wrote."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined


# What Markdown would read as a link, a picture, code or emphasis; an underscore within a word is none.
MARKUP = re.compile(r"[\\`\[\]*~$]|(?<!\w)_|_(?!\w)")


def render_card(results: Mapping[str, Any]) -> str:
    """The card of a run, as Markdown with the YAML header the Hub reads.

    Args:
        results: what `Run.report` gathers and writes to `results.json`.

    Raises:
        jinja2.UndefinedError: a figure the card needs is not in `results`.
    """
    return render("run_card.md.jinja", results)


def render(template: str, values: Mapping[str, Any]) -> str:
    """One of this package's templates, filled in.

    Raises:
        jinja2.UndefinedError: a value the template needs is missing.
    """
    # Markdown, not HTML: each value of foreign origin is written by one of the filters below.
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701 (see above)
    environment.filters |= {"number": number, "share": share, "cell": cell, "code": code, "scalar": scalar}
    text = files("hf_datasel.hub").joinpath(template).read_text(encoding="utf-8")
    return environment.from_string(text).render(**values)


def scorer_line(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A scorer's spec as a line of a card: its name, its proxy's weights, its other settings.

    Example:
        >>> scorer_line({"scorer": "ResponseLength", "algo_version": 1})
        {'scorer': 'ResponseLength', 'weights': '-', 'settings': {}}
    """
    hidden = ("scorer", "proxy", "anchors", "labels", "algo_version")
    settings = {key: value for key, value in spec.items() if key not in hidden}
    proxy = spec.get("proxy") or {}
    return {"scorer": spec.get("scorer", "-"), "weights": proxy.get("weights", "-"), "settings": settings}


def number(value: float | None) -> str:
    """Four significant digits.

    Example:
        >>> number(0.000123456), number(12345.6), number(None)
        ('0.0001235', '12,346', '-')
    """
    if value is None or math.isnan(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def share(value: float | None) -> str:
    """A share in percent.

    Example:
        >>> share(0.2), share(None)
        ('20.0 %', '-')
    """
    return "-" if value is None else f"{100 * value:.1f} %"


def cell(text: Any) -> str:
    """Text that stays text in a cell of a Markdown table, or in a line: no HTML, no link, no picture, no code.

    Example:
        >>> print(cell("a | b\\n<script> ![x](http://evil) `1` snake_case"))
        a \\| b &lt;script&gt; !\\[x\\](http://evil) \\`1\\` snake_case
    """
    clean = MARKUP.sub(r"\\\g<0>", " ".join(str(text).split()))
    return clean.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("|", "\\|")


def code(text: Any) -> str:
    """The same between backticks, where nothing else is read but their end and, in a table, the cell's.

    Example:
        >>> code("TopFraction(column='a`b|c')")
        "`TopFraction(column='a'b\\\\|c')`"
    """
    clean = " ".join(str(text).split()).replace("`", "'").replace("|", "\\|")
    return f"`{clean.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')}`"


def scalar(text: str) -> str:
    """One value of a YAML header, in quotes where it needs them.

    Example:
        >>> scalar("mit"), scalar("x\\n---")
        ('mit', '"x\\\\n---"')
    """
    quoted: str = yaml.safe_dump(text, default_style='"' if "\n" in text else None, width=10_000, allow_unicode=True)
    return quoted.removesuffix("...\n").strip()
