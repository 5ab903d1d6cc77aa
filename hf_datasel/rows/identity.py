"""Who a row is: a content digest that survives shuffling, mapping and another process."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

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
    names = (*CONTENT_COLUMNS, text_field)
    content = {name: row[name] for name in names if row.get(name) is not None} or dict(row)
    try:
        content |= {name: _media(content[name], paths=True) for name in MEDIA_COLUMNS if name in content}
        canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, default=_canonical)
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
        canonical = json.dumps(_media(value), sort_keys=True, ensure_ascii=False, default=_canonical)
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
    seen: Counter[str] = Counter()
    ids = []
    for row in content_only(dataset):
        digest = row_digest(row)
        ids.append(f"{digest}-{seen[digest]}" if seen[digest] else digest)
        seen[digest] += 1
    return dataset.add_column(ROW_ID, ids)


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
