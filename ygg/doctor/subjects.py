"""All that there is to look at for a fleet: hosts, exporters, dispatcher, store, this machine."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Final, Self, TypeAlias

from ygg.doctor import dispatcher, gpus, hosts, judging, machine, store
from ygg.doctor.examination import Subject, on_a_thread
from ygg.doctor.findings import Finding, Report, ok
from ygg.fleet import Fleet
from ygg.hosts.http import open_session
from ygg.places import Places
from ygg.stores.base import StoreUnusable
from ygg.stores.glance import glance

_Look: TypeAlias = Callable[[], Awaitable[Sequence[Finding]]]
#: How long the clocks are compared at least.
_CLOCK_SECONDS: Final = 0.2


class Subjects:
    """What there is to look at, in order.

    Use it as an async context manager: it has the session for all hosts.

    Args:
        fleet: hosts.yaml.
        places: where state is.
        url: where a dispatcher would be.
        depth: how far to go with hosts.
        only: names of hosts: nothing else is looked at; empty: everything.
    """

    def __init__(
        self, fleet: Fleet, places: Places, url: str, depth: hosts.Depth, only: Collection[str]
    ) -> None:
        self._fleet = fleet
        self._places = places
        self._url = url
        self._depth = depth
        self._only = only
        self._session = open_session()
        self._asked: asyncio.Task[dispatcher.Answer] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._asked is not None:
            self._asked.cancel()
            await asyncio.gather(self._asked, return_exceptions=True)
        await self._session.close()

    def in_order(self) -> list[Subject]:
        names = self._only or self._fleet.hosts
        found = [self._host(name) for name in self._fleet.hosts if name in names]
        if self._only:
            return found
        found += [
            Subject(part="exporter", name=url, look=self._exporter(url))
            for url in gpus.exporters_of(self._fleet)
        ]
        found.append(Subject(part="dispatcher", name="", look=self._dispatcher))
        found.append(Subject(part="store", name="", look=self._store))
        found.append(Subject(part="clock", name="", look=self._clock))
        found += [
            Subject(part="folder", name=part, look=self._folder(path))
            for part, path in self._folders()
        ]
        found += [
            Subject(part="door", name=listen, look=self._door(listen))
            for listen in self._fleet.dispatcher.listen
        ]
        found.append(Subject(part="token", name="", look=self._tokens))
        return found

    def _host(self, name: str) -> Subject:
        wanted = judging.wanted_of(self._fleet, name)

        async def look() -> Sequence[Finding]:
            return (await hosts.look_at(self._session, wanted, self._depth)).findings

        return Subject(
            part="host", name=name, look=look, seconds=self._depth.bound(len(wanted.models))
        )

    def _exporter(self, url: str) -> _Look:
        of = gpus.exporters_of(self._fleet)[url]

        async def look() -> Sequence[Finding]:
            return await gpus.look_at(self._session, url, of, self._fleet.file)

        return look

    async def _ask(self) -> dispatcher.Answer:
        """Asked once, for all who want to know."""
        if self._asked is None:
            self._asked = asyncio.ensure_future(dispatcher.ask(self._url))
        return await asyncio.shield(self._asked)

    async def _dispatcher(self) -> Sequence[Finding]:
        return list(dispatcher.judge(await self._ask()))

    async def _store(self) -> Sequence[Finding]:
        answer = await self._ask()
        return await on_a_thread(
            lambda: list(store.look_at(self._places.store, answer.pid, answer.problem))
        )

    async def _clock(self) -> Sequence[Finding]:
        before = (time.time(), time.monotonic())

        def opened_at() -> float | None:
            try:
                seen = glance(self._places.store)
            except StoreUnusable:
                return None  # told where the store is looked at
            return None if seen is None else seen.opened_at

        last = await on_a_thread(opened_at)
        await asyncio.sleep(_CLOCK_SECONDS)
        return machine.clock(before, (time.time(), time.monotonic()), last)

    def _folders(self) -> Iterable[tuple[str, Path]]:
        places = self._places
        named = {"state": places.state, "artifacts": places.artifacts, "logs": places.logs}
        if places.store.parent != places.state:
            named["store"] = places.store.parent
        return named.items()

    def _folder(self, path: Path) -> _Look:
        return lambda: on_a_thread(lambda: [machine.folder(path)])

    def _door(self, listen: str) -> _Look:
        async def look() -> Sequence[Finding]:
            answer = await self._ask()

            def judge() -> list[Finding]:
                held_by = store.held_by(self._places.store)
                is_ours, doubt = answer.has_door(listen, held_by), answer.doubt(held_by)
                return [machine.door(listen, is_ours, doubt, {held_by or "", str(answer.pid)})]

            return await on_a_thread(judge)

        return look

    async def _tokens(self) -> Sequence[Finding]:
        settings = self._fleet.dispatcher
        return await on_a_thread(lambda: list(machine.tokens(settings, os.environ)))


def of_the_file(fleet: Fleet) -> Report:
    """That hosts.yaml is good was seen already: it could be read."""
    hosts = "1 host" if len(fleet.hosts) == 1 else f"{len(fleet.hosts)} hosts"
    what = f"{fleet.file} is good: {hosts}, {len(fleet.types)} types"
    return Report(part="hosts.yaml", name="", findings=[ok(what)])
