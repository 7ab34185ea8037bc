"""`ygg wait`: until tasks that were handed in before have ended."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ygg.cli.base import DONE, FAILED, Commands, duration, fail, print_json, say
from ygg.cli.remote import remote
from ygg.printing import counted

if TYPE_CHECKING:
    from ygg.client import Client


def register(commands: Commands) -> None:
    wait = commands.add(
        "wait", remote(_wait), "wait until tasks have ended; exit code 0 if all are done",
        """
        ygg wait 01kb2x7a5w2m9qfz4r && ygg answer 01kb2x7a5w2m9qfz4r
        ygg wait --timeout 30m 01kb2x7a5w2m9qfz4r 01kb2x7a5w2m9qfz4s
        ygg list --status open --json | jq -r .id | xargs ygg wait
        """,
        commands.remote, commands.json,
    )  # fmt: skip
    wait.add_argument("ids", nargs="+", metavar="ID", help="ids of tasks")
    wait.add_argument(
        "--timeout", type=duration, metavar="TIME", help="at most so long for all: 90s, 30m, 2h"
    )


async def _wait(client: Client, args: argparse.Namespace) -> int:
    """One after another: the last to end decides how long it takes, in whatever order."""
    import asyncio

    from ygg.cli.story import state
    from ygg.client import Problem

    code, left = DONE, list(args.ids)
    try:
        async with asyncio.timeout(args.timeout):
            while left:
                try:
                    task = await client.wait(left[0])
                except Problem as problem:
                    if problem.status != 404:
                        raise
                    code = fail(str(problem), FAILED)
                else:
                    if args.json:
                        print_json(task)
                    else:
                        print(f"{task.id}  {state(task).text}", flush=True)
                    if task.outcome != "done":
                        code = FAILED
                del left[0]
    except TimeoutError:
        return fail(f"{_others(left)} had not ended after {args.timeout:g} s", FAILED)
    except asyncio.CancelledError:
        say(f"no longer waiting for {_others(left)}: nothing is cancelled by that")
        raise
    return code


def _others(ids: list[str]) -> str:
    """The one that was waited for, and how many come after it."""
    return ids[0] if len(ids) == 1 else f"{ids[0]} and {counted(len(ids) - 1, 'id')} after it"
