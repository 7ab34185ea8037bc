"""Every metric of the design's table: the right value after the rows that tell of it.

The rows are real: the store's own operations write them, board and metrics follow, as in the
daemon. That a real Prometheus reads the page is shown in system/test_prometheus.py.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from tests.worlds import draft, fleet
from ygg import metrics as metrics_module
from ygg.assignment import Start, assign
from ygg.board import Board, configuration_detail
from ygg.faults import Cause
from ygg.fleet import Fleet, HostSettings, SlotSettings
from ygg.health import Mode
from ygg.journal import DRAINED, Event, Kind, Note
from ygg.metrics import BoardCollector, Metrics
from ygg.stores.base import HostRow
from ygg.stores.memory import MemoryTables
from ygg.stores.operations import Operations
from ygg.tasks import Draft, Held, Outcome, Status, Task
from ygg.version import VERSION

pytestmark = pytest.mark.pure

#: The design's table as far as the dispatcher goes: names, and the labels of each.
TABLE: Final[Mapping[str, set[str]]] = {
    "ygg_tasks_accepted_total": {"type", "priority"},
    "ygg_tasks_finished_total": {"host", "type", "outcome"},
    "ygg_tasks_waiting": {"type", "priority"},
    "ygg_tasks_blocked": {"reason"},
    "ygg_oldest_wait_seconds": {"priority"},
    "ygg_host_demand_tasks": {"host"},
    "ygg_host_oldest_wait_seconds": {"host"},
    "ygg_task_wait_seconds": {"priority"},
    "ygg_task_run_seconds": {"type"},
    "ygg_host_run_seconds_total": {"host"},
    "ygg_host_runs_total": {"host"},
    "ygg_tokens_total": {"host", "direction"},
    "ygg_answers_cut_total": {"host", "type"},
    "ygg_host_server_wait_seconds_total": {"host"},
    "ygg_host_failures_total": {"host", "reason"},
    "ygg_host_model_memory_bytes": {"host"},
    "ygg_host_up": {"host"},
    "ygg_host_paused": {"host"},
    "ygg_host_slots_limit": {"host"},
    "ygg_host_slots_active": {"host"},
    "ygg_host_slots_available": {"host"},
    "ygg_host_blocked_in_a_row": {"host"},
    "ygg_host_slots_min": {"host"},
    "ygg_host_slots_max": {"host"},
    "ygg_host_slots_pinned": {"host"},
    "ygg_host_resizes_total": {"host", "direction", "reason"},
    "ygg_store_seconds": {"store", "operation"},
    "ygg_outbox_waiting": {"sink"},
    "ygg_config_last_reload_successful": set(),
    "ygg_config_last_reload_timestamp_seconds": set(),
    "ygg_loop_lag_seconds": set(),
    "ygg_build_info": {"version"},
    "ygg_invariant_violations_total": set(),
}
#: No sink is told of anything yet, so it has no series.
WITHOUT_SERIES: Final = {"ygg_outbox_waiting"}
HISTOGRAM_PARTS: Final = ("_bucket", "_count", "_sum")


@dataclass
class Daemon:
    """Store, board and metrics, joined as the daemon joins them; the clock is set by hand."""

    fleet: Fleet = field(default_factory=lambda: fleet({"a": 2, "b": 1}))
    now: float = 1000.0
    uptime: float = 0.0

    def __post_init__(self) -> None:
        self.tables = MemoryTables()
        self.ops = Operations(self.tables)
        self.board = Board()
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry, monotonic=lambda: self.uptime)
        self.rows: dict[str, HostRow] = {}
        self.memory: dict[str, int] = {}
        self.servers: dict[str, int] = {}
        self.collector = BoardCollector(
            board=self.board, fleet=lambda: self.fleet, host_rows=lambda: self.rows,
            memory=lambda: self.memory, wall=lambda: self.now, server=self.servers.get,
            in_a_row=self.metrics.blocked_in_a_row,
        )  # fmt: skip
        self.registry.register(self.collector)
        restored = self.ops.open(owner="d1", now=self.now, max_strikes=3, once=())
        self.ops.events.clear()
        self.board.seen = restored.position
        self.configure(self.fleet)

    # -- what happens --------------------------------------------------------------------------

    def committed(self) -> None:
        events: Sequence[Event] = list(self.ops.events)
        self.ops.events.clear()
        for event in events:
            self.board.apply(event)
            if event.host and not event.task:
                row = self.rows.get(event.host, HostRow())
                self.rows[event.host] = row.after(event.kind, event.reason, event.detail)
        self.metrics.absorb(events)

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.uptime += seconds

    def note(self, kind: Kind, host: str, reason: str = "", **detail: int | str) -> None:
        self.ops.note([Note(kind=kind, host=host, reason=reason, detail=detail)], now=self.now)
        self.committed()

    def configure(self, settings: Fleet) -> None:
        self.fleet = settings
        cards = {name: host.semaphore for name, host in settings.hosts.items()}
        limits = {card: settings.hosts[card].slots.start for card in cards.values()}
        detail = configuration_detail(cards, limits, settings.routes)
        self.ops.note([Note(kind=Kind.CONFIGURED, detail=detail)], now=self.now)
        self.committed()
        for host in settings.hosts:
            self.is_(host, Mode.UP)

    def is_(self, host: str, mode: Mode) -> None:
        self.note(Kind.HOST, host, mode=mode.value)

    def accept(self, *drafts: Draft) -> list[str]:
        born = [self.born(one) for one in drafts]
        added = self.ops.add(born, now=self.now)
        self.committed()
        return [one.task.id for one in added]

    def born(self, one: Draft) -> Draft:
        return Draft(
            id=one.id, title=one.title, type=one.type, priority=one.priority, held=one.held,
            model=one.model, created_at=self.now, not_before=one.not_before,
        )  # fmt: skip

    def starts(self) -> list[Start]:
        decided = assign(self.board)
        for start in decided:
            self.ops.claim(start.waiting.id, option=start.option, seen=start.seen, now=self.now)
            self.committed()
        return decided

    def task(self, task_id: str) -> Task:
        task = self.tables.load(task_id)
        assert task is not None
        return task

    def finish(self, task_id: str, outcome: Outcome = Outcome.DONE, **answer: float | str) -> None:
        self.ops.finish(
            task_id, self.task(task_id).fence, artifact="path", answer=answer, outcome=outcome,
            now=self.now, notes=(),
        )  # fmt: skip
        self.committed()

    def block(self, task_id: str, cause: Cause = Cause.BAD_REQUEST, *, strike: bool = False,
              error: str = "why") -> None:  # fmt: skip
        self.ops.block(
            task_id, self.task(task_id).fence, error=error, reason=cause.value, strike=strike,
            now=self.now, notes=(),
        )  # fmt: skip
        self.committed()

    def drain(self, task_id: str) -> None:
        self.ops.block(
            task_id, self.task(task_id).fence, error=f"{DRAINED}: in the midst of it",
            reason=DRAINED, strike=False, now=self.now, notes=(),
        )  # fmt: skip
        self.committed()

    def reopen(self, task_id: str, cause: Cause = Cause.RESET, *, strike: bool = True) -> None:
        self.ops.reopen(
            task_id, self.task(task_id).fence, error="why", reason=cause.value, strike=strike,
            max_strikes=3, now=self.now, notes=(),
        )  # fmt: skip
        self.committed()

    # -- what is scraped -----------------------------------------------------------------------

    def look(self) -> None:
        self.collector.oldest = self.tables.oldest()
        overview = self.tables.overview()
        blocked = overview.by_status.get(Status.BLOCKED, 0)
        self.collector.blocked = overview.drained, blocked - overview.drained

    def value(self, name: str, **labels: str) -> float | None:
        self.look()
        return self.registry.get_sample_value(name, labels)

    def series(self, name: str) -> dict[tuple[str, ...], float]:
        """Of one metric, its values by the values of its labels, in the labels' order."""
        self.look()
        return {
            tuple(sample.labels[label] for label in sorted(sample.labels)): sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == name
        }


