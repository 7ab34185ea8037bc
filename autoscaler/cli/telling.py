"""The commands that read records: explain, history, replay."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from autoscaler.chart import chart
from autoscaler.cli.base import Failed, fleet_if_there, url_of
from autoscaler.cli.records import nothing, of_file, of_host
from autoscaler.explain import sentences, story_of
from autoscaler.records import Record, as_plain
from autoscaler.replay import IN_THE_EVIDENCE, NO_MATTER, Replayed
from autoscaler.replay import replay as replayed
from autoscaler.settings import Settings, SettingsError, make_settings
from autoscaler.words import waits_for, why
from ygg.cli.base import DONE, FAILED, UNREACHABLE, WRONG_USE, paper, print_json, show
from ygg.client import Client, Problem, Unreachable, WrongSettings
from ygg.hostsfile import HostsFileError, parse_fleet
from ygg.printing import seconds
from ygg.shapes import HostStatus

#: Of decisions that differ, so many are shown.
_SHOWN: Final = 40
#: What a setting may be; anything more would be read as further lines of the file.
_VALUE: Final = re.compile(r"[^\s{}\[\],:#&*!|>'\"%@`]+")


def explain(args: argparse.Namespace) -> int:
    """Raises Failed."""
    settings = _settings(args)
    story = story_of(of_host(args))
    if story is None:
        return _as_the_dispatcher_has_it(args)
    if args.json:
        last, change = story.last, story.change
        print_json(
            {
                "host": last.host,
                "limit": last.limit_after,
                "why": why(last, settings),
                "waits_for": waits_for(last, settings),
                "sentences": list(sentences(story, settings, time.time())),
                "last": as_plain(last),
                "changed_at": None if change is None else change.at,
                "changed_from": None if change is None else change.before,
                "changed_by": (
                    None if change is None or change.by is None else as_plain(change.by)
                ),
            }
        )
        return DONE
    on = paper()
    for sentence in sentences(story, settings, time.time()):
        show(on.wrap(sentence, "  "))
    return DONE


def history(args: argparse.Namespace) -> int:
    """Raises Failed."""
    end = time.time()
    begin = end - args.last
    settings = _settings(args)
    every = 0
    found = list[Record]()
    for record in of_host(args):
        every += 1
        if begin <= record.at <= end:
            found.append(record)
    if not found:
        raise _older(args, every) if every else nothing(args)
    if args.json:
        for record in found:
            print_json(as_plain(record))
        return DONE
    plain = "utf" not in (sys.stdout.encoding or "").lower()
    show(chart(found, settings, begin=begin, end=end, width=paper().width or 80, plain=plain))
    return DONE


def replay(args: argparse.Namespace) -> int:
    """Raises Failed."""
    settings = _settings(args)
    others = _changed(settings, args.set)
    total = differing = strange = 0
    rows: list[Replayed] = []
    for one in replayed(of_file(Path(args.file), args.host), settings, others):
        total += 1
        strange += not one.is_as_recorded
        if one.differs:
            differing += 1
            if args.json:
                print_json(_difference(one))
            elif len(rows) < _SHOWN:
                rows.append(one)
    if not args.json:
        show(_told(rows, total=total, differing=differing, strange=strange))
    return DONE


def _as_the_dispatcher_has_it(args: argparse.Namespace) -> int:
    """The autoscaler may run on another machine: its last decision is told there too."""
    why_not = nothing(args)
    if why_not.code == WRONG_USE:
        raise why_not
    try:
        found = asyncio.run(_ask(url_of(args), args.host))
    except WrongSettings as error:
        raise Failed(str(error), WRONG_USE) from error
    except Unreachable as error:
        raise Failed(f"{why_not} And {error}", UNREACHABLE) from error
    except Problem as problem:
        raise Failed(f"{why_not} And the dispatcher says: {problem}", FAILED) from problem
    if found is None or found.decision is None:
        raise why_not
    decision = found.decision
    if args.json:
        print_json({"host": found.name, "limit": found.limit, "decision": decision})
        return DONE
    numbers = ", ".join(f"{k} {v}" for k, v in decision.evidence.items() if v is not None)
    on = paper()
    show(on.wrap(f"{found.name}: the limit is {found.limit}, within {found.min} to {found.max}."))
    show(
        on.wrap(
            f"The last decision, at {decision.at}: {decision.action}, limit {decision.limit}, "
            f"reason {decision.reason}, {decision.effect} ({numbers}).", "  ",
        )
    )  # fmt: skip
    return DONE


async def _ask(url: str, host: str) -> HostStatus | None:
    async with Client(url) as client:
        return next((one for one in await client.hosts() if one.name == host), None)


# -- what is needed ------------------------------------------------------------------------------


def _older(args: argparse.Namespace, count: int) -> Failed:
    last = seconds(args.last)
    return Failed(
        f"none of the {count} recorded decisions about {args.host!r} is of the last {last}: "
        "go further back with --last, such as --last 1d", FAILED,
    )  # fmt: skip


def _settings(args: argparse.Namespace) -> Settings:
    """hosts.yaml's, or the defaults where there is none. Raises Failed."""
    fleet = fleet_if_there(args)
    try:
        return Settings() if fleet is None else make_settings(fleet.autoscaler)
    except SettingsError as error:
        raise Failed(str(error), WRONG_USE) from error


