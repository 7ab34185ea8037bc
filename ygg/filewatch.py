"""See that one file was changed, by whatever way an editor or a tool has of doing it.

Its name is looked at twice a second: written in place, replaced by a rename, or a link that points
elsewhere by now, it is another file or has another time. What it says is left to who waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, NamedTuple

#: Seconds between two looks.
LOOK_SECONDS: Final = 0.5
#: How long it must be still before a change is told, and how often that is waited for: somebody
#: who never stops is told of too.
SETTLE_SECONDS: Final = 0.25
SETTLE_LOOKS: Final = 20


class Seen(NamedTuple):
    """A file at a look."""

    device: int
    inode: int
    size: int
    #: Nanoseconds since the epoch: of its contents, and of its rights too.
    changed_at: int
    touched_at: int


def look(path: Path) -> Seen | None:
    """None: there is none, or none that can be looked at."""
    try:
        stat = path.stat()
    except (OSError, ValueError):
        return None
    return Seen(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


async def look_aside(path: Path) -> Seen | None:
    """`look` on a thread: a slow disk must not hold up the loop."""
    return await asyncio.to_thread(look, path)


class FileWatch:
    """Make it before the file is read: what changes while it is read is seen then.

    Args:
        path: of the file.
        looked: how it is looked at.
    """

    def __init__(
        self, path: Path, *, looked: Callable[[Path], Awaitable[Seen | None]] = look_aside
    ) -> None:
        self.path = path
        self._look = looked
        self._known = look(path)
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """As if it had changed."""
        self._asked.set()

    async def changed(self) -> bool:
        """Wait until it has changed and is still again, or until somebody asks. True: somebody did."""
        while not self._asked.is_set():
            now = await self._look(self.path)
            if now != self._known:
                self._known = await self._settled(now)
                return False
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._asked.wait()
            except TimeoutError:
                pass
        self._asked.clear()
        self._known = await self._look(self.path)
        return True

    async def _settled(self, seen: Seen | None) -> Seen | None:
        """As it is once it is still: a file that is being written is not read by halves."""
        for _ in range(SETTLE_LOOKS):
            await asyncio.sleep(SETTLE_SECONDS)
            before, seen = seen, await self._look(self.path)
            if seen == before:
                break
        return seen
