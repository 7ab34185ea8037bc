"""The command line: parse, call, print, exit code; nothing else.

Exit codes: 0 done, 1 the task or check failed, 2 wrong use, 3 the dispatcher can't be reached.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ygg.cli import (
    check,
    compare,
    completion,
    demo,
    doctor,
    events,
    files,
    hosts,
    init,
    manual,
    orders,
    serving,
    status,
    submit,
    tasks,
    token,
    wait,
)
from ygg.cli.base import (
    DONE,
    FAILED,
    INTERRUPTED,
    WRONG_USE,
    Commands,
    Run,
    Wrong,
    fail,
    top_epilog,
)
from ygg.cli.parsing import Help, Parser
from ygg.version import VERSION

#: What writing to a file that takes no more fails with.
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
#: What needs no command.
_ALONE: Final = frozenset({"-h", "--help", "--version"})


def main(argv: Sequence[str] | None = None) -> int:
    _open_streams()
    given = list(sys.argv[1:] if argv is None else argv)
    for number, text in enumerate(given, 1):
        if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
            return fail(f"argument {number} is no text in UTF-8: {text!r}", WRONG_USE)
    parser = make_parser()
    if given and given[0].startswith("-") and given[0] not in _ALONE:
        parser.error(f"flags stand behind the command: ygg COMMAND {given[0]} ...")
    # The demo has flags of its own; argparse would take those that stand first for ours.
    args, rest = parser.parse_known_args(given)
    if rest and args.command != "demo":
        used: argparse.ArgumentParser = getattr(args, "parser", parser)
        used.error(f"unrecognized arguments: {' '.join(rest)}")
    args.rest = rest
    run: Run | None = getattr(args, "run", None)
    if run is None:
        parser.print_help()
        return WRONG_USE
    try:
        code = run(args)
        sys.stdout.flush()  # here, where it is known what to say if it fails
    except Wrong as error:
        return fail(str(error), WRONG_USE)
    except BrokenPipeError:  # the reader went away, as `| head` does
        _drop_output()
        return DONE
    except OSError as error:
        if error.errno not in _FULL or error.filename is not None:
            raise
        _drop_output()
        return fail(f"the output can't be written: {error.strerror}", FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _open_streams() -> None:
    """Who closes a stream (`ygg ... >&-`) wants nothing of it; Python has None there then.

    Left closed, its number would go to the next file, and that file get what is printed.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115 - until the end


def _drop_output() -> None:
    """What is still to be written goes nowhere: at its end Python would try once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def make_parser() -> argparse.ArgumentParser:
    """All commands; the documentation and shell completion are made from it too."""
    parser = Parser(
        prog="ygg",
        description="Dispatches tasks to your GPU hosts: the urgent one first, none ever lost.",
        epilog=top_epilog(),
        formatter_class=Help,
    )
    parser.add_argument("--version", action="version", version=f"ygg {VERSION}")
    commands = Commands(parser)
    for module in (
        # In the order of the list that --help prints: what is used daily comes first.
        status,
        submit,
        tasks,
        wait,
        orders,
        hosts,
        events,
        init,
        serving,
        check,
        doctor,
        files,
        token,
        compare,
        completion,
        demo,
        manual,
    ):
        module.register(commands)
    return parser
