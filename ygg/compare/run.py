"""Plays the workload through each dispatcher: a process of its own, with a store of its own.

While it works it is asked nothing: progress, runs and proof are read out of its store, and what it
cost out of /proc, so that looking costs it nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from ygg.compare.figures import figures_of
from ygg.compare.fleet import Servers, hosts_yaml
from ygg.compare.recording import read_recording
from ygg.compare.report import ASYNC, THREADS, Comparison, Cost, Outcome
from ygg.compare.usage import Usage, usage_of
from ygg.compare.workload import Item
from ygg.demo.children import Child, Children, DemoFailed
from ygg.demo.client import Client
from ygg.demo.work import HOSTS
from ygg.health import Mode
from ygg.journal import Event, Kind
from ygg.proof import check_store
from ygg.stores.schema import connect_reader
from ygg.stores.tables import SqliteTables
from ygg.tasks import Status

#: How each dispatcher is started.
COMMANDS: Final = {THREADS: ("loop",), ASYNC: ("loop", "--async")}
_SERVING: Final = re.compile(r"event=serving .*url=http://127\.0\.0\.1:([0-9]+)")
_READY_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.25
_PAGE: Final = 5000

#: Hears which dispatcher works, and how many of its tasks have ended.
Heard = Callable[[str, int], None]


def compare(
    items: Sequence[Item],
    servers: Servers,
    folder: Path,
    *,
    workload: str,
    timeout: float,
    heard: Heard,
) -> Comparison:
    """Both dispatchers, one after the other, against the same servers.

    Raises DemoFailed (a process ended, or time was up), StoreError.

    Args:
        items: the workload, by arrival.
        servers: what kind of servers answers.
        folder: for stores and logs; empty.
        workload: its name.
        timeout: seconds that each dispatcher may take.
        heard: is told of progress.
    """
    with Children(folder=folder, of="the comparison") as children:
        urls = servers.start(children)
        hosts = folder / "hosts.yaml"
        hosts.write_text(hosts_yaml(urls, servers.model))
        outcomes = {
            name: _play(name, items, children, hosts, timeout=timeout, heard=heard)
            for name in COMMANDS
        }
    return Comparison(
        workload=workload,
        servers=servers.name,
        about=servers.about,
        threads=outcomes[THREADS],
        with_async=outcomes[ASYNC],
    )


def _play(
    name: str,
    items: Sequence[Item],
    children: Children,
    hosts: Path,
    *,
    timeout: float,
    heard: Heard,
) -> Outcome:
    state = hosts.parent / name
    state.mkdir()
    arguments = [
        "--no-beads",
        "--hosts",
        str(hosts),
        "--state",
        str(state),
        "--listen",
        "127.0.0.1:0",
    ]
    child = children.start(f"dispatcher-{name}", ["-m", "ygg.cli", *COMMANDS[name], *arguments])
    port = children.wait_for(f"{name} serves", lambda: _port(child), _READY_SECONDS, child.log)
    with _looking(state / "ygg.db") as store:
        children.wait_for(
            f"{name} sees its hosts up", lambda: _hosts_up(store) or None, _READY_SECONDS, child.log
        )
        before = usage_of(child.process.pid)
        _submit_all(name, items, children, Client(port), store, child, timeout, heard)
        after = usage_of(child.process.pid)
        code = children.end(child)
        if code != 0:
            raise DemoFailed(f"{child.name} ended with exit status {code}", child.log)
        recording = read_recording(_rows(store))
    return Outcome(
        recording=recording,
        figures=figures_of(recording),
        cost=_cost(before, after),
        report=check_store(state / "ygg.db"),
    )


def _submit_all(
    name: str,
    items: Sequence[Item],
    children: Children,
    client: Client,
    store: SqliteTables,
    child: Child,
    timeout: float,
    heard: Heard,
) -> None:
    """Submit each task at its time, those of one moment together; return when all have ended."""
    began = time.monotonic()
    sent = 0
    while True:
        passed = time.monotonic() - began
        due = sent
        while due < len(items) and items[due].at <= passed:
            due += 1
        if due > sent:
            client.submit([item.submit for item in items[sent:due]])
            sent = due
        ended = _ended(store)
        heard(name, ended)
        if ended >= len(items):
            return
        children.check()
        if passed > timeout:
            raise DemoFailed(
                f"{name}: only {ended} of {len(items)} tasks ended within {timeout:g} s; "
                "slow servers may need more: --timeout",
                child.log,
            )
        pause = _LOOK_SECONDS
        if sent < len(items):
            pause = min(pause, items[sent].at - (time.monotonic() - began))
        time.sleep(max(pause, 0.0))


def _cost(before: Usage | None, after: Usage | None) -> Cost:
    if before is None or after is None:
        return Cost(cpu_seconds=None, context_switches=None, memory_bytes=None)
    return Cost(
        cpu_seconds=after.cpu_seconds - before.cpu_seconds,
        context_switches=after.context_switches - before.context_switches,
        memory_bytes=after.memory_bytes,
    )


def _port(child: Child) -> int | None:
    found = _SERVING.search(child.log.read_text(errors="replace"))
    return int(found[1]) if found else None


# -- what the store says -----------------------------------------------------------------------


@contextmanager
def _looking(path: Path) -> Iterator[SqliteTables]:
    with closing(connect_reader(path)) as connection:
        yield SqliteTables(connection)


def _rows(store: SqliteTables) -> Iterator[Event]:
    after = 0
    while rows := store.journal(after, _PAGE, None):
        yield from rows
        after = rows[-1].position


def _hosts_up(store: SqliteTables) -> bool:
    modes = {row.host: row.detail["mode"] for row in _rows(store) if row.kind is Kind.HOST}
    return len(modes) == len(HOSTS) and set(modes.values()) == {Mode.UP}


def _ended(store: SqliteTables) -> int:
    by_status = store.overview().by_status
    return by_status.get(Status.CLOSED, 0) + by_status.get(Status.BLOCKED, 0)
