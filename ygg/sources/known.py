"""What is known of a source's live tasks, so that the store need not be asked at every row. Pure.

It hears the rows of the journal, and says which tasks are to be read again: those of the source
whose own rows came. Rows of other tasks cost a look into a set, and nothing else. Reading is left
to others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Final

from ygg.journal import Event, Kind
from ygg.tasks import Status, Task

#: Rows of a task of the source after which there may be something to claim or to tell.
_OF_TASK: Final = frozenset(
    {Kind.STARTED, Kind.CLOSED, Kind.BLOCKED, Kind.CANCELLED, Kind.REOPENED, Kind.HELD,
     Kind.RELEASED, Kind.PRIORITISED}
)  # fmt: skip
#: Rows after which there may be more slots to claim for.
_OF_SLOTS: Final = frozenset({Kind.RESIZED, Kind.CONFIGURED})


class Known:
    """The live tasks of one source as they were when they were read, and which moved since."""

    def __init__(self) -> None:
        #: By id, without their texts: a prompt may have a million characters.
        self._tasks: dict[str, Task] = {}
        #: Whose rows are heard: of those tasks, and of such as are being added.
        self._ids: set[str] = set()
        self._moved: set[str] = set()
        #: All were read, and since then every row of theirs was heard.
        self.is_whole = False
        #: They are being read: any row may be one of theirs.
        self._is_reading = False

    @property
    def tasks(self) -> Collection[Task]:
        """By arrival."""
        return self._tasks.values()

    def hear(self, events: Sequence[Event]) -> bool:
        """Whether these rows are a reason to look what there is to do."""
        news = False
        for event in events:
            if event.kind in _OF_SLOTS:
                news = True
            elif event.task and (self._is_reading or event.task in self._ids):
                self._moved.add(event.task)
                news = news or event.kind in _OF_TASK
        return news

    def has(self, task_id: str | None) -> bool:
        """Whether it is one of them."""
        return task_id in self._ids

    def begin(self) -> None:
        """All of them are about to be read."""
        self._is_reading = True
        self._moved.clear()

    def take(self, tasks: Iterable[Task]) -> None:
        """They were read."""
        self._is_reading, self.is_whole = False, True
        self._tasks = {task.id: _without_texts(task) for task in tasks}
        self._ids = set(self._tasks)
        self._moved &= self._ids

    def expect(self, ids: Iterable[str]) -> None:
        """Tasks are about to be added under these ids."""
        self._ids.update(ids)

    def moved(self) -> Sequence[str]:
        """The tasks to be read again, and put here; each is named once."""
        moved, self._moved = self._moved, set()
        return sorted(moved)

    def put(self, task_id: str, task: Task | None) -> None:
        """One was read again; None: there is none of that id."""
        if task is not None and task.status is not Status.CLOSED:
            self._tasks[task_id] = _without_texts(task)
        else:
            self._tasks.pop(task_id, None)
            self._ids.discard(task_id)

    def forget(self) -> None:
        """What was read or written last may not be so: all is to be read again."""
        self.is_whole = self._is_reading = False


def _without_texts(task: Task) -> Task:
    return replace(task, description="", error=None, answer=None)
