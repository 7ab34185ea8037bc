"""A Beads project as a source: what is asked of `bd`, in its words.

Which issues become tasks, and what they are told, is decided by others; running `bd` is left to
`bd`. After a write nothing is taken for granted: bd may say that it failed when it did not, and
the other way round, so that a claim counts only when the issue shows it, and a report is told by
looking first at what the issue already says.

bd takes a part of an id for the id, where one issue fits: of one that was deleted it may show, and
change, another. So nothing is written but right after an answer that has that very id, and an answer
that has another one tells that the issue is gone.

Claims, hand backs and looks of several issues are one call each: the words are the same. That bd
takes several ids is in its help, and not recorded; so what such a call left out is asked for again,
one by one. What an issue is told differs from issue to issue, and is told by calls of its own.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from ygg.lines import printable
from ygg.sources import answers
from ygg.sources.base import (
    ID,
    Away,
    Call,
    Change,
    Close,
    Garbage,
    Issue,
    Refused,
    Report,
    Say,
    SourceError,
)
from ygg.sources.bd import Bd, Printed
from ygg.sources.watch import Watch

logger = logging.getLogger(__name__)

#: Ids in one call.
_IDS_MAX: Final = 100
_IN_PROGRESS: Final = "in_progress"
#: How `show` says of one id that there is no such issue; "ambiguous": it is a part of several ids.
_GONE: Final = re.compile(r"no issues? found|not found|ambiguous", re.IGNORECASE)

#: Which calls tell a report to an issue as it is now; None: it is gone.
Telling = Callable[[Report, Issue | None], Sequence[Call]]


class Beads:
    """A `TaskSource`. Its calls wait for each other in `Bd`."""

    def __init__(self, bd: Bd, watch: Watch, *, telling: Telling) -> None:
        self._bd = bd
        self._watch = watch
        self._telling = telling

    @property
    def name(self) -> str:
        return "beads"

    async def ready(self) -> Sequence[Issue]:
        """All of them: without `-n 0` it would stop at a hundred."""
        printed = await self._bd.ask("ready", "--json", "-n", "0", "--exclude-type=epic")
        return self._bd.issues(printed)

    async def mine(self) -> Sequence[Issue]:
        printed = await self._bd.ask(
            *("list", "--json", f"--status={_IN_PROGRESS}", f"--assignee={self._bd.actor}"),
            *("-n", "0"),
        )
        return self._bd.issues(printed)

    async def show(self, ids: Sequence[str]) -> Mapping[str, Issue]:
        found: dict[str, Issue] = {}
        for some in _in_parts(ids):
            found |= await self._shown(some)
        return found

    async def claim(self, ids: Sequence[str]) -> Mapping[str, str | None]:
        told: dict[str, str | None] = {}
        for some in _in_parts(ids):
            told |= await self._claimed(some)
        return told

    async def hand_back(self, ids: Sequence[str]) -> None:
        for some in _in_parts(ids):
            await self._handed_back(some)

    async def _handed_back(self, ids: tuple[str, ...]) -> None:
        shown = await self._shown(ids)
        ours = tuple(one for one in ids if one in shown and self._is_ours(shown[one]))
        if not ours:
            return
        change = Change(status="open", assignee="")
        printed = await self._bd.run("update", *_flags(change), "--json", "--", *ours)
        _tell_of_others(printed, ours)
        if printed.code != 0:
            # It may have refused one that a person took, closed or deleted just now.
            if any(map(self._is_ours, (await self._shown(ours)).values())):
                raise self._bd.refusal(printed)
        elif len(ours) > 1:
            done = {issue.id for issue in self._bd.issues(printed)}
            for one in ours:
                if one not in done:
                    await self._handed_back((one,))

    async def tell(self, report: Report) -> None:
        issue = (await self.show((report.issue_id,))).get(report.issue_id)
        if issue is not None and issue.fault:
            raise Garbage(
                f"{issue.id} can't be read: {issue.fault}",
                where="bd",
                way_out=f"mend it with `bd update {issue.id} ...`; it is told then",
            )
        told = self._telling(report, issue)
        for call in told if issue is not None else ():
            # The answer to each names the issue: it is there still for the next.
            await self._told(report.issue_id, call)

    async def changed(self) -> bool:
        return await self._watch.changed()

    def _is_ours(self, issue: Issue) -> bool:
        return issue.status == _IN_PROGRESS and issue.assignee == self._bd.actor

    async def _shown(self, ids: tuple[str, ...]) -> dict[str, Issue]:
        """Those that are there. One that can't be shown has a fault; that is no reason to fail."""
        printed = await self._bd.run("show", "--json", "--", *ids)
        try:
            shown = self._bd.issues(printed)
        except Garbage:
            if printed.code == 0:
                raise
            shown = ()
        found = {issue.id: issue for issue in shown if issue.id in ids}
        missing = [one for one in ids if one not in found]
        nameless = next((issue for issue in shown if not issue.id), None)
        if nameless is not None:  # it is one of these
            return found | {one: answers.faulty(one, nameless.fault) for one in missing}
        unsaid = [one for one in missing if not _is_gone(one, printed)]
        if not unsaid:
            return found
        error = self._bd.refusal(printed) if printed.code != 0 else None
        if error is not None and not isinstance(error, Refused):
            raise error
        if len(ids) == 1:
            return {} if shown else _not_shown(ids[0], printed, error)
        is_well = len(unsaid) < len(ids)
        for one in unsaid:
            try:
                found |= await self._shown((one,))
            except (Refused, Garbage) as refused:
                if not is_well:
                    raise
                found[one] = answers.faulty(one, f"bd does not show it: {refused.what}")
        return found

    async def _claimed(self, ids: tuple[str, ...]) -> dict[str, str | None]:
        shown = await self._shown(ids)
        free = tuple(one for one in ids if self._is_free(shown.get(one)))
        said: dict[str, str] = {}
        if free:
            try:
                printed = await self._bd.run("update", "--claim", "--json", "--", *free)
                _tell_of_others(printed, free)
                said = self._said_of_claims(free, printed)
            except Away:
                raise
            except SourceError as error:
                said = dict.fromkeys(free, str(error))  # it may have taken effect all the same
            shown = {one: shown[one] for one in shown if one not in free} | await self._shown(free)
        told = {one: self._why_not(shown.get(one), said.get(one)) for one in ids}
        if any(told[one] is None for one in free):
            for one in free:
                if told[one] is not None and one not in said and self._is_free(shown.get(one)):
                    told |= await self._claimed((one,))
        return told

    def _is_free(self, issue: Issue | None) -> bool:
        return (
            issue is not None
            and not issue.fault
            and issue.status == "open"
            and issue.assignee in ("", self._bd.actor)
        )

    def _said_of_claims(self, ids: tuple[str, ...], printed: Printed) -> dict[str, str]:
        """What was said against each claim. Raises the error that holds for all of them."""
        said = _said_of_each(ids, printed)
        if printed.code != 0 and not said:
            raise self._bd.refusal(printed)
        return said

    def _why_not(self, issue: Issue | None, said: str | None) -> str | None:
        """Why an issue is not ours, as it is shown; None: it is."""
        if issue is None:
            return "it is gone"
        if issue.fault:
            return f"it can't be read: {issue.fault}"
        if self._is_ours(issue):
            return None
        if issue.assignee not in ("", self._bd.actor):
            return f"{issue.assignee} has it"
        if issue.status != "open":
            return f"it is {issue.status}"
        return said or "bd does not show the claim yet"

    async def _told(self, one: str, call: Call) -> None:
        _check(one)
        match call:
            case Say(text=text):
                # By standard input: it may be longer than a command line, or begin with `--`.
                data = text.encode("utf-8", "replace")
                flags = ("--json", "--file=/dev/stdin")
                printed = await self._bd.ask("comments", "add", *flags, "--", one, data=data)
                on = answers.commented_on(printed.out, call=printed.call)
                _check_told(printed, one, (on,))
            case Change():
                printed = await self._bd.ask("update", *_flags(call), "--json", "--", one)
                self._check_changed(printed, one)
            case Close(reason=reason):
                printed = await self._bd.ask("close", f"--reason={reason}", "--json", "--", one)
                self._check_changed(printed, one)

    def _check_changed(self, printed: Printed, one: str) -> None:
        _check_told(printed, one, [issue.id for issue in self._bd.issues(printed)])


