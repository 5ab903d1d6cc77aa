"""Hostile rows: of every format, as scorers, digests, labels and anchors meet them; and media."""

from __future__ import annotations

import functools
import io
import math
import os
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._hostile import TEXTS, Cases, Try, hostile, mutated
from hf_datasel.errors import DataselError
from hf_datasel.proxy import Proxy
from hf_datasel.rows import Labels, row_digest, sample_frames, stratified, token_row
from hf_datasel.rows.pixels import frames_of
from hf_datasel.rows.reader import load_reader
from hf_datasel.rows.turns import turns_of
from hf_datasel.rows.vision import UnreadableImage, check_media, decoded
from hf_datasel.scorers import LexicalDiversity, LogicalComplexity, Perplexity, ResponseLength
from hf_datasel.scorers.judging import messages_of


PROXY = Path(__file__).parents[1] / "recipes" / "quickstart" / "proxy"
CHAT = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
ROWS: tuple[dict[str, Any], ...] = (
    {"text": "Once upon a time there was a cat."},
    {"prompt": "How many?", "completion": "Three, because 1 + 2 = 3."},
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello there"}]},
    {"messages": [{"role": "system", "content": "Be good."}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
                  {"role": "assistant", "content": [{"type": "text", "text": "Hello"}], "tool_calls": None}]},
    {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello there"}]},
    {"prompt": [{"role": "user", "content": "Hi"}], "completion": [{"role": "assistant", "content": "Hello"}]},
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "ok"}],
     "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]},
    {"input_ids": [5, 6, 7, 8], "labels": [-100, 6, 7, 8]},
    {"input_ids": [5, 6, 7, 8], "completion_mask": [0, 0, 1, 1]},
    {"prompt": "What?", "completion": "A cat.", "image": {"bytes": b"", "path": None}},
    {"prompt": "What?", "completion": "A cat.", "images": []},
    {"text": "a", "chat_template_kwargs": {"x": 1}, "score": 0.5, "row_id": "a"},
)  # fmt: skip
WORDS = ("text", "prompt", "completion", "messages", "conversations")


@functools.cache
def reader(chat: bool) -> Any:
    """The tokenizer of the quickstart's proxy, with a chat template or as it is."""
    found = load_reader(str(PROXY), Labels())
    if chat:
        found.chat_template = CHAT
    return found


@functools.cache
def text_scorers() -> tuple[Any, ...]:
    """Those that load no model."""
    return (ResponseLength(), LexicalDiversity(), LogicalComplexity())


@functools.cache
def perplexity() -> Perplexity:
    """A scorer with a model, loaded once."""
    return Perplexity(Proxy(str(PROXY)))


def rows(count: int, draw: random.Random) -> Iterator[dict[str, Any]]:
    """Rows with one or two parts made hostile."""
    for number in range(count):
        row = mutated(draw, ROWS[number % len(ROWS)])
        if isinstance(row, dict) and row and draw.random() < 0.3:
            row = (
                mutated(draw, row)
                if draw.random() < 0.5 and _is_plain(row)
                else {**row, draw.choice(WORDS): hostile(draw)}
            )
        if isinstance(row, dict):
            yield row


def _is_plain(row: Any) -> bool:
    """Whether it can be walked through and copied."""
    try:
        repr(row)
    except (RecursionError, ValueError):
        return False
    return "..." not in repr(row)[:1_000_000] and len(repr(row)) < 10_000


def says_something(value: Any, depth: int = 0) -> bool:
    """Whether a text that is not blank, or a number of a token, lies anywhere in it."""
    if isinstance(value, str):
        return bool(value.strip())
    if isinstance(value, bool) or value is None or depth > 8:
        return False
    if isinstance(value, Mapping):
        return any(says_something(part, depth + 1) for part in value.values())
    if isinstance(value, list | tuple):
        return any(says_something(part, depth + 1) for part in value)
    return isinstance(value, int | np.integer)


