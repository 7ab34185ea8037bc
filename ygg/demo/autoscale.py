"""`ygg demo --autoscale`: limits that move by themselves, on real model servers under load.

Every part is the real program as a process of its own: three model servers, an exporter for each,
the dispatcher, `ygg-autoscaler`. The load is settled in scaling.py; what is said of it, in
telling.py. What the moves are worth is measured, and told whatever it is.
"""

from __future__ import annotations

import os
import re
import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import psutil

from autoscaler.recorder import CURRENT
from autoscaler.records import Record, decoded
from ygg.demo import scaling, server, telling, throughput, work
from ygg.demo.children import Child, Children, DemoFailed
from ygg.demo.client import Client, Seen
from ygg.demo.gauges import Gauges, gauges
from ygg.demo.starting import (
    CLEAN,
    check_journal,
    cores_here,
    leave_running,
    start_dispatcher,
    start_servers,
    threads_per_server,
    ygg_command,
)
from ygg.demo.throughput import Look
from ygg.printing import counted
from ygg.tasks import Outcome, Status

#: How long the load lasts when nobody says otherwise.
SECONDS: Final = 180.0
_LOOK_SECONDS: Final = 0.5
#: Throughput that is shown while the load runs is that of the last few seconds.
_LATELY_SECONDS: Final = 5.0
_READY_SECONDS: Final = 30.0
#: For the tasks that run when the load ends.
_END_SECONDS: Final = 60.0
_EXPORTER_SERVES: Final = re.compile(r"event=serving .*url=(http://\S+)")
_AUTOSCALER: Final = "autoscaler"
#: Those that have something to finish.
_MUST_END_WELL: Final = frozenset({_AUTOSCALER, "dispatcher"})


def autoscale(state: Path, *, seconds: float, keep: bool) -> int:
    """The demo itself, in a folder of its own."""
    print("What moves here is the limit of each host: how many tasks it runs at once.")
    print("\nThe autoscaler's constants take minutes to settle; these are shortened:")
    print("\n".join(f"  {line}" for line in telling.constants_table(scaling.constants())))
    with Children(folder=state) as children:
        print(
            f"\nThree llama.cpp servers on this machine's CPU, with the weights of {server.MODEL},"
        )
        print("and an exporter for each:", flush=True)
        urls = start_servers(children)
        exporters = _start_exporters(children)
        hosts_file = state / "hosts.yaml"
        hosts_file.write_text(scaling.hosts_yaml(urls, exporters))
        for name, url in urls.items():
            print(f"  {name:<16} {url}  {scaling.START} slot, at most {work.HOSTS[name]}")
        dispatcher, client = start_dispatcher(children, hosts_file, state)
        moves = telling.Moves(settings=scaling.settings())
        looks = _under_load(children, client, hosts_file, moves, seconds)
        print(f"\nThis machine: {_machine()} when the load ended.")
        tasks = _ended(children, dispatcher, client)
        _report(looks, moves, tasks, state)
        wrong = problems(tasks, client.artifact)
        if keep:
            leave_running(children, client)
        for child in [c for c in reversed(children.running) if c.name in _MUST_END_WELL]:
            if (status := children.end(child)) not in CLEAN:
                raise DemoFailed(f"{child.name} ended with exit status {status}", child.log)
        if wrong:
            raise DemoFailed("\n".join(wrong), dispatcher.log)
        if not check_journal(state):
            raise DemoFailed("the journal's checker found the above", dispatcher.log)
    print("\nEvery task is accounted for, the order rule held, and every process has ended.")
    return 0


def _start_exporters(children: Children) -> dict[str, str]:
    """One for each server, that looks at its process; the addresses of their pages, by name."""
    threads = threads_per_server(cores_here())
    started: dict[str, Child] = {}
    for watched in children.running:
        arguments = ["--device", "cpu", "--pid", str(watched.process.pid)]
        arguments += ["--threads", str(threads), "--memory-budget", scaling.MEMORY_BUDGET]
        arguments += ["--listen", "127.0.0.1:0"]
        print(f"  ygg-gpu-exporter {shlex.join(arguments)}")
        started[watched.name] = children.start(
            f"{watched.name}-exporter", ["-m", "autoscaler.gpu_exporter", *arguments]
        )
    return {name: _said(children, child, _EXPORTER_SERVES)[1] for name, child in started.items()}


def _start_autoscaler(children: Children, hosts_file: Path, client: Client) -> str:
    """Start `ygg-autoscaler`; how it was called."""
    arguments = ["--hosts", str(hosts_file), "--state", str(hosts_file.parent), "--url", client.url]
    children.start(_AUTOSCALER, ["-m", "autoscaler.cli", *arguments])
    return f"ygg-autoscaler {shlex.join(arguments)}"


def _said(children: Children, child: Child, what: re.Pattern[str]) -> re.Match[str]:
    def look() -> re.Match[str] | None:
        return what.search(child.log.read_text(errors="replace"))

    return children.wait_for(f"{child.name} is ready", look, _READY_SECONDS, child.log)


# -- the load --------------------------------------------------------------------------------------


