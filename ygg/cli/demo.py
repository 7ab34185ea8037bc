"""`ygg demo`: flags and all are demo/'s own."""

from __future__ import annotations

import argparse

from ygg.cli.base import Commands


def register(commands: Commands) -> None:
    demo = commands.subparsers.add_parser(
        "demo", help="real model servers on this machine answer real tasks", add_help=False
    )
    demo.set_defaults(run=_demo)


def _demo(args: argparse.Namespace) -> int:
    from ygg.demo.run import main as demo

    return demo(args.rest)
