"""Commands about tasks: submit, list, show, answer, cancel, retry."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ygg import printing
from ygg.cli.base import DONE, FAILED, Commands, Wrong, fail, given, print_json, width
from ygg.client import Client

#: Tasks of one call when many are submitted: the most the interface takes.
_BATCH: Final = 1000


def register(commands: Commands) -> None:
    submit = commands.add(
        "submit", _submit, "hand in tasks",
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
        "list", _list, "list tasks", "ygg list --status blocked", commands.remote, commands.json
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
            name, run, help_, f"ygg {name} 01kb2x7a5w2m9qfz4r", commands.remote, commands.json
        )
        command.add_argument("id", help="the task's id")
        if name == "answer":
            command.add_argument("--thinking", action="store_true", help="its reasoning instead")

    retry = commands.add(
        "retry", _retry, "send blocked tasks back to the backlog", "ygg retry --drained",
        commands.remote, commands.json,
    )  # fmt: skip
    retry.add_argument("ids", nargs="*", metavar="ID")
    retry.add_argument("--drained", action="store_true", help="all that a drain blocked")
    retry.add_argument("--error", metavar="TEXT", help="all whose error holds TEXT")
    retry.add_argument("-y", "--yes", action="store_true", help="do not ask")


def _submit(args: argparse.Namespace) -> int:
    client = Client(args.url)
    if args.file is not None:
        return _submit_file(args, client)
    title = " ".join(args.title)
    description = args.description
    if description == "-" or (not title and description is None and not sys.stdin.isatty()):
        description = sys.stdin.read()
    if not title and not description:
        raise Wrong('nothing to submit: `ygg submit "Explain this"`, `ygg submit < prompt.txt`, '
                    "or `ygg submit --file tasks.jsonl`")  # fmt: skip
    task = given(
        title=title or None, description=description, labels=args.label or None, type=args.type,
        priority=args.priority, key=args.key, model=args.model, system=args.system,
        timeout=args.timeout, not_before=args.not_before,
    )  # fmt: skip
    accepted = client.call("POST", "/v1/tasks", task)
    if args.wait:
        return _wait(args, client, accepted["id"])
    if args.json:
        print_json(accepted)
    else:
        print(f"{accepted['id']}  {accepted['type']}, priority {accepted['priority']}")
    return DONE


def _submit_file(args: argparse.Namespace, client: Client) -> int:
    """JSON Lines, in batches: never more of the file in memory than one."""
    from tqdm import tqdm

    if args.wait:
        raise Wrong("--wait is for one task: leave it out, and look with `ygg list`")
    path = Path("/dev/stdin" if args.file == "-" else args.file)
    if not path.exists():
        raise Wrong(f"{path}: there is no such file")
    size = path.stat().st_size if path.is_file() else None
    with (
        path.open(encoding="utf-8") as lines,
        tqdm(total=size, unit="B", unit_scale=True, desc="submitted", file=sys.stderr,
             disable=None) as bar,
    ):  # fmt: skip
        count = 0
        for batch, length in _batches(lines, args.file):
            answer = client.call("POST", "/v1/tasks", batch)
            count += len(batch)
            bar.update(length)
            if args.json:
                for task in answer["tasks"]:
                    print_json(task)
    if not args.json:
        print(f"{count} tasks accepted")
    return DONE


def _batches(lines: Iterable[str], name: str) -> Iterator[tuple[list[object], int]]:
    numbered = enumerate(lines, 1)
    while chunk := list(itertools.islice(numbered, _BATCH)):
        batch, length = [], 0
        for number, line in chunk:
            length += len(line.encode())
            if not line.strip():
                continue
            try:
                batch.append(json.loads(line))
            except ValueError as error:
                raise Wrong(
                    f"{name}:{number}: not a JSON object ({error}); the lines before it were "
                    "accepted in whole batches of 1,000: mend it and submit the rest"
                ) from error
        if batch:
            yield batch, length


def _wait(args: argparse.Namespace, client: Client, task_id: str) -> int:
    pause = 0.05
    while True:
        task = client.call("GET", f"/v1/tasks/{task_id}")
        if task["status"] in ("closed", "blocked"):
            break
        time.sleep(pause)
        pause = min(pause * 1.5, 2.0)
    if args.json:
        print_json(task)
    elif task["outcome"] == "done":
        print(client.text("GET", f"/v1/tasks/{task_id}/artifact"))
    if task["outcome"] != "done":
        fail(f"{task_id} is {task['status']}: {task['error'] or task['outcome']}", FAILED)
        return FAILED
    return DONE


def _list(args: argparse.Namespace) -> int:
    client = Client(args.url)
    filters = given(
        status=args.status, priority=args.priority, type=args.type, host=args.host,
        error=args.error,
    )  # fmt: skip
    tasks = client.tasks(**filters)
    if args.limit:
        tasks = itertools.islice(tasks, args.limit)
    if args.json:
        for task in tasks:
            print_json(task)
        return DONE
    rows = [
        [t["id"], t["status"], t["priority"], t["type"], t["host"] or "-", t["created_at"],
         t["title"]]
        for t in tasks
    ]  # fmt: skip
    headings = ["ID", "STATUS", "PRI", "TYPE", "HOST", "CREATED", "TITLE"]
    print(printing.table(headings, rows, width=width()))
    return DONE


def _show(args: argparse.Namespace) -> int:
    client = Client(args.url)
    task = client.call("GET", f"/v1/tasks/{args.id}")
    history = client.call("GET", f"/v1/tasks/{args.id}/history")["history"]
    if args.json:
        print_json({**task, "history": history})
    else:
        print("\n".join(printing.task_lines(task, history)))
    return DONE


def _answer(args: argparse.Namespace) -> int:
    query = {"thinking": 1} if args.thinking else None
    print(Client(args.url).text("GET", f"/v1/tasks/{args.id}/artifact", query=query))
    return DONE


def _cancel(args: argparse.Namespace) -> int:
    return _changed(args, Client(args.url).call("POST", f"/v1/tasks/{args.id}/cancel"))


def _changed(args: argparse.Namespace, task: Mapping[str, Any]) -> int:
    if args.json:
        print_json(task)
    else:
        state = task["status"] + (f" ({task['outcome']})" if task["outcome"] else "")
        print(f"{task['id']}  {state}")
    return DONE


def _retry(args: argparse.Namespace) -> int:
    client = Client(args.url)
    ways = [bool(args.ids), args.drained, args.error is not None]
    if sum(ways) != 1:
        raise Wrong("say which: `ygg retry ID...`, `ygg retry --drained`, or `--error TEXT`")
    if args.ids:
        which: dict[str, object] = {"ids": args.ids}
    else:
        which = {"drained": True} if args.drained else {"error": args.error}
        found = client.call("POST", "/v1/retry", {**which, "dry_run": True})
        if not args.yes and sys.stdin.isatty() and found["count"]:
            reply = input(f"{found['count']} blocked tasks go back to the backlog. Go on? [y/N] ")
            if reply.strip().lower() not in ("y", "yes"):
                return FAILED
    answer = client.call("POST", "/v1/retry", which)
    if args.json:
        print_json(answer)
    else:
        print(f"{answer['count']} tasks are open again")
    return DONE
