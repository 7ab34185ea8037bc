"""`ygg demo`: the whole job on this machine's CPU, and the proof that it was done right.

Nothing here is a rehearsal: the dispatcher is `ygg loop --async` as a process of its own, reached
over HTTP as any client would, and the verdict on the order is `ygg check-journal`'s.
"""

from __future__ import annotations

import argparse
import io
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ygg.demo import server, show, work
from ygg.demo.children import Child, Children, DemoFailed, tail
from ygg.demo.client import Client, Seen
from ygg.demo.starting import (
    CLEAN,
    LOOK_SECONDS,
    check_journal,
    leave_running,
    start_dispatcher,
    start_servers,
    ygg_command,
)
from ygg.tasks import Status


def run_tasks(children: Children, dispatcher: Child, client: Client, seconds: float) -> list[Seen]:
    """Submit both halves and watch until every task has ended; the tasks in order of submit."""
    deadline = time.monotonic() + seconds
    with show.progress(len(work.ALL), work.HOSTS) as live:
        live.say(f"{len(work.FIRST)} tasks submitted, the least urgent first")
        ids = client.submit([task.submit for task in work.FIRST])
        while True:
            known = {task.id: task for task in client.tasks()}
            tasks = [known[task_id] for task_id in ids]
            live.show(tasks)
            if len(ids) < len(work.ALL) and any(task.has_ended for task in tasks):
                live.say(f"{len(work.SECOND)} more while those run, the critical ones last")
                ids += client.submit([task.submit for task in work.SECOND])
            elif all(task.has_ended for task in tasks):
                return tasks
            children.check()
            if time.monotonic() > deadline:
                ended = sum(task.has_ended for task in tasks)
                raise DemoFailed(
                    f"only {ended} of {len(work.ALL)} tasks ended within {seconds:.0f} s; "
                    "a slow machine may need more: --timeout",
                    dispatcher.log,
                )
            time.sleep(LOOK_SECONDS)


def problems(tasks: Sequence[Seen], answers: Sequence[str]) -> list[str]:
    """Why the demo did not do its job; empty if it did. Both in the order of `work.ALL`."""
    found = []
    for asked, task, answer in zip(work.ALL, tasks, answers, strict=True):
        if task.status is not Status.CLOSED:
            found.append(f"task {task.id} ({task.title}) is {task.status}: {task.error}")
        elif not answer.strip():
            found.append(f"task {task.id} ({task.title}) is closed with an empty answer")
        if task.type != asked.type:
            found.append(f"task {task.id} ({task.title}) is {task.type}, not {asked.type}")
        if task.host is not None and task.host not in work.ROUTES[asked.type]:
            found.append(f"task {task.id} ({task.title}) ran on {task.host}, not on its route")
    return found


def _report(tasks: Sequence[Seen], answers: Sequence[str], state: Path) -> None:
    began = min(task.created_at for task in tasks)
    ends = [task.ended_at for task in tasks if task.ended_at]
    seconds = (max(ends) - began).total_seconds() if ends else 0.0
    print(f"\n{len(tasks)} tasks in {seconds:.1f} s, in the order in which they started")
    print("(priority 0 is the most urgent; + after tokens: cut at the limit)\n")
    print("\n".join(show.table(tasks)))
    if (chosen := show.showcase(tasks)) is not None:
        print(f"\nOne whole answer, by a very small model: {chosen.title} ({chosen.artifact})\n")
        for line in answers[tasks.index(chosen)].strip().splitlines():
            print(f"    {line}".rstrip())
    print(f"\nEvery answer is a file in {state / 'artifacts'}; logs and store are beside it.")


def _print_next() -> None:
    ygg = ygg_command()
    print("\nNext, with hosts of your own:")
    print(
        "  edit hosts.yaml        your servers' addresses, models and slots; or, in a new folder,"
    )
    print(f"  {ygg} init             writes one out of what your servers say they have")
    print(f"  {ygg} check            whether it is good, and where not")
    print(f"  {ygg} doctor           whether the servers are what it says")
    print(f"  {ygg} loop --async     the dispatcher; then, beside it:")
    print(f'  {ygg} submit --wait --priority 1 "Summarise: ..."')
    print(f"  {ygg} status")


