"""The small model that scores, as a spec: it pickles as a few strings and loads where it is used."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hf_datasel.errors import DataselError, MissingExtra
from hf_datasel.rows.labels import LONGER_THAN_CONTEXT, Labels, TokenRow, token_row
from hf_datasel.rows.reader import load_reader, model_class, tokenizer_of


if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from hf_datasel.rows.reader import Reader

Parameters = dict[str, "torch.Tensor"]


@dataclass(frozen=True)
class Proxy:
    """Any Hugging Face causal language model or vision-language model, PEFT adapters included, that scores rows.

    Nothing loads until a scorer needs it, in the process that needs it. The weights are this object's own copy in
    evaluation mode; scoring leaves them bit for bit as they were.

    Args:
        model: Hub id or local folder.
        revision: branch, tag or commit of a Hub id. Resolved to a commit in the spec.
        adapter: Hub id or local folder of a PEFT adapter on top of `model`.
        dtype: of the weights. `exact` utilities need float32 or float64.
        trainable: the parameters whose step is simulated: `"all"`; `"language"`, all but the vision encoder and its
            projector, as the paper trains (images are then encoded once per row, whatever the engine); `"projector"`;
            `"lora"` (those of the adapter); or regular expressions searched in the parameter names, in a tuple.
        trust_remote_code: run the code a Hub repository brings. Off unless asked for.

    Raises:
        ValueError: `trainable` matches nothing (when the model loads).

    Example:
        >>> Proxy("HuggingFaceTB/SmolLM2-135M", dtype="float32", trainable=("self_attn",)).trainable
        ('self_attn',)
    """

    model: str
    revision: str | None = None
    adapter: str | None = None
    dtype: Literal["float64", "float32", "bfloat16", "float16"] = "float32"
    trainable: str | tuple[str, ...] = "all"
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.trainable, list):
            object.__setattr__(self, "trainable", tuple(self.trainable))

    @functools.cached_property
    def digest(self) -> str:
        """What the weights are: a Hub commit, or the digest of a local folder's files."""
        self._look()
        parts = [_weights_digest("model", self.model, self.revision, self.trust_remote_code)]
        if self.adapter is not None:
            parts.append(_weights_digest("adapter", self.adapter, None))
        return "+".join(parts)

    @property
    def optimizer(self) -> Path:
        """The state of the optimizer that `transformers.Trainer` saved beside the weights.

        Raises:
            DataselError: there is none.
        """
        path = Path(self.adapter or self.model) / "optimizer.pt"
        if not path.is_file():
            raise DataselError(
                f"`proxy` has no {str(path)!r}, expected a checkpoint of Trainer with the state of its optimizer, for "
                f"step='adam'. Save it (`save_only_model=False`), or use step='sgd'."
            )
        return path

    @property
    def optimizer_digest(self) -> str:
        """What the state of the optimizer is, by content."""
        stat = self.optimizer.stat()
        return _content_digest(((str(self.optimizer), stat.st_size, stat.st_mtime_ns),))

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like description that names the weights exactly. A local folder counts by content, not by place."""
        described = {f.name: getattr(self, f.name) for f in fields(self)}
        described["trainable"] = self.trainable if isinstance(self.trainable, str) else list(self.trainable)
        return {**described, "weights": self.digest}

    def __getstate__(self) -> dict[str, Any]:
        # The weights' digest is in the state, so that datasets' fingerprint changes when a local folder does.
        return self.spec

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name in (f.name for f in fields(self)):
            value = state[name]
            object.__setattr__(self, name, tuple(value) if isinstance(value, list) else value)

    def at(self, place: str) -> Proxy:
        """The same proxy with the weights of a checkpoint: of an adapter on its model, or of a whole model.

        Args:
            place: a folder, which shows which it is, or a Hub id, which is what the proxy's own weights are.
        """
        is_local = Path(place).is_dir()
        is_adapter = (Path(place) / "adapter_config.json").is_file() if is_local else self.adapter is not None
        return replace(self, adapter=place) if is_adapter else replace(self, model=place, revision=None, adapter=None)

    def _look(self) -> None:
        """Say that there is no such model, before a library says something else about it."""
        for name, place in (("model", self.model), ("adapter", self.adapter)):
            is_local = place is not None and (place.startswith((".", "/", "~")) or place.count("/") > 1)
            if is_local and not Path(str(place)).is_dir():
                raise DataselError(f"`proxy.{name}` is {place!r}, which is no folder, expected one or a Hub id.")

    def load(self, labels: Labels | None = None, rank: int | None = None) -> LoadedProxy:
        """Load the model and its tokenizer on the device at hand.

        Args:
            labels: what SFT will train on; settles the tokenizer's end-of-sequence token.
            rank: of this process among several on the machine, to spread over its GPUs.

        Raises:
            ValueError: `trainable` matches no parameter.
            MissingExtra: torch or transformers is missing.
        """
        try:
            import torch
            import transformers  # noqa: F401 (said here, rather than in the midst of loading)
        except ImportError as error:
            raise MissingExtra("A proxy needs torch. Install it with: pip install 'hf_datasel[models]'") from error
        _limit_threads_in_workers()
        code = {"revision": self.revision, "trust_remote_code": self.trust_remote_code}
        self._look()
        # Eager attention and experts: the fused kernels have no forward-mode derivative, nor float64.
        model: Any = model_class(self.model, **code).from_pretrained(
            self.model,
            dtype=getattr(torch, self.dtype),
            attn_implementation="eager",
            experts_implementation="eager",
            use_safetensors=True,
            **code,
        )
        if self.adapter is not None:
            from hf_datasel.proxy.adapter import with_adapter

            model = with_adapter(model, self.adapter, autocast_adapter_dtype=False)
        model.to(torch_device(rank)).eval()
        if self.dtype == "float64":
            model.double()
        reader = load_reader(self.model, labels or Labels(), **code)
        tokenizer = tokenizer_of(reader)
        tokenizer.model_max_length = int(1e30)  # rows too long get a status; the tokenizer's own warning would mislead
        return LoadedProxy(model, tokenizer, trainable_parameters(model, self.trainable), reader)


@dataclass(frozen=True)
class LoadedProxy:
    """A proxy in memory.

    Args:
        model: in evaluation mode, no gradients required anywhere.
        tokenizer: with its end-of-sequence token settled.
        parameters: the P trainable ones by name; the model's own tensors.
        reader: what turns rows into tokens; the tokenizer, or the processor it is part of.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    parameters: Parameters = field(repr=False)
    reader: Reader = None

    @property
    def context(self) -> int | None:
        """Tokens the model was built for; `None` when it does not say."""
        length = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return int(length) if length else None

    @functools.cached_property
    def frozen_encoder(self) -> torch.nn.Module | None:
        """See `vision.frozen_encoder`."""
        from hf_datasel.proxy.vision import frozen_encoder

        return frozen_encoder(self)


