"""`ygg status`: hosts, what runs, what waits, what needs a person."""

from __future__ import annotations

import argparse

from ygg import printing
from ygg.cli.base import DONE, Commands, print_json, width
from ygg.client import Client


def register(commands: Commands) -> None:
    commands.add(
        "status", _status, "show hosts, what runs, waits and is blocked", "ygg status",
        commands.remote, commands.json,
    )  # fmt: skip


def _status(args: argparse.Namespace) -> int:
    status = Client(args.url).call("GET", "/v1/status")
    if args.json:
        print_json(status)
    else:
        print("\n".join(printing.status_lines(status, width=width())))
    return DONE
