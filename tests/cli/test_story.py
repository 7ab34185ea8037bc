"""A task's story in words, and rows of the journal as sentences."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.cli.values import BEGAN, a_row, a_task, at
from ygg import printing
from ygg.cli.story import story_lines, task_lines, times, why_lines
from ygg.cli.words import told, whose_fault
from ygg.faults import VERDICTS, Cause, Hurts, Next
from ygg.journal import Kind
from ygg.printing import Paper
from ygg.shapes import RowView, Why, WhyOption
from ygg.tasks import Status

pytestmark = pytest.mark.pure

PLAIN = Paper()

#: Two attempts, the first of them lost with its host, and a person who helped.
ROWS = [
    a_row("accepted", 0),
    a_row("started", 10, host="surtr", model="m", attempt=1),
    a_row("reopened", 15, host="surtr", attempt=1, reason="cut_off",
          detail={"error": "the connection ended", "strike": True}),
    a_row("prioritised", 20, detail={"before": ["general", "", 1, 2, BEGAN, 1]}),
    a_row("started", 45, host="skadi", model="m", attempt=2),
    a_row("closed", 165, host="skadi", attempt=2, reason="done",
          detail={"completion_tokens": 117, "finish": "length"}),
]  # fmt: skip
DONE = a_task(
    status="closed", outcome="done", host="skadi", attempt=2, strikes=1, run_next=True, priority=0,
    started_at=at(45), ended_at=at(165),
    answer={"completion_tokens": 117, "seconds": 119.0, "finish": "length", "thinking": True,
            "server_wait_seconds": 2.0},
)  # fmt: skip


def text(lines: list[str]) -> str:
    return "\n".join(lines)


def test_the_whole_story_is_told() -> None:
    assert task_lines(DONE, ROWS, now=BEGAN + 3600, paper=PLAIN) == [
        "t1  Why?",
        "  status      closed (done)",
        "  type        general, priority 0 (critical)",
        "  created     2026-11-24T03:20:00.000Z (1 h ago)",
        "  waited      40 s",
        "  ran         2 min 5 s on skadi, attempt 2, 1 strike",
        (
            "  answer      117 tokens in 1 min 59 s, of which 2.0 s queued inside the server, "
            "cut at the token limit, with thinking: `ygg answer t1`"
        ),
        "  story",
        "         +0.0 s  accepted",
        "          +10 s  started on surtr (m), attempt 1, after waiting 10 s",
        (
            "          +15 s  back to its place, from surtr: cut off (the host's fault), a strike: "
            "the connection ended, after running 5.0 s"
        ),
        "          +20 s  priority 0 (critical) instead of 2 (normal), runs next, before all others",
        "          +45 s  started on skadi (m), attempt 2, after waiting 30 s",
        "    +2 min 45 s  answered with 117 tokens, cut at the token limit, after running 2 min",
    ]


def test_a_blocked_task_says_why_and_what_to_do() -> None:
    task = a_task(status="blocked", error="too long", host="surtr", attempt=1)
    rows = [
        *ROWS[:2],
        a_row("blocked", 12, host="surtr", reason="bad_request", detail={"error": "too long"}),
    ]
    shown = text(task_lines(task, rows, now=BEGAN, paper=PLAIN))
    assert "error       too long" in shown
    assert "blocked on surtr: bad request (the task's fault): too long" in shown
    assert "`ygg retry t1` sends it back, `ygg cancel t1` gives it up" in shown


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "`ygg why t1` says what it waits for"),
        ({"held": "held"}, "`ygg release t1` lets it start"),
        ({"held": "held"}, "open (held by hand)"),
        ({"held": "not_before", "not_before": at(60)}, f"not before  {at(60)}"),
        ({"run_next": True}, "open (runs next)"),
        ({"labels": ["a", "b"]}, "labels      a, b"),
        ({"model": "qwen"}, "model       qwen"),
        ({"description": "one\n\ntwo"}, "prompt      one\n              two"),
        ({"status": "closed", "outcome": "cancelled"}, "closed (cancelled)"),
    ],
)
def test_what_there_is_to_say_of_a_task_is_said(fields: dict[str, Any], said: str) -> None:
    assert said in text(task_lines(a_task(**fields), [], now=BEGAN, paper=PLAIN))


def test_a_long_prompt_is_cut_and_says_so_and_one_like_the_title_is_not_repeated() -> None:
    long = a_task(description="\n".join(f"line {n}" for n in range(9)))
    shown = text(task_lines(long, [], now=BEGAN, paper=PLAIN))
    assert "line 3" in shown
    assert "line 4" not in shown
    assert "... and 5 lines more (--json has all)" in shown
    same = a_task(description="Why?\n")
    assert "prompt" not in text(task_lines(same, [], now=BEGAN, paper=PLAIN))


def test_times_of_all_attempts_are_summed_and_go_on_until_now() -> None:
    whole = times(ROWS, BEGAN + 9999)
    assert (whole.waited_seconds, whole.ran_seconds) == (40.0, 125.0)
    running = times(ROWS[:2], BEGAN + 30)
    assert (running.waited_seconds, running.ran_seconds) == (10.0, 20.0)
    waiting = times(ROWS[:3], BEGAN + 30)
    assert (waiting.waited_seconds, waiting.ran_seconds) == (25.0, 5.0)
    nothing = times([], BEGAN)
    assert (nothing.waited_seconds, nothing.ran_seconds) == (0.0, 0.0)


kinds = st.sampled_from([*map(str, Kind), "reset", "of_a_later_version"])
rows_of_any_kind = st.builds(
    lambda kind, seconds, host, reason, before: a_row(
        kind, seconds, host=host, reason=reason,
        detail={"error": "e", "strike": True, "before": before, "mode": "down", "limit": 3},
    ),
    kinds,
    st.floats(0, 1e6),
    st.sampled_from([None, "surtr"]),
    st.sampled_from([None, "cut_off", "drained", "rescue", "retry", "\x1b[2Jnew"]),
    st.sampled_from([None, ["general", "", 1, 3, 0.0, 1], [1], "x"]),
)  # fmt: skip


@given(rows=st.lists(rows_of_any_kind, max_size=6), width=st.integers(20, 120))
def test_a_story_of_any_rows_fits_and_has_them_all(rows: list[RowView], width: int) -> None:
    rows = sorted(rows, key=lambda row: row.at)
    lines = story_lines(a_task(), rows, Paper(width))
    assert len(lines) >= len(rows)
    assert all(printing.columns(line) <= width for line in lines)
    assert "\x1b" not in text(lines)
    taken = times(rows, BEGAN + 1e6)
    assert taken.waited_seconds >= 0
    assert taken.ran_seconds >= 0


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_task_fits_a_narrow_terminal(width: int) -> None:
    for line in task_lines(DONE, ROWS, now=BEGAN, paper=Paper(width)):
        assert printing.columns(line) <= width


def test_colours_say_nothing_that_is_not_said_without() -> None:
    task = a_task(status="blocked", error="no")
    coloured = text(task_lines(task, ROWS, now=BEGAN, paper=Paper(colour=True)))
    plain = text(task_lines(task, ROWS, now=BEGAN, paper=PLAIN))
    assert "\x1b[31mblocked\x1b[0m" in coloured
    for code in ("0", "1", "2", "31", "32", "33"):
        coloured = coloured.replace(f"\x1b[{code}m", "")
    assert coloured == plain


# -- sentences -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_a_culprit_or_none(cause: Cause) -> None:
    verdict = VERDICTS[cause]
    said = whose_fault(cause.value)
    if verdict.next is Next.BLOCK:
        assert said == "the task's fault"
    else:
        words = {
            Hurts.HOST: "the host's fault",
            Hurts.DOUBT: "the host's fault",
            Hurts.REST: "nobody's",
            Hurts.OPTION: "configur",
        }
        assert words[verdict.hurts] in said


def test_a_reason_that_is_no_cause_blames_nobody() -> None:
    assert whose_fault("drained") == ""


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (a_row("reopened", reason="retry"), "back to its place: a person sent it back"),
        (a_row("reopened", host="h", reason="busy", detail={"error": "HTTP 503"}),
         "back to its place, from h: busy (nobody's fault, the host is busy): HTTP 503"),
        (a_row("blocked", host="h", reason="drained", detail={"error": "drained: ..."}),
         "blocked on h: the dispatcher was ended while it ran: drained: ..."),
        (a_row("blocked", host="h", reason="rescue", detail={"strike": True}),
         "blocked on h: its dispatcher died while it ran, a strike"),
        (a_row("missed", host="h"), "was to start on h, but was gone by then"),
        (a_row("prioritised", detail={"before": ["g", "", 0, 4, 0.0, 1]}),
         "given another place (before: priority 4, backlog, to run next)"),
        (a_row("closed", detail={}), "answered"),
        (a_row("cancelled"), "cancelled"),
        (a_row("held"), "held back by hand"),
        (a_row("released"), "released"),
        (a_row("host", host="h", reason="refused", detail={"mode": "down"}),
         "h is down: refused"),
        (a_row("option", host="h", model="m", reason="no such model", detail={"mode": "down"}),
         "h with m is down: no such model"),
        (a_row("option", host="h", model="m", reason="no such file",
               detail={"mode": "down", "type": "ocr"}),
         "h with the handler of type ocr is down: no such file"),
        (a_row("paused", host="h", reason="driver", detail={"by": "ann", "until": BEGAN}),
         "h is paused by ann until 2026-11-24T03:20:00.000Z: driver"),
        (a_row("resumed", host="h", reason="its time is up"),
         "h takes tasks again: its time is up"),
        (a_row("resized", host="h", reason="pin", detail={"before": 2, "limit": 3}),
         "h has the limit 3 (it was 2): pin"),
        (a_row("resized", host="h", reason="wait", detail={"before": 2, "limit": 3, "by": "n/1"}),
         "h has the limit 3 (it was 2) by n/1: wait"),
        (a_row("pinned", host="h", detail={"limit": 1, "by": "ann"}), "h is pinned at 1 by ann"),
        (a_row("unpinned", host="h", detail={"by": "ann"}), "h is no longer pinned by ann"),
        (a_row("configured", reason="hosts.yaml",
               detail={"semaphores": {"h": "h"}, "routes": {"a": [], "b": []}}),
         "the settings are in force: 1 host, 2 types (hosts.yaml)"),
        (a_row("opened", reason="d1"), "a dispatcher began (d1)"),
        (a_row("left", reason="d1"), "a dispatcher ended (d1)"),
        (a_row("reset", reason="pruned"), "rows before this one can't be had any more: pruned"),
        (a_row("of_a_later_version", host="h", reason="so"), "h of_a_later_version: so"),
    ],
)  # fmt: skip
def test_a_row_is_a_sentence(row: RowView, said: str) -> None:
    assert told(row) == said


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_row_has_its_own_sentence(kind: Kind) -> None:
    row = a_row(kind.value, host="h", reason="r", detail={"mode": "up", "limit": 1})
    assert told(row) != told(a_row("of_a_later_version", host="h", reason="r")).replace(
        "of_a_later_version", kind.value
    )


def test_why_lists_each_option_with_what_is_in_the_way() -> None:
    options = (
        WhyOption(host="surtr", model="m", reason="no_slot", detail="all slots are taken: 2 of 2"),
        WhyOption(host="skadi", model=None, reason=None, detail=""),
    )
    why = Why(id="t1", status=Status.OPEN, held=None, summary="it waits", options=options)
    assert why_lines(why, PLAIN) == [
        "t1  it waits",
        "",
        "HOST   MODEL  WHY NOT",
        "surtr  m      all slots are taken: 2 of 2",
        "skadi  -      it could start there now",
    ]
    ended = Why(id="t1", status=Status.CLOSED, held=None, summary="it is closed", options=())
    assert why_lines(ended, PLAIN) == ["t1  it is closed"]


@pytest.mark.parametrize("at", ["1e+300", "-1e+300", "inf", "nan"])
def test_a_time_that_no_calendar_has_does_not_end_the_story(at: str) -> None:
    rows = [replace(row, at=at) for row in ROWS]
    told = text(task_lines(replace(DONE, created_at=at), rows, now=BEGAN, paper=PLAIN))
    assert f"created     {at} (" in told
