"""The command line: parse, call, print, exit code; nothing else.

Exit codes: 0 done, 1 the task or check failed, 2 wrong use, 3 the dispatcher can't be reached.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

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
    orders,
    serving,
    status,
    submit,
    tasks,
    token,
)
from ygg.cli.base import (
    DONE,
    INTERRUPTED,
    WRONG_USE,
    Commands,
    Help,
    Run,
    Wrong,
    fail,
    top_epilog,
)
from ygg.version import VERSION


def main(argv: Sequence[str] | None = None) -> int:
    parser = make_parser()
    # The demo has flags of its own; argparse would take those that stand first for ours.
    args, rest = parser.parse_known_args(list(sys.argv[1:] if argv is None else argv))
    if rest and args.command != "demo":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    args.rest = rest
    run: Run | None = getattr(args, "run", None)
    if run is None:
        parser.print_help()
        return WRONG_USE
    try:
        return run(args)
    except Wrong as error:
        return fail(str(error), WRONG_USE)
    except BrokenPipeError:
        sys.stderr.close()  # the reader went away, as `| head` does
        return DONE
    except KeyboardInterrupt:
        return INTERRUPTED


def make_parser() -> argparse.ArgumentParser:
    """All commands; the documentation and shell completion are made from it too."""
    parser = argparse.ArgumentParser(
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
    ):
        module.register(commands)
    return parser
