"""Looks at a Beads project: whether `bd` answers there, and which of its issues would be taken.

Only reads. What is taken is decided where the dispatcher decides it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from ygg.doctor.findings import Finding, ok, wrong
from ygg.fleet import BeadsSettings, Fleet
from ygg.lines import printable
from ygg.printing import seconds
from ygg.sources.base import Issue, SourceError
from ygg.sources.issues import Taking, left_alone, not_free, offers
from ygg.sources.project import actor_of, beads
from ygg.sources.where import (
    REDIRECT,
    Project,
    Wanted,
    find_project,
    is_elsewhere,
    poll_seconds,
)

#: Issues that are told of one by one, of those that are taken and of the others.
_TOLD: Final = 20
#: Characters of an id.
_SHOWN: Final = 128


async def look_at(fleet: Fleet, wanted: Wanted, folder: Path) -> Sequence[Finding]:
    """All that was found."""
    try:
        project = find_project(wanted, fleet.beads, folder)
        if project is None:
            return [ok(f"there is no .beads in {folder} or above it: no issues are taken")]
    except SourceError as error:
        return [wrong(f"{error.where}: {error.what}", error.way_out)]
    where = list(_redirect(project))
    try:
        ready = await beads(project, fleet.beads, telling=lambda _report, _issue: ()).ready()
    except SourceError as error:
        return [wrong(f"{error.where}: {error.what}", error.way_out), *where]
    taking = Taking(beads=fleet.beads, types=fleet.types, actor=actor_of(fleet.beads))
    return [
        ok(f"bd answers in {project.folder}; issues are claimed as {taking.actor}"),
        *where,
        ok(_pace(project, fleet.beads)),
        *_issues(ready, taking),
    ]


def _redirect(project: Project) -> Iterator[Finding]:
    if project.is_redirected:
        yield ok(f"its files are in {project.files}: {project.beads / REDIRECT} leads there")
    if project.doubt:
        yield wrong(
            f"{project.beads / REDIRECT} is in doubt: {project.doubt}",
            "mend or delete that file; `bd where` tells which database bd opens",
        )


def _pace(project: Project, settings: BeadsSettings) -> str:
    every = f"every {seconds(poll_seconds(project, settings))} (`beads: {{poll_seconds: ...}}`)"
    if not is_elsewhere(project):
        return f"its files are watched; it is looked at {every} besides"
    return f"bd talks to a server, and nothing changes on this disk: it is looked at {every}"


def _issues(ready: Sequence[Issue], taking: Taking) -> Iterator[Finding]:
    """Pure: what would become of each issue that is ready."""
    reasons = {i.id: left_alone(i, taking) or not_free(i, taking.actor) for i in ready}
    taken = offers((issue for issue in ready if reasons[issue.id] is None), taking)
    others = [issue for issue in ready if reasons[issue.id] is not None and not issue.fault]
    yield ok(f"{len(taken)} of {len(ready)} ready issues would be taken")
    for one in taken[:_TOLD]:
        yield ok(f"{one.issue_id} {one.title!r}: {one.type}, priority {one.priority}")
    if len(taken) > _TOLD:
        yield ok(f"and {len(taken) - _TOLD} more")
    unreadable = [issue for issue in ready if issue.fault]
    for issue in unreadable[:_TOLD]:
        name = printable(issue.id)[:_SHOWN]
        yield wrong(
            f"{name or 'an issue without an id'} is left alone: it {reasons[issue.id]}",
            f"mend it: `bd show {name} --json` shows it" if name else "`bd ready --json` shows it",
        )
    if len(unreadable) > _TOLD:
        yield wrong(f"and {len(unreadable) - _TOLD} more can't be read", "mend them too")
    for issue in others[:_TOLD]:
        yield ok(f"{issue.id} is left alone: it {reasons[issue.id]}")
    if len(others) > _TOLD:
        yield ok(f"and {len(others) - _TOLD} more are left alone")
