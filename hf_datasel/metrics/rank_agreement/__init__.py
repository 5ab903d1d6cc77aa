"""`evaluate.load` finds the metric here by the name of the folder."""

from hf_datasel.metrics.rank_agreement.rank_agreement import RankAgreement


__all__ = ["RankAgreement"]
