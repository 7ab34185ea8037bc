"""docs/json.md: what each command prints with --json, out of the types that it prints."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Final

import msgspec

from tools import markdown
from ygg import shapes
from ygg.cli import printed

_TOP: Final = """\
# What `--json` prints

<!-- Made by `make docs` out of ygg/shapes.py and ygg/cli/printed.py. Edit those. -->

One value in one line. Fields are never renamed or taken away within a major version; new ones may
come, so leave out those that you don't know. Times are RFC 3339 in UTC, durations are seconds.

**Errors are text, with `--json` too**: one line on standard error that begins with `ygg: `, and the
[exit code](command-line.md#exit-codes). Standard output has then only what was done before.
`ygg check` and `ygg doctor` print their value as well when they find something wrong. What is wrong
in hosts.yaml is told as a compiler does, for editors: a line `FILE:LINE: WHAT; REMEDY` for each
mistake, without the `ygg: `.
"""
#: Of each command that has --json: what it prints (None: told elsewhere), and how often.
COMMANDS: Final[Mapping[str, tuple[type[msgspec.Struct] | None, str]]] = {
    "status": (shapes.DispatcherStatus, "with --watch one after another"),
    "submit": (shapes.TaskView, "with --file a line for each task, with --wait once it has ended"),
    "list": (shapes.TaskView, "a line for each task"),
    "show": (shapes.TaskStory, ""),
    "why": (shapes.Why, ""),
    "answer": (shapes.AnswerText, ""),
    "wait": (shapes.TaskView, "a line for each task, once it has ended"),
    "cancel": (shapes.TaskView, "a line for each task"),
    "next": (shapes.TaskView, "a line for each task"),
    "priority": (shapes.TaskView, "a line for each task"),
    "hold": (shapes.TaskView, "a line for each task"),
    "release": (shapes.TaskView, "a line for each task"),
    "retry": (shapes.Retried, ""),
    "limit": (shapes.HostStatus, ""),
    "pause": (shapes.HostStatus, ""),
    "resume": (shapes.HostStatus, ""),
    "events": (shapes.RowView, "a line for each row"),
    "init": (printed.Proposal, ""),
    "check": (printed.CheckReport, ""),
    "doctor": (printed.DoctorReport, ""),
    "check-journal": (printed.JournalReport, ""),
    "token": (printed.NewToken, ""),
    "compare": (None, "all figures, as [its page](compare.md) tells"),
}
_WORDS: Final[Mapping[object, str]] = {
    str: "text", int: "whole number", float: "number", bool: "true or false", Any: "any value",
    type(None): "null",
}  # fmt: skip


def page() -> str:
    rows = [
        (f"`ygg {name}`", "" if kind is None else _link(kind), remark)
        for name, (kind, remark) in COMMANDS.items()
    ]
    parts = [_TOP, markdown.table(["command", "prints", "how"], rows)]
    parts += [_section(kind) for kind in kinds()]
    return "\n".join(parts)


def kinds() -> list[type[msgspec.Struct]]:
    """All that is printed, and all that stands in it, in the order in which one comes to it."""
    found = dict[type[msgspec.Struct], None]()

    def visit(kind: type[msgspec.Struct]) -> None:
        if kind not in found:
            found[kind] = None
            for hint in _hints(kind).values():
                for inner in _structs(hint):
                    visit(inner)

    for kind, _ in COMMANDS.values():
        if kind is not None:
            visit(kind)
    return list(found)


def _section(kind: type[msgspec.Struct]) -> str:
    hints, comments = _hints(kind), dict[str, str]()
    for base in reversed(kind.__mro__):
        if issubclass(base, msgspec.Struct) and base is not msgspec.Struct:
            comments |= _comments(base)
    rows = [
        (f"`{field.encode_name}`", _words(hints[field.name]), comments.get(field.name, ""))
        for field in msgspec.structs.fields(kind)
    ]
    about = inspect.cleandoc(kind.__doc__ or "") if "__doc__" in vars(kind) else ""
    table = markdown.table(["field", "is", "means"], rows)
    return f"## {kind.__name__}\n\n" + (f"{about}\n\n" if about else "") + table


def _hints(kind: type[msgspec.Struct]) -> Mapping[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(kind)}


def _comments(kind: type[msgspec.Struct]) -> Mapping[str, str]:
    """What stands above a field, behind `#:`."""
    comments, said = dict[str, str](), list[str]()
    for line in inspect.getsource(kind).splitlines():
        if (comment := re.match(r"\s+#: (.*)", line)) is not None:
            said.append(comment[1])
        elif (field := re.match(r"    (\w+):", line)) is not None:
            comments[field[1]] = " ".join(said)
            said = []
        else:
            said = []
    return comments


def _structs(hint: Any) -> Iterator[type[msgspec.Struct]]:
    if inspect.isclass(hint) and issubclass(hint, msgspec.Struct):
        yield hint
    for inner in typing.get_args(hint):
        yield from _structs(inner)


def _words(hint: Any) -> str:
    if hint in _WORDS:
        return _WORDS[hint]
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_words(arg) for arg in args)
    if origin is typing.Literal:
        return " or ".join(f'"{arg}"' for arg in args)
    if inspect.isclass(hint) and issubclass(hint, msgspec.Struct):
        return _link(hint)
    if inspect.isclass(hint) and issubclass(hint, Enum):
        return " or ".join(f'"{member.value}"' for member in hint)
    if inspect.isclass(origin) and issubclass(origin, typing.Mapping):
        return f"object; each value: {_words(args[1])}"
    if origin is not None:
        return f"list of: {_words(args[0])}"
    raise TypeError(f"{hint!r} has no words here: give it some in tools/json_page.py")


def _link(kind: type[msgspec.Struct]) -> str:
    return f"[{kind.__name__}](#{kind.__name__.lower()})"
