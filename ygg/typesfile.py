"""The `types:` section of hosts.yaml: how tasks are recognised, where they run, what is asked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ygg.beadsfile import DONES
from ygg.dispatcherfile import read_path
from ygg.fleet import BUILT_IN_TYPES, FALLBACK_TYPE, HostSettings, Option, TypeSettings
from ygg.hostskeys import TYPE_KEYS
from ygg.routing import WORD
from ygg.tasks import Json
from ygg.yamlreader import Section, Value, short, shown
from ygg.yamlvalues import choice, flag, json, listed, prose, seconds, word

#: Names of hosts and types: they stand in addresses, labels of metrics and `HOST/MODEL`.
NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
NAME_REMEDY: Final = "use letters, digits, `.`, `_` and `-`, at most 63, a letter or digit first"
#: `general` runs where this runs when it does not say where.
_FALLBACK_ROUTE: Final = "reasoning"
_VARIABLE: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_FUNCTION: Final = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*"
#: A run may take a month; more is a slip.
_LIMIT: Final = seconds(0.001, 31 * 86400.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    """A type as it stands in the file, before it is held against the others."""

    settings: TypeSettings
    #: None: the file does not say.
    run: tuple[Option, ...] | None
    labels: Sequence[tuple[str, Value]]
    words: Sequence[tuple[str, Value]] | None


def read_types(
    value: Value | None, hosts: Mapping[str, HostSettings], folder: Path
) -> dict[str, TypeSettings]:
    """All types: those of the file in its order, then the built-in ones that it does not name.

    Args:
        value: the section, if there is one.
        hosts: what a route may name.
        folder: what relative paths are relative to.
    """
    found: dict[str, _Found] = {}
    for key, entry in value.entries() if value is not None else ():
        if not re.fullmatch(NAME, key.plain):
            key.complain(f"has a type named {shown(key.plain)}", NAME_REMEDY)
        found[key.plain] = _read_type(key, entry, hosts, folder)
    names = [*found, *(name for name in BUILT_IN_TYPES if name not in found)]
    own = {name: (name, found[name].settings.line if name in found else 0) for name in names}
    _claim([(name, pair) for name in found for pair in found[name].labels], own, "label")
    claimed: dict[str, tuple[str, int]] = {}
    _claim([(n, pair) for n in found for pair in found[n].words or ()], claimed, "word")
    everywhere = tuple(Option(host.name, host.model or "") for host in hosts.values())
    reasoning = found[_FALLBACK_ROUTE].run if _FALLBACK_ROUTE in found else None
    types: dict[str, TypeSettings] = {}
    for name in names:
        one = found.get(name)
        run = one.run if one else None
        if run is None and name == FALLBACK_TYPE:
            run = reasoning
        words = [text for text, _ in one.words] if one and one.words is not None else None
        if words is None:
            # A word that the file gives to a type is no longer a built-in one of another.
            words = [text for text in BUILT_IN_TYPES.get(name, ()) if text not in claimed]
        types[name] = replace(
            one.settings if one else TypeSettings(name=name),
            run=everywhere if run is None else run,
            words=tuple(words),
        )
    return types


def _claim(
    pairs: Sequence[tuple[str, tuple[str, Value]]], owners: dict[str, tuple[str, int]], what: str
) -> None:
    """Note who has which label or word. Complains where two types would have one."""
    for name, (text, value) in pairs:
        owner, line = owners.setdefault(text, (name, value.line))
        where = f"line {line}" if line else "built in"
        if owner != name:
            problem = f"is the {what} {shown(text)}, which means {short(owner)} ({where})"
            value.complain(problem, "keep it in one of the two: a task has one type")


def _read_type(key: Value, entry: Value, hosts: Mapping[str, HostSettings], folder: Path) -> _Found:
    section, name = entry.section(TYPE_KEYS), key.plain
    usual = TypeSettings(name=name)
    _check_handler(section)
    labels = _once(section.read("labels", listed(word), []))
    words = section.read("words", listed(_title_word), None)
    settings = TypeSettings(
        name=name,
        labels=tuple(text for text, _ in labels),
        system=section.read("system", prose, usual.system),
        options=section.read("options", _options, usual.options),
        first_token=section.read("first_token", _LIMIT, usual.first_token),
        stall=section.read("stall", _LIMIT, usual.stall),
        timeout=section.read("timeout", _LIMIT, usual.timeout),
        command=section.read("command", _command, usual.command),
        cwd=section.read("cwd", lambda v: _folder(v, folder), usual.cwd),
        environment=section.read("environment", _environment, usual.environment),
        python=section.read("python", _python, usual.python),
        repeat=section.read("repeat", flag, usual.repeat),
        done=section.read("done", choice(DONES), usual.done),
        line=key.line,
    )
    return _Found(
        settings=settings,
        run=_read_route(section["run"], hosts) if "run" in section else None,
        labels=labels,
        words=None if words is None else _once(words),
    )


def _check_handler(section: Section) -> None:
    """A key that the type's handler would not look at is a mistake, not a wish."""
    if "command" in section:
        for key in ("python", "system", "options"):
            if key in section:
                what = "stands beside a command, which would never see it"
                section[key].complain(what, "delete it, or the command")
    else:
        for key in ("cwd", "environment"):
            if key in section:
                what = "stands in a type without a command"
                section[key].complain(what, "delete it, or write `command: [PROGRAM, ARGUMENT]`")


