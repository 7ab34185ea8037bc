"""The simulated host itself: what the scenarios rest on."""

from __future__ import annotations

import itertools
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.settings import Settings
from tests.simulation.backlog import Backlog
from tests.simulation.hosts import Host, Shape, capped, saturating
from tests.simulation.judging import best_static, static, with_rule
from tests.simulation.plays import Law, Plan, Run, Scenario
from tests.simulation.scenarios import CARD, SCENARIOS, USUAL, at, one, usual
from tests.simulation.sources import PageWatch, Watch
from tests.simulation.work import CONVERSATION, HOUR, Job, arrivals, from_quantiles
from tests.simulation.world import World

pytestmark = pytest.mark.pure

SHORT = Scenario(name="short", why="a test", hosts=one(CARD), work=usual(900), seconds=900.0)


def job(created: float = 0.0, priority: int = 2, tokens: float = 100.0, **more: float) -> Job:
    return Job(
        created=created, priority=priority, tokens=tokens, start_gb=more.get("start_gb", 0.5),
        token_gb=more.get("token_gb", 0.001),
    )  # fmt: skip


def ran(host: Host, until: float) -> tuple[list[Job], list[Job]]:
    finished, failed = [], []
    while host.next_at() <= until:
        host.advance(host.next_at())
        ended = host.settle()
        finished += ended.finished
        failed += ended.failed
    host.advance(until)
    ended = host.settle()
    return finished + ended.finished, failed + ended.failed


def test_tasks_share_the_throughput_evenly() -> None:
    host = Host(replace(CARD, curve=capped(10, 20)))
    short, long = job(tokens=50), job(tokens=150)
    host.start(short)
    host.start(long)
    assert host.next_at() == pytest.approx(5.0)
    assert ran(host, 5.0)[0] == [short]
    # Alone it gets 10 tokens a second: 100 are left.
    assert host.next_at() == pytest.approx(15.0)


def test_memory_grows_with_each_task_and_with_each_token_and_comes_back() -> None:
    host = Host(replace(CARD, curve=capped(10, 100)))
    empty = host.used_gb
    host.start(job(tokens=100))
    host.start(job(tokens=200))
    assert host.used_gb == pytest.approx(empty + 1.0)
    ran(host, 9.0)
    assert host.used_gb == pytest.approx(empty + 1.0 + 2 * 90 * 0.001)
    ran(host, 30.0)
    assert host.used_gb == pytest.approx(empty)


def test_out_of_memory_fails_the_youngest_and_its_tokens_count_for_nothing() -> None:
    old, young = job(tokens=400, token_gb=0.004), job(tokens=400, token_gb=0.004)
    host = Host(replace(CARD, total_gb=7.3, curve=capped(10, 100)))
    host.start(old)
    host.start(young)
    host.advance(20.0)
    assert host.settle().failed == [young]
    assert young.made == 0
    assert host.failures == 1


def test_a_crash_fails_all_and_takes_time() -> None:
    host = Host(replace(CARD, total_gb=6.5, curve=capped(10, 100), crash_seconds=20))
    for _ in range(3):
        host.start(job(tokens=400, token_gb=0.004))
    host.advance(20.0)
    assert len(host.settle().failed) == 3
    assert not host.up
    host.advance(40.0)
    assert host.up


def test_a_caching_allocator_gives_nothing_back() -> None:
    host = Host(replace(CARD, caches=True, curve=capped(10, 100)))
    host.start(job(tokens=100))
    ran(host, 9.9)
    high = host.memory
    ran(host, 30.0)
    assert host.active == 0
    assert host.memory >= high


def test_a_full_kv_cache_preempts_and_fails_nobody() -> None:
    host = Host(replace(CARD, kv_gb=1.0, curve=capped(10, 100)))
    jobs = [job(tokens=100, start_gb=0.3, token_gb=0.002) for _ in range(4)]
    for each in jobs:
        host.start(each)
    finished, failed = ran(host, 300.0)
    assert failed == []
    assert len(finished) == 4
    assert host.waited > 0


def test_a_server_that_runs_one_at_a_time_queues_the_rest_inside() -> None:
    host = Host(replace(CARD, parallel=1, curve=capped(10, 10)))
    for _ in range(3):
        host.start(job(tokens=100))
    assert (host.active, host.running) == (3, 1)
    ran(host, 31.0)
    assert host.waited == pytest.approx(10 + 20)
    assert host.run_seconds == pytest.approx(10 + 20 + 30)


def test_utilization_is_high_however_little_each_task_gets() -> None:
    host = Host(replace(CARD, curve=saturating(30, 31), duty=0.9))
    for _ in range(4):
        host.start(job(tokens=10_000, token_gb=0.0))
    host.advance(10.0)
    assert host.busy_seconds / 10.0 > 0.99


def test_an_idle_model_is_unloaded_and_loaded_again() -> None:
    shape = replace(CARD, unload_seconds=300, load_seconds=15, curve=capped(10, 100))
    host = Host(shape)
    ran(host, 301.0)
    assert host.weights_gb == 0
    host.start(job(tokens=100))
    assert ran(host, 301.0 + 24.0)[0] == []
    assert len(ran(host, 301.0 + 25.1)[0]) == 1


