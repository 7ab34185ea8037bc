"""What commands print with --json that is no answer of the dispatcher: those are in ygg.shapes.

Both are documented in docs/json.md, which is made from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec


class ChangeText(msgspec.Struct, frozen=True, kw_only=True):
    """What this hosts.yaml would change of what runs, or of what ran last."""

    #: In words.
    text: str
    #: A reload leaves it as it is.
    needs_restart: bool


class CheckReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `ygg check --json` prints, whether the file is good or not."""

    ok: bool
    #: hosts.yaml, as it was found.
    file: str
    #: All that is wrong in it, each with file, line and way out.
    problems: Sequence[str]
    #: What it was compared with; null: with nothing.
    compared_with: str | None = None
    #: Why it was not compared; null: it was.
    why_not_compared: str | None = None
    changes: Sequence[ChangeText] = ()
    #: What the hosts said that does not fit, with --ask.
    warnings: Sequence[str] = ()


class DoctorCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was found."""

    #: The kind of thing that was looked at: host, exporter, store, ...
    part: str
    #: Which of them; null where there is only one.
    name: str | None
    state: Literal["ok", "warning", "wrong"]
    what: str
    #: What mends it; null where it is well.
    remedy: str | None


class DoctorReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `ygg doctor --json` prints."""

    #: Nothing is wrong; warnings there may be.
    ok: bool
    checks: Sequence[DoctorCheck]


class JournalReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `ygg check-journal --json` prints."""

    #: Nothing was found.
    clean: bool
    #: How many were read.
    rows: int
    #: The last one's position.
    last: int
    #: Rows up to this position were not judged: some were pruned.
    first_checked: int
    #: Tasks.
    accepted: int
    #: Starts that were judged.
    starts: int
    #: Answers that were looked for on the disk; null: none were to be.
    answers: int | None
    #: By kind of finding; every kind is there.
    counts: Mapping[str, int]
    #: The first 1000, in words.
    findings: Sequence[str]


class NewToken(msgspec.Struct, frozen=True, kw_only=True):
    """What `ygg token new --json` prints."""

    #: For the client; it is not shown again.
    token: str
    #: Empty: it has none.
    name: str
    #: For the server's file.
    line: str
    #: Where the line was written; null: nowhere.
    file: str | None


class ProposedHost(msgspec.Struct, frozen=True, kw_only=True):
    """A server that answered, and what hosts.yaml says of it."""

    name: str
    url: str
    #: What it is, with its version.
    server: str
    #: Null: the file leaves it out.
    api: str | None
    model: str | None
    #: Its other models.
    others: Sequence[str]
    #: The types that run there, and why.
    types: Mapping[str, str]
    #: `start`, `max`, and the `reason`.
    slots: Mapping[str, Any]
    #: Where its key is; null: it wants none.
    key: str | None
    #: `memory`, `exporter`, and the `reasons`.
    gpu: Mapping[str, Any]


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """What `ygg init --json` prints."""

    #: That was written; null: none was.
    file: str | None
    hosts: Sequence[ProposedHost]
    #: By type its options, the first choice first.
    types: Mapping[str, Sequence[str]]
    #: The text of the file.
    yaml: str
