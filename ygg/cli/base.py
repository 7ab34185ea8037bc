"""What all commands share: exit codes, flags of the same meaning, how they print and fail.

Each module beside this one has a `register(commands)`, which adds its commands.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from typing import Final

from ygg import printing

DONE, FAILED, WRONG_USE, UNREACHABLE = range(4)
#: What a shell says of a program that Ctrl-C ended.
INTERRUPTED: Final = 130

Run = Callable[[argparse.Namespace], int]


class Wrong(Exception):
    """The command was used in a way that can't work; the message says how it can."""


class Commands:
    """The command line as far as it is put together."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
        #: Flags that several commands have, each to be named as a parent.
        self.remote = argparse.ArgumentParser(add_help=False)
        self.remote.add_argument(
            "--url",
            help="the dispatcher to talk to, or unix:PATH (YGG_URL; default http://127.0.0.1:8765)",
        )  # fmt: skip
        self.json = argparse.ArgumentParser(add_help=False)
        self.json.add_argument("--json", action="store_true", help="print JSON, for scripts")
        self.files = argparse.ArgumentParser(add_help=False)
        self.files.add_argument("--hosts", metavar="FILE", help="hosts.yaml (YGG_HOSTS)")
        self.stored = argparse.ArgumentParser(add_help=False)
        self.stored.add_argument(
            "--store", metavar="sqlite:PATH", help="the store, if not in the state"
        )
        self.stored.add_argument(
            "--state", metavar="DIR", help="folder of store and artifacts (YGG_STATE)"
        )

    def add(
        self, name: str, run: Run, help_: str, example: str, *parents: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        """A command; `example` is what its help shows last."""
        command = self.subparsers.add_parser(
            name, help=help_, description=f"{help_[0].upper()}{help_[1:]}.",
            epilog=f"example: {example}", parents=parents,
        )  # fmt: skip
        command.set_defaults(run=run)
        return command


def fail(message: str, code: int) -> int:
    """Say in one line what is wrong; returns the exit code."""
    print(f"ygg: {printing.clean(message)}", file=sys.stderr)
    return code


def given(**fields: object) -> dict[str, object]:
    """The fields that were given a value."""
    return {key: value for key, value in fields.items() if value is not None}


def width() -> int:
    """Of the terminal; 0 (no cutting) where output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def print_json(value: object) -> None:
    """One line of JSON, of plain values or of the types of ygg.shapes."""
    import msgspec

    print(msgspec.json.encode(value).decode())
