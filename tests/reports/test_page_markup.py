"""Rows full of markup, in a real Chromium: shown as text, and refused twice over."""

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from .pages import EVIL, evil_report, numbered_report, shot


pytestmark = pytest.mark.browser


@pytest.mark.parametrize("policy", ["with its policy", "without its policy"])
def test_markup_in_rows_is_shown_and_never_run(look, tmp_path, policy):
    path = evil_report(tmp_path / "evil.html")
    if policy == "without its policy":  # each of the two guards must hold alone
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"<meta http-equiv[^>]*>", "", text, count=1), encoding="utf-8")
    page = look(path)
    page.fill("#search", "onerror")
    page.locator("#list .item").first.click()
    shot(page, "markup")
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src=x], svg").count() == 0
    assert page.title() == EVIL and page.locator("h1").inner_text() == EVIL
    for place in (
        "#detail .said",
        "#detail .role",
        "#best .said",
        "#shares tbody th",
        "#constraint-body tbody th",
        "#list mark",
    ):
        assert page.locator(place).first.inner_text().strip(), place
    assert EVIL in page.locator("#detail .chat").inner_text()
    assert "window.hacked" in page.locator("#detail .placeholder").inner_text()


@pytest.fixture
def listener():
    """An address of this machine, and what was asked of it."""
    asked = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


INTRUDER = """async (address) => {
  const script = document.createElement("script");
  script.textContent = "window.hacked = 1";
  const image = new Image();
  const loaded = new Promise((done) => (image.onload = image.onerror = done));
  image.src = `${address}/image`;
  document.body.append(script, image);
  await Promise.all([loaded, fetch(`${address}/fetch`, {mode: "no-cors"}).catch(() => null)]);
}"""


def test_the_policy_refuses_a_script_that_gets_in_and_every_request(browser, listener, tmp_path):
    numbers = numbered_report(tmp_path / "report.html")
    address, asked = listener
    page = browser.new_page()
    page.goto(numbers.as_uri())
    page.wait_for_selector("html[data-state=ready]")
    page.evaluate(INTRUDER, address)
    assert page.evaluate("window.hacked") is None and asked == []
    open_door = tmp_path / "open.html"  # the same without the policy: that it is the policy which refuses
    open_door.write_text(
        re.sub(r"<meta http-equiv[^>]*>", "", numbers.read_text(encoding="utf-8"), count=1), encoding="utf-8"
    )
    page.goto(open_door.as_uri())
    page.wait_for_selector("html[data-state=ready]")
    page.evaluate(INTRUDER, address)
    assert page.evaluate("window.hacked") == 1 and set(asked) == {"/image", "/fetch"}
    page.close()
