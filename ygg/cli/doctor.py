"""`ygg doctor`: looks at all that a dispatcher rests on, and says what mends what is wrong."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ygg import printing
from ygg.cli.base import (
    DONE,
    FAILED,
    WRONG_USE,
    Commands,
    Wrong,
    duration,
    fail,
    paper,
    print_json,
    show,
)

if TYPE_CHECKING:
    from ygg.doctor.findings import Report
    from ygg.fleet import Fleet

#: bd may take its time, and has a limit of its own for each call.
_BEADS_SECONDS: Final = 180.0


def register(commands: Commands) -> None:
    doctor = commands.add(
        "doctor", _doctor, "look at every host, exporter and folder: what works, and what mends the rest",
        """
        ygg doctor
        ygg doctor surtr --deep                    # one host, and a token of its model
        ygg doctor --measure                       # how many at once it really runs
        ygg doctor --beads                         # which issues would be taken
        """, commands.files, commands.stored, commands.json,
    )  # fmt: skip
    doctor.add_argument("names", nargs="*", metavar="HOST", help="only these hosts (default: all)")
    doctor.add_argument(
        "--deep", action="store_true", help="have every model make one token, loading it if need be"
    )
    doctor.add_argument(
        "--measure", action="store_true",
        help="send several requests at once, and see how many each host runs together",
    )  # fmt: skip
    doctor.add_argument(
        "--beads", nargs="?", const="", metavar="PATH",
        help="also which issues of a Beads project would be taken (default: where the dispatcher looks)",
    )  # fmt: skip
    doctor.add_argument(
        "--timeout", type=duration, default=120.0, metavar="TIME",
        help="for one answer of --deep and --measure (default: 2m)",
    )  # fmt: skip
    doctor.add_argument(
        "--url", help="the dispatcher to ask (YGG_URL; default: where the file says)"
    )


def _doctor(args: argparse.Namespace) -> int:
    import asyncio

    from ygg.doctor.findings import Report, is_well, summary, wrong
    from ygg.hostsfile import HostsFileError, HostsFileUnreadable, read_fleet
    from ygg.places import NoHostsFile, find_hosts_file

    failed = FAILED
    try:
        fleet = read_fleet(find_hosts_file(args.hosts, os.environ, Path.cwd()))
    except NoHostsFile as error:
        return fail(str(error), WRONG_USE)
    except HostsFileError as error:
        failed = WRONG_USE if isinstance(error, HostsFileUnreadable) else FAILED
        findings = [wrong(*_apart(problem)) for problem in error.problems]
        reports = [Report(part="hosts.yaml", name="", findings=findings)]
        if not args.json:
            show(reports[0].lines(paper()))
    else:
        if unknown := [name for name in args.names if name not in fleet.hosts]:
            raise Wrong(
                f"no host {', '.join(unknown)} in {fleet.file}; there are: {', '.join(fleet.hosts)}"
            )
        reports = asyncio.run(_examine(args, fleet))
    if args.json:
        checks = [check for report in reports for check in report.as_json()]
        print_json({"ok": is_well(reports), "checks": checks})
    else:
        show(["", *paper().wrap(summary(reports))])
    return DONE if is_well(reports) else failed


def _apart(problem: str) -> tuple[str, str]:
    what, _, remedy = problem.partition("; ")
    return what, remedy


async def _examine(args: argparse.Namespace, fleet: Fleet) -> list[Report]:
    from functools import partial

    from ygg.client.address import url_of
    from ygg.doctor.beads import look_at
    from ygg.doctor.examination import Subject, examine
    from ygg.doctor.hosts import Depth
    from ygg.doctor.subjects import Subjects, of_the_file
    from ygg.places import find_places
    from ygg.sources.where import Wanted

    places = find_places(
        fleet.dispatcher, state=args.state, store=args.store, environ=os.environ,
        folder=Path.cwd(),
    )  # fmt: skip
    url = args.url or os.environ.get("YGG_URL") or url_of(fleet.dispatcher.listen)
    depth = Depth(deep=args.deep, measure=args.measure, seconds=args.timeout)
    reports = [of_the_file(fleet)]
    async with Subjects(fleet, places, url, depth, args.names) as all_of_them:
        subjects = all_of_them.in_order()
        if args.beads is not None:
            wanted = Wanted(path=args.beads or None)
            look = partial(look_at, fleet, wanted, Path.cwd())
            subjects.append(Subject(part="beads", name="", look=look, seconds=_BEADS_SECONDS))
        bar = _Bar(len(subjects))
        _tell(args, reports[0])
        async for report in examine(subjects, bar.show):
            bar.hide()
            reports.append(report)
            _tell(args, report)
        bar.hide()
    return reports


def _tell(args: argparse.Namespace, report: Report) -> None:
    if not args.json:
        print("\n".join(report.lines(paper())), flush=True)


class _Bar:
    """How far it is, in one line of a terminal; nothing elsewhere."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._is_shown = sys.stderr.isatty()

    def show(self, done: int) -> None:
        if self._is_shown and done < self._count:
            line = printing.clean(f"looked at {done} of {self._count} ...")
            print(f"\r{line}\033[K", end="", file=sys.stderr, flush=True)

    def hide(self) -> None:
        if self._is_shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
