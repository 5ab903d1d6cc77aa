"""`WeightScorer`: a network that learned what to weigh rows by, as a scorer of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Batch, Columns, Scores
from hf_datasel.errors import DataselError
from hf_datasel.rows.batches import is_single_row, rows_of
from hf_datasel.rows.identity import row_digest
from hf_datasel.scorers.coido.features import FeatureBuilder, Features
from hf_datasel.scorers.goal.batches import unbatched


Incomplete = Literal["random_share", "zeros", "not_scored"]
INCOMPLETE: tuple[Incomplete, ...] = ("random_share", "zeros", "not_scored")
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
QUANTILES = 101
BLOCK = 1024  # rows the network reads at a time: their hidden numbers stay in the processor's cache


@dataclass(frozen=True, eq=False)
class WeightScorer:
    """Minus the weight that a network, trained beside a model, gives a row. Higher means harder, and means keep.

    What `learners.CoIDO` and `learners.SelfFilter` return. It needs neither model nor training any more, and scores any pool
    with the same columns. Weights of one network can be compared with each other alone: there is no zero. Cost: no forward
    pass; the network.

    Args:
        name: of the score.
        features: from columns to what the network reads.
        network: arguments of `networks.make_network`.
        weights: of the network, by name.
        quantiles: of the scores of the rows it was trained on, in equal steps from the lowest to the highest.
        incomplete: what a row gets that lacks an embedding which others have, as rows of text do in a pool of images:
            `"not_scored"`; `"random_share"`, a draw by its content from the scores of the rows trained on, so that a rule
            keeps as large a share of such rows as of the others, at random, and its status says so; `"zeros"`, what the
            network makes of the rest, if there is any.
        learned: how it was learned, for people and for the spec.

    Writes:
        `<name>`, the score; `<name>_status`: `"ok"`; `"missing_score"`, a score that was missing counted as the mean;
        `"random_share"`, `"zeros"` or `"missing_embedding"` as `incomplete` says; `"no_features"`, and the score is NaN;
        `<name>_weight`, the network's own number, low where it found a row hard, NaN where it was not asked.

    Raises:
        BadRow: a column is not there, or holds something else than in the pool of the fit.

    Source: CoIDO (NeurIPS 2025), 3.2: the lowest scores are kept, the network is used in evaluation mode, without softmax.

    Example:
        >>> builder = FeatureBuilder((), (), ("s",), (0.0,), (1.0,), (0.5,))
        >>> network = {"kind": "linear", "widths": [], "scores": 1}
        >>> scorer = WeightScorer("hard", builder, network, {"factors.weight": np.array([[2.0]], dtype=np.float32)})
        >>> found = scorer({"s": [0.0, 0.75, None]})
        >>> found["hard"], found["hard_weight"]
        (array([ 2., -1., nan]), array([-2.,  1., nan]))
    """

    name: str
    features: FeatureBuilder
    network: Mapping[str, Any]
    weights: Mapping[str, npt.NDArray[np.float32]] = field(repr=False)
    quantiles: tuple[float, ...] = field(default=(), repr=False)
    incomplete: Incomplete = "not_scored"
    learned: Mapping[str, Any] = field(default_factory=dict, repr=False)

    algo_version = 1

    def __post_init__(self) -> None:
        if self.incomplete not in INCOMPLETE:
            raise ValueError(f"`incomplete` is {self.incomplete!r}, expected one of {INCOMPLETE}.")
        if self.incomplete == "random_share" and not self.quantiles:
            raise ValueError(
                "`quantiles` is empty, expected those of the scores to draw from: `incomplete` is 'random_share'."
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """What a call writes, the score first."""
        return (self.name, f"{self.name}_status", f"{self.name}_weight")

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that it reads beside a row's content."""
        return self.features.reads

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers."""
        digest = blake2b(digest_size=16)
        for name in sorted(self.weights):
            digest.update(name.encode() + np.ascontiguousarray(self.weights[name]).tobytes())
        described = self._described()
        described["learned"].pop("last_log", None)  # of one process among several: it decides nothing
        return {
            "scorer": "WeightScorer", "algo_version": self.algo_version, **described, "weights": digest.hexdigest(),
        }  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Score B rows (or one): see the class."""
        single = is_single_row(batch) or self._holds_one(batch)
        given: Any = {name: [batch[name]] for name in batch} if single else batch
        found = self.features.build(given)
        weight = np.full(len(found.complete), np.nan)
        asked = found.complete | ((self.incomplete == "zeros") & ~found.empty)
        weight[asked] = self.weigh(found, asked)
        score = -weight
        if self.incomplete == "random_share":
            self._draw(score, found.lacking, given)
        return unbatched(dict(zip(self.columns, (score, self._status(found), weight), strict=True)), single)

    def save_pretrained(self, folder: str | Path, **_: Any) -> None:
        """Write the network as safetensors, all else as JSON, and a card that says how to load them."""
        from safetensors.numpy import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: np.ascontiguousarray(value) for name, value in self.weights.items()}, folder / WEIGHTS)
        (folder / CONFIG).write_text(json.dumps(self._described(), indent=1) + "\n", encoding="utf-8")
        (folder / CARD).write_text(_card(self), encoding="utf-8")

    @classmethod
    def from_pretrained(cls, model: str | Path, revision: str | None = None, token: str | None = None) -> WeightScorer:
        """What `save_pretrained` or `push_to_hub` wrote.

        Args:
            model: folder, or NAMESPACE/NAME on the Hub.
            revision: branch, tag or commit on the Hub; pin a commit to be sure of what you get.
            token: of the Hub, for private repositories.

        Raises:
            DataselError: there is no such scorer there.
        """
        from safetensors.numpy import load_file
        from transformers.utils.hub import cached_file

        get = partial(cached_file, str(model), revision=revision, token=token)
        try:
            described = json.loads(Path(str(get(CONFIG))).read_text(encoding="utf-8"))
            weights = load_file(str(get(WEIGHTS)))
            features = FeatureBuilder(**described.pop("features"))
            return cls(features=features, weights=weights, **described)
        except (OSError, TypeError, KeyError, ValueError) as error:
            raise DataselError(
                f"`model` is {str(model)!r}, expected a folder or a repository with a saved WeightScorer ({error})."
            ) from error

    def push_to_hub(self, repo_id: str, **options: Any) -> Any:
        """Put it on the Hub as transformers puts a model there, private unless `private=False`; `options` of its `push_to_hub`."""
        from transformers.utils.hub import PushToHubMixin

        pushed = type("WeightScorer", (PushToHubMixin,), {"save_pretrained": staticmethod(self.save_pretrained)})()
        return pushed.push_to_hub(repo_id, **{"private": True, **options})

    def _described(self) -> dict[str, Any]:
        fields = ("name", "network", "quantiles", "incomplete", "learned")
        plain = {name: getattr(self, name) for name in fields}
        described: dict[str, Any] = json.loads(json.dumps({**plain, "features": asdict(self.features)}, default=list))
        return described

    def _holds_one(self, batch: Batch) -> bool:
        """Whether an embedding column holds numbers: then the call was for a row."""
        if type(batch).__name__ == "LazyBatch":  # says what it is, and would make Python lists of its columns
            return False
        for name in self.features.embeddings:
            values = batch.get(name)
            if isinstance(values, list | tuple) and any(isinstance(value, int | float) for value in values):
                return True
            if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype != object:
                return True
        return False

    def weigh(self, found: Features, asked: npt.NDArray[np.bool_]) -> Scores:
        """The network's numbers for the rows asked for, in their order."""
        import torch

        if "_network" not in self.__dict__:
            from hf_datasel.scorers.coido.networks import MLP, FoldedMLP, make_network

            made = make_network(**self.network)
            made.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in self.weights.items()})
            self.__dict__["_network"] = (FoldedMLP(made) if isinstance(made, MLP) else made).eval()
        embedding, scores = torch.from_numpy(found.embedding[asked]), torch.from_numpy(found.scores[asked])
        with torch.inference_mode():
            parts = [
                self.__dict__["_network"](embedding[at : at + BLOCK], scores[at : at + BLOCK])
                for at in range(0, len(embedding), BLOCK)
            ]
        return torch.cat(parts).double().numpy() if parts else np.zeros(0)

    def _draw(self, score: Scores, drawn: npt.NDArray[np.bool_], batch: Batch) -> None:
        if not drawn.any():
            return
        rows, _ = rows_of(batch)
        for place in np.flatnonzero(drawn):
            content = {name: value for name, value in rows[place].items() if name not in self.reads}
            digest = blake2b(row_digest(content).encode(), key=self.name.encode(), digest_size=8).digest()
            share = int.from_bytes(digest, "little") / 2**64
            score[place] = np.interp(share, np.linspace(0, 1, len(self.quantiles)), self.quantiles)

    def _status(self, found: Features) -> list[str]:
        status = np.where(found.measured.all(axis=1), "ok", "missing_score")
        if self.incomplete == "random_share":
            status = np.where(found.empty, "no_features", status)
            return [str(said) for said in np.where(found.lacking, "random_share", status)]
        status = np.where(found.lacking, "zeros" if self.incomplete == "zeros" else "missing_embedding", status)
        return [str(said) for said in np.where(found.empty, "no_features", status)]


def quantiles_of(scores: Scores) -> tuple[float, ...]:
    """Of some scores, in equal steps from the lowest to the highest.

    Example:
        >>> quantiles_of(np.array([3.0, 1.0]))[::50]
        (1.0, 2.0, 3.0)
    """
    return tuple(float(value) for value in np.quantile(scores, np.linspace(0, 1, QUANTILES)))


def _card(scorer: WeightScorer) -> str:
    learned = "\n".join(f"- {name}: `{value}`" for name, value in scorer.learned.items())
    return (
        f"---\nlibrary_name: hf_datasel\ntags:\n- data-selection\n- hf_datasel\n---\n\n# A scorer of training rows\n\n"
        f"Writes `{scorer.name}`, higher means keep, from the columns {', '.join(f'`{name}`' for name in scorer.reads)}.\n\n"
        f"```python\nfrom hf_datasel import WeightScorer\n\nscored = pool.map(WeightScorer.from_pretrained(REPOSITORY), "
        f"batched=True)\n```\n\n## How it was learned\n\n{learned or 'Not recorded.'}\n"
    )
