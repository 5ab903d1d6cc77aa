"""QuRating: how well written, expert, factual and educational a model finds a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hf_datasel.contracts import Batch, Columns
from hf_datasel.proxy import Proxy
from hf_datasel.proxy.batch_size import max_tokens
from hf_datasel.rows.turns import text_of
from hf_datasel.scorers.with_proxy import call, state_of


if TYPE_CHECKING:
    from hf_datasel.proxy.rating_head import LoadedRater

CRITERIA = ("writing_style", "required_expertise", "facts_and_trivia", "educational_value")
ROWS = 64  # rated at a time, whatever is missing of them
NO_TEXT, NAN_RATING = "no_text", "nan_rating"


@dataclass(frozen=True)
class QuRating:
    """Sum of a rating model's criteria for a row's text, on the model's own scale. Cost: 1 F of that model.

    The text is read in windows; its rating is their mean, by tokens. Made for pre-training documents: of a row for
    fine-tuning, say which part is rated. Draw with `SoftmaxSample`, as the paper does, or keep the best.

    Args:
        rater: a sequence classification model with one output per criterion, as `princeton-nlp/QuRater-1.3B`.
        score: the criteria that are summed.
        of: text that is rated: the whole `"row"`, its `"prompt"` or its `"answer"`.
        criteria: what the model's outputs mean, in their order.
        window: tokens; the released model was trained on texts of up to 512.

    Writes:
        `qurating`, the score; its status: `"ok"`, `"no_text"` or `"nan_rating"`; `qurating_<criterion>` for each; and
        `qurating_tokens`, which `TokenBudget` and `SoftmaxSample` can spend.

    Raises:
        ValueError: an option is out of range; or, when called, the model has another number of outputs.

    Source: https://huggingface.co/papers/2402.09739; windows, their mean and the order of the criteria from its release.

    Example:
        >>> QuRating(Proxy("princeton-nlp/QuRater-1.3B"), score=("educational_value",)).columns[:3]
        ('qurating', 'qurating_status', 'qurating_writing_style')
    """

    rater: Proxy
    score: tuple[str, ...] = CRITERIA
    of: Literal["row", "prompt", "answer"] = "row"
    criteria: tuple[str, ...] = CRITERIA
    window: int = 512

    keeps_journal = True
    algo_version = 1

    def __post_init__(self) -> None:
        for name in ("score", "criteria"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        unknown = sorted(set(self.score) - set(self.criteria))
        if unknown or not self.score:
            raise ValueError(f"`score` is {self.score}, expected one or more of {self.criteria}.")
        if self.of not in ("row", "prompt", "answer"):
            raise ValueError(f"`of` is {self.of!r}, expected 'row', 'prompt' or 'answer'. Name one of them.")
        if self.window < 1:
            raise ValueError(f"`window` is {self.window}, expected at least 1 token.")

    @property
    def columns(self) -> tuple[str, ...]:
        """What a call writes, the score first."""
        return ("qurating", "qurating_status", *(f"qurating_{name}" for name in self.criteria), "qurating_tokens")

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers."""
        own = {name: getattr(self, name) for name in ("score", "of", "criteria", "window")}
        return {"scorer": "QuRating", "algo_version": self.algo_version, "rater": self.rater.spec, **own}

    def __getstate__(self) -> dict[str, Any]:
        return state_of(self)

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Score B rows (or one): see the class."""
        return call(self, batch, rank)

    def _score(
        self, rank: int | None, rows: Sequence[Mapping[str, Any]], missing: frozenset[int]
    ) -> Iterator[tuple[list[int], Columns]]:
        from hf_datasel.proxy.batching import TokenBudget
        from hf_datasel.proxy.rating_head import text_ratings

        rater = self._loaded(rank)
        budget: TokenBudget = self.__dict__.setdefault("_budget", TokenBudget(max_tokens()))
        for start in range(0, len(rows), ROWS):
            places = list(range(start, min(start + ROWS, len(rows))))
            if missing.isdisjoint(places):
                continue
            ratings, tokens = text_ratings(rater, [text_of(rows[at], self.of) for at in places], self.window, budget)
            ratings[~np.isfinite(ratings).all(axis=1)] = np.nan
            score = ratings[:, [self.criteria.index(name) for name in self.score]].sum(axis=1)
            status = [
                NO_TEXT if not count else NAN_RATING if np.isnan(value) else "ok"
                for count, value in zip(tokens, score, strict=True)
            ]
            yield places, dict(zip(self.columns, (score, status, *ratings.T, tokens), strict=True))

    def _loaded(self, rank: int | None) -> LoadedRater:
        if "_rater" not in self.__dict__:
            from hf_datasel.proxy.rating_head import load_rater

            rater = load_rater(self.rater, rank)
            if rater.ratings != len(self.criteria):
                raise ValueError(
                    f"`criteria` names {len(self.criteria)}, expected {rater.ratings}, one for each output of "
                    f"{self.rater.model!r}. Name them in their order."
                )
            self.__dict__["_rater"] = rater
        found: LoadedRater = self.__dict__["_rater"]
        return found
