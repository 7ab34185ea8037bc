"""Commands that look at files: hosts.yaml, and the journal in a store."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from ygg import printing
from ygg.cli.base import DONE, FAILED, WRONG_USE, Commands, fail, print_json


def register(commands: Commands) -> None:
    commands.add(
        "check", _check, "check hosts.yaml", "ygg check --hosts hosts.yaml",
        commands.files, commands.json,
    )  # fmt: skip
    commands.add(
        "check-journal", _check_journal, "prove a store's history: order, bounds, no loss",
        "ygg check-journal --state .ygg", commands.files, commands.stored, commands.json,
    )  # fmt: skip


def _check(args: argparse.Namespace) -> int:
    from ygg.hostsfile import HostsFileError, read_fleet
    from ygg.places import NoHostsFile, find_hosts_file

    try:
        path = find_hosts_file(args.hosts, os.environ, Path.cwd())
        fleet = read_fleet(path)
    except NoHostsFile as error:
        return fail(str(error), WRONG_USE)
    except HostsFileError as error:
        if args.json:
            print_json({"ok": False, "problems": error.problems})
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return FAILED
    if args.json:
        print_json({"ok": True, "file": str(path), "problems": []})
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
        return fail(str(error), WRONG_USE)
    places = find_places(
        settings, state=args.state, store=args.store, environ=os.environ, folder=Path.cwd()
    )
    try:
        report = check_store(places.store)
    except StoreUnusable as error:
        return fail(str(error), WRONG_USE)
    if args.json:
        print_json(report.as_json())
    else:
        print("\n".join(report.lines()))
    return DONE if report.clean else FAILED