def two_running() -> tuple[Daemon, str, str]:
    daemon = Daemon()
    one, other = daemon.accept(draft(type="general"), draft(type="reasoning", priority=0))
    daemon.starts()
    return daemon, one, other


# -- tasks -----------------------------------------------------------------------------------------


def test_accepted_counts_by_type_and_priority() -> None:
    daemon = Daemon()
    daemon.accept(draft(), draft(priority=0), draft(priority=0), draft(type="reasoning"))
    assert daemon.series("ygg_tasks_accepted_total") == {
        ("2", "general"): 1, ("0", "general"): 2, ("2", "reasoning"): 1,
    }  # fmt: skip


def test_a_repeated_submit_is_accepted_once() -> None:
    daemon = Daemon()
    again = draft()
    assert daemon.accept(again) == daemon.accept(again)
    assert daemon.value("ygg_tasks_accepted_total", type="general", priority="2") == 1


def test_finished_counts_ended_attempts_by_what_became_of_the_task() -> None:
    daemon = Daemon(fleet({"a": 4}))
    done, blocked, reopened, cancelled = daemon.accept(*(draft() for _ in range(4)))
    daemon.starts()
    daemon.finish(done)
    daemon.block(blocked)
    daemon.reopen(reopened)
    daemon.finish(cancelled, Outcome.CANCELLED)
    assert daemon.series("ygg_tasks_finished_total") == {
        ("a", outcome, "general"): 1 for outcome in ("closed", "blocked", "reopened", "cancelled")
    }
    assert daemon.value("ygg_host_runs_total", host="a") == 4