def found_upwards(start: Path) -> Path | None:
    """The nearest folder that has a `.beads`, from `start` to the root."""
    for folder in (start, *start.parents):
        if (folder / ".beads").is_dir():
            return folder
    return None


def _in_parts(ids: Sequence[str]) -> list[tuple[str, ...]]:
    for one in ids:
        _check(one)
    once = tuple(dict.fromkeys(ids))
    return [once[start : start + _IDS_MAX] for start in range(0, len(once), _IDS_MAX)]


def _check(one: str) -> None:
    if not ID.fullmatch(one):
        raise Refused(
            f"{one[:140]!r} is no id of an issue",
            where="bd",
            way_out="ids begin with a letter or a digit, and have letters, digits, `.`, `_`, `-`",
        )


def _flags(change: Change) -> list[str]:
    """Always with `=`: a value that begins with `--` is a value."""
    flags = [f"--set-metadata={key}={value}" for key, value in change.metadata.items()]
    flags += [f"--add-label={label}" for label in change.add_labels]
    flags += [f"--remove-label={label}" for label in change.remove_labels]
    if change.append_notes is not None:
        flags.append(f"--append-notes={change.append_notes}")
    if change.assignee is not None:
        flags.append(f"--assignee={change.assignee}")
    if change.status is not None:
        flags.append(f"--status={change.status}")
    return flags


