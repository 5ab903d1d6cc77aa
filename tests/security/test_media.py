"""Can a row make us read, show or publish a file that is none of its dataset's? Not through a recipe, and not on the Hub."""

from __future__ import annotations

import io
import json
import os
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import Audio, Dataset, Features, Image, List, Value, Video
from datasets.table import InMemoryTable

from hf_datasel import TopCount, publish, select
from hf_datasel.cli import main
from hf_datasel.errors import BadRecipe, BadRow
from hf_datasel.recipe import load_recipe
from hf_datasel.rows.places import named_media, refuse_media_outside
from hf_datasel.rows.video import UnreadableMedia, decoded_frames

from ..vlm import png


SECRET = b"-----BEGIN OPENSSH PRIVATE KEY-----"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A pool's folder with a picture; a secret picture and a secret file beside it, and links from within."""
    own = tmp_path / "pool"
    (own / "pictures").mkdir(parents=True)
    (own / "pictures" / "cat.png").write_bytes(png(1))
    (tmp_path / "secret.png").write_bytes(png(2))
    (tmp_path / "key").write_bytes(SECRET)
    (own / "link.png").symlink_to(tmp_path / "secret.png")
    (own / "pictures" / "up").symlink_to(tmp_path)
    return own


def outside(folder: Path) -> list[str]:
    return [
        "/etc/passwd", str(folder / "../secret.png"), os.path.relpath(folder.parent / "secret.png"), "../../secret.png",
        str(folder / "link.png"), str(folder / "pictures/up/secret.png"), f"file://{folder.parent}/secret.png",
        f"file:{folder.parent}/secret.png", "https://127.0.0.1/a.png", "http:127.0.0.1/a.png", "data:,a",
        f"zip://a.png::{folder}/a.zip", str(folder.parent / "pool-too" / "a.png"), f"{folder}\0/../x",
    ]  # fmt: skip


def recipe(folder: Path, pool: str, **more: Any) -> Path:
    values = {
        "pool": {"path": pool, **more},
        "score": {"scorers": [{"ResponseLength": {}}]},
        "select": {"TopCount": {"column": "response_length", "count": 1}},
        "publish": {"repo_id": "tester/rows", "license": "mit"},
    }
    (folder.parent / "recipe.yaml").write_text(yaml.safe_dump(values))
    return folder.parent / "recipe.yaml"


def as_jsonl(folder: Path, place: str) -> str:
    row = {"prompt": "<image> What?", "completion": "A cat.", "image": place}
    (folder / "pool.jsonl").write_text(json.dumps(row) + "\n")
    return "pool/pool.jsonl"


def table(rows: list[dict[str, Any]], **media: Any) -> pa.Table:
    """Rows as somebody else may have written them: `datasets` itself would look for the files."""
    texts = dict.fromkeys([name for name in rows[0] if name not in media and name != "s"], Value("string"))
    numbers = {"s": Value("float64")} if "s" in rows[0] else {}
    return pa.Table.from_pylist(rows, schema=Features({**texts, **numbers, **media}).arrow_schema)


def as_parquet(folder: Path, place: str) -> str:
    row = {"prompt": "<image> What?", "completion": "A cat.", "images": [{"bytes": None, "path": place}]}
    pq.write_table(table([row], images=List(Image())), folder / "pool.parquet")
    return "pool/pool.parquet"


def as_nested(folder: Path, place: str) -> str:
    row = {"text": "A cat.", "shots": [{"of": {"bytes": None, "path": place}}]}
    pq.write_table(table([row], shots=List({"of": Image()})), folder / "pool.parquet")
    return "pool/pool.parquet"


@pytest.mark.parametrize("write", [as_jsonl, as_parquet, as_nested])
def test_a_recipe_refuses_rows_that_name_other_files(
    write: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)  # where "file:/etc/passwd" would be a place within
    for place in outside(folder):
        with pytest.raises(BadRecipe, match=r"expected media in the dataset or files under '.*pool'.*`media_root`"):
            load_recipe(recipe(folder, write(folder, place)))
    named = str(folder / "pictures" / "cat.png")
    assert list(named_media(load_recipe(recipe(folder, write(folder, named))).pool_rows)) != []


def test_another_folder_is_allowed_by_name(folder: Path) -> None:
    pool = as_jsonl(folder, str(folder.parent / "secret.png"))
    assert len(load_recipe(recipe(folder, pool, media_root=".")).pool_rows) == 1
    with pytest.raises(BadRecipe, match=r"files under '.*pictures'"):
        load_recipe(recipe(folder, pool, media_root="pool/pictures"))


def test_anchors_and_evaluation_are_held_to_the_same(folder: Path) -> None:
    path = recipe(folder, as_jsonl(folder, str(folder / "pictures" / "cat.png")))
    (folder / "other.jsonl").write_text('{"prompt": "a", "completion": "b", "image": "/etc/passwd"}\n')
    for section in ("anchors", "train"):
        source = {"path": "pool/other.jsonl"}
        values = source if section == "anchors" else {"target": {"target": "m"}, "evaluation": source}
        with pytest.raises(BadRecipe, match="has '/etc/passwd'"):
            load_recipe(path, {section: values})


def test_media_in_the_dataset_are_called_as_they_like_unless_it_is_a_file_of_yours(folder: Path) -> None:
    def pool(place: str) -> str:
        rows = [{"text": "A cat.", "image": image} for image in ({"bytes": png(1), "path": place}, None)]
        pq.write_table(table(rows, image=Image()), folder / "pool.parquet")
        return "pool/pool.parquet"

    for place in ("cat.png", "/nowhere/at-all.png", "https://127.0.0.1/cat.png"):
        assert len(load_recipe(recipe(folder, pool(place))).pool_rows) == 2
    # `datasets` drops the bytes and reads the file instead, as soon as rows are mapped.
    assert Image().encode_example({"bytes": png(1), "path": "/etc/passwd"})["bytes"] is None
    with pytest.raises(BadRecipe, match="`image` has '/etc/passwd'"):
        load_recipe(recipe(folder, pool("/etc/passwd")))


