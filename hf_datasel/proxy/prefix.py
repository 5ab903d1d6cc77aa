"""What several rows begin with, read once: its keys and values serve them all."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from hf_datasel.proxy.label_forward import NotApplicable, body_of
from hf_datasel.proxy.sampling import forget_places
from hf_datasel.rows.labels import IGNORED, TokenRow


if TYPE_CHECKING:
    from hf_datasel.proxy.proxy import LoadedProxy


@dataclass(frozen=True)
class Prefix:
    """P tokens as a model has read them.

    Args:
        length: P.
        cache: of transformers, for one row; never changed, since each batch takes a copy.
    """

    length: int
    cache: Any

    def for_rows(self, count: int) -> Any:
        """A cache of its own for a batch of `count` rows."""
        copied = copy.deepcopy(self.cache)
        copied.batch_repeat_interleave(count)
        return copied


def shared_length(rows: Sequence[TokenRow]) -> int:
    """How many tokens all rows begin with, up to the last token before the first target of any: that one predicts it.

    Example:
        >>> first = TokenRow((1, 5, 6, 7, 8), (-100, -100, -100, 7, 8), "ok")
        >>> shared_length([first, TokenRow((1, 5, 6, 9), (-100, -100, -100, 9), "ok")])
        2
    """
    # Of sequences in order, the first and the last have the least in common.
    ids = [row.input_ids for row in rows]
    first_target = min(next(place for place, label in enumerate(row.labels) if label != IGNORED) for row in rows)
    return max(0, min(common_length(min(ids), max(ids)), first_target - 1))


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two texts begin with alike.

    Example:
        >>> common_length((1, 2, 3), (1, 2, 4, 5))
        2
    """
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (left, right) in pairs if left != right), min(len(one), len(other)))


def without_prefix(row: TokenRow, length: int) -> TokenRow:
    """What follows a row's first `length` tokens."""
    return replace(row, input_ids=row.input_ids[length:], labels=row.labels[length:])


def keeps_keys_and_values(proxy: LoadedProxy) -> bool:
    """Whether the model can continue after a prefix: it has a body that takes `past_key_values`."""
    try:
        return "past_key_values" in inspect.signature(body_of(proxy).forward).parameters
    except NotApplicable:
        return False


def read_prefix(proxy: LoadedProxy, tokens: Sequence[int]) -> Prefix:
    """Read P tokens. Cost: 1 F of P tokens, without the head."""
    device = next(iter(proxy.parameters.values())).device
    with torch.no_grad():
        forget_places(proxy)
        output = body_of(proxy)(input_ids=torch.tensor([list(tokens)], device=device), use_cache=True)
    return Prefix(len(tokens), output.past_key_values)
