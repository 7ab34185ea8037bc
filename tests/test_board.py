"""The board told as stories: reloads, moved cards, claims given up, pages, and why not.

That it starts the right task whatever comes is proven in properties/test_dispatching.py; here each
rule of a reload, and each reason why a task does not start, stands by itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import pytest

from ygg.assignment import assign
from ygg.backlog import BEFORE_ALL
from ygg.board import Board, LaneState, Reason, configuration_detail
from ygg.fleet import Option
from ygg.health import Mode
from ygg.journal import Event, Kind, pack
from ygg.tasks import Fence, Held, Json, Lane, Rank, Waiting

pytestmark = pytest.mark.pure

A, B, C = Option("a", "m"), Option("b", "m"), Option("c", "m")
GENERAL: Final = Lane("general")
Starts = list[tuple[str, str]]


def waiting(task_id: str, *, priority: int = 2, born: float = 0.0, type: str = "general",
            model: str = "", sequence: int = 0) -> Waiting:  # fmt: skip
    return Waiting(task_id, Lane(type, model), Rank(True, priority, born, sequence))


class Told:
    """A board, and the rows that it is told, as a store would commit them."""

    def __init__(self) -> None:
        self.board = Board()
        self.places: dict[str, Waiting] = {}

    def tell(
        self,
        kind: Kind,
        *,
        task: str = "",
        option: Option = Option("", ""),
        reason: str = "",
        place: Waiting | None = None,
        held: Held | None = None,
        fence: Fence | None = None,
        detail: Mapping[str, Json] | None = None,
    ) -> None:
        as_stored = json.loads(json.dumps(detail or {}))
        self.board.apply(
            Event(
                position=self.board.seen + 1, at=0.0, kind=kind, task=task, host=option.host,
                model=option.model, fence=fence, reason=reason, waiting=place, held=held,
                detail=as_stored,
            )
        )  # fmt: skip

    def fleet(
        self,
        limits: Mapping[str, int],
        *,
        shares: Mapping[str, str] | None = None,
        routes: Mapping[str, Sequence[Option]] | None = None,
    ) -> None:
        """hosts.yaml from here on; by default every host serves `general`, in order. All are up."""
        cards = {name: name for name in limits} | dict(shares or {})
        every = [Option(host, "m") for host in cards]
        detail = configuration_detail(cards, limits, routes or {"general": every})
        self.tell(Kind.CONFIGURED, detail=detail)
        for host in cards:
            self.host(host, Mode.UP)

    def host(self, name: str, mode: Mode) -> None:
        self.tell(Kind.HOST, option=Option(name), reason="said so", detail={"mode": mode.value})

    def option(self, option: Option, mode: Mode) -> None:
        self.tell(Kind.OPTION, option=option, reason="said so", detail={"mode": mode.value})

    def resize(self, name: str, limit: int) -> None:
        self.tell(Kind.RESIZED, option=Option(name), detail={"limit": limit})

    def accept(self, *ids: str, priority: int = 2, type: str = "general", model: str = "") -> None:
        for task_id in ids:
            place = waiting(task_id, priority=priority, born=float(self.board.seen), type=type,
                            model=model, sequence=self.board.seen)  # fmt: skip
            self.places[task_id] = place
            self.tell(Kind.ACCEPTED, task=task_id, place=place)

    def prioritise(self, task_id: str, priority: int, *, held: Held | None = None) -> None:
        before = self.places[task_id]
        place = before._replace(rank=before.rank._replace(priority=priority))
        self.places[task_id] = place
        detail = {"before": pack(before)}
        self.tell(Kind.PRIORITISED, task=task_id, place=place, held=held, detail=detail)

    def end(self, *ids: str) -> None:
        for task_id in ids:
            self.tell(Kind.CLOSED, task=task_id, fence=Fence("d", 1))

    def starts(self) -> Starts:
        """What `assign` decides, carried out: each start's claim is written."""
        decided = assign(self.board)
        for start in decided:
            place = start.waiting
            self.tell(Kind.STARTED, task=place.id, option=start.option, place=place,
                      fence=Fence("d", 1))  # fmt: skip
        return [(start.waiting.id, start.option.host) for start in decided]

    def in_use(self, card: str) -> int:
        return self.board.semaphores[card].slots.active


# -- limits ----------------------------------------------------------------------------------------


