"""What CoIDO and Self-Filter share: from a pool with features to a network trained beside a model on a share of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hf_datasel.contracts import Indices
from hf_datasel.errors import BadRow
from hf_datasel.learners.feature_scale import fit_builder
from hf_datasel.proxy.proxy import Proxy
from hf_datasel.rows.labels import Labels
from hf_datasel.rows.reader import load_reader
from hf_datasel.scorers.coido.features import FeatureBuilder, Features
from hf_datasel.scorers.coido.weight_scorer import WeightScorer, quantiles_of
from hf_datasel.selectors.budgets import rows_in
from hf_datasel.selectors.columns import read_column
from hf_datasel.selectors.ordering import hash_order
from hf_datasel.training.co_training import CoTrained, CoTraining
from hf_datasel.training.sft import trainable_rows


if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

PLACE = "place_in_share"
LEAST = 2  # rows to compare


@dataclass(frozen=True)
class Share:
    """The rows that a network learns from.

    Args:
        rows: n rows with a loss and all embeddings, in the order of their draw.
        features: of the n rows.
        builder: what made the features.
    """

    rows: Dataset
    features: Features
    builder: FeatureBuilder


def described(learner: Any) -> dict[str, Any]:
    """A learner's fields as plain values, its model by its weights."""
    plain = {f.name: getattr(learner, f.name) for f in fields(learner) if f.name != "proxy"}
    plain = {name: asdict(value) if isinstance(value, CoTraining | Labels) else value for name, value in plain.items()}
    return {**plain, "proxy": learner.proxy.spec}


def draw_share(
    pool: Dataset,
    proxy: Proxy,
    labels: Labels,
    embeddings: Sequence[str],
    scores: Sequence[str],
    fraction: float,
    seed: int,
) -> Share:
    """Draw a share of the pool by a keyed hash of row ids, and build the features of its rows.

    The scale of the scores is that of the whole pool. Rows of the share without a loss, or without all embeddings, are left out.

    Raises:
        BadRow: fewer than two rows are left.
    """
    builder = fit_builder(pool, embeddings, scores)
    drawn: Indices = hash_order(pool, seed)[: rows_in(fraction, len(pool))]
    share = pool.select(drawn)
    features = builder.build({name: read_column(share, name, name) for name in builder.reads})
    share = share.select(np.flatnonzero(features.complete))
    code = {"revision": proxy.revision, "trust_remote_code": proxy.trust_remote_code}
    numbered = share.add_column(PLACE, list(range(len(share))))
    rows, excluded = trainable_rows(numbered, load_reader(proxy.model, labels, **code), labels)
    if len(rows) < LEAST:
        raise BadRow(
            f"`fraction` is {fraction}, which leaves {len(rows)} rows with a loss and all of {list(embeddings)}, expected at "
            f"least {LEAST}. Raise it, or add features to more rows."
        )
    places = np.flatnonzero(features.complete)[rows[PLACE][:]]
    logger.info("Learning from %d of %d rows (%s left out).", len(rows), len(pool), dict(excluded) or "none")
    return Share(rows.remove_columns(PLACE), _taken(features, places), builder)


def fitted(
    name: str,
    share: Share,
    network: Mapping[str, Any],
    trained: CoTrained,
    learned: Mapping[str, Any],
    incomplete: Any = "not_scored",
) -> WeightScorer:
    """The scorer of a trained network, with the quantiles of its scores over the share."""
    record = {**learned, "rows": len(share.rows), "last_log": dict(trained.history[-1]) if trained.history else {}}
    scorer = WeightScorer(name, share.builder, network, trained.weights, learned=record)
    weights = scorer.weigh(share.features, np.ones(len(share.rows), dtype=np.bool_))
    return WeightScorer(name, share.builder, network, trained.weights, quantiles_of(-weights), incomplete, record)


def _taken(features: Features, places: npt.NDArray[np.int64]) -> Features:
    return Features(
        features.embedding[places], features.scores[places], features.embedded[places], features.measured[places]
    )
