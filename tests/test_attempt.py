"""A decided start that is carried out: its tokens, and when it may still be told to stop."""

from __future__ import annotations

import asyncio

import pytest

from tests.worlds import run_virtual
from ygg.assignment import Start
from ygg.attempt import Attempt, Stop
from ygg.fleet import Option, TypeSettings
from ygg.tasks import Lane, Rank, Waiting

pytestmark = pytest.mark.pure

START = Start(
    waiting=Waiting("t1", Lane("general"), Rank(True, 2, 0.0, 1)), option=Option("h", "m"), seen=1
)

GENERAL = TypeSettings(name="general")


class Meter:
    def __init__(self) -> None:
        self.heard: list[tuple[str, int, int]] = []

    def tokens(self, host: str, *, prompt: int, completion: int) -> None:
        self.heard.append((host, prompt, completion))

    def violation(self) -> None:
        raise AssertionError("no attempt knows invariants")


def running() -> tuple[Attempt, asyncio.Task[None]]:
    """An attempt whose host was asked."""
    attempt = Attempt(start=START, meter=Meter(), settings=GENERAL, began=0.0)
    attempt.runner = asyncio.ensure_future(asyncio.sleep(1000.0))
    return attempt, attempt.runner


def test_tokens_add_up_and_the_meter_hears_each_with_its_host() -> None:
    meter = Meter()
    attempt = Attempt(start=START, meter=meter, settings=GENERAL)
    attempt.tokens(prompt=7)
    attempt.tokens(completion=1)
    attempt.tokens(completion=2)
    assert (attempt.prompt_tokens, attempt.completion_tokens) == (7, 3)
    assert meter.heard == [("h", 7, 0), ("h", 0, 1), ("h", 0, 2)]


@pytest.mark.parametrize("stop", Stop)
def test_a_run_that_is_told_to_stop_is_cut(stop: Stop) -> None:
    async def story() -> None:
        attempt, runner = running()
        attempt.request_stop(stop)
        assert attempt.stop is stop
        with pytest.raises(asyncio.CancelledError):
            await runner

    run_virtual(story())


def test_a_claim_under_way_is_not_cut_but_will_not_begin() -> None:
    async def story() -> None:
        attempt, runner = running()
        attempt.began = None
        attempt.request_stop(Stop.DRAINED)
        assert attempt.stop is Stop.DRAINED
        assert not runner.cancelling()
        runner.cancel()

    run_virtual(story())


def test_the_first_reason_to_stop_stands() -> None:
    async def story() -> None:
        attempt, runner = running()
        attempt.request_stop(Stop.CANCELLED)
        attempt.request_stop(Stop.DRAINED)
        assert attempt.stop is Stop.CANCELLED
        assert runner.cancelling() == 1

    run_virtual(story())


def test_once_its_end_is_being_written_it_is_too_late_to_stop() -> None:
    async def story() -> None:
        attempt, runner = running()
        attempt.ending = True
        attempt.request_stop(Stop.CANCELLED)
        assert attempt.stop is None
        assert not runner.cancelling()
        runner.cancel()

    run_virtual(story())
