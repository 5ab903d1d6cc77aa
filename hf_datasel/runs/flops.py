"""What a scorer costs in floating-point operations, counted on a few rows of the pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hf_datasel.rows.identity import content_only, with_encoded_media
from hf_datasel.rows.journal import OFF, using_journal


if TYPE_CHECKING:
    from datasets import Dataset

ROWS = 32


def counted_flops(scorer: Any, pool: Dataset, rows: int = ROWS) -> float:
    """Floating-point operations of scoring all N rows, projected from a sample: products of matrices, convolutions, attention.

    Two samples of up to `rows` rows, evenly spaced, are scored without a journal: what the first costs above the second is
    taken for what happens once (the anchors' gradient, checks of engines), the second for what each row costs.

    Args:
        scorer: any. One whose work is not torch's counts 0.
        pool: N rows, with all columns that the scorer reads.
        rows: of a sample.

    Source: `torch.utils.flop_counter`, which counts a multiplication and an addition as two.

    Example:
        >>> from datasets import Dataset
        >>> from hf_datasel import ResponseLength
        >>> counted_flops(ResponseLength(), Dataset.from_dict({"prompt": ["1 + 1 ="], "completion": ["2"]}))
        0.0
    """
    from torch.utils.flop_counter import FlopCounterMode

    reads = {*getattr(scorer, "reads", ())} & {*pool.column_names}
    names = dict.fromkeys([*content_only(pool).column_names, *sorted(reads)])
    plain = with_encoded_media(pool.with_format(None).select_columns(list(names)))
    places = range(0, len(pool), max(1, len(pool) // (2 * rows)))
    samples = [places[0::2][:rows], places[1::2][:rows] or places]
    found = []
    with using_journal(OFF):
        for sample in samples:
            with FlopCounterMode(display=False) as counter:
                scorer(plain.select(sample)[:])
            found.append(counter.get_total_flops())
    first, second = found
    each = second / len(samples[1])
    return float(max(0.0, first - each * len(samples[0])) + each * len(pool))
