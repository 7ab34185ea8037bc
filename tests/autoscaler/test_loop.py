"""The loop on virtual time: what is seen becomes one call an interval, and nothing moves blindly."""

from __future__ import annotations

import itertools
import logging
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from autoscaler.chart import chart
from autoscaler.dispatcher import Order, OrderAnswer
from autoscaler.explain import sentences, story_of
from autoscaler.loop import Lead
from autoscaler.settings import Settings
from autoscaler.sightings import Kind, Sighting, Source, Taker
from autoscaler.targets import targets_of
from autoscaler.words import why
from tests.autoscaler import pages
from tests.autoscaler.worlds import HOSTS, World, fleet
from tests.worlds import run_virtual

pytestmark = pytest.mark.pure


def story(world: World, tell: Callable[[World], Awaitable[None]]) -> World:
    async def run() -> None:
        async with world:
            await tell(world)

    run_virtual(run())
    return world


def passing(seconds: float) -> Callable[[World], Awaitable[None]]:
    return lambda world: world.passes(seconds)


def test_each_interval_has_one_call_with_all_hosts() -> None:
    two = "hosts: {h: {url: 'http://h:1', api: ollama}, g: {url: 'http://g:1', api: ollama}}"
    world = story(World(text=two), passing(61))
    orders = [order for order in world.orders if not order.leaves]
    assert len(orders) == 4
    assert {order.holder for order in orders} == {"us"}
    assert {order.interval for order in orders} == {15.0}
    # The dispatcher's page has one of them: nothing is known of the other.
    assert [set(order.hosts) for order in orders] == [{"h"}] * 4


def test_hosts_that_share_slots_have_one_decision_by_the_name_of_the_one_that_has_them() -> None:
    text = HOSTS[:-1] + ", g: {url: 'http://h:1', api: ollama, shares: h}}"
    world = story(World(text=text), passing(80))
    assert {name for order in world.orders for name in order.hosts} == {"h"}
    assert world.limit == 3


def test_low_utilization_with_a_queue_grows_once_a_window_was_seen() -> None:
    world = story(World(), passing(80))
    assert world.reasons[:3] == ["warming_up"] * 3
    assert "low_utilization" in world.reasons
    assert world.limit == 3


def test_memory_over_its_threshold_shrinks_within_two_intervals() -> None:
    async def tell(world: World) -> None:
        await world.passes(20)
        world.used = 7.6e9
        await world.passes(30)

    world = story(World(), tell)
    assert (world.limit, world.reasons[-1]) == (1, "memory_at_min")
    assert "memory_high" in world.reasons


def test_memory_is_brought_down_while_the_dispatchers_pages_are_dead_but_its_ear_is_not() -> None:
    """Each shrink but the first would else expect the limit of the last page."""

    async def tell(world: World) -> None:
        await world.passes(20)
        world.broken.add("dispatcher")
        world.used = 7.6e9
        await world.passes(200)

    world = story(World(limit=4), tell)
    assert (world.limit, world.reasons[-1]) == (1, "memory_at_min")
    assert "stale" not in {record.effect for record in world.records}


def test_other_sources_are_looked_at_and_what_was_learned_counts_on() -> None:
    world = World()
    followed: list[object] = []

    class Others:
        async def follow(self, take: Taker) -> None:
            followed.append(self)
            await World.follow(world, take)

    async def tell(w: World) -> None:
        await w.passes(50)
        assert w.reasons[-1] == "warming_up"
        others = Others()
        two = HOSTS[:-1] + ", g: {url: 'http://g:1', api: ollama, slots: {start: 1}}}"
        w.watch.follow(w.settings, targets_of(fleet(two)))
        w.loop.look_at(others)
        await w.passes(30)
        assert followed == [others]

    story(world, tell)
    assert world.limit == 3, "it grew as if nothing had been"


def test_of_a_host_that_went_nothing_is_left() -> None:
    world = World()

    async def tell(w: World) -> None:
        await w.passes(40)
        assert {host for host, _, _ in w.loop.standing.decisions} == {"h"}
        g = "hosts: {g: {url: 'http://g:1', api: ollama, slots: {start: 1}}}"
        w.watch.follow(w.settings, targets_of(fleet(g)))
        w.loop.look_at(w)
        assert not w.loop.standing.decisions
        await w.passes(40)
        assert not w.loop.standing.decisions

    story(world, tell)


