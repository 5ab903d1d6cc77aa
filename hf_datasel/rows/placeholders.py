"""Whether the texts of a row hold as many placeholders as it has images.

Processors check it themselves since transformers 5.23, which Python 3.10 never gets; before, an image too many is left out
without a word, and a placeholder too many stops the whole scoring.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def check_placeholders(example: Mapping[str, Any], processor: Any, text_field: str) -> None:
    """Refuse a row in which placeholders and images do not pair off.

    In a conversation images have parts of their own, which TRL counts: its texts hold no placeholder at all.

    Args:
        example: a row with `images`, a list.
        processor: says what a placeholder is.
        text_field: the column of a row of plain text.

    Raises:
        ValueError: another number of placeholders than of images, or a placeholder where no image goes.

    Example:
        >>> from types import SimpleNamespace
        >>> row = {"prompt": "<image> what?", "completion": " a cat", "images": ["one", "two"]}
        >>> check_placeholders(row, SimpleNamespace(image_token="<image>"), "text")
        Traceback (most recent call last):
        ValueError: `prompt` has 1 of <image>, expected the number of images, 2
    """
    token = getattr(processor, "image_token", None)
    if not isinstance(token, str):
        return
    is_pair, is_conversation = "prompt" in example, "messages" in example
    for name in ("prompt", "completion") if is_pair else ("messages",) if is_conversation else (text_field,):
        value = example.get(name)
        found = _count(value, token)
        expected = len(example["images"]) if isinstance(value, str) and name != "completion" else 0
        if found and not expected:
            raise ValueError(f"`{name}` has {found} of {token}, and no images for them")
        if found != expected:
            raise ValueError(f"`{name}` has {found} of {token}, expected the number of images, {expected}")


def _count(value: Any, token: str) -> int:
    if isinstance(value, str):
        return value.count(token)
    if isinstance(value, Mapping):
        return sum(_count(part, token) for part in value.values())
    return sum(_count(part, token) for part in value) if isinstance(value, list | tuple) else 0
