"""The dispatcher's side of the autoscaler: its decisions are taken in, judged and carried out.

A resize is a row of the journal, so what waits starts at once and the limit outlives the process.
The lease and the last decisions are kept in memory only: after a restart the first autoscaler to
call has the lease, and has decided anew within one interval. Which decisions are carried out is
decided in resizes.py; what a limit should be is left to the autoscaler.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from ygg import pins, resizes
from ygg.fleet import Fleet
from ygg.journal import Kind, Note
from ygg.ports import Clock
from ygg.resizes import Card, Decision, Effect, Lease, Verdict
from ygg.stores.base import HostRow, TaskStore
from ygg.tasks import Json

log = logging.getLogger("ygg.autoscaling")

#: Where the file sets none: as the autoscaler's own default.
INTERVAL_SECONDS: Final = 15.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """A decision, and what became of it."""

    #: Seconds since the epoch.
    at: float
    decision: Decision
    verdict: Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """The autoscaler that called last."""

    lease: Lease
    #: When it called: in seconds since the epoch, and by the monotonic clock.
    at: float
    monotonic: float
    #: It said that it ends.
    left: bool = False


class Autoscaling:
    """Of one dispatcher.

    Args:
        store: where limits are kept.
        clock: by which leases end.
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
        turn: asyncio.Lock,
        *,
        fleet: Callable[[], Fleet],
        rows: Callable[[], Mapping[str, HostRow]],
        limit: Callable[[str], int | None],
        server: Callable[[str], int | None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._turn = turn
        self._fleet = fleet
        self._rows = rows
        self._limit = limit
        self._server = server
        #: None: none has called since this dispatcher began.
        self.heard: Heard | None = None
        #: Of hosts of the fleet, the last decision.
        self.decided: Mapping[str, Decided] = {}

    async def take(
        self,
        holder: str,
        decisions: Mapping[str, Decision],
        *,
        interval: float = INTERVAL_SECONDS,
        leaves: bool = False,
    ) -> Mapping[str, Verdict]:
        """Renew the lease, and carry out in one commit what holds good of the decisions.

        `leaves`: the autoscaler ends, and the next one need not wait for its lease to end.

        Raises LeaseHeld, StoreError.
        """
        async with self._turn:
            now = self._clock.monotonic()
            before = None if self.heard is None else self.heard.lease
            lease = resizes.renewed(before, holder, now=now, interval=interval)
            if before is None or before.holder != holder:
                log.info("event=autoscaler_leads holder=%r", holder)
                self.decided = {}
            if leaves:
                log.info("event=autoscaler_leaves holder=%r", holder)
                lease = Lease(holder=holder, ends=now)
            self.heard = Heard(lease=lease, at=self._clock.wall(), monotonic=now, left=leaves)
            verdicts = {
                host: resizes.verdict(decision, self._card(host))
                for host, decision in decisions.items()
            }
            notes = [
                _resized(host, decisions[host], holder)
                for host, verdict in verdicts.items()
                if verdict.effect is Effect.RESIZED
            ]
            if notes:
                await self._store.note(notes, now=self._clock.wall())
            self._keep(decisions, verdicts)
            return verdicts

    def lease_seconds(self) -> float:
        """For how long whoever called last is the only one who may resize."""
        if self.heard is None:
            return 0.0
        return max(0.0, self.heard.lease.ends - self._clock.monotonic())

    def limit(self, host: str) -> int | None:
        """The limit of a host's slots as it is now; None: the fleet has no such host."""
        settings = self._fleet().hosts.get(host)
        return None if settings is None else self._limit(settings.semaphore)

    def _card(self, host: str) -> Card | None:
        fleet, limit = self._fleet(), self.limit(host)
        if host not in fleet.hosts or limit is None:
            return None
        settings = fleet.hosts[host]
        least, most = pins.bounds(settings.slots, self._server(host))
        return Card(
            limit=limit,
            least=least,
            most=most,
            shares=settings.shares,
            pin=pins.in_words(settings.slots, self._rows().get(host, HostRow()), fleet.file),
        )

    def _keep(self, decisions: Mapping[str, Decision], verdicts: Mapping[str, Verdict]) -> None:
        """Of hosts that there are: nobody can fill the memory with names."""
        at, hosts = self._clock.wall(), self._fleet().hosts
        new = {
            host: Decided(at=at, decision=decision, verdict=verdicts[host])
            for host, decision in decisions.items()
        }
        self.decided = {h: kept for h, kept in {**self.decided, **new}.items() if h in hosts}


def _resized(host: str, decision: Decision, holder: str) -> Note:
    detail: dict[str, Json] = {
        "before": decision.expected,
        "limit": decision.limit,
        "by": holder,
        "evidence": dict(decision.evidence),
    }
    return Note(kind=Kind.RESIZED, host=host, reason=decision.reason.value, detail=detail)
