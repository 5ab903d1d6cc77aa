"""Everything below a folder, as it lies there and unpacked, to look for a secret in it."""

from __future__ import annotations

import base64
import gzip
import io
import re
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


PACKED = re.compile(rb"[A-Za-z0-9+/]{200,}={0,2}")


def forms(secret: str) -> list[bytes]:
    """A secret as it may be written: plain, backwards, in hexadecimal, for an address, in base64 at any offset."""
    raw = secret.encode()
    found = [raw, raw[::-1], raw.hex().encode(), quote(secret, safe="").encode()]
    for offset in range(3):  # the characters at both ends depend on the neighbours
        coded = base64.b64encode(b"\0" * offset + raw)
        found.append(coded[4:-4])
        found.append(base64.urlsafe_b64encode(b"\0" * offset + raw)[4:-4])
    return found


def leaks(secret: str, place: str, content: bytes) -> list[str]:
    return [f"{place}: {form!r}" for form in forms(secret) for its in unpacked(place, content) if form in its]


def unpacked(name: str, content: bytes) -> Iterator[bytes]:
    """A file's bytes, and what they hold in packed form."""
    yield content
    if name.endswith(".parquet"):
        table = pq.read_table(io.BytesIO(content))
        yield str(table.to_pylist()).encode()
        yield str(table.schema.metadata).encode()
    elif name.endswith(".arrow"):
        try:
            yield str(pa.ipc.open_stream(io.BytesIO(content)).read_all().to_pylist()).encode()
        except pa.ArrowInvalid:
            yield str(pa.ipc.open_file(io.BytesIO(content)).read_all().to_pylist()).encode()
    elif name.endswith(".png"):
        yield str(Image.open(io.BytesIO(content)).info).encode()
    elif name.endswith(".html"):
        for block in PACKED.findall(content):  # the rows of the report page
            plain = base64.b64decode(block + b"=" * (-len(block) % 4))
            yield gzip.decompress(plain) if plain[:2] == b"\x1f\x8b" else plain
    elif zipfile.is_zipfile(io.BytesIO(content)):  # what torch.save writes
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            yield from (archive.read(member) for member in archive.namelist())


def files_below(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of files; of a journal, its rows too."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path), path.read_bytes()
            if path.suffix == ".sqlite":
                with closing(sqlite3.connect(path)) as connection:
                    yield f"{path} (rows)", "\n".join(connection.iterdump()).encode()
