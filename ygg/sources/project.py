"""A Beads project as a source, with one dispatcher at a time.

Which project that is, is left to `where`; what is asked of it to `beads`.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from ygg.fleet import BeadsSettings
from ygg.sources import leftover
from ygg.sources.base import Call, Issue, NoProject, Report, SourceError
from ygg.sources.bd import Bd
from ygg.sources.beads import Beads
from ygg.sources.watch import Watch
from ygg.sources.where import Project

#: Noise to the watch, by its name.
_LOCK: Final = "ygg.lock"
_NOTE: Final = "ygg-call.pid"
_HOLDER_BYTES: Final = 200


class InUse(SourceError):
    """Another dispatcher feeds from the project."""


def actor_of(settings: BeadsSettings) -> str:
    """In whose name issues are claimed."""
    return settings.actor or f"ygg@{socket.gethostname()}"


@contextmanager
def taken(project: Project, identity: str) -> Iterator[None]:
    """Be the only dispatcher on the project. Raises InUse, NoProject.

    Two would hand back each other's claims, by whatever redirects they came to it. What one that
    was killed left running is ended.
    """
    place = project.files / _LOCK
    try:
        lock = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise NoProject(
            f"no lock can be made there: {error.strerror}",
            where=str(place),
            way_out="let ygg's user write to that folder, or do without it: --no-beads",
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, _HOLDER_BYTES, 0).decode(errors="replace").strip()
            raise InUse(
                f"the dispatcher {holder or '(unknown)'} feeds from this project",
                where=str(project.files),
                way_out="end that one, or start this one with --no-beads",
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{identity}\n".encode(), 0)
        leftover.end(project.files / _NOTE)
        yield
    finally:
        os.close(lock)


def beads(
    project: Project,
    settings: BeadsSettings,
    *,
    telling: Callable[[Report, Issue | None], Sequence[Call]],
    is_taken: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> Beads:
    """The project as a source. Asks nothing yet.

    Args:
        project: which one.
        settings: how `bd` is asked.
        telling: which calls tell of an end.
        is_taken: by us (see `taken`): calls are noted, for whoever takes it after us.
        environ: our own environment.
    """
    watch = Watch(project.files, poll_seconds=settings.poll_seconds)
    bd = Bd(
        folder=project.folder,
        beads=project.beads,
        actor=actor_of(settings),
        command=settings.command,
        seconds_max=settings.timeout,
        environ=environ,
        around=watch,
        note=project.files / _NOTE if is_taken else None,
    )
    return Beads(bd, watch, telling=telling)
