"""Samples come out of their windows as what the rule sees; what is no sample is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.observed import Memory, MemoryMode
from autoscaler.settings import Settings
from autoscaler.signals import GpuSample, HostWindow, QueueSample

pytestmark = pytest.mark.pure

SETTINGS = Settings()
QUEUE = QueueSample(
    at=0.0, limit=2, min=1, max=4, active=2, waiting=3, oldest_wait=7.0, tokens_total=0.0,
    server_wait_seconds_total=0.0,
)  # fmt: skip


def window(count: int = 13, **each: object) -> HostWindow:
    """A minute of samples 5 s apart, 10 tokens a second; `each` are functions of the time."""
    host = HostWindow(SETTINGS)
    for index in range(count):
        at = 5.0 * index
        changes = {key: value(at) if callable(value) else value for key, value in each.items()}
        sample = replace(QUEUE, at=at, tokens_total=10 * at)
        assert host.add_queue(replace(sample, **changes))  # type: ignore[arg-type]  # the fields' own types
        assert host.add_gpu(GpuSample(at=at, util=0.5, memory=0.6, digits=(at,)))
    return host


def test_a_minute_of_samples_says_what_was_seen() -> None:
    seen = window().signals(61.0)
    assert seen is not None
    assert (seen.limit, seen.active, seen.waiting, seen.oldest_wait) == (2, 2, 3, 7.0)
    assert seen.binding == 1.0
    assert seen.rates == (10.0,) * 4
    assert seen.rates_are_tokens
    assert (seen.util, seen.memory) == (0.5, Memory(last=0.6, high=0.6, window_high=0.6))
    assert (seen.gpu_age, seen.queue_age) == (1.0, 1.0)


def test_nothing_was_heard_yet() -> None:
    assert HostWindow(SETTINGS).signals(5.0) is None


def test_an_exporter_that_never_answered_is_infinitely_old() -> None:
    host = HostWindow(SETTINGS)
    host.add_queue(QUEUE)
    seen = host.signals(1.0)
    assert seen is not None
    assert (seen.gpu_age, seen.memory, seen.util) == (math.inf, None, None)


def test_binding_counts_the_samples_that_reached_the_limit_of_now() -> None:
    seen = window(active=lambda at: 2 if at > 30 else 1).signals(60.0)
    assert seen is not None
    assert seen.binding == pytest.approx(6 / 12)


def test_a_few_samples_after_a_gap_do_not_stand_for_a_window() -> None:
    window = HostWindow(Settings())
    for at in (0.0, 5.0, 10.0, 300.0, 305.0):
        window.add_queue(replace(QUEUE, at=at))
    seen = window.signals(306.0)
    assert seen is not None
    assert seen.binding < 0.2
    for at in range(310, 361, 5):
        window.add_queue(replace(QUEUE, at=float(at)))
    seen = window.signals(361.0)
    assert seen is not None
    assert seen.binding == 1.0


def test_counters_that_reset_begin_anew_at_0() -> None:
    reset = window(tokens_total=lambda at: 10 * at if at < 32 else 10 * (at - 35))
    seen = reset.signals(60.0)
    assert seen is not None
    assert all(0 <= rate <= 10 for rate in seen.rates)


def test_a_host_without_tokens_is_judged_by_finished_tasks() -> None:
    seen = window(tokens_total=None, runs_total=lambda at: at / 5).signals(60.0)
    assert seen is not None
    assert not seen.rates_are_tokens
    assert seen.rates == pytest.approx((0.2,) * 4)


def test_a_host_that_counted_its_first_token_within_the_window_is_judged_by_tokens() -> None:
    seen = window(tokens_total=lambda at: 10 * (at - 20) if at > 20 else None).signals(60.0)
    assert seen is not None
    assert seen.rates_are_tokens
    assert seen.rates == pytest.approx((0.0, 20 / 3, 10.0, 10.0))


def test_a_dispatcher_started_anew_that_counts_no_token_yet_does_not_change_the_measure() -> None:
    seen = window(tokens_total=lambda at: 10 * at if at < 55 else None).signals(60.0)
    assert seen is not None
    assert seen.rates_are_tokens
    assert all(0 <= rate <= 10 for rate in seen.rates)


def test_failures_are_told_once() -> None:
    host = window(failures_total=lambda at: 2.0 if at > 20 else 0.0)
    first, second = host.signals(60.0), host.signals(61.0)
    assert first is not None
    assert second is not None
    assert (first.host_failures, second.host_failures) == (2, 0)


def test_time_queued_in_the_server_is_a_share_of_run_time() -> None:
    host = window(run_seconds_total=lambda at: 2 * at, server_wait_seconds_total=lambda at: at / 2)
    seen = host.signals(60.0)
    assert seen is not None
    assert seen.server_wait == pytest.approx(0.25)
    silent = window(server_wait_seconds_total=None).signals(60.0)
    assert silent is not None
    assert silent.server_wait is None


def test_a_window_in_which_no_task_ended_says_nothing_of_the_waits_inside() -> None:
    """Ollama's tasks tell how long they waited in it when they end."""
    host = window(server_wait_seconds_total=0.0)
    ended = {"run_seconds_total": 400.0, "server_wait_seconds_total": 300.0}
    for at, active in ((70.0, 2), (140.0, 2), (210.0, 2), (280.0, 0), (350.0, 0)):
        host.add_queue(replace(QUEUE, at=at, active=active, **ended))  # type: ignore[arg-type]  # floats
        seen = host.signals(at)
        assert seen is not None
        # At last nothing runs there any more.
        assert seen.server_wait == pytest.approx(0.75 if active else 0.0), at


