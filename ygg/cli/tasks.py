"""Commands about tasks: submit, list, show, answer, cancel, retry."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ygg import printing
from ygg.cli.base import DONE, FAILED, Commands, Wrong, fail, given, print_json, width
from ygg.cli.remote import remote

if TYPE_CHECKING:
    from ygg.client import Client, NewTask
    from ygg.shapes import TaskView


def register(commands: Commands) -> None:
    submit = commands.add(
        "submit", remote(_submit), "hand in tasks",
        "ygg submit -l code-generation -p 0 'Write a sorting function' --wait", commands.remote, commands.json,
    )  # fmt: skip
    submit.add_argument("title", nargs="*", help="what the task is, in a line")
    submit.add_argument("-d", "--description", metavar="TEXT", help="the prompt; - reads it")
    submit.add_argument("-l", "--label", action="append", metavar="LABEL")
    submit.add_argument("-t", "--type", help="the task's type, if not to be detected")
    submit.add_argument("-p", "--priority", type=int, metavar="N", help="0 critical .. 4 backlog")
    submit.add_argument("-k", "--key", help="the same key and task again is the same task")
    submit.add_argument("--model", help="run only where this model is")
    submit.add_argument("--system", metavar="TEXT", help="instead of the type's system text")
    submit.add_argument("--timeout", type=float, metavar="SECONDS")
    submit.add_argument("--not-before", metavar="TIME", help="RFC 3339, as 2026-11-24T18:00:00Z")
    submit.add_argument("-f", "--file", metavar="JSONL", help="one JSON task a line; - reads them")
    submit.add_argument("-w", "--wait", action="store_true", help="wait, and print the answer")

    listing = commands.add(
        "list",
        remote(_list),
        "list tasks",
        "ygg list --status blocked",
        commands.remote,
        commands.json,
    )
    listing.add_argument("--status", choices=["open", "in_progress", "closed", "blocked"])
    listing.add_argument("-p", "--priority", type=int, metavar="N")
    listing.add_argument("-t", "--type")
    listing.add_argument("--host")
    listing.add_argument("--error", metavar="TEXT", help="text within the error")
    listing.add_argument("-n", "--limit", type=int, default=50, help="0: all (default %(default)s)")

    for name, run, help_ in (
        ("show", _show, "show a task and its story"),
        ("answer", _answer, "print a task's answer"),
        ("cancel", _cancel, "cancel a task, waiting or running"),
    ):
        command = commands.add(
            name,
            remote(run),
            help_,
            f"ygg {name} 01kb2x7a5w2m9qfz4r",
            commands.remote,
            commands.json,
        )
        command.add_argument("id", help="the task's id")
        if name == "answer":
            command.add_argument("--thinking", action="store_true", help="its reasoning instead")

    retry = commands.add(
        "retry", remote(_retry), "send blocked tasks back to the backlog", "ygg retry --drained",
        commands.remote, commands.json,
    )  # fmt: skip
    retry.add_argument("ids", nargs="*", metavar="ID")
    retry.add_argument("--drained", action="store_true", help="all that a drain blocked")
    retry.add_argument("--error", metavar="TEXT", help="all whose error holds TEXT")
    retry.add_argument("-y", "--yes", action="store_true", help="do not ask")


async def _submit(client: Client, args: argparse.Namespace) -> int:
    if args.file is not None:
        return await _submit_file(client, args)
    title = " ".join(args.title)
    description = args.description
    if description == "-" or (not title and description is None and not sys.stdin.isatty()):
        description = sys.stdin.read()
    if not title and not description:
        raise Wrong('nothing to submit: `ygg submit "Explain this"`, `ygg submit < prompt.txt`, '
                    "or `ygg submit --file tasks.jsonl`")  # fmt: skip
    fields: dict[str, Any] = given(
        title=title or None, description=description, labels=args.label or None, type=args.type,
        priority=args.priority, key=args.key, model=args.model, system=args.system,
        timeout=args.timeout, not_before=args.not_before,
    )  # fmt: skip
    accepted = await client.submit(**fields)
    if args.wait:
        return await _wait(client, args, accepted.id)
    if args.json:
        print_json(accepted)
    else:
        print(f"{accepted.id}  {accepted.type}, priority {accepted.priority}")
    return DONE


async def _submit_file(client: Client, args: argparse.Namespace) -> int:
    """JSON Lines, in batches: never more of the file in memory than one."""
    from tqdm import tqdm

    if args.wait:
        raise Wrong("--wait is for one task: leave it out, and look with `ygg list`")
    path = Path("/dev/stdin" if args.file == "-" else args.file)
    if not path.exists():
        raise Wrong(f"{path}: there is no such file")
    with (
        path.open(encoding="utf-8") as lines,
        tqdm(unit=" tasks", desc="submitted", file=sys.stderr, disable=None) as bar,
    ):
        count = 0
        async for task in client.submit_many(_tasks(lines, args.file)):
            count += 1
            bar.update()
            if args.json:
                print_json(task)
    if not args.json:
        print(f"{count} tasks accepted")
    return DONE


def _tasks(lines: Iterable[str], name: str) -> Iterator[NewTask]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            task = json.loads(line)
        except ValueError as error:
            raise Wrong(
                f"{name}:{number}: not a JSON object ({error}); the lines before it were "
                "accepted in whole batches of 1,000: mend it and submit the rest"
            ) from error
        yield task


async def _wait(client: Client, args: argparse.Namespace, task_id: str) -> int:
    task = await client.wait(task_id)
    if args.json:
        print_json(task)
    elif task.outcome == "done":
        print(await client.answer(task_id))
    if task.outcome != "done":
        return fail(f"{task_id} is {task.status}: {task.error or task.outcome}", FAILED)
    return DONE


async def _list(client: Client, args: argparse.Namespace) -> int:
    tasks = client.tasks(
        status=args.status, priority=args.priority, type=args.type, host=args.host,
        error=args.error, limit=args.limit or None,
    )  # fmt: skip
    if args.json:
        async for task in tasks:
            print_json(task)
        return DONE
    rows = [
        [t.id, t.status, t.priority, t.type, t.host or "-", t.created_at, t.title]
        async for t in tasks
    ]
    headings = ["ID", "STATUS", "PRI", "TYPE", "HOST", "CREATED", "TITLE"]
    print(printing.table(headings, rows, width=width()))
    return DONE


async def _show(client: Client, args: argparse.Namespace) -> int:
    import msgspec

    task = await client.task(args.id)
    history = await client.history(args.id)
    whole = {**msgspec.to_builtins(task), "history": msgspec.to_builtins(history)}
    if args.json:
        print_json(whole)
    else:
        print("\n".join(printing.task_lines(whole, whole["history"])))
    return DONE


async def _answer(client: Client, args: argparse.Namespace) -> int:
    print(await client.answer(args.id, thinking=args.thinking))
    return DONE


async def _cancel(client: Client, args: argparse.Namespace) -> int:
    return _changed(args, await client.cancel(args.id))


def _changed(args: argparse.Namespace, task: TaskView) -> int:
    if args.json:
        print_json(task)
    else:
        print(f"{task.id}  {task.status}" + (f" ({task.outcome})" if task.outcome else ""))
    return DONE


async def _retry(client: Client, args: argparse.Namespace) -> int:
    ways = [bool(args.ids), args.drained, args.error is not None]
    if sum(ways) != 1:
        raise Wrong("say which: `ygg retry ID...`, `ygg retry --drained`, or `--error TEXT`")
    which: dict[str, Any] = given(
        ids=args.ids or None, drained=args.drained or None, error=args.error
    )
    if not args.ids:
        found = await client.retry_many(**which, dry_run=True)
        if not args.yes and sys.stdin.isatty() and found.count:
            reply = input(f"{found.count} blocked tasks go back to the backlog. Go on? [y/N] ")
            if reply.strip().lower() not in ("y", "yes"):
                return FAILED
    answer = await client.retry_many(**which)
    if args.json:
        print_json(answer)
    else:
        print(f"{answer.count} tasks are open again")
    return DONE
