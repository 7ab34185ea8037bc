"""Commands that show tasks: list, show, why, answer."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from ygg.cli.base import DONE, Commands, Wrong, at_least, paper, print_json, say, show
from ygg.cli.base import name as name_of
from ygg.cli.remote import remote
from ygg.printing import Cell, clean_text, counted, table_lines

if TYPE_CHECKING:
    from ygg.client import Client
    from ygg.shapes import TaskView

_ISSUE: Final = "ISSUE"
#: Rows of a table that are lined up with each other.
_CHUNK: Final = 500
_HEADINGS: Final = ("ID", "STATUS", "PRI", "AGE", "TYPE", "HOST", "TITLE")
#: What a narrow terminal does without, the first one first.
_DROP: Final = ("HOST", "TYPE", "AGE", "PRI")


def register(commands: Commands) -> None:
    listing = commands.add(
        "list", remote(_list), "list tasks, the latest first",
        """
        ygg list                                 # the latest 50
        ygg list --status blocked                # what needs a person
        ygg list --status open -p 0 --type reasoning
        ygg list bd-7 bd-9.1                     # of these issues, or tasks
        ygg list --error "no such model" --limit 0 --json | jq -r .id
        """,
        commands.remote, commands.json,
    )  # fmt: skip
    listing.add_argument("ids", nargs="*", type=name_of, metavar="ID",
                         help="of tasks, or of issues: only these")  # fmt: skip
    listing.add_argument("--status", choices=["open", "in_progress", "closed", "blocked"])
    listing.add_argument(
        "-p", "--priority", type=at_least(0), metavar="N", help="0 critical .. 4 backlog"
    )
    listing.add_argument("-t", "--type")
    listing.add_argument("--host", help="that ran them, or runs them")
    listing.add_argument("--error", metavar="TEXT", help="text within the error")
    listing.add_argument(
        "-n",
        "--limit",
        type=at_least(0),
        default=50,
        metavar="N",
        help="0: all (default %(default)s)",
    )

    for name, run, help_, example in (
        (
            "show", _show, "show a task and its story: waits, attempts, whose fault, answer",
            """
            ygg show 01kb2x7a5w2m9qfz4r
            ygg show 01kb2x7a5w2m9qfz4r --json | jq .history
            """,
        ),
        (
            "why", _why, "say why a task does not run, host by host",
            """
            ygg why 01kb2x7a5w2m9qfz4r
            ygg why 01kb2x7a5w2m9qfz4r --json | jq -r '.options[].reason'
            """,
        ),
        (
            "answer", _answer, "print a task's answer",
            """
            ygg answer 01kb2x7a5w2m9qfz4r
            ygg answer 01kb2x7a5w2m9qfz4r > answer.md
            ygg answer 01kb2x7a5w2m9qfz4r --thinking
            """,
        ),
    ):  # fmt: skip
        command = commands.add(name, remote(run), help_, example, commands.remote, commands.json)
        command.add_argument("id", type=name_of, metavar="ID", help="the task's id")
        if name == "answer":
            command.add_argument("--thinking", action="store_true", help="its reasoning instead")


async def _list(client: Client, args: argparse.Namespace) -> int:
    limit = args.limit if args.limit > 0 else None
    tasks = named_tasks(client, args.ids) if args.ids else client.tasks(
        status=args.status, priority=args.priority, type=args.type, host=args.host,
        error=args.error, limit=None if limit is None else limit + 1,
    )  # fmt: skip
    chunk: list[TaskView] = []
    shown, more, table = 0, False, Table()
    async for task in tasks:
        if args.ids and not _is_wanted(task, args):
            continue
        more = shown == limit
        if more:
            break
        shown += 1
        if args.json:
            print_json(task)
            continue
        chunk.append(task)
        if len(chunk) == _CHUNK:
            table.print(chunk)
            chunk = []
    if chunk:
        table.print(chunk)
    if more and not args.json:
        say(f"these are the latest {limit}; --limit 0 lists all")
    elif not shown:
        await _check_names(client, args)
        if not args.json:
            say("no task is like that")
    return DONE


async def named_tasks(client: Client, ids: Iterable[str]) -> AsyncIterator[TaskView]:
    """Those of these ids, in their order, each once. Of an issue it is the latest."""
    told: set[str] = set()
    for one in ids:
        task = await client.task(one)
        if task.id not in told:
            told.add(task.id)
            yield task


def _is_wanted(task: TaskView, args: argparse.Namespace) -> bool:
    """Whether a task is as the other options say; of all others the dispatcher says that."""
    return (
        args.status in (None, task.status)
        and args.priority in (None, task.priority)
        and args.type in (None, task.type)
        and args.host in (None, task.host)
        and (args.error is None or args.error in (task.error or ""))
    )


async def _check_names(client: Client, args: argparse.Namespace) -> None:
    """Raises Wrong: nothing was found because there is no host, or type, of that name.

    Only then asked: hosts and types that hosts.yaml no longer has may have tasks all the same.
    """
    if args.host is not None:
        hosts = [host.name for host in await client.hosts()]
        if args.host not in hosts:
            raise Wrong(f"no host {args.host!r}; known: {', '.join(hosts)}")
    if args.type is not None:
        types = await client.types()
        if args.type not in types:
            raise Wrong(f"no type {args.type!r}; known: {', '.join(types)}")


class Table:
    """Tasks line by line, printed piece by piece, the ids of their issues where there are some."""

    def __init__(self) -> None:
        self._headings: tuple[str, ...] = ()

    def print(self, tasks: Sequence[TaskView]) -> None:
        from ygg.cli.story import STATUS_TONES, age
        from ygg.printing import Toned

        now, on = time.time(), paper()
        headings: tuple[str, ...] = _HEADINGS
        if _ISSUE in self._headings or any(task.source_id for task in tasks):
            headings = (_HEADINGS[0], _ISSUE, *_HEADINGS[1:])
        rows: list[list[Cell]] = [
            [
                task.id, *([task.source_id or "-"] if _ISSUE in headings else []),
                Toned(task.status, STATUS_TONES[task.status]), task.priority,
                age(task.created_at, now), task.type, task.host or "-", task.title,
            ]
            for task in tasks
        ]  # fmt: skip
        heading, *lines = table_lines(headings, rows, width=on.width, colour=on.colour, drop=_DROP)
        show(lines if headings == self._headings else [heading, *lines])
        self._headings = headings


async def _show(client: Client, args: argparse.Namespace) -> int:
    from ygg.cli.story import task_lines

    task, rows = await client.task(args.id), await client.history(args.id)
    if args.json:
        import msgspec

        print_json({**msgspec.structs.asdict(task), "history": rows})
    else:
        show(task_lines(task, rows, now=time.time(), paper=paper()))
    return DONE


async def _why(client: Client, args: argparse.Namespace) -> int:
    from ygg.cli.story import why_lines

    why = await client.why(args.id)
    if args.json:
        print_json(why)
    else:
        show(why_lines(why, paper()))
    return DONE


async def _answer(client: Client, args: argparse.Namespace) -> int:
    text = await client.answer(args.id, thinking=args.thinking)
    task = await client.task(args.id)
    if args.json:
        from ygg.shapes import AnswerText

        finish = None if task.answer is None else task.answer.finish
        print_json(AnswerText(id=task.id, thinking=args.thinking, text=text, finish=finish))
    else:
        print_answer(text)
    tell_if_cut(task)
    return DONE


def tell_if_cut(task: TaskView) -> None:
    """On standard error, so that half an answer is never taken for a whole one."""
    if task.answer is not None and task.answer.finish == "length":
        tokens = task.answer.completion_tokens
        after = "" if tokens is None else f" after {counted(tokens, 'token')}"
        sys.stdout.flush()
        say(f"the answer of {task.id} was cut{after}: raise the limit with --option num_predict=N")


def print_answer(text: str) -> None:
    """To a file as it is; to a terminal without what would command it."""
    shown = clean_text(text) if sys.stdout.isatty() else text
    print(shown, end="" if shown.endswith("\n") else "\n")
