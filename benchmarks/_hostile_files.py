"""Hostile files of a run folder, names of repositories, and replies of judges."""

from __future__ import annotations

import functools
import json
import math
import os
import random
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks._hostile import TEXTS, Cases, Try, hostile, mutated
from hf_datasel.hub import load_selection, publish
from hf_datasel.hub.client import check_repo_id
from hf_datasel.recipe.page import report
from hf_datasel.rows.journal import Journal, using_journal
from hf_datasel.scorers import LLMJudge
from hf_datasel.scorers.judging import read_rating, read_verdict
from hf_datasel.selectors import Selection, TopCount, select


NAMES = (
    "../x", "a/../../b", "a//b", "/a/b", "a/b/c", "a\\b", "a b/c", "-", "-a/b", "a/-b", "a/b-", "a/b.", "a/.b", "a/..", "./a",
    "a/b.git", "a--b/c", "a/b..c", "http://x.y/a/b", "hf://datasets/a/b", "datasets/a/b", "a/b@main", "a/b?x=1", "a/b#x", "a/%2e%2e",
    "\u0430/b", "a/\u202eb", "a" * 97 + "/b", "a/" + "b" * 500, "a/b\n", "a/b\0", "data", "default", "x-scored", "CON", "selections",
)  # fmt: skip
REPLIES = (
    "", " ", "8", "8/10", "Score: 7", "**9**", "11", "-1", "8 or 9", "I would say eight", "1e400", "nan", "inf", "Infinity", "None",
    "score: nan", "rating: -inf", "8,5", "\u0668", "\u2167", "\u00b2", "8" * 5000, "8." + "0" * 5000, "<think>9</think>", "<think>9",
    "</think>", "<think>9</think>7", "Score: 7/10 and Rating: 9/10", "7/0", "0/0", "7/1e1", "score" * 100_000, "9" + " " * 100_000 + "x",
    "score" + ":" * 100_000, "*" * 100_000 + "8", "ACCEPT", "Not accepted", "accept or reject", "verdict: maybe", "verdict\0accept", "\ud800 8",
    "0x8", "8\0", "{\"score\": 8}", "score=\u22128", "- 8", "+8", "10.", ".5", "8/10/10", "5 stars", "verdict" * 50_000, "yes\nno", "true false",
)  # fmt: skip


def journals(count: int, draw: random.Random, folder: Path) -> Iterator[tuple[Any, Try]]:
    """Files that are no journal, half of one, another database, or one that holds what no scorer wrote."""
    from benchmarks._hostile_rows import perplexity

    perplexity()({"text": ["Once"]})  # what it imports takes longer than an input may
    whole = folder / "whole.sqlite"
    Journal(whole).put({"scorer": "ResponseLength"}, {f"row {n}": {"s": float(n)} for n in range(50)})
    with sqlite3.connect(whole) as connection:
        connection.execute("pragma journal_mode=delete")
    connection.close()
    content = whole.read_bytes()
    for number in range(count):
        damaged = bytearray(content)
        kind = number % 4
        if kind == 0:
            damaged = bytearray(draw.randbytes(draw.choice((0, 1, 16, 100, 5000))))
        elif kind == 1:
            damaged = damaged[: draw.randrange(len(damaged))]
        else:
            for _ in range(draw.randrange(1, 200 if kind == 2 else 4)):
                damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path = folder / f"{number}.sqlite"
        yield bytes(damaged[:50]), functools.partial(_journalled, path, bytes(damaged))
    for name, statement in _schemas(draw):
        yield name, functools.partial(_foreign, folder / f"{abs(hash(name))}.sqlite", statement)
    for place in ("/dev/null", "/dev/zero", "/proc/self/mem", str(folder), "\0", "x" * 300, "/dev/null/x", "\ud800"):
        yield place, functools.partial(_place, place)