def test_rows_of_the_hub_may_name_nothing_of_this_machine(hub: Any, folder: Path) -> None:
    as_parquet(folder, str(folder / "pictures" / "cat.png"))
    hub.plant("acme/rows", files={"train.parquet": (folder / "pool.parquet").read_bytes()})
    with pytest.raises(BadRecipe, match=r"cat\.png', expected media in the dataset or files under"):
        load_recipe(recipe(folder, "acme/rows"))


def test_pictures_that_came_with_a_dataset_of_the_hub_are_its_own(hub: Any, folder: Path) -> None:
    lines = b'{"file_name": "cat.png", "prompt": "<image> What?", "completion": "A cat."}\n'
    hub.plant("acme/cats", files={"train/cat.png": png(1), "train/metadata.jsonl": lines})
    assert load_recipe(recipe(folder, "acme/cats")).pool_rows[0]["image"].size


KINDS = {"image": Image(), "images": List(Image()), "video": Video(), "sound": Audio(), "shots": List({"of": Image()})}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("light", [False, True])
def test_publishing_takes_no_file_along_that_was_not_named(name: str, light: bool, hub: Any, folder: Path) -> None:
    place = {"bytes": None, "path": str(folder.parent / "key")}
    value: Any = {"images": [place], "shots": [{"of": place}]}.get(name, place)
    rows = [{"text": text, "s": 1.0, name: value} for text in "ab"]
    chosen = select(Dataset(InMemoryTable(table(rows, **{name: KINDS[name]}))), TopCount("s", 1))
    for dry_run in (None, folder / "tree"):
        if light:  # which leaves the column out
            publish(chosen, "tester/rows", plots=False, light=True, dry_run=dry_run, token=hub.token)
            continue
        with pytest.raises(BadRow, match=f"`{name}` has '.*key', expected media in the dataset: .*`media_roots`"):
            publish(chosen, "tester/rows", plots=False, dry_run=dry_run, token=hub.token)
    written = [path.read_bytes() for path in (folder / "tree").rglob("*") if path.is_file()]
    sent = [content for repo in hub.repos.values() for content in repo.head.files.values()]
    assert bool(sent) == light and all(SECRET not in content for content in [*written, *sent])


def test_a_run_publishes_and_shows_the_pictures_of_its_own_folder(hub: Any, folder: Path, capsys: Any) -> None:
    path = recipe(folder, as_parquet(folder, str(folder / "pictures" / "cat.png")))
    run = folder.parent / "run"
    assert main(["publish", str(path), "--output-dir", str(run)]) == 0, capsys.readouterr().err
    assert main(["report", str(run)]) == 0
    as_parquet(folder, str(folder.parent / "key"))  # the same file, with other rows
    assert main(["report", str(run)]) == 1
    assert "expected media in the dataset or files under" in capsys.readouterr().err


@pytest.fixture
def listener() -> Iterator[tuple[int, list[str]]]:
    """A port of this machine, and what was asked of it."""
    asked: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, asked
    server.shutdown()
    server.server_close()


def test_the_decoder_of_videos_follows_nothing(listener: tuple[int, list[str]], tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed")
    port, asked = listener
    with pytest.raises(av.FFmpegError):
        av.open(f"http:127.0.0.1:{port}/itself")
    assert asked == ["/itself"]  # to the decoder this is an address, without any "//"
    asked.clear()
    film = io.BytesIO()
    with av.open(film, "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for packet in (*stream.encode(av.VideoFrame(64, 48, "yuv420p")), *stream.encode()):
            container.mux(packet)
    (tmp_path / "secret.ts").write_bytes(film.getvalue())
    assert len(decoded_frames(str(tmp_path / "secret.ts"), lambda count, _: range(count))) == 1
    lists = {"a.txt": f"ffconcat version 1.0\nfile secret.ts\nfile http:127.0.0.1:{port}/x\n"}
    lists["a.m3u8"] = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\n{tmp_path}/secret.ts\n#EXT-X-ENDLIST\n"
    lists["a.sdp"] = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 33\n"
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        for video in (text.encode(), str(tmp_path / name), {"bytes": text.encode(), "path": None}):
            with pytest.raises(UnreadableMedia):
                decoded_frames(video, lambda count, _: range(count))
    for place in (
        f"http:127.0.0.1:{port}/direct",
        f"concat:{tmp_path}/secret.ts",
        f"file:{tmp_path}/secret.ts",
        "%d.png",
    ):
        with pytest.raises(UnreadableMedia):
            decoded_frames(place, lambda count, _: range(count))
    assert asked == []


def test_no_root_allows_no_file(folder: Path) -> None:
    rows = Dataset.from_dict({"image": [str(folder / "pictures" / "cat.png")]})
    with pytest.raises(BadRow, match=r"expected media in the dataset: .*`roots`\.$"):
        refuse_media_outside(rows, [])


def test_the_python_of_the_page_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    (code,) = re.findall(
        r"```python\n(.*?)```", (root / "docs" / "security.md").read_text(encoding="utf-8"), re.DOTALL
    )
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 (our own page)
    assert len(names["pool"]) == 600


def test_every_test_that_the_page_names_is_there() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "security.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+\.py)`", page))
    assert named <= {path.name for path in (root / "tests" / "security").iterdir()} and len(named) >= 6
    assert (root / "tests" / "reports" / "test_page_markup.py").is_file()
