"""Feeds a source's issues into the store, claims ahead for them, and tells the source of ends.

One thing after another: look, carry out what follows (plan.py), claim, tell. What is wrong with the
source holds up nobody else: tasks that wait for it stay where they are, what it must be told stays
posted. What a look means is left to `plan`, what an end is told as to `telling`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from ygg.artifacts import ArtifactError, NoArtifact
from ygg.journal import Event, Kind
from ygg.lifecycle import Refused as NotAllowed
from ygg.lines import printable
from ygg.ports import Answers, Clock
from ygg.sources.base import Garbage, Issue, Refused, SourceError, Standing, TaskSource
from ygg.sources.issues import Offer, Taking
from ygg.sources.known import Known
from ygg.sources.marks import Mark, mark_of, settled
from ygg.sources.plan import Edit, Look, Plan, claims, plan, unexplained, unneeded
from ygg.sources.telling import COMMENT_BYTES_MAX, cut_from, end_of, report_of
from ygg.stores.base import Posted, StoreError, TaskStore, UnknownTask
from ygg.tasks import Held, Status, Task, new_id

log = logging.getLogger("ygg.sources")

#: Seconds until a source that could not be asked is asked again: at first, and at most.
_AGAIN_FIRST: Final = 1.0
_AGAIN_LONGEST: Final = 60.0
#: The same of an end that the source refused to hear of, though it answers.
_REFUSED_FIRST: Final = 5.0
_REFUSED_LONGEST: Final = 600.0
#: Seconds after which a look is not put off any more.
_LOOK_SECONDS: Final = 10.0
#: Characters of an id that the log shows.
_SHOWN: Final = 100
#: Seconds for which a source's answers may be from before it was told something.
_ENDS_SECONDS: Final = 3600.0


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
        self._answers = answers
        self._clock = clock
        self._taking = taking
        self._places = places
        self._review = review
        self._chance = chance
        self._news = asyncio.Event()
        self._known = Known()
        self._look_due = True
        #: Since the last look somebody else may have been at it.
        self._others_changed = True
        #: Ends that were told, by issue, until the source shows them; and when that was.
        self._ends: dict[str, tuple[Mark, float]] = {}
        #: What could not be told is to be tried at once when it answers: it was away, or we were.
        self._was_away = True
        store.follow(self._hear)

    def _hear(self, events: Sequence[Event]) -> None:
        if self._known.hear(events):
            self._news.set()

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
                except (SourceError, StoreError, ArtifactError) as error:
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
            claimed = await self._claim()
            told = await self._tell()
            # One look after many ends; but whoever ends tasks all the time must not put it off.
            if self._look_due and (not told or self._is_long_ago()):
                await self._look()
            elif not (claimed or told):
                return await self._store.next_post(self._source.name)

    def _is_long_ago(self) -> bool:
        looked_at = self.standing.looked_at
        return looked_at is not None and self._clock.wall() - looked_at > _LOOK_SECONDS

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
                    await self._source.hand_back(ids)
                while await self._tell():
                    pass
        except TimeoutError:
            log.warning("event=source_left_early source=%s hint='the next start tells the rest'",
                        self._source.name)  # fmt: skip
        except (SourceError, StoreError, ArtifactError) as error:
            log.warning("event=source_left_early source=%s why=%r hint='the next start tells the "
                        "rest'", self._source.name, str(error))  # fmt: skip

    # -- looking ---------------------------------------------------------------------------------

    async def _look(self) -> None:
        taking = self._taking()
        look, live = await self._seen()
        ends = {one: end for one, (end, _) in self._ends.items()} | await self._posted_ends()
        await self._carry_out(plan(look, live, taking, ends), live)
        self._tell_of_faults(look)
        self._forget_ends(look.issues, taking.actor)
        self._look_due = False
        self.standing.looked_at = self._clock.wall()
        self.standing.unclaimed.clear()
        if self._was_away:
            await self._hurry()
            self._was_away = False

    async def _seen(self) -> tuple[Look, Sequence[Task]]:
        """What the source says, and our tasks as of after that.

        While nothing of ours waits or runs there and nobody was at it, one call is enough.
        """
        source, at_work = self._source, (Status.OPEN, Status.IN_PROGRESS)
        whole = self._others_changed or any(t.status in at_work for t in await self._live())
        self._others_changed = False
        ready = await source.ready()
        if not whole:
            return Look(ready=ready, is_whole=False), await self._all()
        mine = await source.mine()
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

    def _forget_ends(self, issues: Mapping[str, Issue | None], actor: str) -> None:
        """Those that the source shows by now; and old ones: a closed issue shows up no more."""
        oldest = self._clock.wall() - _ENDS_SECONDS
        self._ends = {
            one: (end, told_at)
            for one, (end, told_at) in self._ends.items()
            if told_at > oldest
            and ((issue := issues.get(one)) is None or not settled(issue, end, actor))
        }

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

    async def _posted_ends(self) -> dict[str, Mark]:
        posted = await self._store.posted_ends(self._source.name)
        self.standing.refused = {one.source_id: one.error for one in posted if one.error}
        return {
            one.source_id: Mark(end_of(one.status, one.outcome), one.task_id, one.attempt)
            for one in posted
            if one.status is not Status.IN_PROGRESS
        }

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
            await self._source.hand_back(todo.hand_back)

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
        not_now = {*unclaimed, *self.standing.unreadable}
        wanted = [one for one in claims(live, places.routes, places.slots) if one not in not_now]
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

    # -- telling ---------------------------------------------------------------------------------

    async def _tell(self) -> bool:
        """The oldest end that is due. Whether there was one."""
        due = await self._store.posted(self._source.name, now=self._clock.wall(), limit=1)
        for posted in due:
            try:
                await self._tell_one(posted)
            except (Refused, Garbage) as error:
                pause = min(_REFUSED_FIRST * 2**posted.tries, _REFUSED_LONGEST)
                log.warning("event=not_told source=%s task=%s issue=%s why=%r again_in=%g",
                            self._source.name, posted.task.id, posted.task.source_id, str(error),
                            pause)  # fmt: skip
                assert posted.task.source_id is not None, f"task {posted.task.id} has no source"
                self.standing.refused[posted.task.source_id] = str(error)
                await self._store.not_told(
                    posted.task.id, error=str(error), due=self._clock.wall() + pause
                )
        return bool(due)

    async def _hurry(self) -> None:
        """It answers again: what it refused to hear of before is due now."""
        now = self._clock.wall()
        for one in await self._store.posted_ends(self._source.name):
            if one.error is not None:
                await self._store.not_told(one.task_id, error=one.error, due=now)

    async def _tell_one(self, posted: Posted) -> None:
        task = posted.task
        report = report_of(
            task, await self._answer(task), model=await self._model(task),
            review=self._review(task.type),
        )  # fmt: skip
        if report is not None:
            await self._source.tell(report)
            self._ends[report.issue_id] = mark_of(report), self._clock.wall()
            self.standing.unclaimed.pop(report.issue_id, None)
            self.standing.refused.pop(report.issue_id, None)
            size = cut_from(report)
            cut = "" if size is None else f" cut_to={COMMENT_BYTES_MAX} of_bytes={size}"
            log.info("event=told source=%s task=%s issue=%s end=%s%s",
                     self._source.name, task.id, report.issue_id, report.end, cut)  # fmt: skip
            # What waited for this one may be ready now.
            self._look_due = True
        await self._store.told(task.id, position=posted.position, now=self._clock.wall())

    async def _answer(self, task: Task) -> str:
        if task.artifact is None:
            return ""
        with suppress(NoArtifact):  # it was forgotten by age: its path is told all the same
            return await self._answers.read(task.artifact)
        return ""

    async def _model(self, task: Task) -> str:
        rows = await self._store.journal(task_id=task.id)
        started = (row.model for row in reversed(rows) if row.kind is Kind.STARTED)
        return next(started, "")

    # -- how it goes -----------------------------------------------------------------------------

    def _in_trouble(self, why: str) -> None:
        if self.standing.trouble != why:
            log.warning("event=source_away source=%s why=%r", self._source.name, why)
        self.standing.trouble = why

    def _is_well(self) -> None:
        if self.standing.trouble is not None:
            log.info("event=source_back source=%s", self._source.name)
        self.standing.trouble = None