def _said_of_each(ids: Sequence[str], printed: Printed) -> dict[str, str]:
    """Of a call about several ids: which line of standard error is about which."""
    return {one: line for one in ids for line in _lines(printed) if _is_about(one, line)}


def _is_gone(one: str, printed: Printed) -> bool:
    """Whether `show` says that there is no such issue; its task would be withdrawn for that."""
    return any(_is_about(one, line) and _GONE.search(line) for line in _lines(printed))


def _not_shown(one: str, printed: Printed, error: SourceError | None) -> dict[str, Issue]:
    """One that was asked for alone, and is not said to be gone. Raises what is not about it."""
    if error is None:
        return {one: answers.faulty(one, "bd does not show it: the answer says nothing of it")}
    if not any(_is_about(one, line) for line in _lines(printed)):
        raise error
    return {one: answers.faulty(one, f"bd does not show it: {error.what}")}


def _check_told(printed: Printed, one: str, changed: Sequence[str]) -> None:
    """Exit code 0 of half a call tells nothing: the issue has to be in the answer."""
    _log_others((one,), changed)
    if one not in changed:
        said = answers.words(b"", printed.err)
        raise Refused(
            f"{one} is not among what was changed{said and ': ' + said}",
            where=printed.call,
            way_out=f"look at it with `bd show {one}`",
        )


def _tell_of_others(printed: Printed, ids: Sequence[str]) -> None:
    try:
        changed = [issue.id for issue in answers.issues(printed.out, call=printed.call)]
    except Garbage:
        return  # whoever needs the answer reads it too, and says so
    _log_others(ids, changed)


def _log_others(ids: Sequence[str], changed: Sequence[str]) -> None:
    """Tell of what was written to, and nobody meant: the issue was deleted in that very moment."""
    others = [one for one in changed if one and one not in ids]
    if others:
        asked = [one for one in ids if one not in changed]
        logger.error(
            "event=wrong_issue asked=%s written=%s hint='bd took one id for the other: look at both'",
            ",".join(asked), printable(",".join(others)),
        )  # fmt: skip


def _is_about(one: str, line: str) -> bool:
    # `ambiguous ID "a" matches 2 issues: [a.1 a.2]` is about none of those two.
    said = line.partition(" matches ")[0]
    return re.search(rf"(?<![\w.-]){re.escape(one)}(?![\w.-])", said) is not None


def _lines(printed: Printed) -> list[str]:
    lines = printed.err.decode(errors="replace").splitlines()
    return lines if printed.code == 0 else [*lines, answers.error_of(printed.out)]
