"""Who a row is: a content digest that survives shuffling, mapping and another process."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from hf_datasel.errors import BadRow, shown


if TYPE_CHECKING:
    from datasets import Dataset

ROW_ID = "row_id"

# What a row trains on, in every format TRL's SFT accepts. Anything else in a row is a remark about it.
CONTENT_COLUMNS = (
    "text", "messages", "conversations", "prompt", "completion", "input_ids", "labels", "completion_mask",
    "assistant_masks", "tools", "chat_template_kwargs", "image", "images", "video", "videos",
)  # fmt: skip
MEDIA_COLUMNS = ("image", "images", "video", "videos")


def row_digest(row: Mapping[str, Any], text_field: str = "text") -> str:
    """Digest of what a row trains on: 16 hexadecimal digits, the same in every process and column order.

    Columns that are not training content (scores, sources, ids) do not count, so a scored row keeps its digest. A row
    of a plain table, without any training content, counts whole.

    Args:
        row: one row. Media best undecoded (`{"bytes", "path"}`, or a path): the bytes of the file count, wherever it lies,
            and nothing is decoded; a path that leads to no file that can be read counts itself. A PIL image counts by its pixels, which is
            another digest than its file's.
        text_field: the column of plain text, where training is told another name than `text`.

    Raises:
        BadRow: a value is no text, number, list or undecoded media, or lies within itself.

    Example:
        >>> row_digest({"text": "1 + 1 = 2"}) == row_digest({"text": "1 + 1 = 2", "score": 0.5})
        True
    """
    names = [name for name in row if name in CONTENT_COLUMNS or name == text_field]
    content = {name: row[name] for name in names if row[name] is not None} or dict(row)
    try:
        for name in MEDIA_COLUMNS:
            if name in content:
                content[name] = _media(content[name], paths=True)
        canonical = _CANONICAL.encode(content)
    except (ValueError, TypeError, RecursionError) as error:
        raise BadRow(
            f"`row` holds what has no text of its own ({shown(str(error))}), expected text, numbers, lists or undecoded media."
        ) from error
    return blake2b(canonical.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def values_digest(values: Iterable[Any]) -> str:
    """Digest of a column's values in their order: 24 hexadecimal digits, the same in every process.

    Example:
        >>> values_digest(["a", None]) == values_digest([None, "a"])
        False
    """
    hasher = blake2b(digest_size=12)
    for value in values:
        canonical = _CANONICAL.encode(_media(value))
        hasher.update(f"{canonical}\n".encode("utf-8", "surrogatepass"))
    return hasher.hexdigest()


def _media(value: Any, paths: bool = False) -> Any:
    """Media by the bytes of their files: a path changes when a dataset is saved, what is in the file does not.

    Args:
        value: of a column, or a part of it.
        paths: whether text in it is the path of a file, as in a column of media.
    """
    if isinstance(value, list | tuple):
        return [_media(part, paths) for part in value]
    if isinstance(value, Mapping) and value.get("bytes") is not None:
        return {"bytes": value["bytes"]}
    if paths and isinstance(value, bytes | bytearray):
        return {"bytes": value}
    is_file = isinstance(value, Mapping) and set(value) == {"bytes", "path"}
    path = value["path"] if is_file else value if paths else None
    if isinstance(path, str) and os.path.isfile(path):
        try:
            return {"bytes": _file_digest(path)}
        except OSError:  # there, and not to be read: its row gets a status when it is scored
            return value
    return value


def _file_digest(path: str) -> str:
    hasher = blake2b(digest_size=16)
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            hasher.update(part)
    return hasher.hexdigest()


def _canonical(value: Any) -> Any:
    if isinstance(value, bytes | bytearray):
        return blake2b(value, digest_size=16).hexdigest()
    if hasattr(value, "tobytes") and hasattr(value, "mode"):  # a PIL image
        try:
            pixels = value.tobytes()
        except OSError as error:  # of an opened file they are read late; its row gets a status when it is scored
            pixels = f"unreadable: {error}".encode()
        return [value.mode, list(value.size), blake2b(pixels, digest_size=16).hexdigest()]
    if hasattr(value, "tolist"):  # numpy arrays and scalars
        return value.tolist()
    raise BadRow(f"`row` holds a {type(value).__name__}, expected text, numbers, lists or undecoded media.")


_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, default=_canonical)  # made once, not for every row


def with_row_ids(dataset: Dataset) -> Dataset:
    """The dataset with a unique `row_id` column, added from the rows' content where there is none.

    Copies of a row get `-1`, `-2`, … behind the digest, in dataset order. A `row_id` column of the user's is kept.

    Raises:
        BadRow: the user's `row_id` column names two rows alike.

    Example:
        >>> from datasets import Dataset
        >>> with_row_ids(Dataset.from_dict({"text": ["a", "b", "a"]}))["row_id"][2][-2:]
        '-1'
    """
    if ROW_ID in dataset.column_names:
        counts = Counter(dataset[ROW_ID])
        repeated = [row_id for row_id, count in counts.items() if count > 1]
        if repeated:
            raise BadRow(
                f"`{ROW_ID}` names {len(repeated)} values more than once (first: {repeated[0]!r}), expected unique "
                f"ids. Rename the column, or make its values unique."
            )
        return dataset
    # Numbers until the end: 8 bytes a row, where texts and a count of each take 300.
    digests = np.fromiter((int(row_digest(row), 16) for row in _rows_of(content_only(dataset))), np.uint64)
    before = _equal_before(digests)
    parts = []
    for start in range(0, len(digests), 65_536):
        texts = [f"{number:016x}" for number in digests[start : start + 65_536].tolist()]
        if before is not None:
            copies = before[start : start + 65_536].tolist()
            texts = [f"{text}-{copy}" if copy else text for text, copy in zip(texts, copies, strict=True)]
        parts.append(pa.array(texts, pa.string()))
    # datasets' own would pickle every id.
    fingerprint = blake2b(dataset._fingerprint.encode() + digests.tobytes(), digest_size=8).hexdigest()
    return dataset.add_column(ROW_ID, pa.chunked_array(parts, pa.string()), new_fingerprint=fingerprint)


def _rows_of(dataset: Dataset) -> Iterator[dict[str, Any]]:
    """Every row; a few at a time where the dataset has no format, which takes a third of the time."""
    if dataset.format["type"] is not None:
        yield from dataset
        return
    for batch in dataset.iter(batch_size=100):
        for values in zip(*batch.values(), strict=True):
            yield dict(zip(batch, values, strict=True))


def _equal_before(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64] | None:
    """How many equal numbers come before each, (N,); None where all differ."""
    ordered = np.sort(numbers)
    if not (ordered[1:] == ordered[:-1]).any():
        return None
    order = np.argsort(numbers, kind="stable")
    starts = np.flatnonzero(np.append(True, numbers[order[1:]] != numbers[order[:-1]]))
    before = np.empty(len(numbers), np.int64)
    before[order] = np.arange(len(numbers)) - np.repeat(starts, np.diff(np.append(starts, len(numbers))))
    return before


def content_only(dataset: Dataset, *text_fields: str) -> Dataset:
    """The dataset's training content (or all of it, where there is none), with images and videos left encoded.

    Args:
        dataset: N rows.
        text_fields: other names of columns of plain text.
    """
    content = (*CONTENT_COLUMNS, *text_fields)
    names = [name for name in dataset.column_names if name in content] or dataset.column_names
    return with_encoded_media(dataset.select_columns(names))


def with_encoded_media(dataset: Dataset) -> Dataset:
    """The dataset with images and videos left as `{"bytes", "path"}`, in every column."""
    for name, feature in dataset.features.items():
        encoded = undecoded(feature)
        if encoded != feature:
            # A column of images is only told apart otherwise; `cast` would write every picture to disk once more, as it
            # still does for lists of them.
            dataset = dataset.cast_column(name, encoded)
    return dataset


def undecoded(feature: Any) -> Any:
    """A feature with its images and videos undecoded, however deep they lie."""
    from datasets import Image, LargeList, List, Video

    if isinstance(feature, Image | Video):
        return type(feature)(decode=False)
    if isinstance(feature, List | LargeList):
        return type(feature)(undecoded(feature.feature))
    if isinstance(feature, dict):
        return {name: undecoded(part) for name, part in feature.items()}
    return feature
