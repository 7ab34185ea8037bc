"""From what a server said to a `Failure`: its cause, and words that help the person who reads it.

Pure. Every message names the where and ends with what to do; text from outside is quoted:
trimmed, control characters escaped, the API key taken out. Talking to servers is left to http.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

import msgspec

from ygg.faults import Cause, Failure

_QUOTE_CHARACTERS: Final = 500
_REST_SECONDS_MAX: Final = 86400.0
#: The servers' own words, from their beginning: an error may quote a prompt that has them too.
_UNSUPPORTED: Final = re.compile(
    r"(\S+\s+){1,4}does not support (\S+ )?"
    r"(thinking|tools?|insert|chat|generate|completions?|embeddings?|images?|vision|audio|"
    r"multimodal|reranking|infill|system|reasoning|grammar|logprobs)\b",
    re.IGNORECASE,
)
_NUMBER: Final = re.compile(r"\s*\d{1,12}(\.\d+)?\s*")

#: What a person can do about it.
REMEDIES: Final[Mapping[Cause, str]] = {
    Cause.BAD_REQUEST: "change the task's prompt, model or options and retry it",
    Cause.EMPTY_ANSWER: "change the prompt, or take another model",
    Cause.REFUSED_ANSWER: "change the prompt, or take a model without that filter",
    Cause.ANSWER_TOO_LONG: "set num_predict to bound the answer",
    Cause.DEADLINE: "raise the timeout of the task or its type, or lower num_predict",
    Cause.TIMEOUT: "raise the timeout of the task or its type: the host may load or queue for long",
    Cause.REFUSED: "start the server, or correct `url:` in hosts.yaml",
    Cause.RESET: "look at the server's log: it may have died or been restarted",
    Cause.CUT_OFF: "look at the server's log: it may have died or been restarted",
    Cause.SERVER_ERROR: "look at the server's log",
    Cause.NO_FINAL: "asked again it often succeeds; if not, look at the server's log",
    Cause.MALFORMED: "check that `url:` leads to a model server and that `api:` is right",
    Cause.STALL: "look at the server's load and log, or raise `stall` of the type",
    Cause.FIRST_TOKEN: "look at what the server loads or queues, or raise `first_token` of the type",
    Cause.REQUEST_TIMEOUT: "look at the network and the proxies between here and the server",
    Cause.BUSY: "it is left alone for a while; if this happens often, give the host fewer slots",
    Cause.UNAUTHORISED: "set the host's `key:` in hosts.yaml to a key that the server takes",
    Cause.NO_MODEL: "pull the model there, or correct its name or the host's `api:` in hosts.yaml",
    Cause.UNSUPPORTED: "send this type to another model, or drop the option it does not support",
}


class Blame(NamedTuple):
    cause: Cause
    #: Whether the server had taken the request when it said so.
    taken: bool


_BY_STATUS: Final[Mapping[int, Blame]] = {
    401: Blame(Cause.UNAUTHORISED, taken=False),
    402: Blame(Cause.UNAUTHORISED, taken=False),
    403: Blame(Cause.UNAUTHORISED, taken=False),
    404: Blame(Cause.NO_MODEL, taken=False),
    405: Blame(Cause.UNSUPPORTED, taken=False),  # a path of the other dialect
    407: Blame(Cause.UNAUTHORISED, taken=False),
    # Taken, or a request that always times out would go round for ever without a strike.
    408: Blame(Cause.REQUEST_TIMEOUT, taken=True),
    409: Blame(Cause.SERVER_ERROR, taken=True),
    410: Blame(Cause.NO_MODEL, taken=False),
    425: Blame(Cause.SERVER_ERROR, taken=True),
    429: Blame(Cause.BUSY, taken=False),
    503: Blame(Cause.BUSY, taken=False),  # llama.cpp's "Loading model" too
}


def blame(status: int, said: str) -> Blame:
    """Whose fault an answer with this status is; `said` is the text that came with it."""
    if status in {400, 405, 422, 501} and _UNSUPPORTED.match(said):
        return Blame(Cause.UNSUPPORTED, taken=False)
    if found := _BY_STATUS.get(status):
        return found
    if 400 <= status < 500:
        return Blame(Cause.BAD_REQUEST, taken=False)
    if 500 <= status < 600:
        return Blame(Cause.SERVER_ERROR, taken=True)
    return Blame(Cause.MALFORMED, taken=True)


class Said(NamedTuple):
    """What an error object says, in whichever of the known shapes."""

    text: str
    #: A status inside the object, if it has one.
    code: int | None = None


def read_error(error: object) -> Said:
    """The text and code of an error object.

    Ollama: a string. llama.cpp, vLLM: {"code", "message"}. SGLang: the same at top level.
    """
    code: int | None = None
    for _ in range(3):  # as deep as any of them goes
        if not isinstance(error, dict):
            break
        code = _status(error.get("code")) or code
        named = [error[key] for key in ("error", "message", "detail") if error.get(key)]
        if not named:
            break
        error = named[0]
    return Said(error if isinstance(error, str) else msgspec.json.encode(error).decode(), code)


def _status(code: object) -> int | None:
    if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) == 3:
        code = int(code)
    return code if isinstance(code, int) and 400 <= code < 600 else None


def read_error_body(body: bytes) -> Said:
    """The same for a whole body, which need not be JSON at all."""
    try:
        return read_error(msgspec.json.decode(body))
    except (ValueError, RecursionError):
        return Said(body.decode(errors="replace").strip())


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for: a number, or a date seen from `now`."""
    if value is None:
        return None
    if _NUMBER.fullmatch(value):
        return min(float(value), _REST_SECONDS_MAX)
    until = read_date(value)
    if until is None:
        return None
    return min(max(0.0, math.ceil((until - now).total_seconds())), _REST_SECONDS_MAX)


