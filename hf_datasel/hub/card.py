"""Cards: what was selected, how, and what came of it, from figures that a run wrote."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined


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
    # Markdown, not HTML: escaping is the table cells' business.
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701
    environment.filters |= {"number": number, "share": share, "cell": cell}
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
    """Text that cannot break out of a Markdown table cell.

    Example:
        >>> cell("a | b\\n<script>")
        'a \\\\| b &lt;script&gt;'
    """
    clean = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return clean.replace("|", "\\|")
