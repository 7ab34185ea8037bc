"""What each step of a task's life changes, once for all stores.

Pure: a step takes the task as stored and returns it changed. It returns the very same object
when the step was taken already (an answer was lost, the caller asks again), and None when the
fence has moved on and nothing may change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ygg.tasks import Draft, Fence, Held, Json, Outcome, Status, Task, check_move


class Refused(Exception):
    """A step that the task as it is does not allow."""


def accepted(draft: Draft, sequence: int) -> Task:
    return Task(
        id=draft.id,
        title=draft.title,
        description=draft.description,
        labels=draft.labels,
        type=draft.type,
        priority=draft.priority,
        created_at=draft.created_at,
        sequence=sequence,
        not_before=draft.not_before,
        held=draft.held,
        key=draft.key,
        submitter=draft.submitter,
        source=draft.source,
        source_id=draft.source_id,
        model=draft.model,
        system=draft.system,
        options=draft.options,
        timeout=draft.timeout,
        metadata=draft.metadata,
    )


def claimed(task: Task, *, owner: str, host: str, now: float) -> Task | None:
    """The next attempt begins. None: it is not open, is held, or somebody else has it."""
    if task.status is Status.IN_PROGRESS and task.owner == owner:
        return task
    if task.status is not Status.OPEN or task.held is not None:
        return None
    check_move(task.id, task.status, Status.IN_PROGRESS)
    return replace(
        task,
        status=Status.IN_PROGRESS,
        owner=owner,
        attempt=task.attempt + 1,
        host=host,
        started_at=now,
        ended_at=None,
        error=None,
    )


def _again(task: Task, fence: Fence, *targets: Status) -> Task | None:
    """The answer to a step on a task that is not in progress under this fence."""
    return task if task.fence == fence and task.status in targets else None


def _ours(task: Task, fence: Fence) -> bool:
    return task.status is Status.IN_PROGRESS and task.fence == fence


def finished(
    task: Task,
    fence: Fence,
    *,
    artifact: str | None,
    answer: Mapping[str, Json] | None,
    outcome: Outcome,
    now: float,
) -> Task | None:
    """Closed: its answer is on disk, or it was cancelled while it ran."""
    if not _ours(task, fence):
        # A person may have cancelled it since: that was not this step.
        return _again(task, fence, Status.CLOSED) if task.outcome is outcome else None
    check_move(task.id, task.status, Status.CLOSED)
    return replace(
        task,
        status=Status.CLOSED,
        outcome=outcome,
        artifact=artifact,
        answer=answer,
        ended_at=now,
        error=None,
    )


def blocked(task: Task, fence: Fence, *, error: str, strike: bool, now: float) -> Task | None:
    """A person is needed."""
    if not _ours(task, fence):
        return _again(task, fence, Status.BLOCKED)
    check_move(task.id, task.status, Status.BLOCKED)
    return replace(
        task,
        status=Status.BLOCKED,
        error=error,
        strikes=task.strikes + strike,
        ended_at=now,
    )


def reopened(
    task: Task, fence: Fence, *, error: str, strike: bool, max_strikes: int, now: float
) -> Task | None:
    """Back to its place in the order; with its last allowed strike, blocked instead."""
    if not _ours(task, fence):
        return _again(task, fence, Status.OPEN, Status.BLOCKED)
    strikes = task.strikes + strike
    if strike and strikes >= max_strikes:
        why = f"{strikes} attempts ended badly, the last: {error}"
        return blocked(task, fence, error=why, strike=True, now=now)
    check_move(task.id, task.status, Status.OPEN)
    return replace(task, status=Status.OPEN, strikes=strikes, error=error, ended_at=None)


def cancelled(task: Task, now: float) -> Task:
    """Closed without an answer, from open or blocked. Raises Refused."""
    if task.status is Status.CLOSED:
        if task.outcome is Outcome.CANCELLED:
            return task
        raise Refused(f"task {task.id} is closed already: there is nothing to cancel")
    if task.status is Status.IN_PROGRESS:
        raise Refused(f"task {task.id} is running: only the dispatcher that runs it can cancel it")
    check_move(task.id, task.status, Status.CLOSED)
    return replace(task, status=Status.CLOSED, outcome=Outcome.CANCELLED, ended_at=now, held=None)


def withdrawn(task: Task, why: str, now: float) -> Task:
    """Its source took it back: closed without an answer. Raises Refused."""
    after = cancelled(task, now)
    return after if after is task else replace(after, error=why)


def retried(task: Task, now: float) -> Task:
    """A person sends a blocked task back to its place, its strikes forgiven. Raises Refused."""
    if task.status is not Status.BLOCKED:
        why = f"task {task.id} is {task.status.value}: only a blocked task can be retried"
        if task.source is not None and task.status is Status.CLOSED:
            why += f"; its issue runs again, as a new task, once it is open: {_there(task, '--status open')}"
        raise Refused(why)
    check_move(task.id, task.status, Status.OPEN)
    after = replace(task, status=Status.OPEN, error=None, strikes=0, ended_at=None)
    return replace(after, held=_still_held(after, now))


def prioritised(task: Task, *, priority: int | None, run_next: bool | None) -> Task:
    """Another place in the order; created_at and sequence stay. Raises Refused."""
    if task.status is not Status.OPEN:
        raise Refused(f"task {task.id} is {task.status.value}: only an open task has a place")
    after = replace(
        task,
        priority=task.priority if priority is None else priority,
        run_next=task.run_next if run_next is None else run_next,
    )
    return task if after == task else after


def check_priority_is_ours(task: Task, priority: int) -> None:
    """Raise Refused where the source has the last word on it: its next look would undo the change."""
    if task.source is not None:
        raise Refused(
            f"task {task.id} has the priority of its issue {task.source_id} in {task.source}, and "
            f"follows it: change it there, {_there(task, f'-p {priority}')}"
        )


def _there(task: Task, flags: str) -> str:
    """How a person changes an issue in its source."""
    return (
        f"`bd update {task.source_id} {flags}`" if task.source == "beads" else f"{task.source_id}"
    )


def held(task: Task, why: Held = Held.BY_HAND) -> Task:
    """A person holds an open task back, or its source no longer gives it. Raises Refused."""
    if task.status is not Status.OPEN:
        raise Refused(f"task {task.id} is {task.status.value}: only an open task can be held")
    # A person's hold outlasts all others: when it ends, the source is asked anew.
    return task if task.held in (why, Held.BY_HAND) else replace(task, held=why)


def released(task: Task, why: Held, now: float) -> Task:
    """What held it back is over: a person's hold, its time, its source's claim."""
    if task.status is not Status.OPEN or task.held is not why:
        return task
    return replace(task, held=_still_held(task, now, over=why))


def _still_held(task: Task, now: float, over: Held | None = None) -> Held | None:
    """What holds an open task back now, but for what is `over`.

    A task of a source may be anybody's by now: it starts once the source gave it to us again.
    """
    if task.source is not None and over is not Held.FOR_SOURCE:
        return Held.FOR_SOURCE
    early = task.not_before is not None and task.not_before > now
    return Held.NOT_BEFORE if early and over is not Held.NOT_BEFORE else None


def edited(
    task: Task, *, title: str, description: str, labels: tuple[str, ...], priority: int
) -> Task:
    """An open task as its source says it by now; created_at and sequence stay. Raises Refused.

    Its type stays: it may be about to start on a host of that type.
    """
    if task.status is not Status.OPEN:
        raise Refused(f"task {task.id} is {task.status.value}: only an open task can be edited")
    after = replace(task, title=title, description=description, labels=labels, priority=priority)
    return task if after == task else after


def rescued(task: Task, *, max_strikes: int, once: bool, now: float) -> Task:
    """What becomes of a task whose dispatcher died: back to its place, with a strike.

    Args:
        task: as it was left, in progress.
        max_strikes: so many of them block it.
        once: it may have begun and must not begin again: blocked at once.
        now: seconds since the epoch.
    """
    error = "its dispatcher died while it ran"
    if once:
        why = f"{error}, and its type says that it is not run twice"
        after = blocked(task, task.fence, error=why, strike=True, now=now)
    else:
        after = reopened(
            task, task.fence, error=error, strike=True, max_strikes=max_strikes, now=now
        )
    assert after is not None, f"task {task.id} moved on from its own fence"
    return after
