"""`ygg status`: hosts, what runs, what waits, what needs a person."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ygg import printing
from ygg.cli.base import DONE, Commands, print_json, width
from ygg.cli.remote import remote

if TYPE_CHECKING:
    from ygg.client import Client


def register(commands: Commands) -> None:
    commands.add(
        "status", remote(_status), "show hosts, what runs, waits and is blocked", "ygg status",
        commands.remote, commands.json,
    )  # fmt: skip


async def _status(client: Client, args: argparse.Namespace) -> int:
    status = await client.status()
    if args.json:
        print_json(status)
    else:
        import msgspec

        print("\n".join(printing.status_lines(msgspec.to_builtins(status), width=width())))
    return DONE