def test_what_ends_without_an_attempt_counts_for_no_host() -> None:
    daemon = Daemon()
    (waits,) = daemon.accept(draft())
    daemon.ops.cancel(waits, now=daemon.now)
    daemon.committed()
    (blocked,) = daemon.accept(draft())
    daemon.starts()
    daemon.block(blocked)
    daemon.ops.retry([blocked], now=daemon.now)  # a reopen, and no attempt's end
    daemon.committed()
    assert daemon.series("ygg_tasks_finished_total") == {("a", "blocked", "general"): 1}
    assert daemon.series("ygg_host_runs_total") == {("a",): 1}


def test_an_attempt_that_a_dead_dispatcher_left_is_not_counted_as_ended_here() -> None:
    daemon, _, _ = two_running()
    after = Metrics(CollectorRegistry(), monotonic=lambda: 0.0)
    daemon.ops.open(owner="d2", now=daemon.now, max_strikes=3, once=())
    assert [e.kind for e in daemon.ops.events] == [Kind.OPENED, Kind.REOPENED, Kind.REOPENED]
    after.absorb(daemon.ops.events)
    assert after.registry.get_sample_value("ygg_host_runs_total", {"host": "a"}) is None


def test_runs_are_measured_from_start_to_end_by_the_monotonic_clock() -> None:
    daemon, one, other = two_running()
    daemon.passes(30.0)
    daemon.now -= 3600.0  # somebody set the wall clock back
    daemon.finish(one)
    daemon.passes(60.0)
    daemon.reopen(other)
    # Both ran on the first option.
    assert daemon.series("ygg_host_run_seconds_total") == {("a",): 30.0 + 90.0}
    assert daemon.series("ygg_task_run_seconds_sum") == {("general",): 30.0, ("reasoning",): 90.0}
    assert daemon.value("ygg_task_run_seconds_bucket", type="general", le="30.0") == 1
    assert daemon.value("ygg_task_run_seconds_bucket", type="general", le="10.0") == 0


def test_a_wait_is_from_creation_to_start_by_priority() -> None:
    daemon = Daemon(fleet({"a": 1}))
    daemon.accept(draft(priority=0))
    (low,) = daemon.accept(draft(priority=3))
    ((first),) = daemon.starts()
    daemon.passes(7.0)
    daemon.finish(first.waiting.id)
    assert [start.waiting.id for start in daemon.starts()] == [low]
    assert daemon.series("ygg_task_wait_seconds_sum") == {("0",): 0.0, ("3",): 7.0}
    assert daemon.series("ygg_task_wait_seconds_count") == {("0",): 1, ("3",): 1}


