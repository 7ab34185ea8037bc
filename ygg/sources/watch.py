"""See that another hand changed a project, by its files, and keep still about our own calls.

Files are looked at twice a second: their names, sizes and times, no contents. Whoever changes the
project in the very moment of one of our writes is seen at the next look anyway, which comes after
`poll_seconds`. Where bd talks to a server nothing may change here: then that is all there is.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from ygg.filewatch import LOOK_SECONDS, SETTLE_LOOKS, SETTLE_SECONDS

#: More files than a project has; a folder that has more is looked at in part.
_FILES_MAX: Final = 5000
#: What a mere reader leaves behind.
_NOISE: Final = (".lock", ".log", ".pid", ".port", ".sock", "-shm")
_NOISY: Final = ("lock", "last-touched")


class Seen(NamedTuple):
    """A file at a look."""

    path: str
    size: int
    #: Nanoseconds since the epoch.
    changed_at: int


Look = frozenset[Seen]


def look(folder: Path) -> Look:
    """The files below a folder, as far as they tell of a change and can be looked at."""
    seen: set[Seen] = set()
    for entry in _files(str(folder)):
        with suppress(OSError):  # it went between the listing and the look, or its disk is ill
            stat = entry.stat(follow_symlinks=False)
            seen.add(Seen(entry.path, stat.st_size, stat.st_mtime_ns))
        if len(seen) >= _FILES_MAX:
            break
    return frozenset(seen)


def _files(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:  # no folder, or none that we may look into: then only time tells
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)
        elif not entry.name.endswith(_NOISE) and entry.name.lower() not in _NOISY:
            yield entry


async def look_aside(folder: Path) -> Look:
    """`look` on a thread: a folder on a slow disk must not hold up the loop."""
    return await asyncio.to_thread(look, folder)


class Watch:
    """What is known of a folder's files, between the calls that we make ourselves."""

    def __init__(
        self,
        folder: Path,
        *,
        poll_seconds: float,
        looked: Callable[[Path], Awaitable[Look]] = look_aside,
    ) -> None:
        self._folder = folder
        self._look = looked
        self._poll_seconds = poll_seconds
        #: None: nobody has looked yet.
        self._known: Look | None = None
        #: Another hand was at it, and nobody was told yet.
        self._other = False
        self._calling = False
        #: Of our calls: a look that began before the end of one may have seen the half of it.
        self._calls = 0
        self._read_moved = False

    async def before(self) -> None:
        """A call of ours begins: what is different by now was another hand."""
        self._calling = True
        self._take(await self._look(self._folder))

    async def after(self, *, wrote: bool) -> None:
        """It has ended: what a write of ours changed is no news.

        A read should leave the files alone: what moved meanwhile was another hand. Where it does
        not leave them alone, every read would ask for the next one: two in a row are not believed.
        """
        now = await self._look(self._folder)
        moved = now != self._known
        if moved and not wrote and not self._read_moved:
            self._other = True
        if not wrote:
            self._read_moved = moved
        self._known = now
        self._calls += 1
        self._calling = False

    async def changed(self) -> bool:
        """Whether another hand has changed something, and is done with it; False: it is time."""
        try:
            async with asyncio.timeout(self._poll_seconds):
                while not self._other:
                    await self._look_again()
                    if not self._other:
                        await asyncio.sleep(LOOK_SECONDS)
                await self._settled()
        except TimeoutError:
            pass
        other, self._other = self._other, False
        return other

    async def _look_again(self) -> None:
        calls = self._calls
        if self._calling:
            return
        now = await self._look(self._folder)
        if not self._calling and calls == self._calls:
            self._take(now)

    def _take(self, now: Look) -> None:
        self._other = self._other or (self._known is not None and now != self._known)
        self._known = now

    async def _settled(self) -> None:
        """Wait until nothing moves, so that many changes in a row are one."""
        for _ in range(SETTLE_LOOKS):
            before = self._known
            await asyncio.sleep(SETTLE_SECONDS)
            await self._look_again()
            if self._known == before:
                return
