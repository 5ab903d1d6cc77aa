"""The text each token adds, so that a value per token can be painted on what people read."""

from __future__ import annotations

from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

INCOMPLETE = "\N{REPLACEMENT CHARACTER}"


def token_texts(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[str]:
    """What each of T tokens adds to the text; joined, they are the text.

    A character spread over several tokens belongs to the last of them; the others get an empty text. Cost: linear in T,
    since each token is decoded beside the one before it only.
    """
    texts, start, done = [], 0, 0
    for end in range(1, len(ids) + 1):
        before = str(tokenizer.decode(ids[start:done]))
        after = str(tokenizer.decode(ids[start:end]))
        if len(after) > len(before) and not after.endswith(INCOMPLETE):
            texts.append(after[len(before) :])
            start, done = done, end
        else:
            texts.append("")
    return texts
