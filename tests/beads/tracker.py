"""What the stand-in of `bd` answers: a project and a command line to exit code, output and errors.

No files and no clock here: `standin` keeps the project and says what time it is. What is recorded
of bd 1.0.3 is checked call by call. What is not recorded follows bd's documentation, and is an
assumption: `comments ID` as the list of comments, `-f FILE` of `comments add`, answers about
several ids of which some are unknown (those that are known are answered, exit code 0), the order
of equal priorities (newest first, then by id), `list`'s limit of 50 and its leaving out of what is
closed, `delete --force`, `update` of what is closed, and that a part of an id does for the id. Only
what the standard library has at hand without a cost is imported.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

SECOND = 10**9
OWNER = "dispatcher@example.com"
NO_PROJECT = (
    "Error: no beads database found\n"
    "Hint: run 'bd where' to inspect the resolved workspace, or 'bd init' to create a new database\n"
    "      or set BEADS_DIR to point to your .beads directory\n"
)
STATUSES = ("open", "in_progress", "blocked", "deferred", "closed", "pinned", "hooked")
#: Order of an issue's fields in lists.
FIELDS = (
    *("id", "title", "description", "acceptance_criteria", "notes", "status", "priority"),
    *("issue_type", "assignee", "owner", "created_at", "created_by", "updated_at", "started_at"),
    *("closed_at", "close_reason", "defer_until", "metadata", "labels"),
)
TIMES = ("created_at", "updated_at", "started_at", "closed_at", "defer_until")

Issue = dict[str, Any]
Project = dict[str, Issue]


class Said(NamedTuple):
    code: int = 0
    out: str = ""
    err: str = ""


class Refusal(Exception):
    """Ends a call without any effect."""

    def __init__(self, out: str = "", err: str = "") -> None:
        super().__init__(out, err)
        self.said = Said(1, out, err)


class World(NamedTuple):
    """Where a call happens."""

    actor: str
    #: Nanoseconds since the epoch.
    now: int
    #: Text of a file that is named on the command line.
    read: Callable[[str], str]


def _flags(*names: str, bare: str = "") -> dict[str, str]:
    """By every name that a flag has: what it is kept as; "": it takes no value."""
    kept = {name: words.split()[-1] for words in names for name in words.split()}
    return kept | dict.fromkeys(bare.split(), "")


COMMON = _flags("actor", "db", bare="json quiet q")
CREATE = _flags(
    *("d description", "l labels", "p priority", "t type", "a assignee", "defer", "acceptance"),
    *("notes", "id"),
)
UPDATE = _flags(
    *("s status", "a assignee", "append-notes", "notes", "set-metadata", "add-label"),
    *("remove-label", "title", "defer", "d description", "acceptance", "p priority"),
    bare="claim",
)
FLAGS = {
    "version": _flags(),
    "init": _flags("p prefix"),
    "new": CREATE,
    "create": CREATE,
    "dep add": _flags("t type"),
    "ready": _flags("n limit", "exclude-type"),
    "show": _flags(),
    "update": UPDATE,
    "close": _flags("r reason", bare="f force"),
    "reopen": _flags("r reason"),
    "comments": _flags(),
    "comments add": _flags("f file", "a author"),
    "list": _flags("s status", "a assignee", "n limit", bare="all"),
    "stale": _flags("d days"),
    "delete": _flags(bare="f force"),
}
READS = ("ready", "show", "list", "stale", "comments", "version")


class Line:
    """A command line as bd's own reader of it takes it apart."""

    def __init__(self, argv: Sequence[str]) -> None:
        #: A flag may be given more than once.
        self.flags: dict[str, list[str]] = {}
        self.given: set[str] = set()
        self.words: list[str] = []
        rest = list(argv)
        self.command = self._command(rest)
        known = COMMON | FLAGS[self.command]
        while rest:
            word = rest.pop(0)
            if word == "--":
                self.words += rest
                break
            if word.startswith("--"):
                name, mark, value = word[2:].partition("=")
                if name not in known:
                    raise Refusal(err=f"Error: unknown flag: --{name}\n")
                self._flag(name, known[name], value if mark else None, rest)
            elif word.startswith("-") and word != "-":
                name, value = word[1], word[2:].removeprefix("=")
                if name not in known:
                    raise Refusal(err=f"Error: unknown shorthand flag: {name!r} in {word}\n")
                self._flag(name, known[name], value or None, rest)
            else:
                self.words.append(word)

    @staticmethod
    def _command(rest: list[str]) -> str:
        if not rest:
            raise Refusal(err="Error: the stand-in has no help\n")
        name = rest.pop(0)
        if rest and f"{name} {rest[0]}" in FLAGS:
            name = f"{name} {rest.pop(0)}"
        if name not in FLAGS:
            raise Refusal(err=f'Error: unknown command "{name}" for "bd"\n')
        return name

    def _flag(self, name: str, kind: str, value: str | None, rest: list[str]) -> None:
        if kind == "":
            self.given.add(name)
            return
        if value is None:
            if not rest:
                raise Refusal(err=f"Error: flag needs an argument: --{name}\n")
            value = rest.pop(0)
        self.flags.setdefault(kind, []).append(value)

    def last(self, name: str) -> str | None:
        return self.flags[name][-1] if name in self.flags else None

    def listed(self, name: str) -> list[str]:
        """Flags whose value is a list with commas, and which may come more than once."""
        return [one for value in self.flags.get(name, ()) for one in value.split(",") if one]