def _changed(settings: Settings, given: list[str]) -> Settings:
    """With what `--set KEY=VALUE` says, read as hosts.yaml is. Raises Failed."""
    changed: dict[str, object] = {}
    for text in given:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key or not _VALUE.fullmatch(value):
            raise Failed(
                f"--set {text}: write KEY=VALUE, such as memory_high_ratio=0.85", WRONG_USE
            )
        if key in IN_THE_EVIDENCE:
            raise Failed(
                f"--set {key}: the evidence was recorded with it, nothing else can be made of it",
                WRONG_USE,
            )
        if key in NO_MATTER:
            raise Failed(f"--set {key}: it does not change what is decided", WRONG_USE)
        file = f"hosts: {{h: {{url: 'http://h'}}}}\nautoscaler: {{{key}: {value}}}"
        try:
            changed |= parse_fleet(file, "--set").autoscaler
        except HostsFileError as error:
            why = "; ".join(problem.partition(": ")[2] for problem in error.problems)
            raise Failed(f"--set {text}: {why}", WRONG_USE) from error
    try:
        # All at once: one may only go with another.
        return replace(settings, **changed)  # type: ignore[arg-type]  # checked when it was read
    except SettingsError as error:
        raise Failed(f"--set: {error}", WRONG_USE) from error


# -- what is shown -------------------------------------------------------------------------------


def _difference(one: Replayed) -> dict[str, object]:
    return {
        "at": one.record.at,
        "host": one.record.host,
        "limit": one.record.limit,
        "before": {k: v for k, v in asdict(one.before).items() if k != "evidence"},
        "after": {k: v for k, v in asdict(one.after).items() if k != "evidence"},
    }


def _day_and_time(at: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    except (OverflowError, ValueError, OSError):
        return f"{at:g}"  # of a damaged record: no calendar has it


def _told(rows: list[Replayed], *, total: int, differing: int, strange: int) -> Iterator[str]:
    on = paper()
    if rows:
        yield from on.table(
            ["TIME", "HOST", "LIMIT", "DECIDED", "OTHERWISE"],
            [
                [
                    _day_and_time(one.record.at),
                    one.record.host,
                    one.record.limit,
                    f"{one.before.limit} ({one.before.reason})",
                    f"{one.after.limit} ({one.after.reason})",
                ]
                for one in rows
            ],
        )
        yield ""
    if differing > len(rows):
        yield f"... and {differing - len(rows)} more; --json has them all"
    yield f"{differing} of {total} decisions would want another limit."
    if strange:
        yield from on.wrap(
            f"{strange} of them are not even as recorded with the settings of now: they were "
            "others then, or the records begin in the middle of a run."
        )
