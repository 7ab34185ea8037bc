"""What people may order beside tasks: a pin, a pause, another place, a retry of many.

And how that retry is done.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Final

import msgspec

from ygg.dispatcher import Dispatcher
from ygg.endings import blocked_by_drain
from ygg.journal import DRAINED
from ygg.lifecycle import Refused, retried
from ygg.stores.base import Query, UnknownTask
from ygg.tasks import Status, Task
from ygg.web.bodies import A_TIME, BodyReader, given, text
from ygg.web.problems import FieldError, bad_fields, shown
from ygg.wire import read_time, rfc3339

#: Tasks looked at, and sent back in one commit, at once.
_CHUNK: Final = 100
_REASON_MAX: Final = 500
#: No server runs so many at once; hosts.yaml takes no more either.
LIMIT_MAX: Final = 10_000
_TRUE_OR_FALSE: Final = msgspec.Meta(description="true or false")


class ByHand(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What orders about hosts have in common: why, by whom, and until when."""

    reason: Annotated[str, text(most=_REASON_MAX)] | None = None
    #: For other people to read; who has a token goes by its name.
    by: Annotated[str, text(most=100)] | None = None
    #: Left out: until a person ends it.
    until: Annotated[str, A_TIME] | None = None


class PinOrder(ByHand, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A host's limit is this and stays so."""

    limit: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            le=LIMIT_MAX,
            description=f"a whole number from 1 to {LIMIT_MAX} (to stop starts, pause the host)",
        ),
    ]


class PauseOrder(ByHand, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A host takes no new starts. `paused` left out means true; false resumes it."""

    paused: Annotated[bool, _TRUE_OR_FALSE] | None = None


class ChangeOrder(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What is to change of an open task's place; what is left out stays."""

    priority: (
        Annotated[
            int, msgspec.Meta(ge=0, le=4, description="an integer from 0 (critical) to 4 (backlog)")
        ]
        | None
    ) = None
    #: Before all others, whatever their priority.
    run_next: Annotated[bool, _TRUE_OR_FALSE] | None = None
    #: True holds it back until it is released by false.
    held: Annotated[bool, _TRUE_OR_FALSE] | None = None


class RetryOrder(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which blocked tasks go back to their places; exactly one of the first three.

    `ids` may be those of issues.
    """

    ids: (
        Annotated[
            tuple[Annotated[str, msgspec.Meta(max_length=128)], ...],
            msgspec.Meta(
                min_length=1, max_length=1000, description="an array of 1 to 1000 ids of tasks"
            ),
        ]
        | None
    ) = None
    #: All that drains blocked.
    drained: Annotated[bool, _TRUE_OR_FALSE] | None = None
    #: All with this text in their error.
    error: (
        Annotated[
            str,
            msgspec.Meta(min_length=1, max_length=500, description="a text of 1 to 500 characters"),
        ]
        | None
    ) = None
    #: Only say which they are.
    dry_run: Annotated[bool, _TRUE_OR_FALSE] | None = None


class NoOrder(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where everything is said by the path."""


PIN: Final = BodyReader(PinOrder)
PAUSE: Final = BodyReader(PauseOrder)
CHANGE: Final = BodyReader(
    ChangeOrder,
    besides={
        "anyOf": [
            given("priority", {"type": "integer"}),
            given("run_next", {"type": "boolean"}),
            given("held", {"type": "boolean"}),
        ]
    },
)
RETRY: Final = BodyReader(
    RetryOrder,
    besides={
        "oneOf": [
            given("ids", {"type": "array"}),
            given("drained", {"const": True}),
            given("error", {"type": "string"}),
        ]
    },
)
NOTHING: Final = BodyReader(NoOrder)


def read_pin(body: bytes, now: float) -> tuple[PinOrder, float | None]:
    """The order, and the time of its end. Raises Problem."""
    order = PIN.one(body)
    return order, _end(order, now)


def read_pause(body: bytes, now: float) -> tuple[PauseOrder, float | None]:
    """The order, and the time of its end. Raises Problem."""
    order = PAUSE.one(body)
    return order, _end(order, now)


def _end(order: ByHand, now: float) -> float | None:
    """Checks what the types could not."""
    errors = [
        FieldError(f"/{name}", "has a NUL character: leave it out")
        for name in ("reason", "by")
        if "\0" in (getattr(order, name) or "")
    ]
    until: float | None = None
    if order.until is not None:
        try:
            until = read_time(order.until)
        except ValueError as error:
            errors.append(FieldError("/until", str(error)))
        else:
            if until <= now:
                detail = f"{shown(order.until)} is over (it is {rfc3339(now)}): give a later time"
                errors.append(FieldError("/until", detail))
    if errors:
        raise bad_fields(errors)
    return until


def read_change(body: bytes) -> ChangeOrder:
    """Raises Problem."""
    order = CHANGE.one(body)
    if order == ChangeOrder():
        detail = 'say what is to change: "priority", "run_next" or "held"'
        raise bad_fields([FieldError("", detail)])
    return order


def read_retry(body: bytes) -> RetryOrder:
    """Raises Problem."""
    order = RETRY.one(body)
    if sum((order.ids is not None, bool(order.drained), order.error is not None)) != 1:
        detail = 'say which tasks, in one way: "ids": [...], "drained": true, or "error": "text"'
        raise bad_fields([FieldError("", detail)])
    return order


def read_nothing(body: bytes) -> None:
    """Raises Problem where somebody says something that would have no effect."""
    if body:
        NOTHING.one(body)


async def retry_many(dispatcher: Dispatcher, order: RetryOrder, now: float) -> list[Task]:
    """The tasks that went back, or would.

    Those that are named all do, or none does. Those that are found go one by one: what changed
    meanwhile by another's hand is left as it is.

    Raises UnknownTask, Refused (both only of named ones), StoreError.
    """
    if order.ids is not None:
        if order.dry_run:
            return [retried(await dispatcher.store.get(one), now) for one in order.ids]
        return list(await dispatcher.retry(order.ids))
    done: list[Task] = []
    async for found in _found(dispatcher, order):
        done += found if order.dry_run else await _retry_those(dispatcher, found)
    return done


async def _found(dispatcher: Dispatcher, order: RetryOrder) -> AsyncIterator[list[Task]]:
    """By falling sequence: one that is blocked again meanwhile does not come twice."""
    query = Query(status=Status.BLOCKED, error=DRAINED if order.drained else order.error)
    before: int | None = None
    while True:
        page = await dispatcher.store.find(query, before=before, limit=_CHUNK)
        found = [t for t in page.tasks if not order.drained or blocked_by_drain(t)]
        if found:
            yield found
        if page.next is None:
            return
        before = page.next


async def _retry_those(dispatcher: Dispatcher, tasks: Sequence[Task]) -> list[Task]:
    try:
        return list(await dispatcher.retry([task.id for task in tasks]))
    except (Refused, UnknownTask):
        if len(tasks) == 1:
            return []  # it is no longer blocked, or no longer there: nothing to do
    return [done for task in tasks for done in await _retry_those(dispatcher, [task])]
