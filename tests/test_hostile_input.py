"""What others wrote may be anything: every parser refuses it in so many words, or gives no score it cannot account for."""

import io
import json
import logging
import math
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import yaml
from datasets import Dataset

from benchmarks import _hostile, _hostile_recipes
from hf_datasel.cli import main
from hf_datasel.errors import BadBudget, BadRecipe, BadRow, DataselError, PublishError
from hf_datasel.hub import load_selection, publish
from hf_datasel.proxy import Proxy
from hf_datasel.recipe import load_recipe
from hf_datasel.recipe.loading import check_recipe
from hf_datasel.rows import Labels, row_digest, sample_frames, stratified, token_row
from hf_datasel.rows.journal import Journal
from hf_datasel.rows.reader import load_reader
from hf_datasel.rows.turns import turns_of
from hf_datasel.rows.video import UnreadableMedia
from hf_datasel.rows.vision import UnreadableImage, decoded
from hf_datasel.scorers import ResponseLength
from hf_datasel.scorers.judging import read_rating, read_verdict
from hf_datasel.selectors import KCenter, Selection, SemDeDup, TopCount, TopFraction, select


QUICKSTART = Path(__file__).parents[1] / "recipes" / "quickstart.yaml"
# Inputs of each, and a seed that no figure was made with.
COUNTS = {
    "recipe values": 12, "recipe files": 4, "command line": 8, "labels of rows": 150, "scores of rows": 100, "row digest": 300, "chat turns": 300,
    "anchors": 150, "media": 60, "journal": 40, "saved selection": 150, "judge reply": 400, "judge endpoint": 20, "repository names": 20,
    "score tables": 250, "settings of rules": 250,
}  # fmt: skip


@pytest.mark.parametrize("parser", _hostile.parsers())
def test_nothing_crashes_and_no_score_is_made_up(parser):
    found = _hostile.attack(COUNTS[parser], seed=7, only=[parser])
    assert found.inputs[parser] >= COUNTS[parser] // 2
    assert not found.crashes, "\n".join(f"{its.said} | {its.given}" for its in found.crashes[:5])


@pytest.mark.parametrize(
    "answer", [lambda: 1 / 0, lambda: "a score of nothing", lambda: _raise(DataselError("no argument named"))]
)
def test_the_attack_tells_a_bad_answer(answer, monkeypatch):
    monkeypatch.setattr(_hostile, "parsers", lambda: {"broken": lambda *_: iter([("input", answer)])})
    (crash,) = _hostile.attack(1, seed=0).crashes
    assert crash.parser == "broken" and crash.given == "'input'"


def test_the_attack_tells_a_hang(monkeypatch):
    monkeypatch.setattr(_hostile, "SECONDS", 1)
    assert _hostile.outcome(lambda: _for_ever()) == (False, "no answer within 1 s")


def _raise(error):
    raise error


def _for_ever():
    while True:
        pass


BASE = "pool: {path: quickstart/pool.jsonl}\nscore: {scorers: [{ResponseLength: {}}]}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BASE + "select: {TopFraction: [response_length, 0.2]}", r"`select\.TopFraction` is \['response_length', 0\.2\], expected a mapping"),
        (BASE + "select: &a [*a]", "lies among more than"),
        (_hostile_recipes.BOMB, "multiplies what it stands"),
        ("[" * 10_000, "nested too deep"),
        ("pool: " + "{a: " * 60 + "1" + "}" * 60, "more than 100000 values or 40 levels"),
        ("pool: !!python/object/apply:os.system [id]", "is not YAML: could not determine a constructor"),
        (BASE + "select: {Full: {}}\nselect: {Full: {}}", "the key 'select' is there twice"),
        ("pool: {path: 2024-99-99}", "is not YAML: month must be in"),
        ("pool: {path: 2024-01-02}", r"`pool\.path` is datetime\.date\(2024, 1, 2\), a date, expected text"),
        ("pool: {1: 2}", "`pool` has the key 1, expected text. Put it in quotes"),
        ("pool: {path: " + "9" * 5000 + "}", "Exceeds the limit"),
        ("pool: {path: " + "9" * 30 + "}", "more than 63 bits"),
        ('pool: {path: "\\ud800"}', "expected text that can be written as UTF-8"),
        ("pool: {path: !!binary aGk=}", "`pool.path` is b'hi', a bytes"),
        (BASE + "select: {TopFraction: {column: response_lenght, fraction: 0.2}}", "Did you mean `response_length`"),
        (BASE + "select: {SemDeDup: {embedding: response_length, fraction: 0.5}}", "a column of numbers, expected a list of numbers in each row, as Embedding"),
        (BASE + "select: {TopCount: {column: writer, count: 5}}", r"`TopCount\.column` is 'writer', a column of texts, expected a number"),
        ("pool: {path: ../../../etc/passwd}\nscore: {scorers: []}\nselect: {Full: {}}", "its name ends in none of"),
        ("pool: {path: /dev/zero}\nscore: {scorers: []}\nselect: {Full: {}}", "its name ends in none of"),
        ("pool: {path: /dev/stdin}\nscore: {scorers: []}\nselect: {Full: {}}", "its name ends in none of"),
        ('pool: {path: "a\\0.jsonl"}\nscore: {scorers: []}\nselect: {Full: {}}', "there is no file"),
        ("pool: {path: " + "A" * 1_000_000 + ".jsonl}\nscore: {scorers: []}\nselect: {Full: {}}", "…"),
        (BASE.replace("{scorers", "{proxy: {model: ./nowhere}, scorers") + "select: {Full: {}}", r"`score\.proxy\.model` is './nowhere', which is no folder"),
        (BASE.replace("{scorers", "{proxy: {model: quickstart}, scorers") + "select: {Full: {}}", r"a folder without config\.json"),
        (BASE.replace("{scorers", "{proxy: {model: 'no such model'}, scorers") + "select: {Full: {}}", r"`score\.proxy\.model` is 'no such model', expected a folder"),
    ],
)  # fmt: skip
def test_recipes(text, said, tmp_path):
    (tmp_path / "recipe.yaml").write_text(text)
    (tmp_path / "quickstart").symlink_to(QUICKSTART.parent / "quickstart")
    with pytest.raises(BadRecipe, match=said) as caught:
        load_recipe(tmp_path / "recipe.yaml")
    assert len(str(caught.value)) < 10_000