def test_the_wait_of_a_task_that_came_back_is_from_its_return() -> None:
    daemon = Daemon(fleet({"a": 1}))
    (task_id,) = daemon.accept(draft())
    daemon.starts()
    daemon.passes(3600.0)  # it ran for an hour, then its host failed
    daemon.reopen(task_id)
    daemon.passes(5.0)
    daemon.starts()
    assert daemon.value("ygg_task_wait_seconds_sum", priority="2") == 5.0
    daemon.block(task_id)
    daemon.passes(86400.0)
    daemon.ops.retry([task_id], now=daemon.now)
    daemon.committed()
    daemon.passes(2.0)
    daemon.starts()
    assert daemon.value("ygg_task_wait_seconds_sum", priority="2") == 5.0 + 2.0


def test_the_wait_of_a_task_for_later_is_from_its_release() -> None:
    daemon = Daemon()
    daemon.accept(draft(held=Held.NOT_BEFORE, not_before=daemon.now + 500.0))
    daemon.passes(500.0)
    daemon.ops.release_due(now=daemon.now)
    daemon.committed()
    daemon.passes(1.0)
    daemon.starts()
    assert daemon.value("ygg_task_wait_seconds_sum", priority="2") == 1.0


def test_what_is_remembered_of_returned_tasks_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_module, "_RETURNED_MOST", 3)
    daemon = Daemon(fleet({"a": 9}))
    ids = daemon.accept(*(draft() for _ in range(9)))
    daemon.starts()
    daemon.passes(10.0)
    for task_id in ids:
        daemon.reopen(task_id)
    assert list(daemon.metrics._returned) == ids[-3:]
    daemon.starts()
    assert daemon.metrics._returned == {}
    # The others' birth counts.
    assert daemon.value("ygg_task_wait_seconds_sum", priority="2") == 6 * 10.0


def test_a_task_that_ended_is_forgotten() -> None:
    daemon, one, other = two_running()
    daemon.reopen(one)
    daemon.ops.cancel(one, now=daemon.now)
    daemon.committed()
    daemon.finish(other)
    assert (daemon.metrics._running, daemon.metrics._returned) == ({}, {})


def test_a_clock_set_back_makes_no_negative_wait() -> None:
    daemon = Daemon(fleet({"a": 1}))
    daemon.accept(draft(), draft())
    daemon.now -= 100.0
    daemon.starts()
    assert daemon.value("ygg_task_wait_seconds_sum", priority="2") == 0.0
    assert daemon.value("ygg_oldest_wait_seconds", priority="2") == 0.0
    assert daemon.value("ygg_host_oldest_wait_seconds", host="a") == 0.0


# -- answers ---------------------------------------------------------------------------------------


def test_tokens_move_while_they_flow_and_none_make_no_series() -> None:
    daemon = Daemon()
    daemon.metrics.tokens("a", prompt=7, completion=0)
    daemon.metrics.tokens("b", prompt=0, completion=0)
    assert daemon.series("ygg_tokens_total") == {("prompt", "a"): 7}
    daemon.metrics.tokens("a", prompt=0, completion=2)
    daemon.metrics.tokens("a", prompt=0, completion=3)
    assert daemon.series("ygg_tokens_total") == {("prompt", "a"): 7, ("completion", "a"): 5}


def test_answers_cut_at_a_limit_and_waits_inside_the_server_are_told_by_the_answer() -> None:
    daemon, one, other = two_running()
    daemon.finish(one, finish="length", server_wait_seconds=1.5)
    daemon.finish(other, finish="stop", server_wait_seconds=0.25)
    assert daemon.series("ygg_answers_cut_total") == {("a", "general"): 1}
    assert daemon.series("ygg_host_server_wait_seconds_total") == {("a",): 1.75}


def test_failures_are_of_attempts_that_the_host_failed_after_it_had_taken_them() -> None:
    daemon = Daemon(fleet({"a": 4}))
    ids = daemon.accept(*(draft() for _ in range(4)))
    daemon.starts()
    daemon.reopen(ids[0], Cause.CUT_OFF)
    daemon.reopen(ids[1], Cause.REFUSED, strike=False)
    daemon.block(ids[2], Cause.BAD_REQUEST)
    daemon.block(ids[3], Cause.STALL, strike=True)  # a task that must not run twice
    assert daemon.series("ygg_host_failures_total") == {("a", "cut_off"): 1, ("a", "stall"): 1}


# -- what waits ------------------------------------------------------------------------------------