def test_four_two_four_under_load_on_a_shared_card_lets_nobody_in() -> None:
    told = Told()
    told.fleet({"a": 4}, shares={"b": "a"})
    told.accept(*(f"t{n}" for n in range(12)))
    assert len(told.starts()) == 4
    for limit in (2, 4):
        told.resize("a", limit)
        assert told.starts() == []
    told.end("t0")
    assert told.starts() == [("t4", "a")]
    assert told.in_use("a") == 4


def test_a_shrink_kills_nothing_and_starts_nothing_until_the_card_is_under_its_limit() -> None:
    told = Told()
    told.fleet({"a": 3})
    told.accept("t0", "t1", "t2", "t3", "t4")
    told.starts()
    told.resize("a", 1)
    assert told.in_use("a") == 3
    for ended in ("t0", "t1"):
        told.end(ended)
        assert told.starts() == []
    told.end("t2")
    assert told.starts() == [("t3", "a")]


def test_a_growth_starts_at_once_what_it_has_room_for() -> None:
    told = Told()
    told.fleet({"a": 1})
    told.accept("t0", "t1", "t2", "t3")
    assert told.starts() == [("t0", "a")]
    told.resize("a", 3)
    assert told.starts() == [("t1", "a"), ("t2", "a")]


def test_hosts_of_one_card_count_together_and_each_for_itself() -> None:
    told = Told()
    routes = {"general": [A], "reasoning": [B]}
    told.fleet({"a": 2}, shares={"b": "a"}, routes=routes)
    told.accept("r0", "r1", type="reasoning")
    told.accept("g0")
    assert told.starts() == [("r0", "b"), ("r1", "b")]
    assert (told.board.hosts["a"].active, told.board.hosts["b"].active) == (0, 2)
    assert told.board.may_run(GENERAL, None, A) is Reason.NO_SLOT
    told.end("r1")
    assert told.starts() == [("g0", "a")]


# -- reloads ---------------------------------------------------------------------------------------


def test_a_host_that_left_the_file_ends_what_it_runs_and_is_forgotten() -> None:
    told = Told()
    told.fleet({"a": 2, "b": 1})
    told.accept("t0", "t1", "t2", "t3")
    assert told.starts() == [("t0", "a"), ("t1", "a"), ("t2", "b")]
    told.fleet({"b": 1})
    assert told.board.hosts["a"].removed
    told.end("t0")
    assert told.starts() == [], "the slot it gave back is gone"
    assert told.board.hosts["a"].active == 1
    told.end("t1")
    assert set(told.board.hosts) == {"b"}
    told.end("t2")
    assert told.starts() == [("t3", "b")]


def test_a_host_that_returns_still_at_work_counts_what_it_runs() -> None:
    told = Told()
    told.fleet({"a": 2, "b": 1})
    told.accept("t0", "t1", "t2")
    told.starts()
    told.fleet({"b": 1})
    told.fleet({"a": 2, "b": 1})
    told.accept("t3")
    assert told.starts() == []
    told.end("t0")
    assert told.starts() == [("t3", "a")]


def test_a_host_that_returns_after_it_ended_all_is_new_and_not_asked_yet() -> None:
    told = Told()
    told.fleet({"a": 1, "b": 1})
    told.tell(Kind.PAUSED, option=A, reason="by hand")
    told.fleet({"b": 1})
    detail = configuration_detail({"a": "a", "b": "b"}, {"a": 1, "b": 1}, {"general": [A, B]})
    told.tell(Kind.CONFIGURED, detail=detail)
    state = told.board.hosts["a"]
    assert (state.mode, state.paused) == (Mode.DOWN, None)


def test_what_runs_on_a_host_that_changed_its_card_counts_on_the_new_one() -> None:
    told = Told()
    told.fleet({"a": 1, "b": 2})
    told.accept("t0", "t1", "t2", "t3")
    assert told.starts() == [("t0", "a"), ("t1", "b"), ("t2", "b")]
    told.fleet({"a": 3}, shares={"b": "a"})
    assert told.in_use("a") == 3
    assert set(told.board.semaphores) == {"a"}, "nobody uses b's any more"
    assert told.starts() == []
    told.end("t1")
    assert told.starts() == [("t3", "a")]
    assert told.in_use("a") == 3


