"""What telling plans is what bd takes: ends told to a project, told again, and told after a failure."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from tests.beads.project import Project
from ygg.fleet import ANSWERED, BUILT_IN_TYPES, BeadsSettings, Option, TypeSettings
from ygg.sources.base import End, Issue, Report, SourceError, TaskSource
from ygg.sources.bd import Bd
from ygg.sources.beads import Beads
from ygg.sources.issues import Taking
from ygg.sources.plan import Look, plan
from ygg.sources.telling import COMMENT_BYTES_MAX, calls
from ygg.sources.watch import Watch

pytestmark = pytest.mark.system

ME = "ygg@testhost"
TASK = "06gq0000000000000a"
TAKING = Taking(
    beads=BeadsSettings(),
    types={name: TypeSettings(name=name, run=(Option("a"),)) for name in BUILT_IN_TYPES},
    actor=ME,
)


class Wired:
    """A project, and a source on it that tells as ygg does."""

    def __init__(self, folder: Path) -> None:
        self.project = Project(folder)
        watch = Watch(self.project.beads, poll_seconds=60)
        environ = {**os.environ, "PATH": self.project.path}
        bd = Bd(folder=self.project.folder, actor=ME, environ=environ, around=watch)
        self._source = Beads(bd, watch, telling=partial(calls, actor=ME))
        self.one = self.project.new("Fix the parser", "-l", "code-generation")

    def run(self, story: Callable[[TaskSource], Awaitable[None]]) -> None:
        async def whole() -> None:
            await story(self._source)

        asyncio.run(whole())

    def tell(
        self, end: End, *, attempt: int = 1, review: bool = False, answer: str = "42"
    ) -> Issue:
        report = Report(
            issue_id=self.one, task_id=TASK, attempt=attempt, end=end, answer=answer, tokens=7,
            artifact="2026-11-24/x.md", error="HTTP 500", host="skadi", seconds=3.0, review=review,
        )  # fmt: skip
        self.run(lambda source: source.tell(report))
        return self.project.issue(self.one)

    def claim(self) -> None:
        async def story(source: TaskSource) -> None:
            assert await source.claim([self.one]) == {self.one: None}

        self.run(story)

    def taken(self) -> list[str]:
        """What a look makes new tasks of."""
        found: list[str] = []

        async def story(source: TaskSource) -> None:
            look = Look(ready=await source.ready(), mine=await source.mine())
            found.extend(said.issue_id for said in plan(look, [], TAKING).add)

        self.run(story)
        return found

    @property
    def writes(self) -> int:
        words = [call.words for call in self.project.calls]
        return sum(w.startswith(("update", "close", "comments add")) for w in words)


@pytest.fixture
def wired(tmp_path: Path) -> Wired:
    return Wired(tmp_path)


@pytest.mark.parametrize(
    ("end", "review", "status"),
    [
        (End.DONE, False, "closed"),
        (End.DONE, True, "open"),
        (End.FAILED, False, "blocked"),
        (End.CANCELLED, False, "blocked"),
    ],
)
def test_an_end_that_was_told_is_told_once(
    wired: Wired, end: End, review: bool, status: str
) -> None:
    wired.claim()
    first = wired.tell(end, review=review)
    assert first.status == status
    assert (ANSWERED in first.labels) == review
    assert first.metadata["ygg.end"] == end.value
    writes = wired.writes
    assert wired.tell(end, review=review) == first
    assert wired.writes == writes
    assert wired.taken() == []


def test_what_a_person_opens_again_is_taken_again_and_told_beside_the_first(wired: Wired) -> None:
    wired.claim()
    wired.tell(End.FAILED)
    wired.project.bd("update", wired.one, "--status=open")
    assert wired.taken() == [wired.one]
    wired.claim()
    issue = wired.tell(End.FAILED, attempt=2)
    assert (issue.status, issue.notes.count("ygg [failed")) == ("blocked", 2)
    assert wired.tell(End.RETRIED, attempt=2).status == "open"
    wired.claim()
    issue = wired.tell(End.DONE, attempt=3)
    assert (issue.status, len(issue.comments)) == ("closed", 1)


@pytest.mark.parametrize("call", ["comments add", "update", "close"])
def test_a_call_that_took_effect_and_failed_tells_nothing_twice(wired: Wired, call: str) -> None:
    wired.claim()
    wired.project.break_calls({"call": call, "times": 1, "code": 1, "out": "", "err": "Error: x\n"})
    with pytest.raises(SourceError):
        wired.tell(End.DONE)
    issue = wired.tell(End.DONE)
    assert (issue.status, len(issue.comments)) == ("closed", 1)
    assert issue.metadata["ygg.host"] == "skadi"


def test_an_answer_without_end_is_cut_and_the_comment_is_as_bd_keeps_it(wired: Wired) -> None:
    wired.claim()
    (comment,) = wired.tell(End.DONE, answer="é" * 20_000).comments
    assert len(comment.text.encode()) <= COMMENT_BYTES_MAX
    assert "2026-11-24/x.md" in comment.text