def labels_of_rows(count: int, draw: random.Random, folder: Path) -> Iterator[tuple[Any, Try]]:
    """`token_row`: tokens and labels, or a status."""
    token_row({"messages": ROWS[2]["messages"]}, reader(True), Labels())  # imports
    for row in rows(count, draw):
        labels = Labels(
            max_length=draw.choice((None, 1, 2, 8, 1024)),
            truncation_mode=draw.choice(("keep_start", "keep_end")),
            completion_only_loss=draw.choice((None, True, False)),
        )
        yield row, functools.partial(_labelled, row, reader(draw.random() < 0.5), labels)


def _labelled(row: dict[str, Any], its: Any, labels: Labels) -> str | None:
    found = token_row(row, its, labels)
    if not isinstance(found.status, str) or len(found.status) > 250:
        return f"a status that nobody can read: {str(found.status)[:100]}"
    if not found.scorable:
        return None
    if len(found.input_ids) != len(found.labels):
        return "tokens and labels of different lengths"
    known = {value for value in (*found.input_ids, *found.labels) if not (isinstance(value, int) and value >= -100)}
    if known or any(not 0 <= token < len(its) for token in found.input_ids):
        return f"tokens outside the vocabulary are scorable: {sorted(map(str, known))[:3]}"
    content = {name: row[name] for name in (*WORDS, "input_ids") if name in row}
    return None if says_something(content) else f"scorable ({found.status}), and there is nothing in it"


def scored_rows(count: int, draw: random.Random, folder: Path) -> Iterator[tuple[Any, Try]]:
    """Scorers on a batch of one good row and one hostile: neither may get what is not its own."""
    perplexity()({"text": ["Once"]})  # what it imports takes longer than an input may
    for number, row in enumerate(rows(count, draw)):
        scorer = perplexity() if number % 5 == 0 else text_scorers()[number % 3]
        good = (
            next(its for its in ROWS if set(its) & set(row)) if any(set(its) & set(row) for its in ROWS) else ROWS[0]
        )
        yield row, functools.partial(_scored, scorer, good, row)


def _scored(scorer: Any, good: dict[str, Any], bad: dict[str, Any]) -> str | None:
    names = [name for name in {**good, **bad} if isinstance(name, str)]
    score, status = scorer.columns[:2]
    batch = {name: [good.get(name), bad.get(name)] for name in names}
    alone = {name: [good.get(name)] for name in names}
    expected = scorer(alone)[score][0]
    found = scorer(batch)
    values, why = found[score], found[status][1]
    if np.ndim(values) == 0:  # of messages without a list around them: taken for one row, as its documentation says
        return None
    # A batch is padded to its longest row, which moves the last digits of single precision.
    if len(values) != 2 or not np.isclose(values[0], expected, rtol=1e-5, equal_nan=True):
        return f"the good row has {values[0]}, and {expected} without the other"
    if math.isfinite(values[1]) != (why in ("ok", "truncated")):
        return f"score {values[1]} with status {why!r}"
    content = {name: bad.get(name) for name in (*WORDS, "input_ids")}
    if math.isinf(values[1]) or (math.isfinite(values[1]) and not says_something(content)):
        return f"score {values[1]} of a row without content"
    return None


def digests(count: int, draw: random.Random, folder: Path) -> Iterator[tuple[Any, Try]]:
    """`row_digest`: 16 digits that no remark and no order of columns changes."""
    for row in rows(count, draw):
        yield row, functools.partial(_digested, row)


def _digested(row: dict[str, Any]) -> str | None:
    found = row_digest(row)
    if len(found) != 16 or found != row_digest(dict(reversed(row.items()))):
        return f"digest {found} and {row_digest(dict(reversed(row.items())))} in another order"
    if any(row.get(name) is not None for name in WORDS) and found != row_digest({**row, "remark": 1.5}):
        return "a remark changes the digest"
    return None


def turns(count: int, draw: random.Random, folder: Path) -> Iterator[tuple[Any, Try]]:
    """`turns_of` and what a judge is shown."""
    for row in rows(count, draw):
        yield row, functools.partial(_turned, row)


def _turned(row: dict[str, Any]) -> str | None:
    found = turns_of(row)
    if not all(isinstance(text, str) for turn in found for text in turn):
        return f"turns that are no texts: {str(found)[:80]}"
    if any(answer.strip() for _, answer in found) and not says_something({name: row.get(name) for name in WORDS}):
        return f"an answer from nowhere: {str(found)[:80]}"
    try:
        asked = messages_of(row, "Rate.")
    except UnreadableImage:
        return None
    return (
        None
        if asked is None or says_something([row.get(name) for name in WORDS])
        else "a judge is asked about nothing"
    )


