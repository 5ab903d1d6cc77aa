"""The report page as a file: what is in it, and that nothing gets out of its place."""

import base64
import gzip
import hashlib
import json
import re
from importlib.resources import files

import numpy as np
import pytest
from datasets import Dataset

from hf_datasel import TopCount, select
from hf_datasel.errors import DataselError
from hf_datasel.reports.page import packing, write_report
from hf_datasel.reports.page.pictures import SIDE, pictures
from hf_datasel.reports.page.texts import MOST_CHARACTERS, said

from .pages import EVIL, evil_report, numbered, numbered_report, pictured, png


def parts(page, name):
    found = re.findall(rf'<script type="text/plain" data-part="{name}">([^<]*)</script>', page)
    return [json.loads(gzip.decompress(base64.b64decode(block))) for block in found]


def about(page):
    return json.loads(re.search(r'<script type="application/json" id="about">([^<]*)</script>', page).group(1))


def test_every_score_group_and_copy_is_in_the_file(tmp_path):
    page = numbered_report(tmp_path / "deep" / "report.html").read_text(encoding="utf-8")
    (table,) = parts(page, "columns")
    scored = numbered(300)
    assert (
        table["scores"]["ost_utility"] == scored["ost_utility"][:]
    )  # to the last bit: the line must cut where rules do
    assert [table["groups"]["kind"]["names"][code] for code in table["groups"]["kind"]["codes"]] == scored["kind"][:]
    assert table["copies"] == [[0, 299]]
    assert sorted(table["kept"]["the selection"]) == list(range(239, 299))
    assert about(page)["selections"] == {"the selection": "TopCount(column='ost_utility', count=60)"}
    texts = {
        row: value for block in parts(page, "texts") for row, value in zip(block["rows"], block["values"], strict=True)
    }
    assert sorted(texts) == list(range(300))
    assert texts[7][0] == [["prompt", "How many?", 0, 0], ["completion", "row number 7", 1, 0]]


def test_the_same_report_gives_the_same_bytes(tmp_path):
    assert numbered_report(tmp_path / "a.html").read_bytes() == numbered_report(tmp_path / "b.html").read_bytes()


def test_a_page_of_markup_holds_no_element_that_rows_brought(tmp_path):
    page = evil_report(tmp_path / "evil.html").read_text(encoding="utf-8")
    assert "window.hacked" in page  # it is there, as text
    opened = re.findall(r"<(script|img|svg)\b([^>]*)>", page)
    assert (
        len([its for its in opened if its[0] == "script"]) == 7
    )  # about, columns, texts, tokens, pictures, uPlot, ours
    assert [its for its in opened if its[0] != "script"] == []
    assert page.count("</script>") == 7


def test_scripts_and_styles_are_those_the_policy_names_and_none_else(tmp_path):
    page = numbered_report(tmp_path / "report.html").read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page).group(1)
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy and "http" not in policy
    inline = re.findall(r"<(?:script|script type=\"module\"|style)>(.*?)</(?:script|style)>", page, flags=re.DOTALL)
    hashes = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inline}
    assert hashes == set(re.findall(r"'sha256-([^']*)'", policy)) and len(hashes) == 3
    assert not re.search(
        r"\son[a-z]+=|\sstyle=|(?:src|href)=\"(?!data:,|#)", page.replace(policy, "").split("<script")[0]
    )


def test_the_library_is_the_one_whose_version_is_written_down():
    folder = files("hf_datasel.reports.page").joinpath("uplot")
    known = json.loads(folder.joinpath("version.json").read_text())
    for name, digest in known["sha256"].items():
        assert hashlib.sha256(folder.joinpath(name).read_bytes()).hexdigest() == digest, name
    assert "MIT License" in folder.joinpath("LICENSE").read_text()
    assert known["version"] in folder.joinpath("uPlot.iife.min.js").read_text(encoding="utf-8")[:300]


def test_rows_near_the_top_the_bottom_and_the_cut_come_before_the_rest():
    order = packing.by_interest(np.append(np.linspace(1, 0, 5000), np.nan), 1000).tolist()
    first = set(order[: 4 * packing.NEAREST])
    assert {0, 399, 601, 1000, 1399, 4601, 4999} <= first
    assert {400, 2500, 4000, 5000}.isdisjoint(first)
    assert sorted(order) == list(range(5001))


