"""A Beads project as a source, with one dispatcher at a time.

Which project that is, is left to `where`; what is asked of it to `beads`.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from ygg import locks
from ygg.fleet import BeadsSettings
from ygg.sources import leftover
from ygg.sources.base import Away, Call, Issue, NoProject, Report
from ygg.sources.bd import Bd
from ygg.sources.beads import Beads
from ygg.sources.watch import Watch
from ygg.sources.where import Project, poll_seconds

logger = logging.getLogger(__name__)

#: Noise to the watch, by its name.
_LOCK: Final = "ygg.lock"
_NOTE: Final = "ygg-call.pid"


class InUse(Away):
    """Another dispatcher feeds from the project."""


def actor_of(settings: BeadsSettings) -> str:
    """In whose name issues are claimed."""
    return settings.actor or f"ygg@{socket.gethostname()}"


class Lock:
    """The lock of a project, while it is `taken`.

    It is held on a file, not on a name: whoever puts another file in its place (a backup, `git
    clean`) leaves us with a lock that keeps nobody out.
    """

    def __init__(self, project: Project, identity: str) -> None:
        self._project = project
        self._identity = identity
        self._place = project.files / _LOCK
        #: None: somebody else may have it.
        self._held: int | None = None
        self._had_it = False
        #: Whoever was cancelled while a thread kept it does not wait for that.
        self._one = threading.Lock()

    def keep(self) -> None:
        """Have it, still or again. Raises InUse, NoProject.

        When it is taken, what a dispatcher that was killed left running is ended: none of our own
        calls may run.
        """
        with self._one:
            try:
                if self._held is None or not self._is_in_place(self._held):
                    self._take()
            except OSError as error:
                self._let_go()
                if isinstance(error, FileNotFoundError):
                    raise NoProject(
                        "there is no such folder any more",
                        where=str(self._place.parent),
                        way_out="put it back, or run `bd init` there, or name another with "
                        "--beads PATH; --no-beads does without",
                    ) from error
                raise NoProject(
                    f"no lock can be made there: {error.strerror}",
                    where=str(self._place),
                    way_out="let ygg's user write to that folder, or do without it: --no-beads",
                ) from error

    def release(self) -> None:
        with self._one:
            self._let_go()

    def _take(self) -> None:
        self._let_go()
        while self._held is None or not self._is_in_place(self._held):
            self._let_go()  # it was replaced before we had it
            self._held = self._locked()
        if self._had_it:
            logger.warning("event=lock_replaced file=%s hint='it is held again'", self._place)
        self._had_it = True
        leftover.end(self._project.files / _NOTE)

    def _let_go(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def _is_in_place(self, lock: int) -> bool:
        try:
            return os.path.samestat(os.fstat(lock), self._place.stat())
        except FileNotFoundError:
            return False

    def _locked(self) -> int:
        try:
            return locks.take(self._place, self._identity)
        except locks.Held as held:
            raise InUse(
                f"the dispatcher {held.holder or '(unknown)'} feeds from this project",
                where=str(self._project.files),
                way_out="end that one, or start this one with --no-beads",
            ) from None


@contextmanager
def taken(project: Project, identity: str) -> Iterator[Lock]:
    """Be the only dispatcher on the project. Raises InUse, NoProject.

    Two would hand back each other's claims, by whatever redirects they came to it. What one that
    was killed left running is ended.
    """
    lock = Lock(project, identity)
    lock.keep()
    try:
        yield lock
    finally:
        lock.release()


def beads(
    project: Project,
    settings: BeadsSettings,
    *,
    telling: Callable[[Report, Issue | None], Sequence[Call]],
    lock: Lock | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Beads:
    """The project as a source. Asks nothing yet.

    Args:
        project: which one.
        settings: how `bd` is asked.
        telling: which calls tell of an end.
        lock: ours (see `taken`): no call is made without it, and calls are noted, for whoever
            takes it after us. None: whoever only looks needs none.
        environ: our own environment.
    """
    watch = Watch(project.files, poll_seconds=poll_seconds(project, settings, environ))
    bd = Bd(
        folder=project.folder,
        beads=project.beads,
        actor=actor_of(settings),
        command=settings.command,
        seconds_max=settings.timeout,
        environ=environ,
        around=watch,
        note=None if lock is None else project.files / _NOTE,
        guard=None if lock is None else lock.keep,
    )
    return Beads(bd, watch, telling=telling)
