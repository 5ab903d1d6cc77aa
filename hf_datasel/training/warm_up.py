"""Warm-up: a brief tuning of the proxy on a slice of the pool, before it scores."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_datasel.errors import BadRecipe, BadRow
from hf_datasel.proxy.proxy import Proxy
from hf_datasel.rows.identity import ROW_ID, with_encoded_media, with_row_ids
from hf_datasel.rows.labels import Labels, check_columns, token_row
from hf_datasel.rows.reader import load_reader, model_class
from hf_datasel.training.sft import DECIDED, decided_problems, refuse_unknown_fields, run_sft


if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, TrainerCallback

    from hf_datasel.rows.reader import Reader

logger = logging.getLogger(__name__)

RECORD = "warm_up.json"
WARM_UP_DECIDED = {
    **DECIDED,
    "max_steps": "set `steps`",
    "num_train_epochs": "set `epochs`",
    "learning_rate": "set `learning_rate`",
    "per_device_train_batch_size": "set `batch_size`",
    "gradient_accumulation_steps": "set `batch_size`",
    "seed": "set `seed`",
    "train_sampling_strategy": "leave it out: `seed` draws the slice and its order",
    "shuffle_dataset": "leave it out: `seed` draws the slice and its order",
    "model_init_kwargs": "set the fields of `proxy`",
    "trust_remote_code": "set `trust_remote_code` of `proxy`",
}


@dataclass(frozen=True)
class WarmedProxy:
    """A proxy after its warm-up.

    Args:
        proxy: to score with.
        seen_row_ids: the rows it was tuned on, in the order it saw them. Their scores come from a proxy that knows
            them: drop or flag them.
        steps: optimisation steps taken.
    """

    proxy: Proxy
    seen_row_ids: tuple[str, ...]
    steps: int


@dataclass(frozen=True)
class WarmUp:
    """Tune the proxy for the first few percent of a training run over the pool, then leave it as it is.

    `ceil(fraction * ceil(epochs * N / batch_size))` optimisation steps on rows drawn at random; the learning rate
    falls to zero over just these steps. All weights are tuned, whatever `proxy.trainable` names; of a proxy with an
    adapter, the adapter's only. Weights are float32 during the warm-up and on disk.

    Args:
        fraction: of the run's optimisation steps.
        epochs: passes over the pool of the run that `fraction` is a fraction of.
        steps: optimisation steps, instead of `fraction` and `epochs`.
        learning_rate: peak of the linear decay. SFTConfig's default.
        batch_size: rows an optimisation step, on one device.
        seed: draws the slice and its order, by a keyed hash of row ids: the order of the pool does not matter.
        sft: any other fields of `trl.SFTConfig`.

    Raises:
        BadRecipe: a value out of range, or `sft` keys that another field decides; lists them all.

    Source: https://huggingface.co/papers/2605.07488, 5.3 and Tab. 5: 5 % beats no warm-up, 25 % and a full run. What
        it is 5 % of, the schedule and the learning rate are not said.

    Example:
        >>> WarmUp(fraction=0.05, batch_size=8).num_steps(1000)
        7
        >>> WarmUp(steps=3).num_steps(1000)
        3
    """

    fraction: float = 0.05
    epochs: float = 1.0
    steps: int | None = None
    learning_rate: float = 2e-5
    batch_size: int = 8
    seed: int = 0
    sft: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = []
        if not 0 <= self.fraction <= 1:
            problems.append(f"`fraction` is {self.fraction}, expected 0 (no warm-up) to 1.")
        if not self.epochs > 0:
            problems.append(f"`epochs` is {self.epochs}, expected a positive number of passes.")
        if self.steps is not None and self.steps < 0:
            problems.append(f"`steps` is {self.steps}, expected 0 or more, or None to go by `fraction`.")
        if not self.learning_rate > 0:
            problems.append(f"`learning_rate` is {self.learning_rate}, expected a positive number.")
        if self.batch_size < 1:
            problems.append(f"`batch_size` is {self.batch_size}, expected at least 1.")
        problems += decided_problems(self.sft, WARM_UP_DECIDED)
        if problems:
            raise BadRecipe("\n".join(problems))

    def check(self) -> None:
        """Say what `sft` holds that TRL does not know. Imports TRL; loads no model.

        Raises:
            BadRecipe: lists every problem at once.
            MissingExtra: TRL is not installed.
        """
        refuse_unknown_fields(self.sft)

    def num_steps(self, num_rows: int) -> int:
        """Optimisation steps for a pool of `num_rows` rows."""
        if self.steps is not None:
            return self.steps
        # Decimals taken as written: 0.07 of 100 steps is 7, and in binary a little more.
        total = math.ceil(Fraction(str(self.epochs)) * num_rows / self.batch_size)
        return math.ceil(Fraction(str(self.fraction)) * total)

    def fit(
        self,
        proxy: Proxy,
        pool: Dataset,
        labels: Labels,
        output_dir: str | Path,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> WarmedProxy:
        """Tune `proxy` on a slice of `pool` and save it; reuse what an equal warm-up left in `output_dir`.

        Args:
            proxy: to start from; stays as it is.
            pool: N rows in any format of TRL's SFT.
            labels: the options shared with scoring and training.
            output_dir: folder of the warmed proxy. `warm_up.json`, written last, marks it finished.
            callbacks: of the Trainer, beside its own. They see nothing of a warm-up that is finished already.

        Raises:
            BadRecipe: see `check`; or `proxy.model` is an adapter.
            BadRow: no training column, or no row with a loss.
        """
        steps = self.num_steps(len(pool))
        if steps == 0:
            return WarmedProxy(proxy, (), 0)
        self.check()
        if (Path(proxy.model) / "adapter_config.json").is_file():
            raise BadRecipe(f"`proxy.model` is {proxy.model!r}, an adapter. Name its base model, and it as `adapter`.")
        code = {"revision": proxy.revision, "trust_remote_code": proxy.trust_remote_code}
        reader = load_reader(proxy.model, labels, **code)
        pool = with_row_ids(pool.with_format(None))
        chosen = self._slice(pool, reader, labels, steps * self.batch_size, _context(proxy))
        folder = Path(output_dir)
        key = self._key(proxy, steps, chosen)
        warmed = WarmedProxy(_moved(proxy, folder), tuple(row_id for _, row_id, _ in chosen), steps)
        if _finished(folder, key):
            logger.info("Warm-up: %s holds this very one already.", folder)
            return warmed
        (folder / RECORD).unlink(missing_ok=True)
        rows = pool.select([index for index, _, _ in chosen])
        arguments, began = self._arguments(proxy, steps), time.monotonic()
        done = run_sft(starting_point(proxy), reader, rows, labels, folder, arguments, callbacks=callbacks)
        record = {
            "key": key, "steps": steps, "flops": float(done.metrics["total_flos"]), "proxy": proxy.spec,
            "warm_up": asdict(self), "seconds": time.monotonic() - began,
        }  # fmt: skip
        _write_record(folder, record, warmed)
        return warmed

    def _slice(
        self, pool: Dataset, reader: Reader, labels: Labels, size: int, context: int | None
    ) -> list[tuple[int, str, str]]:
        """Up to `size` rows with a loss: place, id, and digest of the tokens. No more rows are read than needed."""
        check_columns(pool.column_names, labels)
        seed = self.seed.to_bytes(8, "little", signed=True)
        ids = [str(row_id) for row_id in pool[ROW_ID]]
        draw = {row_id: blake2b(row_id.encode(), digest_size=16, key=seed).digest() for row_id in ids}
        chosen = []
        encoded_pool = with_encoded_media(pool)
        for index in sorted(range(len(ids)), key=lambda i: draw[ids[i]]):
            encoded = token_row(encoded_pool[index], reader, labels)
            if encoded.scorable and (context is None or len(encoded.input_ids) <= context):
                tokens = f"{encoded.input_ids} {encoded.labels}".encode()
                tokens += b"".join(value.numpy().tobytes() for value in encoded.media.values())
                chosen.append((index, ids[index], blake2b(tokens, digest_size=16).hexdigest()))
            if len(chosen) == size:
                break
        if not chosen:
            raise BadRow(f"`pool` has {len(pool)} rows and none with a loss to warm up on, expected at least one.")
        return chosen

    def _key(self, proxy: Proxy, steps: int, chosen: list[tuple[int, str, str]]) -> str:
        """What decides the result: the proxy's weights, the settings, and the very tokens it is tuned on."""
        rows = [[row_id, tokens] for _, row_id, tokens in chosen]
        parts = json.dumps([proxy.digest, asdict(self), steps, rows], sort_keys=True, default=str)
        return blake2b(parts.encode(), digest_size=16).hexdigest()

    def _arguments(self, proxy: Proxy, steps: int) -> dict[str, Any]:
        return {
            **self.sft,
            "max_steps": steps,
            "learning_rate": self.learning_rate,
            "per_device_train_batch_size": self.batch_size,
            "seed": self.seed,
            "train_sampling_strategy": "sequential",  # the slice is in random order already
            "trust_remote_code": proxy.trust_remote_code,
            **({} if proxy.adapter else {"model_init_kwargs": {"revision": proxy.revision}}),
        }


