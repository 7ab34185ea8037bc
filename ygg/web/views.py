"""A task's story, why it waits, and where its answer is. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ygg.artifacts import NoArtifact
from ygg.board import Board, Reason
from ygg.fleet import Option
from ygg.journal import Event
from ygg.sources.base import Standing
from ygg.tasks import Held, Json, Outcome, Status, Task
from ygg.wire import told_time

#: Each reason in words. A test holds the list against the enumeration.
IN_WORDS: Final[Mapping[Reason, str]] = {
    Reason.HELD: "a person holds it back",
    Reason.NOT_BEFORE: "its time has not come",
    Reason.WAITING_FOR_SOURCE: "its tracker has not confirmed that it is ours",
    Reason.NO_HOST: "the host is no longer in hosts.yaml",
    Reason.DRAINING: "the dispatcher is ending",
    Reason.STORE: "the store takes no writes",
    Reason.HOST_DOWN: "the host does not answer",
    Reason.HOST_RESTING: "the host asked to be left alone for a while",
    Reason.HOST_TRIAL: "the host is back, and takes one task at a time until one ended well",
    Reason.PAUSED: "a person paused the host",
    Reason.OPTION_DOWN: "this model on this host is misconfigured",
    Reason.OPTION_TRIAL: "this model is back, and takes one task at a time until one ended well",
    Reason.NO_SLOT: "all slots of the host are taken",
}


def row_json(event: Event) -> dict[str, Json]:
    """A row of the journal, as far as it is of interest outside."""
    waiting, detail = event.waiting, dict(event.detail)
    if isinstance(until := detail.get("until"), int | float):
        detail["until"] = told_time(until)  # of pins and pauses
    return {
        "position": event.position,
        "at": told_time(event.at),
        "kind": event.kind.value,
        "task": event.task or None,
        "type": None if waiting is None else waiting.lane.type,
        "priority": None if waiting is None else waiting.rank.priority,
        "host": event.host or None,
        "model": event.model or None,
        "attempt": None if event.fence is None else event.fence.attempt,
        "seen": event.seen or None,
        "reason": event.reason or None,
        "detail": detail,
    }


def why_json(
    task: Task,
    board: Board,
    store_trouble: str | None,
    reasons: Mapping[str, str],
    *,
    sources: Sequence[Standing] = (),
    in_order: bool = True,
) -> dict[str, Json]:
    """Of each option of the task's route, why it can't start there now (null: it can).

    `reasons` are hosts' own words for being down or resting; `sources` what the dispatcher feeds
    from; `in_order`: the most urgent is the next, as it is not with the legacy threads.
    """
    options: list[Json] = []
    if task.status is Status.OPEN:
        options = [
            _option(board, option, reason, store_trouble, reasons)
            for option, reason in board.why(task.lane, task.held).items()
        ]
    return {
        "id": task.id,
        "status": task.status.value,
        "held": task.held and task.held.value,
        "summary": _summary(task, options, sources, in_order=in_order),
        "options": options,
    }


def _option(
    board: Board,
    option: Option,
    reason: Reason | None,
    store_trouble: str | None,
    reasons: Mapping[str, str],
) -> dict[str, Json]:
    host = board.hosts.get(option.host)
    detail = ""
    if reason is not None:
        detail = IN_WORDS[reason]
        told: str | None = None
        if reason is Reason.STORE:
            told = store_trouble
        elif host is not None and reason is Reason.PAUSED:
            told = host.paused
        elif host is not None and reason is Reason.OPTION_DOWN:
            told = host.options[option].reason
        elif host is not None and reason in (Reason.HOST_DOWN, Reason.HOST_RESTING):
            told = reasons.get(option.host) or host.reason
        elif host is not None and reason is Reason.NO_SLOT:
            slots = host.semaphore.slots
            told = f"{slots.active} of {slots.limit}"
        if told:
            detail += f": {told}"
    return {
        "host": option.host,
        "model": option.model or None,
        "reason": reason and reason.value,
        "detail": detail,
    }


def _summary(
    task: Task, options: list[Json], sources: Sequence[Standing], *, in_order: bool
) -> str:
    match task.status:
        case Status.IN_PROGRESS:
            return f"it runs on {task.host}"
        case Status.CLOSED:
            return f"it is closed ({task.outcome}): it does not wait"
        case Status.BLOCKED:
            return f"it is blocked and needs a person: {task.error}"
    if task.held is Held.FOR_SOURCE:
        return f"{IN_WORDS[Reason.WAITING_FOR_SOURCE]}: {_source(task, sources)}"
    if task.held is not None:
        until = "" if task.not_before is None else f" (not before {told_time(task.not_before)})"
        return f"{IN_WORDS[Reason(task.held.value)]}{until}"
    if not options:
        model = f" with the model {task.model}" if task.model else ""
        return (
            f"no host of hosts.yaml serves type {task.type}{model} (no_host): add one to the "
            f"`run:` of the type and restart the dispatcher, or `ygg cancel {task.id}`"
        )
    if not in_order:
        return (
            "it starts when a thread of the legacy dispatcher has ended all that came before it: "
            "first come, first served"
        )
    return "it starts when one of its options is free and it is the most urgent that may run there"


def _source(task: Task, sources: Sequence[Standing]) -> str:
    """What keeps a task's source from confirming it."""
    issue = task.source_id or ""
    standing = next((one for one in sources if one.name == task.source), None)
    if standing is None:
        return (
            f"this dispatcher does not feed from {task.source}, where it is {issue}: start it with "
            f"its project, or `ygg cancel {task.id}`"
        )
    if standing.trouble is not None:
        return f"{standing.name} can't be asked: {standing.trouble}"
    if issue in standing.unreadable:
        return f"{issue} can't be read: {standing.unreadable[issue]}"
    if issue in standing.unclaimed:
        return f"{issue} was not claimed: {standing.unclaimed[issue]}"
    if standing.looked_at is None:
        return f"{standing.name} has not answered yet"
    return f"{issue} is claimed when it is among the next to start"


def artifact_path(task: Task, *, thinking: bool) -> str:
    """Of its answer, or of the model's thinking. Raises NoArtifact, which says why there is none."""
    if task.artifact is not None:
        if not thinking:
            return task.artifact
        if (task.answer or {}).get("thinking"):
            return task.artifact.removesuffix(".md") + ".thinking.md"
        why = f"the model showed no thinking for task {task.id}: read its answer"
    elif task.outcome is Outcome.CANCELLED:
        why = f"task {task.id} was cancelled: it has no answer"
    elif task.status is Status.BLOCKED:
        why = f"task {task.id} is blocked and has no answer: {task.error}"
    elif task.status is Status.IN_PROGRESS:
        why = f"task {task.id} is running on {task.host}: ask again when it is closed"
    else:
        why = f"task {task.id} still waits: GET /v1/tasks/{task.id}/why says for what"
    raise NoArtifact(why)
