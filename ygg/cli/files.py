"""`ygg check-journal`: proves what stands in a store."""

from __future__ import annotations

import argparse
import os
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from ygg.cli.base import DONE, FAILED, WRONG_USE, Commands, fail, print_json


def register(commands: Commands) -> None:
    checking = commands.add(
        "check-journal", _check_journal, "prove a store's history: order, bounds, no loss",
        "ygg check-journal --state .ygg", commands.files, commands.stored, commands.json,
    )  # fmt: skip
    checking.add_argument(
        "--artifacts", action="store_true",
        help="look also whether the answer of each task that is done is on the disk",
    )  # fmt: skip


def _check_journal(args: argparse.Namespace) -> int:
    from ygg.fleet import DispatcherSettings
    from ygg.hostsfile import HostsFileError, read_fleet
    from ygg.places import NoHostsFile, find_hosts_file, find_places
    from ygg.proof import Answers, check_store
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
        kept = settings.retention.artifacts
        since = None if kept is None else _day_after(kept)
        answers = Answers(folder=places.artifacts, since=since) if args.artifacts else None
        report = check_store(places.store, answers)
    except StoreUnusable as error:
        return fail(str(error), WRONG_USE)
    if args.json:
        print_json(report.as_json())
    else:
        print("\n".join(report.lines()))
    return DONE if report.clean else FAILED


def _day_after(kept: float) -> date:
    """The first day of which nothing is forgotten yet."""
    return (datetime.fromtimestamp(time.time() - kept, UTC) + timedelta(days=1)).date()
