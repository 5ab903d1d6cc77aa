"""LESS: a row is worth the cosine of its Adam direction with the gradients of the target task, over checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hf_datasel.contracts import Batch, Columns, Scores
from hf_datasel.proxy import Proxy
from hf_datasel.proxy.gradient_store import GradientReader, GradientStore
from hf_datasel.rows import Labels
from hf_datasel.scorers.with_anchors import groups_of, plain_anchors, refuse_anchors
from hf_datasel.scorers.with_gradients import anchor_features, chunks_of, gradient_spec, group_means
from hf_datasel.scorers.with_proxy import call, restore, state_of


if TYPE_CHECKING:
    from datasets import Dataset

    from hf_datasel.proxy.gradient_store import Features


@dataclass(frozen=True)
class LESS:
    """Influence: cosine of a row's direction with an anchor's gradient, both projected; averaged over the anchors of a
    subtask, added up over checkpoints by weight, and the best subtask's taken. No unit, -1 to 1. Higher means keep.

    Cost: 1 F + 1 B a row and checkpoint, once: 0 for rows that the store has. Other anchors cost their own F + B alone.
    The models of all checkpoints stay in memory where rows are missing; `store_gradients` takes one at a time.

    Args:
        proxy: the model, by default also the only checkpoint.
        anchors: A rows of the target task, in any format of TRL's SFT.
        store: where projected gradients lie.
        checkpoints: folders of several checkpoints of one training, which take the place of the proxy's weights (of its
            adapter, where they hold one), each with `optimizer.pt` for `"adam"`.
        weights: of the checkpoints; the paper: the mean learning rate of each epoch. Equal where there are none.
        gradient: of the rows: `"adam"`, as LESS has it, or `"sgd"`, as ICONS has it. Anchors have plain gradients always.
        anchor_groups: column of the anchors that names their subtask (or task). Adds one influence per group.
        group_score: what `less_influence` is with groups: their `"maximum"`, or their `"mean"`.
        reduction: of a row's loss over its target tokens; the papers' code: the mean.
        labels: how rows become tokens and labels; give training the same.

    Writes:
        `less_influence` (the score), `less_influence_status`, `less_row_loss` (at the last checkpoint, nats per token),
        and with groups `less_influence_group_<name>`.

    Raises:
        ValueError: options that do not fit each other.
        OverlapError: an anchor occurs in the pool.
        BadRow: an anchor has no gradient.
        DataselError: `gradient` is `"adam"` and a checkpoint has no state of Adam.

    Source: https://huggingface.co/papers/2402.04333, Eq. 3 and 4.1, and its released code (Adam direction, K = 8192,
        max over subtasks); the weights of the proxy that warmed up on 5 % of the pool, 4 epochs, are the user's to make.

    Example:
        >>> anchors = [{"prompt": "1 + 1 = ", "completion": "2", "subtask": "sums"}]
        >>> proxy, store = Proxy("HuggingFaceTB/SmolLM2-135M"), GradientStore("runs/gradients")
        >>> LESS(proxy, anchors, store, anchor_groups="subtask").columns
        ('less_influence', 'less_influence_status', 'less_row_loss', 'less_influence_group_sums')
    """

    proxy: Proxy
    anchors: Dataset | Sequence[Mapping[str, Any]]
    store: GradientStore
    checkpoints: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    gradient: Literal["adam", "sgd"] = "adam"
    anchor_groups: str | None = None
    group_score: Literal["maximum", "mean"] = "maximum"
    reduction: Literal["mean", "sum"] = "mean"
    labels: Labels = Labels()  # noqa: RUF009 (frozen)

    keeps_journal = True
    algo_version = 1

    def __post_init__(self) -> None:
        for name in ("checkpoints", "weights"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        rows = plain_anchors(self.anchors, self.anchor_groups, self.labels.dataset_text_field)
        object.__setattr__(self, "anchors", rows)
        if self.weights and (len(self.weights) != max(1, len(self.checkpoints)) or min(self.weights) <= 0):
            raise ValueError(
                f"`weights` is {self.weights} for {max(1, len(self.checkpoints))} checkpoints, expected a positive number "
                f"for each, such as its mean learning rate."
            )
        known = {"gradient": ("adam", "sgd"), "group_score": ("maximum", "mean"), "reduction": ("mean", "sum")}
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise ValueError(f"`{name}` is {getattr(self, name)!r}, expected one of {values}.")

    @property
    def columns(self) -> tuple[str, ...]:
        """What a call writes, the score first."""
        names = ("less_influence", "less_influence_status", "less_row_loss")
        groups = groups_of(self.anchors, self.anchor_groups) if self.anchor_groups else ()
        return (*names, *(f"less_influence_group_{group}" for group in groups))

    @property
    def proxies(self) -> tuple[Proxy, ...]:
        """The proxy at each checkpoint."""
        return tuple(map(self.proxy.at, self.checkpoints)) or (self.proxy,)

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers, for provenance and for keys."""
        weights = [proxy.digest for proxy in self.proxies]
        described = {**gradient_spec(self), "checkpoints": weights, "weights": list(self.weights)}
        if self.gradient == "adam":
            described["optimizers"] = [proxy.optimizer_digest for proxy in self.proxies]
        return described

    def __getstate__(self) -> dict[str, Any]:
        # Checkpoints count by content, so that fingerprints change when a folder does.
        digests = [proxy.digest for proxy in self.proxies]
        optimizers = [proxy.optimizer_digest for proxy in self.proxies] if self.gradient == "adam" else []
        return {**state_of(self), "digests": digests, "optimizers": optimizers}

    def __setstate__(self, state: dict[str, Any]) -> None:
        restore(self, state)

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Score B rows (or one): see the class."""
        return call(self, batch, rank)

    def _score(
        self, rank: int | None, rows: Sequence[Mapping[str, Any]], missing: frozenset[int]
    ) -> Iterator[tuple[list[int], Columns]]:
        refuse_anchors(self, rows)
        for places in chunks_of(missing):
            some = [rows[place] for place in places]
            products, last = [], None
            for of_rows, of_anchors in self._readers(rank):
                last = of_rows(some)
                products.append(last.directions.astype(np.float64) @ of_anchors.directions.astype(np.float64).T)
            assert last is not None  # noqa: S101 (there is at least one checkpoint)
            influence = group_means(weighted(products, self.weights), self.anchors, self.anchor_groups)
            score = influence.max(1) if self.group_score == "maximum" else influence.mean(1)
            yield places, dict(zip(self.columns, (score, last.status, last.losses, *influence.T), strict=False))

    def _readers(self, rank: int | None) -> list[tuple[GradientReader, Features]]:
        """Of each checkpoint: what reads rows, and the anchors as they are there."""
        if "_loaded" not in self.__dict__:
            loaded = []
            for proxy in self.proxies:
                plain = GradientReader(self.store, proxy, self.labels, "sgd", self.reduction, rank)
                of_anchors = anchor_features(self, plain)
                of_rows = plain
                if self.gradient == "adam":
                    of_rows = GradientReader(self.store, proxy, self.labels, "adam", self.reduction, rank)
                loaded.append((of_rows, of_anchors))
            self.__dict__["_loaded"] = loaded
        found: list[tuple[GradientReader, Features]] = self.__dict__["_loaded"]
        return found


def weighted(products: Sequence[Scores], weights: Sequence[float]) -> Scores:
    """The checkpoints' values, each (B, A), added up by weights that are scaled to add up to 1.

    Example:
        >>> weighted([np.array([[0.9]]), np.array([[0.3]])], (2e-5, 1e-5))
        array([[0.7]])
    """
    shares = np.array(weights or [1.0] * len(products))
    total: Scores = np.einsum("c,cba->ba", shares / shares.sum(), np.stack(products))
    return total