def test_what_runs_on_a_host_that_left_still_counts_on_the_card_that_stays() -> None:
    told = Told()
    told.fleet({"a": 2}, shares={"b": "a"}, routes={"general": [B, A]})
    told.accept("t0", "t1", "t2")
    assert told.starts() == [("t0", "b"), ("t1", "b")]
    told.fleet({"a": 2})
    assert told.starts() == []
    told.end("t0")
    assert told.starts() == [("t2", "a")]


def test_a_card_whose_last_host_left_is_kept_until_its_tasks_end() -> None:
    told = Told()
    told.fleet({"a": 1, "b": 1})
    told.accept("t0", "t1")
    told.starts()
    told.fleet({"b": 1})
    assert told.in_use("a") == 1
    told.end("t0")
    told.fleet({"b": 1})
    assert set(told.board.semaphores) == {"b"}


def test_waiting_tasks_follow_their_types_new_route_in_its_order() -> None:
    told = Told()
    told.fleet({"a": 1, "b": 1, "c": 1}, routes={"general": [A]})
    told.accept("t0", "t1", "t2")
    assert told.starts() == [("t0", "a")]
    told.fleet({"a": 1, "b": 1, "c": 1}, routes={"general": [C, B]})
    assert told.starts() == [("t1", "c"), ("t2", "b")]


def test_a_type_without_hosts_waits_as_no_host_and_starts_when_one_returns() -> None:
    told = Told()
    told.fleet({"a": 2}, routes={"general": [A], "reasoning": [A]})
    told.fleet({"a": 2}, routes={"general": [A]})
    told.accept("r0", type="reasoning")
    told.accept("g0", priority=4)
    assert told.starts() == [("g0", "a")]
    assert told.board.options_of(Lane("reasoning")) == ()
    assert told.board.may_run(Lane("reasoning"), None, A) is Reason.NO_HOST
    told.fleet({"a": 2}, routes={"general": [A], "reasoning": [A]})
    assert told.starts() == [("r0", "a")]


def test_a_task_that_asks_for_a_model_runs_where_the_route_has_it() -> None:
    told = Told()
    small, large = Option("a", "small"), Option("b", "large")
    told.fleet({"a": 1, "b": 1}, routes={"general": [small, large]})
    told.accept("t0", model="large")
    told.accept("t1", model="large")
    told.accept("t2")
    assert told.starts() == [("t0", "b"), ("t2", "a")]
    assert told.board.options_of(Lane("general", "large")) == (large,)
    assert told.board.options_of(Lane("general", "none")) == ()


def test_a_reload_keeps_limits_that_it_names_and_health_pauses_and_claims() -> None:
    told = Told()
    told.fleet({"a": 2})
    told.accept("t0")
    told.starts()
    told.tell(Kind.PAUSED, option=A, reason="a fan is broken")
    detail = configuration_detail({"a": "a"}, {"a": 3}, {"general": [A]})
    told.tell(Kind.CONFIGURED, detail=detail)
    state = told.board.hosts["a"]
    assert (state.mode, state.paused, state.active) == (Mode.UP, "a fan is broken", 1)
    assert (told.board.semaphores["a"].slots.limit, told.in_use("a")) == (3, 1)


@pytest.mark.parametrize("kind", [Kind.RESIZED, Kind.PAUSED, Kind.RESUMED, Kind.HOST, Kind.OPTION])
def test_a_row_about_a_host_that_a_reload_took_away_changes_nothing(kind: Kind) -> None:
    told = Told()
    told.fleet({"a": 1})
    told.tell(kind, option=Option("gone", "m"), detail={"limit": 5, "mode": "up"})
    assert (set(told.board.hosts), set(told.board.semaphores)) == ({"a"}, {"a"})


def test_rows_come_in_order_and_each_once() -> None:
    told = Told()
    told.fleet({"a": 1})
    again = Event(position=told.board.seen, at=0.0, kind=Kind.LEFT)
    with pytest.raises(AssertionError, match="after"):
        told.board.apply(again)


# -- starts that could not be claimed --------------------------------------------------------------


def test_a_claim_that_was_given_up_puts_its_task_back_in_its_place() -> None:
    told = Told()
    told.fleet({"a": 1})
    told.accept("t0", "t1")
    assign(told.board)
    told.board.untake("t0")
    assert told.in_use("a") == 0
    assert told.starts() == [("t0", "a")]


