"""Whole lives of issues: a tracker, people who use it, answers that are old, calls that break off.

The rules of planning and telling are held together here: whatever people do in between, an issue is
run no more often than somebody wanted, nobody's issue is touched, and in the end all is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.sources.drawn import ACTOR, after, an_issue, taking
from ygg import lifecycle
from ygg.fleet import ANSWERED
from ygg.sources.base import Issue, Report
from ygg.sources.issues import left_alone
from ygg.sources.marks import Mark, mark_of, settled
from ygg.sources.plan import Look, Plan, claims, plan, unexplained
from ygg.sources.telling import calls, report_of
from ygg.tasks import Fence, Held, Outcome, Status, Task

pytestmark = pytest.mark.pure

ROUTES = {"code-generation": ["a"], "reasoning": ["a", "b"]}
SLOTS = {"a": 2, "b": 1}
IDS = [f"bd-{number}" for number in range(4)]
SOME = st.sampled_from(IDS)
LABELS = st.sampled_from(["code-generation", "reasoning", "urgent", ANSWERED])


class Tracker:
    """Issues as bd has them, and what it said at each time before."""

    def __init__(self) -> None:
        self.issues: dict[str, Issue] = {}
        #: Those that depend on others.
        self.dependent: set[str] = set()
        #: Whose telling broke off: which end, and how the issue would be had it not. Until somebody
        #: else writes to it.
        self.as_if_whole: dict[str, tuple[Mark, bool, Issue]] = {}
        self._past: list[tuple[list[Issue], list[Issue]]] = []
        self._seen = 0

    def write(self, issue: Issue) -> None:
        self._past.append(self._lists())
        self.issues[issue.id] = issue
        self.as_if_whole.pop(issue.id, None)

    def write_as_ygg(self, issue: Issue) -> None:
        """What is somebody's stays as they have it; comments and metadata may be added."""
        before = self.issues[issue.id]
        if before.assignee not in ("", ACTOR):
            comments, metadata = before.comments, before.metadata
            assert replace(issue, comments=comments, metadata=metadata) == before
        self.write(issue)

    def delete(self, one: str) -> None:
        self._past.append(self._lists())
        del self.issues[one]
        self.as_if_whole.pop(one, None)

    def lists(self, *, late: int) -> tuple[list[Issue], list[Issue]]:
        """What is ready and what is ours, as of so many writes ago; never older than before."""
        self._past.append(self._lists())
        self._seen = max(self._seen, len(self._past) - 1 - late)
        return self._past[self._seen]

    def _lists(self) -> tuple[list[Issue], list[Issue]]:
        ready = [
            issue
            for issue in self.issues.values()
            if issue.status == "open" and issue.id not in self.dependent
        ]
        mine = [
            issue
            for issue in self.issues.values()
            if issue.status == "in_progress" and issue.assignee == ACTOR
        ]
        return ready, mine


