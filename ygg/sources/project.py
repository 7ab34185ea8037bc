"""Which Beads project a dispatcher feeds from, and that it is the only one that does.

What is asked of it is left to `beads`.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ygg.fleet import BeadsSettings
from ygg.sources import leftover
from ygg.sources.base import Call, Issue, NoProject, Report, SourceError
from ygg.sources.bd import Bd
from ygg.sources.beads import Beads, found_upwards
from ygg.sources.watch import Watch

#: Noise to the watch, by its name.
_LOCK: Final = "ygg.lock"
_NOTE: Final = "ygg-call.pid"
_HOLDER_BYTES: Final = 200


class InUse(SourceError):
    """Another dispatcher feeds from the project."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What the command line said of Beads."""

    #: The project's folder, or its `.beads`; None: nothing was said.
    path: str | None = None
    #: No project, whatever there is.
    off: bool = False


def find_project(wanted: Wanted, settings: BeadsSettings, folder: Path) -> Path | None:
    """The flag before hosts.yaml before the nearest upwards. None: there is none.

    Raises NoProject: there is none where one was named.
    """
    if wanted.off:
        return None
    named = settings.path if wanted.path is None else Path(wanted.path).expanduser().absolute()
    if named is None:
        return found_upwards(folder)
    project = named.parent if named.name == ".beads" else named
    if not (project / ".beads").is_dir():
        raise NoProject(
            "there is no .beads folder",
            where=str(project),
            way_out="run `bd init` there, or name another with --beads PATH; --no-beads does without",
        )
    return project


def actor_of(settings: BeadsSettings) -> str:
    """In whose name issues are claimed."""
    return settings.actor or f"ygg@{socket.gethostname()}"


@contextmanager
def taken(project: Path, identity: str) -> Iterator[None]:
    """Be the only dispatcher on the project. Raises InUse, NoProject.

    Two would hand back each other's claims. What one that was killed left running is ended.
    """
    place = project / ".beads" / _LOCK
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
                where=str(project),
                way_out="end that one, or start this one with --no-beads",
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{identity}\n".encode(), 0)
        leftover.end(project / ".beads" / _NOTE)
        yield
    finally:
        os.close(lock)


def beads(
    project: Path,
    settings: BeadsSettings,
    *,
    telling: Callable[[Report, Issue | None], Sequence[Call]],
    is_taken: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> Beads:
    """The project as a source. Asks nothing yet.

    Args:
        project: its folder.
        settings: how `bd` is asked.
        telling: which calls tell of an end.
        is_taken: by us (see `taken`): calls are noted, for whoever takes it after us.
        environ: our own environment.
    """
    watch = Watch(project / ".beads", poll_seconds=settings.poll_seconds)
    bd = Bd(
        folder=project,
        actor=actor_of(settings),
        command=settings.command,
        seconds_max=settings.timeout,
        environ=environ,
        around=watch,
        note=project / ".beads" / _NOTE if is_taken else None,
    )
    return Beads(bd, watch, telling=telling)