def answer(project: Project, line: Line, world: World) -> Said:
    """Carry a command out. The project is changed in place; a Refusal leaves it as it is."""
    return COMMANDS[line.command](project, line, world)


def version(line: Line) -> Said:
    if "json" in line.given:
        told = {"branch": "master", "build": "dev", "schema_version": 1, "version": "1.0.3"}
        return Said(0, _json(told))
    return Said(0, "bd version 1.0.3 (dev)\n")


def create(project: Project, line: Line, world: World) -> Said:
    title = line.words[0] if line.words else ""
    priority = _priority(line.last("priority") or "2")
    if not title:
        raise Refusal(err=_error("validation failed for issue : title is required"))
    issue: Issue = {
        "id": line.last("id") or _new_id(project),
        "title": title,
        "description": line.last("description"),
        "acceptance_criteria": line.last("acceptance"),
        "notes": line.last("notes"),
        "status": "open",
        "priority": priority,
        "issue_type": line.last("type") or "task",
        "assignee": line.last("assignee"),
        "owner": OWNER,
        "created_at": world.now,
        "created_by": world.actor,
        "updated_at": world.now,
        "defer_until": _later(line.last("defer"), world.now),
        "labels": line.listed("labels"),
    }
    project[issue["id"]] = {name: value for name, value in issue.items() if value not in (None, [])}
    told = {name: value for name, value in project[issue["id"]].items() if name != "labels"}
    for name in TIMES:
        if name in told:
            told[name] = _exact(told[name])
    return Said(0, _json(told | {"schema_version": 1}))


def depend(project: Project, line: Line, world: World) -> Said:
    issue, needed = (_found(project, one) for one in line.words)
    kind = line.last("type") or "blocks"
    issue.setdefault("needs", []).append(
        {"on": needed["id"], "type": kind, "at": world.now, "by": world.actor}
    )
    told = {
        "depends_on_id": needed["id"],
        "issue_id": issue["id"],
        "schema_version": 1,
        "status": "added",
        "type": kind,
    }
    return Said(0, _json(told))


def ready(project: Project, line: Line, world: World) -> Said:
    excluded = line.listed("exclude-type")
    found = [
        issue
        for issue in project.values()
        if issue["status"] == "open"
        and issue["issue_type"] not in excluded
        and issue.get("defer_until", 0) <= world.now
        and not _blocked(project, issue)
    ]
    return _list(project, found, line, "100")


def listing(project: Project, line: Line, _: World) -> Said:
    statuses, assignee = line.listed("status"), line.last("assignee")
    for status in statuses:
        _check_status(status)
    found = [
        issue
        for issue in project.values()
        if (
            issue["status"] in statuses
            if statuses
            else issue["status"] != "closed" or "all" in line.given
        )
        and (assignee is None or issue.get("assignee", "") == assignee)
    ]
    return _list(project, found, line, "50")


def stale(project: Project, line: Line, world: World) -> Said:
    last = world.now - int(line.last("days") or "30") * 86_400 * SECOND
    found = [
        issue
        for issue in project.values()
        if issue["status"] in ("open", "in_progress") and issue["updated_at"] <= last
    ]
    return _list(project, found, line, "50")


def show(project: Project, line: Line, _: World) -> Said:
    told, err = [], ""
    for one in line.words:
        found, why_not = _resolved(project, one)
        if why_not:
            err += f"Error fetching {one}: {why_not}\n"
            continue
        issue = project[found]
        shown = _shown(issue)
        if needs := [need for need in issue.get("needs", ()) if need["on"] in project]:
            shown["dependencies"] = [
                _shown(project[need["on"]]) | {"dependency_type": need["type"]} for need in needs
            ]
        if "comments" in issue:
            shown["comments"] = [_comment(issue, comment) for comment in issue["comments"]]
        told.append(shown)
    if not told:
        return Said(1, _error("no issues found matching the provided IDs"), err)
    return Said(0, _json(told), err)


