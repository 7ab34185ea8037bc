"""The `dispatcher:` section of hosts.yaml, and what it says about paths and durations."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from ygg.fleet import DispatcherSettings, Retention
from ygg.hostskeys import DISPATCHER_KEYS, RETENTION_KEYS
from ygg.yamlreader import Section, Value
from ygg.yamlvalues import address, choice, seconds, whole, word

_AFTER_DRAIN: Final[tuple[Literal["block", "reopen"], ...]] = ("block", "reopen")
_DAY: Final = 86400.0


def read_dispatcher(value: Value | None, folder: Path) -> DispatcherSettings:
    """The section's settings; what it does not say is as DispatcherSettings has it.

    Args:
        value: the section, if there is one.
        folder: what its relative paths are relative to.
    """
    usual = DispatcherSettings()
    if value is None:
        return usual
    section = value.section(DISPATCHER_KEYS)
    return DispatcherSettings(
        listen=section.read("listen", address, usual.listen),
        store=section.read("store", lambda v: _store(v, folder), usual.store),
        state=section.read("state", lambda v: read_path(v, folder), usual.state),
        drain_seconds=section.read("drain_seconds", seconds(0, _DAY), usual.drain_seconds),
        after_drain=section.read("after_drain", choice(_AFTER_DRAIN), usual.after_drain),
        poll_seconds=section.read("poll_seconds", seconds(0.1, 3600), usual.poll_seconds),
        max_strikes=section.read("max_strikes", whole(1, 1000), usual.max_strikes),
        artifacts=section.read("artifacts", lambda v: read_path(v, folder), usual.artifacts),
        retention=_retention(section["retention"]) if "retention" in section else usual.retention,
    )


def read_path(value: Value, folder: Path) -> Path | None:
    """A path; a relative one starts at `folder`."""
    text = word(value)
    return None if text is None else path_below(value, text, folder)


def path_below(value: Value, text: str, folder: Path) -> Path | None:
    """The path that `text`, a part of the value, names; `~` is the user's home."""
    try:
        return folder / Path(text).expanduser()
    except RuntimeError:
        value.complain("begins with `~`, and whose home that is is unknown", "write it in full")
        return None


def _store(value: Value, folder: Path) -> str | None:
    # The text is in no message: an address of a database may hold a password.
    text = word(value)
    if text is None:
        return None
    kind, _, name = text.partition(":")
    if kind in ("postgres", "postgresql"):
        remedy = "write sqlite:PATH, or delete the line"
        value.complain("asks for PostgreSQL, which ygg can't use yet", remedy)
    elif kind != "sqlite" or not name:
        value.complain("names no store that ygg knows", "write sqlite:PATH, or delete the line")
    elif name.startswith(":") or (name.startswith("//") and not name.startswith("///")):
        # sqlite::memory: would forget what was accepted; sqlite://x is nobody's path.
        value.complain("names no file", "write sqlite:PATH, such as sqlite:/var/lib/ygg/ygg.db")
    else:
        path = path_below(value, name, folder)
        return None if path is None else f"sqlite:{path}"
    return None


def _retention(value: Value) -> Retention:
    section, usual = value.section(RETENTION_KEYS), Retention()
    return Retention(
        closed=_kept(section, "closed", usual.closed),
        artifacts=_kept(section, "artifacts", usual.artifacts),
        journal=_kept(section, "journal", usual.journal),
    )


def _kept(section: Section, key: str, usual: float | None) -> float | None:
    """How long something is kept; None: `forever`."""
    if key in section and section[key].plain == "forever":
        return None
    return section.read(key, seconds(60, 36500 * _DAY), usual)
