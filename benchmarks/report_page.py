"""How heavy is the report page of 50 thousand rows, how fast does it open, and how fast does it answer?

Texts are words drawn one by one from those of the quickstart's pool, at their frequencies: 110 words a row, without the repetitions that make
prose compress well. Two scores, two columns of groups, utilities of 60 tokens a row. A page with nothing on it is opened in turn, for the cost of
the browser itself. Needs Chromium. With --quick a tenth of the rows.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset

from hf_datasel import TopFraction, select, write_report


POOL = Path(__file__).parents[1] / "recipes" / "quickstart" / "pool.jsonl"
TIMES = 5
# From what a hand does to the frame that shows it.
KEYSTROKE = """async (text) => {
  const search = document.getElementById("search");
  const began = performance.now();
  search.value = text;
  search.dispatchEvent(new InputEvent("input", {bubbles: true}));
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - began;
}"""
LINE = """async (key) => {
  const line = document.getElementById("line");
  const began = performance.now();
  line.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - began;
}"""


def rows(count: int) -> Dataset:
    draw = np.random.default_rng(0)
    lines = [json.loads(line) for line in POOL.read_text(encoding="utf-8").splitlines()]
    words = Counter(word for line in lines for word in f"{line['prompt']} {line['completion']}".split())
    names, weights = np.array(list(words)), np.array(list(words.values())) / words.total()
    drawn = draw.choice(names, (count, 110), p=weights)
    tokens = [list(row[50:]) for row in drawn]
    scores = draw.standard_t(3, count)
    columns = {
        "row_id": [f"{number:016x}" for number in draw.permutation(count)],
        "prompt": [" ".join(row[:50]) for row in drawn],
        "completion": [" ".join(row) for row in tokens],
        "writer": draw.choice(["human", "small", "large"], count, p=[0.6, 0.3, 0.1]).tolist(),
        "task": draw.choice([f"task {number}" for number in range(12)], count).tolist(),
        "ost_utility": scores,
        "ost_utility_status": ["ok"] * count,
        "response_length": [float(len(" ".join(row))) for row in tokens],
        "response_length_status": ["ok"] * count,
        "ost_token_text": [[f"{word} " for word in row] for row in tokens],
        "ost_token_utility": list(draw.normal(scores[:, None] / 60, 0.01, (count, 60))),
    }
    return Dataset(pa.table(columns))


def opened(browser: object, address: str, state: str | None) -> tuple[float, dict]:
    """Seconds from asking for a page to when it is there, and the page's own marks, in seconds from its navigation."""
    page = browser.new_page()
    began = time.monotonic()
    page.goto(address)
    if state:
        page.wait_for_selector(f"html[data-state={state}]", timeout=120_000)
    wall = time.monotonic() - began
    marks = page.evaluate(
        "Object.fromEntries(performance.getEntriesByType('mark').map((its) => [its.name, its.startTime / 1000]))"
    )
    page.close()
    return wall, marks


def run(quick: bool = False) -> dict:
    """Bytes of the file, and medians of seconds: to write, to open (whole, and until the chart answers), a keystroke, a step of the line."""
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium, "needs Chromium: apt-get install chromium, or set CHROMIUM to its path"
    count = 5_000 if quick else 50_000
    scored = rows(count)
    folder = Path(tempfile.mkdtemp())
    (folder / "blank.html").write_text("<!doctype html><title>blank</title>", encoding="utf-8")
    began = time.monotonic()
    arms = {"the selection": select(scored, TopFraction("ost_utility", 0.2))}
    report = write_report(scored, folder / "report.html", selections=arms)
    written = time.monotonic() - began
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        blank, whole, marks = [], [], []
        for _ in range(TIMES):
            blank.append(opened(browser, (folder / "blank.html").as_uri(), None)[0])
            wall, its = opened(browser, report.as_uri(), "ready")
            whole.append(wall)
            marks.append(its)
        page = browser.new_page()
        page.goto(report.as_uri())
        page.wait_for_selector("html[data-state=ready]", timeout=120_000)
        keys = [
            page.evaluate(KEYSTROKE, text) / 1000
            for text in ("a", "ap", "app", "appl", "apple", "apples", "no such word", "")
        ]
        steps = [page.evaluate(LINE, key) / 1000 for key in ["ArrowLeft", "ArrowRight", "PageDown", "PageUp"] * 3]
        version = browser.version
        texts = page.evaluate("document.getElementById('footer').textContent")
        browser.close()
    size = report.stat().st_size
    shutil.rmtree(folder)

    def median(values: list[float]) -> float:
        return round(statistics.median(values), 4)

    return {
        "rows": count, "characters_per_row": round(float(np.mean([len(p) + len(c) for p, c in zip(scored["prompt"], scored["completion"], strict=True)]))),
        "bytes": size, "megabytes": round(size / 1e6, 2), "said_of_what_is_left_out": texts,
        "write_seconds": round(written, 1), "chromium": version,
        "blank_seconds": median(blank), "open_seconds": median(whole), "open_over_blank": round(median(whole) / median(blank), 1),
        "open_seconds_each": [round(value, 3) for value in whole],
        "chart_answers_seconds": median([its["drawn"] for its in marks]), "all_there_seconds": median([its["ready"] for its in marks]),
        "keystroke_seconds": median(keys), "keystroke_seconds_longest": round(max(keys), 4),
        "line_step_seconds": median(steps), "line_step_seconds_longest": round(max(steps), 4),
    }  # fmt: skip
