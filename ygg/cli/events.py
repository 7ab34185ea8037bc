"""`ygg events`: the journal, as it is written."""

from __future__ import annotations

import argparse
import sys
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from ygg.cli.base import DONE, Commands, at_least, name, paper, print_json, show
from ygg.cli.remote import remote

if TYPE_CHECKING:
    from ygg.client import Client
    from ygg.printing import Paper
    from ygg.shapes import RowView


def register(commands: Commands) -> None:
    events = commands.add(
        "events", remote(_events), "follow what happens, until Ctrl-C",
        """
        ygg events                                # from now on
        ygg events --after 0 --count 20           # from the beginning, 20 rows
        ygg events --task 01kb2x7a5w2m9qfz4r
        ygg events --kind blocked --kind host --json | jq .reason
        """,
        commands.remote, commands.json,
    )  # fmt: skip
    events.add_argument(
        "--after",
        type=at_least(0),
        metavar="POSITION",
        help="begin behind this row; 0: with the first",
    )
    events.add_argument("--task", type=name, metavar="ID", help="rows of this task only")
    events.add_argument(
        "--kind", action="append", metavar="KIND",
        help="rows of this kind only, such as started or blocked; may be repeated",
    )  # fmt: skip
    events.add_argument("-n", "--count", type=at_least(1), metavar="N", help="end after so many")


async def _events(client: Client, args: argparse.Namespace) -> int:
    import asyncio

    on, left = paper(), args.count
    rows = client.events(after=args.after, task=args.task, kinds=args.kind)
    # Ctrl-C is the way to end it, and no failure.
    with suppress(asyncio.CancelledError):
        async with aclosing(rows):
            async for row in rows:
                if args.json:
                    print_json(row)
                else:
                    show(_lines(row, on))
                sys.stdout.flush()
                if left is not None:
                    left -= 1
                    if left == 0:
                        break
    return DONE


def _lines(row: RowView, on: Paper) -> list[str]:
    from ygg.cli.words import told

    subject = f"{row.task}  " if row.task else ""
    return on.wrap(f"{row.at}  {subject}{told(row)}", "    ")