def test_waiting_has_every_type_and_priority_so_that_nothing_waiting_is_a_zero() -> None:
    daemon = Daemon(fleet({"a": 0}))
    daemon.accept(draft(), draft(model="m"), draft(priority=0), draft(held=Held.BY_HAND))
    waiting = daemon.series("ygg_tasks_waiting")
    assert {key: value for key, value in waiting.items() if value} == {
        ("2", "general"): 2, ("0", "general"): 1,
    }  # fmt: skip
    assert set(waiting) == {(str(p), t) for p in range(5) for t in daemon.fleet.types}


def test_a_host_that_a_reload_took_away_has_no_series_once_it_runs_nothing() -> None:
    daemon = Daemon()
    daemon.configure(fleet({"a": 2, "b": 1}))

    def hosts() -> set[str]:
        daemon.look()
        page = daemon.registry.collect()
        return {s.labels["host"] for m in page for s in m.samples if "host" in s.labels}

    only_b = fleet({"a": 2, "b": 1}, {"general": ["b"]})
    daemon.configure(only_b)
    (task_id,) = daemon.accept(draft())
    (start,) = daemon.starts()
    assert start.option.host == "b"
    daemon.metrics.tokens("b", prompt=3, completion=0)
    daemon.note(Kind.RESIZED, "b", "wait", before=1, limit=2)
    daemon.configure(fleet({"a": 2}))
    assert hosts() == {"a", "b"}
    daemon.finish(task_id)
    assert hosts() == {"a"}
    daemon.configure(fleet({"a": 2, "b": 1}))
    assert hosts() == {"a", "b"}
    assert daemon.value("ygg_host_resizes_total", host="b", direction="up", reason="wait") is None


def test_tasks_of_a_type_that_a_reload_took_away_still_show_that_they_wait() -> None:
    daemon = Daemon(fleet({"a": 0}))
    daemon.accept(draft(type="reasoning"))
    settings = fleet({"a": 0})
    less = {name: t for name, t in settings.types.items() if name != "reasoning"}
    daemon.configure(Fleet(file="hosts.yaml", hosts=settings.hosts, types=less))
    assert daemon.value("ygg_tasks_waiting", type="reasoning", priority="2") == 1
    assert daemon.value("ygg_host_demand_tasks", host="a") == 0, "nobody could take it"


def test_the_oldest_wait_is_of_ready_tasks_by_priority() -> None:
    daemon = Daemon(fleet({"a": 0}))
    daemon.accept(draft(priority=1))
    daemon.accept(draft(priority=3, held=Held.BY_HAND))
    daemon.passes(4.0)
    daemon.accept(draft(priority=1))
    daemon.passes(2.0)
    assert daemon.series("ygg_oldest_wait_seconds") == {
        ("0",): 0.0, ("1",): 6.0, ("2",): 0.0, ("3",): 0.0, ("4",): 0.0,
    }  # fmt: skip


def test_demand_is_what_waits_for_a_slot_alone_and_counts_for_each_host_that_could_take_it() -> (
    None
):
    routes = {"general": ["a", "b"], "reasoning": ["b"], "text-processing": ["c", "d"]}
    daemon = Daemon(fleet({"a": 0, "b": 0, "c": 0, "d": 0}, routes))
    daemon.accept(draft())
    daemon.passes(10.0)
    daemon.accept(draft(type="reasoning"), draft(type="text-processing"))
    daemon.passes(1.0)
    daemon.is_("c", Mode.DOWN)
    daemon.note(Kind.PAUSED, "d", "by hand")
    assert daemon.series("ygg_host_demand_tasks") == {
        ("a",): 1, ("b",): 2, ("c",): 0, ("d",): 0,
    }  # fmt: skip
    assert daemon.series("ygg_host_oldest_wait_seconds") == {
        ("a",): 11.0, ("b",): 11.0, ("c",): 0.0, ("d",): 0.0,
    }  # fmt: skip


# -- hosts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "up"), [(Mode.UP, 1), (Mode.TRIAL, 1), (Mode.RESTING, 1), (Mode.DOWN, 0)]
)
def test_a_host_is_up_unless_it_is_down(mode: Mode, up: int) -> None:
    daemon = Daemon()
    daemon.is_("a", mode)
    assert daemon.value("ygg_host_up", host="a") == up


