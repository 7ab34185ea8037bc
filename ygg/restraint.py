"""Whether autoscalers kept to what they may: no pin was overridden, no limit that was not seen.

One of the checker's questions. What a host's bounds are is in no row, so nothing is said of them.
Pure, and shares no code with what carries resizes out.
"""

from __future__ import annotations

from collections.abc import Mapping

from ygg.findings import FindingKind, Findings
from ygg.journal import Event, Kind


class Restraint:
    """Feed it all rows by rising position."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._limits: dict[str, object] = {}
        self._pinned = set[str]()
        #: Whether all rows that set a limit are there: of those before the last start of a
        #: dispatcher, pruning may have left only the last.
        self._is_whole = not findings.first_checked

    def feed(self, event: Event) -> None:
        match event.kind:
            case Kind.OPENED:
                self._limits = {}
                self._is_whole = event.position > self._findings.first_checked
            case Kind.CONFIGURED:
                limits = event.detail.get("limits")
                self._limits = dict(limits) if isinstance(limits, Mapping) else {}
            case Kind.PINNED:
                self._pinned.add(event.host)
            case Kind.UNPINNED:
                self._pinned.discard(event.host)
            case Kind.RESIZED:
                if "evidence" in event.detail and self._is_whole:
                    self._judge(event)
                self._limits[event.host] = event.detail.get("limit")

    def _judge(self, event: Event) -> None:
        """A resize by an autoscaler: it says what it saw."""
        seen, was = event.detail.get("before"), self._limits.get(event.host)
        if event.host in self._pinned:
            message = f"{event.host} was resized by an autoscaler while a person had it pinned"
            self._findings.add(FindingKind.BAD_RESIZE, event, message)
        elif seen != was:
            message = f"{event.host} was resized from {seen}, but its limit was {was}"
            self._findings.add(FindingKind.BAD_RESIZE, event, message)
