"""The journal's end as server-sent events: what GET /v1/events sends, without the sending.

A stream of events is a position in the journal and nothing else: whoever reads slowly is not
buffered for, but reads on from there. The latest rows are kept here, each encoded at most once
for all streams; rows before them are left to the store. Pure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from ygg.journal import Event, Kind
from ygg.web.views import row_json

#: Rows that are kept, at least; twice as many at most. A reader who is further behind reads the
#: store; more would cost megabytes while nobody reads.
KEPT: Final = 1024
#: A piece of a stream is whole rows, and no longer than this once it has one.
PIECE_BYTES: Final = 128 * 1024
#: Rows that are looked at for one piece.
PIECE_ROWS: Final = 512
_ENCODER: Final = msgspec.json.Encoder()


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which rows a stream shows."""

    #: Of one task; None: of all, and those about no task.
    task: str | None = None
    #: None: every kind.
    kinds: AbstractSet[Kind] | None = None

    def has(self, event: Event) -> bool:
        return (self.task is None or event.task == self.task) and (
            self.kinds is None or event.kind in self.kinds
        )


class Row:
    """A row of the journal; it is written out when the first stream asks."""

    __slots__ = ("_message", "event")

    def __init__(self, event: Event) -> None:
        self.event = event
        self._message: bytes | None = None

    @property
    def message(self) -> bytes:
        if self._message is None:
            data = _ENCODER.encode(row_json(self.event))
            self._message = b"id: %d\ndata: %b\n\n" % (self.event.position, data)
        return self._message


class Piece(NamedTuple):
    """What a stream sends next, and the position that it has come to with it."""

    text: bytes
    position: int


def piece(rows: Iterable[Row], wanted: Wanted, position: int) -> Piece:
    """As many of the rows as one piece holds; `position` is where the stream is before them."""
    messages: list[bytes] = []
    size = 0
    for row in rows:
        position = row.event.position
        if wanted.has(row.event):
            messages.append(row.message)
            size += len(row.message)
            if size >= PIECE_BYTES:
                break
    return Piece(b"".join(messages), position)


class Tail:
    """The latest rows.

    Args:
        last: the position of the last row that there is, as far as is known.
        kept: how many rows it keeps at least.
    """

    def __init__(self, last: int = 0, kept: int = KEPT) -> None:
        self._kept = kept
        self._rows: list[Row] = []
        self._positions: list[int] = []
        #: All rows after this one are here.
        self.floor = last
        self.last = last

    def absorb(self, events: Sequence[Event]) -> None:
        if events and not self._rows:
            self.floor = events[0].position - 1  # what was before it began to listen, it never had
        for event in events:
            self._rows.append(Row(event))
            self._positions.append(event.position)
            self.last = event.position
        if len(self._rows) > 2 * self._kept:
            surplus = len(self._rows) - self._kept
            self.floor = self._positions[surplus - 1]
            del self._rows[:surplus], self._positions[:surplus]

    def after(self, position: int) -> Sequence[Row] | None:
        """The next rows, not more than a piece takes. None: they are no longer here."""
        if position < self.floor:
            return None
        start = bisect_right(self._positions, position)
        return self._rows[start : start + PIECE_ROWS]


# -- what is said beside the rows ------------------------------------------------------------------


def opening(position: int, again_seconds: float) -> bytes:
    """The first words of a stream: where it begins, and when to come back once it broke off."""
    return b"retry: %d\n%b" % (round(again_seconds * 1000), mark(position))


def mark(position: int) -> bytes:
    """A sign of life. It has no data, so nobody is told of it; but who resumes, resumes here."""
    return b":\nid: %d\n\n" % position


def reset(position: int, at: float, why: str) -> bytes:
    """A row of a kind of its own: some rows before `position` can't be had any more."""
    row = row_json(Event(position=position, at=at, kind=Kind.OPENED, reason=why))
    data = _ENCODER.encode({**row, "kind": "reset"})
    return b"id: %d\nevent: reset\ndata: %b\n\n" % (position, data)


FAREWELL: Final = b": the dispatcher has ended\n\n"
