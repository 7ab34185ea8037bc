"""What `bd` printed, as values: issues, its version, or the words of a refusal. Pure.

Whatever the bytes are, the end is a value or a SourceError: another version's answer, half an
answer and a page of something else are Garbage with the place where it stopped making sense.
Running `bd` is left to `bd`.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Final, TypeVar

import msgspec

from ygg.lines import printable
from ygg.sources.base import (
    Comment,
    Garbage,
    Issue,
    Locked,
    NoProject,
    Refused,
    SourceError,
    WrongVersion,
)
from ygg.tasks import PRIORITIES
from ygg.wire import read_time

#: Characters of what others wrote that an error repeats.
_SHOWN: Final = 400
_BROKEN: Final = "run the same call by hand; if it prints the same there, `bd doctor` may mend it"

T = TypeVar("T")


class _Comment(msgspec.Struct, frozen=True):
    author: str = ""
    text: str = ""


class _Issue(msgspec.Struct, frozen=True):
    id: Annotated[str, msgspec.Meta(min_length=1)]
    title: str
    status: str
    priority: Annotated[int, msgspec.Meta(ge=PRIORITIES[0], le=PRIORITIES[-1])]
    issue_type: str
    created_at: str
    updated_at: str
    description: str = ""
    acceptance_criteria: str = ""
    notes: str = ""
    labels: list[str] | None = None
    assignee: str = ""
    defer_until: str = ""
    #: Any: JSON of whoever put it there.
    metadata: dict[str, Any] | None = None
    comments: list[_Comment] | None = None


class _Version(msgspec.Struct, frozen=True):
    version: str


class _Commented(msgspec.Struct, frozen=True):
    issue_id: str


class _Error(msgspec.Struct, frozen=True):
    error: str


def issues(printed: bytes, *, call: str) -> tuple[Issue, ...]:
    """The issues of a list as `ready`, `list`, `show`, `update` and `close` print it.

    One with a value that makes no sense is among them with its fault. Raises Garbage: what was
    printed is no list of objects.

    Args:
        printed: standard output.
        call: the command line, for the error.
    """
    try:
        return tuple(map(_issue, msgspec.json.decode(printed, type=list[_Issue])))
    except (msgspec.DecodeError, ValueError, RecursionError):
        # Again, one by one: a bad one must not hide the others.
        return tuple(map(_looked_at, _decoded(printed, list[dict[str, Any]], call)))


def version(printed: bytes, *, call: str) -> str:
    """The version that `bd version --json` tells. Raises Garbage."""
    return _decoded(printed, _Version, call).version


def commented_on(printed: bytes, *, call: str) -> str:
    """The issue that `comments add` says it put the comment on. Raises Garbage."""
    return _decoded(printed, _Commented, call).issue_id


def refusal(code: int, stdout: bytes, stderr: bytes, *, call: str, folder: str) -> SourceError:
    """What a call that ended with an error wanted to say, as the error that fits.

    `bd` says it as text or as JSON, on standard error or on standard output.

    Args:
        code: its exit code.
        stdout: what it printed.
        stderr: and on standard error.
        call: the command line, for the error.
        folder: where it ran.
    """
    said = words(stdout, stderr)
    low = said.lower()
    if any(sign in low for sign in _NO_PROJECT):
        return NoProject(
            "there is no Beads project",
            where=folder,
            way_out="run `bd init` there, or say where the project is with --beads PATH or"
            " `beads: {path: ...}` in hosts.yaml",
        )
    if any(sign in low for sign in _LOCKED):
        return Locked(
            f"the database is locked: {said}",
            where=call,
            way_out="it is asked again; if it stays so, look for a `bd` that hangs",
        )
    if any(sign in low for sign in _UNKNOWN):
        return WrongVersion(
            f"this bd does not know the call: {said}",
            where=call,
            way_out=VERSIONS,
        )
    return Refused(
        said or f"exit code {code} without a word",
        where=call,
        way_out="run the same call by hand to see what it needs",
    )


def error_of(stdout: bytes) -> str:
    """The message of an error that was printed as JSON; "": it is none."""
    try:
        return _shown(msgspec.json.decode(stdout, type=_Error).error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def words(stdout: bytes, stderr: bytes) -> str:
    """What an error said, on one line, printable and bounded; "" when it said nothing."""
    said = [text for part in (stderr, stdout) if (text := _text(part))]
    return " | ".join(dict.fromkeys(said))


#: What ygg was made for, and what to do about another one.
VERSIONS: Final = "ygg knows bd 1.x from 1.0.3 on: install one of those"
#: Signs in lower case; the first is as recorded of 1.0.3, the others as its kind of store says it.
_NO_PROJECT: Final = (
    "no beads database found",
    "no beads project found",
    "not in a beads workspace",
)
_LOCKED: Final = (
    "database is locked",
    "database table is locked",
    "locked by another",
    "holds the exclusive lock",
    "access lock",
    "lock busy",
    "lock is held",
    "another bd process is using the database",
)
_UNKNOWN: Final = ("unknown flag", "unknown shorthand flag", "unknown command")
_VERSION: Final = re.compile(r"v?(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?(?:[-+. ].*)?", re.DOTALL)
#: The version that was recorded. A later one of the same first number is expected to agree.
_FIRST: Final = (1, 0, 3)


def check_version(text: str, *, where: str) -> None:
    """Raise WrongVersion unless ygg knows how to talk to this version."""
    parts = _VERSION.fullmatch(text)
    number = tuple(int(part or 0) for part in parts.groups()) if parts else (0,)
    if not _FIRST <= number < (_FIRST[0] + 1,):
        raise WrongVersion(f"this is version {_shown(text)!r} of bd", where=where, way_out=VERSIONS)


def _decoded(printed: bytes, kind: type[T], call: str) -> T:
    try:
        return msgspec.json.decode(printed, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        said = _shown(printed.decode(errors="replace")) or "nothing"
        what = f"the answer makes no sense ({printable(str(error))[:_SHOWN]}): {said}"
        raise Garbage(what, where=call, way_out=_BROKEN) from error


def _issue(raw: _Issue) -> Issue:
    """Raises ValueError: a time is none."""
    return Issue(
        id=raw.id,
        title=raw.title,
        description=raw.description,
        acceptance_criteria=raw.acceptance_criteria,
        notes=raw.notes,
        status=raw.status,
        priority=raw.priority,
        issue_type=raw.issue_type,
        labels=tuple(raw.labels or ()),
        assignee=raw.assignee,
        created_at=_time(raw.created_at, "created_at"),
        updated_at=_time(raw.updated_at, "updated_at"),
        deferred_until=_time(raw.defer_until, "defer_until") if raw.defer_until else None,
        metadata=raw.metadata or {},
        comments=tuple(Comment(author=c.author, text=c.text) for c in raw.comments or ()),
    )


def _looked_at(given: dict[str, Any]) -> Issue:
    """One that may have a fault."""
    try:
        return _issue(msgspec.convert(given, _Issue))
    except msgspec.ValidationError as error:
        fault = _fault(given, str(error))
    except (ValueError, RecursionError) as error:
        fault = str(error)
    found = given.get("id")
    one = found if isinstance(found, str) else ""
    return faulty(one, _shown(fault))


def faulty(one: str, fault: str) -> Issue:
    """An issue of which no more is known than its id, and what of it can't be read."""
    return Issue(
        id=one, title="", status="", issue_type="", created_at=0, updated_at=0, fault=fault
    )


def _fault(given: dict[str, Any], error: str) -> str:
    """What msgspec said, with the field before it and what that is."""
    said, _, place = error.partition(" - at `$.")
    place = place.rstrip("`")
    name = re.split(r"[.\[]", place, maxsplit=1)[0]
    if not name:
        return said
    return f"{place}: {said} in {_shown(json.dumps(given.get(name)))}"


def _time(text: str, name: str) -> float:
    """Raises ValueError."""
    try:
        return read_time(text)
    except ValueError as error:
        raise ValueError(f"{name}: {printable(str(error))}") from error


def _text(part: bytes) -> str:
    """One stream of an error: the message of a JSON object, or the text as it is."""
    return error_of(part) or _shown(part.decode(errors="replace"))


def _shown(text: str) -> str:
    line = printable(" ".join(text.split()))
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "..."
