"""Sentence embedding: what a row is about, as a model made to compare texts has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from hf_datasel.contracts import Batch, Columns
from hf_datasel.errors import MissingExtra
from hf_datasel.proxy import Proxy
from hf_datasel.rows.batches import rows_of
from hf_datasel.rows.journal import resumed
from hf_datasel.rows.turns import text_of
from hf_datasel.scorers.with_proxy import state_of


ROWS = 32  # encoded at a time


@dataclass(frozen=True)
class SentenceEmbedding:
    """A vector for each row from a sentence-transformers model, for the rules that compare rows. Cost: 1 F of that model.

    A column of D numbers (float32), NaN where a row has no text. The same columns as `Embedding`, so that recipes can take
    either.

    Args:
        model: Hub id or local folder of a sentence-transformers model.
        revision: of a Hub id; pin it to be able to repeat the run.
        of: text that is embedded: questions and answers of the whole `"row"`, its `"prompt"` or its `"answer"`.
        unit: scale vectors to length 1.

    Writes: `embedding`, `embedding_status`.

    Raises:
        ValueError: an option is unknown.
        MissingExtra: sentence-transformers is not installed.

    Source: https://huggingface.co/papers/1908.10084; embeddings of this kind are what the rules of `selectors/` compare in
        most studies of text.

    Example:
        >>> SentenceEmbedding("sentence-transformers/all-MiniLM-L6-v2").columns
        ('embedding', 'embedding_status')
    """

    model: str
    revision: str | None = None
    of: Literal["row", "prompt", "answer"] = "row"
    unit: bool = True

    columns = ("embedding", "embedding_status")
    vectors = columns[:1]
    keeps_journal = True
    algo_version = 1

    def __post_init__(self) -> None:
        if self.of not in ("row", "prompt", "answer"):
            raise ValueError(f"`of` is {self.of!r}, expected 'row', 'prompt' or 'answer'. Name one of them.")

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers."""
        weights = Proxy(self.model, self.revision).digest
        return {"scorer": "SentenceEmbedding", "algo_version": self.algo_version, **asdict(self), "weights": weights}

    def __getstate__(self) -> dict[str, Any]:
        return state_of(self)

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Embed B rows (or one): see the class."""
        rows, single = rows_of(batch)
        if "_spec" not in self.__dict__:
            self.__dict__["_spec"] = self.spec
        found = resumed(self.__dict__["_spec"], rows, self._score, self.columns)
        vectors = np.asarray(found["embedding"], np.float32)
        columns = {"embedding": vectors, "embedding_status": found["embedding_status"]}
        return {name: values[0] for name, values in columns.items()} if single else columns

    def _score(
        self, rows: Sequence[Mapping[str, Any]], missing: frozenset[int]
    ) -> Iterator[tuple[list[int], Columns]]:
        """Rows with texts of like length together, as the model's own `encode` takes them."""
        model = self._loaded()
        texts = [text_of(row, self.of) for row in rows]
        order = sorted(range(len(rows)), key=lambda place: (len(texts[place]), place))
        for start in range(0, len(order), ROWS):
            places = order[start : start + ROWS]
            if missing.isdisjoint(places):
                continue
            there = [at for at, place in enumerate(places) if texts[place]]
            vectors = np.full((len(places), model.get_embedding_dimension()), np.nan, dtype=np.float32)
            if there:
                vectors[there] = model.encode(
                    [texts[places[at]] for at in there], normalize_embeddings=self.unit, show_progress_bar=False
                )
            status = ["ok" if texts[place] else "no_text" for place in places]
            yield places, {"embedding": vectors, "embedding_status": status}

    def _loaded(self) -> Any:
        if "_model" not in self.__dict__:
            try:
                from sentence_transformers import SentenceTransformer
            except ImportError as error:
                raise MissingExtra(
                    "`SentenceEmbedding` needs sentence-transformers. Install it with: pip install 'hf_datasel[sentences]', "
                    "or take `Embedding`, the proxy's own states."
                ) from error
            self.__dict__["_model"] = SentenceTransformer(
                self.model, revision=self.revision, trust_remote_code=False, model_kwargs={"use_safetensors": True}
            )
        return self.__dict__["_model"]
