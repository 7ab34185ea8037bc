"""What the demo prints: pure functions from tasks to lines, and the live view of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Final, Protocol, Self

from tqdm import tqdm

from ygg.demo.client import Seen
from ygg.tasks import Status

_TITLE_WIDTH: Final = 38
_NEVER_STARTED: Final = float("inf")


def in_order_of_start(tasks: Iterable[Seen]) -> list[Seen]:
    """Those that started, first to last; then those that didn't.

    Times are in milliseconds and several tasks start at once: among equals the order of priority.
    """

    def place(task: Seen) -> tuple[float, int]:
        at = task.started_at
        return (_NEVER_STARTED if at is None else at.timestamp()), task.priority

    return sorted(tasks, key=place)


def _figure(value: float | None, unit: str = "") -> str:
    if value is None:
        return "-"
    return f"{value:.1f}{unit}" if unit else f"{value:.0f}"


def table(submitted: Sequence[Seen]) -> list[str]:
    """A line for each task in order of start; `submitted` is in order of submit."""
    sent = {task.id: number for number, task in enumerate(submitted, 1)}
    rows = [("#", "sent", "prio", "type", "host", "waited", "ran for", "tokens", "title")]
    for number, task in enumerate(in_order_of_start(submitted), 1):
        ended = "" if task.status is Status.CLOSED else f"{task.status.upper()}: "
        rows.append(
            (
                str(number),
                str(sent[task.id]),
                str(task.priority),
                task.type,
                task.host or "-",
                _figure(task.wait_seconds, " s"),
                _figure(task.run_seconds, " s"),
                _figure(task.tokens) + ("+" if task.is_cut else ""),
                (ended + task.title)[:_TITLE_WIDTH],
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    is_text = {3, 4, 8}
    return [
        "  ".join(
            cell.ljust(width) if column in is_text else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def host_lines(tasks: Sequence[Seen], slots: Mapping[str, int]) -> list[str]:
    """What runs where now: a line for each host."""
    lines = []
    width = max(map(len, slots))
    for host, limit in slots.items():
        running = [t for t in tasks if t.status is Status.IN_PROGRESS and t.host == host]
        titles = ", ".join(f"{t.title} (P{t.priority})" for t in in_order_of_start(running))
        lines.append(f"  {host:<{width}}  {len(running)}/{limit}  {titles or 'idle'}")
    return lines


def changes(before: Iterable[Seen], after: Iterable[Seen]) -> list[str]:
    """What became of tasks between two looks: a line for each."""
    old = {task.id: task.status for task in before}
    lines = []
    for task in in_order_of_start(after):
        was = old.get(task.id, Status.OPEN)
        where = f"P{task.priority} {task.type} on {task.host}: {task.title}"
        if was is Status.OPEN and task.started_at is not None and task.status is not Status.OPEN:
            lines.append(f"started  {where}")
        if was is task.status or task.status is Status.IN_PROGRESS:
            continue
        if task.status is Status.CLOSED:
            lines.append(f"closed   {where}, after {_figure(task.run_seconds, ' s')}")
        elif task.status is Status.BLOCKED:
            lines.append(f"blocked  {where}: {task.error}")
        else:
            lines.append(f"reopened P{task.priority} {task.type}: {task.title}")
    return lines


def showcase(tasks: Sequence[Seen]) -> Seen | None:
    """The answer to print whole: of the most urgent uncut ones the longest."""
    whole = [task for task in tasks if task.status is Status.CLOSED and not task.is_cut]
    return min(whole, key=lambda task: (task.priority, -(task.tokens or 0)), default=None)


class Progress(Protocol):
    """A live view."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def say(self, line: str) -> None: ...

    def show(self, tasks: Sequence[Seen]) -> None: ...


class Lines:
    """A line for each change, for logs and pipes."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._before: Sequence[Seen] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to put back."""

    def say(self, line: str) -> None:
        print(line, flush=True)

    def show(self, tasks: Sequence[Seen]) -> None:
        for line in changes(self._before, tasks):
            self.say(f"{time.monotonic() - self._began:6.1f} s  {line}")
        self._before = tasks


class Bars:
    """A bar that is redrawn, and below it what runs where, for terminals."""

    def __init__(self, total: int, slots: Mapping[str, int]) -> None:
        self._slots = slots
        self._all = tqdm(
            total=total,
            unit="task",
            dynamic_ncols=True,
            file=sys.stdout,
            desc="closed",
            leave=False,
        )
        self._hosts = [
            tqdm(
                bar_format="{desc}", dynamic_ncols=True, file=sys.stdout, position=row, leave=False
            )
            for row in range(1, len(slots) + 1)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for bar in (*reversed(self._hosts), self._all):
            bar.close()

    def say(self, line: str) -> None:
        tqdm.write(line, file=sys.stdout)

    def show(self, tasks: Sequence[Seen]) -> None:
        waiting = sum(task.status is Status.OPEN for task in tasks)
        self._all.set_postfix_str(f"{waiting} waiting", refresh=False)
        self._all.n = sum(task.has_ended for task in tasks)
        self._all.refresh()
        for bar, line in zip(self._hosts, host_lines(tasks, self._slots), strict=True):
            bar.set_description_str(line)


def progress(total: int, slots: Mapping[str, int]) -> Progress:
    """What standard output can show."""
    return Bars(total, slots) if sys.stdout.isatty() else Lines()