def _schemas(draw: random.Random) -> list[tuple[str, list[str]]]:
    good = "create table rows (scorer text, row text, columns text, primary key (scorer, row)) without rowid"
    key = "select 1"
    rows = ["{", "[]", "null", "3", '{"t": 1}', '{"response_length": "many"}', '{"response_length": null}', "NaN", "\\ud800", '""',
            '{"response_length": [1], "response_length_status": 3}', "[" * 5000, '{"response_length": 1e400}', '{"perplexity": 1.5}']  # fmt: skip
    tables = ["create table rows (x)", "create table rows (scorer, row, columns int, more not null)", "create view rows as select 1", key,
              "create table other (x)"]  # fmt: skip
    return [(table, [table]) for table in tables] + [(row, [good, f"ROW {row}"]) for row in rows]


def _journalled(path: Path, content: bytes) -> str | None:
    path.write_bytes(content)
    journal = Journal(path)
    found = journal.get({"scorer": "ResponseLength"}, [f"row {n}" for n in range(50)])
    made_up = {row: its for row, its in found.items() if its != {"s": float(row.split()[1])}}
    if made_up:
        return f"rows that nobody put in: {str(made_up)[:100]}"
    journal.put({"scorer": "x"}, {"a": {"s": 1.0}})
    return None if journal.get({"scorer": "x"}, ["a"]) == {"a": {"s": 1.0}} else "what was put in is not there"


def _foreign(path: Path, statements: list[str]) -> str | None:
    """A scorer that keeps a journal, on one that others wrote: its own numbers, or a refusal."""
    from benchmarks._hostile_rows import perplexity
    from hf_datasel.rows.journal import spec_key

    row, scorer = {"text": "Once upon a time there was a cat."}, perplexity()
    expected = scorer({"text": [row["text"]]})
    with sqlite3.connect(path) as connection:
        for statement in statements:
            if statement.startswith("ROW "):
                from hf_datasel.rows import row_digest

                connection.execute(
                    "insert into rows values (?, ?, ?)", (spec_key(scorer.spec), row_digest(row), statement[4:])
                )
            else:
                connection.execute(statement)
    connection.close()
    with using_journal(path):
        found = scorer({"text": [row["text"]]})
    return None if str(found) == str(expected) else f"{str(found)[:100]} instead of {str(expected)[:100]}"


def _place(place: str) -> str | None:
    Journal(place)
    return f"{place!r} is a journal"


def selections(count: int, draw: random.Random, folder: Path) -> Iterator[tuple[Any, Try]]:
    """Saved selections, edited and damaged."""
    from datasets import Dataset

    pool = Dataset.from_dict({"row_id": ["a", "b", "c", "d"], "s": [0.1, 0.9, float("nan"), 0.5]})
    place = select(pool, TopCount("s", 2)).save(folder / "selection")
    manifest, rows = (place / "selection.json").read_text(encoding="utf-8"), (place / "rows.parquet").read_bytes()
    for number in range(count):
        text, table = manifest.encode(), bytearray(rows)
        if number % 3 == 0:
            values = mutated(draw, json.loads(manifest), objects=False)
            try:
                text = json.dumps(values).encode()
            except (TypeError, ValueError, RecursionError):  # what JSON cannot say
                continue
        elif number % 3 == 1:
            text = bytes(_bitten(draw, bytearray(text)))
        else:
            table = _bitten(draw, table)
            if draw.random() < 0.7:
                text = _with_digest(manifest, bytes(table))
        yield text[:100], functools.partial(_reloaded, place, text, bytes(table), pool)
    for columns in _tables(draw):
        yield columns, functools.partial(_retabled, place, manifest, columns, pool)


def _bitten(draw: random.Random, content: bytearray) -> bytearray:
    if draw.random() < 0.3:
        return content[: draw.randrange(len(content))]
    for _ in range(draw.randrange(1, 10)):
        content[draw.randrange(len(content))] = draw.randrange(256)
    return content


def _with_digest(manifest: str, table: bytes) -> bytes:
    from hashlib import blake2b

    return json.dumps({**json.loads(manifest), "rows_digest": blake2b(table, digest_size=16).hexdigest()}).encode()


