from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from .pages import chromium


@pytest.fixture
def png_size() -> Callable[[Path], tuple[int, int]]:
    """Width and height in a PNG's own header."""

    def read(path: Path) -> tuple[int, int]:
        head = path.read_bytes()[:24]
        assert head[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", head[16:24])
        return width, height

    return read


@pytest.fixture
def utilities() -> npt.NDArray[np.float64]:
    """300 utilities with heavy tails, a third of them negative."""
    return np.random.default_rng(0).standard_t(2, 300) * 2e-3 + 1e-3


DESKTOP = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")  # no longer: its event loop runs in this thread, and tests of others would meet it
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    where = chromium()
    if where is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium, or set CHROMIUM to its path")
    with playwright.sync_playwright() as driver:
        # Root in a container, as on CI, has no sandbox to offer.
        running = driver.chromium.launch(executable_path=where, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def look(browser):
    """A function that opens a report and waits until it is drawn; whatever the page says of faults fails the test."""
    contexts, said, asked = [], [], []

    def open_page(path: Path, size=None, **options):
        context = browser.new_context(viewport=size or DESKTOP, reduced_motion="reduce", **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(8000)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda message: said.append(message.text))
        page.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-state=ready]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file://", "data:", "blob:"))] == []
