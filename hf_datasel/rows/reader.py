"""What reads rows: the tokenizer of a language model, or the processor of one that also sees images."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeAlias

from hf_datasel.errors import DataselError, MissingExtra
from hf_datasel.rows.labels import Labels, prepare_tokenizer


if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Reader: TypeAlias = "PreTrainedTokenizerBase | Any"  # a tokenizer or a processor


def load_reader(model: str, labels: Labels, **code: Any) -> Reader:
    """The tokenizer of a model, or its processor when it sees images, set up as SFTTrainer would.

    Args:
        model: Hub id or local folder.
        labels: settles the end-of-sequence token.
        code: `revision` and `trust_remote_code`.

    Raises:
        MissingExtra: the processor needs a package that is not installed.
        ValueError: see `prepare_tokenizer`.
    """
    from transformers import AutoTokenizer

    reader = _processor(model, **code) if sees_images(model, **code) else None
    if reader is None or not hasattr(reader, "image_processor"):  # a model saved without its processor reads text
        try:
            reader = AutoTokenizer.from_pretrained(model, **{"trust_remote_code": False, **code})
        except ValueError as error:
            _refuse_own_code(error, model)
            raise
    prepare_tokenizer(tokenizer_of(reader), labels, getattr(reader, "chat_template", None))
    return reader


def sees_images(model: str, **code: Any) -> bool:
    """Whether a model's configuration names a class that turns images and text into text."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    config = _config(model, **code)
    known = set(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.values())
    own = "AutoModelForImageTextToText" in (getattr(config, "auto_map", None) or {})
    return own or bool(known & set(config.architectures or ()))


def model_class(model: str, **code: Any) -> Any:
    """The class of transformers that loads a model for the text it writes."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    return AutoModelForImageTextToText if sees_images(model, **code) else AutoModelForCausalLM


def tokenizer_of(reader: Reader) -> PreTrainedTokenizerBase:
    """The tokenizer, out of a processor if it is in one."""
    tokenizer: PreTrainedTokenizerBase = reader.tokenizer if hasattr(reader, "image_processor") else reader
    return tokenizer


def _config(model: str, **code: Any) -> Any:
    """The configuration of a model, or of the base model that an adapter names."""
    from transformers import AutoConfig
    from transformers.utils import find_adapter_config_file  # type: ignore[attr-defined]

    try:
        return AutoConfig.from_pretrained(model, **{"trust_remote_code": False, **code})
    except (OSError, ValueError) as error:
        _refuse_own_code(error, model)
        path = find_adapter_config_file(model, revision=code.get("revision"))
        if path is None:
            raise
        base = json.loads(Path(path).read_text(encoding="utf-8"))["base_model_name_or_path"]
        return AutoConfig.from_pretrained(base, trust_remote_code=bool(code.get("trust_remote_code")))


def _refuse_own_code(error: Exception, model: str) -> None:
    """Say in our words that a model brings code of its own.

    Raises:
        DataselError: it does.
    """
    if "trust_remote_code" in str(error):
        raise DataselError(
            f"`model` is {model!r}, which brings Python code of its own that would be run, expected a model of an architecture "
            f"that transformers has. Read that code; if you trust it, set `trust_remote_code` of the proxy (of a target: in "
            f"`sft`) and pin its `revision`."
        ) from error


def _processor(model: str, **code: Any) -> Any:
    from transformers import AutoProcessor

    try:
        return AutoProcessor.from_pretrained(model, **{"trust_remote_code": False, **code})
    except (ImportError, OSError, ValueError, AttributeError) as error:
        _refuse_own_code(error, model)
        # Many processors also hold one of videos, which needs torchvision. Images do not.
        kind = _images_only(model, **code)
        if kind is None:
            raise
        try:
            return kind.from_pretrained(model, **code)
        except ImportError as error:  # SmolVLM's wants num2words even where there is no video
            raise MissingExtra(
                f"The processor of {model!r} needs another package: {error} Of SmolVLM it comes with: pip install "
                f"'hf_datasel[smolvlm]'"
            ) from error


def _images_only(model: str, **code: Any) -> Any:
    """The model's class of processors without its part for videos; `None` where that is not what is missing."""
    import transformers
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES  # type: ignore[attr-defined]

    name = PROCESSOR_MAPPING_NAMES.get(_config(model, **code).model_type)
    kind: Any = getattr(transformers, name, None) if name else None
    attributes = kind.get_attributes() if kind is not None else []
    if "video_processor" not in attributes:
        return None
    others = [attribute for attribute in attributes if attribute != "video_processor"]
    # The same name, since the name is saved with the processor.
    without = type(kind.__name__, (kind,), {"get_attributes": classmethod(lambda cls: others)})
    own = kind.__init__
    if inspect.signature(own).parameters["video_processor"].default is inspect.Parameter.empty:
        # SmolVLM's asks for the part, as the last that must be given. transformers reads the code of a processor's start
        # for the settings it takes, so nothing may be put around it.
        defaults = (None, *(own.__defaults__ or ()))
        without.__init__ = FunctionType(own.__code__, own.__globals__, own.__name__, defaults, own.__closure__)  # type: ignore[misc]
    return without