def test_a_host_that_goes_while_its_decision_is_reported_is_not_counted() -> None:
    world = World()

    async def tell(w: World) -> None:
        await w.passes(40)
        report = w.report

        async def and_goes(order: Order) -> OrderAnswer:
            w.watch.follow(w.settings, {})
            w.loop.look_at(w)
            return await report(order)

        w.report = and_goes  # type: ignore[method-assign]  # the dispatcher of this story
        await w.loop.decide_once()
        assert not w.loop.standing.decisions

    story(world, tell)


def test_an_error_of_the_sources_ends_the_loop_and_is_told() -> None:
    world = World()

    class Broken:
        async def follow(self, take: Taker) -> None:
            raise RuntimeError("a bug")

    async def tell(w: World) -> None:
        w.loop.look_at(Broken())
        await w.passes(1)
        assert w._task.done()
        assert "a bug" in repr(w._task.exception())

    story(world, tell)


def test_a_pin_is_left_alone() -> None:
    world = story(World(used=7.9e9, queue={"slots_pinned": 1}), passing(100))
    assert set(world.reasons) == {"pinned"}
    assert world.limit == 2


def test_a_dead_exporter_holds() -> None:
    async def tell(world: World) -> None:
        await world.passes(50)
        world.broken.add("exporter")
        await world.passes(300)

    world = story(World(), tell)
    assert world.reasons[-10:] == ["gpu_stale"] * 10
    assert world.watch.hosts["h"].troubles[Kind.EXPORTER] == "it is broken"
    # The dispatcher is told why, for `ygg status`, and so are the records.
    last = [order for order in world.orders if order.hosts][-1].hosts["h"]
    assert last.evidence["trouble"] == world.records[-1].evidence["trouble"] == "it is broken"
    assert why(world.records[-1], Settings()).endswith(": it is broken")


def test_a_frozen_exporter_is_as_good_as_none() -> None:
    world = story(World(frozen=True), passing(300))
    assert world.reasons[-5:] == ["gpu_stale"] * 5
    assert "frozen" in world.watch.hosts["h"].troubles[Kind.EXPORTER]


@pytest.mark.parametrize(
    "left", ["", re.sub(r"ygg_gpu_memory.*\n", "", pages.ours(gpu="1"))], ids=["card", "memory"]
)
def test_nothing_grows_by_the_cards_that_are_left_when_one_of_several_is_not_told_of(
    left: str,
) -> None:
    async def tell(world: World) -> None:
        await world.passes(10)
        world.more_cards = left
        await world.passes(300)

    world = story(World(used=2e9, more_cards=pages.ours(0.4, 6.9e9, gpu="1")), tell)
    assert world.limit == 2
    assert world.reasons[-10:] == ["gpu_stale"] * 10
    assert (
        "of the memory of 2 cards it tells that of 1 now"
        in world.watch.hosts["h"].troubles[Kind.EXPORTER]
    )


def test_with_memory_off_a_card_without_utilization_grows_by_the_wait() -> None:
    text = HOSTS.replace("model: m", "model: m, gpu: {memory: off}")

    async def tell(world: World) -> None:
        await world.passes(80)
        assert world.limit == 3
        world.broken.add("exporter")
        await world.passes(100)

    world = story(World(text=text, tells_utilization=False), tell)
    assert "wait" in world.reasons
    assert world.reasons[-1] == "gpu_stale", "one that is dead still holds"


def test_without_memory_and_exporter_by_hosts_yaml_it_grows_by_the_wait() -> None:
    nothing = "model: m, gpu: {memory: off, exporter: off}"

    async def tell(world: World) -> None:
        await world.passes(80)

    world = story(World(text=HOSTS.replace("model: m", nothing)), tell)
    assert (world.limit, world.reasons[-1]) == (3, "wait")
    world = story(World(text=HOSTS.replace("model: m", "model: m, gpu: {exporter: off}")), tell)
    assert world.reasons == ["gpu_stale"] * 5, "where memory counts, somebody must tell of it"


def test_a_dead_dispatcher_holds() -> None:
    async def tell(world: World) -> None:
        await world.passes(20)
        world.broken |= {"dispatcher", "report"}
        await world.passes(300)
        assert world.lead() is Lead.UNREACHED
        world.broken.clear()
        await world.passes(16)
        assert world.lead() is Lead.LEADS

    world = story(World(), tell)
    unreached = [record for record in world.records if record.effect == "unreached"]
    assert {r.reason for r in unreached[4:]} == {"queue_stale"}
    assert {r.detail for r in unreached} == {"nobody there"}