def test_memory_is_the_last_the_highest_of_15_s_and_the_highest_of_a_minute() -> None:
    host = HostWindow(SETTINGS)
    host.add_queue(QUEUE)
    for at, memory in ((0.0, 0.9), (20.0, 0.8), (50.0, 0.7), (59.0, 0.5)):
        host.add_gpu(GpuSample(at=at, util=None, memory=memory))
    seen = host.signals(60.0)
    assert seen is not None
    assert seen.memory == Memory(last=0.5, high=0.7, window_high=0.9)


def test_preemptions_are_those_of_the_window_and_a_server_may_start_anew() -> None:
    host = HostWindow(SETTINGS, MemoryMode.KV)
    host.add_queue(QUEUE)
    for at, total in ((0.0, 5.0), (30.0, 9.0), (50.0, 1.0), (60.0, 2.0)):
        host.add_gpu(GpuSample(at=at, util=None, memory=0.5, preemptions_total=total))
    for now, preemptions in ((60.0, 6.0), (95.0, 2.0), (131.0, 0.0)):
        seen = host.signals(now)
        assert seen is not None
        assert seen.preemptions == preemptions


def test_where_memory_was_told_utilization_alone_is_nothing_new() -> None:
    host = window()
    host.add_gpu(GpuSample(at=90.0, util=0.2, memory=None))
    seen = host.signals(90.0)
    assert seen is not None
    assert seen.gpu_age == 30.0
    host.add_gpu(GpuSample(at=130.0, util=0.2, memory=None))
    seen = host.signals(130.0)
    assert seen is not None
    assert (seen.gpu_age, seen.memory) == (70.0, None)
    host.add_gpu(GpuSample(at=135.0, util=None, memory=0.5))
    seen = host.signals(135.0)
    assert seen is not None
    assert seen.gpu_age == 0.0


def test_where_memory_was_never_told_utilization_is_what_is_new() -> None:
    host = HostWindow(SETTINGS)
    host.add_queue(QUEUE)
    host.add_gpu(GpuSample(at=1.0, util=0.2, memory=None))
    seen = host.signals(3.0)
    assert seen is not None
    assert seen.gpu_age == 2.0


@pytest.mark.parametrize(
    "bad",
    [
        GpuSample(at=1.0, util=math.nan, memory=0.5),
        GpuSample(at=1.0, util=-0.1, memory=0.5),
        GpuSample(at=1.0, util=0.5, memory=1.1),
        GpuSample(at=1.0, util=math.inf, memory=None),
        GpuSample(at=1.0, util=None, memory=None),
        GpuSample(at=1.0, util=0.5, memory=0.5, preemptions_total=-1),
    ],
)
def test_an_absurd_reading_is_no_sample(bad: GpuSample) -> None:
    assert not HostWindow(SETTINGS).add_gpu(bad)


@pytest.mark.parametrize(
    "change",
    [{"limit": -1}, {"oldest_wait": math.nan}, {"tokens_total": math.inf}, {"min": 5}, {"at": 0.0}],
)
def test_an_absurd_look_at_the_queue_is_no_sample(change: dict[str, float]) -> None:
    host = HostWindow(SETTINGS)
    assert host.add_queue(QUEUE)
    assert not host.add_queue(replace(QUEUE, **{"at": 5.0, **change}))  # type: ignore[arg-type]  # the fields' own types


def test_an_exporter_that_repeats_itself_while_tasks_run_is_frozen() -> None:
    host = HostWindow(SETTINGS)
    for index in range(12):
        host.add_queue(replace(QUEUE, at=5.0 * index))
        taken = host.add_gpu(GpuSample(at=5.0 * index, util=0.5, memory=0.5, digits=(1.0,)))
        assert taken is (index < SETTINGS.frozen_samples - 1)
    seen = host.signals(55.0)
    assert seen is not None
    assert seen.gpu_age == 25.0
    assert host.add_gpu(GpuSample(at=60.0, util=0.5, memory=0.5, digits=(2.0,))), "it thawed"


def test_a_quiet_card_may_repeat_itself_while_nothing_runs() -> None:
    host = HostWindow(SETTINGS)
    for index in range(30):
        host.add_queue(replace(QUEUE, at=5.0 * index, active=0))
        assert host.add_gpu(GpuSample(at=5.0 * index, util=0.0, memory=0.5, digits=(1.0,)))


def test_a_limit_that_was_taken_over_is_known_before_the_next_sample_says_so() -> None:
    """With a dispatcher whose /metrics are dead a second shrink would else miss its `expected`."""
    host = HostWindow(SETTINGS)
    host.resized(7)  # nothing was heard of this host yet
    assert host.signals(0.0) is None
    host.add_queue(QUEUE)
    host.resized(QUEUE.limit + 1)
    seen = host.signals(1.0)
    assert seen is not None
    assert seen.limit == QUEUE.limit + 1
    host.add_queue(replace(QUEUE, at=5.0))
    seen = host.signals(5.0)
    assert seen is not None
    assert seen.limit == QUEUE.limit


@given(st.lists(st.tuples(st.floats(0.1, 60), st.floats(0, 1e6), st.integers(0, 9)), max_size=60))
def test_whatever_is_sampled_memory_is_bounded_and_rates_are_never_negative(
    told: list[tuple[float, float, int]],
) -> None:
    host, now = HostWindow(SETTINGS, MemoryMode.KV), 0.0
    for passed, tokens, active in told:
        now += passed
        host.add_queue(replace(QUEUE, at=now, tokens_total=tokens, active=active))
        seen = host.signals(now)
        assert seen is not None
        assert all(rate >= 0 for rate in seen.rates)
        assert 0 <= seen.binding <= 1
        assert seen.memory_mode is MemoryMode.KV
    assert len(host._queue) <= 60 / 0.1 + 2