def update(project: Project, line: Line, world: World) -> Said:
    status = line.last("status")
    if status is not None:
        try:
            _check_status(status)
        except Refusal as refusal:
            # Other refusals of bd's come on standard error; this one was recorded on output.
            raise Refusal(out=refusal.said.err) from None
    if "notes" in line.flags and "append-notes" in line.flags:
        raise Refusal(out=_error("cannot specify both --notes and --append-notes"))
    if stray := [one for one in line.flags.get("set-metadata", ()) if "=" not in one]:
        raise Refusal(out=_error(f'invalid --set-metadata: expected key=value, got "{stray[0]}"'))

    def change(issue: Issue) -> None:
        if "claim" in line.given:
            _claim(issue, world)
        if set(line.flags) - {"actor", "db"}:
            _change(issue, line, world)
            issue["updated_at"] = world.now

    return _each(project, line.words, change)


def _claim(issue: Issue, world: World) -> None:
    assignee, status = issue.get("assignee", ""), issue["status"]
    if status == "in_progress" and assignee == world.actor:
        return
    why = None
    if assignee not in ("", world.actor):
        why = f"issue already claimed by {assignee}"
    if status != "open" and (status == "closed" or why is None):
        why = f"issue not claimable: status {status}"
    if why is not None:
        raise Refusal(err=f"Error claiming {issue['id']}: {why}\n")
    issue |= {"assignee": world.actor, "status": "in_progress", "updated_at": world.now}
    issue.setdefault("started_at", world.now)


def _change(issue: Issue, line: Line, world: World) -> None:
    names = {"description": "description", "acceptance": "acceptance_criteria", "notes": "notes"}
    names |= {"title": "title", "assignee": "assignee"}
    for flag, name in names.items():
        if (value := line.last(flag)) is not None:
            issue[name] = value
    if (priority := line.last("priority")) is not None:
        issue["priority"] = _priority(priority)
    if (defer := line.last("defer")) is not None:
        issue["defer_until"] = _later(defer, world.now) or 0
    if (more := line.last("append-notes")) is not None:
        issue["notes"] = f"{issue['notes']}\n{more}" if issue.get("notes") else more
    for pair in line.flags.get("set-metadata", ()):
        key, _, value = pair.partition("=")
        issue.setdefault("metadata", {})[key] = value
    labels = issue.get("labels", []) + line.listed("add-label")
    removed = line.listed("remove-label")
    issue["labels"] = sorted({label for label in labels if label not in removed})
    if (status := line.last("status")) is not None:
        issue["status"] = status
        if status == "closed":
            issue.setdefault("closed_at", world.now)
        else:
            issue.pop("closed_at", None)
            issue.pop("close_reason", None)


def close(project: Project, line: Line, world: World) -> Said:
    def change(issue: Issue) -> None:
        if issue["status"] != "closed":
            issue |= {"status": "closed", "closed_at": world.now, "updated_at": world.now}
        issue["close_reason"] = line.last("reason") or "Closed"

    return _each(project, line.words, change)


def reopen(project: Project, line: Line, world: World) -> Said:
    def change(issue: Issue) -> None:
        issue |= {"status": "open", "updated_at": world.now}
        issue.pop("closed_at", None)
        issue.pop("close_reason", None)

    return _each(project, line.words, change)


def delete(project: Project, line: Line, _: World) -> Said:
    ids = [_found(project, one)["id"] for one in line.words]
    if not line.given & {"force", "f"}:
        return Said(0, _json({"would_delete": line.words, "schema_version": 1}))
    for one in ids:
        del project[one]
    return Said(0, _json({"deleted": ids, "schema_version": 1}))


def comments(project: Project, line: Line, _: World) -> Said:
    issue = _found(project, line.words[0])
    return Said(0, _json([_comment(issue, one) for one in issue.get("comments", ())]))


def comment(project: Project, line: Line, world: World) -> Said:
    one, *words = line.words or [""]
    file = line.last("file")
    text = world.read(file) if file is not None else " ".join(words)
    issue = _found(project, one)
    if not text:
        raise Refusal(out=_error("comment text required (use -f to read from file)"))
    said = {
        "id": _uuid(),
        "author": line.last("author") or world.actor,
        "text": text,
        "at": world.now,
    }
    issue.setdefault("comments", []).append(said)
    told = _comment(issue, said) | {"created_at": _exact(world.now), "schema_version": 1}
    return Said(0, _json(told))


COMMANDS: dict[str, Callable[[Project, Line, World], Said]] = {
    "new": create,
    "create": create,
    "dep add": depend,
    "ready": ready,
    "list": listing,
    "stale": stale,
    "show": show,
    "update": update,
    "close": close,
    "reopen": reopen,
    "delete": delete,
    "comments": comments,
    "comments add": comment,
}


