"""Tells a source of the ends of its tasks, one at a time, each as often as it takes.

An end that can't be told is put off, and says why: it holds up neither the others nor the next look.
What a source is told of an end is left to `telling`, when there is time for it to `sourcing`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import Enum, auto
from typing import Final

from ygg.artifacts import ArtifactError, NoArtifact
from ygg.journal import Kind
from ygg.ports import Answers, Clock
from ygg.sources.base import (
    Away,
    Garbage,
    Issue,
    Refused,
    SourceError,
    Standing,
    TaskSource,
)
from ygg.sources.marks import Mark, mark_of, settled
from ygg.sources.telling import COMMENT_BYTES_MAX, cut_from, end_of, report_of
from ygg.stores.base import Posted, TaskStore
from ygg.tasks import Status, Task

log = logging.getLogger("ygg.sources")

#: Seconds until an end that could not be told is told again: at first, after a call that came to no
#: answer (it may have cost a minute of everybody's time), and at most.
_AGAIN_FIRST: Final = 5.0
_AGAIN_UNANSWERED: Final = 60.0
_AGAIN_LONGEST: Final = 600.0
#: Seconds for which a source's answers may be from before it was told something.
_ENDS_SECONDS: Final = 3600.0


class Told(Enum):
    """What came of the oldest end that was due."""

    NOTHING = auto()  # none was due
    TOLD = auto()
    #: The source answered, and took it not; or its answer can't be read here.
    REFUSED = auto()
    #: It gave no answer: it may be this end, or the whole source.
    UNANSWERED = auto()


class Reporting:
    """What one source is told.

    Args:
        review: whether a person is to look at an answer of this type.
        standing: how it goes; what is refused is kept up to date here.
    """

    def __init__(
        self,
        source: TaskSource,
        store: TaskStore,
        answers: Answers,
        clock: Clock,
        *,
        review: Callable[[str], bool],
        standing: Standing,
    ) -> None:
        self._source = source
        self._store = store
        self._answers = answers
        self._clock = clock
        self._review = review
        self._standing = standing
        #: Ends that were told, by issue, until the source shows them; and when that was.
        self._ends: dict[str, tuple[Mark, float]] = {}

    async def ends(self) -> Mapping[str, Mark]:
        """By issue, of what the source does not show yet: told lately, or still to be told."""
        posted = await self._store.posted_ends(self._source.name)
        self._standing.refused = {one.source_id: one.error for one in posted if one.error}
        return {issue_id: end for issue_id, (end, _) in self._ends.items()} | {
            one.source_id: Mark(end_of(one.status, one.outcome), one.task_id, one.attempt)
            for one in posted
            if one.status is not Status.IN_PROGRESS
        }

    def forget(self, issues: Mapping[str, Issue | None], actor: str) -> None:
        """Ends that the source shows by now; and old ones: a closed issue shows up no more."""
        oldest = self._clock.wall() - _ENDS_SECONDS
        self._ends = {
            one: (end, told_at)
            for one, (end, told_at) in self._ends.items()
            if told_at > oldest
            and ((issue := issues.get(one)) is None or not settled(issue, end, actor))
        }

    async def hurry(self) -> None:
        """It answers again: what it could not be told before is due now."""
        now = self._clock.wall()
        for one in await self._store.posted_ends(self._source.name):
            if one.error is not None:
                await self._store.not_told(one.task_id, error=one.error, due=now)

    async def tell(self) -> Told:
        """The oldest end that is due. Raises StoreError, and SourceError: nothing can be asked."""
        due = await self._store.posted(self._source.name, now=self._clock.wall(), limit=1)
        told = Told.NOTHING
        for posted in due:
            try:
                await self._tell_one(posted)
                told = Told.TOLD
            except Away:
                raise
            except (Refused, Garbage, ArtifactError) as error:
                told = Told.REFUSED
                await self._put_off(posted, str(error), _AGAIN_FIRST)
            except SourceError as error:
                told = Told.UNANSWERED
                await self._put_off(posted, str(error), _AGAIN_UNANSWERED)
        return told

    async def _put_off(self, posted: Posted, why: str, first: float) -> None:
        task, pause = posted.task, min(first * 2**posted.tries, _AGAIN_LONGEST)
        log.warning("event=not_told source=%s task=%s issue=%s why=%r again_in=%g",
                    self._source.name, task.id, task.source_id, why, pause)  # fmt: skip
        assert task.source_id is not None, f"task {task.id} has no source"
        self._standing.refused[task.source_id] = why
        await self._store.not_told(task.id, error=why, due=self._clock.wall() + pause)

    async def _tell_one(self, posted: Posted) -> None:
        task = posted.task
        report = report_of(
            task, await self._answer(task), model=await self._model(task),
            review=self._review(task.type),
        )  # fmt: skip
        if report is not None:
            await self._source.tell(report)
            self._ends[report.issue_id] = mark_of(report), self._clock.wall()
            self._standing.unclaimed.pop(report.issue_id, None)
            self._standing.refused.pop(report.issue_id, None)
            size = cut_from(report)
            cut = "" if size is None else f" cut_to={COMMENT_BYTES_MAX} of_bytes={size}"
            log.info("event=told source=%s task=%s issue=%s end=%s%s",
                     self._source.name, task.id, report.issue_id, report.end, cut)  # fmt: skip
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
