"""Each step of a task's life from each status: what becomes of it, or why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from typing import Final

import pytest

from ygg.lifecycle import (
    Refused,
    accepted,
    blocked,
    cancelled,
    claimed,
    finished,
    held,
    prioritised,
    released,
    reopened,
    rescued,
    retried,
)
from ygg.tasks import Draft, Fence, Held, Outcome, Task

pytestmark = pytest.mark.pure

DRAFT: Final = Draft(id="t1", title="one", type="general", created_at=5.0)


def running(task: Task) -> Task:
    after = claimed(task, owner="d1", host="skadi", now=10.0)
    assert after is not None
    return after


def finish(task: Task, fence: Fence, outcome: Outcome = Outcome.DONE) -> Task | None:
    return finished(task, fence, artifact="a", answer={"tokens": 1}, outcome=outcome, now=20.0)


def block(task: Task, fence: Fence, *, strike: bool = True) -> Task | None:
    return blocked(task, fence, error="bad", strike=strike, now=20.0)


def reopen(task: Task, fence: Fence, *, strike: bool = True, max_strikes: int = 3) -> Task | None:
    return reopened(task, fence, error="lost", strike=strike, max_strikes=max_strikes, now=20.0)


def there(task: Task | None) -> Task:
    assert task is not None
    return task


OPEN: Final = accepted(DRAFT, 7)
RUNNING: Final = running(OPEN)
#: A task in every situation that steps tell apart. All but the first were claimed by d1 once.
BEGIN: Final[Mapping[str, Task]] = {
    "new": OPEN,
    "held": held(OPEN),
    "in_progress": RUNNING,
    "reopened": there(reopen(RUNNING, RUNNING.fence)),
    "blocked": there(block(RUNNING, RUNNING.fence)),
    "done": there(finish(RUNNING, RUNNING.fence)),
    "cancelled": there(finish(RUNNING, RUNNING.fence, Outcome.CANCELLED)),
}
D1: Final = Fence("d1", 1)

STEPS: Final[Mapping[str, Callable[[Task], Task | None]]] = {
    "claim": lambda task: claimed(task, owner="d1", host="skadi", now=30.0),
    "claim by another": lambda task: claimed(task, owner="d2", host="skadi", now=30.0),
    "finish": lambda task: finish(task, D1),
    "cancel the run": lambda task: finish(task, D1, Outcome.CANCELLED),
    "block": lambda task: block(task, D1),
    "reopen": lambda task: reopen(task, D1),
    "reopen with the last strike": lambda task: reopen(task, D1, max_strikes=1),
    "cancel": lambda task: cancelled(task, 30.0),
    "retry": lambda task: retried(task, 30.0),
    "prioritise": lambda task: prioritised(task, priority=0, run_next=True),
    "hold": held,
    "release": lambda task: released(task, Held.BY_HAND, 30.0),
}

SAME, NO, REFUSED = "the same object", "no: the fence moved on", "refused"
#: A step that is not named here, from a situation that is not named here, is `otherwise`.
EXPECTED: Final[Mapping[str, tuple[Mapping[str, str], str]]] = {
    "claim": (
        {"new": "in_progress", "reopened": "in_progress", "in_progress": SAME},
        NO,
    ),
    "claim by another": ({"new": "in_progress", "reopened": "in_progress"}, NO),
    "finish": ({"in_progress": "closed", "done": SAME}, NO),
    "cancel the run": ({"in_progress": "closed", "cancelled": SAME}, NO),
    "block": ({"in_progress": "blocked", "blocked": SAME}, NO),
    "reopen": ({"in_progress": "open", "reopened": SAME, "blocked": SAME}, NO),
    "reopen with the last strike": (
        {"in_progress": "blocked", "reopened": SAME, "blocked": SAME},
        NO,
    ),
    "cancel": (
        {
            "new": "closed",
            "held": "closed",
            "reopened": "closed",
            "blocked": "closed",
            "cancelled": SAME,
        },
        REFUSED,
    ),
    "retry": ({"blocked": "open"}, REFUSED),
    "prioritise": ({"new": "open", "held": "open", "reopened": "open"}, REFUSED),
    "hold": ({"new": "open", "held": SAME, "reopened": "open"}, REFUSED),
    "release": ({"held": "open"}, SAME),
}


@pytest.mark.parametrize(("situation", "step"), list(product(BEGIN, STEPS)))
def test_every_step_from_every_situation(situation: str, step: str) -> None:
    task = BEGIN[situation]
    named, otherwise = EXPECTED[step]
    expected = named.get(situation, otherwise)
    if expected is REFUSED:
        with pytest.raises(Refused, match="task t1 is"):
            STEPS[step](task)
        return
    after = STEPS[step](task)
    if expected is NO:
        assert after is None
    elif expected is SAME:
        assert after is task
    else:
        assert after is not None
        assert after.status.value == expected


@pytest.mark.parametrize("fence", [Fence("d2", 1), Fence("d1", 2), Fence("d1", 0), Fence("", 1)])
@pytest.mark.parametrize("situation", BEGIN)
def test_a_fence_that_moved_on_changes_nothing(situation: str, fence: Fence) -> None:
    task = BEGIN[situation]
    assert finish(task, fence) is None
    assert block(task, fence) is None
    assert reopen(task, fence) is None


@pytest.mark.parametrize("step", ["claim", "finish", "cancel the run", "block", "reopen"])
def test_a_step_whose_answer_was_lost_says_yes_again_and_changes_nothing(step: str) -> None:
    task = OPEN if step == "claim" else RUNNING
    once = there(STEPS[step](task))
    assert once is not task
    assert STEPS[step](once) is once


def test_the_next_attempt_has_a_fence_of_its_own() -> None:
    again = there(claimed(BEGIN["reopened"], owner="d2", host="surtr", now=40.0))
    assert (again.attempt, again.owner, again.host, again.started_at) == (2, "d2", "surtr", 40.0)
    assert again.error is None
    assert finish(again, D1) is None, "the first attempt comes too late"
    assert there(finish(again, again.fence)).status.value == "closed"


def test_a_finish_keeps_what_it_was_told() -> None:
    done = BEGIN["done"]
    assert (done.outcome, done.artifact, done.answer, done.ended_at, done.error) == (
        Outcome.DONE,
        "a",
        {"tokens": 1},
        20.0,
        None,
    )


def test_what_a_person_cancelled_since_is_not_finished() -> None:
    assert finish(cancelled(BEGIN["reopened"], 30.0), D1) is None


def test_the_last_strike_blocks_and_says_why() -> None:
    task = OPEN
    for strikes in (1, 2):
        run = running(task)
        task = there(reopen(run, run.fence))
        assert (task.status.value, task.strikes, task.error) == ("open", strikes, "lost")
    run = running(task)
    task = there(reopen(run, run.fence))
    assert (task.status.value, task.strikes) == ("blocked", 3)
    assert task.error == "3 attempts ended badly, the last: lost"


def test_without_a_strike_a_task_goes_back_as_often_as_it_takes() -> None:
    task = OPEN
    for attempt in range(1, 20):
        run = running(task)
        task = there(reopen(run, run.fence, strike=False))
        assert (task.status.value, task.strikes, task.attempt) == ("open", 0, attempt)


def test_a_retry_by_a_person_forgives_strikes_and_keeps_the_place() -> None:
    again = retried(BEGIN["blocked"], 30.0)
    assert (again.strikes, again.error, again.ended_at, again.held) == (0, None, None, None)
    assert again.rank == OPEN.rank
    assert again.attempt == 1


def test_a_retry_before_the_tasks_time_waits_for_it() -> None:
    early = replace(BEGIN["blocked"], not_before=50.0)
    assert retried(early, 49.0).held is Held.NOT_BEFORE
    assert retried(early, 50.0).held is None


def test_another_priority_keeps_created_at_and_sequence() -> None:
    moved = prioritised(OPEN, priority=0, run_next=None)
    assert (moved.priority, moved.created_at, moved.sequence, moved.run_next) == (0, 5.0, 7, False)
    assert prioritised(moved, priority=None, run_next=True).run_next
    assert prioritised(moved, priority=0, run_next=False) is moved


def test_a_release_is_for_one_reason() -> None:
    for why, other in product(Held, Held):
        task = replace(OPEN, held=why)
        after = released(task, other, 30.0)
        assert (after is task) == (why is not other)
        if why is other:
            assert after.held is None


def test_a_hold_that_ends_before_the_tasks_time_leaves_it_waiting_for_that() -> None:
    task = replace(OPEN, not_before=50.0, held=Held.BY_HAND)
    assert released(task, Held.BY_HAND, 49.0).held is Held.NOT_BEFORE
    assert released(task, Held.BY_HAND, 50.0).held is None
    waiting = replace(OPEN, not_before=50.0, held=Held.NOT_BEFORE)
    assert released(waiting, Held.NOT_BEFORE, 50.0).held is None


def test_a_rescue_sends_it_back_with_a_strike() -> None:
    after = rescued(RUNNING, max_strikes=3, once=False, now=60.0)
    assert (after.status.value, after.strikes, after.attempt) == ("open", 1, 1)
    assert after.error == "its dispatcher died while it ran"
    assert after.rank == OPEN.rank


def test_a_rescue_blocks_what_killed_its_dispatcher_too_often() -> None:
    after = rescued(replace(RUNNING, strikes=2), max_strikes=3, once=False, now=60.0)
    assert (after.status.value, after.strikes) == ("blocked", 3)


def test_a_rescue_does_not_run_twice_what_may_run_once() -> None:
    after = rescued(RUNNING, max_strikes=3, once=True, now=60.0)
    assert (after.status.value, after.strikes) == ("blocked", 1)
    assert "not run twice" in (after.error or "")


def test_what_was_accepted_is_what_was_submitted() -> None:
    draft = Draft(
        id="t2",
        title="two",
        description="d",
        labels=("x",),
        type="code",
        priority=1,
        created_at=6.0,
        key="k",
        submitter="s",
        model="m",
        system="y",
        options={"seed": 1},
        timeout=9.0,
        not_before=99.0,
        metadata={"a": 1},
        source="beads",
        source_id="b1",
        held=Held.FOR_SOURCE,
    )
    task = accepted(draft, 8)
    not_the_tasks = {"body_digest"}
    for name in set(Draft.__slots__) - not_the_tasks:
        assert getattr(task, name) == getattr(draft, name), name
    assert (task.sequence, task.status.value, task.attempt, task.strikes) == (8, "open", 0, 0)