@pytest.mark.parametrize(
    "wrong",
    [{"slots_limit": float("nan")}, {"slots_active": -1.0}, {"demand_tasks": float("inf")},
     {"oldest_wait_seconds": -5.0}, {"oldest_wait_seconds": float("nan")}],
)  # fmt: skip
def test_absurd_numbers_of_the_dispatcher_are_none(wrong: dict[str, float]) -> None:
    async def tell(world: World) -> None:
        await world.passes(20)
        world.queue.update(wrong)
        await world.passes(100)

    world = story(World(), tell)
    assert world.reasons[-3:] == ["queue_stale"] * 3
    assert world.watch.hosts["h"].troubles[Kind.DISPATCHER]


@pytest.mark.parametrize("used", [float("nan"), -1e9, 9e9])
def test_absurd_numbers_of_an_exporter_never_move_a_limit(used: float) -> None:
    world = story(World(used=used), passing(400))
    assert world.limit == 2
    assert not {"low_utilization", "wait", "memory_high"} & set(world.reasons)


def test_a_stop_of_the_process_is_no_evidence() -> None:
    """Its clock goes on while it stands still (SIGSTOP, a machine that sleeps)."""
    world = World()
    watch, turn = world.watch, itertools.count()

    def looks(at: float) -> None:
        for source, text in (
            (Source(kind=Kind.DISPATCHER, url=""), pages.dispatcher("h")),
            (watch.sources()[0], pages.ours(0.4, 4e9 + next(turn))),
        ):
            watch.take(Sighting(source=source, at=at, text=text))

    for at in range(0, 46, 5):
        looks(float(at))
    assert [d.decision.reason for d in watch.decide(46.0)] == ["warming_up"]
    assert [d.decision.reason for d in watch.decide(2000.0)] == ["gpu_stale"]
    looks(2001.0)  # one sample, in which the limit was reached, is no window
    decided = watch.decide(2002.0) + watch.decide(2017.0)
    assert {d.decision.action for d in decided} == {"hold"}
    for at in range(2006, 2062, 5):
        looks(float(at))
    assert [d.decision.reason for d in watch.decide(2062.0)] == ["low_utilization"]


def test_a_jump_of_the_wall_clock_changes_no_decision() -> None:
    jumps = itertools.cycle([1e9, 0.0, 4e9])
    usual, jumping = World(), World(wall=lambda: next(jumps))
    for world in (usual, jumping):
        story(world, passing(200))
    assert jumping.reasons == usual.reasons
    assert {record.at for record in jumping.records} == {1e9, 0.0, 4e9}
    told = story_of(jumping.records)
    assert told is not None
    assert list(sentences(told, Settings(), 5.0))


def test_a_dispatcher_that_begins_anew_moves_nothing_by_its_counters() -> None:
    """They fall to 0; so does what was counted of failures."""

    async def tell(world: World) -> None:
        world.queue.update(tokens_total=1e6, runs_total=900, failures_total=40)
        await world.passes(100)
        world.queue.update(tokens_total=5.0, runs_total=0, failures_total=0)
        await world.passes(60)

    world = story(World(util=0.8, queue={"oldest_wait_seconds": 5.0}), tell)
    assert world.limit == 2
    assert "host_failures" not in world.reasons


def test_the_second_of_two_watches_on_and_takes_over() -> None:
    async def tell(world: World) -> None:
        await world.passes(100)
        assert world.lead() is Lead.STANDBY
        assert "'other' holds the lease" in world.loop.standing.why
        assert world.limit == 2
        world.holder = None
        await world.passes(31)
        assert world.lead() is Lead.LEADS

    world = story(World(holder="other"), tell)
    assert world.records[0].effect == "standby"
    assert world.limit == 3


def test_whoever_ends_gives_the_lease_back() -> None:
    world = story(World(), passing(20))
    assert world.orders[-1].leaves
    assert world.holder is None


def test_a_dry_run_decides_and_does_not_touch() -> None:
    for world in (
        World(settings=Settings(dry_run=True)),
        World(text=HOSTS.replace("model: m,", "model: m, dry_run: true,")),
    ):
        story(world, passing(200))
        assert world.limit == 2
        assert all(order.hosts["h"].dry_run for order in world.orders if order.hosts)
        assert {r.effect for r in world.records if r.wanted == 3} == {"dry_run"}


