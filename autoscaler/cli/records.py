"""Records as the commands need them: found, read, and what is wrong with them told in one line."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from autoscaler.cli.base import Failed, fleet_if_there, records_of, say
from autoscaler.recorder import read_records
from autoscaler.records import Record
from ygg.cli.base import FAILED, WRONG_USE
from ygg.cli.parsing import near


@dataclass(slots=True)
class Reading:
    """The records of a folder or a file, and what was no record there."""

    path: Path
    host: str | None = None
    #: Where the first was, and why; and how many there were.
    odd: str = ""
    odd_count: int = 0
    count: int = 0

    def records(self) -> Iterator[Record]:
        """From the oldest on. Raises Failed."""
        try:
            for record in read_records(self.path, self.host, self._take_odd):
                self.count += 1
                yield record
        except OSError as error:
            where = error.filename or self.path
            raise Failed(
                f"{where}: the records can't be read: {error.strerror or error}", FAILED
            ) from error
        if not self.odd_count:
            return
        if not self.count and self.host is None:
            raise Failed(f"{self.odd}: name what `ygg-autoscaler` wrote", FAILED)
        more = f", nor are {self.odd_count - 1} more" if self.odd_count > 1 else ""
        say(f"{self.odd}{more}: left out")

    def _take_odd(self, path: Path, number: int, why: str) -> None:
        self.odd_count += 1
        if self.odd_count == 1:
            self.odd = f"{path}:{number} is no record of a decision ({why})"


def of_host(args: argparse.Namespace) -> Iterator[Record]:
    """Of the host that was asked for; none where nothing was written yet. Raises Failed."""
    folder = records_of(args)
    if folder.exists():
        yield from Reading(folder, args.host).records()


def of_file(path: Path, host: str | None) -> Iterator[Record]:
    """Of a file or folder that was named. Raises Failed."""
    if not path.exists():
        raise Failed(f"{path}: there is no such file or folder of records", WRONG_USE)
    reading = Reading(path, host)
    yield from reading.records()
    if not reading.count:
        of = f" about {host!r}" if host is not None else ""
        raise Failed(f"{path}: no decisions{of} are recorded there", FAILED)


def nothing(args: argparse.Namespace) -> Failed:
    """Why there are none of a host."""
    folder, host = records_of(args), args.host
    what = f"no decision about {host!r} is recorded in {folder}"
    fleet = fleet_if_there(args)
    if fleet is None:
        return Failed(
            f"{what}: is that its name, does `ygg-autoscaler` run, and with this --state?", FAILED
        )
    settings = fleet.hosts.get(host)
    if settings is None:
        known = near(host, fleet.hosts) or f"; there are: {', '.join(fleet.hosts)}"
        return Failed(f"{what}, and {fleet.file} has no such host{known}", WRONG_USE)
    if settings.shares is not None:
        return Failed(
            f"{host} uses the slots of {settings.shares}, and the two are one to the autoscaler: "
            f"ask for {settings.shares}", WRONG_USE,
        )  # fmt: skip
    return Failed(f"{what}: does `ygg-autoscaler` run, and with this --state?", FAILED)
