"""`ygg check`: whether hosts.yaml is good, and what it would change of what runs, in words."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ygg import printing
from ygg.cli.base import DONE, FAILED, WRONG_USE, Commands, fail, paper, print_json, show

if TYPE_CHECKING:
    from ygg.changes import Change
    from ygg.fleet import Fleet, SlotSettings
    from ygg.printing import Paper


def register(commands: Commands) -> None:
    check = commands.add(
        "check", _check, "check hosts.yaml, and say what it would change of what runs", """
        ygg check
        ygg check --ask                            # do the hosts have what it says?
        ygg check --hosts new.yaml && mv new.yaml hosts.yaml
        ygg check --hosts new.yaml --json | jq -r '.problems[], .changes[]?.text'
        """, commands.files, commands.stored, commands.json,
    )  # fmt: skip
    check.add_argument(
        "--ask", action="store_true",
        help="ask the hosts too: whether their models are there, and how many tasks they run",
    )  # fmt: skip
    check.add_argument(
        "--url", help="the dispatcher to compare with (YGG_URL; default: where the file says)"
    )


def _check(args: argparse.Namespace) -> int:
    from ygg.cli.printed import ChangeText, CheckReport
    from ygg.hostsfile import HostsFileError, HostsFileUnreadable, read_fleet
    from ygg.places import NoHostsFile, find_hosts_file

    try:
        path = find_hosts_file(args.hosts, os.environ, Path.cwd())
    except NoHostsFile as error:
        return fail(str(error), WRONG_USE)
    try:
        fleet = read_fleet(path)
    except HostsFileError as error:
        if args.json:
            print_json(
                CheckReport(
                    ok=False,
                    file=str(path),
                    problems=error.problems,
                    why_not_compared="the file is not good",
                )
            )
        for problem in error.problems:
            print(printing.clean(problem), file=sys.stderr)
        return WRONG_USE if isinstance(error, HostsFileUnreadable) else FAILED
    source, how, changes = _compare(args, fleet)
    warnings = _ask(fleet) if args.ask else []
    if args.json:
        print_json(
            CheckReport(
                ok=True,
                file=str(path),
                problems=(),
                compared_with=source if changes is not None else None,
                why_not_compared=source if changes is None else None,
                changes=[ChangeText(**change._asdict()) for change in changes or ()],
                warnings=warnings,
            )
        )
        return DONE
    sheet = paper()
    show([*_fleet_lines(fleet, sheet), "", *sheet.wrap(f"{path}: good"), ""])
    show(_change_lines(source, how, changes, sheet))
    if args.ask:
        told = [f"warning: {one}" for one in warnings] or ["Every host agrees."]
        show(["", *(line for text in told for line in sheet.wrap(text, "  "))])
    return DONE


def _compare(args: argparse.Namespace, fleet: Fleet) -> tuple[str, str, list[Change] | None]:
    """What it was compared with, by what it would be taken over, and the changes.

    Or why it could not be compared, and None.
    """
    from ygg.changes import compare
    from ygg.client import Unreachable
    from ygg.client.address import url_of
    from ygg.places import find_places
    from ygg.running import CantCompare, as_it_ran, as_it_runs

    url = args.url or os.environ.get("YGG_URL") or url_of(fleet.dispatcher.listen)
    places = find_places(
        fleet.dispatcher, state=args.state, store=args.store, environ=os.environ,
        folder=Path.cwd(),
    )  # fmt: skip
    try:
        before = as_it_runs(url, fleet)
    except CantCompare as error:
        return str(error), "", None
    except Unreachable:
        try:
            before = as_it_ran(places.store, fleet)
        except CantCompare as error:
            return f"no dispatcher answers at {url}, and {error}", "", None
    how = "a reload" if before.runs else "a start"
    return before.source, how, compare(before.fleet, fleet, before.work)


def _ask(fleet: Fleet) -> list[str]:
    """What hosts say that does not fit what the file says, in a sentence each."""
    import asyncio

    from ygg.doctor.hosts import look_at_all

    found = asyncio.run(look_at_all(fleet))
    texts = [f"{f'{of}: ' if of else ''}{finding.what}; {finding.remedy}" for of, finding in found]
    return [printing.clean(text) for text in texts]


def _fleet_lines(fleet: Fleet, paper: Paper) -> list[str]:
    rows = [
        [h.name, h.url, h.api or "(asked)", h.model or "(asked)",
         f"shares {h.shares}" if h.shares else _slots_text(h.slots)]
        for h in fleet.hosts.values()
    ]  # fmt: skip
    routes = [[name, " > ".join(map(str, t.run))] for name, t in fleet.types.items()]
    return [
        *paper.table(["HOST", "URL", "API", "MODEL", "SLOTS"], rows, drop=["API", "MODEL", "URL"]),
        "",
        *paper.table(["TYPE", "RUNS ON"], routes),
    ]


def _slots_text(slots: SlotSettings) -> str:
    if slots.pin is not None:
        return f"pinned at {slots.pin}"
    most = "?" if slots.max is None else slots.max
    return f"{slots.start} ({slots.min}..{most})"


def _change_lines(source: str, how: str, changes: list[Change] | None, paper: Paper) -> list[str]:
    if changes is None:
        return paper.wrap(f"What it would change is not known: {source}.")
    if not changes:
        return paper.wrap(f"{how[0].upper()}{how[1:]} would change nothing of {source}.")
    lines = paper.wrap(f"Compared with {source}, {how} would change:")
    for change in changes:
        lines += paper.wrap(f"  {change.text}", "    ")
    return lines