def test_what_was_held_while_it_was_being_claimed_does_not_come_back_when_the_claim_is_given_up() -> (
    None
):
    told = Told()
    told.fleet({"a": 1})
    told.accept("t0", "t1")
    assign(told.board)
    told.tell(Kind.HELD, task="t0", place=told.places["t0"], held=Held.BY_HAND)
    told.board.untake("t0")
    assert told.starts() == [("t1", "a")]
    told.end("t1")
    told.tell(Kind.RELEASED, task="t0", place=told.places["t0"])
    assert told.starts() == [("t0", "a")]


def test_what_was_held_and_released_while_it_was_being_claimed_comes_back() -> None:
    told = Told()
    told.fleet({"a": 1})
    told.accept("t0")
    assign(told.board)
    told.tell(Kind.HELD, task="t0", place=told.places["t0"], held=Held.BY_HAND)
    told.tell(Kind.RELEASED, task="t0", place=told.places["t0"])
    told.board.untake("t0")
    assert told.starts() == [("t0", "a")]


def test_a_claim_that_missed_gives_its_slot_back_and_brings_nothing_back() -> None:
    told = Told()
    told.fleet({"a": 1})
    told.accept("t0", "t1")
    assign(told.board)
    told.tell(Kind.CANCELLED, task="t0", place=told.places["t0"])
    told.tell(Kind.MISSED, task="t0", option=A)
    assert told.starts() == [("t1", "a")]
    assert not told.board.backlog.waiting


def test_a_damaged_task_leaves_the_backlog_and_no_page_brings_it_back() -> None:
    told = Told()
    told.fleet({"a": 1})
    told.accept("t0", "t1")
    assign(told.board)
    told.tell(Kind.MISSED, task="t0", option=A, reason="damaged", detail={"error": "why"})
    assert told.board.damaged == {"t0": "why"}
    lane = told.board.lane_state(told.places["t0"].lane)
    lane.queue.horizon = BEFORE_ALL
    lane.queue.reading()
    told.board.loaded(lane, [told.places["t0"]], complete=True)
    assert told.starts() == [("t1", "a")]
    assert not told.board.backlog.waiting


@pytest.mark.parametrize("kind", [Kind.HELD, Kind.CANCELLED, Kind.PRIORITISED])
def test_a_damaged_task_that_was_mended_is_as_any_other(kind: Kind) -> None:
    told = Told()
    told.fleet({"a": 1})
    told.accept("t0")
    assign(told.board)
    told.tell(Kind.MISSED, task="t0", option=A, reason="damaged")
    place = told.places["t0"]
    held = Held.BY_HAND if kind is Kind.HELD else None
    told.tell(kind, task="t0", place=place, held=held, detail={"before": pack(place)})
    assert not told.board.damaged
    if kind is Kind.HELD:
        told.tell(Kind.RELEASED, task="t0", place=place)
    assert told.starts() == ([] if kind is Kind.CANCELLED else [("t0", "a")])
    assert not told.board.backlog.waiting


def test_a_start_of_another_dispatcher_takes_the_task_out_of_the_backlog() -> None:
    told = Told()
    told.fleet({"a": 1})
    told.accept("t0", "t1")
    told.tell(Kind.STARTED, task="t0", place=told.places["t0"], fence=Fence("other", 1))
    assert told.starts() == [("t1", "a")]


# -- changed priorities ----------------------------------------------------------------------------


def test_a_task_whose_priority_rose_goes_before_those_that_were_first() -> None:
    told = Told()
    told.fleet({"a": 1})
    told.accept("t0", "t1", "t2")
    told.prioritise("t2", 0)
    assert told.starts() == [("t2", "a")]
    assert told.board.backlog.waiting == {(GENERAL, 2): 2}


def test_a_priority_changed_while_its_task_is_being_claimed_counts_when_it_comes_back() -> None:
    told = Told()
    told.fleet({"a": 1})
    told.accept("t0", "t1")
    assign(told.board)
    told.prioritise("t0", 4)
    told.board.untake("t0")
    assert told.starts() == [("t1", "a")]
    assert told.board.backlog.waiting == {(GENERAL, 4): 1}


def test_a_held_task_may_change_its_priority_and_stays_held() -> None:
    told = Told()
    told.fleet({"a": 1})
    told.accept("t0")
    told.tell(Kind.HELD, task="t0", place=told.places["t0"], held=Held.BY_HAND)
    told.prioritise("t0", 0, held=Held.BY_HAND)
    assert told.starts() == []
    assert not told.board.backlog.waiting


