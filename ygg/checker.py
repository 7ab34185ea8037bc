"""Proves a store's history from its journal, independently of the code that made it.

Two questions are asked of the rows. Were the decisions right: did the least task that could start
start, in a free slot of the first well option of its route (hindsight.py)? And is the life of
each task legal: accepted once, run by one dispatcher at a time, moved only as the table of legal
moves allows, and in the end where the store says it is (lives.py)? Reading rows is left to
stores, printing to the command line. Pure, and streaming: it remembers open tasks, and two
numbers of each closed one.

What it takes rows to mean, which is what a store has to write:

- Positions rise. Starts are decided in the order of their rows; `seen` never falls. A claim that
  can't be written takes those decided after it along, else they look like inversions.
- Every row of an open task carries its place (`waiting`): ACCEPTED, STARTED, REOPENED, RELEASED,
  HELD, PRIORITISED (with the place before in its detail), CANCELLED. `held` is what holds the
  task after the row; of CANCELLED, what held it until then. Holding a held task needs no row.
- Rows that end an attempt carry its fence, those of a rescue too. A retry (REOPENED, reason
  "retry") and a cancel of a waiting or blocked task carry none.
- MISSED is both a start and its end: the slot is taken when it was decided, and free once the
  row is seen. The task stays as it is.
- OPENED comes first when a dispatcher begins, with the fence (owner, 0) if starts by others are
  to be noticed. At once behind it: REOPENED or BLOCKED, reason "rescue", of every task left in
  progress, with the dead one's fence. The new one has seen all rows before its OPENED. Its fleet
  is empty until CONFIGURED; then hosts are down, options well and nothing paused until rows say
  otherwise. Starts that were decided and never claimed leave no trace and need none.
- A host that a reload takes away is forgotten once it runs nothing; back before, it keeps its
  mode and its pause.
- Pruning takes away all rows of a closed task or none, and rows about no task only from before
  the last OPENED. `first_checked` is the greatest position ever taken away.

What can't be told: whether a start came late. Rows do not say why a free slot stayed empty
(a drain, a store that took no writes, a page being read).
"""

from __future__ import annotations

from collections.abc import Iterable

from ygg.findings import FindingKind, Findings, Report
from ygg.hindsight import Hindsight
from ygg.journal import Event, Kind
from ygg.lives import Lives
from ygg.tasks import Status


class Checker:
    def __init__(self, *, first_checked: int = 0) -> None:
        """Rows up to `first_checked` were partly pruned: they are folded, not judged."""
        self._findings = Findings(first_checked=first_checked)
        self._lives = Lives(self._findings)
        self._hindsight = Hindsight(self._findings)
        self._rows = 0
        self._last = 0

    def feed(self, event: Event) -> None:
        """The next row, by rising position."""
        if event.position <= self._last:
            message = f"comes after row {self._last}: it is left out"
            self._findings.add(FindingKind.BAD_ROW, event, message)
            return
        self._rows += 1
        self._last = event.position
        legal = self._lives.feed(event)
        if event.kind in (Kind.STARTED, Kind.MISSED):
            self._hindsight.start(event, legal=legal)
        else:
            self._hindsight.add(event)

    def finish(self, stored: Iterable[tuple[str, Status]]) -> Report:
        """Compare with the store: the status of each of its tasks, as of the last row fed."""
        self._hindsight.advance(self._last)  # the last rows must be readable too
        self._lives.compare(stored)
        return Report(
            rows=self._rows,
            last=self._last,
            first_checked=self._findings.first_checked,
            accepted=self._lives.accepted,
            starts=self._hindsight.judged,
            counts=dict(self._findings.counts),
            findings=tuple(self._findings.kept),
        )
