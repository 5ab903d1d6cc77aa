"""Rows with images: decoded here, once, and turned into exactly what SFTTrainer's vision collator makes of them.

The collator itself does it, one row at a time: no second reading of templates and placeholders that could differ.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hf_datasel.errors import BadRow, MissingExtra, shown
from hf_datasel.rows.placeholders import check_placeholders


if TYPE_CHECKING:
    import torch

    from hf_datasel.rows.labels import Labels

IMAGES, VIDEOS = ("image", "images"), ("video", "videos")
TURNS = ("messages", "prompt", "completion", "conversations")
CARRIERS = ("image", "image_url", "video", "video_url", "url", "path", "base64")  # keys of a message's part
NO_IMAGE = "no_image"
UNREADABLE_IMAGE = "unreadable_image"
UNREADABLE_VIDEO = "unreadable_video"
IMAGE_CUT = "image_cut_by_truncation"
# Inputs of a model with one number per token, which are cut and padded as the tokens are.
PER_TOKEN = ("token_type_ids", "mm_token_type_ids")


NO_CHAT_TEMPLATE = (
    "`proxy` has no chat template, expected one for rows with messages. Use a proxy that has one (an instruct model), save a "
    "template with its tokenizer or processor, or turn the rows into `prompt` and `completion` texts."
)


class UnreadableImage(Exception):
    """A file that holds no image."""


def check_media(row: Mapping[str, Any], reads_images: bool) -> None:
    """Say that a row holds what would be left out of training and of scores.

    Raises:
        BadRow: videos without frames beside them, which TRL does not train on, images for a model without eyes, two columns
            of images, of which TRL drops one, or media within messages, which are read from `images` alone.
    """
    videos = [name for name in VIDEOS if row.get(name) is not None]
    if videos and not is_vision_row(row):
        raise BadRow(
            f"`row` has a column {videos[0]!r}, expected its frames as `images`: SFTTrainer does not train on videos. Sample "
            f"them with `hf_datasel.rows.with_frames(dataset)`."
        )
    images = [name for name in IMAGES if row.get(name) is not None]
    if images and not reads_images:
        raise BadRow(
            f"`row` has a column {images[0]!r} and the model reads text only, expected a vision-language model saved with "
            f"its processor. Use one, or remove the column."
        )
    if reads_images and all(name in row for name in IMAGES):
        raise BadRow(
            "`row` has the columns 'image' and 'images', expected one of them: SFTTrainer trains on 'image' alone and drops "
            "the other. Remove the column that is not meant."
        )
    for name in TURNS:
        part = _inner_media(row.get(name))
        if part is not None:
            raise BadRow(
                f"`{name}` holds the media themselves ({str(part)[:80]}), expected them in a column `images`, and "
                f'{{"type": "image"}} where they stand. Nothing here goes to the network: download what is a URL.'
            )


def _inner_media(turns: Any) -> Mapping[str, Any] | None:
    """The first part of a list of messages that carries a picture or a video, or names one."""
    for turn in turns if isinstance(turns, list | tuple) else ():
        content = turn.get("content") if isinstance(turn, Mapping) else None
        for part in content if isinstance(content, list | tuple) else ():
            if _is_picture(part) and any(part.get(name) is not None for name in CARRIERS):
                return part  # type: ignore[no-any-return]
    return None


def is_vision_row(row: Mapping[str, Any]) -> bool:
    """Whether SFTTrainer would take the row's dataset for one of images: by its columns, whatever they hold."""
    return any(name in row for name in IMAGES)


def holds_media(row: Mapping[str, Any]) -> bool:
    """Whether a row has an image at all: an empty list is a row of text, and so is null.

    Example:
        >>> holds_media({"images": []}), holds_media({"image": "cat.png"})
        (False, True)
    """
    return bool(row.get("images")) or row.get("image") is not None


