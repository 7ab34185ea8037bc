"""`ygg help`: what --help shows, where it is looked for first."""

from __future__ import annotations

import argparse

from ygg.cli.base import Commands


def register(commands: Commands) -> None:
    command = commands.add(
        "help", _help, "show what a command does, or which commands there are", "ygg help submit"
    )
    command.add_argument("of", nargs="?", metavar="COMMAND", help="(default: all of them)")


def _help(args: argparse.Namespace) -> int:
    from ygg.cli import main

    return main(["--help"] if args.of is None else [args.of, "--help"])
