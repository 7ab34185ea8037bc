"""`ygg submit`: one task out of arguments and standard input, or many out of a file."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ygg.cli.base import (
    DONE,
    FAILED,
    UNREACHABLE,
    Commands,
    Wrong,
    at_least,
    duration,
    fail,
    given,
    print_json,
    say,
)
from ygg.cli.given import json_value, later, option
from ygg.cli.piped import standard_input, was_left_alone
from ygg.cli.remote import exit_code, remote, told
from ygg.cli.tasks import print_answer, tell_if_cut
from ygg.printing import counted

if TYPE_CHECKING:
    from tqdm import tqdm

    from ygg.client import Client
    from ygg.shapes import TaskView


def register(commands: Commands) -> None:
    submit = commands.add(
        "submit", remote(_submit), "hand in a task, or a file of them",
        """
        ygg submit "Why is the sky blue?"
        ygg submit --wait -p 0 "Fix the build" -d "The error is ..."
        git diff | ygg submit --wait -t code-generation "Review this" -d -
        ygg submit -o temperature=0 -o num_ctx=8192 --not-before 2h "Summarise the day"
        ygg submit --file tasks.jsonl -p 4    # one JSON task a line: {"title": "..."}
        """,
        commands.remote, commands.json,
    )  # fmt: skip
    submit.add_argument("title", nargs="*", help="what the task is, in a line")
    submit.add_argument("-d", "--description", metavar="TEXT", help="the prompt; - reads it")
    submit.add_argument("-l", "--label", action="append", metavar="LABEL", help="may be repeated")
    submit.add_argument("-t", "--type", help="the task's type, if not to be detected")
    submit.add_argument(
        "-p", "--priority", type=at_least(0), metavar="N", help="0 critical .. 4 backlog"
    )
    submit.add_argument("-k", "--key", help="the same key and task again is the same task")
    submit.add_argument("--model", help="run only where this model is")
    submit.add_argument("--system", metavar="TEXT", help="instead of the type's system text")
    submit.add_argument(
        "-o",
        "--option",
        type=option,
        action="append",
        metavar="NAME=VALUE",
        help="for the model server",
    )
    submit.add_argument(
        "--timeout",
        type=duration,
        metavar="TIME",
        help="how long a run may take: seconds, or as 10m",
    )
    submit.add_argument(
        "--not-before",
        type=later,
        metavar="TIME",
        help="as 2026-11-24T18:00:00Z, or so long from now: 2h",
    )
    submit.add_argument(
        "--metadata", type=json_value, metavar="JSON", help="handed back as it came"
    )
    submit.add_argument(
        "-f", "--file", metavar="FILE", help="one JSON task a line; - reads them. What flags say "
        "holds for lines that don't say it"
    )  # fmt: skip
    submit.add_argument(
        "--key-prefix", metavar="TEXT",
        help="with --file: the same prefix again doubles no line that was accepted before",
    )  # fmt: skip
    submit.add_argument(
        "--patience", type=_patience, default=120.0, metavar="TIME",
        help="with --file: how long a dispatcher may be away, as while it is restarted, or have no "
        "room; 0 gives up at once (default 2m)",
    )  # fmt: skip
    submit.add_argument("-q", "--quiet", action="store_true", help="print ids, nothing else")
    submit.add_argument("-w", "--wait", action="store_true", help="wait, and print the answer")
    submit.add_argument(
        "--wait-limit", type=duration, metavar="TIME", help="with --wait: at most so long: 30m, 2h"
    )


def _patience(text: str) -> float:
    return 0.0 if text == "0" else duration(text)


async def _submit(client: Client, args: argparse.Namespace) -> int:
    if args.file is not None:
        return await _submit_file(client, args)
    if args.key_prefix is not None:
        raise Wrong("--key-prefix is for --file; a single task has --key")
    if args.wait_limit is not None and not args.wait:
        raise Wrong("--wait-limit is for --wait")
    task = _fields(args) | _text(args)
    accepted = await client.submit(**task)
    if task.get("description") is None and was_left_alone(sys.stdin):
        say("standard input was not read: `-d -` makes it the prompt")
    if args.wait:
        return await _wait(client, args, accepted)
    if _is_a_file(args):
        say(f"{args.title[0]} is a file here, and was taken as the title: `-f` hands in its lines")
    try:
        if args.json:
            print_json(accepted)
        elif args.quiet:
            print(accepted.id)
        else:
            print(f"{accepted.id}  {accepted.type}, priority {accepted.priority}")
        sys.stdout.flush()
    except OSError:
        say(f"{accepted.id} is accepted")  # or nobody would ever know its id
        raise
    return DONE


def _is_a_file(args: argparse.Namespace) -> bool:
    """Whether the title looks as if -f was forgotten."""
    if len(args.title) != 1 or args.description is not None:
        return False
    try:
        return Path(args.title[0]).is_file()
    except (OSError, ValueError):
        return False


def _text(args: argparse.Namespace) -> dict[str, Any]:
    """Title and description, out of the arguments or standard input."""
    title, description = " ".join(args.title), args.description
    if description == "-" or (not title and description is None and not sys.stdin.isatty()):
        description = standard_input()
    if not title and not description:
        raise Wrong('nothing to submit: `ygg submit "Explain this"`, `ygg submit < prompt.txt`, '
                    "or `ygg submit --file tasks.jsonl`")  # fmt: skip
    return given(title=title or None, description=description)


def _fields(args: argparse.Namespace) -> dict[str, Any]:
    """What the flags say of a task, of each where there are many."""
    return given(
        labels=args.label, type=args.type, priority=args.priority, key=args.key, model=args.model,
        system=args.system, options=dict(args.option) if args.option else None, timeout=args.timeout,
        not_before=args.not_before, metadata=args.metadata,
    )  # fmt: skip


async def _wait(client: Client, args: argparse.Namespace, accepted: TaskView) -> int:
    task_id = accepted.id
    if accepted.status != "closed":  # a task of the same key may be
        # Whatever becomes of this wait, the id is known.
        say(f"{task_id} is accepted; Ctrl-C leaves it to run")
    try:
        async with asyncio.timeout(args.wait_limit):
            task = await client.wait(task_id)
    except TimeoutError:
        return fail(f"{task_id} goes on after {args.wait_limit:g} s: `ygg wait {task_id}` waits on, "
                    f"`ygg cancel {task_id}` ends it", FAILED)  # fmt: skip
    except asyncio.CancelledError:
        say(f"{task_id} goes on: `ygg show {task_id}`, `ygg wait {task_id}`, "
            f"`ygg cancel {task_id}`")  # fmt: skip
        raise
    if args.json:
        print_json(task)
    elif task.outcome == "done":
        print_answer(await client.answer(task_id))
    tell_if_cut(task)
    if task.outcome != "done":
        return fail(f"{task_id} is {task.status}: {task.error or task.outcome}; "
                    f"`ygg show {task_id}`", FAILED)  # fmt: skip
    return DONE


async def _submit_file(client: Client, args: argparse.Namespace) -> int:
    """Never more of the file in memory than a batch."""
    import os

    from ygg.cli.jsonl import BadLine, TaskLines
    from ygg.client import Patience, Problem, Unreachable

    if args.wait or args.key or args.title or args.description:
        raise Wrong(
            "--file is for many tasks: leave out --wait, --key, the title and --description"
        )
    prefix = os.urandom(5).hex() if args.key_prefix is None else _key_prefix(args.key_prefix)
    accepted = 0

    def so_far() -> str:
        """The way out of a row of submits that broke off."""
        if not accepted:
            return "no task was accepted"
        return (f"{accepted} tasks were accepted before: the same command with --key-prefix "
                f"{prefix} goes on from there and doubles none")  # fmt: skip

    def pausing(why: str) -> None:
        bar.clear()
        say(f"{why}; trying for {args.patience:g} s to go on, Ctrl-C ends it")

    patience = Patience(args.patience, pausing)
    try:
        with TaskLines(args.file, prefix, _fields(args)) as lines, _bar(lines.total) as bar:
            try:
                async for task in client.submit_many(lines, patience=patience):
                    lines.accepted()
                    accepted += 1
                    bar.update()
                    if args.json:
                        print_json(task)
                    elif args.quiet:
                        print(task.id)
            except Problem as problem:
                said = lines.told(problem) if problem.errors else told(problem, client, args)
                return fail(f"{said}; {so_far()}", exit_code(problem))
    except Unreachable as error:
        return fail(f"{error}; {so_far()}", UNREACHABLE)
    except BadLine as error:
        raise Wrong(f"{error}; {so_far()}") from error
    except (asyncio.CancelledError, KeyboardInterrupt):
        say(so_far())
        raise
    if not accepted:
        raise Wrong(f"there was nothing to submit: {lines.shown} has no line with a task, such as "
                    '{"title": "Explain this"}')  # fmt: skip
    if not (args.json or args.quiet):
        print(f"{counted(accepted, 'task')} accepted")
    return DONE


def _key_prefix(text: str) -> str:
    """Raises Wrong: a prefix that was not taken as it is would break its promise in silence."""
    from ygg.cli.jsonl import PREFIX_CHARACTERS

    if not text or len(text) > PREFIX_CHARACTERS:
        raise Wrong(f"--key-prefix has {len(text)} characters: write 1 to {PREFIX_CHARACTERS}, such "
                    "as the name of the file and a date")  # fmt: skip
    return text


def _bar(total: int | None) -> tqdm[NoReturn]:
    from tqdm import tqdm

    return tqdm(total=total, unit=" tasks", desc="submitted", file=sys.stderr, disable=None,
                dynamic_ncols=True, leave=False)  # fmt: skip