def read_date(value: str) -> datetime | None:
    """The moment that a header names; None where it names none: no date, no zone, an absurd one."""
    try:
        moment = parsedate_to_datetime(value)
        return moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (TypeError, ValueError, OverflowError):
        return None


def apart(failure: Failure) -> tuple[str, str]:
    """A failure's message as what was wrong, and what a person can do about it."""
    what, _, remedy = failure.message.rpartition("; ")
    return (what, remedy) if what else (remedy, REMEDIES.get(failure.cause, ""))


class Where:
    """Where something failed: a server and a model on it. Makes the failures that name them."""

    __slots__ = ("_secret", "_where")

    def __init__(self, url: str, model: str = "", *, secret: str | None = None) -> None:
        """Args: `url` without credentials; `secret`: a key that must not be in any message."""
        self._secret = secret
        self._where = f"{url}, model {self.quote(model)}" if model else url

    def quote(self, text: str) -> str:
        """Text from outside, fit for a message: bounded, in one line, without the key."""
        if self._secret:
            text = text.replace(self._secret, "***")
        if len(text) > _QUOTE_CHARACTERS:
            text = text[:_QUOTE_CHARACTERS] + "..."
        if text.isprintable():
            return text
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

    def failure(
        self,
        cause: Cause,
        what: str,
        *,
        taken: bool,
        remedy: str = "",
        retry_after: float | None = None,
        partial: str = "",
        status: int | None = None,
    ) -> Failure:
        """A failure here. `what` is ours to word: quote what others said."""
        message = f"{self._where}: {what}; {remedy or REMEDIES[cause]}"
        return Failure(
            cause, message, taken=taken, retry_after=retry_after, partial=partial, status=status
        )

    def refusal(
        self,
        status: int,
        said: Said,
        *,
        path: str = "",
        retry_after: float | None = None,
        partial: str = "",
    ) -> Failure:
        """The failure that an error answer with this status is. `path`: what was asked."""
        cause, taken = blame(status, said.text)
        asked = f"{path} with " if path else ""
        what = f"answered {asked}{status}: {self.quote(said.text) or 'without a word'}"
        return self.failure(
            cause, what, taken=taken, retry_after=retry_after, partial=partial, status=status
        )
