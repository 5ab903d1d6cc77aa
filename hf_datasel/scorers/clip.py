"""CLIP of a row: how far its image and its text agree, and both as embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from hf_datasel.contracts import Batch, Columns
from hf_datasel.errors import MissingExtra
from hf_datasel.proxy.proxy import Proxy, torch_device
from hf_datasel.rows.batches import rows_of
from hf_datasel.rows.pixels import frames_of
from hf_datasel.rows.video import UnreadableMedia
from hf_datasel.scorers.goal.text import question_and_answer


BATCH = 32  # rows a forward pass
PLACEHOLDER = "<image>"
OK, TRUNCATED, NO_MEDIA, UNREADABLE, NO_TEXT = "ok", "truncated", "no_media", "unreadable_media", "no_text"


@dataclass(frozen=True)
class CLIPScore:
    """Cosine of a row's image and text under CLIP, -1 to 1. Higher means that they agree, and means keep.

    Cost: 1 F of the image encoder an image, 1 F of the text encoder. A row without an image has no score. With the weights of
    PickScore, or of another model of CLIP's shape that was trained on preferences, it is that reward.

    Args:
        model: Hub id or folder of any model of transformers that has `get_image_features` and `get_text_features`: CLIP, SigLIP,
            ALIGN, and so on.
        revision: branch, tag or commit of a Hub id.
        text: `"dialogue"`, question and answer; or `"question"` or `"answer"` alone. What is longer than the model reads (77
            tokens for CLIP) is cut.
        num_frames: images of a row, or frames of its video, that are looked at: the mean of their directions counts.

    Writes:
        `clip_score`, `clip_score_status` (`"ok"`, `"truncated"` where the text was cut, `"no_media"`, `"unreadable_media"`,
        `"no_text"`).

    Raises:
        ValueError: a setting is out of range.
        BadRow: the rows have no text column.
        MissingExtra: torch or transformers is not installed.

    Source: CLIPScore, https://huggingface.co/papers/2104.08718, without its factor of 2.5 and its cut at 0, which change no
        ranking of rows that agree at all; the CLIP-Score baseline of CoIDO (NeurIPS 2025), Tab. 1.

    Example:
        >>> CLIPScore("openai/clip-vit-large-patch14").columns
        ('clip_score', 'clip_score_status')
    """

    model: str = "openai/clip-vit-large-patch14"
    revision: str | None = None
    text: Literal["dialogue", "question", "answer"] = "dialogue"
    num_frames: int = 4

    algo_version = 2

    def __post_init__(self) -> None:
        if self.text not in ("dialogue", "question", "answer"):
            raise ValueError(f"`text` is {self.text!r}, expected 'dialogue', 'question' or 'answer'.")
        if self.num_frames < 1:
            raise ValueError(f"`num_frames` is {self.num_frames}, expected at least 1.")

    @property
    def columns(self) -> tuple[str, ...]:
        """What a call writes, the score first."""
        return ("clip_score", "clip_score_status")

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers."""
        weights = Proxy(self.model, self.revision).digest
        return {"scorer": type(self).__name__, "algo_version": self.algo_version, **asdict(self), "weights": weights}

    def __getstate__(self) -> dict[str, Any]:
        # With the digest, so that datasets' fingerprint changes when a local folder does.
        return self.spec

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update({name: state[name] for name in ("model", "revision", "text", "num_frames")})

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Score B rows (or one): see the class."""
        rows, single = rows_of(batch)
        found: dict[str, list[Any]] = {name: [] for name in ("score", "status", "image", "text")}
        for start in range(0, len(rows), BATCH):
            for name, values in self._batch(rows[start : start + BATCH], rank).items():
                found[name] += values
        columns: Columns = self._columns(found)
        return {name: values[0] for name, values in columns.items()} if single else columns

    def _columns(self, found: Mapping[str, list[Any]]) -> Columns:
        return {"clip_score": np.array(found["score"], dtype=np.float64), "clip_score_status": found["status"]}

    def _batch(self, rows: Sequence[Mapping[str, Any]], rank: int | None) -> dict[str, list[Any]]:
        texts = [self._text(row) for row in rows]
        frames, status = [], []
        for row, text in zip(rows, texts, strict=True):
            try:
                frames.append(frames_of(row, self.num_frames))
                status.append(OK if frames[-1] and text else NO_MEDIA if text else NO_TEXT)
            except UnreadableMedia:
                frames.append([])
                status.append(UNREADABLE)
        encoder = self._encoder(rank)
        images, words = encoder.images(frames), encoder.texts(texts)
        status = [TRUNCATED if its == OK and cut else its for its, cut in zip(status, encoder.cut(texts), strict=True)]
        scores = [
            np.nan if image is None or word is None else float(image.astype(np.float64) @ word)
            for image, word in zip(images, words, strict=True)
        ]
        return {"score": scores, "status": status, "image": images, "text": words}

    def _text(self, row: Mapping[str, Any]) -> str:
        question, answer = (text.replace(PLACEHOLDER, "").strip() for text in question_and_answer(row))
        if self.text == "question":
            return question
        if self.text == "answer" or not question:
            return answer
        return f"USER: {question} ASSISTANT: {answer}" if answer else ""

    def _encoder(self, rank: int | None) -> Any:
        if "_loaded" not in self.__dict__:
            self.__dict__["_loaded"] = _Encoder(self.model, self.revision, rank)
        return self.__dict__["_loaded"]


@dataclass(frozen=True)
class CLIPFeatures(CLIPScore):
    """`CLIPScore`, and what it compares: a row's image and text as CLIP sees them, of length 1 each. Cost: the same.

    What `learners.CoIDO` reads by default. A row without an image has its text all the same.

    Writes:
        `clip_score`, `clip_score_status`, `clip_image`, `clip_text` (lists of D numbers, null where there is none).

    Source: CoIDO (NeurIPS 2025), A.1; the text encoder is CLIP's as in its release, where the paper names Llama 2 or Vicuna and
        a reduction of dimensions that it does not describe.

    Example:
        >>> CLIPFeatures("openai/clip-vit-large-patch14").columns[2:]
        ('clip_image', 'clip_text')
    """

    vectors = ("clip_image", "clip_text")

    @property
    def columns(self) -> tuple[str, ...]:
        """What a call writes, the score first."""
        return ("clip_score", "clip_score_status", *self.vectors)

    def _columns(self, found: Mapping[str, list[Any]]) -> Columns:
        return {**super()._columns(found), "clip_image": found["image"], "clip_text": found["text"]}


class _Encoder:
    """Image and text encoder in memory."""

    def __init__(self, model: str, revision: str | None, rank: int | None) -> None:
        try:
            import torch
            from transformers import AutoImageProcessor, AutoModel, AutoTokenizer
        except ImportError as error:
            raise MissingExtra("CLIP needs torch. Install it with: pip install 'hf_datasel[models,images]'") from error
        code = {"revision": revision, "trust_remote_code": False}
        loaded: Any = AutoModel.from_pretrained(model, dtype=torch.float32, use_safetensors=True, **code)
        self.device = torch_device(rank)
        self.model = loaded.to(self.device).eval()
        self.pixels: Any = AutoImageProcessor.from_pretrained(model, **code)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(model, **code)
        text = getattr(self.model.config, "text_config", self.model.config)
        self.context = int(getattr(text, "max_position_embeddings", 77))

    def images(self, frames: Sequence[Sequence[Any]]) -> list[Any]:
        """A direction for each row that has frames, else None."""
        flat = [frame for its in frames for frame in its]
        if not flat:
            return [None] * len(frames)
        inputs = self.pixels(images=flat, return_tensors="pt", input_data_format="channels_last").to(self.device)
        found = self._run(self.model.get_image_features, inputs)
        places = np.cumsum([0, *(len(its) for its in frames)])
        parts = [found[a:b].mean(axis=0) if b > a else None for a, b in pairwise(places)]
        return [None if part is None else (part / np.linalg.norm(part)).astype(np.float32) for part in parts]

    def texts(self, texts: Sequence[str]) -> list[Any]:
        """A direction for each text that is not empty, else None."""
        there = [place for place, text in enumerate(texts) if text]
        found: list[Any] = [None] * len(texts)
        if there:
            # To the full length: SigLIP was trained so, and a row's numbers do not hang on its neighbours' lengths.
            inputs = self.tokenizer(
                [texts[place] for place in there], padding="max_length", truncation=True, max_length=self.context,
                return_tensors="pt",
            ).to(self.device)  # fmt: skip
            for place, vector in zip(there, self._run(self.model.get_text_features, inputs), strict=True):
                found[place] = vector.astype(np.float32)
        return found

    def cut(self, texts: Sequence[str]) -> list[bool]:
        """Which texts are longer than the encoder reads."""
        tokens = self.tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]
        return [len(its) > self.context for its in tokens]

    def _run(self, encode: Any, inputs: Any) -> Any:
        import torch

        with torch.inference_mode():
            output = encode(**inputs)
        features = getattr(output, "pooler_output", output)
        return torch.nn.functional.normalize(features.double(), dim=-1).cpu().numpy()