def test_a_paused_host_says_so_until_it_is_resumed() -> None:
    daemon = Daemon()
    daemon.note(Kind.PAUSED, "a", "a fan is broken")
    assert daemon.series("ygg_host_paused") == {("a",): 1, ("b",): 0}
    daemon.note(Kind.RESUMED, "a")
    assert daemon.series("ygg_host_paused") == {("a",): 0, ("b",): 0}


def test_slots_show_limit_activity_bounds_and_pins() -> None:
    hosts = {
        "own": SlotSettings(start=2, min=1, max=4),
        "filed": SlotSettings(start=3, min=1, max=5, pin=3),
        "asked": SlotSettings(start=1),
    }
    settings = fleet(dict.fromkeys(hosts, 1))
    named = {n: HostSettings(name=n, url=f"http://{n}", slots=s) for n, s in hosts.items()}
    daemon = Daemon(Fleet(file="hosts.yaml", hosts=named, types=settings.types))
    daemon.servers["asked"] = 6
    daemon.note(Kind.PINNED, "own", limit=4)
    daemon.note(Kind.RESIZED, "own", "pin", before=2, limit=4)
    daemon.accept(*(draft() for _ in range(6)))
    daemon.starts()
    shown = {
        host: tuple(
            daemon.value(f"ygg_host_slots_{what}", host=host)
            for what in ("limit", "active", "min", "max", "pinned")
        )
        for host in hosts
    }
    assert shown == {"own": (4, 4, 1, 4, 1), "filed": (3, 2, 1, 5, 1), "asked": (1, 0, 1, 6, 0)}
    daemon.note(Kind.UNPINNED, "own")
    assert daemon.value("ygg_host_slots_pinned", host="own") == 0


def test_hosts_on_one_card_show_its_limit_and_each_its_own_activity() -> None:
    daemon = Daemon(fleet({"a": 9, "b": 1}, {"general": ["b"]}, shares={"b": "a"}))
    daemon.accept(draft(), draft())
    daemon.starts()
    assert daemon.series("ygg_host_slots_limit") == {("a",): 9, ("b",): 9}
    assert daemon.series("ygg_host_slots_active") == {("a",): 0, ("b",): 2}
    assert daemon.series("ygg_host_slots_max") == {("a",): 9, ("b",): 9}


def test_a_slot_of_a_shared_card_is_free_for_all_its_hosts_or_for_none() -> None:
    daemon = Daemon(fleet({"a": 2, "b": 1}, {"general": ["b"]}, shares={"b": "a"}))
    assert daemon.series("ygg_host_slots_available") == {("a",): 2, ("b",): 2}
    daemon.accept(draft(), draft(), draft())
    daemon.starts()
    assert daemon.series("ygg_host_slots_available") == {("a",): 0, ("b",): 0}
    assert daemon.value("ygg_host_demand_tasks", host="b") == 1
    daemon.note(Kind.RESIZED, "a", "pin", before=2, limit=1)
    assert daemon.value("ygg_host_slots_available", host="a") == 0, "never less than none"


def test_blocked_tasks_in_a_row_count_until_one_is_answered() -> None:
    daemon = Daemon(fleet({"a": 9}))
    one, two, drained, moved, good, last = daemon.accept(*(draft() for _ in range(6)))
    daemon.starts()
    assert daemon.series("ygg_host_blocked_in_a_row") == {("a",): 0}
    daemon.block(one)
    daemon.block(two, strike=True)
    daemon.drain(drained)
    daemon.reopen(moved)
    assert daemon.value("ygg_host_blocked_in_a_row", host="a") == 2, (
        "a drain says nothing of a host"
    )
    daemon.finish(good)
    assert daemon.value("ygg_host_blocked_in_a_row", host="a") == 0
    daemon.block(last)
    assert daemon.value("ygg_host_blocked_in_a_row", host="a") == 1


def test_blocked_tasks_are_told_apart_by_whether_a_drain_cut_them_off() -> None:
    daemon = Daemon(fleet({"a": 9}))
    one, other, drained = daemon.accept(draft(), draft(), draft())
    daemon.starts()
    assert daemon.series("ygg_tasks_blocked") == {("drained",): 0, ("other",): 0}
    daemon.block(one)
    daemon.block(other, error="the word drained is in its midst")
    daemon.drain(drained)
    assert daemon.series("ygg_tasks_blocked") == {("drained",): 1, ("other",): 2}


