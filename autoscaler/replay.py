"""What other settings would have decided, on evidence that was recorded. Pure.

Each record is decided on anew, from the limit that there really was: what a limit that never was
would have done to memory and waits, nobody recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from autoscaler.policy import Decision, State, decide
from autoscaler.records import Record
from autoscaler.settings import Settings

#: What they do was done before the evidence was recorded.
IN_THE_EVIDENCE: Final = frozenset(
    {
        "scrape_seconds",
        "window_seconds",
        "memory_window_seconds",
        "trial_piece_seconds",
        "frozen_samples",
    }
)
#: What has nothing to do with decisions.
NO_MATTER: Final = frozenset({"dry_run", "listen", "prometheus", "decide_seconds"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Replayed:
    record: Record
    #: By the settings as they are, and by the others.
    before: Decision
    after: Decision

    @property
    def differs(self) -> bool:
        return self.before.limit != self.after.limit

    @property
    def is_as_recorded(self) -> bool:
        now = self.before
        return (now.action, now.reason, now.limit) == (
            self.record.action, self.record.reason, self.record.wanted,
        )  # fmt: skip


@dataclass(slots=True)
class _Memory:
    """Of a host: the start it is of, and what the rule remembers since then."""

    run: str
    now: float
    mode: str
    before: State
    after: State


def replay(records: Iterable[Record], settings: Settings, others: Settings) -> Iterator[Replayed]:
    """Every record decided on by both; from the oldest on, hosts mixed as they come."""
    hosts: dict[str, _Memory] = {}
    for record in records:
        seen, memory = record.signals, hosts.get(record.host)
        if memory is None or (memory.run, memory.mode) != (record.run, seen.memory_mode):
            memory = _Memory(record.run, seen.now, seen.memory_mode, State(), State())
            hosts[record.host] = memory
        if seen.now < memory.now:
            continue  # of a file that was put together out of order
        memory.now = seen.now
        memory.before, before = decide(settings, memory.before, seen)
        memory.after, after = decide(others, memory.after, seen)
        yield Replayed(record=record, before=before, after=after)
