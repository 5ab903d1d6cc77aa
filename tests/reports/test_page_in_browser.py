"""The report page in a real Chromium: dragged, typed into, read on a phone, and fed with markup."""

import json
import re

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel import Labels, OneStepTrain, Proxy, TopFraction, select
from hf_datasel.reports.page import write_report

from .pages import SCREENSHOTS, numbered, numbered_report, pictured, shot


pytestmark = pytest.mark.browser
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect
PHONE = {"width": 380, "height": 780}


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    return numbered_report(tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="module")
def real(tmp_path_factory, tiny_model, anchors, pool):
    """Real rows with the utility of every token."""
    scorer = OneStepTrain(Proxy(tiny_model), anchors, token_level=True, labels=Labels(max_length=512))
    scored = pool.select(range(12)).map(scorer, batched=True)
    arms = {"the selection": select(scored, TopFraction("ost_utility", 0.25), [scorer.spec])}
    path = tmp_path_factory.mktemp("page") / "report.html"
    return scored, write_report(scored, path, selections=arms, title="Word problems", group="writer")


def at(page):
    return float(page.locator("#line").get_attribute("aria-valuenow"))


def kept(page):
    return int(page.locator("#figures tbody tr:first-child td:nth-child(2)").inner_text().replace(",", ""))


def reaching(threshold):
    return int((np.array(numbered(300)["ost_utility"][:], dtype=float) >= threshold).sum())


def test_it_opens_at_the_line_of_the_selection(look, numbers):
    page = look(numbers)
    assert page.title() == "Numbers"
    assert "60 rows of 300 (20.0\u2009%) were kept by TopCount" in page.locator("#lede").inner_text()
    assert kept(page) == 60
    expected = sum(score for score in numbered(300)["ost_utility"][239:299])
    assert page.locator("#figures tbody tr:nth-child(3) td:nth-child(2)").inner_text() == f"{expected:.1f}"
    assert "higher means keep" in page.locator("#score-words").inner_text().lower()
    assert "sum of the utilities" in page.locator("#gain-words").inner_text()


def test_dragging_the_line_changes_every_figure(look, numbers):
    page = look(numbers)
    box, plot = page.locator("#line").bounding_box(), page.locator("#chart .u-over").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    seen = []
    for share in (0.5, 0.4, 0.25):
        page.mouse.move(plot["x"] + share * plot["width"], plot["y"] + 40)
        seen.append((at(page), kept(page)))
    page.mouse.up()
    page.mouse.move(plot["x"] + 0.9 * plot["width"], plot["y"] + 40)  # the hand is off it: nothing follows any more
    assert [count for _, count in seen] == [reaching(threshold) for threshold, _ in seen]
    assert seen[0][0] > seen[1][0] > seen[2][0] == at(page)
    threshold = at(page)
    scored = numbered(300)
    kinds = [
        kind
        for kind, score in zip(scored["kind"], scored["ost_utility"], strict=True)
        if score is not None and score >= threshold
    ]
    shares = page.locator("#shares tbody tr").all_inner_texts()
    assert shares[0].split()[-3:] == [str(kinds.count("a")), "of", "200"]
    assert f"{100 * kinds.count('a') / len(kinds):.1f}" in shares[0]
    expect(page.locator("#borderline .rank").first).to_contain_text(f"rank {kept(page) - 1} of 299")


def test_a_click_on_the_chart_and_the_fields_move_the_line(look, numbers):
    page = look(numbers)
    plot = page.locator("#chart .u-over").bounding_box()
    page.mouse.click(plot["x"] + 0.5 * plot["width"], plot["y"] + 30)
    assert kept(page) == reaching(at(page)) and abs(at(page)) < 0.1
    page.fill("#keep-count", "10")
    assert kept(page) == 10
    page.fill("#keep-from", "0.5")
    assert at(page) == 0.5 and kept(page) == reaching(0.5)
    page.click("#keep-positive")
    assert kept(page) == sum(score > 0 for score in numbered(300)["ost_utility"] if score is not None)
    page.click("#keep-as-run")
    assert kept(page) == 60


def test_the_line_is_a_slider_for_the_keyboard(look, numbers):
    page = look(numbers)
    order = []
    for _ in range(8):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert order[:2] == ["skip", "theme"]
    assert order[2:] == ["line", "keep-count", "keep-from", "keep-as-run", "keep-positive", *order[7:]]
    line = page.locator("#line")
    line.focus()
    assert line.get_attribute("role") == "slider" and line.get_attribute("aria-label")
    before = at(page)
    low, high = (float(line.get_attribute(f"aria-value{end}")) for end in ("min", "max"))
    page.keyboard.press("ArrowLeft")
    assert 0.005 < (before - at(page)) / (high - low) < 0.02
    page.keyboard.press("ArrowRight")
    assert at(page) == pytest.approx(before)
    page.keyboard.press("Shift+ArrowLeft")
    assert kept(page) == 61
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    assert kept(page) == 59
    page.keyboard.press("Home")
    assert kept(page) == 299 and at(page) == low
    page.keyboard.press("End")
    assert kept(page) == 1 and at(page) == high
    assert line.get_attribute("aria-valuetext").endswith("1 row kept, 0.3\u2009% of the pool")