def test_a_resize_counts_by_its_direction_and_reason_and_none_counts_for_nothing() -> None:
    daemon = Daemon()
    for before, limit in ((2, 3), (3, 4), (4, 4), (4, 1)):
        daemon.note(Kind.RESIZED, "a", "pin", before=before, limit=limit)
    daemon.note(Kind.RESIZED, "a", "hosts.yaml", limit=2, start=2)  # the first limit it ever has
    assert daemon.series("ygg_host_resizes_total") == {
        ("up", "a", "pin"): 2,
        ("down", "a", "pin"): 1,
    }


def test_no_gauge_outlives_its_host() -> None:
    daemon = Daemon(fleet({"a": 1, "b": 1}))
    (task_id,) = daemon.accept(draft())
    daemon.starts()
    daemon.configure(fleet({"b": 1}))
    assert daemon.value("ygg_host_slots_active", host="a") == 1, "it ends what it runs"
    assert daemon.value("ygg_host_slots_max", host="a") is None, "no file says its bounds"
    daemon.finish(task_id)
    gauges = [name for name in TABLE if name.startswith("ygg_host") and "_total" not in name]
    for name in gauges:
        assert ("a",) not in daemon.series(name), name


def test_model_memory_is_told_where_a_server_says_it() -> None:
    daemon = Daemon()
    assert daemon.series("ygg_host_model_memory_bytes") == {}
    daemon.memory["b"] = 5_000_000_000
    assert daemon.series("ygg_host_model_memory_bytes") == {("b",): 5e9}


# -- ygg itself ------------------------------------------------------------------------------------


def test_the_store_is_timed_by_operation() -> None:
    daemon = Daemon()
    daemon.metrics.store_call("sqlite", "claim", 0.002)
    daemon.metrics.store_call("sqlite", "claim", 0.2)
    labels = {"store": "sqlite", "operation": "claim"}
    assert daemon.value("ygg_store_seconds_count", **labels) == 2
    assert daemon.value("ygg_store_seconds_bucket", le="0.0025", **labels) == 1


def test_the_version_shows_and_a_broken_invariant_counts_from_zero() -> None:
    daemon = Daemon()
    assert daemon.value("ygg_build_info", version=VERSION) == 1
    assert daemon.value("ygg_invariant_violations_total") == 0
    daemon.metrics.violation()
    assert daemon.value("ygg_invariant_violations_total") == 1


def test_the_last_reading_of_hosts_yaml_is_told_with_its_time() -> None:
    daemon = Daemon()
    assert daemon.value("ygg_config_last_reload_successful") == 1
    assert daemon.value("ygg_config_last_reload_timestamp_seconds") == 1000.0
    daemon.collector.reloaded = (False, 1000.0)
    assert daemon.value("ygg_config_last_reload_successful") == 0


# -- all of them -----------------------------------------------------------------------------------


def all_happened() -> Daemon:
    """A history after which every metric has a series."""
    daemon = Daemon(fleet({"a": 3, "b": 1}))
    done, reopened, cut = daemon.accept(*(draft() for _ in range(3)))
    daemon.starts()
    daemon.metrics.tokens("a", prompt=1, completion=1)
    daemon.finish(done)
    daemon.finish(cut, finish="length", server_wait_seconds=0.5)
    daemon.reopen(reopened)
    daemon.note(Kind.RESIZED, "a", "pin", before=3, limit=2)
    daemon.metrics.store_call("sqlite", "add", 0.001)
    daemon.metrics.loop_lag.observe(0.001)
    daemon.memory["a"] = 1
    daemon.look()
    return daemon


def samples(daemon: Daemon) -> list[tuple[str, Mapping[str, str]]]:
    """Of every sample of ours, the metric's name as the table has it, and its labels but `le`."""
    found: list[tuple[str, Mapping[str, str]]] = []
    for family in daemon.registry.collect():
        for sample in family.samples:
            name = sample.name
            for part in HISTOGRAM_PARTS if family.type == "histogram" else ():
                name = name.removesuffix(part)
            if name.startswith("ygg_"):
                found.append((name, {k: v for k, v in sample.labels.items() if k != "le"}))
    return found


