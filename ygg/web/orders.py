"""What people may order beside tasks: a pause, a retry of many; and how that retry is done."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Final

import msgspec

from ygg.dispatcher import Dispatcher
from ygg.endings import DRAINED, blocked_by_drain
from ygg.lifecycle import Refused, retried
from ygg.stores.base import Query, UnknownTask
from ygg.tasks import Status
from ygg.web.bodies import BodyReader
from ygg.web.problems import FieldError, bad_fields

#: Tasks looked at, and sent back in one commit, at once.
_CHUNK: Final = 100
_REASON_MAX: Final = 500
_TRUE_OR_FALSE: Final = msgspec.Meta(description="true or false")


class PauseOrder(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """`paused` left out means true."""

    paused: Annotated[bool, _TRUE_OR_FALSE] | None = None
    reason: (
        Annotated[
            str,
            msgspec.Meta(
                max_length=_REASON_MAX, description=f"a text of at most {_REASON_MAX} characters"
            ),
        ]
        | None
    ) = None


class RetryOrder(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which blocked tasks go back to their places; exactly one of the first three."""

    ids: (
        Annotated[
            tuple[Annotated[str, msgspec.Meta(max_length=100)], ...],
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


_PAUSE: Final = BodyReader(PauseOrder)
_RETRY: Final = BodyReader(RetryOrder)
_NOTHING: Final = BodyReader(NoOrder)


def read_pause(body: bytes) -> PauseOrder:
    """Raises Problem."""
    order = _PAUSE.one(body)
    if "\0" in (order.reason or ""):
        raise bad_fields([FieldError("/reason", "has a NUL character: leave it out")])
    return order


def read_retry(body: bytes) -> RetryOrder:
    """Raises Problem."""
    order = _RETRY.one(body)
    if sum((order.ids is not None, bool(order.drained), order.error is not None)) != 1:
        detail = 'say which tasks, in one way: "ids": [...], "drained": true, or "error": "text"'
        raise bad_fields([FieldError("", detail)])
    return order


def read_nothing(body: bytes) -> None:
    """Raises Problem where somebody says something that would have no effect."""
    if body:
        _NOTHING.one(body)


async def retry_many(dispatcher: Dispatcher, order: RetryOrder, now: float) -> list[str]:
    """The ids of the tasks that went back, or would.

    Those that are named all do, or none does. Those that are found go one by one: what changed
    meanwhile by another's hand is left as it is.

    Raises UnknownTask, Refused (both only of named ones), StoreError.
    """
    if order.ids is not None:
        if order.dry_run:
            ids = dict.fromkeys(order.ids)
            return [retried(await dispatcher.store.get(task_id), now).id for task_id in ids]
        return [task.id for task in await dispatcher.retry(order.ids)]
    done: list[str] = []
    async for found in _found(dispatcher, order):
        done += found if order.dry_run else await _retry_those(dispatcher, found)
    return done


async def _found(dispatcher: Dispatcher, order: RetryOrder) -> AsyncIterator[list[str]]:
    """By falling sequence: one that is blocked again meanwhile does not come twice."""
    query = Query(status=Status.BLOCKED, error=DRAINED if order.drained else order.error)
    before: int | None = None
    while True:
        page = await dispatcher.store.find(query, before=before, limit=_CHUNK)
        found = [t.id for t in page.tasks if not order.drained or blocked_by_drain(t)]
        if found:
            yield found
        if page.next is None:
            return
        before = page.next


async def _retry_those(dispatcher: Dispatcher, ids: Sequence[str]) -> list[str]:
    try:
        return [task.id for task in await dispatcher.retry(ids)]
    except (Refused, UnknownTask):
        if len(ids) == 1:
            return []  # it is no longer blocked, or no longer there: nothing to do
    return [done for task_id in ids for done in await _retry_those(dispatcher, [task_id])]
