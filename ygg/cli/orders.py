"""Commands that change what becomes of tasks: cancel, retry, priority, next, hold, release."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ygg.cli.base import (
    DONE,
    FAILED,
    UNREACHABLE,
    Commands,
    Wrong,
    at_least,
    fail,
    given,
    print_json,
    say,
    yes,
)
from ygg.cli.base import name as name_of
from ygg.cli.remote import remote
from ygg.printing import counted

if TYPE_CHECKING:
    from ygg.client import Client
    from ygg.shapes import Retried, TaskView

#: Answers that are of the one who asks, and would be the same for every id.
_OF_ALL: Final = (401, 403, 421)

Change: TypeAlias = "Callable[[Client, str, argparse.Namespace], Coroutine[Any, Any, TaskView]]"


def register(commands: Commands) -> None:
    changes = {
        "cancel": (_cancel, "cancel tasks, waiting or running", """
            ygg cancel 01kb2x7a5w2m9qfz4r
            ygg list --status open -t reasoning -n 0 --json | jq -r .id | xargs ygg cancel
            """),
        "next": (_next, "let waiting tasks run next, before all others", """
            ygg next 01kb2x7a5w2m9qfz4r
            ygg next 01kb2x7a5w2m9qfz4r --undo    # back to the place of its priority
            """),
        "priority": (_priority, "change the priority of waiting tasks", """
            ygg priority 0 01kb2x7a5w2m9qfz4r     # critical: before all of high, normal, ...
            ygg priority 4 01kb2x7a5w2m9qfz4r     # backlog: when nothing else waits
            """),
        "hold": (_hold, "keep waiting tasks from starting until they are released", """
            ygg hold 01kb2x7a5w2m9qfz4r
            """),
        "release": (_release, "let tasks start that were held", """
            ygg release 01kb2x7a5w2m9qfz4r
            """),
    }  # fmt: skip
    for name, (change, help_, example) in changes.items():
        command = commands.add(
            name, remote(_each(change)), help_, example, commands.remote, commands.json
        )
        if name == "priority":
            command.add_argument("priority", type=at_least(0), choices=range(5), metavar="N",
                                 help="0 critical, 1 high, 2 normal, 3 low, 4 backlog")  # fmt: skip
        command.add_argument("ids", nargs="+", type=name_of, metavar="ID", help="ids of tasks")
        if name == "next":
            command.add_argument("--undo", action="store_true", help="no longer before all others")

    retry = commands.add(
        "retry", remote(_retry), "send blocked tasks back to their places", """
        ygg retry 01kb2x7a5w2m9qfz4r
        ygg retry --drained                       # all that a drain blocked
        ygg retry --error "context size"          # all with this text in their error
        ygg retry --error "context size" --dry-run
        """, commands.remote, commands.json,
    )  # fmt: skip
    retry.add_argument("ids", nargs="*", type=name_of, metavar="ID", help="ids of tasks")
    retry.add_argument("--drained", action="store_true", help="all that a drain blocked")
    retry.add_argument("--error", metavar="TEXT", help="all whose error holds TEXT")
    retry.add_argument("-n", "--dry-run", action="store_true", help="only say how many")
    retry.add_argument("-y", "--yes", action="store_true", help="do not ask")


def _each(change: Change) -> Callable[[Client, argparse.Namespace], Coroutine[Any, Any, int]]:
    """One after another, all of them: one that fails is told, and keeps no other from its turn."""

    async def work(client: Client, args: argparse.Namespace) -> int:
        from ygg.client import Problem, Unreachable

        code = DONE
        for number, task_id in enumerate(args.ids):
            try:
                task = await change(client, task_id, args)
            except Problem as problem:
                if problem.status in _OF_ALL or not problem.is_of_a_dispatcher:
                    raise
                text = str(problem)
                code = fail(text if task_id in text else f"{task_id}: {text}", FAILED)
                continue
            except Unreachable as error:
                more = len(args.ids) - number - 1
                rest = f"{task_id} and {counted(more, 'id')} after it" if more else task_id
                return fail(f"{error}; not known to be done: {rest}", UNREACHABLE)
            if args.json:
                print_json(task)
            else:
                print(_told(task))
        return code

    return work


def _told(task: TaskView) -> str:
    from ygg.cli.story import state

    place = f", priority {task.priority}" if task.status == "open" else ""
    return f"{task.id}  {state(task).text}{place}"


async def _cancel(client: Client, task_id: str, _: argparse.Namespace) -> TaskView:
    return await client.cancel(task_id)


async def _next(client: Client, task_id: str, args: argparse.Namespace) -> TaskView:
    return await client.prioritise(task_id, run_next=not args.undo)


async def _priority(client: Client, task_id: str, args: argparse.Namespace) -> TaskView:
    return await client.prioritise(task_id, priority=args.priority)


async def _hold(client: Client, task_id: str, _: argparse.Namespace) -> TaskView:
    return await client.hold(task_id)


async def _release(client: Client, task_id: str, _: argparse.Namespace) -> TaskView:
    return await client.release(task_id)


async def _retry(client: Client, args: argparse.Namespace) -> int:
    ways = [bool(args.ids), args.drained, args.error is not None]
    if sum(ways) != 1:
        raise Wrong("say which: `ygg retry ID...`, `ygg retry --drained`, or `--error TEXT`")
    which: dict[str, Any] = given(
        ids=args.ids or None, drained=args.drained or None, error=args.error
    )
    if args.dry_run or not args.ids:
        found = await client.retry_many(**which, dry_run=True)
        blocked = counted(found.count, "blocked task")
        if args.dry_run:
            if args.json:
                print_json(found)
            else:
                print(f"{blocked} would go back to the backlog")
            return DONE
        if found.count and not args.yes and not yes(f"{blocked} go back to the backlog. Go on?"):
            say("nothing was changed")
            return FAILED
    done = await client.retry_many(**which)
    if args.json:
        print_json(done)
    else:
        print(f"{counted(done.count, 'task')} {'is' if done.count == 1 else 'are'} open again")
        if done.unserved:
            say(_unserved(done))
    return DONE


def _unserved(done: Retried) -> str:
    """They wait for a host that no hosts.yaml has."""
    one = len(done.unserved) == 1
    which = "it" if done.count == 1 else f"{len(done.unserved)} of them"
    return (
        f"no host serves {which} any more: {'it waits' if one else 'they wait'} until one is in "
        f"the `run:` of {'its type' if one else 'their types'}; `ygg why {done.unserved[0]}` says "
        "more"
    )
