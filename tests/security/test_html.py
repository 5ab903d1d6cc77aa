"""Does markup of a row get into a page or a card? In both, what comes from the data is text and nothing else."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from datasets import Dataset
from markdown_it import MarkdownIt

from hf_datasel import Source, TopCount, publish, publish_model, publish_page, select
from hf_datasel.hub.card import cell, code, render, render_card
from hf_datasel.hub.tree import with_section
from hf_datasel.reports.page import write_report

from ..reports.pages import evil_report


ATTACKS = [
    "<script>window.hacked = 1</script>", '"><img src=x onerror=alert(1)>', "</script><!--", "<!--", "--> <svg onload=alert(1)>",
    "[click](javascript:alert(1))", "![](http://evil.example/beacon.png)", "![x][1]\n\n[1]: http://evil.example/b.png",
    "{{ 7 * 7 }}{% for x in () %}", "%%script%%", "`x` ``y`` ```\n# z\n```", "a | b |\n|---|---|\n| c | d |", "---\nlicense: other\n---",
    "<!-- hf_datasel: end of top -->", "<!-- hf_datasel: top -->", "</td></tr></table><iframe src=//evil.example>", "\\[x](javascript:1)",
    "~~gone~~ **bold** _so_", "&lt;script&gt;", "&#x3c;script>", "<a href='javascript:alert(1)'>x</a>", "\u2028</title><base href=//evil.example>",
]  # fmt: skip
ALL = "\n".join(ATTACKS)


class Outline(HTMLParser):
    """Every element and attribute of a page, in order, with what scripts and styles hold of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Any] = []
        self.texts: list[str] = []
        self.inside = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        is_data = ("type", "text/plain") in attributes or ("type", "application/json") in attributes
        self.inside = "" if is_data else tag
        self.found.append((tag, sorted((name, value or "") for name, value in attributes)))

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""
        self.found.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        if self.inside in ("script", "style"):
            self.found.append(data)
        else:
            self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        self.found.append(("comment", data))


def outline(path: Path) -> Outline:
    read = Outline()
    read.feed(path.read_text(encoding="utf-8"))
    read.close()
    return read


def report(path: Path, *words: str) -> Path:
    """A page with the words in every place that data, a recipe or a run give."""
    w = "\n".join(words)
    scored = Dataset.from_dict({
        "row_id": ["a", f"b {w}"], "prompt": [w, "x"], "completion": ["y", w], f"kind {w}": [w, "z"], "s": [1.0, 0.0], "s_status": ["ok", w],
        f"fact {w}": [f"{w} 1", f"{w} 2"],
    })  # fmt: skip
    build = {"constraints": [{"name": w, "required": 1, "achieved": 0, "met": False, "note": w}]}
    costs = [{"what": w, "rows": 1, "seconds": 1.0}]
    arms = {w: select(scored, TopCount("s", 1), [{"scorer": w, "proxy": {"model": w, "weights": w}}])}
    return write_report(
        scored, path, selections=arms, title=w, about=w, scores={"s": w}, group=f"kind {w}", build=build, costs=costs
    )


def test_no_element_of_the_page_comes_from_the_data(tmp_path: Path) -> None:
    plain, evil = outline(report(tmp_path / "plain.html", "word")), outline(report(tmp_path / "evil.html", *ATTACKS))
    assert evil.found == plain.found
    tags = [its[0] for its in evil.found if isinstance(its, tuple)]
    assert {"script", "style", "meta", "title"} <= set(tags) and not {
        "iframe",
        "base",
        "img",
        "object",
        "comment",
    } & set(tags)
    attributes = [pair for its in evil.found if isinstance(its, tuple) for pair in its[1]]
    (policy,) = [value for name, value in attributes if name == "content" and "default-src" in value]
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "img-src data:; base-uri 'none'" in policy
    assert "unsafe" not in policy and ("http-equiv", "Content-Security-Policy") in attributes
    places = [value for name, value in attributes if name in ("href", "src", "action")]
    assert places and all(value.startswith(("#", "data:")) for value in places)
    assert not [name for name, _ in attributes if name.startswith("on")]


def test_the_rows_are_in_the_page_to_the_letter(tmp_path: Path) -> None:
    blocks = [
        text
        for text in outline(report(tmp_path / "evil.html", *ATTACKS)).texts
        if re.fullmatch(r"[A-Za-z0-9+/=]{100,}", text)
    ]
    held = "".join(gzip.decompress(base64.b64decode(block)).decode() for block in blocks)
    assert json.dumps(ALL)[1:-1] in held


def test_the_page_with_pictures_has_none_either(tmp_path: Path) -> None:
    found = outline(evil_report(tmp_path / "evil.html")).found
    assert not [its for its in found if isinstance(its, tuple) and its[0] in ("img", "svg", "comment")]


def rendered(markdown: str) -> list[Any]:
    """The kinds of everything in a card that is more than text, and where links and pictures lead."""
    found: list[Any] = []
    for block in MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(markdown):
        found.append(block.type)
        found += [
            (its.type, its.attrGet("href") or its.attrGet("src"))
            for its in block.children or []
            if its.type not in ("text", "softbreak")
        ]
    return found


