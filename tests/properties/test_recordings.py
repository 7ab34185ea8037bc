"""What holds of the figures of every journal, whatever happened in it."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.compare.rows import HOSTS, Rows
from ygg.compare.figures import covered, figures_of
from ygg.compare.recording import Recording, read_recording
from ygg.journal import Kind

pytestmark = pytest.mark.pure

ENDS = (Kind.CLOSED, Kind.CLOSED, Kind.BLOCKED, Kind.REOPENED, Kind.CANCELLED)


@st.composite
def recordings(draw: st.DrawFn) -> Recording:
    """Tasks come, start where a slot is free, and end; the clock jumps, also backwards."""
    rows = Rows()
    number = st.integers(0, 1000)
    for do in draw(st.lists(st.sampled_from("aasse"), max_size=80)):
        rows.at += draw(st.floats(-0.5, 3.0))
        if do == "a":
            rows.accept(draw(st.integers(0, 4)))
        elif do == "s" and rows.ready:
            name = rows.ready[draw(number) % len(rows.ready)]
            if free := [host for host in HOSTS if rows.free(host)]:
                rows.start(name, free[draw(number) % len(free)])
        elif do == "e" and rows.running:
            name = sorted(rows.running)[draw(number) % len(rows.running)]
            rows.end(name, draw(st.sampled_from(ENDS)))
    return read_recording(rows.rows)


@given(recordings())
def test_no_more_run_at_once_than_there_are_slots(recording: Recording) -> None:
    figures = figures_of(recording)
    for host, slots in HOSTS.items():
        assert figures.hosts[host].at_once <= slots
        assert all(0 <= run.slot < slots for run in recording.runs if run.host == host)
    assert figures.at_once <= sum(HOSTS.values())


@given(recordings())
def test_a_slot_holds_one_run_at_a_time(recording: Recording) -> None:
    lanes = [[r for r in recording.runs if (r.host, r.slot) == (host, slot)]
             for host, slots in HOSTS.items() for slot in range(slots)]  # fmt: skip
    assert sum(map(len, lanes)) == len(recording.runs)
    for lane in lanes:
        for before, after in pairwise(lane):
            assert before.last_row < after.first_row
            assert before.ended <= after.started


@given(recordings())
def test_shares_are_shares_and_times_do_not_fall(recording: Recording) -> None:
    figures = figures_of(recording)
    shares = [figures.utilization]
    for host in figures.hosts.values():
        shares += [host.utilization, host.idle]
    assert all(0.0 <= share <= 1.0 for share in shares)
    for run in recording.runs:
        assert 0.0 <= run.ready <= run.started <= run.ended <= recording.makespan


@given(recordings())
def test_slot_seconds_are_neither_lost_nor_made(recording: Recording) -> None:
    assume(recording.makespan > 0)
    figures = figures_of(recording)
    taken = sum(run.seconds for run in recording.runs)
    slots = sum(recording.hosts.values())
    assert figures.utilization * slots * recording.makespan == pytest.approx(taken)
    by_host = sum(h.utilization * h.slots * recording.makespan for h in figures.hosts.values())
    assert by_host == pytest.approx(taken)


@given(recordings())
def test_the_most_at_once_is_what_some_run_found_when_it_started(recording: Recording) -> None:
    found = [
        sum(r.first_row <= run.first_row < r.last_row for r in recording.runs)
        for run in recording.runs
    ]
    assert figures_of(recording).at_once == max(found, default=0)


@given(recordings())
def test_waits_are_in_order_and_count_every_run(recording: Recording) -> None:
    waits = figures_of(recording).waits.values()
    assert sum(w.count for w in waits) == len(recording.runs)
    assert all(0.0 <= w.median <= w.p95 for w in waits)


@given(recordings())
def test_covered_time_is_between_the_longest_run_and_all_of_them(recording: Recording) -> None:
    seconds = [run.seconds for run in recording.runs]
    assume(seconds)
    total = covered(recording.runs)
    assert max(seconds) <= total + 1e-9
    assert total <= min(sum(seconds), recording.makespan) + 1e-9
    if not any(
        a.started < b.ended and b.started < a.ended for a, b in combinations(recording.runs, 2)
    ):
        assert total == pytest.approx(sum(seconds))