class Lives(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.tracker = Tracker()
        self.tasks: dict[str, Task] = {}
        #: What the store has for the tracker: one row a task, of how it is now.
        self.posted: dict[str, Task] = {}
        self.ends: dict[str, Mark] = {}
        self.runs = dict.fromkeys(IDS, 0)
        #: How often somebody may have wanted an issue to run again.
        self.wishes = dict.fromkeys(IDS, 1)
        self.number = 0

    # -- people --------------------------------------------------------------------------------

    @rule(one=SOME, labels=st.sets(LABELS, max_size=2), priority=st.integers(0, 4))
    def create(self, one: str, labels: set[str], priority: int) -> None:
        if one not in self.tracker.issues:
            self.wishes[one] += 1
            self.tracker.write(an_issue(id=one, labels=tuple(sorted(labels)), priority=priority))

    @rule(
        one=SOME, status=st.sampled_from(["open", "blocked", "deferred", "closed", "in_progress"])
    )
    def set_status(self, one: str, status: str) -> None:
        self.changed(one, status=status)

    @rule(one=SOME, who=st.sampled_from(["", "alice", ACTOR]))
    def assign(self, one: str, who: str) -> None:
        self.changed(one, assignee=who)

    @rule(one=SOME)
    def set_free(self, one: str) -> None:
        self.changed(one, status="open", assignee="")

    @rule(one=SOME, label=LABELS)
    def label(self, one: str, label: str) -> None:
        if one in self.tracker.issues:
            labels = self.tracker.issues[one].labels
            changed = (
                [old for old in labels if old != label] if label in labels else [*labels, label]
            )
            self.changed(one, labels=tuple(changed))

    @rule(one=SOME, title=st.sampled_from(["Fix it", "Why?"]), notes=st.sampled_from(["", "mine"]))
    def edit(self, one: str, title: str, notes: str) -> None:
        if one in self.tracker.issues:
            self.tracker.write(replace(self.tracker.issues[one], title=title, notes=notes))

    @rule(one=SOME)
    def depend(self, one: str) -> None:
        self.tracker.dependent ^= {one}

    @rule(one=SOME)
    def delete(self, one: str) -> None:
        if one in self.tracker.issues:
            self.tracker.delete(one)

    def changed(self, one: str, **fields: object) -> None:
        if one in self.tracker.issues:
            self.wishes[one] += 1
            self.tracker.write(replace(self.tracker.issues[one], **fields))  # type: ignore[arg-type]  # fields of an Issue

    # -- people at ygg -------------------------------------------------------------------------

    @rule(one=SOME)
    def retry(self, one: str) -> None:
        task = self.live(one)
        if task is not None and task.status is Status.BLOCKED:
            self.wishes[one] += 1
            self.keep(replace(lifecycle.retried(task, 0.0), held=Held.FOR_SOURCE), post=True)

    @rule(one=SOME)
    def cancel(self, one: str) -> None:
        task = self.live(one)
        if task is not None and task.status is not Status.IN_PROGRESS:
            self.keep(lifecycle.cancelled(task, 0.0), post=True)

    @rule(one=SOME)
    def hold_or_release(self, one: str) -> None:
        task = self.live(one)
        if task is not None and task.status is Status.OPEN:
            by_hand = task.held is Held.BY_HAND
            self.keep(replace(task, held=Held.FOR_SOURCE if by_hand else Held.BY_HAND))

    # -- ygg -----------------------------------------------------------------------------------

    @rule(late=st.sampled_from([0, 0, 0, 1, 2, 5]))
    def look(self, late: int = 0) -> None:
        ready, mine = self.tracker.lists(late=late)
        live = self.all_live()
        shown = {one: self.tracker.issues.get(one) for one in unexplained(ready, mine, live)}
        look = Look(ready=ready, mine=mine, shown=shown)
        for one, issue in look.issues.items():
            is_posted = any(task.source_id == one for task in self.posted.values())
            if issue is None or is_posted or one not in self.ends:
                continue
            if settled(issue, self.ends[one], ACTOR):
                del self.ends[one]
        self.carry_out(plan(look, live, taking(), self.ends))

    def carry_out(self, found: Plan) -> None:
        for task_id in found.hold:
            self.keep(replace(self.tasks[task_id], held=Held.FOR_SOURCE))
        for task_id in found.retry:
            self.keep(
                replace(lifecycle.retried(self.tasks[task_id], 0.0), held=Held.FOR_SOURCE),
                post=True,
            )
        for task_id, said in found.edit:
            task = self.tasks[task_id]
            self.keep(replace(task, title=said.title, description=said.description,
                              labels=said.labels, type=said.type, priority=said.priority))  # fmt: skip
        for task_id, _ in found.withdraw:
            assert self.tasks[task_id].status is not Status.IN_PROGRESS
            self.keep(lifecycle.cancelled(self.tasks[task_id], 0.0))
        for said in found.add:
            self.number += 1
            draft = said.draft(f"06gq00000000000{self.number:03}", "beads")
            self.keep(lifecycle.accepted(draft, self.number))
        for one in found.hand_back:
            issue = self.tracker.issues.get(one)
            if issue is not None and (issue.status, issue.assignee) == ("in_progress", ACTOR):
                self.tracker.write_as_ygg(replace(issue, status="open", assignee=""))

    @rule()
    def claim(self) -> None:
        for one in claims(self.all_live(), ROUTES, SLOTS):
            issue, task = self.tracker.issues.get(one), self.live(one)
            assert task is not None
            if issue is None or issue.assignee not in ("", ACTOR):
                continue
            if issue.status == "open":
                self.tracker.write_as_ygg(replace(issue, status="in_progress", assignee=ACTOR))
            elif (issue.status, issue.assignee) != ("in_progress", ACTOR):
                continue
            self.keep(replace(task, held=None))

    @rule()
    def start(self) -> None:
        for task in self.all_live():
            if task.status is Status.OPEN and task.held is None:
                after = lifecycle.claimed(task, owner="d", host="a", now=0.0)
                assert after is not None
                self.runs[str(task.source_id)] += 1
                self.keep(after)

    @rule(one=SOME, end=st.sampled_from(["done", "failed", "cancelled", "reopened"]))
    def end(self, one: str, end: str) -> None:
        task = self.live(one)
        if task is None or task.status is not Status.IN_PROGRESS:
            return
        fence = Fence("d", task.attempt)
        if end == "failed":
            after = lifecycle.blocked(task, fence, error="HTTP 500", strike=False, now=0.0)
        elif end == "reopened":
            self.wishes[one] += 1
            after = lifecycle.reopened(
                task, fence, error="refused", strike=False, max_strikes=3, now=0.0
            )
        else:
            after = lifecycle.finished(
                task, fence, artifact="x.md", answer=None, outcome=Outcome(end), now=0.0
            )
        assert after is not None
        self.keep(after, post=end != "reopened")

    @rule(review=st.booleans(), broken_off=st.sampled_from([None, None, 0, 1, 2, 3]))
    def tell(self, review: bool = False, broken_off: int | None = None) -> None:
        for task_id, task in list(self.posted.items()):
            report = report_of(self.tasks[task_id], "42", model="m", review=review)
            issue = self.tracker.issues.get(str(task.source_id))
            if report is not None and issue is not None:
                self.tell_one(report, issue, broken_off)
            if broken_off is None:
                del self.posted[task_id]

    def tell_one(self, report: Report, issue: Issue, broken_off: int | None) -> None:
        planned = calls(report, issue, actor=ACTOR)
        found, same = after(issue, planned[:broken_off]), (mark_of(report), report.review)
        begun = self.tracker.as_if_whole.get(issue.id)
        if begun is None or begun[:2] != same:
            begun = (*same, after(issue, planned))
        if found != issue:
            self.tracker.write_as_ygg(found)
        if broken_off is None:
            assert found == begun[2], "it ends as if it had not broken off"
        else:
            self.tracker.as_if_whole[issue.id] = begun

    # -- what always holds ---------------------------------------------------------------------

    @invariant()
    def an_issue_has_one_live_task(self) -> None:
        of = [task.source_id for task in self.all_live()]
        assert len(set(of)) == len(of)

    @invariant()
    def nothing_runs_more_often_than_somebody_wanted(self) -> None:
        for one in IDS:
            assert self.runs[one] <= self.wishes[one], (one, self.runs[one], self.wishes[one])

    def teardown(self) -> None:
        """People go home, bd answers with what is: all is run and told, and then there is peace."""
        for _ in range(8):
            self.tell()
            self.look()
            self.claim()
            self.start()
            for one in IDS:
                self.end(one, "done")
        self.tell()
        self.look()
        assert not self.posted
        for task in self.all_live():
            assert task.status is Status.BLOCKED or task.held is Held.BY_HAND, task
        ready, mine = self.tracker.lists(late=0)
        assert not mine, "in progress in our name, and nothing runs"
        held = {task.source_id for task in self.all_live() if task.held is Held.BY_HAND}
        for issue in ready:
            is_wanted = left_alone(issue, taking()) is None and issue.assignee in ("", ACTOR)
            assert not is_wanted or issue.id in held, issue
        writes = len(self.tracker.issues), dict(self.tracker.issues)
        self.tell()
        self.look()
        self.claim()
        assert (len(self.tracker.issues), self.tracker.issues) == writes, "peace"

    # -- helpers -------------------------------------------------------------------------------

    def keep(self, task: Task, *, post: bool = False) -> None:
        self.tasks[task.id] = task
        if post:
            self.posted[task.id] = task
            report = report_of(task, "", model="", review=False)
            assert report is not None
            self.ends[report.issue_id] = mark_of(report)

    def all_live(self) -> Sequence[Task]:
        return [task for task in self.tasks.values() if task.status is not Status.CLOSED]

    def live(self, one: str) -> Task | None:
        return next((task for task in self.all_live() if task.source_id == one), None)


TestLives = Lives.TestCase


@pytest.mark.parametrize("review", [False, True], ids=["close", "review"])
@pytest.mark.parametrize("broken_off", range(4))
@pytest.mark.parametrize("who", ["", ACTOR], ids=["nobodys", "ours"])
def test_what_was_opened_while_it_ran_and_told_in_two_parts_runs_once(
    review: bool, broken_off: int, who: str
) -> None:
    lives, one = Lives(), IDS[0]
    lives.create(one, {"reasoning"}, 2)
    for step in (lives.look, lives.claim, lives.start):
        step()
    lives.changed(one, status="open", assignee=who)
    lives.end(one, "done")
    lives.tell(review=review, broken_off=broken_off)
    lives.look()
    lives.tell(review=review)
    for step in (lives.look, lives.claim, lives.start):
        step()
    assert lives.runs[one] == 1
    issue = lives.tracker.issues[one]
    assert (issue.status, issue.assignee) == (("open", "") if review else ("closed", who))
