"""Feeds a source's issues into the store, and claims ahead for them.

One thing after another: look, carry out what follows (plan.py), claim, tell. What is wrong with the
source holds up nobody else: tasks that wait for it stay where they are, what it must be told stays
posted; and what is wrong with one issue holds up no other. What a look means is left to `plan`,
telling of ends to `reporting`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ygg.journal import Event, Kind
from ygg.lifecycle import Refused as NotAllowed
from ygg.lines import printable
from ygg.ports import Answers, Clock
from ygg.reporting import Reporting, Told
from ygg.sources.base import (
    Away,
    Garbage,
    Issue,
    Refused,
    SourceError,
    Standing,
    TaskSource,
)
from ygg.sources.issues import Offer, Taking
from ygg.sources.known import Known
from ygg.sources.plan import Edit, Look, Plan, claims, plan, unexplained, unneeded
from ygg.stores.base import StoreError, TaskStore, UnknownTask
from ygg.tasks import Held, Status, Task, new_id

log = logging.getLogger("ygg.sources")

#: Seconds until a source that could not be asked is asked again: at first, and at most.
_AGAIN_FIRST: Final = 1.0
_AGAIN_LONGEST: Final = 60.0
#: The same of an issue that could not be handed back.
_KEPT_SECONDS: Final = 600.0
#: Seconds after which a look is not put off any more.
_LOOK_SECONDS: Final = 10.0
#: Characters of an id that the log shows.
_SHOWN: Final = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """What claims go by: of each type its hosts, of each host its slots."""

    routes: Mapping[str, Sequence[str]]
    slots: Mapping[str, int]


class Sourcing:
    """One source. `run` it beside the dispatcher, then `leave`.

    Args:
        taking: what is taken, as hosts.yaml says now.
        places: where it may run, as the board has it now.
        review: whether a person is to look at an answer of this type.
        chance: random bits for ids.
        standing: how it goes; kept up to date here, for others to look at.
    """

    def __init__(
        self,
        source: TaskSource,
        store: TaskStore,
        answers: Answers,
        clock: Clock,
        *,
        taking: Callable[[], Taking],
        places: Callable[[], Places],
        review: Callable[[str], bool],
        chance: Callable[[int], int],
        standing: Standing | None = None,
    ) -> None:
        self.standing = standing or Standing(name=source.name)
        self._source = source
        self._store = store
        self._clock = clock
        self._taking = taking
        self._places = places
        self._chance = chance
        self._news = asyncio.Event()
        self._known = Known()
        self._look_due = True
        #: Since the last look somebody else may have been at it.
        self._others_changed = True
        self._reporting = Reporting(
            source, store, answers, clock, review=review, standing=self.standing
        )
        #: Issues that could not be handed back, and when that is to be tried again.
        self._kept: dict[str, float] = {}
        #: What could not be told is to be tried at once when it answers: it was away, or we were.
        self._was_away = True
        store.follow(self._hear)

    def _hear(self, events: Sequence[Event]) -> None:
        if self._known.hear(events):
            self._news.set()
        # What a person holds is to be handed back; who holds for the source is us.
        if any(
            e.kind is Kind.HELD and e.reason != Held.FOR_SOURCE and self._known.has(e.task)
            for e in events
        ):
            self._look_due = self._others_changed = True

    # -- life ------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until it is cancelled."""
        pause = _AGAIN_FIRST
        changed: asyncio.Future[bool] | None = None
        try:
            while True:
                self._news.clear()
                try:
                    due = await self._turn()
                except (SourceError, StoreError) as error:
                    self._in_trouble(str(error))
                    self._was_away = True
                    self._known.forget()
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _AGAIN_LONGEST)
                    self._look_due = self._others_changed = True
                    continue
                self._is_well()
                pause = _AGAIN_FIRST
                # Kept over turns: its time until the next look must not begin anew with each.
                changed = changed or asyncio.ensure_future(self._source.changed())
                if await self._wait(changed, due):
                    self._others_changed = changed.result() or self._others_changed
                    changed, self._look_due = None, True
        finally:
            if changed is not None:
                changed.cancel()

    async def _wait(self, changed: asyncio.Future[bool], due: float | None) -> bool:
        """Until there is something to do; whether the source may have changed."""
        news = asyncio.ensure_future(self._news.wait())
        try:
            timeout = None if due is None else max(0.0, due - self._clock.wall())
            either: list[asyncio.Future[Any]] = [changed, news]
            await asyncio.wait(either, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()
        return changed.done()

    async def _turn(self) -> float | None:
        """All that there is to do now. Returns when the next end is due to be told again."""
        while True:
            # At the start, and after it was away, a person may have had the issue: look first.
            claimed = not self._was_away and await self._claim()
            told = await self._reporting.tell()
            if told in (Told.TOLD, Told.UNANSWERED):
                # What waited for this one may be ready now; or nothing can be asked at all.
                self._look_due = True
            # One look after many ends; but whoever ends tasks all the time must not put it off.
            at_leisure = told is not Told.TOLD or self._is_long_ago()
            if self._look_due and at_leisure:
                await self._look()
            elif not claimed and told is Told.NOTHING:
                return await self._store.next_post(self._source.name)

    def _is_long_ago(self) -> bool:
        looked_at = self.standing.looked_at
        return looked_at is None or self._clock.wall() - looked_at > _LOOK_SECONDS

    async def leave(self, seconds: float) -> None:
        """Before the process ends: give back what waits, tell what can be told in so many seconds.

        What can't be is told by the next start.
        """
        try:
            async with asyncio.timeout(seconds):
                live = await self._store.sourced(self._source.name)
                mine = await self._source.mine()
                ids = unneeded(mine, live, self._taking().actor)
                if ids:
                    waiting = {t.source_id: t.id for t in live if t.status is Status.OPEN}
                    for issue_id in ids:
                        await self._hold(waiting[issue_id])
                    await self._hand_back(ids)
                while await self._reporting.tell() is not Told.NOTHING:
                    pass
        except TimeoutError:
            log.warning("event=source_left_early source=%s hint='the next start tells the rest'",
                        self._source.name)  # fmt: skip
        except (SourceError, StoreError) as error:
            log.warning("event=source_left_early source=%s why=%r hint='the next start tells the "
                        "rest'", self._source.name, str(error))  # fmt: skip

    # -- looking ---------------------------------------------------------------------------------

    async def _look(self) -> None:
        taking = self._taking()
        look, live = await self._seen()
        await self._carry_out(plan(look, live, taking, await self._reporting.ends()), live)
        self._tell_of_faults(look)
        self._reporting.forget(look.issues, taking.actor)
        self._look_due = False
        self.standing.looked_at = self._clock.wall()
        self.standing.unclaimed.clear()
        if self._was_away:
            await self._reporting.hurry()
            self._was_away = False

    async def _seen(self) -> tuple[Look, Sequence[Task]]:
        """What the source says, and our tasks as of after that.

        While nothing of ours waits or runs there and nobody was at it, one call is enough.
        """
        source, at_work = self._source, (Status.OPEN, Status.IN_PROGRESS)
        now = self._clock.wall()
        whole = self._others_changed or any(due <= now for due in self._kept.values())
        whole = whole or any(task.status in at_work for task in await self._live())
        self._others_changed = False
        ready = await source.ready()
        if not whole:
            return Look(ready=ready, is_whole=False), await self._all()
        mine = await source.mine()
        here = {issue.id for issue in mine}
        self._kept = {one: due for one, due in self._kept.items() if one in here}
        ids = unexplained(ready, mine, await self._live())
        shown: dict[str, Issue | None] = dict.fromkeys(ids)
        if ids:
            shown |= await source.show(ids)
        look = Look(ready=ready, mine=mine, shown=shown, at=self._clock.wall())
        return look, await self._all()

    async def _all(self) -> Sequence[Task]:
        """Our live tasks, whole."""
        self._known.begin()
        live = await self._store.sourced(self._source.name)
        self._known.take(live)
        return live

    async def _live(self) -> Collection[Task]:
        """The same without their texts: only those that moved are read."""
        if not self._known.is_whole:
            await self._all()
        for task_id in self._known.moved():
            try:
                self._known.put(task_id, await self._store.get(task_id))
            except UnknownTask:
                self._known.put(task_id, None)
        return self._known.tasks

    def _tell_of_faults(self, look: Look) -> None:
        """Each is told of once, as long as it stays the same."""
        issues, before = look.issues, self.standing.unreadable
        found = {one: i.fault for one, i in issues.items() if i is not None and i.fault}
        for one, fault in found.items():
            if before.get(one) != fault:
                log.warning("event=unreadable source=%s issue=%s why=%r hint='it is left as it is "
                            "until it is mended'", self._source.name, printable(one)[:_SHOWN] or "?",
                            fault)  # fmt: skip
        # What was not asked about this time has not changed.
        rest = {} if look.is_whole else {k: v for k, v in before.items() if k not in issues}
        self.standing.unreadable = {**rest, **found}

    async def _carry_out(self, todo: Plan, live: Sequence[Task]) -> None:
        types = {task.id: task.type for task in live}
        moved = [edit for edit in todo.edit if edit.offer.type != types[edit.task_id]]
        for task_id in todo.hold:
            await self._hold(task_id)
        now = self._clock.wall()
        for task_id in todo.retry:
            await self._unless_moved(self._store.retry([task_id], now=now))
        for edit in todo.edit:
            if edit not in moved:
                await self._unless_moved(self._edit(edit, now))
        for withdrawal in todo.withdraw:
            why = f"its issue {withdrawal.why}"
            log.info("event=withdrawn task=%s why=%r", withdrawal.task_id, why)
            await self._unless_moved(self._store.withdraw(withdrawal.task_id, why=why, now=now))
        fresh = list(todo.add)
        for edit in moved:
            # A new task, which goes where its type runs: the old one may be about to start.
            why = f"its issue is of type {edit.offer.type} now"
            if await self._unless_moved(self._store.withdraw(edit.task_id, why=why, now=now)):
                fresh.append(edit.offer)
        await self._add(fresh)
        if todo.hand_back:
            await self._hand_back(todo.hand_back)

    async def _hand_back(self, ids: Sequence[str]) -> None:
        """What is refused for one of them is so for that one. Raises SourceError."""
        now = self._clock.wall()
        due = [one for one in ids if self._kept.get(one, now) <= now]
        if not due:
            return
        try:
            await self._source.hand_back(due)
        except Away:
            raise
        except SourceError as error:
            if len(due) > 1 and isinstance(error, (Refused, Garbage)):
                for one in due:
                    await self._hand_back([one])
                return
            for one in due:
                self._kept[one] = now + _KEPT_SECONDS
                log.warning("event=not_handed_back source=%s issue=%s why=%r again_in=%g",
                            self._source.name, one, str(error), _KEPT_SECONDS)  # fmt: skip
        else:
            for one in due:
                self._kept.pop(one, None)

    async def _add(self, offers: Sequence[Offer]) -> None:
        if not offers:
            return
        now = self._clock.wall()
        drafts = [offer.draft(new_id(now, self._chance(40)), self._source.name) for offer in offers]
        self._known.expect(draft.id for draft in drafts)
        await self._store.add(drafts, now=now)
        log.info("event=taken source=%s issues=%d", self._source.name, len(drafts))

    async def _edit(self, edit: Edit, now: float) -> None:
        said = edit.offer
        await self._store.edit(
            edit.task_id, title=said.title, description=said.description, labels=said.labels,
            priority=said.priority, now=now,
        )  # fmt: skip

    async def _hold(self, task_id: str) -> None:
        await self._unless_moved(
            self._store.hold(task_id, why=Held.FOR_SOURCE, now=self._clock.wall())
        )

    async def _unless_moved(self, step: Awaitable[object]) -> bool:
        """A step on a task that may have started, ended or gone since it was looked at."""
        try:
            await step
        except (NotAllowed, UnknownTask) as error:
            log.debug("event=moved_on why=%r", str(error))
            return False
        return True

    # -- claiming --------------------------------------------------------------------------------

    async def _claim(self) -> bool:
        """Claim what is to start next. Whether anything was tried."""
        live, places = await self._live(), self._places()
        unclaimed = self.standing.unclaimed
        # They take no place that another could have.
        not_now = {*unclaimed, *self.standing.unreadable}
        able = [t for t in live if t.held is not Held.FOR_SOURCE or t.source_id not in not_now]
        wanted = claims(able, places.routes, places.slots)
        if not wanted:
            return False
        tasks = {task.source_id: task.id for task in live}
        for issue_id, why in (await self._source.claim(wanted)).items():
            if why is None:
                await self._unless_moved(
                    self._store.release(
                        tasks[issue_id], why=Held.FOR_SOURCE, now=self._clock.wall()
                    )
                )
            else:
                log.info(
                    "event=not_claimed issue=%s task=%s why=%r", issue_id, tasks[issue_id], why
                )
                unclaimed[issue_id] = why
        return True

    # -- how it goes -----------------------------------------------------------------------------

    def _in_trouble(self, why: str) -> None:
        if self.standing.trouble != why:
            log.warning("event=source_away source=%s why=%r", self._source.name, why)
        self.standing.trouble = why

    def _is_well(self) -> None:
        if self.standing.trouble is not None:
            log.info("event=source_back source=%s", self._source.name)
        self.standing.trouble = None
