"""A task and a time as the outside sees them."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ygg.tasks import Held, Outcome, Status, Task
from ygg.wire import parse_rfc3339, rfc3339, task_json, told_seconds, told_time

pytestmark = pytest.mark.pure

OPEN = Task(
    id="01hq3k8v9x2m4n6p7r",
    title="Say hello",
    description="Say hello\nin French",
    labels=("greeting",),
    type="general",
    priority=1,
    created_at=1_795_490_400.1234,
    sequence=7,
)
DONE = replace(
    OPEN,
    status=Status.CLOSED,
    outcome=Outcome.DONE,
    host="skadi",
    attempt=2,
    strikes=1,
    owner="d1",
    started_at=1_795_490_401.0,
    ended_at=1_795_490_402.5,
    artifact="2026-11-24/01hq3k8v9x2m4n6p7r.md",
    answer={"finish": "stop", "completion_tokens": 12},
    options={"num_ctx": 8192},
    metadata={"for": ["you", None]},
)


def test_a_task_that_waits() -> None:
    assert task_json(OPEN) == {
        "id": "01hq3k8v9x2m4n6p7r",
        "title": "Say hello",
        "description": "Say hello\nin French",
        "labels": ["greeting"],
        "type": "general",
        "priority": 1,
        "created_at": "2026-11-24T03:20:00.123Z",
        "status": "open",
        "outcome": None,
        "error": None,
        "host": None,
        "attempt": 0,
        "strikes": 0,
        "started_at": None,
        "ended_at": None,
        "artifact": None,
        "key": None,
        "metadata": None,
        "run_next": False,
        "not_before": None,
        "held": None,
        "submitter": "",
        "source": None,
        "source_id": None,
        "model": "",
        "system": None,
        "options": {},
        "timeout": None,
        "answer": None,
    }


def test_a_task_that_is_done_is_plain_json() -> None:
    seen = json.loads(json.dumps(task_json(DONE)))
    assert seen["status"] == "closed"
    assert seen["outcome"] == "done"
    assert seen["started_at"] == "2026-11-24T03:20:01.000Z"
    assert seen["ended_at"] == "2026-11-24T03:20:02.500Z"
    assert seen["answer"] == {"finish": "stop", "completion_tokens": 12}
    assert seen["options"] == {"num_ctx": 8192}
    assert seen["metadata"] == {"for": ["you", None]}


def test_a_task_that_is_held_says_until_when() -> None:
    seen = task_json(replace(OPEN, held=Held.NOT_BEFORE, not_before=0.0))
    assert (seen["held"], seen["not_before"]) == ("not_before", "1970-01-01T00:00:00.000Z")


def test_a_new_field_is_shown_or_left_out_on_purpose() -> None:
    inside = {"sequence", "owner"}
    assert set(task_json(OPEN)) == {field.name for field in fields(Task)} - inside


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1.001, "1970-01-01T00:00:01.001Z"),
        (0.9996, "1970-01-01T00:00:01.000Z"),
        (-0.001, "1969-12-31T23:59:59.999Z"),
        (1_795_490_400.0, "2026-11-24T03:20:00.000Z"),
    ],
)
def test_times_are_shown_in_utc_with_milliseconds(seconds: float, text: str) -> None:
    assert rfc3339(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("1970-01-01t00:00:01.5z", 1.5),
        ("1970-01-01 01:00:00+01:00", 0.0),
        ("1969-12-31T18:30:00-05:30", 0.0),
        ("1970-01-01T00:00:00-00:00", 0.0),
        ("1970-01-01T00:00:00.1234567890Z", 0.123456),
        ("2024-02-29T00:00:00Z", 1_709_164_800.0),
    ],
)
def test_times_are_read_with_any_offset(text: str, seconds: float) -> None:
    assert parse_rfc3339(text) == seconds


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("2026-11-24T03:20:00", "time zone"),
        ("2026-11-24", "not a date and time"),
        ("tomorrow", "'tomorrow' is not a date and time"),
        ("", "not a date and time"),
        ("1795490400", "not a date and time"),
        ("2026-11-24T03:20Z", "not a date and time"),
        ("2026-11-24T03:20:00Z\n", "not a date and time"),
        ("\u0662026-11-24T03:20:00Z", "not a date and time"),
        ("2026-13-24T03:20:00Z", "month"),
        ("2026-02-29T03:20:00Z", "day"),
        ("2026-11-24T25:20:00Z", "hour"),
        ("2026-11-24T03:20:60Z", "second"),
        ("2026-11-24T03:20:00+24:00", "offset"),
        ("0001-01-01T00:00:00+01:00", "no time that exists"),
        ("x" * 10_000, r"xxx\.\.\.' is not"),
    ],
)
def test_what_is_no_time_is_refused_with_the_reason_and_an_example(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        parse_rfc3339(text)
    assert "2026-11-24T03:20:00Z" in str(caught.value)
    assert len(str(caught.value)) < 250


@given(st.integers(-60_000_000_000_000, 250_000_000_000_000))
def test_what_is_shown_is_read_back_to_the_millisecond(milliseconds: int) -> None:
    assert round(parse_rfc3339(rfc3339(milliseconds / 1000)) * 1000) == milliseconds


@given(st.floats())
def test_any_number_is_told_and_read_back(seconds: float) -> None:
    """What a damaged row holds is no reason to tell nothing at all."""
    again = told_seconds(told_time(seconds))
    assert again == pytest.approx(seconds, abs=0.001, nan_ok=True)


def test_what_is_neither_a_time_nor_a_number_is_refused_as_a_time() -> None:
    with pytest.raises(ValueError, match="'soon' is not a date and time"):
        told_seconds("soon")
