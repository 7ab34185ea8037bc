"""What follows from a look at a source, and which issues are claimed ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sources.drawn import ACTOR, TASK, an_issue, issues, taking
from ygg.fleet import ANSWERED
from ygg.lifecycle import accepted
from ygg.sources.base import End, Issue
from ygg.sources.issues import Offer, offer
from ygg.sources.marks import Mark
from ygg.sources.plan import Edit, Look, Plan, Withdrawal, claims, plan, unexplained, unneeded
from ygg.tasks import Draft, Held, Status, Task

pytestmark = pytest.mark.pure

FREE = an_issue()
OURS = an_issue(status="in_progress", assignee=ACTOR)
FAILED = Mark(End.FAILED, TASK, 1)
#: A block that ygg told, and what a person made of it.
BLOCKED = an_issue(status="blocked", assignee=ACTOR, metadata={**FAILED.metadata})
REOPENED = replace(BLOCKED, status="open")


def task_of(issue: Issue, task_id: str = TASK, **fields: Any) -> Task:
    return replace(accepted(offer(issue, taking()).draft(task_id, "beads"), 1), **fields)


WAITS = task_of(FREE)
READY = task_of(FREE, held=None)
RUNS = task_of(FREE, held=None, status=Status.IN_PROGRESS, owner="d", attempt=1)
STUCK = task_of(FREE, held=None, status=Status.BLOCKED, owner="d", attempt=1, error="HTTP 500")


def looked(*ready: Issue, mine: Sequence[Issue] = (), **shown: Issue | None) -> Look:
    return Look(
        ready=ready, mine=mine, shown={one.replace("_", "-"): i for one, i in shown.items()}
    )


def planned(look: Look, *live: Task, **ends: Mark) -> Plan:
    return plan(look, live, taking(), {one.replace("_", "-"): mark for one, mark in ends.items()})


# -- stories -----------------------------------------------------------------------------------


def test_a_ready_issue_becomes_a_task_once() -> None:
    found = planned(looked(FREE, FREE))
    assert found == Plan(add=(offer(FREE, taking()),))
    assert planned(looked(FREE), WAITS).is_empty


@pytest.mark.parametrize(
    "task", [WAITS, READY, RUNS, STUCK], ids=["waits", "ready", "runs", "stuck"]
)
def test_nothing_follows_from_an_issue_that_can_not_be_read(task: Task) -> None:
    bad = an_issue(title="", status="", labels=(), fault="priority: 9")
    other = an_issue(id="bd-2")
    for look in (looked(bad, other), looked(other, mine=[bad]), looked(other, bd_1=bad)):
        assert planned(look, task) == Plan(add=(offer(other, taking()),))
        assert planned(look) == Plan(add=(offer(other, taking()),))
    assert unexplained([bad], [], [task]) == (), "it would be shown as bad as it is listed"


def test_what_waits_follows_its_issue() -> None:
    edited = replace(FREE, title="Prove it", priority=0, labels=("reasoning",))
    edit = Edit(TASK, offer(edited, taking()))
    assert planned(looked(edited), WAITS) == Plan(edit=(edit,))
    claimed = replace(edited, status="in_progress", assignee=ACTOR)
    assert planned(looked(mine=[claimed]), READY) == Plan(hold=(TASK,), edit=(edit,)), (
        "it must not start as the old type while it changes"
    )
    assert planned(looked(edited), RUNS).is_empty, "what runs is not touched"


@pytest.mark.parametrize(
    ("issue", "why"),
    [
        (None, "is gone"),
        (replace(FREE, status="closed"), "is closed"),
        (replace(FREE, status="deferred"), "is deferred"),
        (replace(FREE, status="blocked"), "is blocked"),
        (FREE, "waits for another issue, or for its time"),
        (replace(FREE, assignee="alice"), "is alice's"),
        (replace(FREE, status="in_progress", assignee="al\x1bice"), "is al\ufffdice's"),
        (replace(FREE, labels=("urgent",)), "has no label that means a type, and none"),
        (replace(FREE, labels=("code", ANSWERED)), "was answered"),
    ],
)
def test_what_is_no_longer_for_us_is_withdrawn_unless_it_runs(
    issue: Issue | None, why: str
) -> None:
    for waiting in (WAITS, READY, replace(WAITS, held=Held.BY_HAND)):
        found = planned(looked(bd_1=issue), waiting)
        assert [one.task_id for one in found.withdraw] == [TASK]
        assert found.withdraw[0].why.startswith(why)
        assert replace(found, withdraw=()).is_empty
    assert planned(looked(bd_1=issue), RUNS).is_empty


def test_the_last_word_on_an_issue_counts() -> None:
    assert planned(looked(FREE, mine=[OURS]), WAITS).is_empty
    assert planned(looked(FREE, mine=[OURS], bd_1=None), WAITS).withdraw == (
        Withdrawal(TASK, "is gone"),
    )
    assert planned(looked(FREE, bd_1=replace(FREE, status="closed"))).is_empty


def test_of_what_nobody_asked_nothing_is_concluded() -> None:
    assert planned(looked(), WAITS, replace(STUCK, id="b", source_id="bd-2")).is_empty


def test_what_must_be_asked_one_by_one_is_what_no_list_has_and_does_not_run() -> None:
    other = [replace(t, source_id=f"bd-{i}") for i, t in enumerate([WAITS, READY, STUCK, RUNS])]
    assert unexplained([an_issue(id="bd-0")], [], other) == ("bd-1", "bd-2")
    assert unexplained([], [an_issue(id="bd-1")], other) == ("bd-0", "bd-2")


def test_what_is_claimed_and_then_deferred_is_handed_back_until_its_time() -> None:
    look = Look(ready=(), mine=[replace(OURS, deferred_until=50.0)], at=49.0)
    withdrawn = Plan(withdraw=(Withdrawal(TASK, "is deferred"),), hand_back=("bd-1",))
    assert plan(look, [READY], taking()) == withdrawn
    assert plan(look, [RUNS], taking()).is_empty, "what runs is not touched"
    assert plan(replace(look, at=50.0), [READY], taking()).is_empty


def test_a_claim_of_what_is_no_longer_wanted_is_handed_back() -> None:
    unlabelled = replace(OURS, labels=())
    found = planned(looked(mine=[unlabelled]), READY)
    assert [one.task_id for one in found.withdraw] == [TASK]
    assert found.hand_back == ("bd-1",)
    by_hand = replace(WAITS, held=Held.BY_HAND)
    assert planned(looked(mine=[OURS]), by_hand) == Plan(hand_back=("bd-1",))


def test_what_waits_as_ours_and_is_not_is_claimed_anew() -> None:
    assert planned(looked(FREE), READY) == Plan(hold=(TASK,))
    assert planned(looked(mine=[OURS]), READY).is_empty
    assert planned(looked(mine=[OURS]), WAITS).is_empty, "the claim is told again: it stands"


def test_a_blocked_issue_that_a_person_opens_is_a_retry() -> None:
    assert planned(looked(REOPENED), STUCK) == Plan(retry=(TASK,))
    assert planned(looked(bd_1=BLOCKED), STUCK).is_empty
    noted = replace(FREE, notes=FAILED.line("HTTP 500"))
    assert planned(looked(noted), STUCK) == Plan(retry=(TASK,))
    better = replace(REOPENED, description="In Rust.")
    assert planned(looked(better), STUCK) == Plan(
        retry=(TASK,), edit=(Edit(TASK, offer(better, taking())),)
    )


def test_an_old_answer_retries_nothing() -> None:
    assert planned(looked(FREE), STUCK).is_empty, "it does not show the block"
    earlier = replace(REOPENED, metadata=Mark(End.FAILED, TASK, 0).metadata)
    assert planned(looked(earlier), STUCK).is_empty, "it shows the one before"


def test_a_blocked_task_ends_with_its_issue() -> None:
    for issue in (None, replace(BLOCKED, status="closed"), replace(BLOCKED, assignee="alice")):
        assert len(planned(looked(bd_1=issue), STUCK).withdraw) == 1
    for issue in (replace(BLOCKED, status="deferred"), REOPENED, replace(OURS, labels=())):
        assert planned(looked(bd_1=issue), STUCK).is_empty


def test_a_retry_by_hand_waits_until_its_issue_was_told() -> None:
    retried = replace(STUCK, status=Status.OPEN, held=Held.FOR_SOURCE)
    assert planned(looked(bd_1=BLOCKED), retried, bd_1=Mark(End.RETRIED, TASK, 1)).is_empty
    assert planned(looked(bd_1=BLOCKED), retried).withdraw == (Withdrawal(TASK, "is blocked"),)


def test_a_closed_issue_that_a_person_opens_runs_again_as_another_task() -> None:
    done = Mark(End.DONE, TASK, 1)
    again = replace(FREE, metadata=done.metadata)
    assert planned(looked(again), bd_1=done).add == (offer(again, taking()),)
    assert planned(looked(again)).add == (offer(again, taking()),)


def test_what_is_yet_to_be_told_of_its_end_is_not_run_again() -> None:
    done = Mark(End.DONE, TASK, 1)
    assert planned(looked(FREE), bd_1=done).is_empty, "an answer from before the claim"
    assert planned(looked(mine=[OURS]), bd_1=done).is_empty, "not handed back: it is closed soon"
    half = replace(OURS, metadata=done.metadata)
    assert planned(looked(mine=[half]), bd_1=done).is_empty


def test_what_is_left_of_an_earlier_life_is_handed_back() -> None:
    assert planned(looked(mine=[OURS])) == Plan(hand_back=("bd-1",))
    assert planned(looked(mine=[replace(OURS, assignee="alice")])).is_empty
    assert planned(looked(mine=[OURS]), RUNS).is_empty


def test_claims_of_what_waits_are_not_needed_once_the_process_ends() -> None:
    mine = [replace(OURS, id=f"bd-{i}") for i in range(5)]
    live = [replace(t, source_id=f"bd-{i}") for i, t in enumerate([WAITS, READY, STUCK, RUNS])]
    assert unneeded(mine, live, ACTOR) == ("bd-0", "bd-1")
    assert unneeded(mine, live, "another") == ()


# -- for all -----------------------------------------------------------------------------------


@st.composite
def tasks(draw: st.DrawFn, issue: Issue, task_id: str) -> Task:
    """A live task of an issue, perhaps of the time before it was edited."""
    said = draw(st.just(issue) | issues(id=issue.id))
    task = task_of(said, task_id, attempt=draw(st.integers(0, 2)))
    status = draw(st.sampled_from([Status.OPEN, Status.IN_PROGRESS, Status.BLOCKED]))
    held = draw(st.sampled_from([None, Held.FOR_SOURCE, Held.BY_HAND]))
    return replace(task, status=status, held=held if status is Status.OPEN else None)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Look, list[Task], dict[str, Mark]]:
    known = draw(st.lists(issues(), unique_by=lambda issue: issue.id, max_size=5))
    live, ends = [], {}
    ready, mine, shown = [], [], {}
    for number, issue in enumerate(known):
        task_id = f"06gq00000000000{number:03}"
        if draw(st.booleans()):
            live.append(draw(tasks(issue, task_id)))
        mark = Mark(draw(st.sampled_from(End)), task_id, draw(st.integers(0, 2)))
        if draw(st.booleans()):
            ends[issue.id] = mark
        if draw(st.booleans()):
            issue = replace(issue, metadata=mark.metadata)  # noqa: PLW2901 - as it was told
        if issue.status == "open" and draw(st.booleans()):
            ready.append(issue)
        if issue.status == "in_progress" and issue.assignee == ACTOR:
            mine.append(issue)
        if draw(st.booleans()):
            shown[issue.id] = draw(st.none() | st.just(issue))
    return Look(ready=ready, mine=mine, shown=shown), live, ends


def carried_out(found: Plan, live: Sequence[Task]) -> list[Task]:
    """The live tasks once the store did what was planned; refuses what a store would."""
    after = {task.id: task for task in live}
    for task_id in found.hold:
        assert after[task_id].status is Status.OPEN
        after[task_id] = replace(after[task_id], held=Held.FOR_SOURCE)
    for task_id in found.retry:
        assert after[task_id].status is Status.BLOCKED
        after[task_id] = replace(after[task_id], status=Status.OPEN, held=Held.FOR_SOURCE)
    for task_id, said in found.edit:
        assert after[task_id].status is Status.OPEN
        assert said.type == after[task_id].type or after[task_id].held is not None
        after[task_id] = edited(after[task_id], said)
    for withdrawal in found.withdraw:
        assert after[withdrawal.task_id].status is not Status.IN_PROGRESS
        del after[withdrawal.task_id]
    for number, said in enumerate(found.add):
        task_id = f"06hz00000000000{number:03}"
        after[task_id] = accepted(said.draft(task_id, "beads"), 100 + number)
    return list(after.values())


def edited(task: Task, said: Offer) -> Task:
    return replace(
        task, title=said.title, description=said.description, labels=said.labels,
        type=said.type, priority=said.priority,
    )  # fmt: skip


@given(worlds())
def test_carried_out_it_asks_the_store_for_nothing_more(
    world: tuple[Look, list[Task], dict[str, Mark]],
) -> None:
    look, live, ends = world
    found = plan(look, live, taking(), ends)
    again = plan(look, carried_out(found, live), taking(), ends)
    withdrawn = {task.source_id for task in live} - {
        task.source_id for task in carried_out(found, live)
    }
    # What it took back is without a task now: still to be handed back, or, where a person opened
    # it in between, a new task.
    assert replace(again, hand_back=(), add=()).is_empty
    assert {said.issue_id for said in again.add} <= withdrawn
    assert set(again.hand_back) <= {*found.hand_back, *withdrawn}


@given(worlds())
def test_there_is_one_live_task_an_issue_and_what_runs_is_not_touched(
    world: tuple[Look, list[Task], dict[str, Mark]],
) -> None:
    look, live, ends = world
    found = plan(look, live, taking(), ends)
    after = carried_out(found, live)
    of_issues = [task.source_id for task in after]
    assert len(set(of_issues)) == len(of_issues)
    running = [task for task in live if task.status is Status.IN_PROGRESS]
    assert all(task in after for task in running)
    assert {task.source_id for task in running}.isdisjoint(found.hand_back)


@given(worlds())
def test_only_what_is_in_progress_in_our_name_is_handed_back(
    world: tuple[Look, list[Task], dict[str, Mark]],
) -> None:
    look, live, ends = world
    known = {**{i.id: i for i in (*look.ready, *look.mine)}, **look.shown}
    for one in plan(look, live, taking(), ends).hand_back:
        issue = known[one]
        assert issue is not None
        assert (issue.status, issue.assignee) == ("in_progress", ACTOR)


@given(worlds())
def test_all_that_is_ready_and_ours_to_take_has_a_task_after(
    world: tuple[Look, list[Task], dict[str, Mark]],
) -> None:
    look, live, _ = world
    after = {task.source_id for task in carried_out(plan(look, live, taking()), live)}
    for issue in look.ready:
        wanted = (
            issue.issue_type != "epic"
            and {"code-generation", "code", "reasoning"} & set(issue.labels)
            and ANSWERED not in issue.labels
            and issue.assignee in ("", ACTOR)
            and (issue.title.strip() or issue.description.strip())
            and look.shown.get(issue.id, issue) is not None
        )
        assert not wanted or issue.id in after


# -- claims ------------------------------------------------------------------------------------

ROUTES: Mapping[str, Sequence[str]] = {
    "reasoning": ["surtr"], "text-processing": ["fenrir", "surtr"], "general": ["fenrir"],
    "code-generation": [],
}  # fmt: skip
SLOTS = st.fixed_dictionaries({"surtr": st.integers(0, 3), "fenrir": st.integers(0, 3)})


@st.composite
def backlogs(draw: st.DrawFn) -> list[Task]:
    found = []
    for number in range(draw(st.integers(0, 12))):
        draft = Draft(
            id=f"t{number}", title="t", type=draw(st.sampled_from([*ROUTES, "gone"])),
            priority=draw(st.integers(0, 4)), created_at=draw(st.sampled_from([1.0, 2.0])),
            source="beads", source_id=f"bd-{number}",
            held=draw(st.sampled_from([None, Held.FOR_SOURCE, Held.BY_HAND])),
        )  # fmt: skip
        status = draw(st.sampled_from([Status.OPEN, Status.OPEN, Status.IN_PROGRESS]))
        found.append(replace(accepted(draft, number), status=status, run_next=draw(st.booleans())))
    return found


@given(backlogs(), SLOTS)
def test_claims_are_made_ahead_in_order_for_as_many_as_there_are_slots(
    live: list[Task], slots: dict[str, int]
) -> None:
    found = claims(live, ROUTES, slots)
    assert len(found) <= sum(slots.values())
    assert len(set(found)) == len(found)
    by_issue = {str(task.source_id): task for task in live}
    chosen = [by_issue[one] for one in found]
    assert all(t.status is Status.OPEN and t.held is Held.FOR_SOURCE for t in chosen)
    assert [t.rank for t in chosen] == sorted(t.rank for t in chosen)
    for task in chosen:
        for other in live:
            if other.type == task.type and other.rank < task.rank:
                passed = other.status is Status.OPEN and other.held is Held.FOR_SOURCE
                assert not passed or other in chosen, "a claim went past it"


@given(backlogs(), SLOTS)
def test_no_host_is_left_without_a_claimed_task_that_it_may_run(
    live: list[Task], slots: dict[str, int]
) -> None:
    found = set(claims(live, ROUTES, slots))
    for host in [host for host, limit in slots.items() if limit]:
        mine = [t for t in live if t.status is Status.OPEN and host in ROUTES.get(t.type, ())]
        waiting = [t for t in mine if t.held is not Held.BY_HAND]
        if waiting:
            assert any(t.held is None or t.source_id in found for t in waiting)


@given(backlogs(), SLOTS)
def test_once_all_are_claimed_there_is_none_to_claim(
    live: list[Task], slots: dict[str, int]
) -> None:
    found = set(claims(live, ROUTES, slots))
    after = [replace(t, held=None) if t.source_id in found else t for t in live]
    assert claims(after, ROUTES, slots) == ()


def test_an_urgent_one_is_claimed_however_many_others_are() -> None:
    claimed = [
        replace(READY, id=f"t{i}", source_id=f"bd-{i}", type="reasoning", sequence=i)
        for i in range(9)
    ]
    urgent = replace(WAITS, id="u", source_id="bd-u", type="reasoning", priority=0)
    assert claims([*claimed, urgent], ROUTES, {"surtr": 2}) == ("bd-u",)
    late = replace(urgent, priority=4)
    assert claims([*claimed, late], ROUTES, {"surtr": 2}) == ()
