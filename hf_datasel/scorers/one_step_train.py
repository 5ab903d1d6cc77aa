"""One-Step-Train: a row is worth the fall in anchor loss after one simulated step on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from hf_datasel.contracts import Batch, Columns
from hf_datasel.proxy import Proxy
from hf_datasel.proxy.batch_size import encoded_batches, max_tokens
from hf_datasel.proxy.proxy import encode
from hf_datasel.rows import Labels, refuse_overlap
from hf_datasel.scorers.one_step_columns import FIGURES, GROUP_SCORES, utility_columns
from hf_datasel.scorers.with_anchors import anchors_spec, plain_anchors, refuse_anchors
from hf_datasel.scorers.with_proxy import call, restore, spec_of, state_of


if TYPE_CHECKING:
    from datasets import Dataset

    from hf_datasel.proxy.utility import UtilityEngine

OPTIONS = {
    "estimator": ("first_order", "second_order", "exact"),
    "step": ("sgd", "adam"),
    "normalize": ("none", "cosine"),
    "reduction": ("mean", "sum"),
    "group_score": ("mean", "minimum", "vote"),
    "token_level": (False, True),
    "engine": ("auto", "forward_mode", "finite_differences", "bfloat16", "ghost", "per_row"),
}


@dataclass(frozen=True)
class OneStepTrain:
    """Utility: fall in anchor loss after one SGD step on the row alone, in nats per token. Higher means keep.

    Cost per row (F, B: one forward, one backward; A anchors): `first_order` 2.5 to 2.6 F, a few hundredths more for each
    anchor group after the first, with cosine 1 F + 1 B; `second_order` 1 F + 1 B + 3 A (F + B); `exact` 1 F + 1 B + A F.
    Once per process: A (F + B).

    Args:
        proxy: the small model that scores.
        anchors: A rows of the target task, in any format of TRL's SFT. The paper: 100, stratified.
        estimator: `"first_order"`, the derivative of each row's loss along the anchor gradient, right for small
            steps; `"second_order"` adds the curvature of the anchor loss; `"exact"` takes the step, measures, undoes.
        learning_rate: eta. Scales `first_order` and does not change its order. The paper's 1e-7 is lost in rounding
            (rank correlation with the truth on a Llama of 2.4 million weights: 0.80 in float32, 0.06 in bfloat16); at
            1e-5 float32 keeps 0.9998.
        step: `"sgd"`, or `"adam"`: the step that Adam would take next, from the `optimizer.pt` in the proxy's folder (a
            checkpoint of `transformers.Trainer`). `first_order` is then <g_V, direction> (1 F + 1 B a row). Weight decay
            moves the weights without any row: that part is the same for all. Gradients are not clipped.
        normalize: `"cosine"` writes the cosine of the two gradients instead (no unit; `first_order` only).
        reduction: a row's own loss as mean or sum over its target tokens. Anchors are always means.
        anchor_groups: column of the anchors that names their group. Adds one utility per group.
        group_score: what `ost_utility` is with groups: their `"mean"`, `"minimum"`, or the share of groups that the
            row helps (`"vote"`).
        token_level: adds the utility of every target token (`first_order`, without groups or cosine).
        engine: how `first_order` is computed; the numbers are the same (to 1e-5) but for two engines, which are refused
            where exact values of the anchors say otherwise.
            `"forward_mode"`: derivatives carried along one forward, 2.5 to 2.6 F per group. `"ghost"`: one forward and
            backward for all groups, for models of linear layers, embeddings, norms and convolutions. `"per_row"`: 1 F +
            1 B, a row at a time, any model. `"finite_differences"`: 1.8 F per group, in float32 or wider, for models
            without experts, to 1e-3, its step calibrated on the anchors. `"bfloat16"`: forward mode rounded to 8 bits for
            a float32 proxy, 0.8 to 1.1 F per group where the processor multiplies bfloat16; rounds `ost_row_loss` too (to
            1e-2). `"auto"`: the cheapest
            exact one that agrees with `"per_row"` on four anchors: the same in every process, see `engine_report`.
        also: figures of every row from the same forward: any of `"loss"` (always there: `ost_row_loss`), `"perplexity"`
            (exponential of the mean loss), `"el2n"` (mean over target tokens of |softmax - onehot|), `"aum"` (mean over
            target tokens of the target's logit minus the largest other) and `"length"` (target tokens). 1 F more where
            rows are measured one by one or with another estimator.
        checkpoints: folders (or Hub ids) of other states of the proxy, such as those Trainer saved on the way to it. Every
            number is then the mean over the proxy and these, each measured by its own anchor gradient; all are loaded at
            once, and the cost is theirs together.
        labels: how rows become tokens and labels; give training the same.
        evaluation: held-out rows the trained model will be judged on; only to refuse anchors among them.

    Writes:
        `ost_utility` (the score), `ost_utility_status` (`"ok"`, `"truncated"`, or why the score is NaN),
        `ost_row_loss` (the row's own loss), and with `first_order` and `second_order` `ost_dot` (<g_V, g_i>, or
        <g_V, direction> with Adam, which no step size touches). `exact`: `ost_anchor_loss_change` (new minus old, the sign the paper's Fig. 4 plots) and
        `ost_weights_changed` (share of weights the step moved). `second_order`: `ost_curvature`. Groups:
        `ost_utility_mean`, `_minimum`, `_vote` and `ost_utility_group_<name>`. Tokens: `ost_token_utility` and
        `ost_token_text`, whose mean (or sum, as `reduction`) is `ost_utility`. `also`: `ost_row_<figure>`.

    Raises:
        ValueError: options that exclude each other.
        OverlapError: an anchor occurs in the pool or in `evaluation`.
        BadRow: an anchor has no loss, or the pool no training column.
        NoStep: an `exact` step changed no weight.
        DataselError: `step` is `"adam"` and the proxy has no state of Adam; or the engine named does not fit the proxy.

    Source: https://huggingface.co/papers/2605.07488, Eq. 2 (`exact`), Eq. 3 (`first_order`), A.1 (`second_order`);
        https://huggingface.co/papers/2410.14208 (one step of Adam, as Montessori-Instruct's local data influence).
        The paper leaves reduction, mode and parameters open; here: mean over target tokens, evaluation mode, all.

    Example:
        >>> anchors = [{"prompt": "1 + 1 = ", "completion": "2"}]
        >>> scorer = OneStepTrain(Proxy("HuggingFaceTB/SmolLM2-135M"), anchors)
        >>> scorer.columns
        ('ost_utility', 'ost_utility_status', 'ost_row_loss', 'ost_dot')
    """

    proxy: Proxy
    anchors: Dataset | Sequence[Mapping[str, Any]]
    estimator: Literal["first_order", "second_order", "exact"] = "first_order"
    learning_rate: float = 1e-5
    step: Literal["sgd", "adam"] = "sgd"
    normalize: Literal["none", "cosine"] = "none"
    reduction: Literal["mean", "sum"] = "mean"
    anchor_groups: str | None = None
    group_score: Literal["mean", "minimum", "vote"] = "mean"
    token_level: bool = False
    engine: Literal["auto", "forward_mode", "finite_differences", "bfloat16", "ghost", "per_row"] = "auto"
    also: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()
    labels: Labels = Labels()  # noqa: RUF009 (frozen)
    evaluation: InitVar[Dataset | None] = None

    keeps_journal = True  # finished rows are on disk batch by batch, however it is called
    algo_version = 1  # raise when the numbers change: classes of an installed package are fingerprinted by name only

    def __post_init__(self, evaluation: Dataset | None) -> None:
        object.__setattr__(self, "also", tuple(self.also))
        object.__setattr__(self, "checkpoints", tuple(self.checkpoints))
        self._check_options()
        rows = plain_anchors(self.anchors, self.anchor_groups, self.labels.dataset_text_field)
        object.__setattr__(self, "anchors", rows)
        if evaluation is not None:
            refuse_overlap(self.anchors, evaluation=evaluation)

    def _check_options(self) -> None:
        for name, allowed in OPTIONS.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"`{name}` is {getattr(self, name)!r}, expected one of {allowed}.")
        if isinstance(self.learning_rate, str) or not self.learning_rate > 0:
            raise ValueError(f"`learning_rate` is {self.learning_rate!r}, expected a positive step size such as 1e-5.")
        plain = self.estimator == "first_order" and self.normalize == "none" and self.anchor_groups is None
        if self.token_level and not plain:
            raise ValueError("`token_level` is True, expected with it 'first_order' without `normalize` and groups.")
        self._check_engine(plain)
        if self.step == "adam" and (self.estimator == "second_order" or self.normalize != "none" or self.token_level):
            raise ValueError(
                "`step` is 'adam', expected with 'first_order' or 'exact', without `normalize` and `token_level`: the "
                "step is not linear in the row's gradient."
            )
        if self.normalize == "cosine" and self.estimator != "first_order":
            raise ValueError(
                f"`normalize` is 'cosine', expected with estimator='first_order', not {self.estimator!r}."
            )
        if self.estimator == "exact" and self.proxy.dtype not in ("float32", "float64"):
            raise ValueError(
                f"`proxy.dtype` is {self.proxy.dtype!r}, expected 'float32' or 'float64' for estimator='exact': a small "
                f"step is lost in 16-bit weights. 'first_order' works in every dtype."
            )

    def _check_engine(self, plain: bool) -> None:
        unknown = [name for name in self.also if name not in FIGURES]
        if unknown:
            raise ValueError(f"`also` holds {unknown[0]!r}, expected any of {FIGURES}.")
        linear = self.estimator == "first_order" and self.normalize == "none" and self.step == "sgd"
        if self.engine not in ("auto", "per_row") and not linear:
            raise ValueError(
                f"`engine` is {self.engine!r}, expected 'auto' or 'per_row' with another estimator than 'first_order', "
                f"with `normalize` or with Adam's step: these need each row's own gradient."
            )
        if self.engine == "ghost" and self.token_level:
            raise ValueError("`engine` is 'ghost', expected 'auto' or 'forward_mode' with `token_level`.")
        if self.engine in ("finite_differences", "bfloat16") and self.proxy.dtype not in ("float32", "float64"):
            raise ValueError(
                f"`engine` is {self.engine!r} and `proxy.dtype` {self.proxy.dtype!r}, expected 'float32' or 'float64': in 16 "
                f"bits the difference of two losses is rounding noise, and forward mode is rounded anyway. Use "
                f"engine='auto'."
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """What a call writes, the score first."""
        names = ["ost_utility", "ost_utility_status", "ost_row_loss"]
        if self.estimator == "exact":
            names += ["ost_anchor_loss_change", "ost_weights_changed"]
        else:
            names += ["ost_dot"]
        if self.estimator == "second_order":
            names += ["ost_curvature"]
        if self.anchor_groups:
            groups = sorted({str(row[self.anchor_groups]) for row in self.anchors})
            names += [f"ost_utility_{kind}" for kind in GROUP_SCORES]
            names += [f"ost_utility_group_{group}" for group in groups]
        if self.token_level:
            names += ["ost_token_utility", "ost_token_text"]
        names += [f"ost_row_{name}" for name in FIGURES if name in self.also and name != "loss"]
        return tuple(names)

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers, for provenance and for keys."""
        described = {name: value for name, value in spec_of(self).items() if name != "checkpoints"}
        if self.checkpoints:
            described["checkpoints"] = [proxy.spec for proxy in self._proxies[1:]]
        described["anchors"] = anchors_spec(self, self.anchor_groups)
        return {**described, **self._optimizers()}

    def __getstate__(self) -> dict[str, Any]:
        weights = [proxy.digest for proxy in self._proxies[1:]]  # a folder may come to hold other weights
        return {**state_of(self), **self._optimizers(), **({"weights": weights} if weights else {})}

    def __setstate__(self, state: dict[str, Any]) -> None:
        restore(self, state)

    def __call__(self, batch: Batch, rank: int | None = None) -> Columns:
        """Score B rows (or one): see the class."""
        return call(self, batch, rank)

    def _score(
        self, rank: int | None, rows: Sequence[Mapping[str, Any]], missing: frozenset[int]
    ) -> Iterator[tuple[list[int], Columns]]:
        """The batches of like length that hold a missing row, and the rows that cannot be scored."""
        from hf_datasel.proxy.utility import averaged

        refuse_anchors(self, rows)
        engines = self._engines(rank)
        anchors = engines[0].anchors
        read = partial(encode, proxy=anchors.proxy, labels=self.labels)
        for batch, its in encoded_batches(rows, missing, read, max_tokens()):
            scorable = [i for i, row in enumerate(its) if row.scorable]
            found = averaged([engine([its[i] for i in scorable]) for engine in engines])
            columns = utility_columns(its, scorable, found, anchors, self.group_score, self.token_level)
            yield batch, {name: columns[name] for name in self.columns}

    @property
    def engine_report(self) -> dict[str, Any]:
        """Which engine measures `first_order` and why, how far it is from `"per_row"`, what was passed over.

        Chosen here if no row was measured yet (all may come from the journal): the choice is the same every time. Each of
        the `checkpoints` has its own report, under that name.
        """
        own, *others = (engine.chosen[1].as_dict() for engine in self._engines(None))
        return {**own, "checkpoints": others} if others else own

    @property
    def _proxies(self) -> list[Proxy]:
        """The proxy, and the same at other weights."""
        return [self.proxy, *map(self.proxy.at, self.checkpoints)]

    def _optimizers(self) -> dict[str, Any]:
        """What Adam's step follows from beside the weights."""
        if self.step == "sgd":
            return {}
        own, *others = (proxy.optimizer_digest for proxy in self._proxies)
        return {"optimizer": own, "checkpoint_optimizers": others} if others else {"optimizer": own}

    def _engines(self, rank: int | None) -> list[UtilityEngine]:
        """The proxy at each of its weights, and the anchors, loaded once in the process that scores."""
        if "_loaded" not in self.__dict__:
            self.__dict__["_loaded"] = [self._engine_at(proxy, rank) for proxy in self._proxies]
        engines: list[UtilityEngine] = self.__dict__["_loaded"]
        return engines

    def _engine_at(self, weights: Proxy, rank: int | None) -> UtilityEngine:
        from hf_datasel.proxy.adam import load_adam_state
        from hf_datasel.proxy.anchors import anchor_set
        from hf_datasel.proxy.batching import TokenBudget
        from hf_datasel.proxy.utility import UtilityEngine

        proxy = weights.load(self.labels, rank)
        return UtilityEngine(
            anchor_set(proxy, self.anchors, self.labels, self.anchor_groups, max_tokens()),
            self.estimator,
            self.learning_rate,
            self.normalize == "cosine",
            self.reduction,
            TokenBudget(max_tokens()),
            load_adam_state(weights.optimizer, proxy).direction if self.step == "adam" else None,
            self.engine,
            self.token_level,
            self.also,
        )