# -- pages -----------------------------------------------------------------------------------------


def stored(count: int) -> tuple[Told, list[Waiting], LaneState]:
    """A board that was told of tasks in the store, and has read none of them."""
    told = Told()
    rows = [waiting(f"t{n:04}", born=float(n), sequence=n) for n in range(count)]
    told.board.backlog.restore({(GENERAL, 2): count})
    told.fleet({"a": 1})
    return told, rows, told.board.lanes[GENERAL]


def read(told: Told, lane: LaneState, rows: Sequence[Waiting]) -> None:
    """A page of the store, as the dispatcher reads it."""
    after, limit = lane.queue.reading(), lane.queue.page
    page = [row for row in rows if row.rank > after][:limit]
    told.board.loaded(lane, page, complete=len(page) < limit)


def test_what_was_not_read_yet_is_asked_for_and_holds_its_lane_until_it_comes() -> None:
    told, rows, lane = stored(3)
    told.accept("urgent", priority=0)
    assert told.starts() == [], "something more urgent may be in the store"
    assert told.board.short_lanes() == [lane]
    assert told.board.short_lanes() == [], "once is enough"
    read(told, lane, [told.places["urgent"], *rows])
    assert told.starts() == [("urgent", "a")]


def test_a_page_is_asked_for_before_the_lane_runs_dry() -> None:
    told, rows, lane = stored(1000)
    told.board.short_lanes()
    read(told, lane, rows)
    held, started = len(lane.queue), 0
    while not told.board.short_lanes():
        ((task_id, _),) = told.starts()
        assert task_id == f"t{started:04}"
        told.end(task_id)
        started += 1
    assert not lane.queue.dry
    assert started < held


def test_a_dry_lane_holds_up_no_host_that_it_can_not_use() -> None:
    told = Told()
    told.board.backlog.restore({(GENERAL, 2): 5})
    told.fleet({"a": 1, "b": 1}, routes={"general": [A], "reasoning": [B]})
    told.host("a", Mode.DOWN)
    told.accept("r0", type="reasoning")
    assert told.starts() == [("r0", "b")]


def claimed_with_more_in_the_store() -> tuple[Told, list[Waiting], LaneState]:
    """t0000 starts; t0001 is in the store alone, and so is, for who looks too early, t0000."""
    told, rows, lane = stored(2)
    told.resize("a", 2)
    told.board.short_lanes()
    read(told, lane, rows[:1])
    lane.queue.horizon = BEFORE_ALL
    assert told.starts() == [("t0000", "a")]
    lane.queue.reading()
    return told, rows, lane


def test_a_page_read_before_a_claim_was_written_does_not_start_its_task_again() -> None:
    told, rows, lane = claimed_with_more_in_the_store()
    told.board.loaded(lane, rows, complete=True)
    assert told.starts() == [("t0001", "a")]


def test_a_page_read_before_a_claim_does_not_bring_its_task_back_after_its_end() -> None:
    told, rows, lane = claimed_with_more_in_the_store()
    told.end("t0000")
    told.board.loaded(lane, rows, complete=True)
    assert told.starts() == [("t0001", "a")]


def test_after_a_page_that_failed_every_lane_is_looked_at_again() -> None:
    told, rows, lane = stored(1)
    told.starts()
    told.board.short_lanes()
    lane.queue.reading()
    lane.queue.reading_failed()
    assert told.board.short_lanes() == []
    told.board.look_at_all()
    assert told.starts() == []
    assert told.board.short_lanes() == [lane]
    read(told, lane, rows)
    assert told.starts() == [("t0000", "a")]


def test_should_an_event_ever_be_missed_looking_at_all_finds_what_may_start() -> None:
    told = Told()
    told.fleet({"a": 1})
    told.accept("t0")
    told.board.dirty.clear()
    assert told.starts() == []
    told.board.look_at_all()
    assert told.starts() == [("t0", "a")]


# -- why not ---------------------------------------------------------------------------------------


def trial(told: Told) -> None:
    told.accept("first")
    told.host("a", Mode.TRIAL)
    told.starts()


def option_trial(told: Told) -> None:
    told.accept("first")
    told.option(A, Mode.TRIAL)
    told.starts()


def full(told: Told) -> None:
    told.accept("t0", "t1")
    told.starts()


