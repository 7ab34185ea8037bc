"""How a task and a time look outside: in HTTP answers, `--json`, and a command's standard input.

Pure, and the one place for it. What may be asked over the wire is left to the HTTP interface.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from ygg.tasks import Json, Task

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RFC_3339: Final = re.compile(
    r"(?P<local>[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2})"
    r"(?:\.(?P<fraction>[0-9]+))?"
    r"(?P<offset>[Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_EXAMPLE: Final = "write it like 2026-11-24T03:20:00Z or 2026-11-24T04:20:00+01:00"


def rfc3339(seconds: float) -> str:
    """Seconds since the epoch as UTC with milliseconds: 2026-11-24T03:20:00.000Z."""
    # By whole milliseconds: a float's own fraction would show 1.001 as 1.000.
    second, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{_clock(second)}.{milliseconds:03}Z"


@lru_cache(maxsize=1024)
def _clock(second: int) -> str:
    """Kept, for the tasks of a list share their seconds."""
    moment = _EPOCH + timedelta(seconds=second)
    return moment.isoformat(timespec="seconds").removesuffix("+00:00")


def told_time(seconds: float) -> str:
    """For what may be damaged: a time that no calendar has as the number it is."""
    try:
        return rfc3339(seconds)
    except (OverflowError, ValueError):
        return repr(seconds)


def told_seconds(text: str) -> float:
    """What `told_time` told. Raises ValueError."""
    try:
        return parse_rfc3339(text)
    except ValueError as error:
        try:
            return float(text)
        except ValueError:
            raise error from None


def parse_rfc3339(text: str) -> float:
    """Seconds since the epoch of a time with Z or an offset. Raises ValueError, which says why."""
    shown = repr(text if len(text) <= 40 else text[:40] + "...")
    parts = _RFC_3339.fullmatch(text)
    if parts is None:
        raise ValueError(f"{shown} is not a date and time of RFC 3339; {_EXAMPLE}")
    if parts["offset"] is None:
        raise ValueError(f"{shown} does not say in which time zone it is; {_EXAMPLE}")
    offset = parts["offset"].upper().replace("Z", "+00:00")
    # Python knows microseconds: further digits are dropped.
    fraction = (parts["fraction"] or "0")[:6].ljust(6, "0")
    try:
        moment = datetime.fromisoformat(f"{parts['local'].upper()}.{fraction}{offset}")
        return (moment.astimezone(UTC) - _EPOCH) / timedelta(seconds=1)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{shown} is no time that exists: {error}; {_EXAMPLE}") from error


#: Times are shown with four digits of a year, in UTC.
_LATEST: Final = parse_rfc3339("9999-01-01T00:00:00Z")


def read_time(text: str) -> float:
    """A time that can be kept and shown. Raises ValueError, which says why."""
    at = parse_rfc3339(text)
    if not 0 <= at < _LATEST:
        raise ValueError(f"{text!r} is not from the years 1970 to 9998; {_EXAMPLE}")
    return at


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else told_time(seconds)


def task_json(task: Task) -> dict[str, Json]:
    """All that a task shows to the outside. Its place in this store and its owner stay inside."""
    return {
        "id": task.id,
        "title": task.title,
        "description": task.description,
        "labels": list(task.labels),
        "type": task.type,
        "priority": task.priority,
        "created_at": told_time(task.created_at),
        "status": task.status.value,
        "outcome": task.outcome and task.outcome.value,
        "error": task.error,
        "host": task.host,
        "attempt": task.attempt,
        "strikes": task.strikes,
        "started_at": _time(task.started_at),
        "ended_at": _time(task.ended_at),
        "artifact": task.artifact,
        "key": task.key,
        "metadata": task.metadata,
        "run_next": task.run_next,
        "not_before": _time(task.not_before),
        "held": task.held and task.held.value,
        "submitter": task.submitter,
        "source": task.source,
        "source_id": task.source_id,
        "model": task.model,
        "system": task.system,
        "options": dict(task.options),
        "timeout": task.timeout,
        "answer": None if task.answer is None else dict(task.answer),
    }
