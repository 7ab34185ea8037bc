"""The store's writes, once for all stores: load, decide (lifecycle.py), save, journal.

Synchronous, inside one transaction that the store around it opens and commits. A refusal is
raised before anything was written.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from ygg import lifecycle
from ygg.fleet import Option
from ygg.journal import DAMAGED, Event, Kind, Note, pack
from ygg.stores.base import Added, HostRow, KeyClash, Restored, UnknownTask
from ygg.stores.rows import DamagedRow
from ygg.tasks import Draft, Fence, Held, Json, Lane, Outcome, Status, Task

_KIND_OF: Final = {
    Status.OPEN: Kind.REOPENED,
    Status.BLOCKED: Kind.BLOCKED,
    Status.CLOSED: Kind.CLOSED,
}


#: Tasks that are released at once, at most.
DUE: Final = 1000


class Pruned(NamedTuple):
    """What one piece of a prune did."""

    tasks: int
    #: The position to go on behind; None: all was looked at.
    next: int | None


class Due(NamedTuple):
    """Tasks that were held for a time that has come."""

    tasks: list[Task]
    #: Those that can't be read, by id, and why. Each is told once.
    damaged: dict[str, str]


class Tables(Protocol):
    """What a store keeps, as one transaction sees it."""

    def load(self, task_id: str) -> Task | None: ...

    def by_key(self, submitter: str, key: str) -> tuple[Task, str] | None:
        """The task that came with a key, and the digest of its body."""

    def by_source(self, source: str, source_id: str) -> Task | None:
        """The live (not closed) task of a source's issue."""

    def insert(self, draft: Draft) -> Task:
        """A new row with the next sequence."""

    def save(self, task: Task) -> None:
        """Everything of a task that may change, but for what its source says."""

    def rewrite(self, task: Task) -> None:
        """What its source says: title, description, labels and priority."""

    def sourced(self, source: str) -> Sequence[Task]: ...

    def post(self, task: Task, position: int) -> None:
        """To its source, in place of what is posted of the task; due at once."""

    def posted_position(self, task_id: str) -> int | None:
        """None: nothing is posted of it."""

    def unpost(self, task_id: str) -> None: ...

    def postpone(self, task_id: str, error: str, due: float) -> None:
        """It was told in vain."""

    def append(self, event: Event) -> Event:
        """A new row of the journal; its position is given here, the one that came is ignored."""

    def hosts(self) -> Mapping[str, HostRow]: ...

    def save_host(self, name: str, row: HostRow) -> None: ...

    def in_progress(self) -> Sequence[Task]: ...

    def startable_of_sources(self) -> Sequence[Task]:
        """Open tasks of sources that are not held, or for a time only; those that can be read."""

    def due(self, now: float) -> Due:
        """Held for a time that has come; also those of which nobody can tell when that is."""

    def next_due(self) -> float | None:
        """When the next one is due; those that were told as damaged never are."""

    def waiting(self) -> Mapping[tuple[Lane, int], int]: ...

    def last_created_at(self) -> float: ...

    def prune(
        self, closed_before: float | None, journal_before: float | None, after: int
    ) -> Pruned:
        """One piece. Rows up to `after` were looked at by the pieces before."""