def _reloaded(place: Path, text: bytes, table: bytes, pool: Any) -> str | None:
    (place / "selection.json").write_bytes(text)
    (place / "rows.parquet").write_bytes(table)
    found = Selection.load(place, pool)
    repr(found)
    if any(math.isnan(found.scores[at]) for at in found.indices):
        return "a kept row without a score"
    known = {"a": 0.1, "b": 0.9, "d": 0.5}
    said = dict(zip(found.row_ids.to_pylist(), found.scores.tolist(), strict=True))
    wrong = {row: score for row, score in said.items() if not math.isnan(score) and known.get(row) != score}
    return f"scores that nobody gave: {wrong}" if wrong and not _edited(table) else None


def _edited(table: bytes) -> bool:
    """Whether the table itself says other numbers: then they are its own, not made up here."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pq.read_table(pa.BufferReader(table)).to_pydict()
    return rows["score"] != [0.1, 0.9, None, 0.5] or rows["row_id"] != ["a", "b", "c", "d"]


def _tables(draw: random.Random) -> list[dict[str, Any]]:
    good = {"row_id": ["a", "b", "c", "d"], "score": [0.1, 0.9, None, 0.5], "rank": [None, 1, None, 2]}
    others: list[tuple[str, list[Any]]] = [
        ("row_id", ["a", "a", "c", "d"]), ("row_id", [None] * 4), ("row_id", [1.5, 2.5, 3.5, 4.5]), ("row_id", [[1]] * 4), ("row_id", [1, 2, 3, 4]),
        ("score", ["x"] * 4), ("score", [None] * 4), ("score", [[1.0]] * 4), ("score", [float("inf")] * 4), ("score", [True] * 4),
        ("rank", [1, 1, 1, 1]), ("rank", ["x"] * 4), ("rank", [None] * 4), ("rank", [-1, 0, 7, 9]), ("rank", [1.5, 2.5, None, None]), ("rank", [None, None, 1, None]),
        ("rank", [[1]] * 4), ("rank", [float("nan"), 1.0, None, 2.0]), ("rank", [1, 2, 3, 4]),
    ]  # fmt: skip
    changed = [{**good, name: values} for name, values in others]
    return [
        *changed,
        {},
        {"row_id": ["a"]},
        {name: [] for name in good},
        {name.upper(): its for name, its in good.items()},
    ]


def _retabled(place: Path, manifest: str, columns: dict[str, Any], pool: Any) -> str | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), place / "rows.parquet")
    table = (place / "rows.parquet").read_bytes()
    return _reloaded(place, _with_digest(manifest, table), table, pool)


def judge_replies(count: int, draw: random.Random, folder: Path) -> Iterator[tuple[Any, Try]]:
    """What is read from a reply: a number on the scale that stands in it, or nothing."""
    for reply in (*REPLIES, *TEXTS):
        yield reply, functools.partial(_rated, reply)
    alphabet = ("8", "10", "-3", ".", "/", " ", "\n", "score", "Rating", ":", "*", "is", "of", "accept", "REJECT", "verdict", "</think>", "nan", "e9", "\u0668")  # fmt: skip
    for _ in range(count):
        reply = "".join(draw.choice((*alphabet, draw.choice(TEXTS[:40]))) for _ in range(draw.randrange(12)))
        yield reply, functools.partial(_rated, reply)


def _rated(reply: str) -> str | None:
    found, verdict = read_rating(reply, 0, 10), read_verdict(reply)
    digits = {float(number) for number in re.findall(r"\d+(?:\.\d+)?", reply) if len(number) < 300 or "." in number}
    if not math.isnan(found) and (not 0 <= found <= 10 or not digits & {found, -found}):
        return f"rating {found}"
    words = re.search(r"accept|yes|correct|true|reject|no|false", reply, re.IGNORECASE)
    return None if math.isnan(verdict) or (verdict in (0.0, 1.0) and words) else f"verdict {verdict}"


def judge_bodies(count: int, draw: random.Random, folder: Path) -> Iterator[tuple[Any, Try]]:
    """What a server answers over HTTP: bodies that are no reply, statuses, headers, silence."""
    from tests.judge_endpoint import JudgeEndpoint, completion

    answers: list[Any] = [""]
    server = JudgeEndpoint(lambda body: answers[0](body) if callable(answers[0]) else answers[0])
    body = json.loads(completion("8", {"model": "m", "messages": []}))
    try:
        for number in range(count):
            if number % 2:
                text = draw.choice((*REPLIES, *TEXTS))
                answer: Any = text.encode("utf-8", "replace").decode()
            else:
                try:
                    text = json.dumps(mutated(draw, body, objects=False)).encode("utf-8", "replace").decode()
                except (TypeError, ValueError, RecursionError):
                    continue
                headers = draw.choice(({}, {}, {"Retry-After": "nan"}, {"Retry-After": "-5"}, {"Retry-After": "x"}, {"Content-Encoding": "gzip"}))  # fmt: skip
                answer = draw.choice(
                    ((200, headers, text), (draw.choice((200, 204, 400, 422, 429, 500, 503)), headers, text), None)
                )
            yield answer, functools.partial(_asked, server, answers, answer)
    finally:
        server.close()


def _asked(server: Any, answers: list[Any], answer: Any) -> str | None:
    from hf_datasel.proxy import Endpoint

    answers[0] = answer
    judge = LLMJudge(Endpoint("m", base_url=server.url, retries=0, timeout=5.0, first_wait=0.0))
    found = judge({"prompt": ["How many?"], "completion": ["Three."]})
    score, status = found["judge_rating"][0], found["judge_rating_status"][0]
    if math.isnan(score):
        return None if status != "ok" else "ok, and no score"
    said = answer if isinstance(answer, str) else answer[2]
    return None if status == "ok" and re.search(r"\d", said) else f"{score} ({status}) of {said[:80]!r}"


def repositories(count: int, draw: random.Random, folder: Path) -> Iterator[tuple[Any, Try]]:
    """Names of repositories and configurations: refused before any request, and nothing is written outside the folder."""
    from datasets import Dataset

    pool = Dataset.from_dict({"text": ["a", "b", "c"], "s": [0.1, 0.9, 0.5]})
    chosen = select(pool, TopCount("s", 2))
    inside = folder / "run"
    for name in (*NAMES, *TEXTS):
        yield ("repository", name), functools.partial(_published, chosen, inside, name, "top")
        yield ("configuration", name), functools.partial(_published, chosen, inside, "me/data", name)
        yield ("loaded", name), functools.partial(_fetched, chosen, inside, name, None)
        yield ("loaded configuration", name), functools.partial(_fetched, chosen, inside, str(inside), name)
        yield ("run", name), functools.partial(_reported, name)
    for _ in range(count):
        name = hostile(draw)
        yield ("repository", name), functools.partial(_published, chosen, inside, name, "top")
        yield ("configuration", name), functools.partial(_published, chosen, inside, "me/data", name)
        yield ("loaded", name), functools.partial(_fetched, chosen, inside, name, None)


def _published(chosen: Selection, inside: Path, repo_id: Any, config_name: Any) -> str | None:
    before = _outside(inside)
    try:
        publish(chosen, repo_id, config_name, plots=False, dry_run=inside)
    finally:
        if _outside(inside) != before:
            raise AssertionError(f"written outside of the folder: {_outside(inside) ^ before}")
    good = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
    parts = [*repo_id.split("/"), config_name] if isinstance(repo_id, str) else []
    return None if len(parts) == 3 and all(good.fullmatch(part) for part in parts) else "an odd name was taken"


def _outside(inside: Path) -> set[str]:
    return {str(path) for path in inside.parent.rglob("*") if inside not in (path, *path.parents)}


def _fetched(chosen: Selection, inside: Path, repo_id: Any, config_name: Any) -> str | None:
    if not isinstance(repo_id, str) or not os.path.isdir(repo_id):
        try:
            check_repo_id(repo_id)
        except Exception:  # noqa: BLE001 (which is what must come of the call below, too, and before any request)
            load_selection(repo_id)
            return "a name that is none was loaded"
        return None
    found = load_selection(repo_id, config_name)
    return None if found.num_rows == chosen.num_rows else "another selection"


def _reported(folder: str) -> str | None:
    report(folder)
    return "a report of nothing"


PARSERS: dict[str, Cases] = {
    "journal": journals,
    "saved selection": selections,
    "judge reply": judge_replies,
    "judge endpoint": judge_bodies,
    "repository names": repositories,
}
