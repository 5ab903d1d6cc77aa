"""A reward of a row: any function's, or any reward model's of transformers."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hf_datasel.contracts import Batch, Columns, Scores
from hf_datasel.errors import MissingExtra
from hf_datasel.proxy.proxy import Proxy, torch_device
from hf_datasel.rows.batches import rows_of
from hf_datasel.scorers.goal.text import question_and_answer


BATCH = 16  # rows a forward pass
RewardFunction = Callable[[Sequence[Mapping[str, Any]]], Sequence[float | None]]


@dataclass(frozen=True)
class Reward:
    """What a reward model gives a row, on its own scale. Higher means keep. Cost: 1 F of the model, or what the function costs.

    Args:
        reward: a function of rows, as itself or as `"package.module:function"`: it gets a list of rows, media as they are stored
            (`hf_datasel.rows.pixels.frames_of(row, 1)` opens them), and returns a number for each, None where it has none. An
            image reward goes here; one of CLIP's shape, such as PickScore, is `CLIPScore` with its weights. Or the Hub id or
            folder of a model of transformers that classifies sequences and has one output: it reads question and answer, through
            the tokenizer's chat template where there is one.
        version: of the function; change it when its numbers change, so that nothing old is reused.
        revision: branch, tag or commit of a Hub id.
        reads: columns that the function looks at beside a row's content.

    Writes:
        `reward`, `reward_status` (`"ok"`, `"no_answer"`, `"no_reward"`).

    Raises:
        ValueError: the function cannot be found by its name, returned too few numbers, or the model has several outputs.
        BadRow: the rows have no text column.
        MissingExtra: a model is named, and torch or transformers is not installed.

    Source: the ImageReward score of CoIDO (NeurIPS 2025), A.1, is one; for text see https://huggingface.co/papers/2203.02155.

    Example:
        >>> Reward("builtins:len").columns
        ('reward', 'reward_status')
    """

    reward: str | RewardFunction
    version: str = ""
    revision: str | None = None
    reads: tuple[str, ...] = ()

    columns = ("reward", "reward_status")
    algo_version = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "reads", tuple(self.reads))
        if callable(self.reward):
            name = f"{self.reward.__module__}:{self.reward.__qualname__}"
            if "<" in name:
                raise ValueError(
                    f"`reward` is {name}, expected a function of a module, which other processes can import. Move it to one."
                )
            object.__setattr__(self, "reward", name)
        self._found()

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers."""
        weights = "" if self._found() else Proxy(str(self.reward), self.revision).digest
        return {
            "scorer": "Reward", "algo_version": self.algo_version, "reward": self.reward, "version": self.version,
            "revision": self.revision, "reads": list(self.reads), "weights": weights,
        }  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        return self.spec

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(
            {name: state[name] for name in ("reward", "version", "revision")}, reads=tuple(state["reads"])
        )

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Score B rows (or one): see the class."""
        rows, single = rows_of(batch)
        texts = [question_and_answer(row) for row in rows]
        there = [place for place, (_, answer) in enumerate(texts) if answer.strip()]
        rewards = np.full(len(rows), np.nan)
        function = self._found()
        for start in range(0, len(there), BATCH):
            places = there[start : start + BATCH]
            if function is None:
                rewards[places] = self._model(rank).rewards([texts[place] for place in places])
            else:
                rewards[places] = self._called(function, [rows[place] for place in places])
        rewards[~np.isfinite(rewards)] = np.nan
        status = np.where(np.isnan(rewards), "no_reward", "ok")
        status[[place for place in range(len(rows)) if not texts[place][1].strip()]] = "no_answer"
        columns: Columns = {"reward": rewards, "reward_status": [str(said) for said in status]}
        return {name: values[0] for name, values in columns.items()} if single else columns

    def _called(self, function: RewardFunction, rows: Sequence[Mapping[str, Any]]) -> Scores:
        found = function(rows)
        if len(found) != len(rows):
            raise ValueError(f"`reward` returned {len(found)} numbers for {len(rows)} rows, expected one each.")
        return np.array([np.nan if value is None else value for value in found], dtype=np.float64)

    def _found(self) -> RewardFunction | None:
        """The function, or None where a model is named."""
        module, colon, name = str(self.reward).partition(":")
        if not colon:
            return None
        try:
            found: Any = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError) as error:
            raise ValueError(
                f"`reward` is {self.reward!r}, expected package.module:function that can be imported ({error})."
            ) from error
        function: RewardFunction = found
        return function

    def _model(self, rank: int | None) -> Any:
        if "_loaded" not in self.__dict__:
            self.__dict__["_loaded"] = _RewardModel(str(self.reward), self.revision, rank)
        return self.__dict__["_loaded"]


class _RewardModel:
    """A classifier of sequences with one output, in memory."""

    def __init__(self, model: str, revision: str | None, rank: int | None) -> None:
        try:
            import torch
            from transformers import AutoModelForSequenceClassification, AutoTokenizer
        except ImportError as error:
            raise MissingExtra("A reward model needs torch. Install it: pip install 'hf_datasel[models]'") from error
        loaded: Any = AutoModelForSequenceClassification.from_pretrained(
            model, revision=revision, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        )
        if loaded.config.num_labels != 1:
            raise ValueError(
                f"`reward` is {model!r}, which has {loaded.config.num_labels} outputs, expected a model with one, the reward."
            )
        self.device = torch_device(rank)
        self.model = loaded.to(self.device).eval()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(model, revision=revision, trust_remote_code=False)
        context = getattr(loaded.config.get_text_config(), "max_position_embeddings", None)
        self.length = min(int(context or 4096), int(self.tokenizer.model_max_length))

    def rewards(self, texts: Sequence[tuple[str, str]]) -> Scores:
        """(B,) of pairs of question and answer, one row at a time: padding moves some models' numbers."""
        import torch

        found = []
        for question, answer in texts:
            if self.tokenizer.chat_template is not None:
                turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
                inputs = self.tokenizer.apply_chat_template(
                    turns, return_tensors="pt", return_dict=True, truncation=True, max_length=self.length
                )
            else:
                inputs = self.tokenizer(question, answer, truncation=True, max_length=self.length, return_tensors="pt")
            with torch.inference_mode():
                found.append(float(self.model(**inputs.to(self.device)).logits.squeeze()))
        return np.array(found, dtype=np.float64)
