"""Where the media of a dataset lie that it does not hold itself: which files its rows name, and whether they may be read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from os.path import isfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_datasel.errors import BadRow
from hf_datasel.rows.identity import MEDIA_COLUMNS


if TYPE_CHECKING:
    from datasets import Dataset

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")  # of two letters at least: one is a drive


def refuse_urls(dataset: Dataset) -> None:
    """Say before anything runs that a row names an image or a video on the network. Nothing is decoded.

    Raises:
        BadRow: one does.
    """
    for name, place in named_media(dataset):
        if name in MEDIA_COLUMNS and "://" in place:
            raise BadRow(
                f"`{name}` has {place[:80]!r}, expected media in the dataset or local files: scoring does "
                f"not go to the network. Download them first, put their paths in the column, and "
                f"`cast_column({name!r}, ...)` to `datasets.Image()` or `datasets.Video()`."
            )


def refuse_media_outside(dataset: Dataset, roots: Sequence[str | Path], argument: str = "roots") -> None:
    """Say that a row names a file that is none of the dataset's own. Nothing is opened or decoded.

    For rows of somebody else's: what they name would be read, shown on the report page and published. Media in the dataset
    itself (with bytes) pass. A symbolic link counts as what it leads to.

    Args:
        dataset: N rows. Columns of media by their features, and `image`, `images`, `video` and `videos` whatever they hold.
        roots: folders under which named files may lie; none: no file may be named.
        argument: what the caller calls `roots`, for the message.

    Raises:
        BadRow: a place is outside of all of them, or no plain path.

    Example:
        >>> from datasets import Dataset
        >>> refuse_media_outside(Dataset.from_dict({"image": ["pictures/cat.png"]}), ["pictures"])
        >>> refuse_media_outside(Dataset.from_dict({"image": ["pictures/../../cat.png"]}), ["pictures"])
        Traceback (most recent call last):
        hf_datasel.errors.BadRow: `image` has 'pictures/../../cat.png', expected media in the dataset or files under 'pictures':
        rows must not choose which of your files are read, shown or published. If these are meant, name their folder as `roots`.
    """
    allowed = [Path(os.path.realpath(root)) for root in roots]
    for name, place in named_media(dataset):
        inside = not SCHEME.match(place) and any(_real(place).is_relative_to(root) for root in allowed)
        if not inside:
            under = " or ".join(repr(str(root)) for root in roots)
            raise BadRow(
                f"`{name}` has {place[:200]!r}, expected media in the dataset{f' or files under {under}' if under else ''}: rows "
                f"must not choose which of your files are read, shown or published. If these are meant, name their folder as "
                f"`{argument}`."
            )


def named_media(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Column and place of every file that rows name instead of holding it, each place once in a while.

    Of media that a row does hold, a name that leads to a file here counts: `Dataset.map` would put that file in their place.
    """
    import pyarrow.compute as pc
    from datasets.features.features import require_storage_embed

    for name, feature in dataset.features.items():
        if name not in MEDIA_COLUMNS and not require_storage_embed(feature):
            continue
        for table in dataset.select_columns([name]).with_format("arrow").iter(1000):
            for values in table.column(name).chunks:
                for places in _places(feature, values, name in MEDIA_COLUMNS):
                    yield from ((name, str(place)) for place in pc.unique(places).to_pylist() if place)


def _places(feature: Any, values: Any, is_media: bool) -> Iterator[Any]:
    """Arrow arrays of the paths in a column, of a feature that may nest."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if (
        pa.types.is_list(values.type)
        or pa.types.is_large_list(values.type)
        or pa.types.is_fixed_size_list(values.type)
    ):
        yield from _places(getattr(feature, "feature", None), values.flatten(), is_media)
    elif pa.types.is_struct(values.type):
        names = {field.name for field in values.type}
        if names >= {"bytes", "path"} and (is_media or hasattr(feature, "embed_storage")):
            paths, is_named = values.field("path"), pc.is_null(values.field("bytes"))
            yield paths.filter(is_named)
            yield pa.array([path for path in paths.filter(pc.invert(is_named)).to_pylist() if path and isfile(path)])
        elif isinstance(feature, dict):
            for name in names:
                yield from _places(feature[name], values.field(name), is_media)
    elif is_media and (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        yield values


def _real(place: str) -> Path:
    try:
        return Path(os.path.realpath(place))
    except ValueError:  # a null within
        return Path(os.sep)
