"""Each thing that can be wrong with a history is found, and its clean twin passes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from ygg.checker import Checker
from ygg.findings import KEPT, FindingKind, Report
from ygg.fleet import Option
from ygg.journal import Event, Kind, pack
from ygg.lives import Stored
from ygg.tasks import Fence, Held, Json, Lane, Outcome, Rank, Status, Waiting

pytestmark = pytest.mark.pure

ROUTES: Mapping[str, Sequence[tuple[str, str]]] = {
    "code": [("a", ""), ("b", "")],
    "chat": [("b", "")],
    "pick": [("a", "small"), ("b", "large")],
}


class History:
    """Rows as a store writes them, and what it then holds."""

    def __init__(self, *, limits: Mapping[str, int] | None = None) -> None:
        self.rows: list[Event] = []
        self.stored: dict[str, Status] = {}
        self.places: dict[str, Waiting] = {}
        self.fences: dict[str, Fence] = {}
        self.owner = ""
        self.open("d1")
        self.configure(limits=limits or {"a": 1, "b": 1})
        self.host("a", "up")
        self.host("b", "up")

    @property
    def last(self) -> int:
        return self.rows[-1].position if self.rows else 0

    def row(self, kind: Kind, **fields: object) -> Event:
        # Steps of ten leave room to slip rows in between.
        event = replace(Event(position=self.last + 10, at=0.0, kind=kind), **fields)  # type: ignore[arg-type] # named as Event's
        self.rows.append(event)
        return event

    def open(self, owner: str) -> None:
        self.owner = owner
        self.row(Kind.OPENED, fence=Fence(owner, 0))

    def configure(
        self,
        *,
        limits: Mapping[str, int],
        shares: Mapping[str, str] | None = None,
        routes: Mapping[str, Sequence[tuple[str, ...]]] = ROUTES,
    ) -> None:
        detail: dict[str, Json] = {
            "semaphores": dict(shares or {name: name for name in limits}),
            "limits": dict(limits),
            "routes": {name: [list(option) for option in route] for name, route in routes.items()},
        }
        self.row(Kind.CONFIGURED, detail=detail)

    def host(self, name: str, mode: str) -> None:
        self.row(Kind.HOST, host=name, detail={"mode": mode})

    def option(self, host: str, model: str, mode: str) -> None:
        self.row(Kind.OPTION, host=host, model=model, detail={"mode": mode})

    def resize(self, name: str, limit: int) -> None:
        self.row(Kind.RESIZED, host=name, detail={"limit": limit})

    def accept(
        self,
        task: str,
        kind: str = "code",
        *,
        model: str = "",
        priority: int = 2,
        held: Held | None = None,
    ) -> None:
        rank = Rank(True, priority, 1000.0 + len(self.places), len(self.places))
        self.places[task] = Waiting(task, Lane(kind, model), rank)
        self.stored[task] = Status.OPEN
        self.row(Kind.ACCEPTED, task=task, waiting=self.places[task], held=held)

    def start(self, task: str, host: str, model: str = "", *, seen: int | None = None) -> None:
        self.fences[task] = Fence(self.owner, self.fences.get(task, Fence("", 0)).attempt + 1)
        self.stored[task] = Status.IN_PROGRESS
        self.row(
            Kind.STARTED,
            task=task,
            host=host,
            model=model,
            fence=self.fences[task],
            seen=self.last if seen is None else seen,
            waiting=self.places[task],
        )

    def miss(self, task: str, host: str, *, seen: int, reason: str = "") -> None:
        waiting = self.places[task]
        self.row(Kind.MISSED, task=task, host=host, seen=seen, waiting=waiting, reason=reason)

    def close(self, task: str) -> None:
        self.stored[task] = Status.CLOSED
        self.row(Kind.CLOSED, task=task, fence=self.fences[task])

    def block(self, task: str, reason: str = "refused") -> None:
        self.stored[task] = Status.BLOCKED
        self.row(Kind.BLOCKED, task=task, fence=self.fences[task], reason=reason)

    def reopen(self, task: str, reason: str = "cut off") -> None:
        self.stored[task] = Status.OPEN
        fence, place = self.fences[task], self.places[task]
        self.row(Kind.REOPENED, task=task, fence=fence, reason=reason, waiting=place)

    def retry(self, task: str) -> None:
        self.stored[task] = Status.OPEN
        self.row(Kind.REOPENED, task=task, reason="retry", waiting=self.places[task])

    def cancel(self, task: str, *, held: Held | None = None) -> None:
        """A waiting or blocked one."""
        waiting = self.places[task] if self.stored[task] is Status.OPEN else None
        self.stored[task] = Status.CLOSED
        self.row(Kind.CANCELLED, task=task, waiting=waiting, held=held)

    def hold(self, task: str) -> None:
        self.row(Kind.HELD, task=task, held=Held.BY_HAND, waiting=self.places[task])

    def release(self, task: str) -> None:
        self.row(Kind.RELEASED, task=task, waiting=self.places[task])

    def prioritise(self, task: str, priority: int, *, run_next: bool = False) -> None:
        old = self.places[task]
        rank = old.rank._replace(priority=priority, not_next=not run_next)
        self.places[task] = old._replace(rank=rank)
        detail: dict[str, Json] = {"before": pack(old)}
        self.row(Kind.PRIORITISED, task=task, waiting=self.places[task], detail=detail)

    def change(self, index: int, **fields: object) -> None:
        self.rows[index] = replace(self.rows[index], **fields)  # type: ignore[arg-type] # named as Event's


def check(history: History, *, first_checked: int = 0) -> Report:
    checker = Checker(first_checked=first_checked)
    for row in history.rows:
        checker.feed(row)
    return checker.finish(
        Stored(task, status, artifact="a") for task, status in history.stored.items()
    )


def found(history: History, *, first_checked: int = 0) -> dict[str, int]:
    report = check(history, first_checked=first_checked)
    return {kind.value: count for kind, count in report.counts.items()}


# -- order -----------------------------------------------------------------------------------


def test_the_least_ready_task_must_start() -> None:
    for first, second in (("urgent", "low"), ("low", "urgent")):
        history = History()
        history.accept("low", priority=3)
        history.accept("urgent", priority=0)
        seen = history.last
        history.start(first, "a", seen=seen)
        history.start(second, "b", seen=seen)
        assert found(history) == ({} if first == "urgent" else {"inversion": 1})


def test_an_inversion_names_the_task_that_should_have_started() -> None:
    history = History()
    history.accept("early")
    history.accept("late")
    history.start("late", "a")
    report = check(history)
    (finding,) = report.findings
    assert finding.kind is FindingKind.INVERSION
    assert (finding.task, finding.position) == ("late", history.last)
    assert "early" in finding.message
    assert not report.clean


def test_of_several_overtaken_tasks_the_least_is_named() -> None:
    for order in (("x", "y"), ("y", "x")):
        history = History()
        for task in order:
            history.accept(task, {"x": "chat", "y": "code"}[task], priority={"x": 1, "y": 2}[task])
        history.accept("z", "pick", priority=3)
        history.start("z", "a", "small")
        (finding,) = check(history).findings
        assert "though x " in finding.message


@pytest.mark.parametrize("lesser", ["next", "priority", "created", "sequence"])
def test_each_part_of_the_order_counts(lesser: str) -> None:
    """The one that is less by this part alone, though it comes later by all that follow."""
    before = Rank(True, 2, 500.0, 5)
    after = {
        "next": Rank(False, 3, 600.0, 6),
        "priority": Rank(True, 1, 600.0, 6),
        "created": Rank(True, 2, 400.0, 6),
        "sequence": Rank(True, 2, 500.0, 4),
    }[lesser]
    for first, second in (("y", "x"), ("x", "y")):
        history = History()
        for task, rank in (("x", before), ("y", after)):
            history.accept(task)
            history.places[task] = Waiting(task, Lane("code"), rank)
            history.change(-1, waiting=history.places[task])
        seen = history.last
        history.start(first, "a", seen=seen)
        history.start(second, "b", seen=seen)
        assert found(history) == ({} if first == "y" else {"inversion": 1})


def test_a_lesser_task_whose_hosts_are_all_full_is_not_overtaken() -> None:
    history = History()
    history.accept("first", "chat")
    history.start("first", "b")
    history.accept("waits", "chat", priority=0)
    history.accept("runs", "code", priority=4)
    history.start("runs", "a")
    assert found(history) == {}


def test_a_lesser_held_task_is_not_overtaken() -> None:
    history = History()
    history.accept("waits", priority=0, held=Held.NOT_BEFORE)
    history.accept("runs")
    history.start("runs", "a")
    assert found(history) == {}
    history.release("waits")
    history.accept("more")
    history.start("more", "b")
    assert found(history) == {"inversion": 1}


def test_a_row_that_the_decision_had_not_seen_does_not_count() -> None:
    history = History()
    history.accept("low", priority=3)
    seen = history.last
    history.accept("urgent", priority=0)
    history.start("low", "a", seen=seen)
    assert found(history) == {}
    history.change(-1, seen=history.rows[-2].position)
    assert found(history) == {"inversion": 1}


def test_a_task_in_flight_is_not_ready_for_the_next_decision() -> None:
    """Its start is no row that the decision saw, but was decided before."""
    history = History()
    history.accept("x", priority=0)
    history.accept("y")
    seen = history.last
    history.start("x", "a", seen=seen)
    history.start("y", "b", seen=seen)
    assert found(history) == {}


def test_a_changed_priority_counts_once_it_was_seen() -> None:
    history = History()
    history.accept("x")
    history.accept("y")
    history.prioritise("y", 2, run_next=True)
    history.start("y", "a")
    assert found(history) == {}
    history.change(-1, seen=history.rows[-3].position)
    assert found(history) == {"inversion": 1}


def test_a_reopened_task_is_back_in_its_place() -> None:
    history = History()
    history.accept("x")
    history.start("x", "a")
    history.accept("y")
    history.reopen("x")
    history.start("y", "b", seen=history.rows[-2].position)
    assert found(history) == {}
    history.change(-1, host="a", seen=history.rows[-2].position)
    assert found(history) == {"inversion": 1}


# -- where -----------------------------------------------------------------------------------


def test_the_first_free_option_of_the_route_is_taken() -> None:
    for host, expected in (("a", {}), ("b", {"wrong_option": 1})):
        history = History()
        history.accept("x")
        history.start("x", host)
        assert found(history) == expected


def test_a_start_off_its_route_is_found() -> None:
    for host, expected in (("b", {}), ("a", {"bad_host": 1})):
        history = History()
        history.accept("x", "chat")
        history.start("x", host)
        assert found(history) == expected


def test_the_model_that_a_task_asks_for_is_the_one_it_gets() -> None:
    for option, expected in ((("b", "large"), {}), (("a", "small"), {"bad_host": 1})):
        history = History()
        history.accept("x", "pick", model="large")
        history.start("x", *option)
        assert found(history) == expected


@pytest.mark.parametrize("mode", ["down", "resting"])
def test_a_host_that_takes_none_gets_none(mode: str) -> None:
    history = History()
    history.host("a", mode)
    history.accept("x")
    history.start("x", "b")
    assert found(history) == {}
    history.change(-1, host="a")
    assert found(history) == {"bad_host": 1}


def test_a_paused_host_gets_none_until_it_is_resumed() -> None:
    history = History()
    history.row(Kind.PAUSED, host="a", reason="cleaning")
    history.accept("x")
    history.start("x", "a")
    assert found(history) == {"bad_host": 1}
    history.rows.insert(-1, replace(history.rows[-2], position=history.last - 5))
    history.change(-2, kind=Kind.RESUMED, host="a", task="", waiting=None)
    history.change(-1, seen=history.last - 5)
    assert found(history) == {}


@pytest.mark.parametrize("mode", ["down", "resting"])
def test_a_model_that_takes_none_gets_none(mode: str) -> None:
    history = History()
    history.option("a", "small", mode)
    history.accept("x", "pick")
    history.accept("y", "code")
    history.start("x", "b", "large")
    history.start("y", "a")  # another model there: not concerned
    assert found(history) == {}
    history.change(-2, host="a", model="small")
    assert found(history)["bad_host"] == 1


def test_a_host_on_trial_runs_one_task() -> None:
    history = History(limits={"a": 3, "b": 3})
    history.host("a", "trial")
    history.accept("x")
    history.start("x", "a")
    history.accept("y")
    history.start("y", "b")
    assert found(history) == {}
    history.change(-1, host="a")
    assert found(history) == {"bad_host": 1}


@pytest.mark.parametrize(
    ("down", "starts"),
    [
        (Option("a", "m", "ocr"), {"bad_host": 1}),
        (Option("a", "m"), {}),
        (Option("a", "m", "scan"), {}),
    ],
)
def test_a_handler_of_a_types_own_is_well_or_not_by_itself(
    down: Option, starts: Mapping[str, int]
) -> None:
    history = History(limits={"a": 3})
    history.configure(limits={"a": 3}, routes={"ocr": [Option("a", "m", "ocr")]})
    whose = {"type": down.handler} if down.handler else {}
    history.row(Kind.OPTION, host="a", model="m", detail={"mode": "down", **whose})
    history.accept("x", "ocr")
    history.start("x", "a", "m")
    assert found(history) == starts


def test_a_host_on_trial_is_tried_by_its_models_and_handlers_run_beside() -> None:
    history = History(limits={"a": 9})
    routes = {"code": [Option("a", "m")], "ocr": [Option("a", "m", "ocr")]}
    history.configure(limits={"a": 9}, routes=routes)
    history.host("a", "trial")
    for task, kind in (("o1", "ocr"), ("o2", "ocr"), ("c1", "code"), ("o3", "ocr")):
        history.accept(task, kind)
        history.start(task, "a", "m")
    assert found(history) == {}
    history.accept("c2", "code")
    history.start("c2", "a", "m")
    assert found(history) == {"bad_host": 1}


def test_a_model_on_trial_runs_one_task() -> None:
    history = History(limits={"a": 3, "b": 3})
    history.option("a", "small", "trial")
    history.accept("x", "pick")
    history.start("x", "a", "small")
    history.accept("y", "pick")
    history.start("y", "b", "large")
    history.accept("z", "code")
    history.start("z", "a")
    assert found(history) == {}
    history.change(-3, host="a", model="small")
    assert found(history) == {"bad_host": 1}


def test_a_host_that_a_reload_took_away_gets_none_and_comes_back_down() -> None:
    history = History()
    history.configure(limits={"b": 1}, routes={"code": [("b", "")]})
    history.configure(limits={"a": 1, "b": 1})
    history.accept("x")
    history.start("x", "b")
    assert found(history) == {}
    history.change(-1, host="a")
    assert found(history) == {"bad_host": 1}


def test_a_host_that_is_not_in_the_fleet_gets_none_though_a_route_names_it() -> None:
    history = History(limits={"a": 2, "b": 2})
    history.accept("x")
    history.start("x", "a")
    history.configure(limits={"b": 2})
    history.accept("y")
    history.start("y", "b")
    assert found(history) == {}
    history.change(-1, host="a")
    assert found(history) == {"bad_host": 1}


def test_a_host_that_comes_back_while_it_runs_something_keeps_its_mode() -> None:
    history = History(limits={"a": 2, "b": 1})
    history.accept("x")
    history.start("x", "a")
    history.configure(limits={"b": 1}, routes={"code": [("b", "")]})
    history.configure(limits={"a": 2, "b": 1})
    history.accept("y")
    history.start("y", "a")
    assert found(history) == {}


# -- bound -----------------------------------------------------------------------------------


def test_no_task_starts_without_a_free_slot() -> None:
    for limit, expected in ((2, {}), (1, {"limit_break": 1})):
        history = History(limits={"a": 1, "b": limit})
        history.accept("x", "chat")
        history.accept("y", "chat")
        seen = history.last
        history.start("x", "b", seen=seen)
        history.start("y", "b", seen=seen)
        assert found(history) == expected


def test_a_slot_is_free_once_the_end_was_seen() -> None:
    history = History()
    history.accept("x", "chat")
    history.start("x", "b")
    history.accept("y", "chat")
    history.close("x")
    history.start("y", "b")
    assert found(history) == {}
    history.change(-1, seen=history.rows[-3].position)
    assert found(history) == {"limit_break": 1}


def test_a_shrink_holds_from_where_it_was_seen() -> None:
    history = History(limits={"a": 1, "b": 2})
    history.accept("x", "chat")
    history.start("x", "b")
    history.accept("y", "chat")
    history.resize("b", 1)
    history.start("y", "b", seen=history.rows[-2].position)
    assert found(history) == {}
    history.change(-1, seen=history.rows[-2].position)
    assert found(history) == {"limit_break": 1}


def test_hosts_on_one_card_share_its_slots() -> None:
    for shares, expected in (
        ({"a": "a", "b": "b"}, {}),
        ({"a": "a", "b": "a"}, {"limit_break": 1}),
    ):
        history = History()
        history.configure(limits=dict.fromkeys(set(shares.values()), 1), shares=shares)
        history.accept("x")
        history.accept("y")
        seen = history.last
        history.start("x", "a", seen=seen)
        history.start("y", "b", seen=seen)
        assert found(history) == expected


def test_what_a_removed_host_still_runs_counts_on_its_card() -> None:
    history = History()
    history.configure(limits={"a": 2}, shares={"a": "a", "b": "a"})
    history.accept("x", "chat")
    history.start("x", "b")
    history.configure(limits={"a": 1}, shares={"a": "a"}, routes={"code": [("a", "")]})
    history.accept("y")
    history.start("y", "a")
    assert found(history) == {"limit_break": 1}
    history.close("x")
    history.rows[-1], history.rows[-2] = (
        replace(history.rows[-2], position=history.last, seen=history.last - 10),
        replace(history.rows[-1], position=history.last - 10),
    )
    assert found(history) == {}


# -- starts that came too late ---------------------------------------------------------------


def test_a_missed_start_takes_a_slot_until_it_is_seen() -> None:
    for rows, expected in ((2, {}), (1, {"limit_break": 1}), (0, {"limit_break": 1})):
        history = History()
        history.accept("x", "chat")
        history.accept("y", "chat")
        seen = history.last
        history.cancel("x")
        history.miss("x", "b", seen=seen)
        history.start("y", "b", seen=seen + 10 * rows)
        assert found(history) == expected


def test_a_missed_start_is_judged_as_any_other() -> None:
    history = History()
    history.accept("x")
    history.accept("y")
    seen = history.last
    history.hold("y")
    history.miss("y", "a", seen=seen)
    assert found(history) == {"inversion": 1}


def test_a_task_that_was_to_be_had_can_not_be_missed() -> None:
    history = History()
    history.accept("x")
    history.miss("x", "a", seen=history.last)
    assert found(history) == {"illegal_move": 1}


def test_a_damaged_task_is_missed_and_overtaken_until_the_next_dispatcher_begins() -> None:
    history = History()
    history.accept("x", priority=0)
    history.accept("y")
    history.accept("z")
    history.miss("x", "a", seen=history.last, reason="damaged")
    history.start("y", "a")
    history.close("y")
    assert found(history) == {}
    history.open("d2")
    history.configure(limits={"a": 2, "b": 1})
    history.row(Kind.HOST, host="a", detail={"mode": "up"})
    history.start("z", "a")  # by now x could be readable again: it goes first
    assert found(history) == {"inversion": 1}


def test_a_task_that_nobody_accepted_can_not_be_missed() -> None:
    history = History()
    history.row(Kind.MISSED, task="x", host="a", seen=history.last)
    assert found(history) == {"unknown_task": 1}


def test_a_task_held_and_released_while_its_start_is_written_runs_once() -> None:
    history = History()
    history.accept("x", priority=0)
    seen = history.last
    history.hold("x")
    history.release("x")
    history.start("x", "a", seen=seen)
    history.accept("y")
    history.start("y", "b")  # no inversion: x runs, it is not ready a second time
    assert found(history) == {}


def test_a_start_needs_its_task_among_what_was_seen() -> None:
    history = History()
    seen = history.last
    history.accept("x")
    history.start("x", "a")
    assert found(history) == {}
    history.change(-1, seen=seen)
    assert found(history) == {"not_ready": 1}


def test_seen_never_falls_and_lies_before_the_start() -> None:
    history = History()
    history.accept("x")
    history.start("x", "a")
    history.accept("y")
    history.start("y", "b")
    assert found(history) == {}
    history.change(-1, seen=history.rows[-3].seen - 10)
    assert found(history) == {"bad_seen": 1, "not_ready": 1}
    history.change(-1, seen=history.last)
    assert found(history) == {"bad_seen": 1}


# -- the lives of tasks ----------------------------------------------------------------------


def test_a_task_is_accepted_once() -> None:
    for status in (Status.OPEN, Status.CLOSED):
        history = History()
        history.accept("x")
        if status is Status.CLOSED:
            history.cancel("x")
        assert found(history) == {}
        history.row(Kind.ACCEPTED, task="x", waiting=history.places["x"], held=Held.BY_HAND)
        assert found(history) == {"double_accept": 1}


def test_a_task_that_runs_can_not_start() -> None:
    history = History()
    history.accept("x")
    history.start("x", "a")
    history.block("x")
    history.retry("x")
    history.start("x", "a")
    assert found(history) == {}
    del history.rows[-3:-1]
    assert found(history) == {"double_start": 1}


def test_attempts_rise_one_by_one() -> None:
    for attempt, expected in ((2, {}), (1, {"bad_attempt": 1}), (3, {"bad_attempt": 1})):
        history = History()
        history.accept("x")
        history.start("x", "a")
        history.reopen("x")
        history.start("x", "a")
        history.change(-1, fence=Fence("d1", attempt))
        assert found(history) == expected


def test_a_held_task_can_not_start() -> None:
    history = History()
    history.accept("x")
    history.hold("x")
    history.release("x")
    history.start("x", "a")
    assert found(history) == {}
    del history.rows[-2]
    assert found(history) == {"illegal_move": 1}


@pytest.mark.parametrize(
    "kind",
    [
        Kind.STARTED, Kind.CLOSED, Kind.BLOCKED, Kind.REOPENED, Kind.CANCELLED,
        Kind.PRIORITISED, Kind.HELD, Kind.RELEASED,
    ],
)  # fmt: skip
def test_nothing_happens_to_a_closed_task(kind: Kind) -> None:
    history = History()
    history.accept("x")
    history.start("x", "a")
    history.close("x")
    assert found(history) == {}
    fence, place = history.fences["x"], history.places["x"]
    history.row(kind, task="x", fence=fence, waiting=place, host="a", seen=history.last)
    assert found(history) == {"illegal_move": 1}


def test_only_an_attempt_ends_an_attempt() -> None:
    for kind in (Kind.CLOSED, Kind.BLOCKED, Kind.REOPENED, Kind.CANCELLED):
        history = History()
        history.accept("x")
        history.row(kind, task="x", fence=Fence("d1", 1), waiting=history.places["x"])
        history.stored["x"] = {Kind.BLOCKED: Status.BLOCKED, Kind.REOPENED: Status.OPEN}.get(
            kind, Status.CLOSED
        )
        assert found(history) == {"illegal_move": 1}


def test_only_the_attempt_that_runs_may_end() -> None:
    for kind in (Kind.CLOSED, Kind.BLOCKED, Kind.REOPENED, Kind.CANCELLED):
        for owner, expected in (("d1", {}), ("d0", {"stale_fence": 1})):
            history = History()
            history.accept("x")
            history.start("x", "a")
            history.row(kind, task="x", fence=Fence(owner, 1), waiting=history.places["x"])
            history.stored["x"] = {Kind.BLOCKED: Status.BLOCKED, Kind.REOPENED: Status.OPEN}.get(
                kind, Status.CLOSED
            )
            assert found(history) == expected


def test_a_running_task_is_cancelled_by_its_attempt_alone() -> None:
    history = History()
    history.accept("x")
    history.start("x", "a")
    history.cancel("x")
    assert found(history) == {"stale_fence": 1}


def test_a_blocked_task_waits_for_a_person() -> None:
    history = History()
    history.accept("x")
    history.start("x", "a")
    history.block("x")
    history.retry("x")
    history.start("x", "a")
    assert found(history) == {}
    history.change(-2, reason="cut off", fence=Fence("d1", 1))
    assert found(history) == {"illegal_move": 1}
    del history.rows[-2]
    assert found(history) == {"illegal_move": 1}


def test_a_running_task_can_not_be_retried() -> None:
    history = History()
    history.accept("x")
    history.start("x", "a")
    history.retry("x")
    assert found(history) == {"stale_fence": 1}


@pytest.mark.parametrize("step", ["hold", "release", "prioritise"])
def test_only_an_open_task_has_a_place(step: str) -> None:
    history = History()
    history.accept("x")
    history.start("x", "a")
    if step == "prioritise":
        history.prioritise("x", 0)
    elif step == "hold":
        history.hold("x")
    else:
        history.release("x")
    kinds = found(history)
    assert "illegal_move" in kinds


def test_what_nothing_holds_can_not_be_released() -> None:
    history = History()
    history.accept("x")
    history.release("x")
    assert found(history) == {"illegal_move": 1}


def test_a_blocked_and_a_held_task_can_be_cancelled() -> None:
    history = History()
    history.accept("x")
    history.start("x", "a")
    history.block("x")
    history.cancel("x")
    history.accept("y", held=Held.BY_HAND)
    history.cancel("y", held=Held.BY_HAND)
    assert found(history) == {}


def test_a_reopened_task_keeps_its_place() -> None:
    history = History()
    history.accept("x")
    history.start("x", "a")
    history.reopen("x")
    assert found(history) == {}
    elsewhere = history.places["x"]._replace(rank=Rank(True, 2, 9000.0, 9))
    history.change(-1, waiting=elsewhere)
    assert found(history) == {"wrong_place": 1}


def test_a_priority_changes_nothing_else() -> None:
    history = History()
    history.accept("x")
    history.prioritise("x", 1)
    assert found(history) == {}
    waiting = history.rows[-1].waiting
    assert waiting is not None
    history.change(-1, waiting=waiting._replace(rank=waiting.rank._replace(created_at=1.0)))
    assert found(history) == {"wrong_place": 1}
    history.change(-1, waiting=waiting, detail={"before": pack(waiting)})
    assert found(history) == {"wrong_place": 1}
    history.change(-1, detail={})
    assert found(history) == {"bad_row": 1}


def test_rows_say_whether_a_task_was_held() -> None:
    for held, expected in (
        (Held.NOT_BEFORE, {}),
        (Held.BY_HAND, {}),  # a hold of a held task needs no row
        (None, {"wrong_place": 1}),
    ):
        history = History()
        history.accept("x", held=Held.NOT_BEFORE)
        history.cancel("x", held=held)
        assert found(history) == expected


def test_a_blocked_task_has_no_place_to_be_cancelled_from() -> None:
    history = History()
    history.accept("x")
    history.start("x", "a")
    history.block("x")
    history.cancel("x")
    assert found(history) == {}
    history.change(-1, waiting=history.places["x"])  # as if a retry's row were missing
    assert found(history) == {"wrong_place": 1}


def test_a_row_about_a_task_that_nobody_accepted_is_found() -> None:
    history = History()
    history.accept("x")
    history.start("x", "a")
    history.close("x")
    del history.rows[-3]
    # The start, the close, and the task in the store.
    assert found(history) == {"unknown_task": 3}


# -- losses ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", list(Status))
def test_the_store_must_hold_every_task_as_the_rows_left_it(status: Status) -> None:
    history = History()
    history.accept("x")
    if status is not Status.OPEN:
        history.start("x", "a")
    if status is Status.CLOSED:
        history.close("x")
    elif status is Status.BLOCKED:
        history.block("x")
    assert found(history) == {}
    for other in set(Status) - {status}:
        history.stored["x"] = other
        assert found(history) == {"loss": 1}
    del history.stored["x"]
    assert found(history) == {"loss": 1}


def test_a_task_of_the_store_that_no_row_accepted_is_found() -> None:
    for status in Status:
        history = History()
        history.stored["x"] = status
        assert found(history) == {"unknown_task": 1}


# -- dispatchers -----------------------------------------------------------------------------


def restarted(history: History) -> None:
    history.configure(limits={"a": 1, "b": 1})
    history.host("a", "up")
    history.host("b", "up")


def test_the_next_dispatcher_rescues_what_the_dead_one_ran() -> None:
    history = History()
    history.accept("x")
    history.accept("y")
    seen = history.last
    history.start("x", "a", seen=seen)
    history.start("y", "b", seen=seen)
    history.open("d2")
    history.reopen("x", "rescue")
    history.block("y", "rescue")
    restarted(history)
    history.start("x", "a")
    assert found(history) == {}
    del history.rows[-5]  # the block
    assert found(history) == {"not_rescued": 1, "loss": 1}


def test_a_dispatcher_that_ends_the_journal_must_have_rescued_too() -> None:
    history = History()
    history.accept("x")
    history.start("x", "a")
    history.open("d2")
    assert found(history) == {"not_rescued": 1}


def test_a_rescue_that_comes_late_is_none() -> None:
    history = History()
    history.accept("x")
    history.start("x", "a")
    history.open("d2")
    history.reopen("x", "rescue")
    restarted(history)
    assert found(history) == {}
    history.rows[-4], history.rows[-3] = (
        replace(history.rows[-3], position=history.rows[-4].position),
        replace(history.rows[-4], position=history.rows[-3].position),
    )
    assert found(history) == {"not_rescued": 1}


def test_a_dispatcher_begins_with_an_empty_fleet_of_hosts_that_are_down() -> None:
    for steps, expected in ((4, {}), (1, {"bad_host": 1}), (0, {"bad_host": 1})):
        history = History()
        history.row(Kind.PAUSED, host="a", reason="forgotten by the next one")
        history.option("a", "", "down")
        history.accept("x")
        history.open("d2")
        if steps > 0:
            history.configure(limits={"a": 1, "b": 1})
        if steps > 1:
            history.host("a", "up")
        history.start("x", "a")
        assert found(history) == expected


def test_a_dispatcher_begins_knowing_all_rows() -> None:
    history = History()
    history.accept("x")
    seen = history.last
    history.open("d2")
    restarted(history)
    history.start("x", "a", seen=seen)
    assert "bad_seen" in found(history)


def test_nobody_else_starts_tasks() -> None:
    history = History()
    history.accept("x")
    history.open("d2")
    restarted(history)
    history.start("x", "a")
    assert found(history) == {}
    history.change(-1, fence=Fence("d1", 1))
    assert found(history) == {"stale_fence": 1}
    history.change(-1, fence=Fence("d2", 1))
    history.rows.insert(-1, Event(position=history.last - 5, at=0.0, kind=Kind.LEFT))
    assert found(history) == {"stale_fence": 1}


# -- rows ------------------------------------------------------------------------------------


def test_positions_rise() -> None:
    history = History()
    history.accept("x")
    history.accept("y")
    history.change(-1, position=history.rows[-2].position)
    assert found(history) == {"bad_row": 1, "unknown_task": 1}


@pytest.mark.parametrize(
    ("kind", "detail"),
    [
        (Kind.RESIZED, {}),
        (Kind.RESIZED, {"limit": -1}),
        (Kind.RESIZED, {"limit": True}),
        (Kind.HOST, {"mode": "ill"}),
        (Kind.OPTION, {}),
        (Kind.CONFIGURED, {}),
        (Kind.CONFIGURED, {"semaphores": {"a": "c"}, "limits": {}, "routes": {}}),
        (Kind.CONFIGURED, {"semaphores": {}, "limits": {}, "routes": {"code": "a"}}),
        (Kind.CONFIGURED, {"semaphores": {}, "limits": {}, "routes": {"code": ["a"]}}),
    ],
)
def test_a_row_that_can_not_be_read_is_found(kind: Kind, detail: dict[str, Json]) -> None:
    history = History()
    history.row(kind, host="a", detail=detail)
    assert found(history) == {"bad_row": 1}


def test_a_start_without_a_fence_is_found() -> None:
    history = History()
    history.accept("x")
    history.start("x", "a")
    history.change(-1, fence=None)
    assert found(history) == {"bad_row": 1}


def test_an_accept_without_a_place_is_found() -> None:
    history = History()
    history.accept("x")
    history.change(-1, waiting=None)
    assert "bad_row" in found(history)


# -- autoscalers ---------------------------------------------------------------------------------


def scale(history: History, before: int, limit: int) -> None:
    detail: dict[str, Json] = {"before": before, "limit": limit, "by": "n/1", "evidence": {}}
    history.row(Kind.RESIZED, host="a", reason="wait", detail=detail)


def test_an_autoscaler_that_saw_the_limit_may_change_it_also_after_a_restart() -> None:
    history = History()
    scale(history, 1, 3)
    scale(history, 3, 2)
    history.resize("a", 4)
    scale(history, 4, 5)
    history.open("d2")
    history.configure(limits={"a": 5, "b": 1})
    scale(history, 5, 4)
    assert found(history) == {}


def test_an_autoscaler_that_overrides_a_limit_that_it_had_not_seen_is_found() -> None:
    history = History()
    history.resize("a", 4)
    scale(history, 1, 2)
    assert found(history) == {"bad_resize": 1}
    assert "a was resized from 1, but its limit was 4" in str(check(history).findings[0])
    scale(history, 2, 3)  # the next one goes by what there is
    assert found(history) == {"bad_resize": 1}


def test_an_autoscaler_that_overrides_a_pin_is_found() -> None:
    history = History()
    history.row(Kind.PINNED, host="a", detail={"limit": 1})
    scale(history, 1, 2)
    assert found(history) == {"bad_resize": 1}
    history = History()
    history.row(Kind.PINNED, host="a", detail={"limit": 1})
    history.row(Kind.UNPINNED, host="a")
    scale(history, 1, 2)
    assert found(history) == {}


def test_of_resizes_before_the_last_start_that_pruning_left_nothing_is_said() -> None:
    history = History()
    scale(history, 1, 3)
    scale(history, 3, 2)
    horizon = history.rows.pop(-2).position
    assert found(history, first_checked=horizon) == {}
    assert found(history) == {"bad_resize": 1}
    history.open("d2")
    history.configure(limits={"a": 2, "b": 1})
    scale(history, 1, 3)
    assert found(history, first_checked=horizon) == {"bad_resize": 1}


# -- pruning and the report ------------------------------------------------------------------


def test_rows_that_were_partly_pruned_are_folded_and_not_judged() -> None:
    history = History()
    history.accept("gone")
    history.start("gone", "a")
    history.accept("old")
    history.start("old", "b")
    history.close("gone")
    horizon = history.last
    del history.rows[-5]  # the accept of the one that was pruned: the rest of it is left over
    del history.stored["gone"]
    history.accept("x")
    history.start("x", "a")
    assert "unknown_task" in found(history)
    assert found(history, first_checked=horizon) == {}
    assert check(history, first_checked=horizon).starts == 1
    history.change(-1, host="b")  # the fold knows that the old one runs there
    assert found(history, first_checked=horizon) == {"limit_break": 1}


def test_what_is_not_judged_is_not_told() -> None:
    history = History()
    history.accept("x")
    history.row(Kind.ACCEPTED, task="x", waiting=history.places["x"])
    assert found(history, first_checked=history.last - 1) == {"double_accept": 1}
    assert found(history, first_checked=history.last) == {}


def test_a_task_is_known_from_the_rows_that_pruning_left() -> None:
    history = History()
    history.accept("x")
    history.start("x", "a")
    horizon = history.last
    del history.rows[-2]
    history.reopen("x")
    history.start("x", "a")
    assert found(history, first_checked=horizon) == {}
    history.change(-1, fence=Fence("d1", 1))
    assert found(history, first_checked=horizon) == {"bad_attempt": 1}


def test_rows_of_a_closed_task_may_be_gone_if_any_were_pruned() -> None:
    history = History()
    history.stored["x"] = Status.CLOSED
    assert found(history, first_checked=1) == {}
    history.stored["x"] = Status.BLOCKED
    assert found(history, first_checked=1) == {"unknown_task": 1}


def test_a_closed_task_may_be_gone_only_if_it_was_pruned() -> None:
    history = History()
    history.accept("x")
    history.start("x", "a")
    history.close("x")
    del history.stored["x"]
    assert found(history, first_checked=history.last) == {}
    assert found(history, first_checked=history.last - 1) == {"loss": 1}


def test_closed_tasks_are_told_apart_in_great_number() -> None:
    history = History()
    for number in range(3000):
        history.accept(f"t{number}")
        history.cancel(f"t{number}")
    assert found(history) == {}
    history.row(Kind.ACCEPTED, task="t1700", waiting=history.places["t1700"])
    del history.stored["t2999"]
    assert found(history) == {"double_accept": 1, "loss": 1}


def test_a_task_may_change_its_place_without_end() -> None:
    history = History()
    history.accept("x")
    history.accept("y", priority=4)
    history.accept("z", priority=3)
    for step in range(500):
        history.prioritise("x", step % 3)
    history.start("x", "a")
    history.start("z", "b")
    assert found(history) == {}
    history.start("y", "b")
    history.rows.pop(-2)
    assert found(history)["inversion"] == 1


def test_a_report_tells_people_what_was_checked_and_found() -> None:
    history = History()
    history.accept("early")
    history.accept("late")
    history.start("late", "a")
    lines = check(history).lines()
    text = "\n".join(lines)
    assert "starts checked  1" in text
    assert "inversion       1" in text
    assert "loss            0" in text
    assert f"inversion at row {history.last}: task late" in text
    assert lines[-1] == "not clean: 1 finding"
    del history.rows[-1]
    history.stored["late"] = Status.OPEN
    assert check(history).lines()[-1] == "clean"


def test_of_a_wrecked_history_the_first_findings_are_kept_and_all_are_counted() -> None:
    history = History()
    for _ in range(KEPT + 5):
        history.row(Kind.HOST, host="a", detail={})
    report = check(history)
    assert report.counts == {FindingKind.BAD_ROW: KEPT + 5}
    assert len(report.findings) == KEPT
    assert "... and 5 more" in report.lines()


# -- what only the store tells ---------------------------------------------------------------


def compared(history: History, *stored: Stored) -> list[str]:
    """The findings, with the store as it is but for some of its tasks."""
    checker = Checker()
    for row in history.rows:
        checker.feed(row)
    known = {t: Stored(t, status, artifact="a") for t, status in history.stored.items()}
    return [str(f) for f in checker.finish((known | {s.task: s for s in stored}).values()).findings]


def test_a_done_task_must_say_where_its_answer_is() -> None:
    history = History()
    history.accept("x")
    history.start("x", "a")
    history.close("x")
    assert compared(history, Stored("x", Status.CLOSED, Outcome.DONE, "day/x.md")) == []
    for outcome in (Outcome.DONE, None):
        (finding,) = compared(history, Stored("x", Status.CLOSED, outcome))
        assert finding.startswith("no_answer at store: task x is done")


def test_a_cancelled_task_needs_no_answer() -> None:
    history = History()
    history.accept("x")
    history.cancel("x")
    assert compared(history, Stored("x", Status.CLOSED, Outcome.CANCELLED)) == []


def test_a_task_stands_in_the_store_where_its_rows_put_it() -> None:
    history = History()
    history.accept("x", priority=3)
    place = history.places["x"]
    assert compared(history, Stored("x", Status.OPEN, place=place)) == []
    for elsewhere in (
        place._replace(rank=place.rank._replace(priority=0)),
        place._replace(rank=place.rank._replace(not_next=False)),
        place._replace(lane=Lane("chat", "")),
    ):
        (finding,) = compared(history, Stored("x", Status.OPEN, place=elsewhere))
        assert finding.startswith("wrong_place at store: task x stands at ")
        assert re.search(r"created at \d{4}-\d\d-\d\dT[\d:.]+Z, number 0", finding)
    history.prioritise("x", 1)
    assert compared(history, Stored("x", Status.OPEN, place=history.places["x"])) == []


def test_no_two_tasks_of_a_submitter_have_the_same_key() -> None:
    history = History()
    for task in "xyz":
        history.accept(task)
    tasks = [
        Stored("x", Status.OPEN, key=("me", "k")),
        Stored("y", Status.OPEN, key=("you", "k")),
        Stored("z", Status.OPEN, key=("me", "k")),
    ]
    assert compared(history, *tasks[:2]) == []
    (finding,) = compared(history, *tasks)
    assert finding.startswith("double_accept at store: task z another task has its key")


def test_a_task_whose_row_cant_be_read_is_no_lost_one() -> None:
    history = History()
    history.accept("x")
    (finding,) = compared(history, Stored("x", None, trouble="'bogus' is not a valid Status"))
    assert finding == "bad_row at store: task x 'bogus' is not a valid Status"


def numbered(positions: Sequence[int], *, given: int = 0, forgotten: int = 0) -> list[str]:
    checker = Checker(first_checked=forgotten, every_number=True)
    for position in positions:
        checker.feed(Event(position=position, at=0.0, kind=Kind.LEFT))
    return [str(finding) for finding in checker.finish((), given=given).findings]


def test_where_every_number_is_given_a_missing_row_is_a_loss() -> None:
    assert numbered([1, 2, 3], given=3) == []
    assert numbered([2, 7, 8, 9], given=9, forgotten=6) == []
    assert numbered([2], given=6, forgotten=6) == []
    gone = "loss at store: rows 2 to 4 are gone from the journal"
    assert numbered([1, 5, 6], given=6) == [gone]
    assert numbered([1], given=4) == [gone]
    assert numbered([2, 5], given=5, forgotten=3) == [
        "loss at store: row 4 is gone from the journal"
    ]


def test_a_row_that_cant_be_read_is_told_and_the_next_ones_are_read() -> None:
    checker = Checker(every_number=True)
    checker.unreadable(1, "'bogus' is not a valid Kind")
    checker.feed(Event(position=2, at=0.0, kind=Kind.LEFT))
    report = checker.finish((), given=2)
    assert (report.rows, report.last) == (2, 2)
    assert [str(f) for f in report.findings] == ["bad_row at row 1: 'bogus' is not a valid Kind"]
