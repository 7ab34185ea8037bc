"""Commands that set over the fleet's own course by hand: limit, pause, resume."""

from __future__ import annotations

import argparse
import getpass
from typing import TYPE_CHECKING

from ygg.cli.base import (
    DONE,
    Commands,
    Wrong,
    duration,
    name,
    print_json,
    time_from_now,
    whole,
)
from ygg.cli.remote import remote

if TYPE_CHECKING:
    from ygg.client import Client
    from ygg.shapes import HostStatus


def register(commands: Commands) -> None:
    limit = commands.add(
        "limit", remote(_limit), "set how many tasks a host runs at once, by hand", """
        ygg limit surtr 3                          # until you say otherwise
        ygg limit surtr 1 --for 2h --reason "somebody plays on it"
        ygg limit surtr auto                       # the limit that it had without a pin
        """, commands.remote, commands.json,
    )  # fmt: skip
    limit.add_argument("host", type=name, metavar="HOST")
    limit.add_argument("limit", metavar="N|auto")
    pause = commands.add(
        "pause", remote(_pause), "start nothing new on a host; what runs there goes on", """
        ygg pause surtr --reason "new driver"
        ygg pause surtr --for 30m
        """, commands.remote, commands.json,
    )  # fmt: skip
    pause.add_argument("host", type=name, metavar="HOST")
    resume = commands.add(
        "resume", remote(_resume), "let a paused host take tasks again", """
        ygg resume surtr
        """, commands.remote, commands.json,
    )  # fmt: skip
    resume.add_argument("host", type=name, metavar="HOST")
    for command in (limit, pause):
        command.add_argument(
            "--for", dest="for_", type=duration, metavar="TIME", help="then it ends: 30m, 2h, 1d"
        )
        command.add_argument("--reason", metavar="TEXT", help="for others to read")


def _who() -> str | None:
    """For others to read; who has a token goes by its name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None  # a user without a name, as in a container


async def _limit(client: Client, args: argparse.Namespace) -> int:
    if args.limit == "auto":
        if args.for_ is not None or args.reason is not None:
            raise Wrong("`ygg limit HOST auto` takes a pin away: leave out --for and --reason")
        host = await client.unpin(args.host)
        return _told(args, host, f"no longer pinned by hand, limit {host.limit}")
    limit = whole(args.limit)
    if limit is None or limit < 1:
        raise Wrong(f"{args.limit!r} is no limit: write a number of at least 1, or auto "
                    "(to start nothing there: `ygg pause`)")  # fmt: skip
    host = await client.pin(
        args.host, limit, until=time_from_now(args.for_), reason=args.reason, by=_who()
    )
    until = "" if host.pin is None or host.pin.until is None else f" until {host.pin.until}"
    return _told(args, host, f"pinned at {limit}{until}")


async def _pause(client: Client, args: argparse.Namespace) -> int:
    host = await client.pause(
        args.host, reason=args.reason, until=time_from_now(args.for_), by=_who()
    )
    until = "" if host.pause is None or host.pause.until is None else f" until {host.pause.until}"
    running = f", {host.active} still run there" if host.active else ""
    return _told(args, host, f"paused{until}{running}")


async def _resume(client: Client, args: argparse.Namespace) -> int:
    return _told(args, await client.resume(args.host), "takes tasks again")


def _told(args: argparse.Namespace, host: HostStatus, text: str) -> int:
    if args.json:
        print_json(host)
    else:
        print(f"{host.name}: {text}")
    return DONE
