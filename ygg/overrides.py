"""What a person sets by hand over the fleet's own course: pins and pauses of hosts.

Each is a row of the journal, and what holds is kept in the store: it outlives the process, and
ends by itself where it was given an end. Orders are carried out one after another, since each is
decided by what the last one left. What a pin makes of a limit is pins.py's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

from ygg import pins
from ygg.fleet import Fleet, HostSettings
from ygg.journal import Event, Kind, Note
from ygg.outages import Outages
from ygg.pins import Bounds
from ygg.ports import Clock
from ygg.stores.base import HostRow, TaskStore

log = logging.getLogger("ygg.overrides")

#: The wall clock may be set while we wait for a time to come.
_LOOK_EVERY_SECONDS = 30.0
#: Rows after which the next end may be another.
_SETS_AN_END = frozenset({Kind.PINNED, Kind.UNPINNED, Kind.PAUSED, Kind.RESUMED})


class UnknownHost(LookupError):
    """hosts.yaml has no host of that name."""


class CantPin(Exception):
    """The host can't be pinned so."""


class PinnedInFile(CantPin):
    """hosts.yaml pins the host, and goes before."""


class SharedSlots(CantPin):
    """The host uses the slots of another, which can be pinned."""


class OutOfBounds(CantPin):
    """The limit is less than the host's min or more than its max."""


