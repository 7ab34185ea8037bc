"""Another hand's changes are told once it is done, our own are not, and time goes by anyway."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.worlds import run_virtual
from ygg.filewatch import LOOK_SECONDS, SETTLE_LOOKS, SETTLE_SECONDS
from ygg.sources.watch import Look, Seen, Watch, look

POLL = 60.0
#: Nothing was said of a change for so long that nothing will be.
STILL = 10.0


class Folder:
    """Files as a test says they are, and how long it takes to look at them."""

    def __init__(self) -> None:
        self.moves = 0
        self.slow = 0.0
        #: Of the time that a look takes: it tells what was at the end of it, or at the beginning.
        self.sees_the_end = False
        self.watch = Watch(Path("p"), poll_seconds=POLL, looked=self._look)

    async def _look(self, _: Path) -> Look:
        seen = frozenset({Seen("p/f", 1, self.moves)})
        await asyncio.sleep(self.slow)
        return frozenset({Seen("p/f", 1, self.moves)}) if self.sees_the_end else seen

    def move(self) -> None:
        self.moves += 1

    async def call(self, *, wrote: bool, moves: int = 0, seconds: float = 0.5) -> None:
        await self.watch.before()
        for _ in range(moves):
            await asyncio.sleep(seconds / moves)
            self.move()
        await self.watch.after(wrote=wrote)


def told(story: Callable[[Folder], Awaitable[None]]) -> float:
    """Seconds until a change is told, while the story goes on."""
    seconds = 0.0

    async def whole() -> None:
        nonlocal seconds
        folder = Folder()
        await folder.call(wrote=False)
        loop = asyncio.get_running_loop()
        started = loop.time()
        waiting = asyncio.ensure_future(folder.watch.changed())
        await story(folder)
        await waiting
        seconds = loop.time() - started

    run_virtual(whole())
    return seconds


@pytest.mark.pure
def test_where_nothing_changes_it_is_time_after_a_while() -> None:
    async def story(folder: Folder) -> None:
        pass

    assert told(story) == pytest.approx(POLL)


@pytest.mark.pure
def test_a_change_by_another_hand_is_told_soon() -> None:
    async def story(folder: Folder) -> None:
        await asyncio.sleep(5)
        folder.move()

    assert 5 < told(story) <= 5 + LOOK_SECONDS + 2 * SETTLE_SECONDS


@pytest.mark.pure
def test_many_changes_in_a_row_are_told_once_when_they_are_over() -> None:
    async def story(folder: Folder) -> None:
        for _ in range(10):
            folder.move()
            await asyncio.sleep(SETTLE_SECONDS / 2)

    assert told(story) >= 9 * SETTLE_SECONDS / 2


@pytest.mark.pure
def test_somebody_who_never_stops_is_told_of() -> None:
    async def story(folder: Folder) -> None:
        for _ in range(1000):
            folder.move()
            await asyncio.sleep(0.1)

    async def whole() -> None:
        folder = Folder()
        moving = asyncio.ensure_future(story(folder))
        async with asyncio.timeout(LOOK_SECONDS + (SETTLE_LOOKS + 1) * SETTLE_SECONDS):
            await folder.watch.changed()
        moving.cancel()

    run_virtual(whole())


@pytest.mark.pure
def test_what_a_write_of_ours_changes_is_no_news() -> None:
    async def story(folder: Folder) -> None:
        for _ in range(3):
            await folder.call(wrote=True, moves=4)

    assert told(story) == pytest.approx(POLL)


@pytest.mark.pure
@pytest.mark.parametrize("sees_the_end", [False, True])
@pytest.mark.parametrize("seconds", [0.2, 2.0, 5.0])
def test_a_look_that_began_before_a_write_of_ours_tells_nothing(
    seconds: float, sees_the_end: bool
) -> None:
    async def story(folder: Folder) -> None:
        folder.slow, folder.sees_the_end = 3.0, sees_the_end
        await asyncio.sleep(0)  # the look of the one who waits begins
        folder.slow = 0.0
        await folder.call(wrote=True, moves=4, seconds=seconds)

    assert told(story) == pytest.approx(POLL)


@pytest.mark.pure
def test_nobody_looks_while_a_call_of_ours_runs() -> None:
    async def story(folder: Folder) -> None:
        await folder.call(wrote=True, moves=40, seconds=20)

    assert told(story) == pytest.approx(POLL)


@pytest.mark.pure
def test_a_change_between_two_calls_of_ours_is_told() -> None:
    async def story(folder: Folder) -> None:
        await folder.call(wrote=True, moves=1)
        folder.move()
        await folder.call(wrote=True, moves=1)

    assert told(story) < STILL


@pytest.mark.pure
def test_a_change_during_a_read_is_told() -> None:
    async def story(folder: Folder) -> None:
        await folder.call(wrote=False, moves=1)

    assert told(story) < STILL


@pytest.mark.pure
def test_reads_that_always_move_files_do_not_ask_for_each_other() -> None:
    async def whole() -> None:
        folder = Folder()
        asked = 0
        loop = asyncio.get_running_loop()
        while loop.time() < 10 * POLL:
            asked += 1
            await folder.call(wrote=False, moves=1)
            await folder.watch.changed()
        assert asked <= 12

    run_virtual(whole())


@pytest.mark.pure
def test_a_change_that_came_while_nobody_waited_is_told_at_once() -> None:
    async def whole() -> None:
        folder = Folder()
        await folder.call(wrote=False)
        folder.move()
        await folder.call(wrote=False)
        async with asyncio.timeout(STILL):
            await folder.watch.changed()

    run_virtual(whole())


@pytest.mark.pure
def test_a_change_is_told_once() -> None:
    async def whole() -> None:
        folder = Folder()
        await folder.call(wrote=False)
        folder.move()
        await folder.watch.changed()
        loop = asyncio.get_running_loop()
        started = loop.time()
        await folder.watch.changed()
        assert loop.time() - started == pytest.approx(POLL)

    run_virtual(whole())


# -- files ---------------------------------------------------------------------------------------


def test_a_look_sees_what_is_new_changed_and_gone(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    file = tmp_path / "a" / "file"
    looks = [look(tmp_path)]
    file.write_text("x")
    looks.append(look(tmp_path))
    file.write_text("xy")
    looks.append(look(tmp_path))
    os.utime(file, ns=(1, 1))
    looks.append(look(tmp_path))
    file.unlink()
    looks.append(look(tmp_path))
    assert len(set(looks)) == 4
    assert looks[0] == looks[-1] == frozenset()


def test_a_look_is_blind_to_what_readers_leave_behind(tmp_path: Path) -> None:
    for name in ("LOCK", "x.lock", "bd.log", "server.pid", "server.port", "last-touched", "db-shm"):
        (tmp_path / name).write_text("x")
    assert look(tmp_path) == frozenset()


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert look(tmp_path / "gone") == frozenset()
    (tmp_path / "file").write_text("")
    assert look(tmp_path / "file") == frozenset()


def test_a_link_that_leads_in_a_circle_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to(tmp_path)
    assert len(look(tmp_path)) == 1
