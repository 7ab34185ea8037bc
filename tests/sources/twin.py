"""A source in memory: the twin of a Beads project, for the dispatcher's tests in virtual time.

What it says of an issue that was told something is bd's (drawn.after); how long a call takes and
which of them fail, a test decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from tests.sources.drawn import ACTOR, after, an_issue
from ygg.sources.base import Issue, Missing, Report, SourceError
from ygg.sources.telling import calls

_POLL_SECONDS: Final = 60.0


def away() -> SourceError:
    return Missing("it can't be started", where="bd", way_out="install bd")


class Twin:
    """A `TaskSource`."""

    name = "beads"

    def __init__(self) -> None:
        self.issues: dict[str, Issue] = {}
        #: Of issues that wait for others: for which.
        self.needs: dict[str, str] = {}
        #: Seconds that each call takes.
        self.slow = 0.0
        #: What every call fails with; None: all is well.
        self.failing: SourceError | None = None
        #: What telling this issue fails with, besides.
        self.deaf: dict[str, SourceError] = {}
        #: What handing this issue back fails with, and why claims of one come to nothing.
        self.kept: dict[str, SourceError] = {}
        self.unclaimable: dict[str, str] = {}
        #: By issue, whom claims find it to be by then.
        self.stolen: dict[str, str] = {}
        self.asked: list[str] = []
        self._changed = asyncio.Event()

    def has(self, one: str, **fields: object) -> None:
        """A person makes an issue, or changes it."""
        before = self.issues.get(one) or an_issue(id=one)
        self.issues[one] = replace(before, **fields)  # type: ignore[arg-type]  # a test's own
        self._changed.set()

    def loses(self, one: str) -> None:
        del self.issues[one]
        self._changed.set()

    async def _call(self, name: str) -> None:
        self.asked.append(name)
        await asyncio.sleep(self.slow)
        if self.failing is not None:
            raise self.failing

    async def ready(self) -> Sequence[Issue]:
        await self._call("ready")
        return [issue for issue in self.issues.values() if self._is_ready(issue)]

    def _is_ready(self, issue: Issue) -> bool:
        needed = self.issues.get(self.needs.get(issue.id, ""))
        return issue.status == "open" and (needed is None or needed.status == "closed")

    async def mine(self) -> Sequence[Issue]:
        await self._call("mine")
        return [issue for issue in self.issues.values() if self._is_mine(issue)]

    def _is_mine(self, issue: Issue) -> bool:
        return (issue.status, issue.assignee) == ("in_progress", ACTOR)

    async def show(self, ids: Sequence[str]) -> Mapping[str, Issue]:
        await self._call("show")
        return {one: self.issues[one] for one in ids if one in self.issues}

    async def claim(self, ids: Sequence[str]) -> Mapping[str, str | None]:
        await self._call("claim")
        told: dict[str, str | None] = {}
        for one in ids:
            who = self.stolen.get(one, ACTOR)
            issue = self.issues.get(one)
            if issue is None:
                told[one] = "it is gone"
            elif one in self.unclaimable:
                told[one] = self.unclaimable[one]
            elif self._is_mine(issue):
                told[one] = None
            elif issue.status != "open" or issue.assignee not in ("", ACTOR):
                told[one] = f"it is {issue.status}"
            else:
                self.issues[one] = replace(issue, status="in_progress", assignee=who)
                told[one] = None if who == ACTOR else f"{who} has it"
        return told

    async def hand_back(self, ids: Sequence[str]) -> None:
        await self._call("hand_back")
        for one in ids:
            if one in self.kept:
                raise self.kept[one]
        for one in ids:
            if one in self.issues and self._is_mine(self.issues[one]):
                self.issues[one] = replace(self.issues[one], status="open", assignee="")

    async def tell(self, report: Report) -> None:
        await self._call(f"tell {report.issue_id}")
        if report.issue_id in self.deaf:
            raise self.deaf[report.issue_id]
        issue = self.issues.get(report.issue_id)
        said = calls(report, issue, actor=ACTOR)
        if issue is not None:
            self.issues[report.issue_id] = after(issue, said)

    async def changed(self) -> bool:
        try:
            async with asyncio.timeout(_POLL_SECONDS):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True
