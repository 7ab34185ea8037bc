"""Where files are when nobody says: hosts.yaml, state and logs.

In a checkout everything stays below the current folder; as a systemd service it is where systemd
says; elsewhere in the user's XDG folders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the daily commands look for hosts.yaml, and need no more of it
    from ygg.fleet import DispatcherSettings


class NoHostsFile(Exception):
    """hosts.yaml is in none of the places where it is looked for."""


class NoStore(ValueError):
    """A text names no store that can be had.

    Its words don't repeat the text: an address of a database may hold a password.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")
        self.what = what
        self.remedy = remedy


def sqlite_file(text: str) -> str:
    """The path in `sqlite:PATH`. Raises NoStore."""
    kind, _, name = text.partition(":")
    if kind in ("postgres", "postgresql"):
        remedy = "write sqlite:PATH, or leave it out"
        raise NoStore("asks for PostgreSQL, which ygg can't use yet", remedy)
    if kind != "sqlite" or not name:
        remedy = "write sqlite:PATH, or leave it out"
        raise NoStore("names no store that ygg knows", remedy)
    if name.startswith(":") or (name.startswith("//") and not name.startswith("///")):
        # sqlite::memory: would forget what was accepted; sqlite://x is nobody's path.
        remedy = "write sqlite:PATH, such as sqlite:/var/lib/ygg/ygg.db"
        raise NoStore("names no file", remedy)
    return name


def _xdg(environ: Mapping[str, str], name: str, fallback: str) -> Path:
    given = environ.get(name)
    return Path(given) if given else Path(environ.get("HOME", "~")).expanduser() / fallback


def find_hosts_file(given: str | None, environ: Mapping[str, str], folder: Path) -> Path:
    """`--hosts`, then YGG_HOSTS, then the usual places. Raises NoHostsFile."""
    if given is not None:
        return Path(given)
    if environ.get("YGG_HOSTS"):
        return Path(environ["YGG_HOSTS"])
    places = [
        folder / "hosts.yaml",
        _xdg(environ, "XDG_CONFIG_HOME", ".config") / "ygg" / "hosts.yaml",
        Path("/etc/ygg/hosts.yaml"),
    ]
    for place in places:
        if place.exists():
            return place
    raise NoHostsFile(
        f"no hosts.yaml in {', '.join(str(place.parent) for place in places)}: "
        "name one with --hosts FILE or YGG_HOSTS, or let `ygg init` write one"
    )


def in_checkout(folder: Path) -> bool:
    return (folder / "ygg.py").is_file() and (folder / "ygg" / "dispatcher.py").is_file()


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    #: Folder of store and artifacts.
    state: Path
    #: The SQLite file.
    store: Path
    #: Folder of the answers.
    artifacts: Path
    #: Folder of ygg.log.
    logs: Path


def find_places(
    settings: DispatcherSettings,
    *,
    state: str | None,
    store: str | None,
    environ: Mapping[str, str],
    folder: Path,
) -> Places:
    """Flag before environment before file before what the place of the process suggests.

    Raises NoStore.
    """
    named = state or environ.get("YGG_STATE") or settings.state
    if named is not None:
        root = Path(named)
    elif environ.get("STATE_DIRECTORY"):  # set by systemd for StateDirectory=
        root = Path(environ["STATE_DIRECTORY"].split(":")[0])
    elif in_checkout(folder):
        root = folder / ".ygg"
    else:
        root = _xdg(environ, "XDG_STATE_HOME", ".local/state") / "ygg"
    if environ.get("LOGS_DIRECTORY"):
        logs = Path(environ["LOGS_DIRECTORY"].split(":")[0])
    elif named is None and in_checkout(folder):
        logs = folder / "logs"
    else:
        logs = root / "logs"
    try:
        given = store or settings.store
        where = None if given is None else sqlite_file(given)
    except NoStore as error:
        raise NoStore(f"--store {error.what}", error.remedy) from None
    return Places(
        state=root,
        store=root / "ygg.db" if where is None else Path(where),
        artifacts=settings.artifacts or root / "artifacts",
        logs=logs,
    )
