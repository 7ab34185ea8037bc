"""Which rows of the journal are a reason to look, and which tasks are read again for them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.contracts.drafts import a_draft
from ygg.journal import Event, Kind
from ygg.lifecycle import accepted
from ygg.sources.known import Known
from ygg.tasks import Status, Task

pytestmark = pytest.mark.pure

OURS = accepted(a_draft(id="ours", source="beads", source_id="b-1", description="long"), 1)


def row(kind: Kind, task: str = "") -> Event:
    return Event(position=1, at=0.0, kind=kind, task=task)


def known(*tasks: Task) -> Known:
    found = Known()
    found.begin()
    found.take(tasks)
    return found


def test_rows_of_other_tasks_are_no_reason() -> None:
    one = known(OURS)
    assert not one.hear([row(kind, "another") for kind in Kind if kind not in OF_SLOTS])
    assert one.moved() == []


OF_SLOTS = (Kind.RESIZED, Kind.CONFIGURED)


@pytest.mark.parametrize("kind", OF_SLOTS)
def test_more_slots_are_a_reason_to_look_but_not_to_read(kind: Kind) -> None:
    one = known(OURS)
    assert one.hear([row(kind)])
    assert one.moved() == []


def test_a_task_that_moved_is_read_again_once() -> None:
    one = known(OURS)
    assert one.hear([row(Kind.STARTED, "ours"), row(Kind.CLOSED, "ours")])
    assert (one.moved(), one.moved()) == (["ours"], [])
    one.put("ours", replace(OURS, status=Status.CLOSED))
    assert list(one.tasks) == []
    assert not one.hear([row(Kind.TOLD, "ours")])
    assert one.moved() == [], "one that is over is not followed any more"


def test_what_is_edited_is_read_again_when_there_is_another_reason() -> None:
    one = known(OURS)
    assert not one.hear([row(Kind.EDITED, "ours")]), "it is ourselves who edit"
    assert one.moved() == ["ours"]


def test_a_task_that_is_being_added_is_heard_of() -> None:
    one = known()
    one.expect(["ours"])
    assert one.hear([row(Kind.ACCEPTED, "ours"), row(Kind.HELD, "ours")])
    assert one.moved() == ["ours"]
    one.put("ours", None)
    assert not one.hear([row(Kind.HELD, "ours")]), "it was here already, under another id"


def test_what_moves_while_all_are_read_is_read_again() -> None:
    one = Known()
    one.begin()
    assert one.hear([row(Kind.STARTED, "ours"), row(Kind.STARTED, "another")])
    one.take([OURS])
    assert one.is_whole
    assert one.moved() == ["ours"]


def test_after_trouble_all_are_to_be_read() -> None:
    one = known(OURS)
    one.forget()
    assert not one.is_whole


def test_no_texts_are_kept() -> None:
    one = known(OURS)
    one.put("ours", replace(OURS, error="long", answer={"seconds": 1.0}))
    (task,) = one.tasks
    assert (task.description, task.error, task.answer) == ("", None, None)
