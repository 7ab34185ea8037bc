"""A small world for the loop: hosts, their exporters and a dispatcher, on virtual time."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from autoscaler.dispatcher import (
    HostAnswer,
    Order,
    OrderAnswer,
    Refused,
    Unreached,
)
from autoscaler.loop import Lead, Loop
from autoscaler.records import Record
from autoscaler.settings import Settings
from autoscaler.sightings import Kind, Sighting, Source, Taker
from autoscaler.targets import targets_of
from autoscaler.watch import Watch
from tests.autoscaler import pages
from ygg.fleet import Fleet
from ygg.hostsfile import parse_fleet

HOSTS = "hosts: {h: {url: 'http://h:11434', api: ollama, model: m, slots: {start: 2, max: 4}}}"


def fleet(text: str = HOSTS) -> Fleet:
    return parse_fleet(text, "/x/hosts.yaml")


@dataclass
class World:
    """One host `h` at work, its exporter, and the dispatcher that says so."""

    text: str = HOSTS
    settings: Settings = field(default_factory=Settings)
    #: Of the dispatcher's page; the limit follows what was decided.
    queue: dict[str, float] = field(default_factory=dict)
    limit: int = 2
    util: float = 0.4
    used: float = 4e9
    #: What its exporter says besides, of a second card.
    more_cards: str = ""
    #: Pages of model servers by their address.
    engines: dict[str, str] = field(default_factory=dict)
    #: What is broken now: kinds of sources, addresses of some, or `report`.
    broken: set[str] = field(default_factory=set)
    #: Who has the lease; None: nobody, so whoever asks gets it.
    holder: str | None = None
    frozen: bool = False
    #: Of the parts of a card (MIG) the driver tells none.
    tells_utilization: bool = True
    disk_is_full: bool = False
    wall: Callable[[], float] = lambda: 1000.0
    orders: list[Order] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._turns = itertools.count()
        self.watch = Watch(self.settings, targets_of(fleet(self.text)))
        self.loop = Loop(self.watch, self, self, self, holder="us", wall=self.wall)

    # -- Sources ---------------------------------------------------------------------------------

    async def follow(self, take: Taker) -> None:
        dispatcher = Source(kind=Kind.DISPATCHER, url="")
        while True:
            for source in [dispatcher, *self.watch.sources()]:
                take(self._look(source))
            await asyncio.sleep(self.settings.scrape_seconds)

    def _look(self, source: Source) -> Sighting:
        at = asyncio.get_running_loop().time()
        if not self.broken.isdisjoint((source.kind, source.url)):
            return Sighting(source=source, at=at, trouble="it is broken")
        match source.kind:
            case Kind.DISPATCHER:
                values = {"slots_limit": self.limit, "slots_active": self.limit, **self.queue}
                return Sighting(source=source, at=at, text=pages.dispatcher("h", values))
            case Kind.EXPORTER:
                # No two readings of a card are alike to the last digit.
                used = self.used if self.frozen else self.used + next(self._turns)
                text = pages.ours(self.util, used) + self.more_cards
                if not self.tells_utilization:
                    text = re.sub(r"ygg_gpu_utilization.*\n", "", text)
                return Sighting(source=source, at=at, text=text)
            case Kind.ENGINE:
                text = self.engines.get(source.url, "")
                if "vllm:" in text:  # it makes tokens all the time
                    text += f'vllm:generation_tokens_total{{engine="0"}} {next(self._turns)}\n'
                trouble = "" if text else "answered /metrics with 404"
                return Sighting(
                    source=source, at=at, text=text, trouble=trouble, is_absent=not text
                )

    # -- Dispatcher ------------------------------------------------------------------------------

    async def metrics(self) -> str:
        raise AssertionError("the sources of this world look by themselves")

    async def report(self, order: Order) -> OrderAnswer:
        if "report" in self.broken:
            raise Unreached("nobody there")
        if self.holder not in (None, order.holder):
            raise Refused(f"{self.holder!r} holds the lease", is_held=True)
        self.holder = None if order.leaves else order.holder
        self.orders.append(order)
        return OrderAnswer(hosts={name: self._carry_out(name) for name in order.hosts})

    def _carry_out(self, name: str) -> HostAnswer:
        order = self.orders[-1].hosts[name]
        if order.limit == self.limit:
            return HostAnswer(effect="unchanged")
        if order.dry_run:
            return HostAnswer(effect="dry_run")
        if order.expected != self.limit:
            return HostAnswer(effect="stale")
        self.limit = order.limit
        return HostAnswer(effect="resized")

    # -- Records ---------------------------------------------------------------------------------

    def write(self, records: Sequence[Record]) -> None:
        if self.disk_is_full:
            raise OSError(28, "No space left on device")
        self.records += records

    # -- a test's hands --------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.loop.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def passes(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def lead(self) -> Lead:
        return self.loop.standing.lead

    @property
    def reasons(self) -> list[str]:
        return [order.hosts["h"].reason for order in self.orders if order.hosts]
