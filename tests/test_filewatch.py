"""A file is seen to change, whatever way it is changed, and not before it is still."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.worlds import run_virtual
from ygg.filewatch import FileWatch, Seen, look

pytestmark = pytest.mark.pure


def seen(changed_at: int) -> Seen:
    return Seen(1, 1, 1, changed_at, changed_at)


class Disk:
    """What each look sees, by the loop's clock."""

    def __init__(self) -> None:
        self.now: Seen | None = None
        self.looks = 0

    async def look(self, _: Path) -> Seen | None:
        self.looks += 1
        return self.now


def test_a_file_that_is_being_written_is_told_of_once_it_is_still() -> None:
    async def story() -> None:
        disk, loop = Disk(), asyncio.get_running_loop()
        watch = FileWatch(Path("/nowhere/hosts.yaml"), looked=disk.look)
        told = asyncio.ensure_future(watch.changed())
        await asyncio.sleep(100.0)
        assert not told.done()
        for n in range(12):
            disk.now = seen(n)
            await asyncio.sleep(0.2)
            assert not told.done()
        began = loop.time()
        assert await told is False
        assert loop.time() - began <= 0.5
        again = asyncio.ensure_future(watch.changed())
        await asyncio.sleep(100.0)
        assert not again.done(), "told once"
        again.cancel()

    run_virtual(story())


def test_one_that_is_never_still_is_told_of_too() -> None:
    async def story() -> None:
        disk, loop = Disk(), asyncio.get_running_loop()

        async def moving(path: Path) -> Seen | None:
            disk.now = seen(round(loop.time() * 1000))
            return await disk.look(path)

        watch = FileWatch(Path("/nowhere/hosts.yaml"), looked=moving)
        async with asyncio.timeout(10.0):
            assert await watch.changed() is False

    run_virtual(story())


def test_who_asks_need_not_wait_and_is_told_apart() -> None:
    async def story() -> None:
        disk = Disk()
        watch = FileWatch(Path("/nowhere/hosts.yaml"), looked=disk.look)
        told = asyncio.ensure_future(watch.changed())
        await asyncio.sleep(10.2)
        began = asyncio.get_running_loop().time()
        watch.ask()
        assert await told is True
        assert asyncio.get_running_loop().time() == began

    run_virtual(story())


def test_looking_costs_two_looks_a_second() -> None:
    async def story() -> None:
        disk = Disk()
        told = asyncio.ensure_future(FileWatch(Path("/nowhere"), looked=disk.look).changed())
        await asyncio.sleep(60.0)
        assert disk.looks <= 121
        told.cancel()

    run_virtual(story())


@pytest.mark.parametrize("how", ["written", "replaced", "linked", "removed", "made readable"])
def test_every_way_to_change_a_file_is_seen(tmp_path: Path, how: str) -> None:
    file, other = tmp_path / "hosts.yaml", tmp_path / "other"
    file.write_text("one")
    other.write_text("two")
    if how == "linked":
        (tmp_path / "first").write_text("one")
        file.unlink()
        file.symlink_to(tmp_path / "first")
    before = look(file)
    match how:
        case "written":
            file.write_text("three")
        case "replaced":
            # Same size, and the very time of the one before.
            os.utime(other, ns=(file.stat().st_mtime_ns, file.stat().st_mtime_ns))
            other.rename(file)
        case "linked":
            (link := tmp_path / "link").symlink_to(other)
            link.rename(file)
        case "removed":
            file.unlink()
        case _:
            file.chmod(0o400)
    assert look(file) != before
