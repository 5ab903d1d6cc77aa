"""Descriptors that follow from what a vision-language probe says: its losses with and without media, and its verdict.

The pass itself is `scorers.Probe`; these turn its outputs, or those of a probe of your own, into descriptors.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from hf_datasel.contracts import Batch, Columns, Scores
from hf_datasel.errors import BadRow
from hf_datasel.scorers.goal.batches import columns_of, numbers, unbatched
from hf_datasel.scorers.goal.bins import TEMPORAL_WORDS
from hf_datasel.scorers.goal.text import Fidelity, words


MOST = 30.0  # nats; its exponential is 1.07e13
VERDICTS = {"temporal": 1.0, "static": 0.0}


def video_dependence(loss_blind: Any, loss_sighted: Any) -> Scores:
    """How much the media help to answer: loss without them minus loss with them, in nats per token of the answer.

    Args:
        loss_blind, loss_sighted: mean loss of the answer's tokens, shape (N,); NaN or infinite where it was not measured.

    Returns:
        shape (N,); NaN where either is missing.

    Source: https://huggingface.co/papers/2603.12478, Eq. 4.

    Example:
        >>> video_dependence([2.5, 1.0, np.nan], [1.0, 1.5, 1.0])
        array([ 1.5, -0.5,  nan])
    """
    blind, sighted = (np.asarray(loss, dtype=np.float64) for loss in (loss_blind, loss_sighted))
    missing = ~(np.isfinite(blind) & np.isfinite(sighted))
    return np.where(missing, np.nan, np.where(missing, 0.0, blind) - np.where(missing, 0.0, sighted))


def answer_difficulty(loss_sighted: Any) -> Scores:
    """The exponential of the loss of the answer given the media, as a perplexity; at most exp(30).

    Source: https://huggingface.co/papers/2603.12478, Eq. 7.

    Example:
        >>> answer_difficulty([0.0, 1.0, 99.0, np.nan])
        array([1.00000000e+00, 2.71828183e+00, 1.06864746e+13, nan])
    """
    loss = np.asarray(loss_sighted, dtype=np.float64)
    difficulty: Scores = np.exp(np.clip(np.where(np.isfinite(loss), loss, np.nan), -MOST, MOST))
    return difficulty


def temporal_necessity(verdict: str | None) -> float:
    """What a probe said a question needs, as a number: 1 for temporal, 0 for static, 0.5 for anything else it said.

    Args:
        verdict: the first words of the probe's answer; None where it was not asked: NaN.

    Source: https://huggingface.co/papers/2603.12478, Eq. 5.

    Example:
        >>> [temporal_necessity(verdict) for verdict in (" Temporal.", "static", "Hm", None)]
        [1.0, 0.0, 0.5, nan]
    """
    if verdict is None:
        return float("nan")
    first = re.search(r"[a-z]+", verdict.lower())
    return VERDICTS.get(first.group(), 0.5) if first else 0.5


def keyword_necessity(question: str, fidelity: Fidelity = "corrected") -> float:
    """Whether a question holds a word of time: what stands in for a probe, and should be named as such. 1 or 0.

    Example:
        >>> keyword_necessity("What happens after that?"), keyword_necessity("What is this?")
        (1.0, 0.0)
    """
    return float(bool(TEMPORAL_WORDS.intersection(words(question, fidelity))))


def probe_descriptors(batch: Batch) -> Columns:
    """Descriptors of B rows (or one) from a probe's outputs; for `Dataset.map(probe_descriptors, batched=True)`.

    Reads: `loss_blind`, `loss_sighted`, and `temporal_verdict` where it is there.

    Writes: `video_dependence`, `answer_difficulty`, and with verdicts `temporal_necessity`.

    Raises:
        BadRow: a loss column is not there.

    Example:
        >>> found = probe_descriptors({"loss_blind": [2.0], "loss_sighted": [0.0], "temporal_verdict": ["Static"]})
        >>> {name: values.tolist() for name, values in found.items()}
        {'video_dependence': [2.0], 'answer_difficulty': [1.0], 'temporal_necessity': [0.0]}
    """
    found, size, single = columns_of(batch, ("loss_blind", "loss_sighted", "temporal_verdict"))
    absent = [name for name in ("loss_blind", "loss_sighted") if name not in found]
    if absent:
        raise BadRow(
            f"`batch` lacks {absent}, expected the losses of a probe without and with media. Measure them first."
        )
    blind, sighted = (numbers(found[name], size, name) for name in ("loss_blind", "loss_sighted"))
    columns = {"video_dependence": video_dependence(blind, sighted), "answer_difficulty": answer_difficulty(sighted)}
    if "temporal_verdict" in found:
        columns["temporal_necessity"] = np.array([temporal_necessity(said) for said in found["temporal_verdict"]])
    return unbatched(columns, single)