def stop(reason: Reason) -> Callable[[Told], None]:
    def stopped(told: Told) -> None:
        told.board.stopped = reason

    return stopped


def nothing(_: Told) -> None:
    """Held tasks need no more."""


#: How each reason comes about, on a board with one host of two slots that is well.
WHY_NOT: Final[Mapping[Reason, tuple[Callable[[Told], None], Held | None]]] = {
    Reason.HELD: (nothing, Held.BY_HAND),
    Reason.NOT_BEFORE: (nothing, Held.NOT_BEFORE),
    Reason.WAITING_FOR_SOURCE: (nothing, Held.FOR_SOURCE),
    Reason.NO_HOST: (lambda told: told.fleet({"b": 2}), None),
    Reason.DRAINING: (stop(Reason.DRAINING), None),
    Reason.STORE: (stop(Reason.STORE), None),
    Reason.HOST_DOWN: (lambda told: told.host("a", Mode.DOWN), None),
    Reason.HOST_RESTING: (lambda told: told.host("a", Mode.RESTING), None),
    Reason.HOST_TRIAL: (trial, None),
    Reason.PAUSED: (lambda told: told.tell(Kind.PAUSED, option=A, reason="x"), None),
    Reason.OPTION_DOWN: (lambda told: told.option(A, Mode.DOWN), None),
    Reason.OPTION_TRIAL: (option_trial, None),
    Reason.NO_SLOT: (full, None),
}


def test_every_reason_of_the_closed_list_has_its_story() -> None:
    assert set(WHY_NOT) == set(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_why_a_task_does_not_start_is_the_one_reason_that_holds_it(reason: Reason) -> None:
    told = Told()
    told.fleet({"a": 2})
    assert told.board.may_run(GENERAL, None, A) is None
    come_about, held = WHY_NOT[reason]
    come_about(told)
    assert told.board.may_run(GENERAL, held, A) is reason
    assert told.board.why(GENERAL, held).get(A, reason) is reason
    if held is None:
        told.accept("late")
        assert told.starts() == [] if reason is not Reason.NO_HOST else [("late", "b")]


def test_a_host_on_trial_takes_one_task_and_all_once_that_ended_well() -> None:
    told = Told()
    told.fleet({"a": 3})
    told.host("a", Mode.TRIAL)
    told.accept("t0", "t1", "t2", "t3")
    assert told.starts() == [("t0", "a")]
    told.end("t0")
    told.host("a", Mode.UP)
    assert told.starts() == [("t1", "a"), ("t2", "a"), ("t3", "a")]


def test_a_handler_of_a_types_own_is_well_or_not_by_itself() -> None:
    told = Told()
    ocr = Option("a", "m", "ocr")
    told.fleet({"a": 9}, routes={"general": [A], "ocr": [ocr]})
    told.tell(Kind.OPTION, option=ocr, detail={"mode": "down", "type": "ocr"})
    told.accept("o0", type="ocr")
    told.accept("g0")
    assert told.starts() == [("g0", "a")]
    assert told.board.may_run(Lane("ocr"), None, ocr) is Reason.OPTION_DOWN
    told.tell(Kind.OPTION, option=ocr, detail={"mode": "up", "type": "ocr"})
    told.option(A, Mode.DOWN)
    told.accept("g1")
    assert told.starts() == [("o0", "a")]


def test_a_host_on_trial_is_tried_by_its_models_and_handlers_run_beside() -> None:
    told = Told()
    told.fleet({"a": 9}, routes={"general": [A], "ocr": [Option("a", "m", "ocr")]})
    told.host("a", Mode.TRIAL)
    told.accept("o0", "o1", type="ocr", priority=1)
    told.accept("g0", "g1")
    assert told.starts() == [("o0", "a"), ("o1", "a"), ("g0", "a")]
    told.accept("o2", type="ocr", priority=1)
    assert told.starts() == [("o2", "a")]


def test_the_first_option_in_health_with_a_free_slot_is_taken() -> None:
    told = Told()
    told.fleet({"a": 1, "b": 1, "c": 1})
    told.host("a", Mode.DOWN)
    told.accept("t0", "t1")
    assert told.starts() == [("t0", "b"), ("t1", "c")]
    told.host("a", Mode.UP)
    told.end("t0", "t1")
    told.accept("t2")
    assert told.starts() == [("t2", "a")]
