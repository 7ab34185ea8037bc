"""What was decided can be told: in sentences, as a chart, and again with other settings."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from autoscaler.chart import chart
from autoscaler.explain import sentences, story_of
from autoscaler.exposition import LoopCollector
from autoscaler.observed import Memory, Signals
from autoscaler.policy import Action, Reason
from autoscaler.records import Record
from autoscaler.replay import replay
from autoscaler.settings import Settings
from autoscaler.words import waits_for, why
from tests.autoscaler.test_policy_properties import scenes
from tests.autoscaler.worlds import World
from tests.worlds import run_virtual

pytestmark = pytest.mark.pure

SETTINGS = Settings()
SEEN = Signals(now=0.0, limit=2, min=1, max=4, active=2, waiting=3, oldest_wait=74.0, util=0.81)


def record(at: float = 0.0, **changes: object) -> Record:
    given: dict[str, object] = {
        "at": at, "run": "r", "host": "h", "limit": 2, "wanted": 2, "action": Action.HOLD,
        "reason": Reason.SATISFIED, "effect": "unchanged", "signals": replace(SEEN, now=at), **changes,
    }  # fmt: skip
    return msgspec.convert(given, Record)


def told(*records: Record, now: float = 100.0) -> str:
    story = story_of(records)
    assert story is not None
    return "\n".join(sentences(story, SETTINGS, now))


# -- sentences -----------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_told_in_words(reason: Reason) -> None:
    assert why(record(reason=reason), SETTINGS)
    moved_by = {
        Reason.BOUNDS, Reason.HOST_FAILURES, Reason.MEMORY_HIGH, Reason.NO_GAIN,
        Reason.UNJUDGED,
        Reason.LOW_UTILIZATION, Reason.WAIT,
    }  # fmt: skip
    assert bool(waits_for(record(reason=reason), SETTINGS)) != (reason in moved_by)


@given(scenes(), st.sampled_from(Reason), st.sampled_from(Action), st.text())
def test_no_decision_is_too_odd_to_be_told(
    seen: Signals, reason: Reason, action: Action, effect: str
) -> None:
    one = record(signals=seen, reason=reason, action=action, effect=effect)
    assert "h: the limit is" in told(one)


def test_the_limit_its_reason_and_what_is_waited_for_are_told() -> None:
    grown = record(
        10.0, limit=2, wanted=3, action=Action.GROW, reason=Reason.WAIT, effect="resized"
    )
    full = replace(SEEN, limit=3, memory=Memory(last=0.8, high=0.8, window_high=0.8))
    held = record(
        90.0, limit=3, wanted=3, reason=Reason.FORECAST, signals=full, evidence={"forecast": 0.93}
    )
    said = told(grown, held)
    assert said.splitlines() == [
        "h: the limit is 3, within 1 to 4.",
        f"It went from 2 to 3 1 min 30 s ago, because {why(grown, SETTINGS)}.",
        f"The last decision, 10 s ago: hold, because {why(held, SETTINGS)}.",
        "It waits for this: tasks that take less memory, or more memory.",
    ]
    assert "a task has waited 1 min 14 s, over 1 min, and memory allows it" in said
    assert "memory with one more task is forecast at 93%, not under 90%" in said


def test_a_limit_that_somebody_else_set_is_not_the_autoscalers() -> None:
    text = told(record(10.0, limit=2), record(25.0, limit=4, wanted=4))
    assert "It went from 2 to 4 1 min 15 s ago, not by the autoscaler" in text


def test_a_resize_that_was_just_done_is_the_limit() -> None:
    last = record(limit=2, wanted=3, action=Action.GROW, reason=Reason.WAIT, effect="resized")
    story = story_of([last])
    assert story is not None
    assert story.last.limit_after == 3


@pytest.mark.parametrize(
    ("effect", "words"),
    [("dry_run", "a dry run"), ("standby", "Another autoscaler leads"),
     ("unreached", "was not reached"), ("stale", "did not carry it out: stale (so it is)")],
)  # fmt: skip
def test_what_became_of_a_decision_is_told(effect: str, words: str) -> None:
    assert words in told(
        record(wanted=3, action=Action.GROW, reason=Reason.WAIT, effect=effect, detail="so it is")
    )


def test_shrinks_in_vain_are_told_with_what_to_set() -> None:
    one = record(reason=Reason.MEMORY_AT_MIN, evidence={"futile_shrinks": 2})
    assert "`gpu: {memory: off}`" in told(one)
    assert "`gpu: {memory: off}`" not in told(record(evidence={"futile_shrinks": 1}))


# -- chart ---------------------------------------------------------------------------------------


def drawn(records: Sequence[Record], **more: bool) -> list[str]:
    return list(chart(records, SETTINGS, begin=0.0, end=100.0, width=60, zone=time.gmtime, **more))


def test_a_chart_shows_when_values_were_high_and_when_unknown() -> None:
    low = replace(SEEN, memory=Memory(last=0.1, high=0.1, window_high=0.1))
    high = replace(SEEN, memory=Memory(last=1.0, high=1.0, window_high=1.0))
    lines = drawn([record(10.0, signals=low), record(90.0, signals=high), record(95.0)])
    at = next(n for n, line in enumerate(lines) if line.startswith("memory"))
    top, bottom = lines[at], lines[at + 2]
    assert top.count("█") == 1
    assert top.rstrip().endswith("100%")
    assert sum(bottom.count(block) for block in "▁▂▃▄▅▆▇█") == 2  # the third is not known
    assert bottom.index("█") > bottom.index("▂")


def test_a_chart_lists_the_moves() -> None:
    grown = record(65.0, limit=2, wanted=3, action=Action.GROW, reason=Reason.WAIT, effect="stale")
    assert drawn([grown])[-1] == "00:01:05  2 → 3  wait (stale)"
    assert drawn([grown], plain=True)[-1] == "00:01:05  2 -> 3  wait (stale)"
    assert all(line.isascii() for line in drawn([grown], plain=True))


def test_a_chart_lists_moves_of_others_too() -> None:
    grown = record(
        10.0, limit=2, wanted=3, action=Action.GROW, reason=Reason.WAIT, effect="resized"
    )
    moves = drawn([grown, record(25.0, limit=3), record(40.0, limit=1), record(55.0, limit=1)])[-2:]
    assert moves == [
        "00:00:10  2 → 3  wait",
        "00:00:40  3 → 1  by hand, by hosts.yaml or by the server's own limit",
    ]


def test_a_limit_that_is_set_at_once_after_ours_is_another_change() -> None:
    grown = record(
        10.0, limit=2, wanted=3, action=Action.GROW, reason=Reason.WAIT, effect="resized"
    )
    assert "It went from 3 to 4 1 min 15 s ago, not by the" in told(grown, record(25.0, limit=4))


def test_no_room_for_the_tasks_that_run_is_told_as_such() -> None:
    one = record(reason=Reason.FORECAST, evidence={"preemptions": 4.0})
    assert "the server put off 4 task(s) in the last window for want of KV cache" in told(one)


@given(st.lists(st.tuples(st.floats(-50, 150), scenes())), st.integers(0, 300))
def test_a_chart_fits_its_width_whatever_was_recorded(
    seen: list[tuple[float, Signals]], width: int
) -> None:
    records = [record(at, signals=one) for at, one in sorted(seen, key=lambda pair: pair[0])]
    lines = list(chart(records, SETTINGS, begin=0.0, end=100.0, width=width))
    assert max(map(len, lines)) <= max(width, 20 + 24) + 6


# -- replay --------------------------------------------------------------------------------------


def recorded(used: float, seconds: float, settings: Settings = SETTINGS) -> list[Record]:
    async def story() -> list[Record]:
        async with World(used=used, settings=settings) as world:
            await world.passes(seconds)
            return list(world.records)

    found: list[Record] = []

    async def keep() -> None:
        found.extend(await story())

    run_virtual(keep())
    return found


def test_a_replay_with_the_same_settings_decides_the_same() -> None:
    records = recorded(5e9, 900)
    found = list(replay(records, SETTINGS, SETTINGS))
    assert len(found) == len(records) > 50
    assert all(one.is_as_recorded and not one.differs for one in found)


def test_a_replay_with_other_settings_says_where_they_would_have_decided_otherwise() -> None:
    records = recorded(6.6e9, 300)
    found = list(replay(records, SETTINGS, replace(SETTINGS, memory_high_ratio=0.8)))
    first = next(one for one in found if one.differs)
    assert (first.after.reason, first.after.limit) == (Reason.MEMORY_HIGH, 1)
    assert all(one.is_as_recorded for one in found)


def test_another_start_of_the_autoscaler_remembers_nothing() -> None:
    first, second = recorded(5e9, 300), recorded(5e9, 300)
    second = [msgspec.structs.replace(one, run="another") for one in second]
    assert all(one.is_as_recorded for one in replay([*first, *second], SETTINGS, SETTINGS))


# -- metrics -------------------------------------------------------------------------------------


def test_the_page_has_what_was_seen_what_matters_and_what_is_wanted() -> None:
    async def story() -> None:
        async with World() as world:
            registry = CollectorRegistry()
            registry.register(LoopCollector(world.loop.standing, world.watch))
            assert "ygg_autoscaler_desired{" not in generate_latest(registry).decode()
            await world.passes(80)
            page = generate_latest(registry).decode()
        assert 'ygg_autoscaler_signal{host="h",signal="utilization"} 0.4' in page
        assert 'ygg_autoscaler_threshold{host="h",signal="utilization"} 0.5' in page
        assert 'ygg_autoscaler_threshold{host="h",signal="memory"} 0.9' in page
        assert 'ygg_autoscaler_desired{host="h"} 3.0' in page
        assert 'ygg_autoscaler_signal_age_seconds{host="h",source="queue"}' in page
        assert "ygg_autoscaler_leads 1.0" in page
        assert re.search(
            r'decisions_total\{action="grow",host="h",reason="low_utilization"\} 1.0', page
        )

    run_virtual(story())
