"""What the commands share: where things are, and how they say what is wrong."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from autoscaler.parts import records_folder
from ygg import printing
from ygg.cli.base import WRONG_USE, Wrong
from ygg.cli.whereabouts import find_url
from ygg.client import WrongSettings
from ygg.client.address import parse_url
from ygg.fleet import DispatcherSettings, Fleet
from ygg.hostsfile import HostsFileError, read_fleet
from ygg.places import NoHostsFile, NoStore, Places, find_hosts_file, find_places


class Failed(Exception):
    """The command ends here, with an exit code and in words."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def fail(message: str, code: int) -> int:
    """Say what is wrong, in one line or (of hosts.yaml) one for each mistake; the exit code."""
    for line in message.splitlines():
        say(line)
    return code


def say(line: str) -> None:
    """A remark that is no part of the answer."""
    print(f"ygg-autoscaler: {printing.clean(line)}", file=sys.stderr, flush=True)


def file_of(args: argparse.Namespace) -> Path:
    """Where hosts.yaml is. Raises Failed."""
    try:
        return find_hosts_file(args.hosts, os.environ, Path.cwd())
    except NoHostsFile as error:
        raise Failed(str(error), WRONG_USE) from error


def fleet_of(args: argparse.Namespace) -> Fleet:
    """Raises Failed."""
    try:
        return read_fleet(file_of(args))
    except HostsFileError as error:
        raise Failed(str(error), WRONG_USE) from error


def fleet_if_there(args: argparse.Namespace) -> Fleet | None:
    """None: no hosts.yaml was named, and none lies where it is looked for. Raises Failed."""
    try:
        find_hosts_file(args.hosts, os.environ, Path.cwd())
    except NoHostsFile:
        return None
    return fleet_of(args)


def url_of(args: argparse.Namespace) -> str:
    """Where the dispatcher is, as `ygg` finds it. Raises Failed."""
    try:
        url = find_url(args.url, args.hosts, environ=os.environ, folder=Path.cwd())
        parse_url(url)
    except (Wrong, WrongSettings) as error:
        raise Failed(str(error), WRONG_USE) from error
    return url


def places_of(args: argparse.Namespace, fleet: Fleet | None) -> Places:
    """Raises Failed."""
    settings = DispatcherSettings() if fleet is None else fleet.dispatcher
    try:
        return find_places(
            settings, state=args.state, store=None, environ=os.environ, folder=Path.cwd()
        )
    except NoStore as error:
        raise Failed(str(error), WRONG_USE) from error


def records_of(args: argparse.Namespace) -> Path:
    """The folder of the records; hosts.yaml is asked for it only where it must be. Raises Failed."""
    if args.state is not None:
        return records_folder(Path(args.state))
    return records_folder(places_of(args, fleet_if_there(args)).state)