def test_the_most_urgent_starts_first_and_a_failed_one_is_back_in_its_place() -> None:
    backlog = Backlog()
    first, second, urgent = job(created=1.0), job(created=2.0), job(created=3.0, priority=0)
    for each in (first, second, urgent):
        backlog.add(each)
    assert backlog.oldest_wait(10.0) == 9.0
    assert backlog.pop() is urgent
    assert backlog.pop() is first
    backlog.put_back(first)
    assert backlog.pop() is first
    assert backlog.pop() is second
    assert not backlog


@given(st.integers(0, 1000), st.integers(1, 12))
def test_tokens_of_the_counter_are_those_of_answers_while_nothing_fails(
    seed: int, limit: int
) -> None:
    roomy = Shape(curve=saturating(28, 95), total_gb=100.0, noise=0.2)
    scenario = replace(SHORT, hosts=one(roomy), seconds=300.0)
    world = World(scenario, seed, settings=Settings(), limits=[limit])
    run = world.play()
    assert run.failures == {}
    counted = sum(place.host.tokens for place in world._places)
    assert run.tokens == pytest.approx(counted)


def test_the_same_seed_is_the_same_run_and_the_same_work_whatever_the_limit() -> None:
    assert with_rule(SHORT, 7) == with_rule(SHORT, 7)
    assert with_rule(SHORT, 7) != with_rule(SHORT, 8)
    works = [SHORT.work(Random(3), 900.0) for _ in range(2)]
    assert [(j.created, j.tokens) for j in works[0]] == [(j.created, j.tokens) for j in works[1]]


@pytest.mark.parametrize("name", ["game", "card-4gb", "exporter-frozen", "resets", "vllm-tight"])
def test_what_pages_say_is_decided_alike(name: str) -> None:
    """So the figures are those of the autoscaler's own watch, which reads pages."""
    scenario = replace(next(s for s in SCENARIOS if s.name == name), seconds=2 * HOUR)

    def changes(watch_as: type[Watch]) -> list[tuple[float, str, int]]:
        run = World(scenario, 1, settings=Settings(), watch_as=watch_as).play()
        return [(at, decision.reason, decision.limit) for at, _, decision in run.changes]

    assert changes(PageWatch) == changes(Watch)
    assert changes(Watch)


def test_the_best_static_limit_is_the_best_of_all_that_obey_the_law() -> None:
    best = best_static(SHORT, 1)
    runs = {n: static(SHORT, 1, [n]) for n in range(1, 13)}
    lawful = {
        n: r for n, r in runs.items() if (r.above["host"] <= 0.02 and not r.failures) or n == 1
    }
    assert best.run.tokens == max(run.tokens for run in lawful.values())
    assert best.tried == 12


def test_for_two_hosts_the_search_in_turns_finds_the_best_of_all_pairs() -> None:
    cards = {
        "small": replace(CARD, total_gb=7.2),
        "large": replace(CARD, curve=saturating(40, 150)),
    }
    hosts = {name: Plan(shape=shape, max=4) for name, shape in cards.items()}
    pair = replace(SHORT, hosts=hosts, work=usual(2500))
    best = best_static(pair, 1)
    least = static(pair, 1, [1, 1]).failures
    lawful = []
    for limits in itertools.product(range(1, 5), repeat=2):
        run = static(pair, 1, limits)
        if all(
            limit == 1
            or (run.above[name] <= 0.02 and run.failures.get(name, 0) <= least.get(name, 0))
            for name, limit in zip(hosts, limits, strict=True)
        ):
            lawful.append(run.tokens)
    assert 1 < len(lawful) < 16
    assert best.run.tokens == max(lawful)


def test_a_play_that_broke_the_law_is_not_played_to_its_end() -> None:
    law = Law(above_most=0.02, failures_most={})
    whole, cut = static(SHORT, 1, [12]), static(SHORT, 1, [12], law)
    assert law.is_broken("host", cut.above["host"], cut.failures.get("host", 0))
    assert cut.tokens < whole.tokens
    assert static(SHORT, 1, [2], law) == static(SHORT, 1, [2])


def test_a_failure_is_put_down_to_the_step_before_it_for_three_minutes_only() -> None:
    steps = (at(200.0, "outside", 6.0),)
    run = static(replace(SHORT, steps=steps), 1, [6])
    assert isinstance(run, Run)
    assert run.failures["host"] > 0
    assert 0 < run.failures_at_steps <= run.failures["host"]


def test_token_counts_have_the_quantiles_of_the_trace() -> None:
    rng, drawn = Random(1), from_quantiles(CONVERSATION)
    tokens = sorted(drawn(rng) for _ in range(4000))
    assert tokens[2000] == pytest.approx(129, rel=0.1)
    assert tokens[3600] == pytest.approx(424, rel=0.1)
    assert len(arrivals(USUAL)(Random(1), 3600.0)) == pytest.approx(1500, rel=0.1)