@pytest.mark.parametrize("place", ["/dev/zero", "/dev/stdin", "recipes", "a\0b", "x" * 5000, "\ud800"])
def test_places_that_are_no_recipe(place, capsys):
    assert main(["run", place, "--dry-run"]) == 1
    said = capsys.readouterr().err
    assert "`recipe`" in said and "expected a YAML file" in said


def recipe_of(tmp_path, pool, **sections):
    (tmp_path / "pool.jsonl").write_text(pool, encoding="utf-8")
    base = {"pool": {"path": "pool.jsonl"}, "score": {"scorers": [{"ResponseLength": {}}]}, "select": {"Full": {}}}
    return {**base, **sections}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"text": "b"', "line 2 is no JSON (Expecting ',' delimiter at character 13)"),
        ('{"text": "b"} x', "line 2 is no JSON (Extra data"),
        ('["b"]', "line 2 is no row"),
        ("[" * 100_000, "line 2 is nested too deep"),
    ],
)
def test_a_broken_line_of_a_pool_is_named(line, said, tmp_path):
    with pytest.raises(BadRecipe) as caught:
        check_recipe(recipe_of(tmp_path, f'{{"text": "a"}}\n{line}\n'), tmp_path)
    assert said in str(caught.value) and "1 problem" in str(caught.value)


def test_a_thousand_problems_are_not_all_said(tmp_path):
    with pytest.raises(BadRecipe, match="has 1000 problems:") as caught:
        check_recipe(recipe_of(tmp_path, '{"text": "a"}\n', score={"scorers": list(range(1000))}), tmp_path)
    assert str(caught.value).endswith("  - and 960 more.")


def test_white_space_is_no_answer():
    found = ResponseLength()({"text": [" ", "\u2028", "a "]})
    assert np.isnan(found["response_length"]).tolist() == [True, True, False]
    assert found["response_length_status"] == ["no_answer", "no_answer", "ok"]


def test_one_fault_of_anchors_is_one_problem(tmp_path):
    recipe = yaml.safe_load(QUICKSTART.read_text(encoding="utf-8"))
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "remarks.jsonl").write_text('{"remark": "a"}\n')
    for name, said in (("empty", "is empty"), ("remarks", "`anchors` has the columns ['remark']")):
        with pytest.raises(BadRecipe) as caught:
            check_recipe({**recipe, "anchors": {"path": str(tmp_path / f"{name}.jsonl")}}, QUICKSTART.parent)
        assert (
            said in str(caught.value) and "has 1 problem:" in str(caught.value) and "`pool`" not in str(caught.value)
        )
    with pytest.raises(BadRecipe) as caught:
        check_recipe({**recipe, "anchors": {"path": "x.jsonl", "sise": 3}}, QUICKSTART.parent)
    assert "Did you mean `size`?" in str(caught.value) and "has 1 problem:" in str(caught.value)


def test_a_model_that_cannot_be_had_is_one_sentence(hub):
    with pytest.raises(
        DataselError, match=r"`score\.proxy\.model`\) is 'nobody/nothing', which is neither a folder nor"
    ):
        Proxy("nobody/nothing").digest  # noqa: B018


