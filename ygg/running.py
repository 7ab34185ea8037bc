"""What a fleet is compared with: the dispatcher that runs, else the store it last ran on.

A store's last CONFIGURED row knows hosts, who shares whose slots, limits and routes; nothing else
is compared with it. What the differences mean is changes.py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ygg.board import configuration
from ygg.changes import Work
from ygg.client import Client, Problem, WrongSettings
from ygg.fleet import Fleet, HostSettings, TypeSettings
from ygg.fleetjson import NotAFleet, read_config, untold
from ygg.journal import Event
from ygg.shapes import DispatcherStatus
from ygg.stores.base import HostRow, StoreUnusable
from ygg.stores.glance import glance


class CantCompare(Exception):
    """There is nothing to compare with here; the message says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Before:
    """A fleet as it runs, or ran until now."""

    #: Where that is known from, in words.
    source: str
    fleet: Fleet
    work: Work
    #: It does so now.
    runs: bool


def as_it_runs(url: str, new: Fleet) -> Before:
    """What the dispatcher at `url` runs with. Raises CantCompare, client.Unreachable."""
    try:
        status, settings = asyncio.run(_ask(url))
        told = read_config(settings)
    except WrongSettings as error:
        raise CantCompare(str(error)) from error
    except Problem as problem:
        if problem.status == 404:
            why = f"what answers at {url} is no dispatcher, or one of an older ygg"
        else:
            why = f"the dispatcher at {url} does not tell its settings: {problem}"
        raise CantCompare(why) from problem
    except (ValueError, NotAFleet) as error:
        raise CantCompare(f"what answers at {url} is no dispatcher: {error}") from error
    return Before(
        source=f"the dispatcher at {url} (ygg {status.version})",
        fleet=untold(told.fleet, new),
        work=Work(
            waiting=told.waiting, running={host.name: len(host.tasks) for host in status.hosts}
        ),
        runs=True,
    )


async def _ask(url: str) -> tuple[DispatcherStatus, str]:
    async with Client(url) as client:
        return await client.status(), (await client.ask("GET", "/v1/config")).decode()


def as_it_ran(store: Path, new: Fleet) -> Before:
    """What the store last ran with. Raises CantCompare."""
    try:
        seen = glance(store)
    except StoreUnusable as error:
        raise CantCompare(str(error)) from error
    if seen is None:
        raise CantCompare(f"there is no store at {store} yet")
    if seen.configured is None:
        raise CantCompare(f"nothing ran on the store {store} yet")
    return Before(
        source=f"what the store {store} last ran with (it knows hosts, starting limits and routes)",
        fleet=fleet_of_row(seen.configured, seen.hosts, new),
        work=Work(waiting=seen.waiting),
        runs=False,
    )


def fleet_of_row(row: Event, hosts: Mapping[str, HostRow], new: Fleet) -> Fleet:
    """The fleet of a CONFIGURED row; what the row does not know is as `new` has it."""
    known = configuration(row.detail)
    return replace(
        new,
        hosts={
            name: _host(name, semaphore, hosts.get(semaphore, HostRow()), new)
            for name, semaphore in known["semaphores"].items()
        },
        types={
            name: replace(
                new.types.get(name) or TypeSettings(name=name),
                run=tuple(option._replace(handler="") for option in run),
            )
            for name, run in known["routes"].items()
        },
    )


def _host(name: str, semaphore: str, row: HostRow, new: Fleet) -> HostSettings:
    host = new.hosts.get(name) or HostSettings(name=name, url="")
    slots = host.slots if row.start is None else replace(host.slots, start=row.start)
    return replace(host, shares=None if semaphore == name else semaphore, slots=slots)
