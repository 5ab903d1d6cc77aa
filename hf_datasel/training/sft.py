"""One run of the stock SFTTrainer, on rows that all have a loss. Target training and warm-up both go through here."""

from __future__ import annotations

import contextlib
import difflib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from hf_datasel.errors import BadRecipe, BadRow, MissingExtra
from hf_datasel.proxy.proxy import trainable_names
from hf_datasel.rows.identity import with_encoded_media
from hf_datasel.rows.labels import Labels, check_columns, token_row
from hf_datasel.rows.vision import IMAGES


if TYPE_CHECKING:
    from datasets import Dataset
    from peft import PeftConfig
    from transformers import PreTrainedModel, TrainerCallback
    from transformers.trainer_utils import TrainOutput

    from hf_datasel.rows.reader import Reader

logger = logging.getLogger(__name__)

# SFTConfig fields that are not free, and what decides them.
DECIDED: dict[str, str] = {
    **{f.name: f"set `{f.name}` of `labels`: what is scored must be what is trained on" for f in fields(Labels)},
    "output_dir": "pass `output_dir` to the method that trains",
    "packing": "leave it out: rows are scored whole, so they are trained whole",
    "eval_packing": "leave it out: rows are scored whole, so they are trained whole",
    "dataset_kwargs": "leave it out: it would skip the preparation that scores rely on",
    "chat_template_path": "save the template with the model's tokenizer, so that scores see it too",
    "push_to_hub": "leave it out and publish the folder afterwards",
    "hub_token": "leave it out, it would be written into the run folder: log in with `hf auth login`, or set HF_TOKEN",
}


def decided_problems(sft: Mapping[str, Any], decided: Mapping[str, str]) -> list[str]:
    """What is wrong with `sft` keys that something else decides. Imports nothing."""
    return [f"`sft` has {key!r}: {decided[key]}." for key in sft if key in decided]


def refuse_unknown_fields(sft: Mapping[str, Any], lora: Mapping[str, Any] | None = None) -> None:
    """Say what `sft` and `lora` hold that TRL and PEFT do not know. Imports TRL; loads no model.

    Raises:
        BadRecipe: lists every problem at once.
        MissingExtra: TRL is not installed.
    """
    problems = field_problems("sft", sft, sft_config())
    if lora:
        from peft import LoraConfig

        problems += field_problems("lora", lora, LoraConfig)
    if problems:
        raise BadRecipe("\n".join(problems))


def field_problems(name: str, given: Mapping[str, Any], config: type) -> list[str]:
    """Keys of `given` that are no fields of the dataclass `config`, and numbers that arrive as text."""
    defaults = {f.name: f.default for f in fields(config)}
    problems = []
    for key, value in given.items():
        if key not in defaults:
            close = difflib.get_close_matches(key, defaults, n=1)
            hint = f", did you mean {close[0]!r}?" if close else ", remove it."
            problems.append(f"`{name}` has {key!r}, expected a field of {config.__name__}{hint}")
        elif isinstance(value, str) and type(defaults[key]) in (int, float):
            problems.append(f"`{name}` has {key!r}: {value!r}, expected a number. In YAML write 1.0e-5, not 1e-5.")
    return problems


def sft_config() -> type:
    """`trl.SFTConfig`, imported when needed.

    Raises:
        MissingExtra: TRL is not installed.
    """
    try:
        from trl.trainer.sft_config import SFTConfig
    except ImportError as error:
        raise MissingExtra("Training needs TRL. Install it with: pip install 'hf_datasel[models]'") from error
    config: type = SFTConfig
    return config


def trainable_rows(dataset: Dataset, reader: Reader, labels: Labels) -> tuple[Dataset, Counter[str]]:
    """The rows with a loss, and how many of the others there were by status.

    SFTTrainer itself drops some of them, trains others (an empty completion) on their end-of-sequence token, and stops
    at malformed ones. A scorer gives none of them a score, so none is trained on.

    Raises:
        BadRow: no training column, or no row with a loss.
    """
    check_columns(dataset.column_names, labels)
    dataset = dataset.with_format(None)
    excluded: Counter[str] = Counter()
    kept = []
    for index, row in enumerate(tqdm(with_encoded_media(dataset), desc="Reading rows", unit="row", delay=1)):
        encoded = token_row(row, reader, labels)
        if encoded.scorable:
            kept.append(index)
        else:
            excluded[encoded.status.split(":")[0]] += 1
    if not kept:
        raise BadRow(
            f"`dataset` has {len(dataset)} rows and none with a loss ({dict(excluded)}), expected at least one. "
            f"Raise `max_length` (now {labels.max_length}), or mend the rows."
        )
    if excluded:
        logger.warning(
            "%d of %d rows have no loss and are left out: %s.", excluded.total(), len(dataset), dict(excluded)
        )
        dataset = dataset.select(kept)
    return dataset, excluded


