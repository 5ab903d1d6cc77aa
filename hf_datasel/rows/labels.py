"""The one place where a row becomes tokens and labels: exactly those SFTTrainer trains on.

`SFTTrainer` prepares a whole dataset at once: it seeds the global random state, meets at a barrier and drops rows.
A scorer can afford none of that, so the same steps are taken here row by row, on TRL's own public pieces, and
`tests/rows/test_labels.py` holds the result equal to SFTTrainer's in every format.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from jinja2 import TemplateError

from hf_datasel.errors import BadRow, MissingExtra, shown
from hf_datasel.rows.vision import (
    IMAGE_CUT,
    NO_CHAT_TEMPLATE,
    UNREADABLE_IMAGE,
    UnreadableImage,
    check_media,
    cut_media,
    image_token,
    is_vision_row,
    lone_placeholder,
    missing_media,
    read_vision_row,
)


if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from hf_datasel.rows.reader import Reader

BESIDE_CONTENT = ("tool_calls", "reasoning_content", "thinking")  # what templates write of a message without content
IGNORED = -100  # the label of a token that carries no loss

OK = "ok"
TRUNCATED = "truncated"
EMPTY_COMPLETION = "empty_completion"
EMPTY_TEXT = "empty_text"
MASKED_BY_TRUNCATION = "masked_by_truncation"
NO_LABELS = "no_labels"
LONGER_THAN_CONTEXT = "longer_than_context"
MALFORMED = "malformed"
SCORABLE = frozenset({OK, TRUNCATED})

FORMATS = "`text`, `messages`, `prompt` with `completion`, or `input_ids`"


@dataclass(frozen=True)
class Labels:
    """How rows become tokens and labels. Fields and defaults are SFTConfig's of the same name.

    One object serves scoring and training, so what was scored is what is trained on.

    Args:
        max_length: tokens kept of a row; `None` keeps all.
        truncation_mode: which end is kept.
        completion_only_loss: loss on the completion only; `None` means yes for prompt/completion rows.
        assistant_only_loss: loss on assistant turns only (conversations).
        dataset_text_field: the column of plain-text rows.
        eos_token: replaces the tokenizer's end-of-sequence token.

    Source: `trl.SFTConfig` (TRL 1.16).

    Example:
        >>> Labels(max_length=512).sft_arguments()["max_length"]
        512
    """

    max_length: int | None = 1024
    truncation_mode: Literal["keep_start", "keep_end"] = "keep_start"
    completion_only_loss: bool | None = None
    assistant_only_loss: bool = False
    dataset_text_field: str = "text"
    eos_token: str | None = None

    def __post_init__(self) -> None:
        if self.max_length is not None and self.max_length < 1:
            raise ValueError(f"`max_length` is {self.max_length}, expected at least 1, or None to keep whole rows.")

    def sft_arguments(self) -> dict[str, Any]:
        """The SFTConfig arguments that make SFTTrainer build the same labels."""
        return {**asdict(self), "packing": False}


@dataclass(frozen=True)
class TokenRow:
    """One row as the model sees it.

    Args:
        input_ids: T token ids.
        labels: T ids, `IGNORED` where a token carries no loss.
        status: `"ok"`, `"truncated"` (scored all the same), or why the row cannot be scored.
        media: what the model takes beside tokens, by name (`pixel_values`, `image_grid_thw`, …): one number per token,
            (1, T), for the names in `vision.PER_TOKEN`, else images or their patches in front. Empty for text.
    """

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    status: str
    media: Mapping[str, torch.Tensor] = field(default_factory=dict, compare=False, repr=False)

    @property
    def scorable(self) -> bool:
        """Whether the row has a loss."""
        return self.status in SCORABLE

    @property
    def num_targets(self) -> int:
        """Tokens with a loss. The first token is never a target: nothing comes before it."""
        return sum(label != IGNORED for label in self.labels[1:])


def prepare_tokenizer(
    tokenizer: PreTrainedTokenizerBase, labels: Labels, chat_template: str | None = None
) -> PreTrainedTokenizerBase:
    """Set the end-of-sequence token as SFTTrainer would.

    Args:
        tokenizer: changed in place, and returned.
        labels: the options shared with training.
        chat_template: of the processor that the tokenizer is part of; it comes before the tokenizer's own.

    Raises:
        ValueError: `eos_token` is not in the vocabulary, or the tokenizer has none.
    """
    if labels.eos_token is not None:
        if labels.eos_token not in tokenizer.get_vocab():
            raise ValueError(f"`eos_token` is {labels.eos_token!r}, expected a token of the tokenizer's vocabulary.")
        tokenizer.eos_token = labels.eos_token
    if tokenizer.eos_token is None:
        raise ValueError("`tokenizer` has no end-of-sequence token. Name one with `Labels(eos_token=...)`.")
    if chat_template is not None:
        tokenizer.chat_template = chat_template
    if labels.assistant_only_loss:
        training_template(
            tokenizer
        )  # a template that cannot mark assistant turns is a fault of the set-up, not of a row
    return tokenizer


def check_columns(column_names: Sequence[str], labels: Labels) -> None:
    """Say at once, before any model loads, whether rows with these columns can be trained on.

    Raises:
        BadRow: no format fits.

    Example:
        >>> check_columns(["prompt", "completion", "source"], Labels())
    """
    names = set(column_names)
    if _is_format(names, labels):
        return
    missing = "`completion` is missing beside `prompt`" if "prompt" in names else "no training column found"
    raise BadRow(
        f"`pool` has the columns {sorted(name if isinstance(name, str) else shown(name) for name in names)}: {missing}. Expected {FORMATS}; rename yours to one of these."
    )


def _is_format(names: AbstractSet[str], labels: Labels) -> bool:
    single = {"messages", "conversations", "input_ids", labels.dataset_text_field}
    return bool(names & single) or {"prompt", "completion"} <= names


def token_row(row: Mapping[str, Any], reader: Reader, labels: Labels) -> TokenRow:
    """Tokens and labels of one row, with a status instead of an exception for a bad row.

    Images are decoded here and nowhere else. A row whose list of `images` is empty is one of text, as in training.

    Args:
        row: one row in a format of TRL's SFT.
        reader: a tokenizer prepared by `prepare_tokenizer`, or what `load_reader` gives.
        labels: the options shared with training.

    Raises:
        BadRow: the row has no column of any known format, images for a model that reads text only, a video without frames,
            media within messages, or the URL of an image (faults of the dataset, not of the row).
    """
    check_columns(list(row), labels)
    sees = hasattr(reader, "image_processor")
    check_media(row, sees)
    is_prompt_completion = {"prompt", "completion"} <= row.keys()
    is_vision = sees and is_vision_row(row)
    row = {name: value for name, value in row.items() if value is not None}
    if not _is_format(row.keys(), labels):
        no_completion = is_prompt_completion and "prompt" in row
        return TokenRow((), (), EMPTY_COMPLETION if no_completion else f"{MALFORMED}: its training columns are null")
    media: dict[str, torch.Tensor] = {}
    try:
        if _completion_is_empty(row):
            return TokenRow((), (), EMPTY_COMPLETION)
        if not is_vision and _says_nothing(row, labels):
            return TokenRow((), (), EMPTY_TEXT)
        if not is_vision:
            input_ids, targets = _tokens_and_labels(row, reader.tokenizer if sees else reader, labels)
        elif (missing := missing_media(row)) is not None:  # SFTTrainer stops at a null; at an empty list it does not
            return TokenRow((), (), missing)
        else:
            input_ids, targets, media = read_vision_row(row, reader, labels)
    except UnreadableImage as error:
        return TokenRow((), (), f"{UNREADABLE_IMAGE}: {error}"[:200])
    except (
        TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError, RecursionError, TemplateError
    ) as error:  # fmt: skip
        # What tokenizers and chat templates raise on a broken row; anything else is ours and must be seen.
        return TokenRow((), (), f"{MALFORMED}: {type(error).__name__}: {error}"[:200])
    if sees and (lone := lone_placeholder(input_ids, media, reader)) is not None:
        return TokenRow((), (), f"{MALFORMED}: {lone} in the text, and nothing in the row that it stands for")
    if media and labels.max_length is not None and image_token(reader) in input_ids[labels.max_length :]:
        return TokenRow((), (), IMAGE_CUT)
    return _truncated(input_ids, targets, labels, media)


def _truncated(
    input_ids: list[int], targets: list[int], labels: Labels, media: dict[str, torch.Tensor] | None = None
) -> TokenRow:
    had_targets = any(label != IGNORED for label in targets[1:])
    is_longer = labels.max_length is not None and len(input_ids) > labels.max_length
    if is_longer:
        end = (
            slice(None, labels.max_length)
            if labels.truncation_mode == "keep_start"
            else slice(-(labels.max_length or 0), None)
        )
        input_ids, targets = input_ids[end], targets[end]
    has_targets = any(label != IGNORED for label in targets[1:])
    if has_targets:
        status = TRUNCATED if is_longer else OK
    else:
        status = MASKED_BY_TRUNCATION if is_longer and had_targets else NO_LABELS
        media = None
    return TokenRow(tuple(input_ids), tuple(targets), status, cut_media(media or {}, len(input_ids)))


def _completion_is_empty(row: Mapping[str, Any]) -> bool:
    """Whether there is nothing to learn: SFTTrainer would train such a row on its end-of-sequence token alone."""
    completion = row.get("completion") if "prompt" in row else None
    if completion is None:
        return False
    if isinstance(completion, str):
        return not completion.strip()
    return not any(message.get("content") or message.get("tool_calls") for message in completion)


def _says_nothing(row: Mapping[str, Any], labels: Labels) -> bool:
    """Whether a row of one text, or of messages, holds none: training would see its special tokens alone."""
    if "input_ids" in row or "prompt" in row:
        return False
    names = ("messages", "conversations", labels.dataset_text_field)
    said: Any = next((row[name] for name in names if name in row), ())
    if isinstance(said, str):
        return not said.strip()
    if not isinstance(said, list | tuple) or not said:
        return False  # of no format, or malformed: reading it says why
    if any(turn.get(name) for turn in said for name in BESIDE_CONTENT):
        return False
    return all(_is_blank(turn.get("content", turn.get("value"))) for turn in said)


def _is_blank(content: Any) -> bool:
    return not content.strip() if isinstance(content, str) else isinstance(content, list | tuple) and not any(content)


def _tokens_and_labels(
    row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, labels: Labels
) -> tuple[list[int], list[int]]:
    encoded = row if "input_ids" in row else _tokenized(row, tokenizer, labels)
    if isinstance(encoded["input_ids"], str | bytes):
        raise TypeError(f"`input_ids` is of type {type(encoded['input_ids']).__name__}, expected a list of tokens")
    input_ids = [int(token) for token in encoded["input_ids"]]
    if "labels" in encoded:
        targets = [int(token) for token in encoded["labels"]]
    else:
        targets = _masked(input_ids, row, encoded, labels)
    if len(targets) != len(input_ids):
        raise ValueError(f"`labels` has {len(targets)} entries, expected {len(input_ids)} as `input_ids`")
    if "input_ids" in row:
        size = len(tokenizer)  # once: of 150 thousand tokens it takes microseconds
        odd = [token for token in (*input_ids, *targets) if token != IGNORED and not 0 <= token < size]
        odd += [IGNORED] * (IGNORED in input_ids)
        if odd:
            raise ValueError(f"`input_ids` or `labels` has {odd[0]}, expected tokens below {size}")
    return input_ids, targets


def _masked(input_ids: list[int], row: Mapping[str, Any], encoded: Mapping[str, Any], labels: Labels) -> list[int]:
    completion_only = labels.completion_only_loss
    if completion_only is None:
        completion_only = "prompt" in row and "completion" in row
    masks = [encoded["completion_mask"]] if completion_only and "completion_mask" in encoded else []
    if "assistant_masks" in encoded:
        masks.append(encoded["assistant_masks"])
    if not masks:
        return list(input_ids)
    return [token if all(bits) else IGNORED for token, *bits in zip(input_ids, *masks, strict=False)]


def _tokenized(row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, labels: Labels) -> dict[str, Any]:
    trl = _trl()
    example: dict[str, Any] = dict(row)
    if trl.is_conversational_from_value(example):
        example = trl.maybe_convert_to_chatml(copy.deepcopy(example))  # it renames keys inside the messages
    if not trl.is_conversational(example):
        if labels.assistant_only_loss:
            raise ValueError("`assistant_only_loss` is True, expected a conversation")
        return _tokenized_text(example, tokenizer, labels)
    if tokenizer.chat_template is None:
        raise BadRow(NO_CHAT_TEMPLATE)
    template_arguments = {
        "chat_template": training_template(tokenizer) if labels.assistant_only_loss else None,
        "tools": json.loads(example["tools"]) if isinstance(example.get("tools"), str) else example.get("tools"),
        **example.get("chat_template_kwargs", {}),
    }

    def render(messages: Any, **extra: Any) -> dict[str, Any]:
        encoded: Any = tokenizer.apply_chat_template(
            messages, tokenize=True, return_dict=True, **template_arguments, **extra
        )
        return dict(encoded)

    if "prompt" not in example:
        return render(example["messages"], return_assistant_tokens_mask=labels.assistant_only_loss)
    prompt_ids = render(example["prompt"], add_generation_prompt=True)["input_ids"]
    whole = render(example["prompt"] + example["completion"], return_assistant_tokens_mask=labels.assistant_only_loss)
    return {**whole, "completion_mask": _after(prompt_ids, whole["input_ids"])}


def _tokenized_text(example: dict[str, Any], tokenizer: PreTrainedTokenizerBase, labels: Labels) -> dict[str, Any]:
    eos, field = str(tokenizer.eos_token), labels.dataset_text_field
    ended = "text" if trl_is_older_than(1, 15) else field  # TRL 1.14, the last for Python 3.10, ends no other field
    # A row with both formats: SFTTrainer ends the text field if it is open, then trains on prompt and completion.
    if ended in example and not example[ended].endswith(eos):
        example[ended] += eos
    elif "completion" in example and not example["completion"].endswith(eos):
        example["completion"] += eos
    if "prompt" not in example:
        return {"input_ids": tokenizer(text=example[field])["input_ids"]}
    prompt_ids = tokenizer(text=example["prompt"])["input_ids"]
    whole = tokenizer(text=example["prompt"] + example["completion"])["input_ids"]
    return {"input_ids": whole, "completion_mask": _after(prompt_ids, whole)}


def _after(prompt_ids: list[int], whole: list[int]) -> list[int]:
    """1 from where `whole` leaves the prompt, which is not always after it: tokens may merge across the boundary."""
    length = _trl().common_prefix_length(prompt_ids, whole)
    return [0] * length + [1] * (len(whole) - length)


def training_template(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The chat template that marks assistant turns, where the tokenizer's own does not."""
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers

    template = tokenizer.chat_template
    if template is not None and has_generation_markers(template):
        return None
    return str(get_training_chat_template(tokenizer))


def trl_is_older_than(*release: int) -> bool:
    """Whether the installed TRL is from before the release with these first numbers."""
    import trl

    return tuple(int(part) for part in trl.__version__.split(".")[: len(release)]) < release


def _trl() -> Any:
    try:
        from trl import data_utils

        # Its absence met later would be taken for a fault of the row, and of every row.
        from trl.data_utils import common_prefix_length  # noqa: F401
    except ImportError as error:
        raise MissingExtra(
            "Reading rows needs TRL 1.14.2 or newer. Install it with: pip install 'hf_datasel[models]'"
        ) from error
    return data_utils
