"""Replies of a model in memory to messages, the way an endpoint gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hf_datasel.errors import BadRow
from hf_datasel.proxy.endpoint import REFUSED, Question, Reply
from hf_datasel.proxy.sampling import write_answers
from hf_datasel.rows.labels import IGNORED, LONGER_THAN_CONTEXT, TokenRow


if TYPE_CHECKING:
    from hf_datasel.proxy.proxy import LoadedProxy


def local_replies(proxy: LoadedProxy, questions: Sequence[Question]) -> list[Reply]:
    """A reply to each question, one after another. Cost: 1 F of the prompt and 1 F a token.

    Without a chat template, messages are put one below the other.

    Raises:
        BadRow: a message holds images.
    """
    return [_reply(proxy, question) for question in questions]


def _reply(proxy: LoadedProxy, question: Question) -> Reply:
    if not all(isinstance(message["content"], str) for message in question.messages):
        raise BadRow("`local` is a model that is shown text alone, expected rows without images. Name an `endpoint`.")
    ids = _encoded(proxy, question)
    if proxy.context is not None and len(ids) + question.max_tokens > proxy.context:
        return Reply(None, f"{REFUSED}: {LONGER_THAN_CONTEXT}", 0)
    draws = np.random.default_rng(question.seed).random((1, question.max_tokens))
    row = TokenRow(tuple(ids), (IGNORED,) * len(ids), "ok")
    (text,) = write_answers(proxy, row, draws, question.temperature, top_p=1.0)
    written = len(proxy.tokenizer(text=text, add_special_tokens=False)["input_ids"])
    return Reply(text, "ok", 1, float(len(ids)), float(written))


def as_plain_text(text: str, tokenizer: Any) -> str:
    """A text that the tokenizer reads as one: its special tokens get a space behind their first character.

    Args:
        text: of a row, that may hold the words for the end of a turn.
        tokenizer: knows which words those are.
    """
    added = (str(token.content) for token in tokenizer.added_tokens_decoder.values() if token.special)
    for token in sorted({*tokenizer.all_special_tokens, *added}, key=len, reverse=True):
        if len(token) > 1:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


def _encoded(proxy: LoadedProxy, question: Question) -> list[int]:
    messages = [
        {**message, "content": as_plain_text(message["content"], proxy.tokenizer)}
        if message["role"] == "user"
        else message
        for message in question.messages
    ]
    if proxy.tokenizer.chat_template is not None:
        rendered: Any = proxy.tokenizer.apply_chat_template(
            messages, tokenize=True, add_generation_prompt=True, return_dict=True
        )
        return [int(token) for token in rendered["input_ids"]]
    text = "\n\n".join(str(message["content"]) for message in messages)
    return [int(token) for token in proxy.tokenizer(text=f"{text}\n\n")["input_ids"]]
