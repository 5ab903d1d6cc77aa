"""PreSelect: what a fastText classifier of predictive texts says of a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hf_datasel.contracts import Batch, Columns
from hf_datasel.errors import DataselError, MissingExtra
from hf_datasel.rows.batches import rows_of
from hf_datasel.rows.turns import text_of


@dataclass(frozen=True)
class PreSelect:
    """Probability that a row's text is of the kind that predicts how good models are, 0 to 1. Cost: no forward pass.

    Any supervised fastText model will do that has a label for texts worth keeping. The released one was fitted to
    pre-training documents; for rows of your own, fit one with `QualityClassifier`.

    Args:
        model: file of a fastText model, such as `PreSelect-classifier.bin` of `hkust-nlp/preselect-fasttext-classifier`.
        of: text that is read: the whole `"row"`, its `"prompt"` or its `"answer"`. Line breaks are read as spaces.
        label: of the texts worth keeping.

    Writes: `pre_select`, `pre_select_status` (`"ok"`, `"no_text"`).

    Raises:
        ValueError: `of` is unknown.
        DataselError: when called, there is no such file, or the model has no such label.
        MissingExtra: when called, fastText is not installed.

    Source: https://huggingface.co/papers/2503.00808; its classifier's labels are `__label__1` (keep) and `__label__0`. The
        paper keeps a tenth of its documents.

    Example:
        >>> PreSelect("PreSelect-classifier.bin").columns
        ('pre_select', 'pre_select_status')
    """

    model: str
    of: Literal["row", "prompt", "answer"] = "row"
    label: str = "__label__1"

    columns = ("pre_select", "pre_select_status")
    algo_version = 1

    def __post_init__(self) -> None:
        if self.of not in ("row", "prompt", "answer"):
            raise ValueError(f"`of` is {self.of!r}, expected 'row', 'prompt' or 'answer'. Name one of them.")

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers: the model by its content."""
        return {"scorer": "PreSelect", "algo_version": self.algo_version, **asdict(self), "weights": self._digest}

    @property
    def _digest(self) -> str:
        path = Path(self.model)
        if not path.is_file():
            raise DataselError(
                f"`model` is {self.model!r}, which is no file, expected a fastText model. For the released one: hf download "
                f"hkust-nlp/preselect-fasttext-classifier PreSelect-classifier.bin"
            )
        stat = path.stat()
        return _content_digest(str(path), stat.st_size, stat.st_mtime_ns)

    def __getstate__(self) -> dict[str, Any]:
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"algo_version": self.algo_version, "weights": self._digest, **own}

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Score B rows (or one): see the class."""
        rows, single = rows_of(batch)
        found = [self._row(row) for row in rows]
        columns: Columns = {
            "pre_select": np.array([value for value, _ in found], np.float64),
            "pre_select_status": [status for _, status in found],
        }
        return {name: values[0] for name, values in columns.items()} if single else columns

    def _row(self, row: Mapping[str, Any]) -> tuple[float, str]:
        text = one_line(text_of(row, self.of))
        if not text:
            return float("nan"), "no_text"
        # Its own `predict` around this one cannot be called with NumPy 2. Probabilities sum to a little more than 1.
        found = {label: value for value, label in self._loaded().f.predict(f"{text}\n", -1, 0.0, "strict")}
        return min(1.0, float(found[self.label])), "ok"

    def _loaded(self) -> Any:
        if "_model" not in self.__dict__:
            self.__dict__["weights"] = self._digest  # says that there is no file before fastText says something else
            model = fast_text().load_model(self.model)
            if self.label not in model.labels:
                raise DataselError(f"`label` is {self.label!r}, expected one of the model's: {sorted(model.labels)}.")
            self.__dict__["_model"] = model
        return self.__dict__["_model"]


def one_line(text: str) -> str:
    """The text as fastText reads it: line breaks would end it.

    Example:
        >>> one_line(" a\\n\\n b ")
        'a b'
    """
    return " ".join(text.split())


def fast_text() -> Any:
    """The library.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import fasttext
    except ImportError as error:
        raise MissingExtra(
            "`PreSelect` needs fastText. Install it with: pip install 'hf_datasel[fasttext]'"
        ) from error
    return fasttext


@lru_cache(maxsize=16)
def _content_digest(path: str, size: int, changed: int) -> str:
    digest = blake2b(digest_size=16)
    with open(path, "rb") as file:
        while chunk := file.read(1 << 22):
            digest.update(chunk)
    return digest.hexdigest()
