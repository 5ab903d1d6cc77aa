"""A selection from a stream: the first pass keeps what the rule looks at, and never the rows."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from hf_datasel.contracts import Rule
from hf_datasel.errors import BadBudget
from hf_datasel.rows.identity import ROW_ID, row_digest
from hf_datasel.selectors.provenance import rule_spec


if TYPE_CHECKING:
    from datasets import Dataset, IterableDataset


def without_content(stream: IterableDataset, rule: Rule) -> Dataset:
    """Ids of the rows of a stream and the columns a rule names, as a dataset in memory: about 100 bytes a row.

    Rows without a `row_id` get one from their content, as `with_row_ids` gives it.

    Args:
        stream: scored, read once from its beginning to its end.
        rule: a dataclass whose text fields name columns, or that names them itself in `reads`.

    Raises:
        BadBudget: the stream has no rows.
    """
    from datasets import Dataset

    texts = [value for value in rule_spec(rule).values() if isinstance(value, str)]
    wanted = getattr(rule, "reads", texts)  # a rule whose columns do not all stand in fields of their own says which
    columns: dict[str, list[Any]] = {ROW_ID: []}
    copies: Counter[str] = Counter()
    for row in stream:
        if ROW_ID in row:
            columns[ROW_ID].append(row[ROW_ID])
        else:
            digest = row_digest(row)
            columns[ROW_ID].append(f"{digest}-{copies[digest]}" if copies[digest] else digest)
            copies[digest] += 1
        for name in wanted:
            if name in row:
                columns.setdefault(name, []).append(row[name])
    if not columns[ROW_ID]:
        raise BadBudget("`scored` is a stream without rows, expected at least one.")
    return Dataset.from_dict(columns)
