"""Which Beads project is meant, and where its files are: what is watched and locked is those.

bd itself decides which database it opens. It is told of a folder (BEADS_DIR), and follows a file
`redirect` in that: its first line that is no comment names another such folder, from the parent of
the first one on; a redirect there is not followed. So it is in bd's sources up to 1.x. That folder
may still name a database of its own for the other one to open: bd is told of the first one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from ygg.fleet import BeadsSettings
from ygg.lines import printable
from ygg.sources.base import NoProject
from ygg.sources.beads import found_upwards

REDIRECT: Final = "redirect"
#: Seconds between looks at a project of which every change shows in its files, and at another.
POLL_SECONDS: Final = 60.0
POLL_SECONDS_OF_SERVER: Final = 10.0
#: Of `metadata.json`, as bd's sources have it.
_SERVER_MODES: Final = ("server", "proxied-server")
_BYTES_MAX: Final = 10_000
#: One of these is in the folder of a project that has a database.
_SIGNS: Final = ("metadata.json", "config.yaml", "dolt", "embeddeddolt")
_SUFFIXES: Final = (".db", ".jsonl")


class _Metadata(msgspec.Struct, frozen=True):
    dolt_mode: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What the command line said of Beads."""

    #: The project's folder, or its `.beads`; None: nothing was said.
    path: str | None = None
    #: No project, whatever there is.
    off: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """A Beads project."""

    #: What bd is told of, as a rule `.beads` in the project's folder.
    beads: Path
    #: Where its files are: another folder, where that one redirects.
    files: Path
    #: Why bd may open another database than that of `files`; "": it does not.
    doubt: str = ""

    @property
    def folder(self) -> Path:
        return self.beads.parent

    @property
    def is_redirected(self) -> bool:
        return self.files != self.beads


def find_project(
    wanted: Wanted,
    settings: BeadsSettings,
    folder: Path,
    environ: Mapping[str, str] = os.environ,
) -> Project | None:
    """The flag, before hosts.yaml, before BEADS_DIR, before the nearest upwards. None: none is there.

    Raises NoProject: there is none where one was named.
    """
    if wanted.off:
        return None
    named = settings.path if wanted.path is None else Path(wanted.path).expanduser().absolute()
    if named is not None:
        beads = named if named.name == ".beads" else named / ".beads"
        if not beads.is_dir():
            raise NoProject(
                "there is no .beads folder",
                where=str(beads.parent),
                way_out="run `bd init` there, or name another with --beads PATH; --no-beads does "
                "without",
            )
        return project_at(beads)
    if told := environ.get("BEADS_DIR", ""):
        beads = folder / told
        if not beads.is_dir():
            raise NoProject(
                "there is no such folder",
                where=f"BEADS_DIR={printable(told)}",
                way_out="unset it, or say which project is meant with --beads PATH; --no-beads does "
                "without",
            )
        return project_at(beads)
    found = found_upwards(folder)
    return None if found is None else project_at(found / ".beads")


def project_at(beads: Path) -> Project:
    """The project of which bd is told by this folder."""
    try:
        with (beads / REDIRECT).open("rb") as file:
            text = file.read(_BYTES_MAX).decode("utf-8-sig", errors="replace")
    except OSError:
        return Project(beads=beads, files=beads)  # as a rule: there is none
    lines = (line.strip() for line in text.splitlines())
    target = next((line for line in lines if line and not line.startswith("#")), None)
    if target is None or "\0" in target:
        return Project(beads=beads, files=beads)
    files = Path(os.path.realpath(beads.parent / target))
    if not files.is_dir():
        doubt = f"it leads to {printable(str(files))}, where no folder is: bd does not follow it"
        return Project(beads=beads, files=beads, doubt=doubt)
    if not _has_files(files):
        doubt = (
            f"it leads to {printable(str(files))}, where no project is: some versions of bd follow "
            "it, others do not"
        )
        return Project(beads=beads, files=files, doubt=doubt)
    if (files / REDIRECT).exists():
        doubt = f"it leads to {printable(str(files))}, which has one too: bd does not follow that"
        return Project(beads=beads, files=files, doubt=doubt)
    return Project(beads=beads, files=files)


def poll_seconds(
    project: Project, settings: BeadsSettings, environ: Mapping[str, str] = os.environ
) -> float:
    """How often to look although no file changed: as hosts.yaml says, or as the project needs."""
    if settings.poll_seconds is not None:
        return settings.poll_seconds
    return POLL_SECONDS_OF_SERVER if is_elsewhere(project, environ) else POLL_SECONDS


def is_elsewhere(project: Project, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether bd talks to a server that keeps the issues outside of the project's folder.

    By what bd's sources go by up to 1.x: two variables, then `dolt_mode` in metadata.json. A server
    that keeps them in the folder (`dolt`) changes its files there, and is seen.
    """
    said = environ.get("BEADS_DOLT_SERVER_MODE") == "1" or (
        environ.get("BEADS_DOLT_SHARED_SERVER", "").lower() in ("1", "true")
    )
    return (said or _mode(project.files) in _SERVER_MODES) and not (project.files / "dolt").is_dir()


def _mode(folder: Path) -> str:
    try:
        with (folder / "metadata.json").open("rb") as file:
            said = msgspec.json.decode(file.read(_BYTES_MAX), type=_Metadata)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return ""  # there is none, or bd itself will tell of it
    return said.dolt_mode.lower()


def _has_files(folder: Path) -> bool:
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:
        return True  # bd's own words tell of that
    return any(name in _SIGNS or name.endswith(_SUFFIXES) for name in names)