def _each(project: Project, ids: Sequence[str], change: Callable[[Issue], None]) -> Said:
    """Change issues one by one: those that can't be are told, the others are changed."""
    told, err = [], ""
    for one in ids:
        try:
            issue = _found(project, one)
            change(issue)
        except Refusal as refusal:
            err += refusal.said.err
        else:
            told.append(_shown(issue))
    return Said(0, _json(told), err) if told else Said(1, "", err)


def _found(project: Project, one: str) -> Issue:
    found, why_not = _resolved(project, one)
    if why_not:
        raise Refusal(err=f"Error resolving {one}: {why_not}\n")
    return project[found]


def _resolved(project: Project, one: str) -> tuple[str, str]:
    """The id that is meant, and why there is none: a part of what follows on the prefix will do."""
    if one in project:
        return one, ""
    part = one.partition("-")[2] or one
    found = [other for other in project if part and part in other.partition("-")[2]]
    if not found:
        return "", f'no issue found matching "{one}"'
    if len(found) > 1:
        matches = f"matches {len(found)} issues: [{' '.join(found)}]"
        return "", f'ambiguous ID "{one}" {matches}\nUse more characters to disambiguate'
    return found[0], ""


def _blocked(project: Project, issue: Issue) -> bool:
    return any(
        need["type"] == "blocks"
        and project.get(need["on"], {"status": "closed"})["status"] != "closed"
        for need in issue.get("needs", ())
    )


def _list(project: Project, found: Iterable[Issue], line: Line, limit: str) -> Said:
    ordered = sorted(
        found, key=lambda one: (one["priority"], -_whole(one["created_at"]), one["id"])
    )
    most = int(line.last("limit") or limit) or None
    needed = [need["on"] for issue in project.values() for need in issue.get("needs", ())]
    return Said(0, _json([_row(issue, needed) for issue in ordered[:most]]))


def _row(issue: Issue, needed: Sequence[str]) -> Issue:
    row = _shown(issue)
    needs = issue.get("needs", [])
    if needs:
        row["dependencies"] = [
            {
                "issue_id": issue["id"],
                "depends_on_id": need["on"],
                "type": need["type"],
                "created_at": _rounded(need["at"]),
                "created_by": need["by"],
                "metadata": "{}",
            }
            for need in needs
        ]
    return row | {
        "dependency_count": len(needs),
        "dependent_count": needed.count(issue["id"]),
        "comment_count": len(issue.get("comments", ())),
    }


def _shown(issue: Issue) -> Issue:
    shown = {name: issue[name] for name in FIELDS if issue.get(name) not in (None, "", [], {}, 0)}
    shown |= {"priority": issue["priority"]}
    return shown | {name: _rounded(shown[name]) for name in TIMES if name in shown}


def _comment(issue: Issue, comment: Issue) -> Issue:
    return {
        "id": comment["id"],
        "issue_id": issue["id"],
        "author": comment["author"],
        "text": comment["text"],
        "created_at": _rounded(comment["at"]),
    }


def _check_status(status: str) -> None:
    if status not in STATUSES:
        raise Refusal(
            err=_error(
                f'invalid status "{status}" (built-in: {", ".join(STATUSES)};'
                " or configure custom statuses via 'bd config set status.custom')"
            )
        )


def _priority(text: str) -> int:
    number = text[1:] if text[:1] in ("P", "p") else text
    if number not in ("0", "1", "2", "3", "4"):
        expected = "(expected 0-4 or P0-P4, not words like high/medium/low)"
        raise Refusal(err=_error(f'invalid priority "{text}" {expected}'))
    return int(number)


def _later(text: str | None, now: int) -> int | None:
    """`+1d`, `+2h`, `+30m`, `+10s`; the other forms that bd takes are left out."""
    if not text:
        return None
    seconds = {"d": 86_400, "h": 3600, "m": 60, "s": 1}[text[-1]]
    return now + int(text[1:-1]) * seconds * SECOND


def _whole(at: int) -> int:
    """To the second, as bd's database keeps times: rounded, not cut."""
    return (at + SECOND // 2) // SECOND


def _rounded(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(_whole(at)))


def _exact(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at // SECOND)) + f".{at % SECOND:09d}Z"


def _new_id(project: Project) -> str:
    while True:
        text = "".join("0123456789abcdefghijklmnopqrstuvwxyz"[b % 36] for b in os.urandom(3))
        if (new := f"ygg-{text}") not in project:
            return new


def _uuid() -> str:
    digits = os.urandom(16).hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _error(text: str) -> str:
    return _json({"error": text, "schema_version": 1})