def _under_load(
    children: Children, client: Client, hosts_file: Path, moves: telling.Moves, seconds: float
) -> list[Look]:
    """Keep every queue filled for so long, and say what moves; all looks, in order."""
    print(
        f"\nLoad for {seconds:.0f} s: the demo's tasks, again and again, so that each type waits."
    )
    ours = len(work.HOSTS) * threads_per_server(cores_here())
    print(f"The autoscaler starts {scaling.ALONE_SECONDS:.0f} s later, so that there is a before.")
    print(f"This machine: {_machine()} when it began; the servers at work make {ours} of it.")
    load, looks = scaling.Load(), list[Look]()
    records = Records(hosts_file.parent / "autoscaler" / CURRENT)
    has_autoscaler = False
    began = time.monotonic()
    with gauges(seconds, len(work.HOSTS)) as live:
        while (at := time.monotonic() - began) < seconds:
            children.check()
            # Before the look: a limit that is told of is one that the look has.
            _say_moves(live, records, moves, at)
            look = throughput.read_look(
                client.metrics(), at, cpu_seconds=_cpu_seconds(children), busy=_busy_seconds()
            )
            looks.append(look)
            closed = throughput.closed_within(looks, scaling.QUEUE_SECONDS)
            if tasks := load.missing(look.waiting, closed):
                client.submit(scaling.submits(tasks))
            if at >= scaling.ALONE_SECONDS and not has_autoscaler:
                live.say(
                    at, f"the autoscaler starts: {_start_autoscaler(children, hosts_file, client)}"
                )
                has_autoscaler = True
            live.show(at, telling.host_lines(looks, _LATELY_SECONDS))
            time.sleep(_LOOK_SECONDS)
    return looks


def _cpu_seconds(children: Children) -> Mapping[str, float]:
    """Processor time that each server has had."""
    servers = [child for child in children.running if child.name in work.HOSTS]
    found = {}
    for child in servers:
        times = psutil.Process(child.process.pid).cpu_times()
        found[child.name] = times.user + times.system
    return found


def _busy_seconds() -> float:
    """Processor time that all programs of this machine have had."""
    times = psutil.cpu_times()
    return times.user + times.system + times.nice


def _machine() -> str:
    return f"{counted(cores_here(), 'core')}, load average {os.getloadavg()[0]:.1f}"


def _say_moves(live: Gauges, records: Records, moves: telling.Moves, at: float) -> None:
    for record in records.new():
        for line in moves.take(record):
            live.say(at, line)


class Records:
    """What the autoscaler has written down since the last look."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read = 0

    def new(self) -> Iterator[Record]:
        """Whole lines only: the last one may be half written."""
        if not self._file.exists():
            return
        with self._file.open("rb") as file:
            file.seek(self._read)
            lines = file.read().rpartition(b"\n")[0].splitlines(keepends=True)
        self._read += sum(map(len, lines))
        yield from decoded(lines)


def _ended(children: Children, dispatcher: Child, client: Client) -> list[Seen]:
    """Cancel what waits, let what runs come to its end; every task there was."""
    waiting = [task.id for task in client.tasks(Status.OPEN)]
    for task_id in waiting:
        client.cancel(task_id)
    print(f"The load ends: {len(waiting)} tasks that still waited are cancelled, the others end.")

    def look() -> list[Seen] | None:
        tasks = list(client.tasks())
        return tasks if all(task.has_ended for task in tasks) else None

    return children.wait_for("every task ends", look, _END_SECONDS, dispatcher.log)


# -- what it came to -------------------------------------------------------------------------------


def problems(tasks: list[Seen], answer: Callable[[str], str]) -> list[str]:
    """Why the demo did not do its job; empty if it did."""
    found = []
    for task in tasks:
        if task.status is not Status.CLOSED:
            found.append(f"task {task.id} ({task.title}) is {task.status}: {task.error}")
        elif task.outcome is Outcome.DONE and not answer(task.id).strip():
            found.append(f"task {task.id} ({task.title}) is closed with an empty answer")
    return found


def outcomes(tasks: list[Seen]) -> Mapping[str, int]:
    """How many closed with an answer, how many were cancelled, how many neither."""
    closed = {Outcome.DONE: "closed with an answer", Outcome.CANCELLED: "cancelled"}
    return Counter(
        str(task.status) if task.outcome is None else closed[task.outcome] for task in tasks
    )


def _report(looks: list[Look], moves: telling.Moves, tasks: list[Seen], state: Path) -> None:
    looks = list(throughput.at_work(looks))
    if not looks:
        raise DemoFailed("not every host had a task to run: was the load too short?")
    print("\nEach limit that each host had, and what it gave:\n")
    print("\n".join(telling.stretches_table(looks)))
    print()
    print("\n".join(telling.limits_table(looks)))
    print("\nWhy each limit is what it is now:")
    print("\n".join(f"  {line}" for line in moves.reasons_now()))
    print()
    print("\n".join(telling.verdict(looks, moves, cores=cores_here())))
    print(f"\n{telling.account(outcomes(tasks))}")
    scaler = str(Path(ygg_command()).with_name("ygg-autoscaler"))
    host = next(iter(work.HOSTS))
    print("Every decision is kept; to look again:")
    print(f"  {scaler} history {host} --state {state} --hosts {state / 'hosts.yaml'}")
    print(f"  {scaler} explain {host} --state {state} --hosts {state / 'hosts.yaml'}", flush=True)
