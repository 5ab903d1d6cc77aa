"""(H + damping I)^-1 g by EK-FAC: H a block for each linear layer, diagonal in a basis of Kronecker products.

kronfluence finds the bases and the diagonals; see `InfluenceFunction`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from hf_datasel.errors import DataselError, MissingExtra
from hf_datasel.proxy.batch_size import by_length
from hf_datasel.proxy.losses import Reduction, TokenBatch, collate, label_logits


if TYPE_CHECKING:
    from hf_datasel.proxy.proxy import LoadedProxy, Parameters
    from hf_datasel.rows.labels import TokenRow


@dataclass(frozen=True)
class Factors:
    """H of one linear layer: left diag(curvature) right', on the matrix of its weight (and its bias, as a last column).

    Args:
        left: (outputs, outputs) eigenvectors of the gradients at the layer's output.
        right: (inputs, inputs) eigenvectors of what goes into the layer; one input more where it has a bias.
        curvature: (outputs, inputs), of the rows' mean loss, in that basis.
    """

    left: torch.Tensor
    right: torch.Tensor
    curvature: torch.Tensor

    def solve(self, matrix: torch.Tensor, damping: float) -> torch.Tensor:
        """(H + damping I)^-1 of a matrix (outputs, inputs).

        Raises:
            DataselError: it cannot be inverted.
        """
        damped = self.curvature + damping
        if not float(damped.min()) > 0:
            raise DataselError(
                f"`damping` is {damping:g} and the rows leave directions of a layer without curvature, expected more than "
                f"0. Raise it."
            )
        return self.left @ ((self.left.T @ matrix @ self.right) / damped) @ self.right.T


def covered_layers(proxy: LoadedProxy) -> list[str]:
    """Linear layers whose weight is a trainable parameter of its own: not a head tied to the embeddings."""
    layers = [name for name, part in proxy.model.named_modules() if type(part) is torch.nn.Linear]
    return [name for name in layers if f"{name}.weight" in proxy.parameters]


def solve(factors: dict[str, Factors], right: Parameters, damping: float) -> tuple[Parameters, float]:
    """(H + damping I)^-1 g on the layers that have factors, 0 elsewhere; and the share of parameters they cover."""
    found = {name: torch.zeros_like(value) for name, value in right.items()}
    covered = 0
    for layer, its in factors.items():
        weight, bias = f"{layer}.weight", f"{layer}.bias"
        columns = [right[weight]]
        if its.right.shape[0] > right[weight].shape[1]:
            columns.append(right[bias][:, None] if bias in right else torch.zeros_like(right[weight][:, :1]))
        solved = its.solve(torch.cat([part.to(its.left.dtype) for part in columns], dim=1), damping)
        found[weight] = solved[:, : right[weight].shape[1]].to(right[weight].dtype)
        covered += found[weight].numel()
        if bias in right:
            found[bias] = solved[:, -1].to(right[bias].dtype)
            covered += found[bias].numel()
    return found, covered / sum(value.numel() for value in right.values())


def fit_factors(
    proxy: LoadedProxy, rows: Sequence[TokenRow], reduction: Reduction, seed: int, tokens: int
) -> dict[str, Factors]:
    """The factors of every covered layer, of N rows' mean loss at the proxy's weights. Cost: 2 N (F + B).

    Args:
        proxy: the loaded model.
        rows: N rows with a loss.
        reduction: of a row's loss over its target tokens.
        seed: of the tokens drawn from the model.
        tokens: padded, a batch.

    Raises:
        DataselError: no trainable parameter is the weight of a linear layer.
        MissingExtra: kronfluence is not installed.
    """
    try:
        from kronfluence.analyzer import Analyzer, prepare_model
        from kronfluence.arguments import FactorArguments
    except ImportError as error:
        raise MissingExtra(
            "`solver` 'ekfac' needs kronfluence. Install it: pip install 'hf_datasel[ekfac]'"
        ) from error
    layers = covered_layers(proxy)
    if not layers:
        raise DataselError(
            "`solver` is 'ekfac' and no trainable parameter is the weight of a linear layer, expected at least one. Name "
            "some in `proxy.trainable`, or use 'cg'."
        )
    rows = [rows[place] for place in by_length([len(row.input_ids) for row in rows])]
    task = _task(proxy, layers, rows, reduction, seed)
    model = prepare_model(deepcopy(proxy.model), task)
    wide = torch.promote_types(proxy.parameters[f"{layers[0]}.weight"].dtype, torch.float32)
    dtypes = ("activation_covariance", "gradient_covariance", "per_sample_gradient", "lambda")
    options: dict[str, Any] = {f"{name}_dtype": wide for name in dtypes}
    options |= {"covariance_max_examples": None, "lambda_max_examples": None}
    on_cpu = next(iter(proxy.parameters.values())).device.type == "cpu"
    with tempfile.TemporaryDirectory() as folder:
        analyzer = Analyzer("pool", model, task, cpu=on_cpu, output_dir=folder, disable_tqdm=True)
        size = max(1, tokens // len(rows[0].input_ids))
        analyzer.fit_all_factors("ekfac", list(range(len(rows))), size, factor_args=FactorArguments(**options))
        bases, scales = analyzer.load_eigendecomposition("ekfac"), analyzer.load_lambda_matrices("ekfac")
    return {
        layer: Factors(
            bases["gradient_eigenvectors"][layer],
            bases["activation_eigenvectors"][layer],
            scales["lambda_matrix"][layer] / scales["num_lambda_processed"][layer],
        )
        for layer in layers
    }  # fmt: skip


def _task(proxy: LoadedProxy, layers: list[str], rows: Sequence[TokenRow], reduction: Reduction, seed: int) -> Any:
    """What kronfluence asks for: a loss whose gradients' outer products add up to H; its batches are places of rows."""
    from kronfluence.task import Task

    def batch_of(places: torch.Tensor, moved: LoadedProxy) -> TokenBatch:
        return collate([rows[place] for place in places.tolist()], moved)

    class Drawn(Task):
        draw: torch.Generator | None = None

        def compute_train_loss(self, batch: torch.Tensor, model: Any, sample: bool = False) -> torch.Tensor:
            # kronfluence decides once in a process between CPU and GPU: follow the model.
            moved = replace(proxy, model=model, parameters=dict(model.named_parameters()))
            its = batch_of(batch, moved)
            logits = label_logits(moved, {}, its)
            logs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
            self.draw = self.draw or torch.Generator(logs.device).manual_seed(seed)
            drawn = torch.multinomial(logs.detach().exp().flatten(0, 1), 1, generator=self.draw)
            losses = -logs.gather(-1, drawn.view(*logs.shape[:2], 1)).squeeze(-1)
            # Tokens are drawn independently, so that a row's outer product has the sum over its T tokens as its mean:
            # of a mean loss, H has 1 / T of that sum, and (1 / sqrt(T))^2 = 1 / T.
            count = its.is_target.sum(1, keepdim=True)
            weight = its.is_target / count.sqrt() if reduction == "mean" else its.is_target
            return (losses * weight).sum()

        def compute_measurement(self, batch: torch.Tensor, model: Any) -> torch.Tensor:
            raise NotImplementedError("Only factors are made here, no scores.")

        def get_influence_tracked_modules(self) -> list[str]:
            return layers

        def get_attention_mask(self, batch: torch.Tensor) -> torch.Tensor:
            return batch_of(batch, proxy).attention_mask.to(batch.device)

    return Drawn()
