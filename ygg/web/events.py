"""GET /v1/events: streams of what happens, each taken up again where it broke off.

What is sent is tail.py's. A stream holds nothing but its position and waits for its own client
only: a slow one reads from the journal what is no longer at hand, a stuck one is cut off by
`listening`. Streams end with the application, after the last row.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from aiohttp import hdrs, web

from ygg.journal import Event, Kind
from ygg.stores.base import StoreError
from ygg.web import tail
from ygg.web.connections import Connection
from ygg.web.parameters import NUMBER_MAX, QueryReader, Text, read_number, whole
from ygg.web.parts import Parts
from ygg.web.problems import Kind as ProblemKind
from ygg.web.problems import Problem, sealed
from ygg.web.routes import STORE, Answer, Header, Route
from ygg.web.tail import Piece, Row, Tail, Wanted

log = logging.getLogger("ygg.web")

#: Rows that come close together go out together: under load a stream wakes so often at most.
_GATHER_SECONDS: Final = 0.02
#: When clients are asked to come back once a stream broke off.
_AGAIN_SECONDS: Final = 1.0
_LAST_EVENT_ID: Final = "Last-Event-ID"
_HEADERS: Final = {
    hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8",
    "X-Accel-Buffering": "no",  # a proxy in front shall pass them on as they come
}


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Where a stream begins, and which rows it shows."""

    after: (
        Annotated[int, whole(0, NUMBER_MAX, "A row's position. Left out: from now on.")] | None
    ) = None
    task: (
        Annotated[Text, msgspec.Meta(title="Only rows of this task, or of this issue's latest.")]
        | None
    ) = None
    kinds: (
        Annotated[
            tuple[Kind, ...],
            msgspec.Meta(
                min_length=1,
                title="Only rows of these kinds.",
                description=f"some of {', '.join(k.value for k in Kind)}, with commas in between",
            ),
        ]
        | None
    ) = None


QUERY: Final = QueryReader(EventsQuery)


class EventRoutes:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._store = parts.dispatcher.store
        self._tail = Tail(parts.dispatcher.board.seen, tail.KEPT)
        #: Of each stream what wakes it.
        self._streams = set[asyncio.Event]()
        self._closing = False

    def routes(self) -> list[Route]:
        return [
            Route(
                method="GET",
                path="/v1/events",
                handle=self.events,
                summary="Follow what happens, as server-sent events",
                about="Each message is a row of the journal (RowView), its id the row's position. "
                "One of the event `reset` says that rows before it can't be had any more: what "
                "was known must be asked for anew.",
                query=QUERY,
                headers=(
                    Header(
                        name=_LAST_EVENT_ID,
                        about="The last position that was seen; goes before `after`.",
                        kind=Annotated[str, msgspec.Meta(pattern="^[0-9]{1,18}$")],
                    ),
                ),
                answers={200: Answer(about="a stream without end", media="text/event-stream")},
                problems=(ProblemKind.UNKNOWN_TASK, ProblemKind.TOO_MANY_STREAMS, *STORE),
                has_head=False,
            )
        ]

    def absorb(self, events: Sequence[Event]) -> None:
        """Follows the store."""
        self._tail.absorb(events)
        self._wake()

    async def close(self, _: web.Application) -> None:
        """No more rows come: every stream ends once it has sent the last one."""
        self._closing = True
        self._wake()

    def _wake(self) -> None:
        for news in self._streams:
            news.set()

    async def events(self, request: web.Request) -> web.StreamResponse:
        asked, position = QUERY.read(request.query), self._tail.last
        if asked.after is not None:
            position = asked.after
        seen = request.headers.getall(_LAST_EVENT_ID, ())
        if seen:
            position = read_number(_LAST_EVENT_ID, seen[-1], 0, NUMBER_MAX)
        if asked.task is not None:
            asked = msgspec.structs.replace(asked, task=(await self._parts.task_of(asked.task)).id)
        most = self._parts.limits.streams
        if len(self._streams) >= most:
            detail = f"{most} streams of events are open, as many as are allowed: close some"
            raise Problem(ProblemKind.TOO_MANY_STREAMS, detail, retry_after=10)
        wanted = Wanted(
            task=asked.task, kinds=None if asked.kinds is None else frozenset(asked.kinds)
        )
        # The guard seals answers, but this one is under way before it comes there.
        response = sealed(web.StreamResponse(headers=_HEADERS))
        news, connection = asyncio.Event(), None
        if isinstance(request.protocol, Connection):
            connection = request.protocol
            connection.when_lost = news.set
        self._streams.add(news)
        try:
            await response.prepare(request)
            await self._feed(response, connection, news, position, wanted)
        except ConnectionError:
            pass  # the client has gone, or was cut off
        except StoreError as error:
            # It comes back, and finds out by the answer whether the store has too.
            log.warning("event=stream_broke_off why=%r", str(error))
        finally:
            self._streams.discard(news)
            if connection is not None:
                connection.when_lost = None
        return response

    async def _feed(
        self,
        response: web.StreamResponse,
        connection: Connection | None,
        news: asyncio.Event,
        position: int,
        wanted: Wanted,
    ) -> None:
        """Raises ConnectionError, StoreError."""
        now = asyncio.get_running_loop().time
        silence = self._parts.limits.heartbeat_seconds
        await response.write(tail.opening(position, _AGAIN_SECONDS))
        sent_at = now()
        while connection is None or not connection.is_lost:
            news.clear()  # before the look: nothing slips by
            closing = self._closing
            text, after = await self._next(position, wanted)
            moved, position = after != position, after
            if not text and now() - sent_at >= silence:
                text = tail.mark(position)  # also where all that happens is not wanted
            if text:
                await response.write(text)
                sent_at = now()
            if moved:
                await asyncio.sleep(0 if closing else _GATHER_SECONDS)
            elif closing:
                await response.write(tail.FAREWELL)
                return
            else:
                try:
                    async with asyncio.timeout_at(sent_at + silence):
                        await news.wait()
                except TimeoutError:
                    pass

    async def _next(self, position: int, wanted: Wanted) -> Piece:
        """What comes after a position. Raises StoreError."""
        last = self._tail.last
        if position > last:
            why = f"row {position} was not written yet: the store is another, or an older copy"
            return Piece(tail.reset(last, self._parts.wall(), why), last)
        rows = self._tail.after(position)
        if rows is not None:
            return tail.piece(rows, wanted, position)
        # It is too far back: rows up to `last` are all in the journal, unless they were pruned.
        found = await self._store.journal(
            after=position, limit=tail.PIECE_ROWS, task_id=wanted.task
        )
        pruned = await self._store.pruned_to()
        if position < pruned:
            why = f"of the rows up to {pruned} some were pruned by their age"
            return Piece(tail.reset(last, self._parts.wall(), why), last)
        piece = tail.piece(map(Row, found), wanted, position)
        end = found[-1].position if found else position
        if len(found) < tail.PIECE_ROWS and piece.position == end:
            return Piece(piece.text, max(last, end))
        return piece
