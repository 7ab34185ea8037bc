"""The loop: look, decide, report, write down. What is decided is watch.py's and the rule's.

Fails static: whatever does not answer, limits stay where they are, and that is said in the log, in
the metrics and in `ygg status`. The loop holds nothing that matters: started anew, it watches for a
window before it lets anything grow.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Protocol

from autoscaler.dispatcher import (
    Dispatcher,
    HostAnswer,
    HostOrder,
    Order,
    Refused,
    Unreached,
)
from autoscaler.policy import Action, Reason
from autoscaler.records import RESIZED, Record
from autoscaler.sightings import Kind, Sighting, Source, Sources
from autoscaler.watch import ALERTS, Decided, Watch

log = logging.getLogger("ygg.autoscaler")

#: How long the last call of all may take, that gives the lease back.
_LEAVE_SECONDS: Final = 2.0


class Lead(StrEnum):
    """How this autoscaler stands with the dispatcher."""

    NOT_YET = "not_yet"  # nothing was decided so far
    LEADS = "leads"
    STANDBY = "standby"  # another one has the lease
    UNREACHED = "unreached"


class Records(Protocol):
    def write(self, records: Sequence[Record], /) -> None:
        """Raises OSError. Called on a thread."""
        ...


@dataclass(slots=True)
class Standing:
    """What the last reports came to; for metrics and logs."""

    lead: Lead = Lead.NOT_YET
    #: Why it is not ours to decide, in words.
    why: str = ""
    effects: dict[str, HostAnswer] = field(default_factory=dict)
    #: Decisions so far, by host, action and reason.
    decisions: dict[tuple[str, str, str], int] = field(default_factory=dict)
    records_lost: int = 0


class Loop:
    """One autoscaler.

    Args:
        watch: what is known.
        sources: what is looked at.
        dispatcher: where decisions go.
        records: where they are kept.
        holder: the name of this start, told to others.
        wall: seconds since the epoch, for the records only.
    """

    def __init__(
        self,
        watch: Watch,
        sources: Sources,
        dispatcher: Dispatcher,
        records: Records,
        *,
        holder: str,
        wall: Callable[[], float],
    ) -> None:
        self.watch = watch
        self.standing = Standing()
        self._sources = sources
        self._dispatcher = dispatcher
        self._records = records
        self._holder = holder
        self._wall = wall
        #: Other sources are to be looked at.
        self._others = asyncio.Event()
        #: Sources that said what our own code fell over.
        self._baffled: set[Source] = set()
        #: Of each host's sources, the trouble that the log has told of.
        self._told: dict[tuple[str, Kind], str] = {}
        #: Of hosts on which a person should look, why: each is said once.
        self._alerted: dict[str, Reason] = {}
        #: Of hosts whose last step nobody took, what was said of it.
        self._untaken: dict[str, tuple[int, int, Reason, str]] = {}

    async def run(self) -> None:
        """Until it is cancelled; then the lease is given back."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._look_for_ever(), name="sources")
                group.create_task(self._decide_for_ever(), name="decisions")
        except asyncio.CancelledError:
            # Not after an error of ours: then its silence is told, as that of one that was killed.
            await self._leave()
            raise

    def look_at(self, sources: Sources) -> None:
        """Of these from now on; what is not watched any more is forgotten."""
        self._sources = sources
        self._others.set()
        hosts = self.watch.hosts
        self._baffled.clear()
        self._told = {key: told for key, told in self._told.items() if key[0] in hosts}
        self._alerted = {host: why for host, why in self._alerted.items() if host in hosts}
        self._untaken = {host: step for host, step in self._untaken.items() if host in hosts}
        for key in [key for key in self.standing.decisions if key[0] not in hosts]:
            del self.standing.decisions[key]

    async def _look_for_ever(self) -> None:
        while True:
            self._others.clear()
            following = asyncio.ensure_future(self._sources.follow(self._take))
            others = asyncio.ensure_future(self._others.wait())
            try:
                await asyncio.wait({following, others}, return_when=asyncio.FIRST_COMPLETED)
                if following.done():
                    return following.result()
            finally:
                following.cancel()
                others.cancel()
                await asyncio.wait({following, others})

    def _take(self, sighting: Sighting) -> None:
        """Whatever one source says, the others are heard."""
        try:
            self.watch.take(sighting)
        except Exception as error:
            if sighting.source not in self._baffled:
                self._baffled.add(sighting.source)
                log.exception("event=not_understood source=%s", sighting.source)
            trouble = f"what it says can't be understood, for an error of ygg's own: {error!r}"
            self.watch.take(replace(sighting, text="", trouble=trouble, is_absent=False))

    async def _decide_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            # By the clock, not by the time that deciding took. What was missed is not made up for.
            due = max(due + self.watch.settings.decide_seconds, loop.time())
            await asyncio.sleep(due - loop.time())
            await self.decide_once()

    async def decide_once(self) -> None:
        """One interval's work: decide on all hosts, report it in one call, write it down."""
        decisions = self.watch.decide(asyncio.get_running_loop().time())
        self._tell_troubles()
        answers = await self._report(decisions)
        self.standing.effects = dict(answers)
        for decided in decisions:
            self._count(decided)
            answer = answers[decided.host]
            self._tell_decision(decided, answer)
            if answer.effect == RESIZED:
                self.watch.resized(decided.host, decided.decision.limit)
        at = self._wall()
        await self._keep([self._record(at, one, answers[one.host]) for one in decisions])

    # -- reporting -------------------------------------------------------------------------------

    async def _report(self, decisions: Sequence[Decided]) -> Mapping[str, HostAnswer]:
        """What became of each."""
        order = Order(
            holder=self._holder,
            hosts={decided.host: _order(decided) for decided in decisions},
            interval=self.watch.settings.decide_seconds,
        )
        try:
            answer = await self._dispatcher.report(order)
        except Refused as error:
            self._stands(Lead.STANDBY if error.is_held else Lead.UNREACHED, str(error))
        except Unreached as error:
            self._stands(Lead.UNREACHED, str(error))
        else:
            self._stands(Lead.LEADS, "")
            missing = HostAnswer(effect="unanswered", detail="the dispatcher did not say")
            return {one.host: answer.hosts.get(one.host, missing) for one in decisions}
        none = HostAnswer(effect=self.standing.lead, detail=self.standing.why)
        return {decided.host: none for decided in decisions}

    def _stands(self, lead: Lead, why: str) -> None:
        before, self.standing.lead, self.standing.why = self.standing.lead, lead, why
        if lead is before:
            return
        if lead is Lead.LEADS:
            log.info("event=leads holder=%r hosts=%d", self._holder, len(self.watch.hosts))
        elif lead is Lead.STANDBY:
            log.warning(
                "event=standby why=%r effect='watches on, and takes over when the lease ends'", why
            )
        else:
            log.warning("event=not_reported why=%r effect='limits stay as they are'", why)

    async def _leave(self) -> None:
        """Whoever comes next need not wait for our lease to end."""
        if self.standing.lead is not Lead.LEADS:
            return
        order = Order(
            holder=self._holder, hosts={}, interval=self.watch.settings.decide_seconds, leaves=True
        )
        try:
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self._dispatcher.report(order)
        except (Unreached, TimeoutError) as error:
            log.info("event=lease_not_given_back why=%r effect='it ends by itself'", str(error))

    # -- what is told ----------------------------------------------------------------------------

    def _count(self, decided: Decided) -> None:
        decision = decided.decision
        if decided.host not in self.watch.hosts:
            return  # it went while this was reported
        key = (decided.host, decision.action.value, decision.reason.value)
        self.standing.decisions[key] = self.standing.decisions.get(key, 0) + 1

    def _tell_troubles(self) -> None:
        for name, host in self.watch.hosts.items():
            for kind, trouble in host.troubles.items():
                before = self._told.get((name, kind), "")
                if trouble == before:
                    continue
                self._told[name, kind] = trouble
                if trouble:
                    log.warning("event=source_lost host=%s source=%s why=%r", name, kind, trouble)
                else:
                    log.info("event=source_found host=%s source=%s", name, kind)

    def _tell_decision(self, decided: Decided, answer: HostAnswer) -> None:
        decision = decided.decision
        before = self._alerted.pop(decided.host, None)
        if decision.reason in ALERTS:
            self._alerted[decided.host] = decision.reason
            if decision.reason is not before:
                log.warning(
                    "event=alert host=%s limit=%d reason=%s why=%r futile_shrinks=%d",
                    decided.host, decided.signals.limit, decision.reason,
                    decision.evidence.get("trouble", ""),
                    decision.evidence.get("futile_shrinks", 0),
                )  # fmt: skip
        said = self._untaken.pop(decided.host, None)
        if decision.action is Action.HOLD:
            return
        step = (decided.signals.limit, decision.limit, decision.reason, answer.effect)
        if answer.effect != RESIZED:
            # It is asked for again at each interval, and said once.
            self._untaken[decided.host] = step
            if step == said:
                return
        log.info(
            "event=%s host=%s limit=%d wanted=%d reason=%s effect=%s detail=%r",
            decision.action, decided.host, decided.signals.limit, decision.limit,
            decision.reason, answer.effect, answer.detail,
        )  # fmt: skip

    def _record(self, at: float, decided: Decided, answer: HostAnswer) -> Record:
        decision = decided.decision
        return Record(
            at=at,
            run=self._holder,
            host=decided.host,
            limit=decided.signals.limit,
            wanted=decision.limit,
            action=decision.action,
            reason=decision.reason,
            effect=answer.effect,
            detail=answer.detail,
            dry_run=decided.dry_run,
            evidence=decision.evidence,
            signals=decided.signals,
        )

    async def _keep(self, records: Sequence[Record]) -> None:
        try:
            await asyncio.to_thread(self._records.write, records)
        except OSError as error:
            if not self.standing.records_lost:
                log.warning(
                    "event=records_lost why=%r effect='decisions go on, unwritten'", str(error)
                )
            self.standing.records_lost += len(records)


def _order(decided: Decided) -> HostOrder:
    return HostOrder(
        expected=decided.signals.limit,
        limit=decided.decision.limit,
        action=decided.decision.action.value,
        reason=decided.decision.reason.value,
        evidence=decided.decision.evidence,
        dry_run=decided.dry_run,
    )