def test_every_metric_of_the_table_has_a_series_once_it_is_used_and_there_are_no_others() -> None:
    seen = {name for name, _ in samples(all_happened())}
    assert seen == set(TABLE) - WITHOUT_SERIES


def test_every_series_has_exactly_the_labels_of_the_table() -> None:
    for name, labels in samples(all_happened()):
        assert set(labels) == TABLE[name], name


def test_nothing_but_what_must_be_there_from_the_start_has_a_series_before_it_is_used() -> None:
    counters = {name for name, _ in samples(Daemon()) if name.endswith("_total")}
    assert counters == {"ygg_invariant_violations_total"}


def test_the_process_and_its_memory_are_told_as_every_prometheus_client_does() -> None:
    page = generate_latest(Daemon().registry).decode()
    for name in ("process_resident_memory_bytes", "process_cpu_seconds_total", "python_info"):
        assert f"\n{name}" in page
    assert "_created" not in page, "times of birth are noise"


#: Text from outside, in all places that take some.
text = st.text(max_size=10)


@settings(max_examples=40)
@given(title=text, error=text, why=text, seed=st.integers(0, 1000))
def test_no_text_and_no_id_of_a_user_becomes_a_label(
    title: str, error: str, why: str, seed: int
) -> None:
    daemon, chance = Daemon(fleet({"a": 2, "b": 2})), random.Random(seed)
    ids = daemon.accept(*(draft(title, priority=chance.randrange(5)) for _ in range(9)))
    daemon.note(Kind.PAUSED, "b", why)
    daemon.note(Kind.RESUMED, "b", why)
    daemon.note(Kind.HOST, "a", why, mode="trial")
    while started := daemon.starts():
        for start in started:
            daemon.block(start.waiting.id, Cause.EMPTY_ANSWER, strike=True, error=error)
    closed = {
        "type": set(daemon.fleet.types),
        "priority": set("01234"),
        "host": {"a", "b"},
        "outcome": {"closed", "blocked", "reopened", "cancelled"},
        "direction": {"prompt", "completion", "up", "down"},
        "reason": {cause.value for cause in Cause},
        "version": {VERSION},
    }
    for name, labels in samples(daemon):
        for label, value in labels.items():
            assert value in closed[label], f"{name} has {label}={value!r}"
            assert value not in ids


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000))
def test_counts_agree_with_the_journal_whatever_happened(seed: int) -> None:
    daemon, chance = Daemon(fleet({"a": 2, "b": 1})), random.Random(seed)
    for _ in range(60):
        daemon.passes(1.0)
        running = [task.id for task in daemon.tables.in_progress()]
        one = chance.choice(running) if running else None
        match chance.choice(["accept", "accept", "finish", "block", "reopen", "cancel", "resize"]):
            case "accept":
                daemon.accept(draft(priority=chance.randrange(5)))
            case "resize":
                daemon.note(Kind.RESIZED, "a", "pin", before=2, limit=chance.randrange(4))
            case "finish" if one:
                daemon.finish(one)
            case "cancel" if one:
                daemon.finish(one, Outcome.CANCELLED)
            case "block" if one:
                daemon.block(one)
            case "reopen" if one:
                daemon.reopen(one)
        daemon.starts()
    kinds = [event.kind for event in daemon.tables.rows]
    tasks = list(daemon.tables.tasks.values())
    started, open_ = kinds.count(Kind.STARTED), daemon.tables.waiting()

    def total(name: str) -> float:
        return sum(daemon.series(name).values())

    assert total("ygg_tasks_accepted_total") == kinds.count(Kind.ACCEPTED) == len(tasks)
    assert total("ygg_tasks_waiting") == sum(open_.values())
    assert total("ygg_task_wait_seconds_count") == started
    assert total("ygg_host_slots_active") == len(daemon.tables.in_progress())
    assert total("ygg_host_runs_total") == started - len(daemon.tables.in_progress())
    assert total("ygg_tasks_finished_total") == total("ygg_host_runs_total")
    assert total("ygg_task_run_seconds_sum") == total("ygg_host_run_seconds_total")
