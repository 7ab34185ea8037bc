"""`ygg status`: hosts, what runs, what waits, what needs a person; once, or as it changes."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from ygg.cli.base import DONE, Commands, Wrong, paper, print_json, show
from ygg.cli.base import name as name_of
from ygg.cli.remote import remote

if TYPE_CHECKING:
    import asyncio

    from ygg.client import Client
    from ygg.shapes import DispatcherStatus

#: Seconds after which the picture is asked for anew though nothing happened: waits grow.
_BUSY_SECONDS: Final = 1.0
_IDLE_SECONDS: Final = 4.0
#: Between two pictures, at least.
_FRAME_SECONDS: Final = 1.0
#: An answer that takes longer is told of.
_SLOW_SECONDS: Final = 3.0
#: Before a stream of events that was refused is asked for again.
_AGAIN_SECONDS: Final = 5.0


def register(commands: Commands) -> None:
    status = commands.add(
        "status", remote(_status), "show hosts, what runs, waits and is blocked",
        """
        ygg status
        ygg status bd-7 01kb2x7a5w2m9qfz4r        # of these tasks and issues alone
        ygg status --watch                        # as it changes, until Ctrl-C
        ygg status --json | jq '.hosts[] | {name, active, available_slots}'
        YGG_URL=unix:/run/ygg/ygg.sock ygg status
        """,
        commands.remote, commands.json,
    )  # fmt: skip
    status.add_argument("ids", nargs="*", type=name_of, metavar="ID",
                        help="of tasks, or of issues: a line for each, and nothing else")  # fmt: skip
    status.add_argument(
        "-w", "--watch", action="store_true",
        help="draw it again as it changes; with --json, or where there is no terminal, write it again",
    )  # fmt: skip


async def _status(client: Client, args: argparse.Namespace) -> int:
    if args.ids:
        return await _status_of(client, args)
    status = await client.status()
    if args.watch:
        return await _watch(client, status, as_json=args.json)
    if args.json:
        print_json(status)
    else:
        show(_lines(client, status))
    return DONE


async def _status_of(client: Client, args: argparse.Namespace) -> int:
    from ygg.cli.tasks import Table, named_tasks

    if args.watch:
        raise Wrong("--watch draws the whole picture: leave out the ids, or `ygg wait ID...`")
    tasks = [task async for task in named_tasks(client, args.ids)]
    if args.json:
        for task in tasks:
            print_json(task)
    else:
        Table().print(tasks)
    return DONE


def _lines(client: Client, status: DispatcherStatus, trouble: str | None = None) -> list[str]:
    from ygg.cli.picture import status_lines
    from ygg.printing import Tone

    on = paper()
    lost = [] if trouble is None else on.wrap(trouble, "  ", Tone.BAD)
    return lost + status_lines(status, url=client.url, now=time.time(), paper=on)


async def _watch(client: Client, status: DispatcherStatus, *, as_json: bool) -> int:
    """Until Ctrl-C, which is the way to end it and no failure."""
    import asyncio

    news = asyncio.Event()
    can_draw = sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_follow(client, news))
            if as_json or not can_draw:
                await _write(client, status, news, as_json=as_json)
            else:
                await _draw(client, status, news)
    except asyncio.CancelledError:
        pass
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return DONE


async def _follow(client: Client, news: asyncio.Event) -> None:
    """Set `news` after each event. Where there are none to be had, the clock alone must do."""
    import asyncio
    from contextlib import aclosing

    from ygg.client import Problem, Unreachable

    while True:
        try:
            async with aclosing(client.events()) as rows:
                async for _ in rows:
                    news.set()
        except (Problem, Unreachable):
            await asyncio.sleep(_AGAIN_SECONDS)


async def _write(
    client: Client, status: DispatcherStatus, news: asyncio.Event, *, as_json: bool
) -> None:
    """For pipes: again after each change."""
    while True:
        if as_json:
            print_json(status)
        else:
            show([*_lines(client, status), ""])
        sys.stdout.flush()
        await _until_due(news, _IDLE_SECONDS)
        status = await client.status()


async def _draw(client: Client, status: DispatcherStatus, news: asyncio.Event) -> None:
    """On a terminal. A dispatcher that goes away is waited for."""
    import asyncio

    from ygg.cli.watch import screen
    from ygg.client import Problem, Unreachable

    trouble: str | None = None

    def lines() -> list[str]:
        return _lines(client, status, trouble)

    try:
        with screen() as drawn:
            while True:
                drawn.draw(lines)
                is_busy = any(host.tasks for host in status.hosts) or status.waiting.total
                await _until_due(news, _BUSY_SECONDS if is_busy or trouble else _IDLE_SECONDS)
                asked = asyncio.ensure_future(client.status())
                try:
                    async for seconds in _slowly(asked):
                        trouble = f"this is how it was: no answer for {seconds:.0f} s"
                        drawn.draw(lines)
                    status, trouble = await asked, None
                except (Unreachable, Problem) as error:
                    trouble = f"this is how it was: {error}"
                finally:
                    asked.cancel()
    finally:
        show(lines())  # what was seen last stays to be read


async def _slowly(asked: asyncio.Future[Any]) -> AsyncIterator[float]:
    """How long an answer has not come, again and again until it has."""
    import asyncio

    waited = 0.0
    while not (await asyncio.wait({asked}, timeout=_SLOW_SECONDS))[0]:
        waited += _SLOW_SECONDS
        yield waited


async def _until_due(news: asyncio.Event, longest: float) -> None:
    """Until something has changed, at most so long, but never less than a frame's time."""
    import asyncio

    await asyncio.sleep(_FRAME_SECONDS)
    with suppress(TimeoutError):
        async with asyncio.timeout(longest - _FRAME_SECONDS):
            await news.wait()
    news.clear()
