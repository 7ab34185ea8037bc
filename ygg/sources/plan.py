"""What follows from a look at a source: what is added, edited, withdrawn, retried and handed back.

Pure. Carrying it out, in the order of `Plan`'s fields, and what a source is told of ends, are left
to others. The source has the last word on an issue's text and priority, our store on what runs:
that is never touched.

An answer of a source may be an old one: some writes are not seen by the next read. So nothing is
concluded from an issue whose task's end the source was told, or is yet to be told, until the
issue shows that end (`ends`); and a blocked task is retried only when its issue shows that block,
and is open all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Final, NamedTuple

from ygg.lines import printable
from ygg.sources.base import End, Issue
from ygg.sources.issues import Offer, Taking, left_alone, not_free, offer, offers
from ygg.sources.marks import Mark, settled, shows
from ygg.tasks import Held, Status, Task

_IN_PROGRESS: Final = "in_progress"
#: Characters of a status or a name that a reason shows.
_SHOWN: Final = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What a source said, each part later than the one before."""

    #: All that may be worked on now.
    ready: Sequence[Issue]
    #: What is in progress in our name.
    mine: Sequence[Issue] = ()
    #: What was asked for one by one. None: there is no such issue; not in it: nobody asked.
    shown: Mapping[str, Issue | None] = field(default_factory=dict)
    #: False: only what is ready was asked for.
    is_whole: bool = True
    #: Seconds since the epoch.
    at: float = 0.0

    @property
    def issues(self) -> dict[str, Issue | None]:
        """The last word on each."""
        listed = {issue.id: issue for issue in (*self.ready, *self.mine)}
        return {**listed, **self.shown}


class Edit(NamedTuple):
    task_id: str
    offer: Offer


