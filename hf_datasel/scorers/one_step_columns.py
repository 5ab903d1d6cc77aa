"""What One-Step-Train found, as columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from hf_datasel.contracts import Columns, Scores
from hf_datasel.rows.labels import IGNORED, TokenRow
from hf_datasel.rows.token_text import token_texts
from hf_datasel.scorers.with_proxy import status_of


if TYPE_CHECKING:
    from hf_datasel.proxy.anchors import AnchorSet
    from hf_datasel.proxy.utility import Utilities

FIGURES = ("loss", "perplexity", "el2n", "aum", "length")
GROUP_SCORES: dict[str, Callable[[Scores], Scores]] = {
    "mean": lambda utility: utility.mean(1),
    "minimum": lambda utility: utility.min(1),
    "vote": lambda utility: np.where(np.isnan(utility).any(1), np.nan, (utility > 0).mean(1)),
}


def utility_columns(
    encoded: Sequence[TokenRow],
    scorable: Sequence[int],
    found: Utilities,
    anchors: AnchorSet,
    group_score: str,
    token_level: bool,
) -> Columns:
    """Every column that `OneStepTrain` may write, for B rows.

    Args:
        encoded: B rows.
        scorable: places of those that were measured.
        found: about those.
        anchors: by which.
        group_score: which of `GROUP_SCORES` is the score.
        token_level: add the columns of target tokens.
    """

    def spread(values: Scores) -> Scores:
        column = np.full(len(encoded), np.nan)
        column[scorable] = values
        return column

    kinds = {kind: combine(found.utility) for kind, combine in GROUP_SCORES.items()}
    utility = spread(kinds[group_score])
    utility = np.where(np.isfinite(utility), utility, np.nan)
    columns: Columns = {
        "ost_utility": utility,
        "ost_utility_status": status_of(encoded, utility),
        "ost_row_loss": spread(found.row_loss),
        "ost_dot": spread(found.dot.mean(1)),
        "ost_curvature": spread(found.curvature.mean(1)),
        "ost_anchor_loss_change": spread(-found.utility.mean(1)),
        "ost_weights_changed": spread(found.weights_changed),
        **{f"ost_utility_{kind}": spread(values) for kind, values in kinds.items()},
        **{f"ost_utility_group_{g}": spread(found.utility[:, i]) for i, g in enumerate(anchors.groups)},
    }
    columns |= {f"ost_row_{name}": spread(values) for name, values in found.figures.items() if name != "loss"}
    if token_level:
        columns |= _token_columns(encoded, scorable, found, anchors)
    return columns


def _token_columns(
    encoded: Sequence[TokenRow], scorable: Sequence[int], found: Utilities, anchors: AnchorSet
) -> Columns:
    # One NaN, not an empty list, for rows without tokens: the first batch fixes a column's type.
    utilities: list[list[float]] = [[float("nan")] for _ in encoded]
    texts: list[list[str]] = [[""] for _ in encoded]
    tokenizer = anchors.proxy.tokenizer
    for values, index in zip(found.token_utility, scorable, strict=True):
        targets = [label for label in encoded[index].labels[1:] if label != IGNORED]
        utilities[index] = values.tolist()
        texts[index] = token_texts(tokenizer, targets)
    return {"ost_token_utility": utilities, "ost_token_text": texts}
