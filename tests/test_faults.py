"""Rule 8 of the design, said again in the test's own words, against the table."""

from __future__ import annotations

import pytest

from ygg.faults import VERDICTS, Cause, Failure, Hurts, Next

pytestmark = pytest.mark.pure

#: The task's fault: it is blocked, and the host stays in health.
TASK = {
    "bad_request",  # 400, 413, 422
    "empty_answer",
    "refused_answer",
    "answer_too_long",
    "deadline",
    "timeout",
    "command_failed",
    "internal",
}
#: The host's fault: the task goes back to its place, the host's health suffers.
HOST = {
    "refused",
    "reset",
    "cut_off",
    "server_error",  # 5xx but 503
    "no_final",
    "malformed",
    "stall",
    "first_token",  # its health path decides whether its health suffers
    "request_timeout",  # 408
}
#: Nobody's fault: back to its place, the host rests.
BUSY = {"busy"}  # 429, 503
#: The option's configuration: back to its place, that (host, model) takes no starts.
OPTION = {"unauthorised", "no_model", "unsupported"}  # 401, 403; 404; "does not support"


def failure(cause: Cause, *, taken: bool) -> Failure:
    return Failure(cause, "what was wrong", taken=taken)


def test_every_cause_is_somebodys_fault_and_only_one_somebodys() -> None:
    assert sorted(TASK | HOST | BUSY | OPTION) == sorted(cause.value for cause in Cause)
    assert len(TASK) + len(HOST) + len(BUSY) + len(OPTION) == len(Cause)
    assert set(VERDICTS) == set(Cause)


@pytest.mark.parametrize("cause", Cause)
def test_the_task_is_blocked_only_for_its_own_fault(cause: Cause) -> None:
    assert (failure(cause, taken=True).verdict.next is Next.BLOCK) == (cause.value in TASK)


@pytest.mark.parametrize("cause", Cause)
def test_health_suffers_where_the_fault_is(cause: Cause) -> None:
    doubted = {"first_token", "timeout"}
    suffers = {
        Hurts.NOBODY: TASK - doubted,
        Hurts.HOST: HOST - doubted,
        Hurts.DOUBT: doubted,
        Hurts.REST: BUSY,
        Hurts.OPTION: OPTION,
    }
    assert cause.value in suffers[failure(cause, taken=True).verdict.hurts]


@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.parametrize("cause", Cause)
def test_a_strike_only_for_a_host_that_failed_after_it_had_taken_the_request(
    cause: Cause, taken: bool
) -> None:
    assert failure(cause, taken=taken).strike == (taken and cause.value in HOST)


def test_a_failure_tells_a_person_what_was_wrong() -> None:
    known = Failure(
        Cause.CUT_OFF,
        "http://h:1 closed inside an answer",
        taken=True,
        retry_after=3.0,
        partial="I",
    )
    assert str(known) == known.message == "http://h:1 closed inside an answer"
    assert (known.cause, known.taken, known.retry_after, known.partial) == (
        Cause.CUT_OFF,
        True,
        3.0,
        "I",
    )
