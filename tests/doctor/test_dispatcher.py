"""Whose a door is, by what was said where a dispatcher was asked."""

from __future__ import annotations

import pytest

from ygg.doctor.dispatcher import Answer
from ygg.doctor.findings import State, warning, wrong
from ygg.shapes import DispatcherStatus, WaitingStatus

pytestmark = pytest.mark.pure

URL = "http://127.0.0.1:8765"
DOORS = ("127.0.0.1:8765", "unix:/run/y.sock")
WANTS_A_TOKEN = warning("the dispatcher wants a token", "export YGG_TOKEN=TOKEN")
NO_DISPATCHER = wrong("what answers is no dispatcher", "correct --url")


def answer(url: str = URL, pid: int = 7, listens: tuple[str, ...] | None = DOORS) -> Answer:
    status = DispatcherStatus(
        version="1",
        pid=pid,
        started_at="",
        draining=False,
        store_trouble=None,
        hosts=(),
        waiting=WaitingStatus(total=0, by_priority={}, by_type={}, oldest_wait_seconds=None),
        counts={},
        held={},
        blocked=(),
        needs_person=(),
    )
    return Answer(url=url, status=status, listens=listens)


@pytest.mark.parametrize("url", [URL, "http://localhost:8765", "unix:/run/y.sock"])
@pytest.mark.parametrize("door", DOORS)
def test_every_door_that_a_dispatcher_here_tells_of_is_its(url: str, door: str) -> None:
    assert answer(url).has_door(door, None)
    assert not answer(url).has_door("127.0.0.1:1", None)


def test_what_a_dispatcher_elsewhere_tells_is_not_about_our_doors() -> None:
    far = answer("http://fenrir:8765")
    assert not far.has_door(DOORS[0], None)
    assert far.has_door(DOORS[0], "7"), "it holds our store: it is here"


def test_a_door_that_was_asked_needs_no_telling() -> None:
    assert answer(listens=None).has_door(DOORS[0], None)
    assert not answer(listens=None).has_door(DOORS[1], None)
    assert not Answer(url=URL).has_door(DOORS[0], None)


def test_a_dispatcher_that_did_not_say_who_it_is_may_have_any_door() -> None:
    for holder in ("7", None):
        doubt = Answer(url=URL, problem=WANTS_A_TOKEN).doubt(holder)
        assert doubt is not None
        assert (doubt.state, doubt.remedy) == (State.WARNING, WANTS_A_TOKEN.remedy)
        assert "whether by the dispatcher that was asked is not known: the disp" in doubt.what


@pytest.mark.parametrize(
    ("asked", "says"),
    [(Answer(url=URL), "no dispatcher answers"), (answer(pid=8), "process 8 answers")],
)
def test_whoever_holds_the_store_may_have_any_door(asked: Answer, says: str) -> None:
    doubt = asked.doubt("7")
    assert doubt is not None
    assert says in doubt.what
    assert doubt.remedy == "say with --url where process 7 listens"


def test_with_no_dispatcher_in_sight_a_door_is_another_programs() -> None:
    assert Answer(url=URL).doubt(None) is None
    assert Answer(url=URL, problem=NO_DISPATCHER).doubt(None) is None
    assert Answer(url=URL, problem=NO_DISPATCHER).doubt("7") is not None
    assert answer().doubt("7") is None, "it told all its doors"
    assert answer(listens=None).doubt("7") is not None
