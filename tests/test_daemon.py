"""How the daemon begins and ends when the store has a bad day."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from tests.worlds import Answers, Failing, LoopClock, NoMeter, Servers, fleet, run_virtual
from ygg.daemon import CantStart, begin
from ygg.dispatcher import Dispatcher
from ygg.stores.base import Restored


class FullOnceOpen(Failing):
    """It opens, and takes nothing more."""

    async def open(
        self, *, owner: str, now: float, max_strikes: int, once: Collection[str] = ()
    ) -> Restored:
        restored = await super().open(owner=owner, now=now, max_strikes=max_strikes, once=once)
        self.broken = True
        return restored


def dispatcher_on(store: Failing) -> Dispatcher:
    loop = asyncio.get_running_loop()
    settings = fleet()
    return Dispatcher(
        fleet=settings, store=store, servers=Servers(list(settings.hosts), loop),
        artifacts=Answers(), meter=NoMeter(), clock=LoopClock(loop), identity="d1",
    )  # fmt: skip


@pytest.mark.parametrize("told_after", [0.0, 0.05, 30.0])
def test_a_start_that_cant_write_ends_when_it_is_told_to(told_after: float) -> None:
    async def story() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.call_later(told_after, stop.set)
        with pytest.raises(ExceptionGroup) as ended:
            async with asyncio.TaskGroup() as group, asyncio.timeout(told_after + 10):
                await begin(dispatcher_on(FullOnceOpen()), group, stop)
        (error,) = ended.value.exceptions
        assert isinstance(error, CantStart)
        assert "ended before it could begin: the disk is full" in str(error)

    run_virtual(story())


def test_a_start_that_cant_write_yet_goes_on_once_it_can() -> None:
    async def story() -> None:
        stop, store = asyncio.Event(), FullOnceOpen()
        asyncio.get_running_loop().call_later(30.0, setattr, store, "broken", False)
        async with asyncio.TaskGroup() as group:
            dispatcher = dispatcher_on(store)
            assert await begin(dispatcher, group, stop) == 0
            assert await dispatcher.drain(asyncio.Event())

    run_virtual(story())


def test_a_start_that_is_told_to_end_while_it_works_comes_to_its_drain() -> None:
    async def story() -> None:
        stop = asyncio.Event()
        stop.set()
        async with asyncio.TaskGroup() as group:
            dispatcher = dispatcher_on(Failing())
            assert await begin(dispatcher, group, stop) == 0
            assert await dispatcher.drain(asyncio.Event())

    run_virtual(story())