def demo(state: Path, *, timeout: float, keep: bool) -> int:
    """The demo itself, in a folder of its own."""
    with Children(folder=state) as children:
        print(
            "Three llama.cpp servers on this machine's CPU, each with the weights of", server.MODEL
        )
        urls = start_servers(children)
        for name, url in urls.items():
            print(f"  {name:<16} {url}  {work.HOSTS[name]} slots")
        hosts_file = state / "hosts.yaml"
        hosts_file.write_text(work.hosts_yaml(urls))
        dispatcher, client = start_dispatcher(children, hosts_file, state)
        tasks = run_tasks(children, dispatcher, client, timeout)
        answers = [client.artifact(t.id) if t.status is Status.CLOSED else "" for t in tasks]
        _report(tasks, answers, state)
        if keep:
            leave_running(children, client)
        status = children.end(dispatcher)
        if status not in CLEAN:
            raise DemoFailed(f"the dispatcher ended with exit status {status}", dispatcher.log)
        wrong = problems(tasks, answers)
        if wrong:
            raise DemoFailed("\n".join(wrong), dispatcher.log)
        if not check_journal(state):
            raise DemoFailed("the journal's checker found the above", dispatcher.log)
    print(f"\nAll {len(tasks)} tasks are closed, each with an answer; the order rule held.")
    _print_next()
    return 0


def make_parser() -> argparse.ArgumentParser:
    """The documentation is made from it too."""
    parser = argparse.ArgumentParser(
        prog="ygg demo",
        description="The main job on real input: three real llama.cpp servers on this machine's "
        "CPU, the dispatcher, 24 real tasks, and the proof that their order held. With --autoscale "
        "the same servers at one slot each, under load for three minutes, and an autoscaler that "
        "moves their limits: every move with its reason, and what it was worth.",
        epilog="example: ygg demo --autoscale",
    )
    parser.add_argument(
        "--state",
        type=Path,
        help="folder for store, answers and logs (default: a new temporary one)",
    )
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    parser.add_argument(
        "--timeout",
        type=float,
        default=180.0,
        metavar="SECONDS",
        help="how long the tasks may take in all (default: 180)",
    )
    parser.add_argument(
        "--autoscale",
        action="store_true",
        help="show limits that move by themselves: exporters, `ygg-autoscaler` and a load",
    )
    parser.add_argument(
        "--seconds",
        type=_load_seconds,
        metavar="SECONDS",
        help="with --autoscale: how long the load lasts, from 20 to 3600 (default: 180)",
    )
    return parser


def _load_seconds(text: str) -> float:
    """Raises ValueError and argparse.ArgumentTypeError."""
    seconds = float(text)
    if not 20 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not from 20 to 3600 seconds")
    return seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; 0 only if every task was answered and the order rule held."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.seconds is not None and not args.autoscale:
        parser.error("--seconds is for --autoscale; without it there is --timeout")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # through a pipe, too, as it happens
    # SIGTERM as Ctrl-C: everything the demo started is ended, in order.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    state = args.state
    try:
        server.require()
        state = (state or Path(tempfile.mkdtemp(prefix="ygg-demo-"))).resolve()
        state.mkdir(parents=True, exist_ok=True)
        if args.autoscale:
            from ygg.demo.autoscale import SECONDS, autoscale

            return autoscale(state, seconds=args.seconds or SECONDS, keep=args.keep)
        return demo(state, timeout=args.timeout, keep=args.keep)
    except DemoFailed as error:
        sys.stdout.flush()
        print(f"\nygg demo: {error}", file=sys.stderr)
        if error.log is not None:
            print(f"  the last lines of {error.log}:\n{tail(error.log)}", file=sys.stderr)
    except (server.Missing, OSError) as error:
        print(f"\nygg demo: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print(
            f"\nygg demo: interrupted; dispatcher and servers are ended, what they wrote is in {state}",
            file=sys.stderr,
        )
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
