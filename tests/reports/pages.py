"""Reports for the tests of the page, and a browser to look at them with."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Image, List, Value

from hf_datasel import TopCount, select
from hf_datasel.reports.page import write_report


SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
EVIL = (
    '</script><script>window.hacked = 1</script><img src=x onerror="window.hacked = 2"><svg onload="window.hacked = 3">'
    "![](http://127.0.0.1:9/beacon.png) [x](javascript:alert(1)) {{ 7 * 7 }} %%script%%"
)


def chromium() -> str | None:
    """The browser on this machine, or None."""
    names = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def shot(page: Any, name: str) -> None:
    """Keep what the browser shows, for people to look at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def numbered(count: int) -> Dataset:
    """Rows whose text says their number, scored from -1 to 1; every third is a `b`, the last is a copy of the first."""
    texts = [f"row number {place}" for place in range(count - 1)] + ["row number 0"]
    return Dataset.from_dict(
        {
            "row_id": [f"r{place}" for place in range(count)],
            "prompt": ["How many?"] * count,
            "completion": texts,
            "kind": ["b" if place % 3 == 0 else "a" for place in range(count)],
            "ost_utility": [2 * place / (count - 1) - 1 for place in range(count - 1)] + [None],
            "ost_utility_status": ["ok"] * (count - 2) + ["truncated", "no_targets"],
        }
    )


def numbered_report(path: Path, count: int = 300, **more: Any) -> Path:
    scored = numbered(count)
    arms = {"the selection": select(scored, TopCount("ost_utility", 60))}
    return write_report(scored, path, selections=arms, title="Numbers", **more)


def evil_report(path: Path) -> Path:
    """A row that holds markup in every place that a row has."""
    columns = {
        "row_id": [f"a{EVIL}", "b"],
        "messages": [[{"role": EVIL, "content": EVIL}, {"role": "assistant", "content": f"{EVIL} answer"}]] * 2,
        "images": [[{"bytes": None, "path": f"{EVIL.replace('/', '')}.png"}], []],
        f"writer {EVIL}": [EVIL, "human"],
        "s": [1.0, 0.0],
        "s_status": [EVIL, "ok"],
        "ost_token_text": [[EVIL, "x"], [""]],
        "ost_token_utility": [[0.5, -0.5], [float("nan")]],
    }
    turns = List({"role": Value("string"), "content": Value("string")})
    scored = Dataset.from_dict(columns).cast_column("messages", turns).cast_column("images", List(Image(decode=False)))
    build = {"constraints": [{"name": EVIL, "required": 1, "achieved": 0, "met": False, "note": EVIL}]}
    arms = {EVIL: select(scored, TopCount("s", 1))}
    group = f"writer {EVIL}"
    return write_report(
        scored, path, selections=arms, title=EVIL, about=EVIL, scores={"s": EVIL}, group=group, build=build
    )


def png(colour: str, size: tuple[int, int] = (640, 400)) -> bytes:
    from PIL import Image as Pictures

    buffer = io.BytesIO()
    Pictures.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def pictured() -> Dataset:
    """Three rows: with a picture, with one that is not there, with one that is broken."""
    features = Features(
        {
            "prompt": Value("string"), "completion": Value("string"), "image": Image(decode=False),
            "s": Value("float64"), "s_status": Value("string"),
        }
    )  # fmt: skip
    images = [
        {"bytes": png("teal"), "path": None}, {"bytes": None, "path": "/nowhere/cat.png"},
        {"bytes": b"no picture", "path": "dog.png"},
    ]  # fmt: skip
    rows = [
        {"prompt": "What?", "completion": f"Answer {place}", "image": image, "s": 1.0 - place, "s_status": "ok"}
        for place, image in enumerate(images)
    ]
    return Dataset.from_list(rows, features=features)
