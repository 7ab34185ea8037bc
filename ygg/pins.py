"""The limit that a host's slots have: bounds, pins, and what holds again when a pin has gone.

A pin is set over the limit and does not replace it: taken away, it leaves the host with the limit
that it had before, so that a pin for two hours is over after two hours. The file's pin goes before
the operator's. Pure: rows as the store has them, and settings, to rows that are to be written.
Who may set a pin, and writing it, is left to overrides.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from ygg.fleet import SlotSettings
from ygg.journal import Kind, Note
from ygg.stores.base import HostRow
from ygg.tasks import Json

#: Why a pin or a pause ended that had an end.
TIME_IS_UP: Final = "its time is up"


class Bounds(NamedTuple):
    """The least and the greatest limit that a host may have."""

    least: int
    most: int


def bounds(slots: SlotSettings, server: int | None = None) -> Bounds:
    """Those of the file; a server that says how many it runs at once is given no more."""
    if slots.max is not None:
        most = slots.max if server is None else min(slots.max, server)
    else:
        most = max(slots.start, slots.min) if server is None else server
    return Bounds(min(slots.min, most), most)


class Limits(NamedTuple):
    """What a host's limit is to be."""

    now: int
    #: The one that holds again once the pin has gone, or the server runs as many at once; None:
    #: neither is over it.
    unpinned: int | None


def limits(slots: SlotSettings, row: HostRow, server: int | None = None) -> Limits:
    """Pin, else what it was, else slots.start; within bounds.

    Before a server was asked, nothing but `slots.max` bounds what was kept: it was within bounds
    when it was set.
    """
    edited = row.start != slots.start  # an edit of slots.start counts at once
    kept = row.limit if row.unpinned is None else row.unpinned
    free = _within(slots, slots.start if edited or kept is None else kept, None)
    if slots.pin is not None:
        return Limits(slots.pin, free)
    if row.pin is not None:
        return Limits(_within(slots, row.pin, server), free)
    held = _within(slots, free, server)
    return Limits(held, None if held == free else free)


def _within(slots: SlotSettings, limit: int, server: int | None) -> int:
    known = [most for most in (slots.max, server) if most is not None]
    return min([max(limit, slots.min), *known])


def resized(
    host: str,
    slots: SlotSettings,
    row: HostRow,
    *,
    current: int | None,
    reason: str,
    server: int | None = None,
) -> Iterator[Note]:
    """The row that makes a host's limit what it is to be; none where it is so.

    Args:
        host: whose slots they are.
        slots: its settings.
        row: what the store keeps of it, what is written before this row included.
        current: the limit there is; None: none yet.
        reason: why it changes.
        server: how many its server says it runs at once.
    """
    limit, unpinned = limits(slots, row, server)
    if (row.limit, row.unpinned, row.start) == (limit, unpinned, slots.start):
        return
    detail: dict[str, Json] = {"limit": limit, "start": slots.start, "unpinned": unpinned}
    if current is not None:
        detail["before"] = current
    yield Note(kind=Kind.RESIZED, host=host, reason=reason, detail=detail)


def pinned(host: str, limit: int, *, until: float | None, by: str, reason: str) -> Note:
    detail: Mapping[str, Json] = {"limit": limit, **_set_by_hand(until, by)}
    return Note(kind=Kind.PINNED, host=host, reason=reason, detail=detail)


def paused(host: str, *, until: float | None, by: str, reason: str) -> Note:
    return Note(kind=Kind.PAUSED, host=host, reason=reason, detail=_set_by_hand(until, by))


def _set_by_hand(until: float | None, by: str) -> dict[str, Json]:
    detail: dict[str, Json] = {"by": by} if by else {}
    return detail if until is None else {**detail, "until": until}


def in_words(slots: SlotSettings, row: HostRow, file: str) -> str | None:
    """The pin that stands; None: none does."""
    if slots.pin is not None:
        return f"it is pinned at {slots.pin} in {file}:{slots.pin_line}"
    if row.pin is None:
        return None
    by = f" by {row.pin_by}" if row.pin_by else " by hand"
    return f"it is pinned at {row.pin}{by}"


def ended(rows: Mapping[str, HostRow], now: float) -> Iterator[Note]:
    """Of pins and pauses whose time is up; what a pin's end makes of the limit is not in it."""
    for host, row in rows.items():
        if row.pin is not None and row.pin_until is not None and row.pin_until <= now:
            yield Note(kind=Kind.UNPINNED, host=host, reason=TIME_IS_UP)
        if row.paused is not None and row.paused_until is not None and row.paused_until <= now:
            yield Note(kind=Kind.RESUMED, host=host, reason=TIME_IS_UP)


def next_end(rows: Mapping[str, HostRow]) -> float | None:
    """When the next one ends; None: none ends by itself."""
    ends = [until for row in rows.values() for until in (row.pin_until, row.paused_until)]
    return min((until for until in ends if until is not None), default=None)