def test_a_dry_run_wants_one_limit_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "ygg.autoscaler"):
        world = story(World(settings=Settings(dry_run=True)), passing(400))
    wanted = [record.wanted for record in world.records]
    assert [limit for limit, _ in itertools.groupby(wanted)] == [2, 3]
    assert sum("event=grow" in record.getMessage() for record in caplog.records) == 1
    drawn = chart(world.records, Settings(), begin=0.0, end=2000.0, width=60, zone=time.gmtime)
    assert sum("(dry_run)" in line for line in drawn) == 1
    told = story_of(world.records)
    assert told is not None
    said = "\n".join(sentences(told, Settings(), 1000.0))
    assert "grow to 3" in said
    assert "It is a dry run: the limit is not touched." in said


def test_a_full_disk_costs_the_records_and_nothing_else() -> None:
    world = story(World(disk_is_full=True), passing(80))
    assert world.limit == 3
    assert world.loop.standing.records_lost >= 4


def test_trouble_is_logged_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    async def tell(world: World) -> None:
        await world.passes(20)
        world.broken.add("exporter")
        await world.passes(120)
        world.broken.clear()
        await world.passes(20)

    with caplog.at_level(logging.INFO, "ygg.autoscaler"):
        story(World(), tell)
    said = [record.getMessage() for record in caplog.records]
    assert len([s for s in said if "source_lost host=h source=exporter" in s]) == 1
    assert len([s for s in said if "source_found host=h source=exporter" in s]) == 1
    assert len([s for s in said if "event=alert host=h" in s]) == 1


