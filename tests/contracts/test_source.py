"""What every source promises (sources/base.py). One more source is one more line in `PLACES`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.beads.project import Project
from tests.sources.drawn import ACTOR
from tests.sources.twin import Twin
from ygg.fleet import BeadsSettings
from ygg.sources.base import End, Issue, Report, TaskSource
from ygg.sources.project import beads
from ygg.sources.telling import calls
from ygg.sources.where import project_at

SOMEBODY = "alice"


class Place(Protocol):
    """A tracker, as the people who work with it have it."""

    source: TaskSource

    def new(self, title: str, *, needs: str | None = None) -> str: ...

    def claims(self, one: str, who: str) -> None: ...

    def closes(self, one: str) -> None: ...

    def deletes(self, one: str) -> None: ...

    def issue(self, one: str) -> Issue: ...


class InMemory:
    def __init__(self, folder: Path) -> None:
        self.tracker = Twin()
        self.source: TaskSource = self.tracker

    def new(self, title: str, *, needs: str | None = None) -> str:
        one = f"bd-{len(self.tracker.issues)}"
        self.tracker.has(one, title=title)
        if needs is not None:
            self.tracker.needs[one] = needs
        return one

    def claims(self, one: str, who: str) -> None:
        self.tracker.has(one, status="in_progress", assignee=who)

    def closes(self, one: str) -> None:
        self.tracker.has(one, status="closed")

    def deletes(self, one: str) -> None:
        self.tracker.loses(one)

    def issue(self, one: str) -> Issue:
        return self.tracker.issues[one]


class InBeads:
    """A project of the stand-in of `bd`."""

    def __init__(self, folder: Path) -> None:
        self.project = Project(folder)
        settings = BeadsSettings(actor=ACTOR, command=str(self.project.program))
        self.source: TaskSource = beads(
            project_at(self.project.beads),
            settings,
            telling=partial(calls, actor=ACTOR),
            environ=os.environ,
        )

    def new(self, title: str, *, needs: str | None = None) -> str:
        one = self.project.new(title, "-l", "reasoning")
        if needs is not None:
            self.project.bd("dep", "add", one, needs)
        return one

    def claims(self, one: str, who: str) -> None:
        self.project.bd("update", one, "--claim", actor=who)

    def closes(self, one: str) -> None:
        self.project.bd("close", one)

    def deletes(self, one: str) -> None:
        self.project.bd("delete", one, "--force")

    def issue(self, one: str) -> Issue:
        return self.project.issue(one)


PLACES = [
    pytest.param(InMemory, marks=pytest.mark.pure),
    pytest.param(InBeads, marks=pytest.mark.system),
]


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    made: Place = request.param(tmp_path)
    return made


def tell(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(story())


def report(one: str, end: End, **more: Any) -> Report:
    return Report(issue_id=one, task_id="01kb2x7a5w2m9qfz4r", attempt=1, end=end, **more)


def test_ready_is_all_that_is_open_and_waits_for_nothing(place: Place) -> None:
    async def story() -> None:
        first = place.new("first")
        second = place.new("second", needs=first)
        taken, done = place.new("taken"), place.new("done")
        place.claims(taken, SOMEBODY)
        place.closes(done)
        assert {issue.id for issue in await place.source.ready()} == {first}
        place.closes(first)
        assert {issue.id for issue in await place.source.ready()} == {second}

    tell(story)


def test_a_claim_is_ours_and_may_be_repeated(place: Place) -> None:
    async def story() -> None:
        one, two = place.new("one"), place.new("two")
        for _ in range(2):
            assert await place.source.claim([one, two]) == {one: None, two: None}
        assert {issue.id for issue in await place.source.mine()} == {one, two}
        assert (place.issue(one).status, place.issue(one).assignee) == ("in_progress", ACTOR)
        assert await place.source.ready() in ([], ())

    tell(story)


def test_what_can_not_be_claimed_says_why_and_the_others_are_claimed(place: Place) -> None:
    async def story() -> None:
        good, theirs, closed, gone = (place.new(title) for title in "abcd")
        place.claims(theirs, SOMEBODY)
        place.closes(closed)
        place.deletes(gone)
        told = dict(await place.source.claim([theirs, closed, gone, good]))
        assert told.pop(good) is None
        assert set(told) == {theirs, closed, gone}
        assert all(told.values())
        assert place.issue(theirs).assignee == SOMEBODY

    tell(story)


def test_what_is_handed_back_is_open_again_and_others_are_left_alone(place: Place) -> None:
    async def story() -> None:
        ours, theirs, closed = (place.new(title) for title in "abc")
        await place.source.claim([ours, closed])
        place.claims(theirs, SOMEBODY)
        place.closes(closed)
        await place.source.hand_back([ours, theirs, closed])
        assert (place.issue(ours).status, place.issue(ours).assignee) == ("open", "")
        assert place.issue(theirs).assignee == SOMEBODY
        assert place.issue(closed).status == "closed"

    tell(story)


def test_what_is_not_shown_is_gone(place: Place) -> None:
    async def story() -> None:
        here, gone = place.new("here"), place.new("gone")
        place.deletes(gone)
        shown = await place.source.show([here, gone])
        assert set(shown) == {here}
        assert shown[here].title == "here"

    tell(story)


def test_an_end_that_is_told_twice_is_there_once(place: Place) -> None:
    async def story() -> None:
        one = place.new("one")
        after = place.new("after", needs=one)
        await place.source.claim([one])
        for _ in range(2):
            await place.source.tell(report(one, End.DONE, answer="42", host="h", model="m"))
        told = (await place.source.show([one]))[one]
        assert told.status == "closed"
        assert [comment.text.endswith("42") for comment in told.comments] == [True]
        assert {issue.id for issue in await place.source.ready()} == {after}

    tell(story)


@pytest.mark.parametrize("end", [End.FAILED, End.CANCELLED])
def test_what_did_not_end_well_is_blocked_and_frees_nothing(place: Place, end: End) -> None:
    async def story() -> None:
        one = place.new("one")
        place.new("after", needs=one)
        await place.source.claim([one])
        for _ in range(2):
            await place.source.tell(report(one, end, error="no model there"))
        told = place.issue(one)
        assert told.status == "blocked"
        assert told.notes.count("no model there") == 1
        assert not list(await place.source.ready())

    tell(story)


def test_a_retry_opens_a_blocked_issue(place: Place) -> None:
    async def story() -> None:
        one = place.new("one")
        await place.source.claim([one])
        await place.source.tell(report(one, End.FAILED, error="no"))
        await place.source.tell(report(one, End.RETRIED))
        assert await place.source.claim([one]) == {one: None}

    tell(story)


def test_nothing_is_told_of_an_issue_that_is_gone(place: Place) -> None:
    async def story() -> None:
        one = place.new("one")
        await place.source.claim([one])
        place.deletes(one)
        await place.source.tell(report(one, End.DONE, answer="42"))
        assert await place.source.show([one]) == {}

    tell(story)


def test_another_hand_is_noticed_and_our_own_is_not(place: Place) -> None:
    async def story() -> None:
        one = place.new("one")
        await place.source.ready()
        changed = asyncio.ensure_future(place.source.changed())
        await asyncio.sleep(0)
        if not changed.done():  # that there was a new one may have been news still
            await asyncio.wait({changed}, timeout=3.0)
        if changed.done():
            changed = asyncio.ensure_future(place.source.changed())
        await place.source.claim([one])
        done, _ = await asyncio.wait({changed}, timeout=2.0)
        assert not done
        place.new("two")
        async with asyncio.timeout(30.0):
            assert await changed

    tell(story)