def test_what_goes_beyond_the_budget_is_left_out_and_the_rest_is_whole(tmp_path):
    draw = np.random.default_rng(0)
    texts = ["".join(map(chr, draw.integers(97, 123, 3000))) for _ in range(2000)]
    scored = Dataset.from_dict({"text": texts, "s": draw.normal(size=2000)})
    path = write_report(scored, tmp_path / "small.html", column="s", budget=2_000_000)
    blocks = parts(path.read_text(encoding="utf-8"), "texts")
    rows = [row for block in blocks for row in block["rows"]]
    assert path.stat().st_size < 2_000_000 and 300 < len(rows) < 1000
    best = np.argsort(-np.asarray(scored["s"][:]))
    assert {int(best[0]), int(best[-1]), int(best[999])} <= set(rows)
    assert all(
        value[0][0][1] == texts[row]
        for block in blocks
        for row, value in zip(block["rows"], block["values"], strict=True)
    )


def test_turns_of_every_format():
    chat = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yo"},
    ]
    assert [turn[:3] for turn in said({"messages": chat})] == [
        ["system", "Be kind.", 0],
        ["user", "Hi", 0],
        ["assistant", "Yo", 1],
    ]
    assert [turn[:3] for turn in said({"prompt": chat[:2], "completion": chat[2:]})][1:] == [
        ["user", "Hi", 0],
        ["assistant", "Yo", 1],
    ]
    assert said({"conversations": [{"from": "gpt", "value": "Yo"}]}) == [["gpt", "Yo", 1, 0]]
    assert said({"story": "Once"}, "story") == [["text", "Once", 1, 0]]
    assert said({"input_ids": [1, 2]}) == []
    assert said({"text": "x" * (MOST_CHARACTERS + 5)})[0][3] == 5


def test_thumbnails_are_small_and_what_cannot_be_read_says_why():
    ((source, words),) = pictures({"image": {"bytes": png("teal", (2000, 1000)), "path": None}})
    from PIL import Image

    with Image.open(__import__("io").BytesIO(base64.b64decode(source.split(",")[1]))) as small:
        assert small.size == (SIDE, SIDE // 2) and small.format == "WEBP" and words == ""
    rows = pictured()
    assert pictures(rows[1]) == [["", "cat.png: no such file"]]
    assert pictures(rows[2]) == [["", "dog.png: not readable (UnidentifiedImageError)"]]
    assert pictures({"images": [None]}) == [["", "image missing"]]
    assert pictures({"image": {"bytes": None, "path": "https://example.org/a.png"}})[0][1].endswith(
        "it is on the network"
    )
    assert pictures({"images": [png("red")] * 6})[-1][1] == " and 2 more"


def test_without_a_score_there_is_no_report(tmp_path):
    with pytest.raises(DataselError, match="`scored` has no score, expected a column of numbers"):
        write_report(Dataset.from_dict({"text": ["a"]}), tmp_path / "report.html")
    with pytest.raises(DataselError, match="`column` is 'loss', expected a column of `scored`"):
        write_report(Dataset.from_dict({"text": ["a"]}), tmp_path / "report.html", column="loss")


def test_a_selection_of_other_rows_is_refused(tmp_path):
    scored = numbered(300)
    shuffled = scored.shuffle(seed=0)
    selection = select(shuffled, TopCount("ost_utility", 3))
    with pytest.raises(DataselError, match="'best', made from 300 rows that are not those of `scored` in their order"):
        write_report(scored, tmp_path / "report.html", selections={"best": selection})
    page = write_report(scored, tmp_path / "report.html", selections={"best": selection.apply(scored)})
    assert sorted(parts(page.read_text(encoding="utf-8"), "columns")[0]["kept"]["best"]) == [296, 297, 298]


def test_infinite_and_missing_scores_count_as_not_scored(tmp_path):
    scored = Dataset.from_dict({"text": list("abc"), "s": [float("inf"), 1.0, None]})
    page = write_report(scored, tmp_path / "report.html", column="s").read_text(encoding="utf-8")
    assert parts(page, "columns")[0]["scores"]["s"] == [None, 1.0, None]


def test_markup_survives_as_text(tmp_path):
    page = evil_report(tmp_path / "evil.html").read_text(encoding="utf-8")
    assert parts(page, "texts")[0]["values"][0][0][0][:2] == [EVIL, EVIL]