def encode(row: Mapping[str, Any], proxy: LoadedProxy, labels: Labels) -> TokenRow:
    """A row's tokens and labels, refused when longer than what the proxy was built for."""
    encoded = token_row(row, proxy.tokenizer if proxy.reader is None else proxy.reader, labels)
    if encoded.scorable and proxy.context is not None and len(encoded.input_ids) > proxy.context:
        return TokenRow((), (), LONGER_THAN_CONTEXT)
    return encoded


def trainable_parameters(model: torch.nn.Module, trainable: str | tuple[str, ...]) -> Parameters:
    """The parameters named by `trainable`, tied ones once; all of the model are frozen, for nothing here trains them.

    Raises:
        ValueError: nothing matches.
    """
    chosen = trainable_names(model, trainable)
    named = dict(model.named_parameters())
    for parameter in named.values():
        parameter.requires_grad_(False)
    return {name: named[name].data for name in chosen}


def trainable_names(model: torch.nn.Module, trainable: str | tuple[str, ...]) -> list[str]:
    """The names of the parameters that `trainable` asks for: a preset, or regular expressions; see `Proxy`.

    Raises:
        ValueError: nothing matches.
    """
    from hf_datasel.proxy.vision import PROJECTOR, encoder_name, is_of_images

    named = [name for name, _ in model.named_parameters()]
    if trainable == "all":
        chosen = named
    elif trainable == "language":
        encoder = encoder_name(model)
        chosen = [name for name in named if not is_of_images(name, encoder)]
    elif trainable == "projector":
        chosen = [name for name in named if PROJECTOR.search(name)]
    else:
        patterns = (r"lora_", r"modules_to_save") if trainable == "lora" else trainable
        patterns = (patterns,) if isinstance(patterns, str) else patterns
        chosen = [name for name in named if any(re.search(pattern, name) for pattern in patterns)]
    if not chosen:
        raise ValueError(
            f"`trainable` is {trainable!r} and matches none of the {len(named)} parameters, expected 'all', 'language', 'projector' (of a "
            f"vision-language model), 'lora' (with an `adapter`) or patterns found in names such as {named[0]!r}."
        )
    return chosen


def _weights_digest(argument: str, model: str, revision: str | None, trust_remote_code: bool = False) -> str:
    folder = Path(model)
    if folder.is_dir():
        stamp = tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in _model_files(folder))
        return _content_digest(stamp)
    from huggingface_hub.errors import HFValidationError
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=trust_remote_code)
    except (OSError, HFValidationError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataselError(
            f"`proxy.{argument}` (in a recipe `score.proxy.{argument}`) is {model!r}, which is neither a folder nor to be had from "
            f"the Hub ({said}), expected one of them. Check the name, your access to it (`hf auth login`), and the network."
        ) from error
    return f"{model}@{getattr(config, '_commit_hash', None) or revision}"


def _model_files(folder: Path) -> Iterator[Path]:
    """Files that decide what the model computes and how it reads text; not logs, cards or optimizer states."""
    kinds = {".safetensors", ".json", ".jinja", ".model", ".txt", ".py"}
    remarks = {"trainer_state.json", "warm_up.json"}
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in kinds and path.name not in remarks:
            yield path


@functools.lru_cache(maxsize=64)
def _content_digest(stamp: tuple[tuple[str, int, int], ...]) -> str:
    """Digest of file contents; `stamp` (path, size, time) only spares reading unchanged files twice."""
    digest = blake2b(digest_size=16)
    for path, size, _ in stamp:
        digest.update(f"{os.path.basename(path)}:{size};".encode())
        with open(path, "rb") as file:
            while chunk := file.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()


def _limit_threads_in_workers() -> None:
    """One thread in `Dataset.map` workers: with more, a fork after a torch operation in the parent hangs."""
    import multiprocess
    import torch

    if multiprocess.parent_process() is not None:
        torch.set_num_threads(1)


def torch_device(rank: int | None) -> str:
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    rank = int(os.environ.get("LOCAL_RANK", "0")) if rank is None else rank
    return f"cuda:{rank % torch.cuda.device_count()}"
