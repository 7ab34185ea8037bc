"""What the end of an attempt means: whose fault it was, and what comes next.

One table (rule 8 of the design). Detecting the cause is left to hosts and handlers, acting on
the verdict to the dispatcher.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final


class Cause(StrEnum):
    """Why an attempt failed, in words that fit a metric's label."""

    # The task's fault.
    BAD_REQUEST = "bad_request"  # 400, 413, 422: this request will never be answered
    EMPTY_ANSWER = "empty_answer"
    REFUSED_ANSWER = "refused_answer"  # the model or its content filter declined
    ANSWER_TOO_LONG = "answer_too_long"  # past the size that ygg keeps
    DEADLINE = "deadline"  # the timeout passed while tokens still flowed
    TIMEOUT = "timeout"  # the whole timeout passed before the first token
    COMMAND_FAILED = "command_failed"
    INTERNAL = "internal"  # a bug of ours or of a Python handler, seen with this task
    # The host's fault.
    REFUSED = "refused"  # no connection: the host never saw the request
    RESET = "reset"
    CUT_OFF = "cut_off"  # the connection ended inside an answer
    SERVER_ERROR = "server_error"  # 5xx but 503
    NO_FINAL = "no_final"  # the stream ended cleanly without its final object
    MALFORMED = "malformed"  # what came was not the protocol
    STALL = "stall"  # no token within the stall limit
    FIRST_TOKEN = "first_token"  # noqa: S105 - not a password: no first token within the limit
    REQUEST_TIMEOUT = "request_timeout"  # 408
    # Nobody's fault.
    BUSY = "busy"  # 429, 503
    # The configuration of the option (host, model).
    UNAUTHORISED = "unauthorised"  # 401, 403
    NO_MODEL = "no_model"  # 404
    UNSUPPORTED = "unsupported"  # "does not support ..."


class Next(Enum):
    """What becomes of the task."""

    BLOCK = "block"
    REOPEN = "reopen"


class Hurts(Enum):
    """Whose health suffers."""

    NOBODY = "nobody"
    HOST = "host"
    #: Nothing is proven: it is looked at now, and its health path decides.
    DOUBT = "doubt"
    #: The host takes no starts for a while, and is not ill.
    REST = "rest"
    #: This model on this host takes no starts until a probe passes.
    OPTION = "option"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    next: Next
    hurts: Hurts
    #: Count a strike, provided the host had taken the request.
    strike: bool = False


_TASK: Final = Verdict(next=Next.BLOCK, hurts=Hurts.NOBODY)
_HOST: Final = Verdict(next=Next.REOPEN, hurts=Hurts.HOST, strike=True)
_REST: Final = Verdict(next=Next.REOPEN, hurts=Hurts.REST)
#: The option's configuration; also what trials that fail alike come to (keeper.py).
MISCONFIGURED: Final = Verdict(next=Next.REOPEN, hurts=Hurts.OPTION)

#: Rule 8, whole. Every cause has its line; a test holds it against the design's words.
VERDICTS: Final[Mapping[Cause, Verdict]] = {
    Cause.BAD_REQUEST: _TASK,
    Cause.EMPTY_ANSWER: _TASK,
    Cause.REFUSED_ANSWER: _TASK,
    Cause.ANSWER_TOO_LONG: _TASK,
    Cause.DEADLINE: _TASK,
    # It was the task's own limit; whether the host would have answered, its health path says.
    Cause.TIMEOUT: Verdict(next=Next.BLOCK, hurts=Hurts.DOUBT),
    Cause.COMMAND_FAILED: _TASK,
    Cause.INTERNAL: _TASK,
    Cause.REFUSED: _HOST,
    Cause.RESET: _HOST,
    Cause.CUT_OFF: _HOST,
    Cause.SERVER_ERROR: _HOST,
    Cause.NO_FINAL: _HOST,
    Cause.MALFORMED: _HOST,
    Cause.STALL: _HOST,
    # Perhaps only a long queue or load.
    Cause.FIRST_TOKEN: Verdict(next=Next.REOPEN, hurts=Hurts.DOUBT, strike=True),
    Cause.REQUEST_TIMEOUT: _HOST,
    Cause.BUSY: _REST,
    Cause.UNAUTHORISED: MISCONFIGURED,
    Cause.NO_MODEL: MISCONFIGURED,
    Cause.UNSUPPORTED: MISCONFIGURED,
}


class Failure(Exception):
    """An attempt failed in a way the table knows.

    Args:
        cause: the line of the table.
        message: what was wrong and where, for the person who will read the task's error.
        taken: whether the host had taken the request when it failed (a strike needs that).
        retry_after: seconds the host asked to be left alone, if it said.
        partial: what of the answer had come, if anything.
        status: the HTTP status that refused it, where one did.
    """

    def __init__(
        self,
        cause: Cause,
        message: str,
        *,
        taken: bool,
        retry_after: float | None = None,
        partial: str = "",
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.cause = cause
        self.message = message
        self.taken = taken
        self.retry_after = retry_after
        self.partial = partial
        self.status = status

    @property
    def verdict(self) -> Verdict:
        return VERDICTS[self.cause]

    @property
    def strike(self) -> bool:
        return self.taken and self.verdict.strike
