"""`ygg check-journal`: proves what stands in a store."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ygg.cli.base import DONE, FAILED, WRONG_USE, Commands, fail, print_json


def register(commands: Commands) -> None:
    commands.add(
        "check-journal", _check_journal, "prove a store's history: order, bounds, no loss",
        "ygg check-journal --state .ygg", commands.files, commands.stored, commands.json,
    )  # fmt: skip


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
