"""The part of docs/troubleshooting.md that is made out of the code: how an attempt can fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tools import markdown
from ygg.cli.words import whose_fault
from ygg.faults import Cause
from ygg.hosts.blame import REMEDIES

_MEANINGS: Final[Mapping[Cause, str]] = {
    Cause.BAD_REQUEST: "The server refused the request (400, 413, 422).",
    Cause.EMPTY_ANSWER: "The answer had no text.",
    Cause.REFUSED_ANSWER: "The model, or a filter in front of it, declined.",
    Cause.ANSWER_TOO_LONG: "The answer was longer than ygg keeps.",
    Cause.DEADLINE: "The `timeout` passed while tokens still came.",
    Cause.TIMEOUT: "The `timeout` passed before the first token.",
    Cause.COMMAND_FAILED: "The type's command ended with another exit code than 0 and 75.",
    Cause.INTERNAL: "A bug of ygg, or of the type's Python function.",
    Cause.REFUSED: "Nobody listens at the host's address.",
    Cause.RESET: "The connection was reset.",
    Cause.CUT_OFF: "The connection ended inside the answer.",
    Cause.SERVER_ERROR: "The server failed (5xx).",
    Cause.NO_FINAL: "The answer ended without its last message.",
    Cause.MALFORMED: "What came is not what a model server says.",
    Cause.STALL: "No further token came within `stall`.",
    Cause.FIRST_TOKEN: "No token came within `first_token`.",
    Cause.REQUEST_TIMEOUT: "The server, or a proxy, gave up waiting (408).",
    Cause.BUSY: "The server has too much to do (429, 503).",
    Cause.UNAUTHORISED: "The server wants another key (401, 403).",
    Cause.NO_MODEL: "The server has no such model (404).",
    Cause.UNSUPPORTED: "The model can't do what was asked of it.",
}
#: What is not a model server's has its remedy here.
_OTHER_REMEDIES: Final[Mapping[Cause, str]] = {
    Cause.COMMAND_FAILED: "look at what it wrote to its standard error, in the log",
    Cause.INTERNAL: "look at the traceback in the log, and mend it before you retry",
}


def page(text: str) -> str:
    return markdown.with_part(text, "causes", _causes())


def _causes() -> str:
    remedies = {**REMEDIES, **_OTHER_REMEDIES}
    rows = [
        (cause.replace("_", " "), whose_fault(cause), _MEANINGS[cause], remedies[cause])
        for cause in Cause
    ]
    return markdown.table(["it says", "whose fault", "means", "do"], rows)
