"""The command line: parse, call, print, exit code; nothing else.

Exit codes: 0 done, 1 the task or check failed, 2 wrong use, 3 the dispatcher can't be reached.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ygg import printing
from ygg.client import DEFAULT_URL, Client, Problem, Unreachable
from ygg.version import VERSION

DONE, FAILED, WRONG_USE, UNREACHABLE = range(4)
#: Tasks of one call when many are submitted: the most the interface takes.
_BATCH: Final = 1000


class Wrong(Exception):
    """The command was used in a way that can't work; the message says how it can."""


def main(argv: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    # The demo has flags of its own; argparse would take those that stand first for ours.
    args, rest = parser.parse_known_args(given)
    if rest and args.command != "demo":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    args.rest = rest
    run: Callable[[argparse.Namespace], int] | None = getattr(args, "run", None)
    if run is None:
        parser.print_help()
        return WRONG_USE
    try:
        return run(args)
    except Wrong as error:
        return _fail(str(error), WRONG_USE)
    except Unreachable as error:
        return _fail(str(error), UNREACHABLE)
    except Problem as problem:
        return _fail(str(problem), WRONG_USE if problem.status in (400, 422) else FAILED)
    except BrokenPipeError:
        sys.stderr.close()  # the reader went away, as `| head` does
        return DONE
    except KeyboardInterrupt:
        return 130


def _fail(message: str, code: int) -> int:
    print(f"ygg: {printing.clean(message)}", file=sys.stderr)
    return code


# -- the daemon and what looks at files ------------------------------------------------------------


def _loop(args: argparse.Namespace) -> int:
    if args.command == "loop" and not args.use_async:
        raise Wrong("say `ygg loop --async` (the same as `ygg serve`)")
    from ygg.daemon import CantStart, Options, serve
    from ygg.hostsfile import HostsFileError
    from ygg.places import NoHostsFile
    from ygg.stores.base import StoreUnusable

    options = Options(
        hosts=args.hosts, listen=args.listen, store=args.store, state=args.state,
        verbose=args.verbose,
    )  # fmt: skip
    try:
        return serve(options)
    except HostsFileError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return WRONG_USE
    except NoHostsFile as error:
        return _fail(str(error), WRONG_USE)
    except (CantStart, StoreUnusable) as error:
        return _fail(str(error), FAILED)


def _check(args: argparse.Namespace) -> int:
    from ygg.hostsfile import HostsFileError, read_fleet
    from ygg.places import NoHostsFile, find_hosts_file

    try:
        path = find_hosts_file(args.hosts, os.environ, Path.cwd())
        fleet = read_fleet(path)
    except NoHostsFile as error:
        return _fail(str(error), WRONG_USE)
    except HostsFileError as error:
        if args.json:
            _print_json({"ok": False, "problems": error.problems})
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return FAILED
    if args.json:
        _print_json({"ok": True, "file": str(path), "problems": []})
        return DONE
    rows = [
        [h.name, h.url, h.api or "(asked)", h.model or "(asked)",
         f"shares {h.shares}" if h.shares else _slots_text(h.slots)]
        for h in fleet.hosts.values()
    ]  # fmt: skip
    print(printing.table(["HOST", "URL", "API", "MODEL", "SLOTS"], rows))
    print()
    routes = [[name, " > ".join(map(str, t.run))] for name, t in fleet.types.items()]
    print(printing.table(["TYPE", "RUNS ON"], routes))
    print(f"\n{path}: good")
    return DONE


def _slots_text(slots: Any) -> str:
    if slots.pin is not None:
        return f"pinned at {slots.pin}"
    most = "?" if slots.max is None else slots.max
    return f"{slots.start} ({slots.min}..{most})"


def _check_journal(args: argparse.Namespace) -> int:
    from ygg.fleet import DispatcherSettings
    from ygg.hostsfile import HostsFileError, read_fleet
    from ygg.places import NoHostsFile, find_hosts_file, find_places
    from ygg.proof import check_store
    from ygg.stores.base import StoreUnusable

    settings = DispatcherSettings()
    try:
        settings = read_fleet(find_hosts_file(args.hosts, os.environ, Path.cwd())).dispatcher
    except NoHostsFile:
        pass  # the store may be named without one
    except HostsFileError as error:
        return _fail(str(error), WRONG_USE)
    places = find_places(
        settings, state=args.state, store=args.store, environ=os.environ, folder=Path.cwd()
    )
    try:
        report = check_store(places.store)
    except StoreUnusable as error:
        return _fail(str(error), WRONG_USE)
    if args.json:
        _print_json(report.as_json())
    else:
        print("\n".join(report.lines()))
    return DONE if report.clean else FAILED


def _demo(args: argparse.Namespace) -> int:
    from ygg.demo.run import main as demo

    return demo(args.rest)


# -- tasks -----------------------------------------------------------------------------------------


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
    task = _given(
        title=title or None, description=description, labels=args.label or None, type=args.type,
        priority=args.priority, key=args.key, model=args.model, system=args.system,
        timeout=args.timeout, not_before=args.not_before,
    )  # fmt: skip
    accepted = client.call("POST", "/v1/tasks", task)
    if args.wait:
        return _wait(args, client, accepted["id"])
    if args.json:
        _print_json(accepted)
    else:
        print(f"{accepted['id']}  {accepted['type']}, priority {accepted['priority']}")
    return DONE


def _given(**fields: object) -> dict[str, object]:
    return {key: value for key, value in fields.items() if value is not None}


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
                    _print_json(task)
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
        _print_json(task)
    elif task["outcome"] == "done":
        print(client.text("GET", f"/v1/tasks/{task_id}/artifact"))
    if task["outcome"] != "done":
        _fail(f"{task_id} is {task['status']}: {task['error'] or task['outcome']}", FAILED)
        return FAILED
    return DONE


def _list(args: argparse.Namespace) -> int:
    client = Client(args.url)
    filters = _given(
        status=args.status, priority=args.priority, type=args.type, host=args.host,
        error=args.error,
    )  # fmt: skip
    tasks = client.tasks(**filters)
    if args.limit:
        tasks = itertools.islice(tasks, args.limit)
    if args.json:
        for task in tasks:
            _print_json(task)
        return DONE
    rows = [
        [t["id"], t["status"], t["priority"], t["type"], t["host"] or "-", t["created_at"],
         t["title"]]
        for t in tasks
    ]  # fmt: skip
    headings = ["ID", "STATUS", "PRI", "TYPE", "HOST", "CREATED", "TITLE"]
    print(printing.table(headings, rows, width=_width()))
    return DONE


def _show(args: argparse.Namespace) -> int:
    client = Client(args.url)
    task = client.call("GET", f"/v1/tasks/{args.id}")
    history = client.call("GET", f"/v1/tasks/{args.id}/history")["history"]
    if args.json:
        _print_json({**task, "history": history})
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
        _print_json(task)
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
        _print_json(answer)
    else:
        print(f"{answer['count']} tasks are open again")
    return DONE


def _status(args: argparse.Namespace) -> int:
    status = Client(args.url).call("GET", "/v1/status")
    if args.json:
        _print_json(status)
    else:
        print("\n".join(printing.status_lines(status, width=_width())))
    return DONE


# -- helpers ---------------------------------------------------------------------------------------


def _width() -> int:
    """Of the terminal; 0 (no cutting) where output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ygg",
        description="Dispatches tasks to your GPU hosts: the urgent one first, none ever lost.",
        epilog="example: ygg loop --async & ygg submit --wait 'Why is the sky blue?'",
    )
    parser.add_argument("--version", action="version", version=f"ygg {VERSION}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    remote = argparse.ArgumentParser(add_help=False)
    remote.add_argument(
        "--url", default=os.environ.get("YGG_URL", DEFAULT_URL),
        help="the dispatcher to talk to (YGG_URL; default %(default)s)",
    )  # fmt: skip
    as_json = argparse.ArgumentParser(add_help=False)
    as_json.add_argument("--json", action="store_true", help="print JSON, for scripts")
    files = argparse.ArgumentParser(add_help=False)
    files.add_argument("--hosts", metavar="FILE", help="hosts.yaml (YGG_HOSTS)")
    stored = argparse.ArgumentParser(add_help=False)
    stored.add_argument("--store", metavar="sqlite:PATH", help="the store, if not in the state")
    stored.add_argument("--state", metavar="DIR", help="folder of store and artifacts (YGG_STATE)")

    def add(
        name: str,
        run: Callable[[argparse.Namespace], int],
        help_: str,
        example: str,
        *parents: argparse.ArgumentParser,
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=help_, description=f"{help_[0].upper()}{help_[1:]}.",
            epilog=f"example: {example}", parents=parents,
        )  # fmt: skip
        command.set_defaults(run=run)
        return command

    for name in ("loop", "serve"):
        serving = add(
            name, _loop, "run the dispatcher", "ygg loop --async --listen 127.0.0.1:8765",
            files, stored,
        )  # fmt: skip
        serving.add_argument(
            "--async", dest="use_async", action="store_true", default=name == "serve",
            help="priorities, slots, everything (the default of `ygg serve`)",
        )  # fmt: skip
        serving.add_argument("--listen", metavar="HOST:PORT", help="(YGG_LISTEN)")
        serving.add_argument("--verbose", action="store_true", help="log more")

    submit = add(
        "submit", _submit, "hand in tasks",
        "ygg submit -l code-generation -p 0 'Write a sorting function' --wait", remote, as_json,
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

    listing = add("list", _list, "list tasks", "ygg list --status blocked", remote, as_json)
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
        command = add(name, run, help_, f"ygg {name} 01kb2x7a5w2m9qfz4r", remote, as_json)
        command.add_argument("id", help="the task's id")
        if name == "answer":
            command.add_argument("--thinking", action="store_true", help="its reasoning instead")

    retry = add(
        "retry", _retry, "send blocked tasks back to the backlog", "ygg retry --drained",
        remote, as_json,
    )  # fmt: skip
    retry.add_argument("ids", nargs="*", metavar="ID")
    retry.add_argument("--drained", action="store_true", help="all that a drain blocked")
    retry.add_argument("--error", metavar="TEXT", help="all whose error holds TEXT")
    retry.add_argument("-y", "--yes", action="store_true", help="do not ask")

    add("status", _status, "show hosts, what runs, waits and is blocked", "ygg status", remote,
        as_json)  # fmt: skip
    add("check", _check, "check hosts.yaml", "ygg check --hosts hosts.yaml", files, as_json)
    add("check-journal", _check_journal, "prove a store's history: order, bounds, no loss",
        "ygg check-journal --state .ygg", files, stored, as_json)  # fmt: skip
    demo = commands.add_parser(
        "demo", help="real model servers on this machine answer real tasks", add_help=False
    )
    demo.set_defaults(run=_demo)
    return parser


if __name__ == "__main__":
    sys.exit(main())
