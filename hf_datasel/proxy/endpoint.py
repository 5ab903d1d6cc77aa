"""A model behind an OpenAI-compatible endpoint: many questions at once, tried again where that may help."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hf_datasel.errors import DataselError


if TYPE_CHECKING:
    from huggingface_hub import AsyncInferenceClient

    Messages = list[dict[str, Any]]

# What reading a broken body leads to.
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
OF_THE_ROW = frozenset({400, 413, 422})  # the endpoint works and will not take this one
LONGEST_WAIT = 60.0  # seconds
REFUSED, NO_REPLY = "refused", "no_reply"


@dataclass(frozen=True)
class Endpoint:
    """Where a chat model answers: any OpenAI-compatible server, or an inference provider of Hugging Face.

    Args:
        model: name by which the endpoint knows the model; a Hub id for providers.
        base_url: of a server, such as `http://localhost:8000/v1` of vLLM; None for a provider.
        provider: of Hugging Face's inference providers; None for the first that has the model.
        key_variable: environment variable that holds the API key; the key itself is kept nowhere. None sends no key to a
            server, and the Hub token of this machine to a provider.
        concurrency: questions in flight at most.
        retries: how often a question is asked again after a time-out, a lost connection or HTTP 408, 409, 425, 429 and 5xx.
        timeout: seconds for one reply.
        first_wait: seconds before the first retry; doubled each time, up to 60, unless the server says when (Retry-After).

    Raises:
        ValueError: a number is out of range, both `base_url` and `provider` are given, or `base_url` holds a password or a
            query: an address is written down with the scores, and a key may stand in neither.

    Example:
        >>> Endpoint("Qwen/Qwen3-8B", base_url="http://localhost:8000/v1").spec
        {'model': 'Qwen/Qwen3-8B', 'base_url': 'http://localhost:8000/v1', 'provider': None}
    """

    model: str
    base_url: str | None = None
    provider: str | None = None
    key_variable: str | None = None
    concurrency: int = 8
    retries: int = 5
    timeout: float = 120.0
    first_wait: float = 1.0

    def __post_init__(self) -> None:
        address = urlsplit(self.base_url or "")
        if address.username is not None or address.query or address.fragment:
            raise ValueError(
                f"`base_url` of {address.hostname!r} holds a user, a password or a query, expected an address alone: it is "
                f"written down with the scores. Put the key into an environment variable, and name that as `key_variable`."
            )
        if self.base_url is not None and self.provider is not None:
            raise ValueError(
                f"`base_url` is {self.base_url!r} and `provider` {self.provider!r}, expected one of them at most."
            )
        if self.concurrency < 1 or self.retries < 0 or self.timeout <= 0 or self.first_wait < 0:
            raise ValueError(
                f"`concurrency` is {self.concurrency}, `retries` {self.retries}, `timeout` {self.timeout} and `first_wait` "
                f"{self.first_wait}, expected at least 1, at least 0, above 0 and at least 0."
            )

    @property
    def spec(self) -> dict[str, Any]:
        """JSON-like account of who answers. How patiently it is asked decides no reply."""
        return {"model": self.model, "base_url": self.base_url, "provider": self.provider}


@dataclass(frozen=True)
class Question:
    """What is asked, and how the reply is drawn."""

    messages: Messages
    max_tokens: int
    temperature: float
    seed: int


@dataclass(frozen=True)
class Reply:
    """What came of a question.

    Args:
        text: the reply; None where there is none.
        status: `"ok"`, `"refused: …"` (this question, for good) or `"no_reply: …"` (tried as often as allowed).
        calls: requests sent.
        prompt_tokens, completion_tokens: as the endpoint counts them; NaN where it does not.
    """

    text: str | None
    status: str = "ok"
    calls: int = 1
    prompt_tokens: float = float("nan")
    completion_tokens: float = float("nan")


def replies(endpoint: Endpoint, questions: Sequence[Question]) -> list[Reply]:
    """A reply to each question, in their order.

    Raises:
        DataselError: the endpoint refuses everybody (no such model, no right to it), or answers none of the questions.
    """
    if not questions:
        return []
    # A loop in a thread of its own: notebooks run one already.
    with ThreadPoolExecutor(1) as worker:
        found = worker.submit(asyncio.run, _all(endpoint, questions)).result()
    if all(reply.status.startswith(NO_REPLY) for reply in found):
        raise DataselError(
            f"`endpoint` {endpoint.base_url or endpoint.model!r} answered none of {len(found)} questions ({found[0].status}), "
            f"expected replies. Replies so far are kept: bring it up and run the same again."
        )
    return found


async def _all(endpoint: Endpoint, questions: Sequence[Question]) -> list[Reply]:
    from huggingface_hub import AsyncInferenceClient

    key = _key(endpoint)
    async with AsyncInferenceClient(
        base_url=endpoint.base_url, provider=endpoint.provider, token=key, timeout=endpoint.timeout  # type: ignore[arg-type]
    ) as client:  # fmt: skip
        gate = asyncio.Semaphore(endpoint.concurrency)
        return await asyncio.gather(*(_one(client, endpoint, question, gate) for question in questions))


def _key(endpoint: Endpoint) -> str | None:
    if endpoint.key_variable is None:
        # Without any, the client would send the Hub token to whoever listens at that address.
        return "none" if endpoint.base_url is not None else None
    key = os.environ.get(endpoint.key_variable)
    if not key:
        raise DataselError(
            f"`key_variable` is {endpoint.key_variable!r}, which is not set in the environment, expected an API key there."
        )
    return key


async def _one(client: AsyncInferenceClient, endpoint: Endpoint, question: Question, gate: asyncio.Semaphore) -> Reply:
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    why, refused = "", None
    for attempt in range(endpoint.retries + 1):
        wait = min(LONGEST_WAIT, endpoint.first_wait * 2**attempt)
        try:
            async with gate:
                return _read(await _send(client, endpoint, question), attempt + 1)
        except HfHubHTTPError as error:
            code = error.response.status_code
            why = f"HTTP {code}: {_without_key(error.response.text, endpoint)[:120]}"
            if code in OF_THE_ROW:
                return Reply(None, f"{REFUSED}: {why}", attempt + 1)
            if code not in (408, 409, 425, 429) and code < 500:
                refused = DataselError(
                    f"`endpoint` {endpoint.base_url or endpoint.model!r} says {why}, expected a reply of {endpoint.model!r}. "
                    f"Check the model's name and `key_variable`."
                )
            else:
                wait = _asked_wait(error.response.headers, wait)
        except (httpx2.HTTPError, TimeoutError) as error:
            why = type(error).__name__
        except UNREADABLE as error:
            why = f"unreadable reply: {type(error).__name__}: {_without_key(str(error), endpoint)[:120]}"
        if refused is not None:
            raise refused  # out here, so that it does not carry the request, whose headers hold the key
        if attempt < endpoint.retries:
            await asyncio.sleep(wait)
    return Reply(None, f"{NO_REPLY}: {why}", endpoint.retries + 1)


def _without_key(text: str, endpoint: Endpoint) -> str:
    """What a server says, without the key: some repeat it, and what they say is kept as a row's status."""
    from huggingface_hub import get_token

    key = os.environ.get(endpoint.key_variable) if endpoint.key_variable else get_token()
    return text.replace(key, "…") if key else text


async def _send(client: AsyncInferenceClient, endpoint: Endpoint, question: Question) -> Any:
    return await client.chat_completion(
        question.messages,
        model=endpoint.model,
        max_tokens=question.max_tokens,
        temperature=question.temperature,
        seed=question.seed,
    )


def _read(output: Any, calls: int) -> Reply:
    usage = output.usage
    counts = [float(usage.prompt_tokens), float(usage.completion_tokens)] if usage is not None else []
    text = output.choices[0].message.content or ""
    if not isinstance(text, str):
        raise TypeError(f"a content of type {type(text).__name__}")
    return Reply(text, "ok", calls, *counts)


def _asked_wait(headers: Mapping[str, str], otherwise: float) -> float:
    """Seconds the server asks for, where it says so in seconds.

    Example:
        >>> _asked_wait({"Retry-After": "3"}, 1.0), _asked_wait({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 1.0)
        (3.0, 1.0)
    """
    try:
        return min(LONGEST_WAIT, max(0.0, float(headers.get("Retry-After", ""))))
    except ValueError:
        return otherwise
