"""Why a host's limit is what it is, and what it waits for, told from its records. Pure.

What each reason means in words is words.py's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from autoscaler.policy import Action
from autoscaler.records import Record
from autoscaler.settings import Settings
from autoscaler.words import waits_for, why
from ygg.printing import seconds

#: Shrinks in a row that did nothing for memory, from which on it is said.
_FUTILE: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """The last time that the limit became another one."""

    at: float
    before: int
    limit: int
    #: The decision that did it; None: somebody else did, by hand, by hosts.yaml, or the server.
    by: Record | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """What the records tell of a host."""

    last: Record
    change: Change | None


def story_of(records: Iterable[Record]) -> Story | None:
    """Of one host's records, from the oldest on; None: there are none."""
    last: Record | None = None
    change: Change | None = None
    for record in records:
        if last is not None and record.limit != last.limit_after:
            change = Change(at=record.at, before=last.limit_after, limit=record.limit, by=None)
        if record.limit_after != record.limit:
            change = Change(at=record.at, before=record.limit, limit=record.limit_after, by=record)
        last = record
    return None if last is None else Story(last=last, change=change)


def sentences(story: Story, settings: Settings, now: float) -> Iterator[str]:
    """The whole, the limit first."""
    last, seen = story.last, story.last.signals
    yield f"{last.host}: the limit is {last.limit_after}, within {seen.min} to {seen.max}."
    if story.change is not None:
        yield _changed(story.change, settings, now)
    ago = seconds(max(0.0, now - last.at))
    what = _decided(last)
    yield f"The last decision, {ago} ago: {what}, because {why(last, settings)}."
    yield from _effect(last)
    if waits := waits_for(last, settings):
        yield f"It waits for this: {waits}."
    yield from remarks(last)


def _changed(change: Change, settings: Settings, now: float) -> str:
    ago = seconds(max(0.0, now - change.at))
    text = f"It went from {change.before} to {change.limit} {ago} ago"
    if change.by is None:
        return (
            f"{text}, not by the autoscaler: by hand, by hosts.yaml, or by the server's own limit."
        )
    return f"{text}, because {why(change.by, settings)}."


def _decided(record: Record) -> str:
    if record.action is Action.HOLD:
        return "hold"
    return f"{record.action} to {record.wanted}"


def _effect(record: Record) -> Iterator[str]:
    told = f" ({record.detail})" if record.detail else ""
    match record.effect:
        case "unchanged" | "resized":
            return
        case "dry_run":
            yield "It is a dry run: the limit is not touched."
        case "standby":
            yield f"Another autoscaler leads, so this one only watches{told}."
        case "unreached":
            yield f"The dispatcher was not reached, so the limit stays as it is{told}."
        case _ if record.action is not Action.HOLD:
            yield f"The dispatcher did not carry it out: {record.effect}{told}."


def remarks(record: Record) -> Iterator[str]:
    """What a person should know of, beside the decision."""
    futile = record.evidence.get("futile_shrinks")
    if isinstance(futile, int) and futile >= _FUTILE:
        yield (
            f"The last {futile} shrinks changed memory by next to nothing: it is the server's own, "
            "taken at its start, or another program's. If that is by design, write "
            "`gpu: {memory: off}` (or kv) for this host in hosts.yaml."
        )