def test_a_finished_run_of_another_recipe_is_not_replaced_in_silence(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    values = recipe_of(tmp_path, "".join(json.dumps({"text": "a" * n, "n": n}) + "\n" for n in range(1, 9)))
    for number, rule in enumerate(({"TopCount": {"column": "response_length", "count": 3}}, {"Full": {}}), start=1):
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({**values, "select": rule}))
        for _ in range(2):
            assert main(["select", str(tmp_path / "recipe.yaml"), "--output-dir", str(tmp_path / "run")]) == 0
        assert caplog.text.count("holds a finished run of another recipe (select differ)") == number - 1


@pytest.fixture(scope="module")
def tokenizer(tiny_model):
    return load_reader(tiny_model, Labels())


@pytest.mark.parametrize(
    ("row", "status"),
    [
        ({"text": ""}, "empty_text"),
        ({"text": " \n"}, "empty_text"),
        ({"messages": []}, "malformed"),
        ({"messages": [{"role": "user", "content": ""}]}, "empty_text"),
        ({"prompt": "a", "completion": "\t"}, "empty_completion"),
        ({"input_ids": [5, 2**31, 6]}, "malformed"),
        ({"input_ids": [5, -1, 6]}, "malformed"),
        ({"input_ids": [5, 6, 7], "labels": [5, 6, 10**6]}, "malformed"),
        ({"input_ids": [5, 6, 7], "labels": [5, 6]}, "malformed"),
        ({"text": ["a"]}, "malformed"),
        ({"text": {"a": 1}}, "malformed"),
        ({"prompt": "a", "completion": 5}, "malformed"),
    ],
)
def test_rows_with_nothing_to_learn_have_a_status_and_no_tokens(row, status, tokenizer):
    found = token_row(row, tokenizer, Labels())
    assert (found.status.split(":")[0], found.scorable, found.input_ids) == (status, False, ())


@pytest.mark.parametrize("beside", [{"reasoning_content": "1 + 1 = 2"}, {"thinking": "2"}, {"tool_calls": [{"f": 1}]}])
def test_messages_that_say_something_beside_their_content_are_not_empty(beside, tokenizer):
    row = {"messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": "", **beside}]}
    with pytest.raises(BadRow, match="chat template"):  # read on, and this tokenizer has none
        token_row(row, tokenizer, Labels())


@pytest.mark.parametrize("make", [_hostile.cyclic, lambda: _hostile.deep(5000), lambda: 10**5000, object])
def test_rows_that_lie_within_themselves_have_no_digest(make):
    with pytest.raises(BadRow, match="`row` holds"):
        row_digest({"messages": [make()]})


@pytest.mark.parametrize("content", [5, 1.5, True])
def test_contents_that_are_no_text_are_no_turns(content):
    with pytest.raises(BadRow, match="`content` of a message is"):
        turns_of({"messages": [{"role": "user", "content": content}]})


@pytest.mark.parametrize(
    ("name", "value"), [("size", "3"), ("size", True), ("size", None), ("seed", "x"), ("seed", 2**70), ("by", "kin")]
)
def test_settings_of_a_draw(name, value):
    pool = Dataset.from_dict({"text": ["a", "b", "c"], "kind": ["x", "y", "x"]})
    with pytest.raises(BadRow, match=f"`{name}` is .*, expected"):
        stratified(pool, **{"size": 2, "by": "kind", "seed": 0, name: value})


