"""What the co-trained scorer of CoIDO is made of: features, networks, and the fitted scorer.

The order of use: scorers and embeddings write columns, `learners.CoIDO` learns on a share of the pool, and the `WeightScorer`
it returns scores all of it, and other pools with the same columns.

Source: CoIDO (NeurIPS 2025), from the paper alone.
"""

from hf_datasel.scorers.coido.features import FeatureBuilder
from hf_datasel.scorers.coido.weight_scorer import WeightScorer


__all__ = ["FeatureBuilder", "WeightScorer"]
