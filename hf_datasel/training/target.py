"""Fine-tune the target model on what was kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hf_datasel.errors import BadRecipe
from hf_datasel.rows.labels import Labels
from hf_datasel.rows.reader import load_reader, sees_images
from hf_datasel.training.protocols import protocol_arguments
from hf_datasel.training.sft import (
    DECIDED,
    decided_problems,
    default_arguments,
    refuse_unknown_fields,
    run_sft,
    trainable_rows,
)


if TYPE_CHECKING:
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback

logger = logging.getLogger(__name__)

TARGET_DECIDED = {
    **DECIDED,
    "max_steps": "set `steps` and protocol='B'",
    "num_train_epochs": "set `epochs` and protocol='A'",
    "seed": "pass `seed` to `train`",
    "train_sampling_strategy": "set `order`",
    "shuffle_dataset": "set `order`",
}


@dataclass(frozen=True)
class TrainedTarget:
    """What a training run left behind.

    Args:
        folder: model (or adapter) and tokenizer, for `from_pretrained`.
        steps: optimisation steps taken.
        epochs: passes over the rows.
        train_loss: mean over the run, in nats per target token.
        num_rows: K, rows trained on.
        num_excluded: rows without a loss, left out.
        seconds: of training, loading and saving included.
        flops: floating-point operations, as the Trainer estimates them: 6 for each weight and token.
    """

    folder: str
    steps: int
    epochs: float
    train_loss: float
    num_rows: int
    num_excluded: int
    seconds: float
    flops: float


@dataclass(frozen=True)
class TargetTraining:
    """Supervised fine-tuning of the target with TRL's own SFTTrainer. A spec: nothing loads before `train`.

    Args:
        target: Hub id or local folder of any causal language model, or vision-language model for rows with images.
        revision: branch, tag or commit of a Hub id.
        method: all weights (`"full"`), or an adapter (`"lora"`).
        protocol: `"A"` fixes `epochs`, `"B"` fixes `steps`: see `protocol_arguments`.
        epochs: passes over the rows (A).
        steps: optimisation steps (B).
        order: `"shuffled"` anew each pass, or as the dataset comes (`"score"`): `Selection.kept` comes best first.
        lora: fields of `peft.LoraConfig`; adapters sit on all linear layers unless told otherwise.
        trainable: what trains, in the presets of `Proxy`: `"language"`, of a vision-language model all but the encoder of
            images and its projector (of any other all), as the paper trains; `"all"`; `"projector"`; or regular expressions
            searched in the parameter names, in a tuple. With an adapter, `"language"` puts none on what sees images,
            `"all"` (or `"lora"`) puts it wherever `lora` says, and nothing else can be asked for.
        sft: any other fields of `trl.SFTConfig`, such as `learning_rate` or `per_device_train_batch_size`.

    Raises:
        BadRecipe: fields that contradict each other, or `sft` keys that another argument decides; lists them all.

    Source: https://huggingface.co/papers/2605.07488, 5.1 (protocols), C.3 (frozen encoder of images, only the language
        model trains); all other defaults are SFTConfig's.

    Example:
        >>> TargetTraining("Qwen/Qwen3-0.6B-Base", protocol="B", steps=200, sft={"learning_rate": 1e-5}).steps
        200
        >>> TargetTraining("Qwen/Qwen3-0.6B-Base", sft={"max_steps": 200})
        Traceback (most recent call last):
        hf_datasel.errors.BadRecipe: `sft` has 'max_steps': set `steps` and protocol='B'.
    """

    target: str
    revision: str | None = None
    method: Literal["full", "lora"] = "full"
    protocol: Literal["A", "B"] = "B"
    epochs: float = 1.0
    steps: int = 1000
    order: Literal["shuffled", "score"] = "shuffled"
    lora: Mapping[str, Any] = field(default_factory=dict)
    sft: Mapping[str, Any] = field(default_factory=dict)
    trainable: str | tuple[str, ...] = "language"

    def __post_init__(self) -> None:
        if isinstance(self.trainable, list):
            object.__setattr__(self, "trainable", tuple(self.trainable))
        problems = self._own_problems()
        if problems:
            raise BadRecipe("\n".join(problems))

    def check(self) -> None:
        """Say what `sft` and `lora` hold that TRL and PEFT do not know. Imports TRL; loads no model.

        Raises:
            BadRecipe: lists every problem at once.
            MissingExtra: TRL is not installed.
        """
        refuse_unknown_fields(self.sft, self.lora)

    def train(
        self,
        dataset: Dataset,
        labels: Labels,
        output_dir: str | Path,
        seed: int = 0,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> TrainedTarget:
        """Fine-tune on the rows of `dataset` that have a loss; save model and tokenizer.

        On one machine without a GPU, the same seed gives the same weights bit for bit.

        Args:
            dataset: K rows in any format of TRL's SFT, such as `selection.kept`. Other columns do not matter.
            labels: the options the rows were scored with.
            output_dir: the folder to save to.
            seed: of row order, dropout and new adapter weights.
            callbacks: of the Trainer, such as `CurveCallback`.

        Raises:
            BadRecipe: see `check`.
            BadRow: no training column, or no row with a loss.
            ValueError: `trainable` matches no parameter.
        """
        self.check()
        started = time.perf_counter()
        code = {"revision": self.revision, "trust_remote_code": bool(self.sft.get("trust_remote_code", False))}
        reader = load_reader(self.target, labels, **code)
        rows, excluded = trainable_rows(dataset, reader, labels)
        lora = self._lora_config()
        if lora is not None and self.trainable == "language" and sees_images(self.target, **code):
            from hf_datasel.proxy.vision import IMAGE_MODULES

            lora.exclude_modules = lora.exclude_modules or IMAGE_MODULES
        trainable = self.trainable if lora is None else None
        result = run_sft(
            self.target, reader, rows, labels, Path(output_dir), self._arguments(seed), lora, callbacks, trainable
        )
        return TrainedTarget(
            folder=str(output_dir),
            steps=result.global_step,
            epochs=float(result.metrics["epoch"]),
            train_loss=float(result.training_loss),
            num_rows=len(rows),
            num_excluded=excluded.total(),
            seconds=time.perf_counter() - started,
            flops=float(result.metrics["total_flos"]),
        )

    def trl_config(
        self, labels: Labels, dataset_name: str, dataset_config: str, output_dir: str, seed: int = 0
    ) -> dict[str, Any]:
        """The same training as a file for `trl sft --config`, on a published selection.

        `trl sft` cannot pin a commit of a dataset, treats rows without a loss as SFTTrainer does, and freezes nothing: of a
        vision-language target it trains the encoder of images, too.

        Args:
            labels: the options the rows were scored with.
            dataset_name, dataset_config: the Hub repository and configuration of the kept rows, split `train`.
            output_dir: the folder to save to.
            seed: of row order, dropout and new adapter weights.

        Returns:
            Keys and values, flat, in the form YAML takes.

        Raises:
            BadRecipe: see `check`; or `lora` has fields that `trl sft` does not know, or `trainable` names a part.

        Example:
            >>> training = TargetTraining("Qwen/Qwen3-0.6B-Base", protocol="B", steps=200)
            >>> training.trl_config(Labels(), "me/data", "top-20", "out")["dataset_config"]
            'top-20'
        """
        self.check()
        if self.trainable not in ("all", "language", "lora"):
            raise BadRecipe(
                f"`trainable` is {self.trainable!r}, expected 'all' or 'language': `trl sft` freezes nothing."
            )
        arguments = {key: value for key, value in self._arguments(seed).items() if key != "model_init_kwargs"}
        return {
            "model_name_or_path": self.target,
            **({"model_revision": self.revision} if self.revision else {}),
            **(self.sft.get("model_init_kwargs") or {}),
            "dataset_name": dataset_name,
            "dataset_config": dataset_config,
            "dataset_train_split": "train",
            **default_arguments(arguments),
            **labels.sft_arguments(),
            **arguments,
            **self._trl_lora(),
            "output_dir": output_dir,
        }

    def _trl_lora(self) -> dict[str, Any]:
        config = self._lora_config()
        if config is None:
            return {}
        names = {"r": "lora_r", "lora_alpha": "lora_alpha", "lora_dropout": "lora_dropout", "use_rslora": "use_rslora",
                 "use_dora": "use_dora", "target_modules": "lora_target_modules",
                 "modules_to_save": "lora_modules_to_save"}  # fmt: skip
        unknown = sorted(set(self.lora) - set(names) - {"task_type"})
        if unknown:
            raise BadRecipe(f"`lora` has {unknown}, which `trl sft` does not know, expected some of {sorted(names)}.")
        values = {trls: getattr(config, ours) for ours, trls in names.items()}
        values = {key: sorted(value) if isinstance(value, set) else value for key, value in values.items()}
        return {"use_peft": True, **{key: value for key, value in values.items() if value is not None}}

    def _arguments(self, seed: int) -> dict[str, Any]:
        return {
            **self.sft,
            **protocol_arguments(self.protocol, self.epochs, self.steps),
            "seed": seed,
            "train_sampling_strategy": "sequential" if self.order == "score" else "random",
            "model_init_kwargs": {**(self.sft.get("model_init_kwargs") or {}), "revision": self.revision},
        }

    def _lora_config(self) -> LoraConfig | None:
        if self.method == "full":
            return None
        from peft import LoraConfig

        return LoraConfig(**{"task_type": "CAUSAL_LM", "target_modules": "all-linear", **self.lora})

    def _own_problems(self) -> list[str]:
        problems = []
        for name, allowed in (("method", ("full", "lora")), ("order", ("shuffled", "score"))):
            if getattr(self, name) not in allowed:
                problems.append(f"`{name}` is {getattr(self, name)!r}, expected one of {allowed}.")
        try:
            protocol_arguments(self.protocol, self.epochs, self.steps)
        except ValueError as error:
            problems.append(str(error))
        if self.method == "lora" and self.trainable not in ("all", "language", "lora"):
            problems.append(
                f"`trainable` is {self.trainable!r} while `method` is 'lora', expected 'language' or 'all'. Name the modules of "
                f"an adapter in `lora`, as `target_modules`."
            )
        if self.method == "full" and self.trainable == "lora":
            problems.append("`trainable` is 'lora' while `method` is 'full', expected method='lora'.")
        if self.lora and self.method != "lora":
            problems.append(f"`lora` is {dict(self.lora)} while `method` is {self.method!r}, expected method='lora'.")
        if "revision" in (self.sft.get("model_init_kwargs") or {}):
            problems.append("`sft` has 'model_init_kwargs' with 'revision': set `revision`.")
        return problems + decided_problems(self.sft, TARGET_DECIDED)
