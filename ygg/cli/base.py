"""What all commands share: exit codes, flags of the same meaning, how they print and fail.

Each module beside this one has a `register(commands)`, which adds its commands. They import what
they need when they run: `ygg --help` and `ygg status` are to be there at once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from ygg import printing
from ygg.cli.parsing import Help

DONE, FAILED, WRONG_USE, UNREACHABLE = range(4)
#: What a shell says of a program that Ctrl-C ended.
INTERRUPTED: Final = 130
#: Seconds that may be meant by "so long from now": times end with the year 9999.
LATER_MAX: Final = 1000 * 365.25 * 86400
#: Digits of a number that is meant; Python refuses to read those with thousands.
_DIGITS_MAX: Final = 15
_EXIT_CODES: Final = (
    "exit codes: 0 done, 1 the task or the check failed, or the dispatcher said no,\n"
    "2 wrong use, 3 the dispatcher can't be reached"
)

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
            help="the dispatcher to talk to, or unix:PATH (YGG_URL; default: where hosts.yaml "
            "says it listens, else http://127.0.0.1:8765)",
        )  # fmt: skip
        self.remote.add_argument(
            "--hosts", metavar="FILE", help="the hosts.yaml that says it (YGG_HOSTS)"
        )
        self.json = argparse.ArgumentParser(add_help=False)
        self.json.add_argument("--json", action="store_true", help="print JSON, for scripts")
        self.files = argparse.ArgumentParser(add_help=False)
        self.files.add_argument("--hosts", metavar="FILE", help="hosts.yaml (YGG_HOSTS)")
        self.stored = argparse.ArgumentParser(add_help=False)
        self.stored.add_argument(
            "--store", metavar="sqlite:PATH", type=_store, help="the store, if not in the state"
        )
        self.stored.add_argument(
            "--state", metavar="DIR", help="folder of store and artifacts (YGG_STATE)"
        )

    def add(
        self, name: str, run: Run, help_: str, example: str, *parents: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        """A command; `example` is what its help shows last, on one line or on several."""
        lines = example.strip().splitlines()
        shown = "\n".join(["examples:", *(f"  {line.strip()}" for line in lines)])
        command = self.subparsers.add_parser(
            name, help=help_, description=f"{help_[0].upper()}{help_[1:]}.", formatter_class=Help,
            epilog=f"example: {example}" if len(lines) == 1 else shown, parents=parents,
        )  # fmt: skip
        command.set_defaults(run=run, parser=command)
        return command


def top_epilog() -> str:
    """What `ygg --help` says last."""
    return (
        "examples:\n"
        "  ygg loop --async                          # run the dispatcher\n"
        '  ygg submit --wait "Why is the sky blue?"  # hand in a task, wait for its answer\n'
        "  ygg status --watch                        # see what runs, waits and is blocked\n"
        "\n"
        f"{_EXIT_CODES}"
    )


def _store(text: str) -> str:
    from ygg.places import NoStore, sqlite_file

    try:
        sqlite_file(text)
    except NoStore as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


# -- what is said --------------------------------------------------------------------------------


def fail(message: str, code: int) -> int:
    """Say in one line what is wrong; returns the exit code."""
    print(f"ygg: {printing.clean(message)}", file=sys.stderr)
    return code


def say(message: str) -> None:
    """A remark in one line that is no part of the answer."""
    print(f"ygg: {printing.clean(message)}", file=sys.stderr, flush=True)


def width() -> int:
    """Of the terminal; 0 (no cutting) where output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def paper() -> printing.Paper:
    """What standard output is: so wide, and (on terminals that nobody told otherwise) in colour."""
    # https://no-color.org: any value but an empty one.
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") in ("dumb", "unknown")
    return printing.Paper(width(), colour=sys.stdout.isatty() and not plain)


def show(lines: Iterable[str]) -> None:
    print("\n".join(lines))


def print_json(value: object) -> None:
    """One line of JSON, of plain values or of the types of ygg.shapes."""
    import msgspec

    print(msgspec.json.encode(value).decode())


# -- what is asked for ---------------------------------------------------------------------------


def given(**fields: object) -> dict[str, object]:
    """The fields that were given a value."""
    return {key: value for key, value in fields.items() if value is not None}


def whole(text: str) -> int | None:
    """A whole number in plain digits; None: it is none. int() takes the digits of any script."""
    is_one = text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX
    return int(text) if is_one else None


def at_least(least: int) -> Callable[[str], int]:
    """A flag's whole number."""

    def number(text: str) -> int:
        found = whole(text)
        if found is None or found < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least {least}")
        return found

    return number


def name(text: str) -> str:
    """A task's id or a host's name. In the place of an empty one a whole list would be asked for."""
    if text.strip() in ("", ".", ".."):
        raise argparse.ArgumentTypeError(f"{text!r} names nothing")
    return text


def duration(text: str) -> float:
    """A flag's duration in seconds; a bare number is one of seconds."""
    from ygg.durations import parse_duration

    found = parse_duration(text)
    if found is None:
        found = parse_duration(f"{text}s")
    if found is None or found <= 0:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no duration: write it like 90 (seconds), 30m, 2h or 1d"
        )
    if found > LATER_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is more than a thousand years: leave it out")
    return found


def time_from_now(seconds: float | None) -> str | None:
    """The time so long from now, as the interface takes it; at most LATER_MAX."""
    from ygg.wire import rfc3339

    return None if seconds is None else rfc3339(time.time() + seconds)


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C ends what blocks in here. An event loop would hear of it only afterwards."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def yes(question: str) -> bool:
    """What the person in front of the terminal says. Where there is none: yes."""
    if not sys.stdin.isatty():
        return True
    try:
        with interruptible():
            # Not by input(), whose question goes where the answer of the command does.
            print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
            return sys.stdin.readline().strip().lower() in ("y", "yes")
    except KeyboardInterrupt:
        print(file=sys.stderr)  # what the shell says next stands on a line of its own
        raise
