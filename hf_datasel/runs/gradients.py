"""The verb `store_gradients`: one projected pass over a pool, before any method reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tqdm.auto import tqdm

from hf_datasel.proxy.gradient_store import ROWS_A_PART, GradientReader, GradientStore
from hf_datasel.proxy.proxy import Proxy
from hf_datasel.rows import Labels
from hf_datasel.rows.batches import rows_of
from hf_datasel.rows.identity import content_only


if TYPE_CHECKING:
    from datasets import Dataset


def store_gradients(
    pool: Dataset,
    proxy: Proxy,
    store: GradientStore,
    gradient: Literal["sgd", "adam"] = "sgd",
    reduction: Literal["mean", "sum"] = "mean",
    labels: Labels | None = None,
) -> dict[str, int]:
    """Put the projected gradient of every row of a pool into a store; rows that are there already are not measured again.

    Scorers that read a store fill it themselves. Call this to do the pass apart, checkpoint by checkpoint with one model
    in memory at a time, or on another machine. Cost: 1 F + 1 B a row; a stopped pass goes on where it stopped.

    Args:
        pool: N rows.
        proxy: the model, of one checkpoint.
        store: where, and how projected.
        gradient, reduction, labels: as the scorers that will read it have them.

    Returns:
        How many rows have each status: `"ok"`, `"truncated"`, or why a row has no gradient.

    Example:
        >>> import tempfile
        >>> from datasets import Dataset
        >>> pool = Dataset.from_dict({"prompt": ["1 + 1 =", "Why?"], "completion": [" 2", ""]})
        >>> store_gradients(pool, Proxy("recipes/quickstart/proxy"), GradientStore(tempfile.mkdtemp(), 64))
        {'ok': 1, 'empty_completion': 1}
    """
    labels = labels or Labels()
    reader = GradientReader(store, proxy, labels, gradient, reduction)
    rows = content_only(pool.with_format(None), labels.dataset_text_field)
    counts: dict[str, int] = {}
    for start in tqdm(range(0, len(rows), ROWS_A_PART), desc="gradients", unit=f"{ROWS_A_PART} rows"):
        part, _ = rows_of(rows[start : start + ROWS_A_PART])
        for status in reader(part).status:
            counts[status] = counts.get(status, 0) + 1
    return counts
