"""What a task takes of memory is learned, forgotten and forecast."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.memory import MemoryModel

pytestmark = pytest.mark.pure


def learned(ticks: Iterable[tuple[float, int]], seconds: float = 15.0) -> MemoryModel:
    model, now = MemoryModel(), 0.0
    for memory, active in ticks:
        now += seconds
        model = model.after(
            now=now,
            memory=memory,
            active=active,
            forget_seconds=900.0,
            drift_seconds=7200.0,
            load_ratio=0.25,
        )
    return model


def test_memory_that_grows_with_tasks_is_learned() -> None:
    model = learned([(0.3, 0), *[(0.3 + 0.1 * n, n) for n in (1, 2, 3, 2, 1) * 20]])
    assert model.mu == pytest.approx(0.1, rel=0.03)
    forecast = model.forecast(4, step=1, recent_high=0.6, deviations=2.5)
    assert 0.69 <= forecast <= 0.76


def test_memory_that_tasks_do_not_move_costs_nothing() -> None:
    model = learned([(0.8, n % 4) for n in range(100)])
    assert model.mu == 0
    assert model.forecast(8, step=2, recent_high=0.8, deviations=2.5) == pytest.approx(0.8)


def test_another_program_that_stays_moves_the_floor_within_hours() -> None:
    before = learned([(0.3, 0)] * 10)
    assert before.floor == 0.3
    now = learned([*[(0.3, 0)] * 10, *[(0.6, 0)] * 2000])
    assert now.floor is not None
    assert now.floor > 0.55


def test_noise_keeps_the_forecast_further_away() -> None:
    calm = learned([(0.2, 0), *[(0.4, 2)] * 50])
    noisy = learned([(0.2, 0), *[(0.3, 2), (0.5, 2)] * 25])
    calm_forecast = calm.forecast(3, step=1, recent_high=0.0, deviations=2.5)
    assert noisy.forecast(3, step=1, recent_high=0.0, deviations=2.5) > calm_forecast + 0.05


def test_memory_that_never_falls_is_a_high_water_mark() -> None:
    caching = learned([(0.5, 2), (0.55, 2), (0.55, 1), (0.58, 2), *[(0.58, 2)] * 100])
    assert caching.is_high_water
    ordinary = learned([(0.5, 2), (0.55, 2), (0.48, 1), (0.58, 2), (0.51, 2)])
    assert not ordinary.is_high_water


def test_memory_that_never_moves_is_no_high_water_mark() -> None:
    assert not learned([(0.8, n % 4) for n in range(100)]).is_high_water


def test_another_model_begins_with_what_a_task_took_before() -> None:
    before = learned([(0.3, 0), *[(0.5, 2)] * 50])
    now = before.anew
    assert now.mu == pytest.approx(before.mu)
    assert now.floor is None
    now = now.after(
        now=900.0, memory=0.7, active=2, forget_seconds=900.0, drift_seconds=7200.0, load_ratio=0.25
    )
    assert now.floor == pytest.approx(0.7 - 2 * before.mu), "the running tasks are no floor"
    assert now.mu == pytest.approx(before.mu)


def test_what_the_first_tasks_after_a_rest_bring_at_once_is_the_model() -> None:
    loaded = learned([*[(0.03, 0)] * 5, *[(0.8, 2)] * 20])
    assert loaded.mu == pytest.approx(0.0)
    assert loaded.forecast(3, step=1, recent_high=0.8, deviations=2.5) == pytest.approx(0.8)
    tasks = learned([*[(0.4, 0)] * 5, *[(0.6, 2)] * 20])
    assert tasks.mu == pytest.approx(0.1, rel=0.01)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 64)), max_size=60),
    st.integers(1, 64),
    st.integers(1, 8),
    st.floats(0, 1),
)
def test_more_tasks_are_never_forecast_to_take_less(
    ticks: list[tuple[float, int]], tasks: int, step: int, high: float
) -> None:
    model = learned(ticks)
    assert model.mu >= 0
    assert model.deviation >= 0
    one = model.forecast(tasks, step=step, recent_high=high, deviations=2.5)
    more = model.forecast(tasks + 1, step=step + 1, recent_high=high, deviations=2.5)
    assert more >= one >= high
