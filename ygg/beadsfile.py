"""The `beads:` section of hosts.yaml: which issues are taken, in whose name, how `bd` is asked.

Whether the project and the program are there is asked when they are used.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal

from ygg.dispatcherfile import path_below, read_path
from ygg.fleet import ANSWERED, BeadsSettings, Done
from ygg.hostskeys import BEADS_KEYS
from ygg.yamlreader import Value, shown
from ygg.yamlvalues import choice, listed, seconds, word

DONES: Final[tuple[Done, ...]] = ("close", "review")
_TAKES: Final[tuple[Literal["labelled", "all"], ...]] = ("labelled", "all")
#: It stands on a command line, and is compared with what Beads says.
_ACTOR: Final = r"[A-Za-z0-9][A-Za-z0-9@._+:/-]{0,99}"
_HOUR: Final = 3600.0


def read_beads(value: Value | None, folder: Path) -> BeadsSettings:
    """The section's settings; what it does not say is as BeadsSettings has it.

    Args:
        value: the section, if there is one.
        folder: what its relative paths are relative to.
    """
    usual = BeadsSettings()
    if value is None:
        return usual
    section = value.section(BEADS_KEYS)
    settings = BeadsSettings(
        path=section.read("path", lambda v: _project(v, folder), usual.path),
        actor=section.read("actor", _actor, usual.actor),
        labels=section.read("labels", _labels, usual.labels),
        take=section.read("take", choice(_TAKES), usual.take),
        done=section.read("done", choice(DONES), usual.done),
        poll_seconds=section.read("poll_seconds", seconds(1, _HOUR), usual.poll_seconds),
        command=section.read("command", lambda v: _program(v, folder), usual.command),
        timeout=section.read("timeout", seconds(1, _HOUR), usual.timeout),
    )
    if settings.take == "all" and settings.labels:
        what = "stands beside `take: all`, which takes every issue whatever its labels"
        section["labels"].complain(what, "delete one of the two lines")
    return settings


def _project(value: Value, folder: Path) -> Path | None:
    path = read_path(value, folder)
    # Who names `.beads` itself means the folder that it is in.
    return path.parent if path is not None and path.name == ".beads" else path


def _actor(value: Value) -> str | None:
    text = word(value)
    if text is not None and not re.fullmatch(_ACTOR, text):
        remedy = "use letters, digits and `@._+:/-`, at most 100, a letter or digit first"
        value.complain(f"is {shown(text)}", remedy)
        return None
    return text


def _labels(value: Value) -> tuple[str, ...] | None:
    pairs = listed(word)(value)
    if pairs is None:
        return None
    found: dict[str, None] = {}
    for text, item in pairs:
        if text == ANSWERED:
            what = f"is {shown(text)}, which marks issues that are not taken"
            item.complain(what, "choose another label")
        elif text in found:
            item.complain(f"is {shown(text)} again", "delete it")
        found[text] = None
    return tuple(found)


def _program(value: Value, folder: Path) -> str | None:
    """A name stays one; a path that is relative starts at `folder`."""
    text = word(value)
    if text is None:
        return None
    if "/" in text or text.startswith("~"):
        path = path_below(value, text, folder)
        return None if path is None else str(path)
    if text.startswith("-") or len(text.split()) > 1:
        value.complain(f"is {shown(text)}", "write the program alone: its name, or its path")
        return None
    return text
