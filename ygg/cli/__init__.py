"""The command line: parse, call, print, exit code; nothing else.

Exit codes: 0 done, 1 the task or check failed, 2 wrong use, 3 the dispatcher can't be reached.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
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
    prometheus,
    serving,
    status,
    submit,
    tasks,
    token,
    wait,
)
from ygg.cli.base import WRONG_USE, Commands, Run, fail, top_epilog
from ygg.cli.parsing import Help, Parser, unknown
from ygg.cli.streams import carried_out, no_text, open_streams
from ygg.version import VERSION

#: What needs no command.
_ALONE: Final = frozenset({"-h", "--help", "--version"})


def main(argv: Sequence[str] | None = None) -> int:
    open_streams()
    given = list(sys.argv[1:] if argv is None else argv)
    if (trouble := no_text(given)) is not None:
        return fail(trouble, WRONG_USE)
    parser = make_parser()
    if given and given[0].startswith("-") and given[0] not in _ALONE:
        parser.error(f"flags stand behind the command: ygg COMMAND {given[0]} ...")
    # The demo has flags of its own; argparse would take those that stand first for ours.
    args, rest = parser.parse_known_args(given)
    if rest and args.command != "demo":
        used: argparse.ArgumentParser = getattr(args, "parser", parser)
        used.error(unknown(rest, used))
    args.rest = rest
    run: Run | None = getattr(args, "run", None)
    if run is None:
        parser.print_help()
        return WRONG_USE
    return carried_out(partial(run, args), fail)


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
        prometheus,
        compare,
        completion,
        demo,
        manual,
    ):
        module.register(commands)
    return parser
