"""From rows to runs to figures, by examples whose numbers can be seen."""

from __future__ import annotations

import pytest

from tests.compare.rows import Rows
from ygg.compare.figures import Waits, figures_of, quantile
from ygg.compare.recording import read_recording
from ygg.journal import Kind

pytestmark = pytest.mark.pure


def test_a_run_says_who_ran_where_and_how_long_it_waited() -> None:
    rows = Rows()
    task = rows.accept(priority=1)
    rows.ran(task, "skadi", 1.5, 4.0)
    (run,) = read_recording(rows.rows).runs
    assert (run.task, run.type, run.priority) == ("t0", "general", 1)
    assert (run.host, run.slot) == ("skadi", 0)
    assert (run.waited, run.seconds, run.outcome) == (1.5, 2.5, "closed")


def test_times_begin_with_the_first_accept() -> None:
    rows = Rows()
    rows.at += 100.0
    rows.accept()
    rows.ran("t0", "surtr", 101.0, 103.0)
    recording = read_recording(rows.rows)
    assert (recording.runs[0].started, recording.makespan) == (1.0, 3.0)


def test_a_run_takes_the_least_free_slot_and_gives_it_back() -> None:
    rows = Rows()
    a, b, c, d = (rows.accept() for _ in range(4))
    rows.start(a, "fenrir")
    rows.start(b, "fenrir")
    rows.end(a)
    rows.start(c, "fenrir")
    rows.start(d, "fenrir")
    slots = {run.task: run.slot for run in read_recording(rows.rows).runs}
    assert slots == {a: 0, b: 1, c: 0, d: 2}


def test_a_task_that_came_back_runs_again_and_its_wait_begins_anew() -> None:
    rows = Rows()
    task = rows.accept()
    rows.ran(task, "surtr", 1.0, 3.0, Kind.REOPENED)
    rows.ran(task, "surtr", 7.0, 8.0)
    first, second = read_recording(rows.rows).runs
    assert (first.outcome, first.waited) == ("reopened", 1.0)
    assert (second.outcome, second.waited) == ("closed", 4.0)


def test_a_run_without_an_end_lasts_to_the_last_row() -> None:
    rows = Rows()
    a, b = rows.accept(), rows.accept()
    rows.start(a, "surtr")
    rows.ran(b, "skadi", 1.0, 5.0)
    last = next(run for run in read_recording(rows.rows).runs if run.task == a)
    assert (last.outcome, last.seconds) == ("running", 5.0)


def test_a_run_that_began_with_the_last_row_counts_as_one_at_once() -> None:
    rows = Rows()
    rows.start(rows.accept(), "surtr")
    assert figures_of(read_recording(rows.rows)).at_once == 1


def test_a_clock_that_is_set_back_makes_no_run_shorter_than_nothing() -> None:
    rows = Rows()
    task = rows.accept()
    rows.ran(task, "surtr", 5.0, 2.0)
    (run,) = read_recording(rows.rows).runs
    assert (run.started, run.ended) == (5.0, 5.0)


def test_a_host_has_as_many_slots_as_its_limit_ever_was() -> None:
    rows = Rows()
    rows.row(Kind.RESIZED, host="surtr", detail={"limit": 4})
    rows.row(Kind.RESIZED, host="skadi", detail={"limit": 1})
    assert read_recording(rows.rows).hosts == {"surtr": 4, "fenrir": 3, "skadi": 2}


def test_figures_of_two_tasks_that_overlap_by_half() -> None:
    rows = Rows({"h": 2})
    rows.accept(0)
    rows.accept(3)
    rows.start("t0", "h")
    rows.at += 1.0
    rows.start("t1", "h")
    rows.at += 1.0
    rows.end("t0")
    rows.at += 1.0
    rows.end("t1")
    figures = figures_of(read_recording(rows.rows))
    assert (figures.accepted, figures.closed, figures.makespan) == (2, 2, 3.0)
    assert (figures.at_once, figures.hosts["h"].at_once) == (2, 2)
    assert figures.utilization == pytest.approx(4 / 6)
    assert figures.hosts["h"].idle == 0.0
    assert figures.waits[0] == Waits(count=1, median=0.0, p95=0.0)
    assert figures.waits[3] == Waits(count=1, median=1.0, p95=1.0)


def test_an_end_and_a_start_in_the_same_moment_are_not_at_once() -> None:
    rows = Rows({"h": 1})
    rows.accept()
    rows.accept()
    rows.start("t0", "h")
    rows.end("t0")
    rows.start("t1", "h")
    rows.end("t1")
    assert figures_of(read_recording(rows.rows)).at_once == 1


def test_a_host_without_a_run_is_idle_all_the_time() -> None:
    rows = Rows()
    rows.accept()
    rows.ran("t0", "surtr", 0.0, 4.0)
    figures = figures_of(read_recording(rows.rows))
    assert figures.hosts["skadi"].idle == 1.0
    assert figures.hosts["skadi"].utilization == 0.0


def test_nothing_at_all_has_figures_too() -> None:
    figures = figures_of(read_recording(Rows().rows))
    assert (figures.accepted, figures.makespan, figures.at_once, figures.utilization) == (0,) * 4


@pytest.mark.parametrize(
    ("share", "value"), [(0.5, 2.0), (0.51, 3.0), (0.75, 3.0), (0.95, 4.0), (1.0, 4.0)]
)
def test_a_quantile_is_a_value_that_was_seen(share: float, value: float) -> None:
    assert quantile([4.0, 1.0, 3.0, 2.0], share) == value
