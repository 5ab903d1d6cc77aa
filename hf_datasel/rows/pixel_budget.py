"""A budget of pixels: large images are scaled down once, in the dataset, so that scoring and training see the same."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from hf_datasel.errors import BadRow
from hf_datasel.rows.identity import undecoded
from hf_datasel.rows.vision import IMAGES, UnreadableImage, decoded


if TYPE_CHECKING:
    from datasets import Dataset

PNG_MODES = ("1", "L", "LA", "I", "I;16", "RGB", "RGBA")


def within_pixels(dataset: Dataset, max_pixels: int) -> Dataset:
    """The dataset with no image of more than `max_pixels`, width times height; sides keep their proportion.

    For models that take as many tokens for an image as it has room for. Images within the budget keep their bytes, and
    of these only the header is read. Images that cannot be read stay as they are: their rows are not scored, and say so.

    Args:
        dataset: N rows with a column `image` or `images`, of `datasets.Image`.
        max_pixels: of one image.

    Raises:
        BadRow: no column of images, or an image is a URL.
        ValueError: `max_pixels` is not positive.
    """
    if not max_pixels > 0:
        raise ValueError(f"`max_pixels` is {max_pixels}, expected a positive number of pixels.")
    columns = [name for name in IMAGES if name in dataset.column_names]
    own = {name: dataset.features[name] for name in columns}
    if not columns or any(undecoded(feature) == feature for feature in own.values()):
        raise BadRow(
            f"`dataset` has the columns {dict(dataset.features)}, expected `image` or `images` of datasets.Image. Cast it: "
            f"`dataset.cast_column('image', datasets.Image())`."
        )
    for name, feature in own.items():
        dataset = dataset.cast_column(name, undecoded(feature))  # lazily: no image is touched
    dataset = dataset.map(
        _within,
        fn_kwargs={"columns": columns, "max_pixels": max_pixels},
        features=dataset.features,
        desc="Scaling images",
    )
    for name, feature in own.items():
        dataset = dataset.cast_column(name, feature)
    return dataset


def shrunk(image: Any, max_pixels: int | None) -> Any:
    """A PIL image within the budget; the same object where it is already."""
    if max_pixels is None or image.width * image.height <= max_pixels:
        return image
    factor = (max_pixels / (image.width * image.height)) ** 0.5
    # Of a thin strip the short side cannot give way: the long one does.
    width, height = (min(int(max_pixels), max(1, int(side * factor))) for side in image.size)
    return image.resize((width, height))


def _within(row: Any, columns: list[str], max_pixels: int) -> dict[str, Any]:
    def fitted(value: Any) -> Any:
        return [fitted(part) for part in value] if isinstance(value, list) else _fitted(value, max_pixels)

    return {name: fitted(row[name]) for name in columns}


def _fitted(image: Any, max_pixels: int) -> Any:
    if image is None or _size(image) <= max_pixels:
        return image
    try:
        whole = decoded(image)
    except UnreadableImage:
        return image
    if whole.mode not in PNG_MODES:  # colours of a palette cannot be mixed, and PNG files hold none of a printer
        whole = whole.convert("RGBA" if "transparency" in whole.info else "RGB")
    file = io.BytesIO()
    shrunk(whole, max_pixels).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": image.get("path")}


def _size(image: Any) -> int:
    """Pixels by the file's header; 0 where there is none to read."""
    from PIL import Image

    source = image["path"] if image["bytes"] is None else io.BytesIO(image["bytes"])
    if isinstance(source, str) and "://" in source:
        decoded(image)  # says that it is a URL
    try:
        with Image.open(source) as opened:
            return int(opened.width * opened.height)
    except Exception:  # noqa: BLE001 (decoders raise whatever a broken file leads them to)
        return 0
