"""The `dispatcher:` section of hosts.yaml: doors and tokens, paths, durations."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import yaml

from ygg.addresses import Address, UnixPath, is_beyond_loopback, parse_address, unix_path
from ygg.fleet import DispatcherSettings, Retention
from ygg.hostskeys import DISPATCHER_KEYS, RETENTION_KEYS
from ygg.places import NoStore, sqlite_file
from ygg.secrets import FORMS, is_reference
from ygg.yamlreader import Section, Value, shown
from ygg.yamlvalues import choice, door, host_name, listed, seconds, whole, word

_AFTER_DRAIN: Final[tuple[Literal["block", "reopen"], ...]] = ("block", "reopen")
TOKEN_USERS: Final[tuple[Literal["remote", "always"], ...]] = ("remote", "always")
#: What to do where there is no token and one is needed.
MAKE_ONE: Final = (
    "make one with `ygg token new --file /etc/ygg/tokens` and write "
    "`token_from: file:/etc/ygg/tokens`"
)
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
    settings = DispatcherSettings(
        listen=section.read("listen", lambda v: read_listen(v, folder), usual.listen),
        names=section.read("names", _names, usual.names),
        token=section.read("token", _who_needs_a_token, usual.token),
        token_from=section.read("token_from", lambda v: read_reference(v, folder), None),
        store=section.read("store", lambda v: _store(v, folder), usual.store),
        state=section.read("state", lambda v: read_path(v, folder), usual.state),
        drain_seconds=section.read("drain_seconds", seconds(0, _DAY), usual.drain_seconds),
        after_drain=section.read("after_drain", choice(_AFTER_DRAIN), usual.after_drain),
        poll_seconds=section.read("poll_seconds", seconds(0.1, 3600), usual.poll_seconds),
        max_strikes=section.read("max_strikes", whole(1, 1000), usual.max_strikes),
        artifacts=section.read("artifacts", lambda v: read_path(v, folder), usual.artifacts),
        retention=_retention(section["retention"]) if "retention" in section else usual.retention,
    )
    if "token_from" not in section:
        _miss_a_token(settings, section)
    return settings


def read_listen(value: Value, folder: Path) -> tuple[str, ...] | None:
    """One address, or a list of them."""
    items = value.items() if isinstance(value.node, yaml.SequenceNode) else [value]
    found: list[Address] = []
    for item in items or []:
        one = door(item)
        if isinstance(one, UnixPath):
            one = _socket(item, one, folder)
        if one in found:
            item.complain(f"is {one} again", "delete it")
        elif one is not None:
            found.append(one)
    if not items:
        value.complain("names no address", "write one, such as 127.0.0.1:8765, or delete the line")
    return tuple(map(str, found)) or None


def _socket(value: Value, socket: UnixPath, folder: Path) -> UnixPath | None:
    path = path_below(value, str(socket.path), folder)
    try:
        return None if path is None else unix_path(path)
    except ValueError as error:
        value.complain(f"is {shown(str(path))}", str(error))
        return None


def _names(value: Value) -> tuple[str, ...] | None:
    found = listed(host_name)(value)
    return None if found is None else tuple(dict.fromkeys(name for name, _ in found))


def _who_needs_a_token(value: Value) -> Literal["remote", "always"] | None:
    for users in TOKEN_USERS:
        if value.plain == users:
            return users
    # Whatever else stands here may be the token itself: it is in no message.
    remedy = f"write {' or '.join(TOKEN_USERS)}; where it is, is said by `token_from:`"
    value.complain("does not say who needs a token", remedy)
    return None


def _miss_a_token(settings: DispatcherSettings, section: Section) -> None:
    """Complain of what can't be without one."""
    beyond = [text for text in settings.listen if is_beyond_loopback(parse_address(text))]
    if beyond:
        what = f"has {beyond[0]}, which other machines reach, and there is no token"
        section["listen"].complain(what, f"{MAKE_ONE}; or listen on 127.0.0.1:8765")
    if settings.token == "always":  # noqa: S105 - a word of ours
        section["token"].complain("asks everybody for a token, and there is none", MAKE_ONE)
    if settings.names:
        what = "lets in what a proxy passes on, and there is no token"
        section["names"].complain(what, MAKE_ONE)


def read_reference(value: Value, folder: Path) -> str | None:
    """Where a secret is; a relative file starts at `folder`."""
    # Whatever stands here may be the secret itself: it is in no message.
    if value.node.tag.endswith(":str") and is_reference(value.plain):
        kind, _, name = value.plain.partition(":")
        if kind != "file":
            return value.plain
        path = path_below(value, name, folder)
        return None if path is None else f"file:{path}"
    remedy = f"write {FORMS}; a secret itself never stands in this file"
    value.complain("does not say where the secret is", remedy)
    return None


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
    try:
        name = sqlite_file(text)
    except NoStore as error:
        value.complain(error.what, error.remedy)
        return None
    path = path_below(value, name, folder)
    return None if path is None else f"sqlite:{path}"


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