def anchor_sets(count: int, draw: random.Random, folder: Path) -> Iterator[tuple[Any, Try]]:
    """`stratified`: sizes, strata and seeds that are none."""
    from datasets import Dataset

    pool = Dataset.from_dict(
        {"text": [f"text {row}" for row in range(6)], "kind": ["x", "y", None] * 2, "odd": [[1]] * 6}
    )
    for _ in range(count):
        given = {"size": 3, "by": "kind", "seed": 0}
        for name in draw.sample(sorted(given), draw.choice((1, 1, 2))):
            given[name] = draw.choice((hostile(draw), draw.choice((1, 6, 7, "odd", "text", None))))
        yield given, functools.partial(_drawn, pool, given)


def _drawn(pool: Any, given: dict[str, Any]) -> str | None:
    found = stratified(pool, **given)
    return None if len(found) == given["size"] else f"{len(found)} anchors instead of {given['size']}"


def media_files(folder: Path) -> dict[str, Any]:
    """Places and contents that are no image and no video."""
    from PIL import Image

    whole = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(whole, "PNG")
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    (folder / "whole.png").write_bytes(whole.getvalue())
    (folder / "bomb.png").write_bytes(bomb.getvalue())
    (folder / "cut.png").write_bytes(whole.getvalue()[:40])
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("no image", encoding="utf-8")
    os.mkfifo(folder / "fifo.png")
    (folder / "folder.png").mkdir()
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    names = [str(path) for path in sorted(folder.iterdir())]
    return {
        **{Path(name).name: name for name in names},
        **{f"{Path(name).name} as a file": {"path": name, "bytes": None} for name in names},
        "bomb bytes": {"path": None, "bytes": bomb.getvalue()},
        "header only": whole.getvalue()[:33],
        "no bytes": b"",
    }


def media(count: int, draw: random.Random, folder: Path) -> Iterator[tuple[Any, Try]]:
    """Images and videos: decoded, or said to be none. What names nothing that can be read to its end must not be waited for."""
    from PIL import Image

    folder = folder / "media"
    folder.mkdir()
    known = media_files(folder)
    readers: tuple[Callable[[Any], Any], ...] = (
        _image, sample_frames, _frames, _digest_of_image, _digest_of_video, lambda its: check_media({"image": its}, True),
    )  # fmt: skip
    places = (*known.values(), *TEXTS, *({"path": text, "bytes": None} for text in TEXTS))
    for place in places:
        for read in readers:
            yield (read.__name__, place), functools.partial(_read, read, place)
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(whole, "PNG")
    contents = [whole.getvalue(), _video(folder)]
    for number in range(count):
        content = bytearray(contents[number % 2])
        for _ in range(draw.randrange(1, 20)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        cut = bytes(content[: draw.randrange(len(content))] if draw.random() < 0.3 else content)
        given = cut if draw.random() < 0.8 else hostile(draw)
        yield given, functools.partial(_read, readers[draw.randrange(3)], given)


def _video(folder: Path) -> bytes:
    import av

    with av.open(str(folder / "clip.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        for shade in range(6):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), shade * 40, np.uint8), format="rgb24")
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return (folder / "clip.mp4").read_bytes()


def _image(given: Any) -> Any:
    try:
        return decoded(given)
    except UnreadableImage as error:  # which scorers turn into a status
        raise DataselError(f"`image`: {error}") from error


def _frames(given: Any) -> Any:
    return frames_of({"image": given}, 4)


def _digest_of_image(given: Any) -> Any:
    return row_digest({"prompt": "a", "completion": "b", "image": given})


def _digest_of_video(given: Any) -> Any:
    return row_digest({"prompt": "a", "completion": "b", "videos": [given]})


def _read(read: Callable[[Any], Any], given: Any) -> str | None:
    read(given)
    return None


PARSERS: dict[str, Cases] = {
    "labels of rows": labels_of_rows,
    "scores of rows": scored_rows,
    "row digest": digests,
    "chat turns": turns,
    "anchors": anchor_sets,
    "media": media,
}
