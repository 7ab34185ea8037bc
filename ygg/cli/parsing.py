"""argparse, with its complaints in one line: what is wrong, the nearest that is known, where help is.

It also finds the flag for a field that the dispatcher complains of. What commands there are is left
to those who add them.
"""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from ygg import printing


class Help(argparse.HelpFormatter):
    """Keeps the lines of examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return text
        return super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if "lists them" not in message:
            message += f"{' ' if message.endswith('?') else '; '}`{self.prog} --help` tells more"
        self.exit(2, f"{self.prog}: {printing.clean(message)}\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        nearest = near(str(value), known)
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - argparse has no other way
            lists = "ygg help" if self.prog == "ygg" else f"{self.prog} --help"
            self.error(f"there is no command {value!r}{nearest or ';'} `{lists}` lists them")
        what = f"{str(value)!r} is none of {', '.join(known)}{nearest}"
        raise argparse.ArgumentError(action, what)


def unknown(rest: Sequence[str], parser: argparse.ArgumentParser) -> str:
    """What is said of arguments that a command does not know."""
    flag = rest[0].partition("=")[0]
    known = [text for action in parser._actions for text in action.option_strings]  # noqa: SLF001 - argparse has no other way
    nearest = near(flag, known) if flag.startswith("--") else ""
    return f"unrecognized arguments: {' '.join(rest)}{nearest}"


def near(text: str, known: Iterable[str]) -> str:
    """What may have been meant, to follow on what is wrong."""
    close = difflib.get_close_matches(text, list(known), n=1)
    return f": did you mean {close[0]!r}?" if close else ""


def with_flags(
    text: str, errors: Sequence[tuple[str, str]], parser: argparse.ArgumentParser
) -> str:
    """A problem's text, in which each field goes by the name of what was typed for it.

    `errors`: the fields as the problem has them, JSON pointers into a body or names in a query.
    """
    for pointer, _ in errors:
        typed = flag_of(pointer, parser)
        if typed is not None:
            shown = typed.replace("\\", r"\\")
            text = re.sub(rf"(^|; ){re.escape(pointer)}: ", rf"\g<1>{shown}: ", text)
    return text


def flag_of(pointer: str, parser: argparse.ArgumentParser) -> str | None:
    """The flag or the argument by which a field is given; None: the command has none for it."""
    field, _, inside = pointer.removeprefix("/").partition("/")
    rest = f" {inside}" if inside and not inside.isdecimal() else ""
    named = {_FIELDS.get(field, field), field.removesuffix("s")}
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way
        flags = [flag for flag in action.option_strings if flag.startswith("--")]
        if {flag.removeprefix("--").replace("-", "_") for flag in flags} & named:
            return f"{flags[0]}{rest}"
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way
        if not action.option_strings and action.dest in named:
            shown = action.metavar or action.dest
            return f"{shown if isinstance(shown, str) else shown[0]}{rest}"
    return None


#: Fields that a command has another word for.
_FIELDS = {"until": "for", "kinds": "kind"}