def test_search_and_filters_find_the_rows(look, numbers):
    page = look(numbers)
    page.fill("#search", "NUMBER 17")
    rows = [f"row number {place}" for place in (179, 178, 177, 176, 175, 174, 173, 172, 171, 170, 17)]
    assert page.locator("#found").inner_text() == "11 of 300 rows"
    assert page.locator("#list .item .text").all_inner_texts() == rows
    assert page.locator("#list mark").first.inner_text() == "number 17"
    page.select_option("#value", label="b")
    assert page.locator("#found").inner_text() == "3 of 300 rows"
    page.fill("#search", "no such words")
    assert "No row is like that" in page.locator("#list").inner_text()
    page.fill("#search", "")
    page.select_option("#value", label="any")
    page.select_option("#show", "kept")
    assert page.locator("#found").inner_text() == "60 of 300 rows"
    page.select_option("#order", "worst")
    assert page.locator("#list .item .text").nth(1).inner_text() == "row number 239"
    page.fill("#keep-count", "5")
    expect(page.locator("#found")).to_have_text("5 of 300 rows")


def test_the_list_is_walked_by_keys_and_holds_only_what_is_in_sight(look, tmp_path):
    page = look(numbered_report(tmp_path / "many.html", 5000))
    page.locator("#list").focus()
    page.keyboard.press("ArrowDown")
    assert "row number 4998" in page.locator("#detail").inner_text()
    assert page.locator("#list").get_attribute("aria-activedescendant") == "row-4998"
    page.keyboard.press("End")
    page.wait_for_selector("#row-4999")  # the row without a score comes last
    assert "not scored" in page.locator("#detail .rank").inner_text()
    page.keyboard.press("ArrowUp")
    assert page.locator("#list [aria-selected=true]").get_attribute("aria-posinset") == "4999"
    assert page.locator("#list .item").count() < 60


def test_flagged_rows_and_copies_are_one_click_away(look, numbers):
    page = look(numbers)
    body = page.locator("#flag-body")
    assert "no_targets" in body.inner_text() and "in 1 group" in body.inner_text()
    body.get_by_role("button", name="truncated").click()
    assert page.locator("#list .item .text").all_inner_texts() == ["How many?", "row number 298"]
    body.get_by_role("button", name="copies").click()
    assert page.locator("#found").inner_text() == "2 of 300 rows"
    page.locator("#list .item").first.click()
    page.locator("#detail").get_by_role("button", name="r299").click()
    assert page.locator("#detail .rank").inner_text() == "not scored"


def test_tokens_are_painted_on_the_text_they_are(look, real):
    scored, path = real
    page = look(path)
    best = int(np.argmax(scored["ost_utility"][:]))
    said = page.locator("#best .card").first.locator(".answer .said")
    assert said.text_content().startswith("".join(scored[best]["ost_token_text"])[:40])
    values = scored[best]["ost_token_utility"]
    titles = [span.get_attribute("title") for span in said.locator("span[title]").all()]
    assert len(titles) == sum(1 for text in scored[best]["ost_token_text"] if text)
    signs = [title.startswith("\u2212") for title in titles]
    assert signs == [value < 0 for value, text in zip(values, scored[best]["ost_token_text"], strict=True) if text]
    assert said.locator(".helps").count() > 0 and "harms" in page.locator("#token-legend").inner_text()
    shot(page, "desktop-light")


def test_a_card_being_read_stays_when_the_line_moves(look, tmp_path):
    scored = Dataset.from_dict({"text": [f"{place} and so on. " * 200 for place in range(20)], "s": list(range(20))})
    page = look(write_report(scored, tmp_path / "report.html", column="s"))
    page.locator("#best .card").first.get_by_role("button", name="Read all").click()
    before = page.locator("#borderline .rank").first.inner_text()
    page.locator("#line").press("Home")
    expect(page.locator("#borderline .rank").first).not_to_have_text(before)
    assert page.locator("#best .card-body.whole").count() == 1


