"""hosts.yaml taken over while the process runs: seen to change, read, handed on, and told of.

A bad edit changes nothing: why is told with file and line, in the log once for each text that is
bad. What a fleet changes of what runs is left to who takes it over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from ygg.changes import Change, compare
from ygg.filewatch import FileWatch
from ygg.fleet import FileStanding, Fleet
from ygg.hostsfile import HostsFileError, parse_fleet, read_text

log = logging.getLogger("ygg.config")

#: So many changes, or mistakes, have a line each in the log.
_LINES_MAX: Final = 50


class NotNow(Exception):
    """Nothing is taken over any more; the message says why."""


class Reloading:
    """Of one process.

    Args:
        watch: sees the file change.
        fleet: what the file said at the start.
        take: runs with another fleet from here on. Raises NotNow; HostsFileError, if it can't.
        tell: hears each time how it goes.
        wall: seconds since the epoch.
        differences: what changes from one fleet to another, as far as it matters here.
    """

    def __init__(
        self,
        watch: FileWatch,
        fleet: Fleet,
        *,
        take: Callable[[Fleet], Awaitable[None]],
        tell: Callable[[FileStanding], None],
        wall: Callable[[], float],
        differences: Callable[[Fleet, Fleet], list[Change]] = compare,
    ) -> None:
        self._watch = watch
        self._differences = differences
        self._at_start = self._now = fleet
        self._take = take
        self._tell = tell
        self._wall = wall
        self._standing = FileStanding(taken_at=wall())
        #: The bad text that was told of last, or why there was none.
        self._bad: str | None = None

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            asked = await self._watch.changed()
            try:
                await self.once(asked=asked)
            except Exception as error:  # a bug of ours: what runs must run on
                log.exception("event=reload_broke file=%s", self._watch.path)
                why = f"{self._watch.path}: internal error: {error!r}; see the log"
                self._keeps((why,))

    async def once(self, *, asked: bool = False) -> None:
        """Read the file, and take over what it says. `asked`: somebody waits for a word in the log."""
        text = ""
        try:
            text = await asyncio.to_thread(read_text, self._watch.path)
            fleet = await asyncio.to_thread(parse_fleet, text, str(self._watch.path))
            await self._take(fleet)
        except HostsFileError as error:
            self._is_bad(error, text or str(error), asked=asked)
            return
        except NotNow as why:
            log.info("event=reload_ignored file=%s why=%r", self._watch.path, str(why))
            return
        changes = self._differences(self._now, fleet)
        was_bad, self._bad, self._now = self._bad is not None, None, fleet
        later = self._differences(self._at_start, fleet)
        later = [change for change in later if change.needs_restart]
        self._standing = FileStanding(
            taken_at=self._wall(), needs_restart=tuple(c.text for c in later)
        )
        self._tell(self._standing)
        if changes or asked or was_bad:
            log.info("event=reloaded file=%s changes=%d", self._watch.path, len(changes))
        _log_changes(changes)

    def _is_bad(self, error: HostsFileError, text: str, *, asked: bool) -> None:
        problems = tuple(error.problems)
        self._keeps(problems)
        if text == self._bad and not asked:
            return
        self._bad = text
        log.error(
            "event=reload_failed file=%s problems=%d effect='it runs on with the settings of before'",
            self._watch.path, len(problems),
        )  # fmt: skip
        for problem in problems[:_LINES_MAX]:
            log.error("event=reload_problem problem=%r", problem)

    def _keeps(self, problems: tuple[str, ...]) -> None:
        """The settings of before, and why."""
        self._standing = replace(self._standing, problems=problems)
        self._tell(self._standing)


def _log_changes(changes: list[Change]) -> None:
    for change in changes[:_LINES_MAX]:
        if change.needs_restart:
            log.warning("event=reload_needs_restart change=%r", change.text)
        else:
            log.info("event=reload_change change=%r", change.text)
    if len(changes) > _LINES_MAX:
        log.info("event=reload_change more=%d", len(changes) - _LINES_MAX)