class Withdrawal(NamedTuple):
    task_id: str
    #: Why its source no longer has it for us, in words that follow on "its issue".
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is to be done, in this order. Once it is done, the same look asks for no more of it."""

    #: Tasks that wait as if they were ours, and are not: back to `waiting_for_source`.
    hold: tuple[str, ...] = ()
    #: Blocked tasks whose issue a person set back to open.
    retry: tuple[str, ...] = ()
    #: Open tasks whose issue says something else by now.
    edit: tuple[Edit, ...] = ()
    #: Tasks that do not run, whose issue is no longer for us.
    withdraw: tuple[Withdrawal, ...] = ()
    #: New ones, in the order in which they are to arrive.
    add: tuple[Offer, ...] = ()
    #: Issues that are in progress in our name, and no task of ours is to start.
    hand_back: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not any(getattr(self, one.name) for one in fields(self))


class _Stand(Enum):
    """How an issue is, for us."""

    FREE = "free"  # ready, and may be claimed
    OURS = "ours"  # in progress in our name
    BLOCKED = "blocked"
    AWAY = "away"  # not now: deferred, waiting for others, or in a status of a person's own
    OVER = "over"  # closed, gone, somebody else's, or no longer one for us
    UNKNOWN = "unknown"  # nobody asked, or what was said of it can't be read


def unexplained(
    ready: Iterable[Issue], mine: Iterable[Issue], live: Iterable[Task]
) -> tuple[str, ...]:
    """The issues that must be asked for one by one: no list has them, and a task waits on them."""
    listed = {issue.id for issue in (*ready, *mine)}
    waiting = (task for task in live if task.status is not Status.IN_PROGRESS)
    return tuple(issue_id for task in waiting if (issue_id := _issue_id(task)) not in listed)


def plan(
    look: Look, live: Sequence[Task], taking: Taking, ends: Mapping[str, Mark] | None = None
) -> Plan:
    """What a look asks for.

    Args:
        look: what the source said.
        live: our tasks of this source that are not closed.
        taking: what is taken.
        ends: by issue, what its last task has to tell or told, as long as the source's answers
            may not show it (see `marks.settled`). All that is posted must be in it.
    """
    return _Planning(look, live, taking, ends or {}).plan()


class _Planning:
    def __init__(
        self, look: Look, live: Sequence[Task], taking: Taking, ends: Mapping[str, Mark]
    ) -> None:
        self._live = {_issue_id(task): task for task in live}
        assert len(self._live) == len(live), "two live tasks of one issue"
        self._issues = look.issues
        self._at = look.at
        self._ready = dict.fromkeys(issue.id for issue in look.ready)
        self._taking = taking
        self._ends = ends
        self._hold: list[str] = []
        self._retry: list[str] = []
        self._edit: list[Edit] = []
        self._withdraw: list[Withdrawal] = []
        self._hand_back: list[str] = []

    def plan(self) -> Plan:
        for issue_id, task in self._live.items():
            if task.status is Status.OPEN:
                self._waits(issue_id, task)
            elif task.status is Status.BLOCKED:
                self._is_blocked(issue_id, task)
        fresh = [issue for one in self._ready if (issue := self._fresh(one)) is not None]
        self._hand_back += [one for one in self._issues if self._is_stray(one)]
        return Plan(
            hold=tuple(self._hold),
            retry=tuple(self._retry),
            edit=tuple(self._edit),
            withdraw=tuple(self._withdraw),
            add=offers(fresh, self._taking),
            hand_back=tuple(self._hand_back),
        )

    def _stand(self, issue_id: str) -> tuple[_Stand, str]:
        """How an issue is, and the reason of what is no longer for us."""
        if issue_id not in self._issues:
            return _Stand.UNKNOWN, ""
        issue = self._issues[issue_id]
        if issue is None:
            return _Stand.OVER, "is gone"
        if issue.fault:
            return _Stand.UNKNOWN, ""
        if (why := left_alone(issue, self._taking)) is not None:
            return _Stand.OVER, why
        if self._is_ours(issue):
            # No list leaves it out: what is claimed is not among what is ready.
            if issue.deferred_until is not None and issue.deferred_until > self._at:
                return _Stand.AWAY, "is deferred"
            return _Stand.OURS, ""
        why = not_free(issue, self._taking.actor) or "waits for another issue, or for its time"
        if issue.assignee not in ("", self._taking.actor) or issue.status == "closed":
            return _Stand.OVER, printable(why)[:_SHOWN]
        if issue.status == "open" and issue_id in self._ready:
            return _Stand.FREE, ""
        stand = _Stand.BLOCKED if issue.status == "blocked" else _Stand.AWAY
        return stand, printable(why)[:_SHOWN]

    def _is_ours(self, issue: Issue) -> bool:
        return issue.status == _IN_PROGRESS and issue.assignee == self._taking.actor

    def _waits(self, issue_id: str, task: Task) -> None:
        stand, why = self._stand(issue_id)
        issue = self._issues.get(issue_id)
        if stand is _Stand.BLOCKED and issue_id in self._ends:
            return  # our own block, and it is yet to be told that a person here took it back
        if stand in (_Stand.BLOCKED, _Stand.AWAY, _Stand.OVER):
            self._withdraw.append(Withdrawal(task.id, why))
            if issue is not None and self._is_ours(issue):
                self._hand_back.append(issue_id)
        elif issue is not None and stand is not _Stand.UNKNOWN:
            self._follow(task, issue, is_claimed=stand is _Stand.OURS)

    def _follow(self, task: Task, issue: Issue, *, is_claimed: bool) -> None:
        """An open task whose issue is for us."""
        said = offer(issue, self._taking)
        if task.held is None and (not is_claimed or said.type != task.type):
            # Another type may run elsewhere: it must not be about to start while it changes.
            self._hold.append(task.id)
        if not said.is_as(task):
            self._edit.append(Edit(task.id, said))
        if is_claimed and task.held is Held.BY_HAND:
            self._hand_back.append(issue.id)

    def _is_blocked(self, issue_id: str, task: Task) -> None:
        stand, why = self._stand(issue_id)
        issue = self._issues.get(issue_id)
        if stand is _Stand.OVER and not (issue is not None and self._is_ours(issue)):
            self._withdraw.append(Withdrawal(task.id, why))
        if stand is not _Stand.FREE or issue is None:
            return
        # Else it is yet to be told, or this is an answer from before.
        if shows(issue, Mark(End.FAILED, task.id, task.attempt)):
            self._retry.append(task.id)
            if not (said := offer(issue, self._taking)).is_as(task):
                self._edit.append(Edit(task.id, said))

    def _fresh(self, issue_id: str) -> Issue | None:
        """An issue that becomes a task; None: it does not."""
        if issue_id in self._live or self._stand(issue_id)[0] is not _Stand.FREE:
            return None
        issue = self._issues[issue_id]
        return None if issue is None or self._is_unsettled(issue) else issue

    def _is_stray(self, issue_id: str) -> bool:
        """Whether an issue is in progress in our name without a task: left of an earlier life."""
        issue = self._issues[issue_id]
        if issue is None or issue.fault or issue_id in self._live or not self._is_ours(issue):
            return False
        return not self._is_unsettled(issue)

    def _is_unsettled(self, issue: Issue) -> bool:
        end = self._ends.get(issue.id)
        return end is not None and not settled(issue, end, self._taking.actor)


def claims(
    live: Iterable[Task], routes: Mapping[str, Sequence[str]], slots: Mapping[str, int]
) -> tuple[str, ...]:
    """The issues to claim next, the first to start first: as many ahead as there are slots in all.

    In the order of the tasks each takes a place on the first host of its route that has one left,
    whether it is claimed or not; of those that got one, what is not claimed is to be. So no claim
    goes past a task that could use it, an urgent one is claimed however many others are, and no
    host is left without a claimed task because many wait for another host.

    Args:
        live: our tasks of the source.
        routes: of each type, the hosts where it may run; hosts that share slots are one.
        slots: of each host, its limit.
    """
    left = dict(slots)
    found: list[str] = []
    waiting = (t for t in live if t.status is Status.OPEN and t.held in (None, Held.FOR_SOURCE))
    for task in sorted(waiting, key=lambda task: task.rank):
        host = next((one for one in routes.get(task.type, ()) if left.get(one, 0) > 0), None)
        if host is None:
            continue
        left[host] -= 1
        if task.held is Held.FOR_SOURCE:
            found.append(_issue_id(task))
    return tuple(found)


def unneeded(mine: Iterable[Issue], live: Iterable[Task], actor: str) -> tuple[str, ...]:
    """The issues to hand back before the process ends: ours, and their task waits."""
    waiting = {_issue_id(task) for task in live if task.status is Status.OPEN}
    return tuple(
        issue.id
        for issue in mine
        if issue.id in waiting and issue.status == _IN_PROGRESS and issue.assignee == actor
    )


def _issue_id(task: Task) -> str:
    assert task.source_id is not None, f"task {task.id} has no source"
    return task.source_id