def starting_point(proxy: Proxy) -> str | PreTrainedModel:
    if proxy.adapter is None:
        return proxy.model
    import torch

    from hf_datasel.proxy.adapter import with_adapter

    code = {"revision": proxy.revision, "trust_remote_code": proxy.trust_remote_code}
    kind = model_class(proxy.model, **code)
    base = kind.from_pretrained(proxy.model, dtype=torch.float32, use_safetensors=True, **code)
    model: Any = with_adapter(base, proxy.adapter, is_trainable=True)
    return model  # type: ignore[no-any-return]


def _moved(proxy: Proxy, folder: Path) -> Proxy:
    if proxy.adapter is None:
        return replace(proxy, model=str(folder), revision=None)
    return replace(proxy, adapter=str(folder))


def _context(proxy: Proxy) -> int | None:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(
        proxy.model, revision=proxy.revision, trust_remote_code=proxy.trust_remote_code
    )
    length = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(length) if length else None


def _finished(folder: Path, key: str) -> bool:
    try:
        return bool(json.loads((folder / RECORD).read_text())["key"] == key)
    except (OSError, ValueError, KeyError):
        return False


def _write_record(folder: Path, record: dict[str, Any], warmed: WarmedProxy) -> None:
    """Last, and whole or not at all: this file says that the weights beside it are complete."""
    text = json.dumps({**record, "seen_row_ids": list(warmed.seen_row_ids)}, indent=1, default=str)
    partial = folder / f"{RECORD}.partial"
    partial.write_text(text)
    os.replace(partial, folder / RECORD)
