"""Looks at every source by itself: each in a task of its own, so that a dead one delays nobody.

A bounded number is asked at once, each answer has a time limit and a size. What the pages say is
left to readings.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from autoscaler.dispatcher import Dispatcher, Unreached
from autoscaler.sightings import Kind, Sighting, Source, Taker
from ygg.faults import Failure
from ygg.hosts.blame import apart
from ygg.hosts.http import BODY_BYTES_MAX, Client, open_session
from ygg.secrets import SecretError, resolve_secret

#: So many sources are asked at once.
AT_ONCE: Final = 128
#: Sources that are asked in one go.
_BUNCH: Final = 50
#: A model server without metrics is asked again after so long: another may have taken its place.
ABSENT_SECONDS: Final = 60.0
#: Longer than the usual time between two scrapes: connections outlive it.
_IDLE_SECONDS: Final = 15.0
#: Answers that mean "no such page here", where they come twice in a row: a server that just starts,
#: or a proxy before it, says so too. llama.cpp says 501 where it was started without --metrics.
_ABSENT: Final = (404, 405, 501)


class WebSources:
    """Everything over HTTP.

    Args:
        sources: exporters and model servers.
        dispatcher: looked at like the others.
        scrape_seconds: between two looks at the same.
        pause_seconds_max: between two looks at one that does not answer.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        dispatcher: Dispatcher,
        *,
        scrape_seconds: float,
        pause_seconds_max: float,
    ) -> None:
        self._sources = sources
        self._dispatcher = dispatcher
        self._scrape_seconds = scrape_seconds
        self._pause_seconds_max = max(scrape_seconds, pause_seconds_max)
        self._room = asyncio.Semaphore(AT_ONCE)

    async def follow(self, take: Taker) -> None:
        async with (
            open_session(idle_seconds=_IDLE_SECONDS) as session,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(
                follow_dispatcher(self._dispatcher, take, self._scrape_seconds), name="dispatcher"
            )
            for index, source in enumerate(self._sources):
                # In bunches, spread over the interval: all at once would be a storm, and one by one
                # wakes the process so often that waking costs more than the work.
                bunch, bunches = index // _BUNCH, -(-len(self._sources) // _BUNCH)
                first = self._scrape_seconds * bunch / bunches
                group.create_task(self._follow(session, source, first, take), name=source.url)

    async def _follow(
        self, session: aiohttp.ClientSession, source: Source, first: float, take: Taker
    ) -> None:
        loop = asyncio.get_running_loop()
        due, failures, was_absent = loop.time() + first, 0, False
        place = _Place(session, source)
        while True:
            await asyncio.sleep(max(0.0, due - loop.time()))
            sighting = await self._look(place)
            is_absent, was_absent = sighting.is_absent and was_absent, sighting.is_absent
            sighting = replace(sighting, is_absent=is_absent)
            take(sighting)
            failures = failures + 1 if sighting.trouble and not sighting.is_absent else 0
            # One that is missed once is asked again in its turn, one that is dead less often.
            pause = self._scrape_seconds * 2 ** min(max(0, failures - 1), 16)
            pause = ABSENT_SECONDS if sighting.is_absent else min(pause, self._pause_seconds_max)
            # What was missed is not made up for.
            due = max(due + pause, loop.time())

    async def _look(self, place: _Place) -> Sighting:
        loop = asyncio.get_running_loop()
        source, root, path = place.source, place.root, place.path
        try:
            client = place.client()
            async with self._room:
                body = await client.fetch(path)
        except SecretError as error:
            return Sighting(source=source, at=loop.time(), trouble=str(error))
        except Failure as failure:
            is_absent = source.kind is Kind.ENGINE and failure.status in _ABSENT
            why = apart(failure)[0].removeprefix(f"{root}: ")
            return Sighting(
                source=source, at=loop.time(), trouble=f"{root}: {why}", is_absent=is_absent
            )
        if len(body) >= BODY_BYTES_MAX:
            # What was cut off may have ended in the middle of a number.
            why = f"{root}: the page has more than {BODY_BYTES_MAX >> 20} MiB"
            return Sighting(source=source, at=loop.time(), trouble=why)
        return Sighting(source=source, at=loop.time(), text=body.decode(errors="replace"))


class _Place:
    """Where a source is, taken apart once: hundreds are asked every few seconds."""

    def __init__(self, session: aiohttp.ClientSession, source: Source) -> None:
        self.source = source
        parts = urlsplit(source.url)
        self.root = urlunsplit((parts.scheme, parts.netloc, "", "", ""))
        self.path = (parts.path or "/metrics") + (f"?{parts.query}" if parts.query else "")
        self._session = session
        self._client: Client | None = None

    def client(self) -> Client:
        """A key is looked up each time: it may have become another. Raises SecretError, Failure."""
        if self.source.key is not None:
            key = resolve_secret(self.source.key)
            return Client(self._session, self.root, api_key=key)
        if self._client is None:
            self._client = Client(self._session, self.root)
        return self._client


async def follow_dispatcher(dispatcher: Dispatcher, take: Taker, every: float) -> None:
    """The one source that is never asked less often: without it nothing is known."""
    loop = asyncio.get_running_loop()
    source = Source(kind=Kind.DISPATCHER, url="")
    due = loop.time()
    while True:
        try:
            text = await dispatcher.metrics()
        except Unreached as error:
            take(Sighting(source=source, at=loop.time(), trouble=str(error)))
        else:
            take(Sighting(source=source, at=loop.time(), text=text))
        # What was missed is not made up for: it would be asked without a pause.
        due = max(due + every, loop.time())
        await asyncio.sleep(due - loop.time())
