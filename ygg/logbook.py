"""The log of what happened to tasks: a line for each row of the journal, and the active tasks.

Every line about a task carries its id and host, so that `grep TASK-ID` tells its whole story.
Values are quoted, so that no text from outside can forge a line.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from ygg.board import Board
from ygg.journal import DAMAGED, ENDS_ATTEMPT, Event, Kind

tasks_log = logging.getLogger("ygg.tasks")
active_log = logging.getLogger("Dispatcher")

#: Under load the active tasks change hundreds of times a second: so often are they told at most.
_ACTIVE_EVERY_SECONDS: Final = 0.25


class Logbook:
    """Follows a store."""

    def __init__(self, board: Board, loop: asyncio.AbstractEventLoop) -> None:
        self._board = board
        self._loop = loop
        self._last_told = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._told: object = None

    def absorb(self, events: Sequence[Event]) -> None:
        changed = False
        for event in events:
            if event.task:
                _log_task(event)
                changed = changed or event.kind is Kind.STARTED or event.kind in ENDS_ATTEMPT
            elif event.kind in (Kind.OPENED, Kind.LEFT):
                who = _shown(event.reason)
                tasks_log.info("event=dispatcher_%s dispatcher=%s", event.kind.value, who)
            elif event.kind is not Kind.CONFIGURED:
                _log_host(event)
        if changed and self._timer is None:
            wait = self._last_told + _ACTIVE_EVERY_SECONDS - self._loop.time()
            # Not at once: the starts that this change makes possible are decided after it.
            self._timer = self._loop.call_later(max(wait, 0.0), self._tell_active)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._tell_active()

    def _tell_active(self) -> None:
        self._timer = None
        self._last_told = self._loop.time()
        active = active_tasks(self._board)
        if active != self._told:
            self._told = active
            active_log.info("Active tasks: %d (%s)", len(self._board.taken), active)


def active_tasks(board: Board) -> dict[str, dict[str, object]]:
    """The original's picture: of each host, active, available_slots and the tasks' ids."""
    running: dict[str, list[str]] = {name: [] for name in board.hosts}
    for task_id, (option, _) in board.taken.items():
        running.setdefault(option.host.name, []).append(task_id)
    return {
        name: {
            "active": host.active,
            "available_slots": host.semaphore.slots.available,
            "tasks": running[name],
        }
        for name, host in board.hosts.items()
    }


def _log_task(event: Event) -> None:
    fields = [f"event=task_{event.kind.value}", f"task={event.task}"]
    if event.host:
        fields.append(f"host={event.host}")
    if event.model:
        fields.append(f"model={event.model}")
    if event.fence is not None:
        fields.append(f"attempt={event.fence.attempt}")
    if event.waiting is not None:
        fields += [f"type={event.waiting.lane.type}", f"priority={event.waiting.rank.priority}"]
        if event.kind is Kind.STARTED:
            wait = max(0.0, event.at - event.waiting.rank.created_at)
            fields.append(f"wait_seconds={wait:.3f}")
    if event.held is not None:
        fields.append(f"held={event.held.value}")
    if event.reason:
        fields.append(f"reason={event.reason}")
    fields += [f"{key}={_shown(value)}" for key, value in event.detail.items() if key != "before"]
    needs_person = event.kind is Kind.BLOCKED or event.reason == DAMAGED
    tasks_log.log(logging.WARNING if needs_person else logging.INFO, "%s", " ".join(fields))


def _log_host(event: Event) -> None:
    fields = [f"event=host_{event.kind.value}" if event.kind is not Kind.HOST else "event=host"]
    if event.host:
        fields.append(f"host={event.host}")
    if event.model:
        fields.append(f"model={event.model}")
    fields += [f"{key}={_shown(value)}" for key, value in event.detail.items()]
    if event.reason:
        fields.append(f"reason={_shown(event.reason)}")
    tasks_log.info("%s", " ".join(fields))


def _shown(value: object) -> str:
    """Plain words as they are, all else quoted, control characters escaped."""
    text = str(value)
    plain = text.isascii() and text.isprintable() and not any(c in text for c in " \"'=")
    return text if plain and text else ascii(text)
