"""`ygg-autoscaler`: parse, call, print, exit code; nothing else.

Exit codes: 0 done, 1 it failed, 2 wrong use, 3 the dispatcher can't be reached.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from autoscaler.cli.base import Failed, fail
from ygg.cli.base import WRONG_USE, duration, name
from ygg.cli.parsing import Help, Parser, unknown
from ygg.cli.streams import carried_out, no_text, open_streams
from ygg.version import VERSION

_EXAMPLES: Final = """\
examples:
  ygg-autoscaler                            # run it beside the dispatcher
  ygg-autoscaler --dry-run                  # decide and show, touch nothing
  ygg-autoscaler explain fenrir             # why is the limit what it is?
  ygg-autoscaler history fenrir --last 6h   # limit, utilization, memory and wait as a chart
  ygg-autoscaler replay .ygg/autoscaler --host fenrir --set memory_high_ratio=0.85
                                            # what would another setting have decided?

It needs hosts.yaml (for the exporters and its own settings) and the dispatcher's address. Limits
change only while it runs, within the bounds of hosts.yaml, and never against a pin.
exit codes: 0 done, 1 it failed, 2 wrong use, 3 the dispatcher can't be reached"""
#: What only has a meaning where it runs.
_OF_RUNNING: Final = ("listen", "dry_run", "verbose")


def main(argv: Sequence[str] | None = None) -> int:
    open_streams()
    given = list(sys.argv[1:] if argv is None else argv)
    if (trouble := no_text(given)) is not None:
        return fail(trouble, WRONG_USE)
    parser = make_parser()
    _know_the_first(given, parser)
    args, rest = parser.parse_known_args(given)
    used: argparse.ArgumentParser = getattr(args, "parser", parser)
    if rest:
        used.error(unknown(rest, used))
    if args.command is not None:
        for flag in _OF_RUNNING:
            if getattr(args, flag):
                used.error(f"--{flag.replace('_', '-')} is for running it: leave it out here")
    return carried_out(partial(_run, args), fail)


def _know_the_first(given: Sequence[str], parser: argparse.ArgumentParser) -> None:
    """What stands behind a flag that nobody knows would be taken for the command."""
    flag = given[0].partition("=")[0] if given else ""
    known = [text for action in parser._actions for text in action.option_strings]  # noqa: SLF001 - argparse has no other way
    if flag.startswith("--") and not any(text.startswith(flag) for text in known):
        parser.error(unknown(given[:1], parser))


def _run(args: argparse.Namespace) -> int:
    try:
        return _command_of(args)(args)
    except Failed as error:
        return fail(str(error), error.code)


def _command_of(args: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    if args.command is None:
        from autoscaler.cli.running import run

        return run
    from autoscaler.cli import telling

    return {
        "explain": telling.explain, "history": telling.history, "replay": telling.replay,
    }[args.command]  # fmt: skip


def make_parser() -> argparse.ArgumentParser:
    """The documentation is made from it too."""
    parser = Parser(
        prog="ygg-autoscaler",
        description="Sets the limits of GPU hosts by what their GPUs and the backlog show.",
        epilog=_EXAMPLES,
        formatter_class=Help,
    )
    parser.add_argument("--version", action="version", version=f"ygg-autoscaler {VERSION}")
    _places(parser, default=None)
    _url(parser, default=None)
    parser.add_argument(
        "--listen", metavar="HOST:PORT", help="where its own metrics are (default 127.0.0.1:8766)"
    )
    parser.add_argument("--dry-run", action="store_true", help="decide and show, resize nothing")
    parser.add_argument("--verbose", action="store_true", help="log more")
    commands = parser.add_subparsers(
        title="commands (without one it runs)", metavar="COMMAND", dest="command"
    )
    explain = _command(
        commands, "explain", "say why a host's limit is what it is, and what it waits for",
        "ygg-autoscaler explain fenrir",
    )  # fmt: skip
    explain.add_argument("host", type=name, metavar="HOST")
    _url(explain, default=argparse.SUPPRESS)
    history = _command(
        commands, "history", "draw a host's limit, utilization, memory and wait over time",
        "ygg-autoscaler history fenrir --last 6h",
    )  # fmt: skip
    history.add_argument("host", type=name, metavar="HOST")
    history.add_argument(
        "--last", type=duration, default=3600.0, metavar="TIME", help="how far back (default: 1h)"
    )
    replay = _command(
        commands, "replay", "decide anew on recorded evidence, with other settings",
        "ygg-autoscaler replay .ygg/autoscaler --set memory_high_ratio=0.85",
    )  # fmt: skip
    replay.add_argument("file", metavar="FILE", help="records: a file, or the folder of them")
    replay.add_argument("--host", type=name, metavar="HOST", help="of this host only")
    replay.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE",
        help="a key of hosts.yaml's `autoscaler:`; may be given several times",
    )  # fmt: skip
    return parser


def _command(
    commands: argparse._SubParsersAction[Parser],
    name: str,
    help_: str,
    example: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name, help=help_, description=f"{help_[0].upper()}{help_[1:]}.",
        epilog=f"example: {example}", formatter_class=Help,
    )  # fmt: skip
    command.set_defaults(parser=command)
    # Without a default here: it would undo what was given before the command's name.
    _places(command, default=argparse.SUPPRESS)
    command.add_argument("--json", action="store_true", help="print JSON, for scripts")
    return command


def _places(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument("--hosts", metavar="FILE", default=default, help="hosts.yaml (YGG_HOSTS)")
    parser.add_argument(
        "--state", metavar="DIR", default=default, help="folder of the records (YGG_STATE)"
    )


def _url(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument(
        "--url", default=default,
        help="the dispatcher, or unix:PATH (YGG_URL; default: where hosts.yaml says it listens, "
        "else http://127.0.0.1:8765)",
    )  # fmt: skip
