"""What was found of a thing: it works, or what is wrong and what mends it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ygg.printing import Paper
from ygg.tasks import Json


class State(StrEnum):
    OK = "ok"
    #: It works, and not as well as it could, or not for long.
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    state: State
    what: str
    #: What mends it, a command where one does. Whatever is not well has one.
    remedy: str = ""

    def __post_init__(self) -> None:
        assert self.what, "nothing was found"
        assert (self.state is State.OK) == (not self.remedy), f"{self.what}: {self.remedy!r}"


def ok(what: str) -> Finding:
    return Finding(state=State.OK, what=what)


def warning(what: str, remedy: str) -> Finding:
    return Finding(state=State.WARNING, what=what, remedy=remedy)


def wrong(what: str, remedy: str) -> Finding:
    return Finding(state=State.WRONG, what=what, remedy=remedy)


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All that was found of one thing."""

    #: The kind of thing: host, exporter, store, ...
    part: str
    #: Which of them; empty where there is only one.
    name: str
    findings: Sequence[Finding]

    def lines(self, paper: Paper | None = None) -> list[str]:
        """For people: the thing, then a line for each finding and one for what mends it."""
        paper = paper or Paper()
        lines = paper.wrap(f"{self.part} {self.name}".strip(), "  ")
        for finding in self.findings:
            lines += paper.wrap(f"  {finding.state.value:<8} {finding.what}", " " * 11)
            if finding.remedy:
                lines += paper.wrap(f"  {'':<8} -> {finding.remedy}", " " * 14)
        return lines

    def as_json(self) -> list[dict[str, Json]]:
        return [
            {
                "part": self.part,
                "name": self.name or None,
                "state": finding.state.value,
                "what": finding.what,
                "remedy": finding.remedy or None,
            }
            for finding in self.findings
        ]


def is_well(reports: Iterable[Report]) -> bool:
    """Whether nothing is wrong; a warning is not."""
    return all(f.state is not State.WRONG for report in reports for f in report.findings)


def summary(reports: Iterable[Report]) -> str:
    """How many findings of each state, in a line."""
    counts = Counter(finding.state for report in reports for finding in report.findings)
    parts = [f"{counts[State.WRONG]} wrong", f"{counts[State.WARNING]} to look at"]
    return f"{', '.join(parts)}, {counts[State.OK]} well"