def test_an_error_of_ours_in_one_source_ends_nothing_else(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def falls_over(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("autoscaler.watch.read_gpu", falls_over)
    world = story(World(), passing(200))
    assert len(world.reasons) > 10
    assert (
        "an error of ygg's own: RuntimeError('a bug')"
        in world.watch.hosts["h"].troubles[Kind.EXPORTER]
    )
    said = [record for record in caplog.records if "not_understood" in record.getMessage()]
    assert len(said) == 1
    assert said[0].exc_info


def test_who_ends_by_an_error_does_not_say_that_it_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    async def tell(world: World) -> None:
        await world.passes(20)
        monkeypatch.setattr(world.watch, "decide", lambda _: 1 / 0)
        await world.passes(20)

    world = story(World(), tell)
    assert not any(order.leaves for order in world.orders)


def test_an_alert_says_why(caplog: pytest.LogCaptureFixture) -> None:
    story(World(broken={"exporter"}), passing(100))
    [alert] = [r.getMessage() for r in caplog.records if "event=alert" in r.getMessage()]
    assert "reason=gpu_stale why='it is broken'" in alert


# -- model servers' own metrics ------------------------------------------------------------------

VLLM = "hosts: {h: {url: 'http://h:8000/v1', api: openai, model: m, slots: {start: 2, max: 4}}}"
VLLM_PAGE = pages.server("vllm")


def test_a_server_that_takes_all_memory_at_its_start_is_judged_by_its_cache() -> None:
    world = World(text=VLLM, used=7.7e9, engines={"http://h:8000/metrics": VLLM_PAGE})
    story(world, passing(400))
    assert "memory_high" not in world.reasons
    assert world.watch.hosts["h"].window.memory_mode == "kv"

    full = VLLM_PAGE.replace("0.4713", "0.99")
    world = World(text=VLLM, used=1e9, engines={"http://h:8000/metrics": full})
    story(world, passing(40))
    assert world.reasons[0] == "memory_high"


def test_memory_is_not_looked_at_before_the_server_said_what_it_is() -> None:
    world = story(World(text=VLLM, used=7.7e9, broken={"engine"}), passing(200))
    assert set(world.reasons) == {"gpu_stale"}
    trouble = world.watch.hosts["h"].troubles[Kind.EXPORTER]
    assert "memory: nvml" in trouble
    assert trouble.startswith("it is broken; ")


def test_a_server_without_metrics_is_judged_by_its_card() -> None:
    world = story(World(text=VLLM, used=7.7e9), passing(40))
    assert "memory_high" in world.reasons


@pytest.mark.parametrize("page", ["", "something_else 1\n"])
def test_a_server_whose_page_is_gone_has_its_memory_still(page: str) -> None:
    async def tell(world: World) -> None:
        await world.passes(100)
        world.engines["http://h:8000/metrics"] = page
        await world.passes(200)

    world = World(text=VLLM, used=7.7e9, engines={"http://h:8000/metrics": VLLM_PAGE})
    story(world, tell)
    assert "memory_high" not in world.reasons
    assert world.reasons[-1] == "gpu_stale"
    trouble = str([one for one in world.orders if one.hosts][-1].hosts["h"].evidence["trouble"])
    assert ("404" if not page else "none of vLLM") in trouble
    assert "took all memory" in trouble


def test_a_server_whose_page_is_gone_for_an_hour_is_another_kind_of_server() -> None:
    async def tell(world: World) -> None:
        await world.passes(100)
        del world.engines["http://h:8000/metrics"]
        await world.passes(3500)
        assert world.reasons[-1] == "gpu_stale"
        await world.passes(300)

    world = World(text=VLLM, used=5e9, engines={"http://h:8000/metrics": VLLM_PAGE})
    story(world, tell)
    assert world.watch.hosts["h"].window.memory_mode == "nvml"
    assert world.reasons[-1] != "gpu_stale"


def test_of_two_servers_that_take_all_memory_the_silent_one_may_be_the_fullest() -> None:
    other = "\n  g: {url: 'http://g:8000/v1', api: openai, model: m, shares: h}"
    two = "hosts:\n  h: {url: 'http://h:8000/v1', api: openai, model: m, slots: {start: 2, max: 4}}"

    async def tell(world: World) -> None:
        await world.passes(20)
        world.broken.add("http://h:8000/metrics")
        await world.passes(300)

    pages_of = {f"http://{name}:8000/metrics": VLLM_PAGE for name in "hg"}
    world = story(World(text=two + other, util=0.9, engines=pages_of), tell)
    assert world.limit == 2
    assert world.reasons[-10:] == ["gpu_stale"] * 10
    assert world.watch.hosts["h"].troubles[Kind.ENGINE] == "it is broken"


def test_beside_a_cache_that_moves_a_frozen_exporter_is_told_from_a_quiet_card() -> None:
    async def tell(world: World) -> None:
        await world.passes(600)

    world = World(
        text=VLLM, util=0.3, frozen=True, queue={"oldest_wait_seconds": 1.0},
        engines={"http://h:8000/metrics": VLLM_PAGE},
    )  # fmt: skip
    story(world, tell)
    assert world.reasons[-20:] == ["satisfied"] * 20
    assert "it is frozen" in world.watch.hosts["h"].troubles[Kind.EXPORTER]


@pytest.mark.parametrize("api", ["openai", "ollama"])
def test_a_cache_that_counts_and_is_told_by_nobody_is_named(api: str) -> None:
    text = VLLM.replace("model: m", "model: m, gpu: {memory: kv}").replace(
        "api: openai", f"api: {api}"
    )
    world = story(World(text=text), passing(100))
    assert world.reasons[-1] == "gpu_stale"
    trouble = str([one for one in world.orders if one.hosts][-1].hosts["h"].evidence["trouble"])
    assert "no model server of it tells how full its KV cache is" in trouble


def test_a_card_that_is_gone_for_an_hour_is_gone_for_good() -> None:
    async def tell(world: World) -> None:
        await world.passes(20)
        world.more_cards = ""
        await world.passes(3500)
        assert world.reasons[-1] == "gpu_stale"
        await world.passes(300)

    world = story(World(used=2e9, more_cards=pages.ours(0.4, 6.9e9, gpu="1")), tell)
    assert world.reasons[-1] != "gpu_stale"


def test_hosts_yaml_has_the_last_word_on_what_memory_means() -> None:
    text = VLLM.replace("model: m", "model: m, gpu: {memory: nvml}")
    world = World(text=text, used=7.7e9, engines={"http://h:8000/metrics": VLLM_PAGE})
    story(world, passing(40))
    assert "memory_high" in world.reasons


def test_requests_that_wait_inside_the_server_keep_the_limit_from_growing() -> None:
    """4 of 12 requests wait inside: the queue would only move to where priorities don't count."""
    busy = pages.server("llamacpp")
    world = World(text=VLLM, engines={"http://h:8000/metrics": busy})
    story(world, passing(100))
    assert world.reasons[-1] == "server_full"


def test_another_kind_of_server_in_the_same_place_is_learned_anew() -> None:
    async def tell(world: World) -> None:
        await world.passes(100)
        world.engines["http://h:8000/metrics"] = VLLM_PAGE.replace("3.0", "0.0")
        world.used = 7.7e9
        await world.passes(16)
        assert world.watch.hosts["h"].window.memory_mode == "kv"

    world = story(replace(World(text=VLLM), engines={}), tell)
    assert world.reasons[-1] != "memory_high"