def run_sft(
    model: str | PreTrainedModel,
    reader: Reader,
    rows: Dataset,
    labels: Labels,
    output_dir: Path,
    arguments: Mapping[str, Any],
    peft_config: PeftConfig | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    trainable: str | tuple[str, ...] | None = None,
) -> TrainOutput:
    """Train with the stock SFTTrainer and save model and tokenizer.

    Args:
        model: Hub id, folder, or a model already loaded.
        reader: tokenizer or processor, prepared for `labels`.
        rows: with a loss each (see `trainable_rows`).
        labels: how rows become tokens and labels.
        output_dir: the folder to save to.
        arguments: of SFTConfig, over this package's defaults.
        peft_config: of an adapter to train instead of the weights.
        callbacks: of the Trainer, beside its own.
        trainable: the parameters that train, as of `Proxy`; None leaves that to the model and the adapter.

    Raises:
        ValueError: `trainable` matches nothing.
    """
    with no_telemetry():
        trainer = sft_trainer(
            model, reader, rows, labels, output_dir, arguments, peft_config, callbacks=callbacks, trainable=trainable
        )
        result: TrainOutput = trainer.train()
        trainer.save_model(str(output_dir))
    result.metrics["total_flos"] = trainer.state.total_flos  # what prints the log removes it there
    return result


def sft_trainer(
    model: str | PreTrainedModel,
    reader: Reader,
    rows: Dataset,
    labels: Labels,
    output_dir: Path,
    arguments: Mapping[str, Any],
    peft_config: PeftConfig | None = None,
    trainer_class: Callable[..., Any] | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    trainable: str | tuple[str, ...] | None = None,
) -> Any:
    """The trainer of `run_sft`, not yet run, or one of a class made from SFTTrainer; build it in `no_telemetry`."""
    config = sft_config()
    from transformers import set_seed
    from trl.trainer.sft_trainer import SFTTrainer

    if isinstance(model, str):  # the trainer loads it, and would read a pickle where there are no safetensors
        own = arguments.get("model_init_kwargs") or {}
        arguments = {**arguments, "model_init_kwargs": {**own, "use_safetensors": True}}
    rows = _with_images(rows)
    images = [name for name in IMAGES if name in rows.column_names]
    if images and labels.dataset_text_field in rows.column_names and "messages" not in rows.column_names:
        # Of a dataset with images, SFTTrainer would remove the column of texts before its own collator asks for it.
        if trainer_class is None:
            rows = rows.select_columns([*images, labels.dataset_text_field])
        arguments = {"remove_unused_columns": False, **arguments}
    fixed = {"output_dir": str(output_dir)}
    made = config(**{**default_arguments(arguments), **labels.sft_arguments(), **arguments, **fixed})
    set_seed(made.seed)  # as SFTTrainer does itself since TRL 1.15: it draws the start of an adapter
    trainer = (trainer_class or SFTTrainer)(
        model=model,
        args=made,
        train_dataset=_as_messages(rows) if labels.assistant_only_loss else rows,
        processing_class=reader,
        peft_config=peft_config,
        callbacks=list(callbacks),
    )
    if trainable is not None:  # before the optimizer is made: it takes what then asks for gradients
        trained: Any = trainer.model
        chosen = set(trainable_names(trained, trainable))
        for name, parameter in trained.named_parameters():
            parameter.requires_grad_(name in chosen)
    return trainer


def default_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What suits the machine at hand; everything else is SFTConfig's default."""
    import torch

    has_gpu = torch.cuda.is_available()
    defaults: dict[str, Any] = {
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 0.05,  # twenty lines a run, however long
        "disable_tqdm": False,
        "dataloader_pin_memory": has_gpu,
        "loss_type": "nll",  # SFTConfig's since TRL 1.15; what 1.14 has leaves no logits, which coupled losses read
        "bf16": has_gpu and torch.cuda.is_bf16_supported() and not arguments.get("fp16"),
    }
    old, new = "gradient_checkpointing", "activation_checkpointing"
    if not has_gpu and not arguments.keys() & {old, new}:
        # SFTConfig turns it on to save GPU memory, at a fifth of the speed.
        defaults[new if new in {f.name for f in fields(sft_config())} else old] = False
    return defaults


def _with_images(rows: Dataset) -> Dataset:
    """Columns of images as such: scores read paths, bytes and undecoded media of a plain table, SFTTrainer does not."""
    from datasets import Image, LargeList, List

    for name in IMAGES:
        feature = rows.features.get(name)
        inner = feature.feature if isinstance(feature, List | LargeList) else feature
        if inner is not None and not isinstance(inner, Image):
            rows = rows.cast_column(name, Image() if inner is feature else List(Image()))
    return rows


def _as_messages(rows: Dataset) -> Dataset:
    """`conversations` as `messages`: with `assistant_only_loss`, SFTTrainer looks for messages before it converts."""
    if "conversations" not in rows.column_names or "messages" in rows.column_names:
        return rows
    from trl.data_utils import maybe_convert_to_chatml

    return rows.map(maybe_convert_to_chatml, remove_columns="conversations", desc="Reading conversations")


@contextlib.contextmanager
def no_telemetry() -> Iterator[None]:
    """TRL reports every trainer that is built. The environment variable against it counts only before an import."""
    from huggingface_hub import constants

    before = constants.HF_HUB_DISABLE_TELEMETRY
    constants.HF_HUB_DISABLE_TELEMETRY = True
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_TELEMETRY = before