def images_of(row: Mapping[str, Any]) -> list[Any]:
    """The images of a row, whichever of the two columns holds them; a null where one should be.

    Raises:
        BadRow: `images` is no list.

    Example:
        >>> images_of({"image": "cat.png"}), images_of({"images": []}), images_of({"images": None})
        (['cat.png'], [], [None])
    """
    images = row.get("images")
    if images is not None and not isinstance(images, list | tuple):
        raise BadRow(f"`images` is {shown(images)}, expected a list of images, or the column `image`.")
    return list(images) if images is not None else [row.get("image")]


def missing_media(row: Mapping[str, Any]) -> str | None:
    """The status of a row of images that has none, or not all; `None` where it has what it should.

    Example:
        >>> missing_media({"images": None}), missing_media({"images": None, "video": "clip.mp4"})
        ('no_image', 'unreadable_video')
    """
    if all(image is not None for image in images_of(row)):
        return None
    # `with_frames` leaves a null where a video has no frames to give.
    videos = row.get("videos") or [row.get("video")]
    return NO_IMAGE if any(video is None for video in videos) else UNREADABLE_VIDEO


def lone_placeholder(input_ids: list[int], media: Mapping[str, Any], processor: Any) -> str | None:
    """The placeholder that stands in a row's tokens for something the row does not hold."""
    if not media and image_token(processor) in input_ids:
        return str(processor.image_token)
    return str(processor.video_token) if getattr(processor, "video_token_id", None) in input_ids else None


def without_media(row: Mapping[str, Any], processor: Any) -> dict[str, Any]:
    """The row as one of text: no images, and no placeholders where they stood (with the white space behind them).

    Args:
        row: texts, or messages with texts or parts.
        processor: says what a placeholder is.
    """
    names = [getattr(processor, name, None) for name in ("image_token", "boi_token")]
    tokens = "|".join(re.escape(name) for name in names if isinstance(name, str))
    # Qwen-VL's texts hold the tokens around an image, too; other processors write theirs themselves.
    placeholder = re.compile(rf"(?:<\|vision_start\|>)?(?:{tokens})(?:<\|vision_end\|>)?\s*")
    plain = {name: _blind(value, placeholder) for name, value in row.items() if name not in (*IMAGES, *VIDEOS)}
    return {**plain, "images": []}


