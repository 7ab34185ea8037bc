"""Tasks, fences and small steps that the stores' tests share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

from ygg.backlog import BEFORE_ALL
from ygg.fleet import Option
from ygg.journal import Event, Kind
from ygg.stores.base import Query, Restored, TaskStore
from ygg.tasks import Draft, Lane, Task, Waiting

LANE = Lane("general")
HOST = Option("skadi", "qwen")
_numbers = count(1)

#: Makes a store on the same data, whenever it is called.
Place = Callable[[], TaskStore]
Story = Callable[[TaskStore], Coroutine[Any, Any, None]]


def a_draft(**given: Any) -> Draft:
    """Any: the fields of Draft, typed there."""
    base = Draft(
        id=f"t{next(_numbers):06}",
        title="a title",
        type="general",
        created_at=float(next(_numbers)),
    )
    return replace(base, **given)


async def opened(store: TaskStore, *, owner: str = "one", now: float = 0.0) -> TaskStore:
    await store.open(owner=owner, now=now, max_strikes=3)
    return store


async def born(store: TaskStore, **given: Any) -> Task:
    """One new task."""
    (added,) = await store.add([a_draft(**given)], now=1.0)
    assert added.new
    return added.task


async def running(store: TaskStore, **given: Any) -> Task:
    """One new task that was claimed."""
    return await claimed(store, await born(store, **given))


async def claimed(store: TaskStore, task: Task, *, now: float = 2.0) -> Task:
    after = await store.claim(task.id, option=HOST, seen=0, now=now)
    assert after is not None
    return after


async def closed(store: TaskStore, *, ended_at: float, **given: Any) -> Task:
    task = await running(store, **given)
    assert await store.finish(task.id, task.fence, now=ended_at)
    return await store.get(task.id)


async def blocked(store: TaskStore, *, error: str = "no good", **given: Any) -> Task:
    task = await running(store, **given)
    assert await store.block(task.id, task.fence, error=error, reason="bad_request", now=3.0)
    return await store.get(task.id)


async def ready_ids(store: TaskStore, lane: Lane = LANE) -> list[str]:
    return [w.id for w in await all_ready(store, lane)]


async def all_ready(store: TaskStore, lane: Lane = LANE, *, page: int = 3) -> list[Waiting]:
    """The whole lane, page by page as the backlog reads it."""
    found: list[Waiting] = []
    after = BEFORE_ALL
    while True:
        part = await store.ready(lane, after=after, limit=page)
        found += part
        if len(part) < page:
            return found
        after = part[-1].rank


async def rows(store: TaskStore, *, after: int = 0) -> Sequence[Event]:
    return await store.journal(after=after, limit=100_000)


async def kinds(store: TaskStore, *, after: int = 0) -> list[Kind]:
    return [event.kind for event in await rows(store, after=after)]


async def last_position(store: TaskStore) -> int:
    return (await rows(store))[-1].position


async def everything(store: TaskStore) -> tuple[object, ...]:
    """All that can be seen of a store, to compare before and after, or with another."""
    page = await store.find(Query(), limit=100_000)
    lanes = {t.lane for t in page.tasks}
    waiting: Mapping[Lane, list[Waiting]] = {x: await all_ready(store, x) for x in sorted(lanes)}
    return (
        list(page.tasks),
        await rows(store),
        waiting,
        dict(await store.oldest()),
        await store.overview(),
        await store.pruned_to(),
    )


async def opened_again(
    store: TaskStore, place: Place, *, owner: str = "two", once: Collection[str] = ()
) -> tuple[TaskStore, Restored]:
    """As the next dispatcher finds it. The one before gave no notice: what ran is in progress."""
    await store.close()
    again = place()
    return again, await again.open(owner=owner, now=50.0, max_strikes=3, once=once)


def tell(place: Place, story: Story) -> None:
    """The story of a store that was just opened."""

    async def told() -> None:
        store = await opened(place())
        try:
            await story(store)
        finally:
            await store.close()

    asyncio.run(told())