def card(path: Path, *words: str) -> str:
    """The card of a publication whose rows, columns, statuses and scorers are made of the words."""
    w = "\n".join(words)
    scored = Dataset.from_dict({
        "prompt": [f"{w} 1", f"{w} 2"], "completion": ["yes", w], f"s {w}": [1.0, 0.0], f"s {w}_status": ["ok", w],
    })  # fmt: skip
    chosen = select(scored, TopCount(f"s {w}", 1), [{"scorer": w, "proxy": {"weights": w}, "option": w}])
    publish(chosen, "me/rows", "top", plots=False, sources=[Source("me/pool", license="mit")], dry_run=path)
    return (path / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("attack", [*ATTACKS, ALL], ids=[*(str(n) for n in range(len(ATTACKS))), "all"])
def test_a_card_shows_rows_as_text(attack: str, tmp_path: Path) -> None:
    plain, evil = card(tmp_path / "plain", "word"), card(tmp_path / "evil", attack)
    header, _, body = evil.removeprefix("---\n").partition("\n---\n")
    assert set(yaml.safe_load(header)) == set(yaml.safe_load(plain.removeprefix("---\n").partition("\n---\n")[0]))
    assert yaml.safe_load(header)["license"] == "mit"
    assert rendered(body) == rendered(plain.removeprefix("---\n").partition("\n---\n")[2])
    assert body.count("<!-- hf_datasel: end of top -->") == body.count("<!-- hf_datasel: top -->") == 1
    assert (
        with_section(body, "top", "Another.")
        == "\n<!-- hf_datasel: top -->\nAnother.\n<!-- hf_datasel: end of top -->\n"
    )


def results(word: str) -> dict[str, Any]:
    arm = {"arm": word, "rows": 1, "epochs": 1.0, "heldout_loss": {"mean": 1.0, "low": 1.0, "high": 1.0, "seeds": 1}}
    return {
        "card": {"license": word, "title": "T", "about": "A", "limits": "", "sources": []},
        "selection": {"kept": 1, "rows": 2, "not_scored": 0, "rule": word, "threshold": 1.0}, "score": {"column": word, "unit": ""},
        "arms": [arm], "protocol": "B", "seeds": 1, "has_answers": False, "verdict": "V.",
        "constraints": [{"name": word, "required": 1, "achieved": 1, "met": False, "note": word}],
        "composition": [{"column": word, "same": [word], "arms": [word], "lines": [{"value": word, "shares": [0.5]}], "plot": "a.png"}],
        "overlaps": [{"arm": word, "num_common": 1, "overlap": 0.5, "jaccard": 0.5}], "weights": None,
        "statuses": [{"status": word, "rows": 1}], "independence": None, "curve": None,
        "scorers": [{"scorer": word, "weights": word, "settings": {"a": word}}], "versions": {"datasets": "5"},
    }  # fmt: skip


@pytest.mark.parametrize("attack", [*ATTACKS, ALL], ids=[*(str(n) for n in range(len(ATTACKS))), "all"])
def test_the_card_of_a_run_shows_groups_and_statuses_as_text(attack: str) -> None:
    plain, evil = render_card(results("word")), render_card(results(attack))
    header, _, body = evil.removeprefix("---\n").partition("\n---\n")
    assert yaml.safe_load(header) == {"license": attack, "tags": ["hf_datasel", "data-selection"]}
    assert rendered(body) == rendered(plain.removeprefix("---\n").partition("\n---\n")[2])


def test_the_cards_of_a_model_and_a_space_too(tmp_path: Path, tiny_model: str) -> None:
    def cards(word: str) -> list[str]:
        scored = Dataset.from_dict({"text": ["a", "b"], f"s {word}": [1.0, 0.0]})
        chosen = select(scored, TopCount(f"s {word}", 1), [{"scorer": word, "option": word}])
        done = publish(chosen, "me/rows", "top", plots=False, dry_run=tmp_path / "rows")
        publish_model(tiny_model, "me/model", done, base_model=word, training={word: word}, dry_run=tmp_path / "model")
        (tmp_path / "page.html").write_text("<p>")
        publish_page(tmp_path / "page.html", "me/page", done, title=word, dry_run=tmp_path / "page")
        return [(tmp_path / name / "README.md").read_text(encoding="utf-8") for name in ("model", "page")]

    for plain, evil in zip(cards("word"), cards(ALL), strict=True):
        bodies = [text.removeprefix("---\n").partition("\n---\n") for text in (plain, evil)]
        assert rendered(bodies[1][2]) == rendered(bodies[0][2])
        assert yaml.safe_load(bodies[1][0]).keys() == yaml.safe_load(bodies[0][0]).keys()


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_cell_and_a_span_of_code_say_what_they_were_given(attack: str) -> None:
    for how in (cell, code):
        (table,) = [
            block
            for block in MarkdownIt("commonmark").enable("table").parse(f"| a |\n|---|\n| {how(attack)} |\n")
            if block.content and block.content != "a"
        ]
        shown = "".join(its.content for its in table.children or [])
        said = " ".join(attack.split())
        if how is cell:
            assert shown == said
        else:
            assert [its.type for its in table.children or []] == ["code_inline"]
            assert shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == said.replace("`", "'")


def test_a_template_in_a_value_is_not_filled_in() -> None:
    assert "{{ 7 * 7 }}" in render("run_card.md.jinja", results("{{ 7 * 7 }}"))
