"""Talking to the Hub: which failures pass by themselves, which are the user's to mend, and how both are said."""

from __future__ import annotations

import contextlib
import logging
import random
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from huggingface_hub import HfApi, get_session, get_token
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, RepositoryNotFoundError
from huggingface_hub.utils._validators import validate_repo_id

from hf_datasel.errors import PublishError, shown


logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

# 409: another commit is under way; 412: the branch moved on. Both pass, like a busy or restarting server.
PASSING = frozenset({408, 409, 412, 429, 500, 502, 503, 504})
CONNECTION_ERRORS = frozenset({"TransportError", "ConnectionError", "TimeoutError", "ProtocolError"})
PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # of a repository's id
ATTEMPTS = 6
TOKEN = re.compile(r"\bhf_[A-Za-z0-9_]{8,}")
# Seconds without a byte after which a connection counts as broken. A large commit takes the Hub its time.
SILENCE = 300.0
SECONDS = 1.0  # before the second attempt; doubled before each further one


def client(token: str | None = None) -> HfApi:
    """The Hub's client, with a token.

    Raises:
        PublishError: there is no token.
    """
    token = token or get_token()
    if not token:
        raise PublishError(
            "`token` is missing, expected a token of the Hub with the right to write. Log in with `hf auth login`, or set "
            "HF_TOKEN."
        )
    return HfApi(token=token, library_name="hf_datasel")


def check_repo_id(repo_id: str) -> None:
    """Refuse what is no `namespace/name`.

    Raises:
        PublishError: see above.

    Example:
        >>> check_repo_id("me/my-data")
    """
    try:
        if isinstance(repo_id, str):
            validate_repo_id(repo_id)
        # The Hub's own check lets an end of line pass, and parts that begin like an option of a command.
        good = (
            isinstance(repo_id, str)
            and repo_id.count("/") == 1
            and all(PART.fullmatch(part) for part in repo_id.split("/"))
        )
    except HFValidationError:
        good = False
    if not good:
        raise PublishError(
            f"`repo_id` is {shown(repo_id)}, expected NAMESPACE/NAME of letters, digits, '-', '_' and '.', such as me/my-data."
        )


def retried(call: Callable[[], Answer], what: str, passing: frozenset[int] = PASSING) -> Answer:
    """The answer of `call`, tried again while the failure is one that passes. `call` must bear being repeated.

    Waits 1 s, 2 s, 4 s, … with a little randomness, or as long as the Hub asks for (`Retry-After`).

    Args:
        call: asks the Hub for something.
        what: for messages, such as "Uploading rows".
        passing: statuses worth another attempt.

    Raises:
        PublishError: the failure does not pass.
    """
    attempt = 1
    while True:
        try:
            with _no_endless_silence():
                return call()
        except Exception as error:  # noqa: BLE001 (told apart below; the client's own classes vary)
            failed = explained(error, what)
            asked, again = _asked_for(error), attempt < ATTEMPTS and _passes(error, passing)
        if not again:
            raise failed  # out here, so that it does not carry the request, whose headers hold the token
        wait = SECONDS * 2 ** (attempt - 1) * (1 + random.random() / 4) if asked is None else asked  # noqa: S311 (no secret)
        attempt += 1
        logger.warning("%s Attempt %d in %.1f s.", str(failed).split(". ")[0] + ".", attempt, wait)
        time.sleep(wait)


@contextlib.contextmanager
def _no_endless_silence() -> Iterator[None]:
    """The Hub's client waits for ever for an answer, unless its user chose otherwise."""
    session = get_session()
    chosen = session.timeout
    if chosen.read is None:
        session.timeout = SILENCE
    try:
        yield
    finally:
        session.timeout = chosen


def explained(error: Exception, what: str) -> PublishError:
    """An error of the client's as one of ours: what failed, why, what to do."""
    status = status_of(error)
    if isinstance(error, PublishError):
        return error
    if status == 401:
        advice = "The token is not valid: log in with `hf auth login`, or set HF_TOKEN."
    elif status == 403 or isinstance(error, GatedRepoError):
        advice = "The token may not write there: use one with that right, or another namespace."
    elif isinstance(error, RepositoryNotFoundError):
        advice = "There is no such repository, or the token may not see it: check the name."
    elif _passes(error, PASSING):
        advice = f"Tried {ATTEMPTS} times. Run the same again later: what is there is not sent twice."
    else:
        advice = "Mend this and run the same again."
    return PublishError(f"{what} failed ({_short(error)}). {advice}")


def status_of(error: BaseException | None) -> int | None:
    """The HTTP status behind an error, or behind what caused it, if one answered."""
    while error is not None:
        if isinstance(error, HfHubHTTPError):
            return int(error.response.status_code)
        error = error.__cause__
    return None


def _passes(error: BaseException, passing: frozenset[int]) -> bool:
    status = status_of(error)
    if status is not None:
        return status in passing
    return _is_connection(error)


def _is_connection(error: BaseException) -> bool:
    """Whether the connection broke. The client's HTTP library has its own classes for that, and has changed once."""
    cause: BaseException | None = error
    while cause is not None:
        if {kind.__name__ for kind in type(cause).__mro__} & CONNECTION_ERRORS:
            return True
        cause = cause.__cause__
    return False


def _asked_for(error: Any) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", {})
    try:
        return max(0.0, float(headers["Retry-After"]))
    except (KeyError, TypeError, ValueError):
        return None


def _short(error: BaseException) -> str:
    """The first line of an error, without the address (a signed one lets anybody upload) and without any token."""
    status = status_of(error)
    if status is not None:
        said = getattr(error, "server_message", None)
        text = f"HTTP {status}" + (f": {said}" if said else "")
    else:
        text = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return TOKEN.sub("hf_…", text)