def test_pipes_devices_and_folders_are_no_media(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.png")
    for place in (tmp_path / "pipe.png", tmp_path, "/dev/zero"):
        with pytest.raises(UnreadableImage, match="no file: a folder, a pipe or a device"):
            decoded(str(place))
        with pytest.raises(UnreadableMedia, match="is no file"):
            sample_frames(str(place))
        assert row_digest({"prompt": "a", "completion": "b", "image": str(place)})  # by its place


@pytest.mark.parametrize(
    "place",
    [
        "http:127.0.0.1:9/x",
        "tcp:127.0.0.1:9",
        "concat:/etc/passwd|/etc/passwd",
        "subfile,,start,0,end,9,,:/etc/passwd",
    ],
)
def test_a_video_is_never_a_protocol(place):
    with pytest.raises(UnreadableMedia, match="is no file"):
        sample_frames(place)


def test_a_playlist_is_not_waited_for(tmp_path):
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/x.ts\n")
    with pytest.raises(UnreadableMedia, match="cannot be decoded"):
        sample_frames(str(tmp_path / "list.m3u8"))


def test_a_bomb_is_no_image():
    from PIL import Image

    file = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(file, "PNG")
    with pytest.raises(UnreadableImage, match="DecompressionBomb"):
        decoded({"bytes": file.getvalue(), "path": None})


def test_a_changed_row_of_a_journal_is_scored_again(tmp_path, caplog):
    path = tmp_path / "journal.sqlite"
    Journal(path).put({"s": 1}, {"a": {"x": 15.0}, "b": {"x": 2.0}})
    with sqlite3.connect(path) as connection:
        connection.execute("update rows set columns = replace(columns, '15.0', '16.0')")
    connection.close()
    journal = Journal(path)
    assert journal.get({"s": 1}, ["a", "b"]) == {"b": {"x": 2.0}}
    assert "1 damaged rows" in caplog.text
    journal.put({"s": 1}, {"a": {"x": 15.0}})
    assert journal.get({"s": 1}, ["a", "b"]) == {"a": {"x": 15.0}, "b": {"x": 2.0}}


def test_another_database_is_moved_aside(tmp_path):
    path = tmp_path / "journal.sqlite"
    owner = sqlite3.connect(path)  # still at work: all it has written is in its log
    owner.execute("pragma journal_mode=wal")
    owner.execute("create table rows (x)")
    owner.execute("insert into rows values (7)")
    owner.commit()
    journal = Journal(path)
    journal.put({"s": 1}, {"a": {"x": 1.0}})
    assert journal.get({"s": 1}, ["a"]) == {"a": {"x": 1.0}}
    owner.execute("insert into rows values (8)")
    owner.commit()
    (aside,) = (its for its in tmp_path.glob("*.damaged-*") if not its.name.endswith(("-wal", "-shm")))
    with closing(sqlite3.connect(aside)) as its:
        assert its.execute("select x from rows").fetchall() == [(7,), (8,)]
    owner.close()


@pytest.mark.parametrize("place", ["/dev/zero", "/dev/null/x", "\0", "x" * 5000])
def test_places_that_are_no_journal(place):
    with pytest.raises(DataselError, match="`journal` is"):
        Journal(place)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("selection.json", b"{", "holds a selection.json that cannot be read"),
        ("selection.json", b"\xff\xfe", "holds a selection.json that cannot be read"),
        ("selection.json", b"[" * 100_000, "holds a selection.json that cannot be read"),
        ("selection.json", b"[]", "holds a selection of format None"),
        ("rows.parquet", b"PAR1", "that its selection.json was not written with"),
    ],
)
def test_a_damaged_selection(name, content, said, tmp_path):
    place = select(Dataset.from_dict({"text": ["a", "b"], "s": [1.0, 2.0]}), TopCount("s", 1)).save(tmp_path)
    (place / name).write_bytes(content)
    with pytest.raises(DataselError, match=said):
        Selection.load(place)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "eight",
        "nan",
        "inf",
        "1e400",
        "11",
        "-1",
        "<think>8</think>",
        "8/7",
        "8 or 9",
        "\ud800",
        "score: high",
        "A" * 10**6,
    ],
)
def test_replies_without_a_number_of_the_scale_have_no_rating(reply):
    assert math.isnan(read_rating(reply, 0, 10))


@pytest.mark.parametrize(
    "reply", ["", "maybe", "accept or reject", "Not accepted", "verdict: perhaps", "8", "\0accept"]
)
def test_replies_without_a_verdict_have_none(reply):
    assert math.isnan(read_verdict(reply))


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/../../b",
        "a//b",
        "/a/b",
        "a\\b/c",
        "-a/b",
        "a/b\n",
        "a/b\0",
        "http://x.y/a/b",
        "a/" + "b" * 500,
        "\u0430/b",
        "a/..",
    ],
)
def test_odd_repositories_are_refused_before_any_request(name, hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where a neighbour `x` is none of anybody else's
    chosen = select(Dataset.from_dict({"text": ["a", "b"], "s": [1.0, 2.0]}), TopCount("s", 1))
    with pytest.raises(PublishError, match=r"`repo_id` is .*, expected"):
        publish(chosen, name, token="hf_x")  # noqa: S106
    with pytest.raises(PublishError, match=r"`repo_id` is .*, expected"):
        load_selection(name)
    with pytest.raises(PublishError, match=r"`config_name` is .*, expected"):
        publish(chosen, "me/data", name, dry_run=tmp_path / "run")
    assert not hub.requests("GET", ".*") and not hub.requests("POST", ".*")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [
    lambda: TopFraction("s", 10**5000), lambda: TopFraction("s", _hostile.cyclic()), lambda: select(Dataset.from_dict({"text": ["a"]}), KCenter(_hostile.deep(5000), 0.1)),
    lambda: SemDeDup("e", epsilon=0.1, seed="x"), lambda: SemDeDup("e", epsilon=0.1, seed=-1),
])  # fmt: skip
def test_settings_that_have_no_text(make):
    with pytest.raises(BadBudget, match=r"`.*expected"):
        make()
