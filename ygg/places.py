"""Where files are when nobody says: hosts.yaml, state and logs.

In a checkout everything stays below the current folder; as a systemd service it is where systemd
says; elsewhere in the user's XDG folders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ygg.fleet import DispatcherSettings


class NoHostsFile(Exception):
    """hosts.yaml is in none of the places where it is looked for."""


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
    """Flag before environment before file before what the place of the process suggests."""
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
    where = (store or settings.store or "").removeprefix("sqlite:")
    return Places(
        state=root,
        store=Path(where) if where else root / "ygg.db",
        artifacts=settings.artifacts or root / "artifacts",
        logs=logs,
    )
