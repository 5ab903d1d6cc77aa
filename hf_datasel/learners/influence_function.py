"""`InfluenceFunction`: inverts the curvature of the training loss, once, for the anchors."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hf_datasel.errors import BadRow
from hf_datasel.proxy import Proxy
from hf_datasel.proxy.batch_size import length_buckets, max_tokens
from hf_datasel.proxy.proxy import encode
from hf_datasel.rows import Labels
from hf_datasel.rows.batches import rows_of
from hf_datasel.rows.identity import content_only
from hf_datasel.scorers.influence import Influence
from hf_datasel.scorers.with_anchors import anchors_spec, plain_anchors
from hf_datasel.scorers.with_proxy import spec_of


if TYPE_CHECKING:
    from datasets import Dataset

    from hf_datasel.proxy.inverse_hessian import Product, Solution
    from hf_datasel.proxy.one_step import Loss
    from hf_datasel.proxy.proxy import LoadedProxy, Parameters
    from hf_datasel.rows.labels import TokenRow

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class InfluenceFunction:
    """Finds (H + damping I)^-1 g_V, H the Hessian of the pool's mean loss, g_V the anchors' gradient. For small models.

    Cost: A (F + B), and about 3 (F + B) of all N rows for each iteration of `"cg"` (of a batch, for `"lissa"`; times P, for
    `"exact"`); 2 (F + B) in all for `"ekfac"`. The scorer it returns costs 2.5 to 2.6 F a row.

    Args:
        proxy: trained on the pool: H is that of the pool at its weights. float64 is worth its price here.
        anchors: A rows of the target task.
        solver: `"cg"`, conjugate gradients; `"lissa"`, a series over random batches; `"exact"`, the whole matrix (at most
            10,000 parameters); `"ekfac"`, by kronfluence: the Gauss-Newton part of H, each linear layer for itself, in a
            Kronecker basis. Larger models can pay for it; parameters outside linear layers count as 0, with a warning.
        damping: added to H, in its unit. Large damping turns the score into first-order One-Step-Train.
        iterations: at most; of `"cg"` and `"lissa"`.
        tolerance: residual at which `"cg"` ends, as a share of |g_V|.
        scale: of `"lissa"`: above half of the largest eigenvalue of H.
        reduction: of a row's loss over its target tokens.
        seed: of the batches of `"lissa"`, of the tokens that `"ekfac"` draws from the proxy.
        labels: how rows become tokens and labels; give training the same.

    Raises:
        DataselError: the loss curves downwards by more than `damping`, the series grows, or the model is too large.
        BadRow: an anchor, or every row of the pool, has no loss.
        MissingExtra: `solver` is `"ekfac"` and kronfluence is not installed.

    Source: https://huggingface.co/papers/1703.04730 (influence functions; LiSSA) and
        https://huggingface.co/papers/2308.03296 (EK-FAC); damping 0.01 is a usual choice for
        losses that are not convex. The score is minus Koh and Liang's I, so that higher means keep; its scale says
        little, its order much.

    Example:
        >>> InfluenceFunction(Proxy("m"), [{"prompt": "1 + 1 =", "completion": " 2"}], solver="lissa").iterations
        100
    """

    proxy: Proxy
    anchors: Dataset | Sequence[Mapping[str, Any]]
    solver: Literal["cg", "lissa", "exact", "ekfac"] = "cg"
    damping: float = 1e-2
    iterations: int = 100
    tolerance: float = 1e-5
    scale: float = 10.0
    reduction: Literal["mean", "sum"] = "mean"
    seed: int = 0
    labels: Labels = Labels()  # noqa: RUF009 (frozen)

    columns = Influence.columns
    algo_version = 1

    def __post_init__(self) -> None:
        if self.solver not in ("cg", "lissa", "exact", "ekfac"):
            raise ValueError(f"`solver` is {self.solver!r}, expected 'cg', 'lissa', 'exact' or 'ekfac'.")
        if self.damping < 0 or self.iterations < 1 or not self.scale > 0:
            raise ValueError(
                f"`damping` is {self.damping}, `iterations` {self.iterations} and `scale` {self.scale}, expected at least 0, "
                f"at least 1 and more than 0."
            )
        object.__setattr__(self, "anchors", plain_anchors(self.anchors, None, self.labels.dataset_text_field))

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of what decides the numbers, beside the rows it is fitted on."""
        return {**spec_of(self), "anchors": anchors_spec(self, None)}

    def fit(self, pool: Dataset) -> Influence:
        """Solve for the anchors; return the scorer that measures rows along what was found."""
        from hf_datasel.proxy.anchors import anchor_set

        loaded = self.proxy.load(self.labels)
        anchors = anchor_set(loaded, self.anchors, self.labels, None, max_tokens())
        gradient = {name: value[0].to(loaded.parameters[name].dtype) for name, value in anchors.gradients().items()}
        rows = self._rows(pool, loaded)
        found, how = (self._by_factors if self.solver == "ekfac" else self._by_products)(rows, loaded, gradient)
        direction = {name: value.double().cpu().numpy() for name, value in found.items()}
        solved = {"solver": self.solver, "damping": self.damping, **how}
        return Influence(self.proxy, self.anchors, self.reduction, self.labels, direction, solved)

    def _by_products(
        self, rows: list[TokenRow], proxy: LoadedProxy, gradient: Parameters
    ) -> tuple[Parameters, dict[str, Any]]:
        solution = self._solve(self._losses(rows, proxy), proxy.parameters, gradient)
        logger.info(
            "Influence: %s after %d products, residual %.1e", self.solver, solution.iterations, solution.residual
        )
        if solution.residual > max(self.tolerance, 1e-2):
            logger.warning(
                "`iterations` is %d and the residual still %.2g of the gradient: scores lie between first-order utility "
                "and influence. Raise it, or `damping`.", self.iterations, solution.residual,
            )  # fmt: skip
        return solution.vector, {"iterations": solution.iterations, "residual": solution.residual}

    def _by_factors(
        self, rows: list[TokenRow], proxy: LoadedProxy, gradient: Parameters
    ) -> tuple[Parameters, dict[str, Any]]:
        from hf_datasel.proxy.ekfac import fit_factors, solve

        factors = fit_factors(proxy, rows, self.reduction, self.seed, max_tokens())
        found, covered = solve(factors, gradient, self.damping)
        if covered < 1:
            logger.warning(
                "`solver` is 'ekfac', which covers %.1f %% of the trainable parameters, those of linear layers: the others "
                "count as 0. Name linear layers only in `proxy.trainable`, or use 'cg', for scores without that gap.",
                100 * covered,
            )  # fmt: skip
        return found, {"covered": covered}

    def _rows(self, pool: Dataset, proxy: LoadedProxy) -> list[TokenRow]:
        content = content_only(pool.with_format(None), self.labels.dataset_text_field)
        rows = [encode(row, proxy, self.labels) for row in rows_of(content[:])[0]]
        rows = [row for row in rows if row.scorable]
        if not rows:
            raise BadRow(f"`pool` has {len(pool)} rows and none with a loss, expected at least one.")
        return rows

    def _losses(self, rows: list[TokenRow], proxy: LoadedProxy) -> list[Loss]:
        """Functions of the parameters that add up to the pool's mean loss, one a batch."""
        from hf_datasel.proxy.losses import collate, row_values, token_losses

        losses: list[Loss] = []
        for bucket in length_buckets([len(row.input_ids) for row in rows], max_tokens()):
            batch = collate([rows[place] for place in bucket], proxy)
            _ = batch.is_target  # kept in the batch: first computed under a derivative, it could not be used after

            def loss(parameters: Parameters, batch: Any = batch) -> Any:
                return row_values(token_losses(proxy, parameters, batch), batch, self.reduction).sum() / len(rows)

            losses.append(loss)
        return losses

    def _solve(self, losses: list[Loss], parameters: Parameters, gradient: Parameters) -> Solution:
        from hf_datasel.proxy.inverse_hessian import conjugate_gradients, hessian_product, lissa, solve_exactly

        whole = hessian_product(losses, parameters)
        if self.solver == "exact":
            return solve_exactly(whole, gradient, self.damping)
        if self.solver == "cg":
            return conjugate_gradients(whole, gradient, self.damping, self.iterations, self.tolerance)
        draw = np.random.default_rng(self.seed)

        def of_a_batch(step: int) -> Product:
            one = losses[int(draw.integers(len(losses)))]
            return hessian_product([lambda p: one(p) * len(losses)], parameters)

        return lissa(of_a_batch, gradient, self.damping, self.iterations, self.scale)