def _blind(value: Any, placeholder: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return placeholder.sub("", value)
    if isinstance(value, list | tuple):
        return [_blind(part, placeholder) for part in value if not _is_picture(part)]
    if isinstance(value, Mapping):
        return {name: _blind(part, placeholder) for name, part in value.items()}
    return value


def _is_picture(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") in ("image", "image_url", "video")


def read_vision_row(
    row: Mapping[str, Any], processor: Any, labels: Labels
) -> tuple[list[int], list[int], dict[str, torch.Tensor]]:
    """Tokens, labels and the model's other inputs of one row, whole.

    Args:
        row: with `image` or `images` (a list, empty for a row of text): encoded (`{"bytes", "path"}`), paths or PIL images.
        processor: of the model.
        labels: the options shared with training.

    Raises:
        UnreadableImage: an image cannot be decoded.
        BadRow: an image is a URL, `truncation_mode` is `"keep_end"`, or the processor has no chat template for messages.
    """
    if labels.truncation_mode == "keep_end" and labels.max_length is not None:
        raise BadRow(
            "`truncation_mode` is 'keep_end', expected 'keep_start' for rows with images, as SFTTrainer does: the other end "
            "would cut images off. Set it in `labels`, or max_length=None."
        )
    example = {name: value for name, value in row.items() if name not in IMAGES}
    if processor.chat_template is None and any(isinstance(example.get(name), list | tuple) for name in TURNS):
        raise BadRow(NO_CHAT_TEMPLATE)
    example["images"] = [decoded(image) for image in images_of(row)]
    check_placeholders(example, processor, labels.dataset_text_field)
    encoded = _collator(row, processor, labels)([example])
    input_ids = [int(token) for token in encoded.pop("input_ids")[0]]
    targets = [int(token) for token in encoded.pop("labels")[0]]
    encoded.pop("attention_mask")
    return input_ids, targets, {name: value for name, value in encoded.items() if hasattr(value, "shape")}


def cut_media(media: dict[str, torch.Tensor], length: int) -> dict[str, torch.Tensor]:
    """The same inputs for the row's first `length` tokens."""
    return {name: value[:, :length] if name in PER_TOKEN else value for name, value in media.items()}


def image_token(processor: Any) -> int:
    """The id of the token that stands for a piece of an image."""
    own = getattr(processor, "image_token_id", None)
    return int(processor.tokenizer.convert_tokens_to_ids(processor.image_token) if own is None else own)


def decoded(image: Any) -> Any:
    """A PIL image, turned upright and read from memory or disk as `datasets` does.

    Raises:
        UnreadableImage: there is no image.
        BadRow: it is a URL.
    """
    from datasets import Image

    if isinstance(image, str):
        image = {"path": image, "bytes": None}
    elif isinstance(image, bytes | bytearray):
        image = {"path": None, "bytes": bytes(image)}
    elif isinstance(image, Mapping):
        image = {"path": image.get("path"), "bytes": image.get("bytes")}
        if image["path"] is None and image["bytes"] is None:
            raise UnreadableImage("neither bytes nor path")
    elif not hasattr(image, "getexif"):
        raise UnreadableImage(f"{type(image).__name__} instead of an image")
    else:
        return _loaded(image)
    if image["bytes"] is None:
        _check_path(image["path"])
    try:
        return Image().decode_example(image)
    except ImportError as error:
        raise MissingExtra(
            "Rows with images need Pillow. Install it with: pip install 'hf_datasel[images]'"
        ) from error
    except Exception as error:  # decoders raise whatever a broken file leads them to
        said = re.sub(r"<_io\.BytesIO object at \w+>", "bytes", str(error))  # an address is another in each process
        raise UnreadableImage(f"{type(error).__name__}: {said}") from error


def _check_path(path: Any) -> None:
    """Refuse what is not to be opened: a URL is a fault of the dataset, anything else of the row."""
    if not isinstance(path, str):
        raise UnreadableImage(f"{type(path).__name__} instead of a path")
    if "://" in path:
        raise BadRow(
            f"`image` is {path[:80]!r}, expected an image in the dataset or a local file: scoring does not go to the "
            f"network. Download it first, for instance with `dataset.cast_column('image', datasets.Image())` and "
            f"`save_to_disk`."
        )
    if os.path.exists(path) and not os.path.isfile(path):  # pipes would be waited for, and devices never end
        raise UnreadableImage("no file: a folder, a pipe or a device")


def _loaded(image: Any) -> Any:
    """A PIL image that holds its pixels: of an opened file they are read late, and may be broken."""
    try:
        image.load()
    except Exception as error:  # see `decoded`
        raise UnreadableImage(f"{type(error).__name__}: {error}") from error
    return image


def _collator(row: Mapping[str, Any], processor: Any, labels: Labels) -> Any:
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    from hf_datasel.rows.labels import training_template, trl_is_older_than

    assistant_only: dict[str, Any] = {}
    if labels.assistant_only_loss and trl_is_older_than(1, 15):  # the last for Python 3.10 is 1.14
        raise BadRow(
            "`assistant_only_loss` is True for rows with images, which SFTTrainer takes since TRL 1.15. Use Python 3.11 or "
            "newer and upgrade TRL, or leave it False."
        )
    if labels.assistant_only_loss:
        assistant_only = {"assistant_only_loss": True, "chat_template": training_template(processor)}
    completion_only = labels.completion_only_loss
    if completion_only is None:
        completion_only = "prompt" in row and "completion" in row
    return DataCollatorForVisionLanguageModeling(
        processor=processor,
        max_length=None,  # cut later, where an image that is cut can be seen
        completion_only_loss=completion_only,
        dataset_text_field=labels.dataset_text_field,
        **assistant_only,
    )