class Overrides:
    """Pins and pauses of one dispatcher.

    Args:
        store: where they are kept.
        clock: by which they end.
        outages: writes what must not be lost.
        turn: held while a limit is decided and written, by whoever does so.
        fleet: the settings as they are now.
        rows: what the store keeps of each host.
        limit: of a host's slots, as it is now; None: it has none.
        server: how many tasks a host's server says it runs at once.
    """

    def __init__(
        self,
        store: TaskStore,
        clock: Clock,
        outages: Outages,
        turn: asyncio.Lock,
        *,
        fleet: Callable[[], Fleet],
        rows: Callable[[], Mapping[str, HostRow]],
        limit: Callable[[str], int | None],
        server: Callable[[str], int | None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._outages = outages
        self._fleet = fleet
        self._rows = rows
        self._limit = limit
        self._server = server
        self._one_at_a_time = turn
        self._changed = asyncio.Event()
        #: Of which hosts it was said that their server runs fewer at once, and how many.
        self._warned: dict[str, int] = {}

    def bounds(self, host: str) -> Bounds:
        """Of the slots that a host of the fleet uses."""
        owner = self._fleet().hosts[host].semaphore
        return pins.bounds(self._fleet().hosts[owner].slots, self._server(owner))

    # -- what people order -----------------------------------------------------------------------

    async def pin(
        self, host: str, limit: int, *, until: float | None = None, by: str = "", reason: str = ""
    ) -> None:
        """The limit is this and stays so, until a time or until it is unpinned.

        Raises UnknownHost, PinnedInFile, SharedSlots, OutOfBounds, StoreError.
        """
        settings = self._pinnable(host)
        least, most = self.bounds(host)
        if not least <= limit <= most:
            raise OutOfBounds(
                f"{limit} is outside the bounds of {host}, {least} to {most}: pin it within "
                f"them, or change its `slots:` ({self._fleet().file}:{settings.line})"
            )
        await self._write(pins.pinned(host, limit, until=until, by=by, reason=reason))

    async def unpin(self, host: str, *, by: str = "") -> None:
        """Back to the limit under the pin; nothing happens where no pin is.

        Raises UnknownHost, PinnedInFile, SharedSlots, StoreError.
        """
        self._pinnable(host)
        async with self._one_at_a_time:
            if self._row(host).pin is not None:
                note = Note(kind=Kind.UNPINNED, host=host, detail={"by": by} if by else {})
                await self._note([note], self._clock.wall())

    async def pause(
        self, host: str, reason: str, *, until: float | None = None, by: str = ""
    ) -> None:
        """No new starts there; what runs goes on. Raises UnknownHost, StoreError."""
        self._known(host)
        await self._write(pins.paused(host, until=until, by=by, reason=reason))

    async def resume(self, host: str, *, by: str = "") -> None:
        """Nothing happens where nobody paused it. Raises UnknownHost, StoreError."""
        self._known(host)
        async with self._one_at_a_time:
            if self._row(host).paused is not None:
                note = Note(kind=Kind.RESUMED, host=host, detail={"by": by} if by else {})
                await self._note([note], self._clock.wall())

    def _known(self, host: str) -> HostSettings:
        fleet = self._fleet()
        if host not in fleet.hosts:
            known = ", ".join(fleet.hosts)
            raise UnknownHost(f"no host {host!r} in {fleet.file}; known: {known}")
        return fleet.hosts[host]

    def _pinnable(self, host: str) -> HostSettings:
        settings, file = self._known(host), self._fleet().file
        if settings.shares is not None:
            raise SharedSlots(
                f"{host} uses the slots of {settings.shares} ({file}:{settings.line}): "
                f"pin {settings.shares} in its place"
            )
        if settings.slots.pin is not None:
            raise PinnedInFile(
                f"{host} is pinned at {settings.slots.pin} in {file}:{settings.slots.pin_line}, "
                "which goes before a pin by hand: edit the file"
            )
        return settings

    # -- writing ---------------------------------------------------------------------------------

    async def _write(self, note: Note) -> None:
        async with self._one_at_a_time:
            await self._note([note], self._clock.wall())

    async def _note(self, notes: Sequence[Note], now: float) -> None:
        """Write them, and in the same commit what they make of limits."""
        made = [row for note in notes for row in self._made_of_limit(note)]
        await self._store.note([*notes, *made], now=now)

    def _made_of_limit(self, note: Note) -> Iterator[Note]:
        host, settings = note.host, self._fleet().hosts.get(note.host)
        if note.kind not in (Kind.PINNED, Kind.UNPINNED) or settings is None:
            return
        if settings.shares is None:  # else it has no slots of its own any more
            yield from pins.resized(
                host,
                settings.slots,
                self._row(host).after(note.kind, note.reason, note.detail),
                current=self._limit(host),
                reason="pin",
                server=self._server(host),
            )

    async def fit_to_server(self, host: str, now: float) -> None:
        """No more slots than its server runs at once, for as long as it runs no more.

        The rest would only hide a queue. The file's pin stands all the same: somebody knows better.
        Raises StoreError.
        """
        self._warn_of_server(host)
        if not list(self._fitted(host)):
            return  # looks at hosts wait for no turn
        async with self._one_at_a_time:
            notes = list(self._fitted(host))
            if notes:
                await self._store.note(notes, now=now)

    def _fitted(self, host: str) -> Iterator[Note]:
        settings = self._fleet().hosts.get(host)
        if settings is not None and settings.shares is None:
            yield from pins.resized(
                host,
                settings.slots,
                self._row(host),
                current=self._limit(host),
                reason="server_parallelism",
                server=self._server(host),
            )

    def _warn_of_server(self, host: str) -> None:
        limit, most = self._limit(host), self._server(host)
        if limit is None or most is None or limit <= most or self._warned.get(host) == most:
            return
        self._warned[host] = most
        log.warning(
            "event=limit_too_high host=%s limit=%d server_runs=%d hint=%r",
            host,
            limit,
            most,
            "the server queues the rest where priorities don't count: raise its --parallel",
        )

    def _row(self, host: str) -> HostRow:
        return self._rows().get(host, HostRow())

    # -- their ends ------------------------------------------------------------------------------

    def heard(self, event: Event) -> None:
        """A row was committed."""
        if event.kind in _SETS_AN_END:
            self._changed.set()

    async def watch(self) -> None:
        """End what has an end, when it comes."""
        while True:
            due, wait = pins.next_end(self._rows()), None
            if due is not None:
                wait = min(max(due - self._clock.wall(), 0.0), _LOOK_EVERY_SECONDS)
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
            await self._outages.persist(self._end)

    async def _end(self, now: float) -> None:
        async with self._one_at_a_time:
            notes = list(pins.ended(self._rows(), now))
            if notes:
                await self._note(notes, now)
