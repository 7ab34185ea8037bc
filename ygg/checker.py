"""Proves a store's history from its journal, independently of the code that made it.

Four questions are asked of the rows. Were the decisions right: did the least task that could start
start, in a free slot of the first well option of its route (hindsight.py)? Is the life of each task
legal: accepted once, run by one dispatcher at a time, moved only as the table of legal moves
allows, and in the end where the store says it is (lives.py)? Did autoscalers leave pins alone, and
limits that they had not seen (restraint.py)? Are all rows there: no number left out, but by a
prune? Reading rows and looking for answers on the disk is left to proof.py, printing to the command
line. Pure, and streaming: it remembers open tasks, and two numbers of each closed one.

What it takes rows to mean, which is what a store has to write:

- Positions rise. Starts are decided in the order of their rows; `seen` never falls. A claim that
  can't be written takes those decided after it along, else they look like inversions.
- Every row of an open task carries its place (`waiting`): ACCEPTED, STARTED, REOPENED, RELEASED,
  HELD, PRIORITISED and EDITED (with the place before in its detail), CANCELLED. `held` is what holds the
  task after the row; of CANCELLED, what held it until then. Holding a held task needs no row.
- Rows that end an attempt carry its fence, those of a rescue too. A retry (REOPENED, reason
  "retry") and a cancel of a waiting or blocked task carry none.
- MISSED is both a start and its end: the slot is taken when it was decided, and free once the
  row is seen. The task stays as it is. With the reason "damaged" its row in the store can't be
  read: it starts no more until the next OPENED. (HELD, so reasoned: its time has come in vain.)
- OPENED comes first when a dispatcher begins, with the fence (owner, 0) if starts by others are
  to be noticed. At once behind it: REOPENED or BLOCKED, reason "rescue", of every task left in
  progress, with the dead one's fence, and HELD of every task of a source that could start: the
  source is asked anew whose it is. The new one has seen all rows before its OPENED. Its fleet
  is empty until CONFIGURED; then hosts are down, options well and nothing paused until rows say
  otherwise. Starts that were decided and never claimed leave no trace and need none.
- RESIZED by an autoscaler carries its `evidence` and, as `before`, the limit that it saw.
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
from ygg.lives import Lives, Stored
from ygg.restraint import Restraint


class Checker:
    def __init__(self, *, first_checked: int = 0, every_number: bool = False) -> None:
        """Rows up to `first_checked` were partly pruned: they are folded, not judged.

        `every_number`: the store leaves out no position, so that one that is missing is a loss.
        """
        self._every_number = every_number
        self._findings = Findings(first_checked=first_checked)
        self._lives = Lives(self._findings)
        self._hindsight = Hindsight(self._findings)
        self._restraint = Restraint(self._findings)
        self._rows = 0
        self._last = 0

    def feed(self, event: Event) -> None:
        """The next row, by rising position."""
        if event.position <= self._last:
            message = f"comes after row {self._last}: it is left out"
            self._findings.add(FindingKind.BAD_ROW, event, message)
            return
        self._count(event.position)
        self._restraint.feed(event)
        legal = self._lives.feed(event)
        if event.kind in (Kind.STARTED, Kind.MISSED):
            self._hindsight.start(event, legal=legal)
        else:
            self._hindsight.add(event)

    def unreadable(self, position: int, why: str) -> None:
        """The next row, which can't be read: it is left out, and what follows may look wrong."""
        self._count(position)
        self._findings.add_unreadable(position, why)

    def not_forgotten(self, said: str) -> None:
        """The store says up to where it forgot rows, and that can't be so."""
        message = f"it says that it forgot rows up to {said}, which can't be"
        self._findings.add_of_store(FindingKind.BAD_ROW, "", message)

    def answer_missing(self, task: str, why: str) -> None:
        self._findings.add_of_store(FindingKind.NO_ANSWER, task, why)

    def _count(self, position: int) -> None:
        self._rows += 1
        self._miss(position - 1)
        self._last = position

    def _miss(self, before: int) -> None:
        """Find whether the rows from the last one to `before` are gone."""
        first = max(self._last, self._findings.first_checked) + 1
        if self._every_number and before >= first:
            which = f"row {first} is" if first == before else f"rows {first} to {before} are"
            self._findings.add_of_store(FindingKind.LOSS, "", f"{which} gone from the journal")

    def finish(self, stored: Iterable[Stored], *, given: int = 0) -> Report:
        """Compare with the store: its tasks as of the last row fed.

        Args:
            stored: each of its tasks.
            given: the greatest position that the store ever gave to a row.
        """
        self._miss(given)
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
