"""Adapters on a model, from safetensors alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hf_datasel.errors import DataselError


WEIGHTS = "adapter_model.safetensors"


def with_adapter(model: Any, adapter: str, **options: Any) -> Any:
    """The model with a PEFT adapter on it. PEFT itself falls back on a pickle where there are no safetensors.

    Args:
        model: the base, in memory.
        adapter: folder or Hub id.
        options: of `PeftModel.from_pretrained`.

    Raises:
        DataselError: the adapter has no safetensors.
    """
    from peft import PeftModel
    from transformers.utils.hub import cached_file

    if Path(adapter).is_dir():
        found = (Path(adapter) / WEIGHTS).is_file()
    else:
        found = cached_file(adapter, WEIGHTS, _raise_exceptions_for_missing_entries=False) is not None
    if not found:
        raise DataselError(
            f"`adapter` is {adapter!r}, which has no {WEIGHTS}, expected one: other files of weights are pickles, and those can "
            f"be programs. Load it where you trust it, and save it again with `save_pretrained(folder)`."
        )
    return PeftModel.from_pretrained(model, adapter, **options)