def test_dark_follows_the_system_and_the_button(look, real):
    page = look(real[1], color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(20, 24, 28)"
    shot(page, "desktop-dark")
    page.click("#theme")
    assert page.evaluate(ground) == "rgb(251, 251, 250)"
    page.click("#theme")
    assert page.evaluate(ground) == "rgb(20, 24, 28)"


def test_a_phone_shows_it_without_scrolling_sideways(look, real):
    page = look(real[1], PHONE, has_touch=True, device_scale_factor=2)
    assert page.evaluate("document.documentElement.scrollWidth") == 380
    shot(page, "phone")
    page.locator("#list .item").nth(1).tap()
    sheet = page.locator("#sheet")
    assert sheet.is_visible() and "rank 2 of" in sheet.inner_text()
    assert sheet.evaluate("its => its.scrollWidth <= its.clientWidth")
    page.screenshot(path=SCREENSHOTS / "phone-row.png")
    page.keyboard.press("Escape")
    assert not sheet.is_visible()
    line = page.locator("#line").bounding_box()
    assert line["width"] >= 44  # a finger wide


def test_pictures_and_what_stands_for_those_that_are_missing(look, tmp_path):
    page = look(write_report(pictured(), tmp_path / "report.html", title="Pictures"))
    cards = page.locator("#examples .card")
    assert cards.nth(0).locator("img").evaluate("its => its.decode().then(() => its.naturalWidth)") == 320
    assert cards.nth(1).locator(".placeholder").inner_text() == "cat.png: no such file"
    assert cards.count() == 3  # of few rows each is shown once
    assert "not readable" in cards.nth(2).locator(".placeholder").inner_text()
    assert cards.nth(1).locator(".placeholder").bounding_box()["height"] > 60
    shot(page, "pictures")


@pytest.mark.parametrize("score", [0.5, None])
def test_one_row_and_nothing_else_known_of_it(look, tmp_path, score):
    scored = Dataset.from_dict({"text": ["alone"], "s": [score], "s_status": ["ok" if score else "no_targets"]})
    page = look(write_report(scored, tmp_path / "report.html", title="One row"))
    for section in ("groups", "constraints", "results", "costs", "made"):
        assert not page.locator(f"#{section}").is_visible(), section
    assert page.locator("#found").inner_text() == "1 of 1 row"
    assert page.locator("#examples").is_visible() == (score is not None)
    if score is None:
        assert "nothing to draw" in page.locator("#chart").inner_text()
    else:
        assert kept(page) == 1
        page.locator("#line").press("ArrowLeft")
        assert kept(page) == 1
    shot(page, f"one-row-{'scored' if score else 'unscored'}")


def test_constraints_results_and_cost_are_told(look, tmp_path):
    build = {
        "constraints": [
            {"name": "rows", "required": 60, "achieved": 60, "met": True, "note": ""},
            {"name": "kind b", "required": 50, "achieved": 21, "met": False, "note": "there are no more"},
        ],
        "stages": {"quota": 60}, "divergence": {"kind": 0.125},
    }  # fmt: skip
    loss = {"mean": 2.5, "low": 2.4, "high": 2.6, "seeds": 3}
    results = {
        "arms": [{"arm": "the selection", "rows": 60, "heldout_loss": loss}],
        "verdict": "",
        "has_answers": False,
    }
    costs = [{"what": "scoring", "rows": 300, "seconds": 90.0}, {"what": "training", "rows": 60, "seconds": 30.0}]
    path = numbered_report(tmp_path / "report.html", build=build, results=results, costs=costs)
    page = look(path)
    assert "1 of 2 are not met" in page.locator("#constraint-body").inner_text()
    assert page.locator("#constraint-body .unmet").inner_text() == "\u2717 unmet"
    assert "2.400 to 2.600" in page.locator("#result-body").inner_text()
    assert re.search(r"Together\s+2\.0 min", page.locator("#cost-body").inner_text())


def test_another_score_has_a_line_of_its_own(look, tmp_path):
    scored = numbered(300).add_column("length", [float(place) for place in range(300)])
    scored = scored.add_column("length_status", ["ok"] * 300)
    page = look(write_report(scored, tmp_path / "report.html"))
    page.fill("#keep-count", "7")
    page.select_option("#score", "length")
    assert kept(page) == 150
    assert "no expected gain" in page.locator("#gain-words").inner_text()
    page.select_option("#score", "ost_utility")
    assert kept(page) == 7
    assert json.loads(page.locator("#about").text_content())["rows"] == 300


def test_numbers_are_written_as_people_read_them(look, tmp_path):
    scores = [1234567.0, 0.5, -2.47e-5, -3.0]
    scored = Dataset.from_dict({"text": list("abcd"), "s": scores, "s_status": ["ok"] * 4})
    page = look(write_report(scored, tmp_path / "report.html"))
    written = page.locator("#list .score").all_inner_texts()
    assert written == ["1,234,567", "0.500", "\u22122.47\u00d710\u207b\u2075", "\u22123"]