class Operations:
    """All writes of a `TaskStore`, see there. `events` collects the rows they wrote."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.owner = ""
        self.events: list[Event] = []

    def open(self, *, owner: str, now: float, max_strikes: int, once: Collection[str]) -> Restored:
        self.owner = owner
        fence = Fence(owner, 0)
        self._append(Event(position=0, at=now, kind=Kind.OPENED, fence=fence, reason=owner))
        left = self.tables.in_progress()
        for task in left:
            after = lifecycle.rescued(
                task, max_strikes=max_strikes, once=task.type in once, now=now
            )
            self._save(task, after, now, _KIND_OF[after.status], reason="rescue", fence=task.fence)
            if after.status is Status.BLOCKED:
                self._post(after)
        for task in self.tables.startable_of_sources():
            after = lifecycle.held(task, Held.FOR_SOURCE)
            self._save(task, after, now, Kind.HELD, reason=Held.FOR_SOURCE.value)
        return Restored(
            position=self.events[-1].position,
            last_created_at=self.tables.last_created_at(),
            waiting=self.tables.waiting(),
            hosts=self.tables.hosts(),
            rescued=len(left),
        )

    def add(self, drafts: Sequence[Draft], *, now: float) -> Sequence[Added]:
        earlier: dict[tuple[str, str, str], Draft] = {}
        # Every refusal comes before the first write.
        plan = [self._known(draft, earlier) or draft for draft in drafts]
        added: list[Added] = []
        born: dict[str, Task] = {}
        for item in plan:
            if isinstance(item, Task):
                added.append(Added(item, new=False))
            elif item.id in born:
                added.append(Added(born[item.id], new=False))
            else:
                task = born[item.id] = self.tables.insert(item)
                self._journal(task, now, Kind.ACCEPTED)
                added.append(Added(task, new=True))
        return added

    def _known(
        self, draft: Draft, earlier: dict[tuple[str, str, str], Draft]
    ) -> Task | Draft | None:
        """The task, or the earlier draft of this call, that a draft repeats. Raises KeyClash."""
        place = "id", draft.id, ""
        places = [place]
        same = earlier.get(place) or self.tables.load(draft.id)
        if same is not None:
            if not _same_birth(same, draft):
                raise KeyClash(
                    draft.id, same.id, draft_id=draft.id
                )  # two tasks drew the same number
            return same
        if draft.source is not None and draft.source_id is not None:
            place = "source", draft.source, draft.source_id
            places.append(place)
            live = earlier.get(place) or self.tables.by_source(draft.source, draft.source_id)
            if live is not None:
                return live
        if draft.key is not None:
            place = "key", draft.submitter, draft.key
            places.append(place)
            first = earlier.get(place)
            before = self.tables.by_key(draft.submitter, draft.key) if first is None else None
            found, digest = before or (first, first.body_digest if first else "")
            if found is not None:
                if digest != draft.body_digest:
                    raise KeyClash(draft.key, found.id, draft_id=draft.id)
                return found
        earlier.update(dict.fromkeys(places, draft))
        return None

    def claim(self, task_id: str, *, option: Option, seen: int, now: float) -> Task | None:
        damage: dict[str, Json] = {}
        try:
            task = self.tables.load(task_id)
        except DamagedRow as damaged:
            task, damage = None, {"error": storable(str(damaged))}
        after = task and lifecycle.claimed(task, owner=self.owner, host=option.host, now=now)
        if task is not None and after is task:
            return task  # claimed before, the answer was lost
        if after is not None:
            self.tables.save(after)
        self._append(
            Event(
                position=0,
                at=now,
                kind=Kind.MISSED if after is None else Kind.STARTED,
                task=task_id,
                host=option.host,
                model=option.model,
                fence=None if after is None else after.fence,
                seen=seen,
                reason=DAMAGED if damage else "",
                waiting=None if after is None else after.waiting,
                detail=damage,
            )
        )
        return after

    def finish(
        self,
        task_id: str,
        fence: Fence,
        *,
        artifact: str | None,
        answer: Mapping[str, Json] | None,
        outcome: Outcome,
        now: float,
        notes: Sequence[Note],
    ) -> bool:
        task = self._load(task_id)
        after = lifecycle.finished(
            task, fence, artifact=artifact, answer=answer, outcome=outcome, now=now
        )
        kind = Kind.CANCELLED if outcome is Outcome.CANCELLED else Kind.CLOSED
        detail = answer if answer is not None else {}
        return self._end(task, after, now, kind, outcome.value, fence, notes=notes, detail=detail)

    def block(
        self,
        task_id: str,
        fence: Fence,
        *,
        error: str,
        reason: str,
        strike: bool,
        now: float,
        notes: Sequence[Note],
    ) -> bool:
        task = self._load(task_id)
        error, reason = storable(error), storable(reason)
        after = lifecycle.blocked(task, fence, error=error, strike=strike, now=now)
        detail: Mapping[str, Json] = {"error": error, "strike": strike}
        return self._end(task, after, now, Kind.BLOCKED, reason, fence, notes=notes, detail=detail)

    def reopen(
        self,
        task_id: str,
        fence: Fence,
        *,
        error: str,
        reason: str,
        strike: bool,
        max_strikes: int,
        now: float,
        notes: Sequence[Note],
    ) -> Status | None:
        task = self._load(task_id)
        error, reason = storable(error), storable(reason)
        after = lifecycle.reopened(
            task, fence, error=error, strike=strike, max_strikes=max_strikes, now=now
        )
        kind = Kind.REOPENED if after is None else _KIND_OF[after.status]
        detail: Mapping[str, Json] = {"error": error, "strike": strike}
        self._end(task, after, now, kind, reason, fence, notes=notes, detail=detail)
        return None if after is None else after.status

    def cancel(self, task_id: str, *, now: float) -> Task:
        task = self._load(task_id)
        after = lifecycle.cancelled(task, now)
        if after is not task:
            self._cancel(task, after, now, reason="cancelled")
            self._post(after)
        return after

    def withdraw(self, task_id: str, *, why: str, now: float) -> Task:
        task = self._load(task_id)
        why = storable(why)
        after = lifecycle.withdrawn(task, why, now)
        if after is not task:
            self._cancel(task, after, now, reason="withdrawn", detail={"error": why})
            self.tables.unpost(task_id)
        return after

    def _cancel(
        self,
        task: Task,
        after: Task,
        now: float,
        *,
        reason: str,
        detail: Mapping[str, Json] | None = None,
    ) -> None:
        self.tables.save(after)
        waiting = task.waiting if task.status is Status.OPEN else None
        self._append(
            Event(
                position=0,
                at=now,
                kind=Kind.CANCELLED,
                task=task.id,
                reason=reason,
                waiting=waiting,
                held=task.held,
                detail=detail or {},
            )
        )

    def retry(self, task_ids: Sequence[str], *, now: float) -> Sequence[Task]:
        tasks = [self._load(task_id) for task_id in dict.fromkeys(task_ids)]
        changed = [(task, lifecycle.retried(task, now)) for task in tasks]
        for task, after in changed:
            self._save(task, after, now, Kind.REOPENED, reason="retry")
            self._post(after)
        return [after for _, after in changed]

    def prioritise(
        self, task_id: str, *, priority: int | None, run_next: bool | None, now: float
    ) -> Task:
        task = self._load(task_id)
        after = lifecycle.prioritised(task, priority=priority, run_next=run_next)
        detail: Mapping[str, Json] = {"before": pack(task.waiting)}
        return self._save(task, after, now, Kind.PRIORITISED, detail=detail)

    def edit(
        self,
        task_id: str,
        *,
        title: str,
        description: str,
        labels: tuple[str, ...],
        priority: int,
        now: float,
    ) -> Task:
        task = self._load(task_id)
        after = lifecycle.edited(
            task, title=title, description=description, labels=labels, priority=priority
        )
        if after is not task:
            self.tables.rewrite(after)
            self._journal(after, now, Kind.EDITED, detail={"before": pack(task.waiting)})
        return after

    def told(self, task_id: str, *, position: int, now: float) -> bool:
        posted = self.tables.posted_position(task_id)
        if posted != position:
            return posted is None  # it was told before, the answer was lost
        task = self._load(task_id)
        self.tables.unpost(task_id)
        self._append(
            Event(position=0, at=now, kind=Kind.TOLD, task=task_id, reason=task.source or "")
        )
        return True

    def not_told(self, task_id: str, *, error: str, due: float) -> None:
        self.tables.postpone(task_id, storable(error), due)

    def hold(self, task_id: str, *, why: Held, now: float) -> Task:
        task = self._load(task_id)
        after = lifecycle.held(task, why)
        reason = "" if why is Held.BY_HAND else why.value
        return self._save(task, after, now, Kind.HELD, reason=reason, leaves=task.held is None)

    def release(self, task_id: str, *, why: Held, now: float) -> Task:
        task = self._load(task_id)
        return self._save(task, lifecycle.released(task, why, now), now, Kind.RELEASED)

    def change(
        self,
        task_id: str,
        *,
        priority: int | None,
        run_next: bool | None,
        held: bool | None,
        now: float,
    ) -> Task:
        # Refused of a task that is not open, before anything is written: then nothing is refused.
        task = self.prioritise(task_id, priority=priority, run_next=run_next, now=now)
        if held is True:
            return self.hold(task_id, why=Held.BY_HAND, now=now)
        return self.release(task_id, why=Held.BY_HAND, now=now) if held is False else task

    def release_due(self, *, now: float) -> float | None:
        due = self.tables.due(now)
        for task in due.tasks:
            self._save(task, lifecycle.released(task, Held.NOT_BEFORE, now), now, Kind.RELEASED)
        for task_id, why in due.damaged.items():
            self._append(
                Event(
                    position=0,
                    at=now,
                    kind=Kind.HELD,
                    task=task_id,
                    reason=DAMAGED,
                    held=Held.NOT_BEFORE,
                    detail={"error": storable(why)},
                )
            )
        return self.tables.next_due()

    def note(self, notes: Sequence[Note], *, now: float) -> None:
        for note in notes:
            self._append(
                Event(
                    position=0,
                    at=now,
                    kind=note.kind,
                    host=note.host,
                    model=note.model,
                    reason=storable(note.reason),
                    detail=note.detail,
                )
            )
            self._keep(note)

    # -- helpers -----------------------------------------------------------------------------

    def _keep(self, note: Note) -> None:
        """Limits, pins and pauses outlive the process."""
        before = self.tables.hosts().get(note.host, HostRow())
        row = before.after(note.kind, storable(note.reason), note.detail)
        if row != before:
            self.tables.save_host(note.host, row)

    def _load(self, task_id: str) -> Task:
        task = self.tables.load(task_id)
        if task is None:
            raise UnknownTask(task_id)
        return task

    def _end(
        self,
        task: Task,
        after: Task | None,
        now: float,
        kind: Kind,
        reason: str,
        fence: Fence,
        *,
        notes: Sequence[Note],
        detail: Mapping[str, Json],
    ) -> bool:
        """The end of an attempt, and in the same commit what it says of hosts."""
        if after is None or after is task:
            return after is not None
        self._save(task, after, now, kind, reason=reason, fence=fence, detail=detail)
        if after.status is not Status.OPEN:
            self._post(after)
        self.note(notes, now=now)
        return True

    def _post(self, task: Task) -> None:
        """Its source must hear of the row that was written last."""
        if task.source is not None:
            self.tables.post(task, self.events[-1].position)

    def _save(
        self,
        task: Task,
        after: Task,
        now: float,
        kind: Kind,
        *,
        reason: str = "",
        fence: Fence | None = None,
        detail: Mapping[str, Json] | None = None,
        leaves: bool = True,
    ) -> Task:
        if after is not task:
            self.tables.save(after)
            self._journal(
                after, now, kind, reason=reason, fence=fence, detail=detail, leaves=leaves
            )
        return after

    def _journal(
        self,
        task: Task,
        now: float,
        kind: Kind,
        *,
        reason: str = "",
        fence: Fence | None = None,
        detail: Mapping[str, Json] | None = None,
        leaves: bool = True,
    ) -> None:
        """`leaves` False: it had no place in the order, so the row tells of none."""
        self._append(
            Event(
                position=0,
                at=now,
                kind=kind,
                task=task.id,
                host=(task.host or "") if fence is not None else "",
                fence=fence,
                reason=reason,
                waiting=task.waiting if task.status is Status.OPEN and leaves else None,
                held=task.held,
                detail=detail or {},
            )
        )

    def _append(self, event: Event) -> None:
        self.events.append(self.tables.append(event))


def _same_birth(one: Task | Draft, other: Draft) -> bool:
    """Not by created_at: who repeats a submit may date it anew."""
    return (one.title, one.description, one.submitter, one.key) == (
        other.title,
        other.description,
        other.submitter,
        other.key,
    )


def storable(text: str) -> str:
    """Text that hosts and commands had a hand in: it must not make the end of an attempt fail.

    A lone surrogate, half a character, is not UTF-8: it becomes a question mark.
    """
    return text.encode(errors="replace").decode()
