"""Values that flags are given, as the interface takes them: options, JSON, times.

Each is an argparse type: what can't be read is an ArgumentTypeError, whose message says how to
write it.
"""

from __future__ import annotations

import argparse
from typing import Any, Final

from ygg.cli.base import LATER_MAX, time_from_now
from ygg.client.finite import no_json

#: Levels of lists and objects that the interface takes.
DEPTH_MAX: Final = 32


def option(text: str) -> tuple[str, Any]:
    """NAME=VALUE; a value that is JSON is what it says, any other is a text."""
    name, found, value = text.partition("=")
    if not name or not found:
        raise argparse.ArgumentTypeError(f"{text!r}: write it like temperature=0.2")
    try:
        return name, _parsed(value)
    except ValueError:
        return name, value


def json_value(text: str) -> Any:
    try:
        return _parsed(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"""no JSON ({error}): write it like '{{"for": "me"}}'"""
        ) from error


def later(text: str) -> str:
    """A time is passed on as it is, so long from now becomes one."""
    from ygg.durations import parse_duration
    from ygg.wire import read_time

    found = parse_duration(text)
    if found is None:
        try:
            read_time(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(
                f"{text!r}: write a time, 2026-11-24T18:00:00Z, or so long from now: 90s, 2h, 1d"
            ) from error
        return text
    if found > LATER_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is more than a thousand years from now")
    at = time_from_now(found)
    assert at is not None
    return at


def _parsed(text: str) -> Any:
    """Raises ValueError: it is no JSON; ArgumentTypeError: it is, and can't be handed in."""
    import json

    try:
        value = json.loads(text, parse_constant=_no_number)
    except RecursionError as error:
        raise _too_deep() from error
    if no_json(value) is not None:  # as 1e999 becomes one
        raise argparse.ArgumentTypeError(f"{text!r} has a number that is too large")
    level, depth = [value], 0
    while level:
        if depth > DEPTH_MAX:
            raise _too_deep()
        parts = [part for part in level if isinstance(part, dict | list)]
        level = [v for p in parts for v in (p.values() if isinstance(p, dict) else p)]
        depth += 1
    return value


def _no_number(text: str) -> float:
    raise argparse.ArgumentTypeError(f"{text} is no number in JSON")


def _too_deep() -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"nested too deep: {DEPTH_MAX} levels are taken at most")
