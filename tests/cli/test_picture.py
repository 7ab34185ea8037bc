"""The dispatcher at a glance."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.values import BEGAN, a_host, a_status, at, waiting
from ygg import printing
from ygg.cli.picture import status_lines
from ygg.health import Mode
from ygg.printing import Paper
from ygg.resizes import Effect

pytestmark = pytest.mark.pure

_CODE = re.compile("\x1b\\[[0-9]+m")

RUNNING = [
    {"id": "01aaaaaaaaaaaaaaaa", "title": "Is the train faster?", "type": "reasoning",
     "priority": 0, "running_seconds": 184.0, "tokens": 12},
    {"id": "01bbbbbbbbbbbbbbbb", "title": "And the bus?", "type": "reasoning",
     "priority": 2, "running_seconds": None, "tokens": 0},
]  # fmt: skip


def picture(paper: Paper = Paper(), **fields: Any) -> list[str]:
    return status_lines(a_status(**fields), url="http://x", now=BEGAN + 90, paper=paper)


def test_the_picture_of_the_original() -> None:
    hosts = [
        a_host("surtr-reasoning", active=2, available_slots=0, tasks=RUNNING),
        a_host("skadi", up="down", reason="refused", down_since=at(0)),
    ]
    lanes = waiting(("reasoning", "", 0, 2, 60.0), ("reasoning", "", 2, 5, 80.0),
                    ("text", "qwen", 2, 1, None))  # fmt: skip
    assert picture(hosts=hosts, waiting=lanes, held={"held": 1, "not_before": 2}) == [
        "ygg 1 at http://x, process 7, for 1 min 30 s",
        "",
        "HOST             STATE  ACTIVE  AVAILABLE_SLOTS  LIMIT",
        "surtr-reasoning  up          2                0  2 of 1..4",
        "  01aaaaaaaaaaaaaaaa  critical  3 min 4 s  12 tokens  Is the train faster?",
        "  01bbbbbbbbbbbbbbbb  normal    starting              And the bus?",
        "skadi            down        0                2  2 of 1..4",
        "  down for 1 min 30 s: refused",
        "",
        "WAITING     CRITICAL  NORMAL  OLDEST",
        "reasoning          2       5  1 min 20 s",
        "text, qwen         0       1  -",
        "all                2       6  1 min 20 s",
        "held back: 1 held by hand, 2 before their time",
        "tasks: 0 open, 3 closed",
    ]


def a_decision(limit: int, effect: str, **fields: Any) -> dict[str, Any]:
    return {
        "at": at(0), "action": "grow", "reason": "low_utilization", "limit": limit,
        "dry_run": False, "effect": effect, "detail": "", "evidence": {}, **fields,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("decision", "said"),
    [
        (a_decision(3, "resized"), "autoscaler: grow to 3 (low utilization)"),
        (a_decision(2, "unchanged", action="hold", reason="at_max"), "autoscaler: keep 2 (at max)"),
        (a_decision(3, "dry_run", dry_run=True),
         "autoscaler: would grow to 3 (low utilization, dry run)"),
        (a_decision(2, "unchanged", action="hold", reason="satisfied", dry_run=True),
         "autoscaler: keep 2 (satisfied, dry run)"),
        (a_decision(9, "out_of_bounds", detail="9 is outside its bounds, 1 to 4"),
         "autoscaler: wants to grow to 9 (low utilization): 9 is outside its bounds, 1 to 4"),
        (a_decision(1, "pinned", action="shrink", reason="memory_high", detail="it is pinned at 2"),
         "autoscaler: wants to shrink to 1 (memory high): it is pinned at 2"),
    ],
)  # fmt: skip
def test_below_a_host_stands_what_the_autoscaler_wants_and_why(
    decision: dict[str, Any], said: str
) -> None:
    lines = picture(hosts=[a_host(decision=decision)])
    place = next(n for n, line in enumerate(lines) if line.startswith("surtr"))
    assert lines[place].endswith("2 of 1..4")
    assert lines[place + 1] == f"  {said}"


@pytest.mark.parametrize("effect", Effect)
def test_each_effect_of_a_decision_can_be_told(effect: Effect) -> None:
    detail = "why not" if effect in (Effect.STALE, Effect.PINNED) else ""
    lines = picture(hosts=[a_host(decision=a_decision(3, effect.value, detail=detail))])
    assert any(line.startswith("  autoscaler: ") and "3" in line for line in lines)


@pytest.mark.parametrize(
    ("state", "quiet", "said"),
    [
        ("live", 4.0, "the autoscaler n/1 was heard 4.0 s ago"),
        ("silent", 300.0, "the autoscaler n/1 is silent for 5 min: limits stay where they are"),
        ("left", 60.0, "the autoscaler n/1 left 1 min ago: limits stay where they are"),
    ],
)
def test_which_autoscaler_is_at_work_and_since_when_it_is_silent(
    state: str, quiet: float, said: str
) -> None:
    autoscaler = {"holder": "n/1", "state": state, "heard_at": at(0), "quiet_seconds": quiet}
    assert picture(autoscaler=autoscaler)[1] == said
    assert not any("autoscaler" in line for line in picture())


def test_where_nothing_waits_it_says_so() -> None:
    assert "nothing waits for a slot" in picture()


@pytest.mark.parametrize(("count", "said"), [(1, "1 answer"), (3, "3 answers")])
def test_answers_that_were_cut_are_told(count: int, said: str) -> None:
    line = f"since the start {said} cut at a token limit, the last one that of 01aaaaaaaaaaaaaaaa"
    assert line in picture(cut={"count": count, "last": "01aaaaaaaaaaaaaaaa"})
    assert not any("cut" in line for line in picture())


def test_blocked_tasks_are_grouped_by_error_and_stand_there_once() -> None:
    lines = picture(
        blocked=[{"error": "no such model", "count": 12}, {"error": "", "count": 1}],
        needs_person=["12 tasks blocked: no such model", "1 task blocked: no error is known",
                      "skadi is down since x: refused"],
    )  # fmt: skip
    shown = "\n".join(lines)
    assert "BLOCKED  ERROR\n     12  no such model\n      1  no error is known" in shown
    assert "ygg retry --error TEXT" in shown
    assert "needs a person:\n  skadi is down since x: refused" in shown
    assert shown.count("12") == 1


def test_of_very_many_errors_the_most_frequent_have_a_line() -> None:
    lines = picture(blocked=[{"error": f"e{n}", "count": 20 - n} for n in range(15)])
    assert "      9  e11" in lines
    assert "     21  ... with 3 other errors" in lines


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ({"paused": "driver", "pause": {"reason": "driver", "by": "ann", "until": at(60)}},
         f"paused by ann until {at(60)}: driver"),
        ({"paused": "driver", "pause": {"reason": "driver", "by": "", "until": None}},
         "paused: driver"),
        ({"pinned": True, "pin": {"limit": 2, "from": "operator", "by": "ann", "until": None,
                                  "reason": "games"}}, "pinned at 2 by ann: games"),
        ({"pinned": True, "pin": {"limit": 2, "from": "file", "by": "hosts.yaml:3", "until": None,
                                  "reason": ""}}, "pinned at 2 by hosts.yaml:3"),
        ({"pinned": True}, "2 of 1..4, pinned"),
        ({"shares": "fenrir"}, "2, shared with fenrir"),
        ({"up": "trial", "reason": "it was down"}, "trial: it was down"),
        ({"up": "resting", "reason": "429"}, "resting: 429"),
        ({"options": [{"model": "qwen", "up": "down", "reason": "not found"}]},
         "qwen is down: not found"),
        ({"options": [{"model": "", "up": "trial", "reason": "r"}]},
         "the default model is trial: r"),
        ({"up": "down", "paused": "p", "reason": "r", "down_since": at(0)}, "paused, down"),
    ],
)  # fmt: skip
def test_what_is_particular_about_a_host_is_said(host: dict[str, Any], said: str) -> None:
    assert any(said in line for line in picture(hosts=[a_host(**host)]))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"draining": True}, "it is draining: nothing new starts"),
        ({"store_trouble": "the disk is full"}, "the store is in trouble: the disk is full"),
        ({"count_trouble": "it is slow"}, "not all could be counted: it is slow"),
    ],
)
def test_trouble_of_the_dispatcher_stands_first(fields: dict[str, Any], said: str) -> None:
    assert picture(**fields)[1] == said


modes = st.sampled_from([mode.value for mode in Mode])
words = st.text(max_size=60)
hosts = st.builds(
    lambda name, up, reason, title, count: a_host(
        name, up=up, reason=reason, down_since=at(0) if up == "down" else None,
        tasks=[{**RUNNING[0], "title": title}] * count,
    ),
    st.text(min_size=1, max_size=30), modes, words, words, st.integers(0, 3),
)  # fmt: skip


@given(
    hosts=st.lists(hosts, max_size=4),
    types=st.lists(st.tuples(words, st.just(""), st.integers(0, 4), st.integers(1, 10**6),
                             st.none() | st.floats(0, 1e7)), max_size=4),
    needs=st.lists(words, max_size=3),
    width=st.integers(30, 200),
)  # fmt: skip
def test_whatever_there_is_to_tell_fits_and_obeys_nobody(
    hosts: list[dict[str, Any]],
    types: list[tuple[str, str, int, int, float | None]],
    needs: list[str],
    width: int,
) -> None:
    lines = picture(
        Paper(width, colour=True), hosts=hosts, waiting=waiting(*types), needs_person=needs
    )
    for line in lines:
        shown = _CODE.sub("", line)
        assert printing.columns(shown) <= width
        assert "\x1b" not in shown
        assert "\n" not in shown


def test_a_narrow_terminal_has_the_figures_that_matter() -> None:
    lines = picture(Paper(40), hosts=[a_host("surtr-reasoning", active=2, tasks=RUNNING)],
                    waiting=waiting(("text-processing", "", 0, 2, 60.0)))  # fmt: skip
    assert "HOST             STATE  ACTIVE  FREE" in lines
    assert "surtr-reasoning  up          2     2" in lines
    assert "  01aaaaaaaaaaaaaaaa  3 min 4 s" in lines
    assert "WAITING          0  OLDEST" in lines


def test_of_what_runs_for_an_issue_its_id_is_shown() -> None:
    first, second = RUNNING
    issue = {**first, "source_id": "bd-7"}
    for tasks, said in (
        ([issue, second], [[first["id"], "bd-7", "critical"], [second["id"], "-", "normal"]]),
        ([first, second], [[first["id"], "critical", "3"], [second["id"], "normal", "starting"]]),
    ):
        lines = picture(hosts=[a_host("h", active=2, tasks=tasks)])
        words = [line.split()[:3] for line in lines]
        assert all(one in words for one in said)