def _once(pairs: Sequence[tuple[str, Value]]) -> list[tuple[str, Value]]:
    """Each text once. Complains of the others."""
    first: dict[str, Value] = {}
    for text, value in pairs:
        if text in first:
            value.complain(f"is {shown(text)} again", "delete it")
        first.setdefault(text, value)
    return list(first.items())


def _read_route(value: Value, hosts: Mapping[str, HostSettings]) -> tuple[Option, ...]:
    """`[]` is nowhere: a type whose last host was taken out, until one returns."""
    entries = value.items()
    options: dict[Option, Value] = {}
    for entry in entries or ():
        text = word(entry)
        if text is None:
            continue
        host, slash, model = text.partition("/")
        if host not in hosts:
            if hosts:  # else that there are none is the problem
                what = f"names the unknown host {shown(host)}"
                entry.complain(what, value.reader.nearest(host, hosts))
        elif slash and not model:
            entry.complain(
                "names no model behind the `/`", f"write {short(host)} or {short(host)}/MODEL"
            )
        else:
            option = Option(host, model or hosts[host].model or "")
            if option in options:
                entry.complain(f"is {shown(str(option))} again", "delete it")
            options.setdefault(option, entry)
    return tuple(options)


def _title_word(value: Value) -> str | None:
    text = word(value)
    if text is None:
        return None
    if not WORD.fullmatch(text.lower()):
        what = f"is {shown(text)}, and titles are compared word by word"
        value.complain(what, "write one word of letters and digits, `-` within it")
        return None
    return text.lower()


def _options(value: Value) -> Mapping[str, Json]:
    return {key.plain: json(inner) for key, inner in value.entries()}


def _command(value: Value) -> tuple[str, ...] | None:
    arguments = listed(prose)(value)
    if arguments is None:
        return None
    texts = tuple(text for text, _ in arguments)
    if not texts or not texts[0].strip():
        value.complain("names no program", "write a list: [PROGRAM, ARGUMENT]")
        return None
    return texts


def _folder(value: Value, folder: Path) -> str | None:
    path = read_path(value, folder)
    return None if path is None else str(path)


def _environment(value: Value) -> tuple[str, ...] | None:
    names = listed(prose)(value)
    if names is None:
        return None
    for text, item in names:
        if not re.fullmatch(_VARIABLE, text):
            # NAME=VALUE perhaps, and the value a secret: not shown.
            what = "is not the name of an environment variable"
            item.complain(what, "write the name alone; its value is taken from ygg's environment")
    return tuple(text for text, _ in names)


def _python(value: Value) -> str | None:
    text = word(value)
    if text is not None and not re.fullmatch(_FUNCTION, text, re.ASCII):
        value.complain(f"is {shown(text)}", "write package.module:function")
        return None
    return text
