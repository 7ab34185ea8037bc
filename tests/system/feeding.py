"""A Beads project that feeds the real daemon, seen by a person beside it.

ygg finds the stand-in of `bd` in PATH, or where a test says, and that one is broken at will. A
person's own calls go by another copy of it, which is always well.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Final

from tests.beads.project import Project, install
from tests.system.daemons import Daemon, ModelServer, hosts_yaml, until

ACTOR: Final = "ygg@here"


def settings(hosts: dict[str, tuple[ModelServer, int]], more: str = "", *, extra: str = "") -> str:
    """hosts.yaml; `more` are keys of `beads:`, with a comma behind each."""
    return hosts_yaml(hosts, extra=f"beads: {{actor: {ACTOR}, {more}}}\n{extra}")


def feeding(project: Project) -> tuple[str, ...]:
    return ("loop", "--async", "--beads", str(project.folder))


def source(d: Daemon) -> dict[str, Any]:
    (found,) = d.client.call("GET", "/v1/status")["sources"]
    return dict(found)


def person_of(project: Project, folder: Path) -> Project:
    """The same project by a `bd` that nobody breaks."""
    person = copy.copy(project)
    person.program = install(folder / "hands")
    return person


def statuses(project: Project) -> dict[str, str]:
    """Of each issue, as bd lists them."""
    found = json.loads(project.bd("list", "--all", "-n", "0"))
    return {issue["id"]: issue["status"] for issue in found}


def tasks_of(d: Daemon, one: str) -> list[dict[str, Any]]:
    """The tasks that an issue became, the first one first."""
    return [task for task in d.client.tasks() if task["source_id"] == one][::-1]


def until_told(d: Daemon, *, within: float = 60.0) -> None:
    """Until the project answers, nothing runs, and nothing is left to be told."""

    def is_told() -> bool:
        status = d.client.call("GET", "/v1/status")
        (at,) = status["sources"]
        idle = not status["counts"].get("in_progress")
        return idle and at["untold"] == 0 and at["trouble"] is None

    until(is_told, within=within)
