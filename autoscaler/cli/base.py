"""What the commands share: where things are, and how they say what is wrong."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from autoscaler.parts import records_folder
from ygg import printing
from ygg.cli.base import WRONG_USE
from ygg.fleet import DispatcherSettings, Fleet
from ygg.hostsfile import HostsFileError, read_fleet
from ygg.places import NoHostsFile, Places, find_hosts_file, find_places


class Failed(Exception):
    """The command ends here, with an exit code and in words."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def fail(error: Failed) -> int:
    """Say what is wrong; returns the exit code."""
    for line in str(error).splitlines():
        print(f"ygg-autoscaler: {printing.clean(line)}", file=sys.stderr)
    return error.code


def fleet_of(args: argparse.Namespace) -> Fleet:
    """Raises Failed."""
    try:
        return read_fleet(find_hosts_file(args.hosts, os.environ, Path.cwd()))
    except (HostsFileError, NoHostsFile) as error:
        raise Failed(str(error), WRONG_USE) from error


def places_of(args: argparse.Namespace, fleet: Fleet | None) -> Places:
    settings = DispatcherSettings() if fleet is None else fleet.dispatcher
    return find_places(
        settings, state=args.state, store=None, environ=os.environ, folder=Path.cwd()
    )


def records_of(args: argparse.Namespace) -> Path:
    """The folder of the records; hosts.yaml is asked for it only where there is one."""
    if args.state is not None:
        return records_folder(Path(args.state))
    try:
        fleet: Fleet | None = read_fleet(find_hosts_file(args.hosts, os.environ, Path.cwd()))
    except NoHostsFile:
        fleet = None
    except HostsFileError as error:
        raise Failed(str(error), WRONG_USE) from error
    return records_folder(places_of(args, fleet).state)
