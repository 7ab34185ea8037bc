"""The keeper on virtual time: when hosts and options are asked, and which rows come of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds import refused, run_virtual
from ygg.faults import Cause, Failure, Hurts, Next, Verdict
from ygg.fleet import Option
from ygg.health import Mode
from ygg.journal import Kind, Note
from ygg.keeper import Keeper

#: The clock jumps, so the machine's own time is short: a loop without end is cut off here.
pytestmark = [pytest.mark.pure, pytest.mark.timeout(60)]

H = "h"
M = Option(H, "m")
OTHER = Option(H, "other")
#: More questions than any story here needs: who asks more asks without end.
MOST_QUESTIONS = 500


@dataclass
class Prober:
    """Servers that answer, or don't, as told; keeps when each was asked."""

    clock: Callable[[], float]
    down: bool = False
    has_models: bool = True
    #: Seconds until a host's answer.
    slow: float = 0.0
    looks: list[float] = field(default_factory=list)
    option_looks: list[float] = field(default_factory=list)
    bug: Exception | None = None

    async def look(self, host: str) -> None:
        self.looks.append(self.clock())
        assert len(self.looks) < MOST_QUESTIONS, "a host is asked without end"
        await asyncio.sleep(self.slow)
        if self.bug is not None:
            raise self.bug
        if self.down:
            raise refused(host)

    async def look_at_option(self, option: Option) -> None:
        self.option_looks.append(self.clock())
        assert len(self.option_looks) < MOST_QUESTIONS, "an option is asked without end"
        if self.bug is not None:
            raise self.bug
        if not self.has_models:
            raise Failure(Cause.NO_MODEL, f"{option.host} has no {option.model}", taken=False)


@dataclass
class Kept:
    """A keeper that watches one host, and every row it wrote or handed out to be written."""

    keeper: Keeper
    prober: Prober
    group: asyncio.TaskGroup
    clock: Callable[[], float]
    rows: list[Note] = field(default_factory=list)
    #: Tasks that run on the host now.
    active: int = 0
    watching: asyncio.Task[None] = field(init=False)

    def watch(self) -> None:
        self.watching = self.group.create_task(self.keeper.watch(H))

    async def write(self, notes: Sequence[Note]) -> None:
        self.rows += notes

    def worked(self, option: Option = M) -> list[Note]:
        return self._told(self.keeper.worked(option))

    def failed(
        self, cause: Cause, option: Option = M, *, retry_after: float | None = None
    ) -> list[Note]:
        failure = Failure(cause, f"it was {cause.value}", taken=True, retry_after=retry_after)
        return self._told(self.keeper.failed(option, failure, task="t1").notes)

    async def fails_on_trial(
        self, cause: Cause, *, task: str, message: str = "it failed", option: Option = M
    ) -> Verdict:
        """Wait for host and option to take a task again, and have it fail."""
        while Mode.TRIAL not in (self.mode(), self.option_mode(option)):
            await asyncio.sleep(1.0)
        while self.option_mode(option) is Mode.DOWN or self.mode() is Mode.DOWN:
            await asyncio.sleep(1.0)
        failure = Failure(cause, message, taken=True)
        judged = self.keeper.failed(option, failure, task=task)
        self._told(judged.notes)
        return judged.verdict

    def blocked(
        self, cause: Cause = Cause.EMPTY_ANSWER, option: Option = M, *, message: str = ""
    ) -> list[Note]:
        failure = Failure(cause, message or f"it was {cause.value}", taken=True)
        return self._told(self.keeper.blocked(option, failure, task="t1"))

    def _told(self, notes: list[Note]) -> list[Note]:
        self.rows += notes
        return notes

    def mode(self) -> Mode:
        health = self.keeper.host_health(H)
        assert health is not None
        return health.mode

    def option_mode(self, option: Option = M) -> Mode:
        health = self.keeper.option_healths(H).get(option)
        return Mode.UP if health is None else health.mode

    def modes_told(self, kind: Kind = Kind.HOST) -> list[str]:
        return [str(note.detail["mode"]) for note in self.rows if note.kind is kind]


@asynccontextmanager
async def kept(*, down: bool = False, drift: float = 0.0) -> AsyncIterator[Kept]:
    """One host, added and watched; at the end it is removed, and its watch must end by itself.

    Args:
        down: it does not answer.
        drift: of the keeper's clock against that of its timers, in seconds a second.
    """
    loop = asyncio.get_running_loop()

    def clock() -> float:
        return loop.time() * (1.0 - drift)

    prober = Prober(clock, down=down)
    async with asyncio.timeout(100_000.0), asyncio.TaskGroup() as group:
        k: Kept

        async def write(notes: Sequence[Note]) -> None:
            await k.write(notes)

        keeper = Keeper(prober, write=write, active=lambda _: k.active, now=clock)
        k = Kept(keeper, prober, group, clock)
        keeper.add(H)
        k.watch()
        yield k
        keeper.remove(H)


def told(
    story: Callable[[Kept], Awaitable[None]], *, down: bool = False, drift: float = 0.0
) -> None:
    """Run a story about one kept host on virtual time."""

    async def whole() -> None:
        async with kept(down=down, drift=drift) as k:
            await story(k)

    run_virtual(whole())


# -- when a host is asked --------------------------------------------------------------------------


def test_a_new_host_is_asked_at_once_and_takes_starts_with_its_first_answer() -> None:
    async def story(k: Kept) -> None:
        assert k.mode() is Mode.DOWN, "nobody has asked it yet"
        await asyncio.sleep(0.1)
        assert k.prober.looks == [0.0]
        assert k.mode() is Mode.UP
        assert k.rows == [Note(kind=Kind.HOST, host=H, detail={"mode": "up"})]

    told(story)


def test_an_idle_host_is_looked_at_every_15_seconds() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(61.0)
        assert k.prober.looks == [0.0, 15.0, 30.0, 45.0, 60.0]
        assert k.modes_told() == ["up"], "nothing changed, so nothing is written"

    told(story)


def test_a_timer_that_fires_a_hair_before_its_time_is_heeded_and_not_set_again_and_again() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(61.0)
        assert k.prober.looks == pytest.approx([0.0, 15.0, 30.0, 45.0, 60.0])

    told(story, drift=1e-9)


def test_a_host_that_never_answered_is_asked_after_half_a_second_doubling_to_five() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(18.0)
        assert k.prober.looks == [0.0, 0.5, 1.5, 3.5, 7.5, 12.5, 17.5]
        assert k.rows == [], "it is down as every board begins"

    told(story, down=True)


def test_a_host_that_failed_at_work_is_asked_after_half_a_second_doubling_to_five() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(10.0)
        k.prober.down = True
        k.failed(Cause.RESET)
        await asyncio.sleep(18.0)
        assert k.prober.looks == [0.0, 10.5, 11.5, 13.5, 17.5, 22.5, 27.5]

    told(story)


def test_a_host_that_stopped_answering_while_idle_is_down_and_asked_again_soon() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(10.0)
        k.prober.down = True
        await asyncio.sleep(10.0)
        assert k.prober.looks[:4] == [0.0, 15.0, 15.5, 16.5]
        assert k.rows[-1].reason == "h refused the connection"
        assert k.modes_told() == ["up", "down"]

    told(story)


def test_a_host_at_work_is_judged_by_its_traffic_and_asked_again_when_idle() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        k.active = 1
        await asyncio.sleep(99.0)
        assert k.prober.looks == [0.0]
        k.active = 0
        await asyncio.sleep(15.0)
        assert len(k.prober.looks) == 2

    told(story)


def test_an_answer_puts_the_next_look_off() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(10.0)
        k.worked()
        await asyncio.sleep(14.0)
        assert k.prober.looks == [0.0]
        await asyncio.sleep(2.0)
        assert k.prober.looks == [0.0, 25.0]

    told(story)


def test_that_a_host_is_down_is_logged_once_not_with_every_question(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(60.0)
        assert len(k.prober.looks) > 10

    told(story, down=True)
    assert caplog.text.count("event=host_down") == 1


# -- down, trial, up -------------------------------------------------------------------------------


def test_after_a_failure_a_host_is_on_trial_until_one_task_ended_well() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        notes = k.failed(Cause.CUT_OFF)
        expected = Note(kind=Kind.HOST, host=H, reason="it was cut_off", detail={"mode": "down"})
        assert notes == [expected]
        await asyncio.sleep(0.6)
        assert k.mode() is Mode.TRIAL
        k.worked()
        assert k.mode() is Mode.UP
        assert k.modes_told() == ["up", "down", "trial", "up"]

    told(story)


def test_each_trial_that_fails_doubles_the_pause_before_the_next_up_to_a_minute() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        pauses = []
        for number in range(9):
            failed_at = k.clock()
            # Each in another way than the last: alike they would show that it is the option.
            k.failed((Cause.SERVER_ERROR, Cause.RESET)[number % 2])
            while k.mode() is not Mode.TRIAL:
                await asyncio.sleep(0.25)
            pauses.append(k.prober.looks[-1] - failed_at)
        assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]

    told(story)


def test_who_reports_a_failure_second_writes_nothing_and_changes_no_timer() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        assert len(k.failed(Cause.RESET)) == 1
        await asyncio.sleep(0.4)
        assert k.failed(Cause.RESET) == []
        await asyncio.sleep(0.2)
        assert k.prober.looks == [0.0, 1.5]

    told(story)


def test_an_answer_begun_before_the_failure_does_not_bring_the_host_up() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        k.failed(Cause.RESET)
        assert k.worked() == []
        assert k.mode() is Mode.DOWN

    told(story)


def test_a_busy_host_rests_as_long_as_it_asked_and_is_not_asked_meanwhile() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        k.failed(Cause.BUSY, retry_after=40.0)
        await asyncio.sleep(39.9)
        assert k.mode() is Mode.RESTING
        await asyncio.sleep(0.2)
        assert k.mode() is Mode.UP
        assert k.prober.looks == [0.0]
        assert k.modes_told() == ["up", "resting", "up"]

    told(story)


# -- a first token that does not come --------------------------------------------------------------


def test_a_late_first_token_has_a_host_asked_at_once_even_at_work_and_its_answer_clears_it() -> (
    None
):
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        k.active = 3
        assert k.failed(Cause.FIRST_TOKEN) == [], "perhaps only a long queue: nothing is held yet"
        await asyncio.sleep(0.1)
        assert k.prober.looks == [0.0, 1.0]
        assert k.mode() is Mode.UP
        await asyncio.sleep(60.0)
        assert k.prober.looks == [0.0, 1.0], "one doubt, one question"
        assert k.modes_told() == ["up"]

    told(story)


def test_a_late_first_token_on_a_host_that_does_not_answer_is_its_fault() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        k.active = 3
        k.prober.down = True
        k.failed(Cause.FIRST_TOKEN)
        await asyncio.sleep(0.1)
        assert k.mode() is Mode.DOWN
        assert k.modes_told() == ["up", "down"]

    told(story)


def test_a_timeout_before_the_first_token_has_a_host_asked_at_once_like_a_late_first_token() -> (
    None
):
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        k.active = 3
        assert k.blocked(Cause.TIMEOUT) == [], "the host is not blamed"
        await asyncio.sleep(0.1)
        assert k.prober.looks == [0.0, 1.0]
        k.prober.down = True
        k.blocked(Cause.TIMEOUT)
        await asyncio.sleep(0.1)
        assert k.mode() is Mode.DOWN, "its health path says so"

    told(story)


# -- options ---------------------------------------------------------------------------------------


def test_a_missing_model_stops_its_option_alone_until_a_probe_and_a_task_passed() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        k.prober.has_models = False
        notes = k.failed(Cause.NO_MODEL)
        assert notes == [
            Note(
                kind=Kind.OPTION, host=H, model="m", reason="it was no_model",
                detail={"mode": "down"},
            )
        ]  # fmt: skip
        await asyncio.sleep(200.0)
        assert k.prober.option_looks == [6.0, 16.0, 36.0, 76.0, 136.0, 196.0]
        assert (k.mode(), k.option_mode(OTHER)) == (Mode.UP, Mode.UP)
        assert k.prober.looks == [15.0 * n for n in range(14)], "its host is asked at its own pace"
        k.prober.has_models = True
        await asyncio.sleep(60.0)
        assert k.option_mode() is Mode.TRIAL
        k.worked()
        assert k.option_mode() is Mode.UP
        assert k.modes_told(Kind.OPTION) == ["down", "trial", "up"]
        assert k.modes_told() == ["up"]

    told(story)


def test_a_well_option_is_never_asked() -> None:
    async def story(k: Kept) -> None:
        k.worked()
        await asyncio.sleep(100.0)
        assert k.prober.option_looks == []

    told(story)


def test_five_blocked_alike_in_a_row_say_that_it_is_the_option() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        for _ in range(4):
            assert k.blocked() == []
        (note,) = k.blocked()
        assert (note.kind, note.model, note.detail["mode"]) == (Kind.OPTION, "m", "down")
        assert note.reason == "5 tasks in a row were blocked with empty_answer: it was empty_answer"
        assert k.mode() is Mode.UP, "a host that answered is well"

    told(story)


@pytest.mark.parametrize("between", ["an answer", "another error", "elsewhere"])
def test_a_streak_is_of_one_error_in_a_row_on_one_option(between: str) -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        for _ in range(4):
            k.blocked()
        match between:
            case "an answer":
                k.worked()
            case "another error":
                k.blocked(Cause.BAD_REQUEST)
            case _:
                k.blocked(option=OTHER)
        expected = Mode.DOWN if between == "elsewhere" else Mode.UP
        k.blocked()
        assert k.option_mode() is expected
        assert k.option_mode(OTHER) is Mode.UP

    told(story)


def test_an_option_on_trial_goes_down_with_the_next_task_it_blocks() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        for _ in range(5):
            k.blocked()
        await asyncio.sleep(6.0)
        assert k.option_mode() is Mode.TRIAL
        k.blocked(Cause.BAD_REQUEST)
        assert k.option_mode() is Mode.DOWN
        assert k.modes_told(Kind.OPTION) == ["down", "trial", "down"]
        assert k.rows[-1].reason == "a task was blocked with bad_request: it was bad_request"

    told(story)


@pytest.mark.parametrize(
    ("messages", "mode"),
    [
        ([f"400: invalid option: task {n}" for n in range(5)], Mode.DOWN),
        ([f"400: no file '{name}' there" for name in "abcde"], Mode.DOWN),
        ([f"400: the prompt can't hold {name}" for name in "abcde"], Mode.UP),
        (["400: it can't be so"] * 4 + ["400: it won't be so"], Mode.UP),
    ],
)
def test_one_error_is_one_but_for_numbers_and_what_is_quoted(
    messages: list[str], mode: Mode
) -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        for message in messages:
            k.blocked(Cause.BAD_REQUEST, message=message)
        assert k.option_mode() is mode

    told(story)


# -- trials that fail alike ------------------------------------------------------------------------


def test_the_third_trial_in_a_row_that_fails_alike_says_that_it_is_the_option() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        k.failed(Cause.SERVER_ERROR)
        for task in ("t1", "t1"):
            verdict = await k.fails_on_trial(
                Cause.SERVER_ERROR, task=task, message=f"500: {k.clock()}"
            )
            assert (verdict.hurts, verdict.strike) == (Hurts.HOST, True)
        for _ in range(3):
            verdict = await k.fails_on_trial(Cause.SERVER_ERROR, task="t2", message="500: 7.5")
            assert (verdict.next, verdict.hurts, verdict.strike) == (
                Next.REOPEN,
                Hurts.OPTION,
                False,
            )
            assert k.option_mode() is Mode.DOWN
            assert k.mode() is not Mode.DOWN, "its other models may be well"
        assert "trials in a row failed alike: 500: 7.5" in k.rows[-1].reason

    told(story)


@pytest.mark.parametrize("between", ["an answer", "another error", "a task's own fault"])
def test_trials_are_alike_only_in_a_row(between: str) -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        k.failed(Cause.SERVER_ERROR)
        for _ in range(2):
            await k.fails_on_trial(Cause.SERVER_ERROR, task="t1")
        match between:
            case "an answer":
                await asyncio.sleep(60.0)
                k.worked()
                k.failed(Cause.SERVER_ERROR)
            case "another error":
                await k.fails_on_trial(Cause.SERVER_ERROR, task="t1", message="another")
            case _:
                await asyncio.sleep(60.0)
                k.blocked()
                k.failed(Cause.SERVER_ERROR)
        assert (await k.fails_on_trial(Cause.SERVER_ERROR, task="t1")).hurts is Hurts.HOST

    told(story)


@pytest.mark.parametrize("cause", [Cause.UNSUPPORTED, Cause.SERVER_ERROR, Cause.RESET])
def test_a_task_is_given_up_after_two_trials_and_the_next_after_four(cause: Cause) -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        k.failed(cause)
        ends = []
        for number in range(2):
            trials = 1
            while (await k.fails_on_trial(cause, task=f"t{number}")).next is Next.REOPEN:
                trials += 1
                if cause is not Cause.UNSUPPORTED and (number, trials) == (0, 3):
                    break  # three strikes by then: the store blocks it
            ends.append(trials)
        assert ends == [2 if cause is Cause.UNSUPPORTED else 3, 4]

    told(story)


def test_an_answer_about_the_task_alone_is_no_word_about_the_option() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        for _ in range(9):
            assert k.keeper.answered(M) == []
        assert k.option_mode() is Mode.UP
        assert k.keeper.answered(Option("gone")) == []

    told(story)


def test_the_log_says_with_which_task_an_option_went_down(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        k.failed(Cause.NO_MODEL)
        k.failed(Cause.UNSUPPORTED, OCR)

    told(story)
    assert "event=option_down host=h model=m task=t1 reason=" in caplog.text
    assert "event=option_down host=h model=m type=ocr task=t1 reason=" in caplog.text


# -- handlers of a type's own ----------------------------------------------------------------------

#: The command of type ocr, beside the model that it is started for.
OCR = Option(H, M.model, "ocr")


@pytest.mark.parametrize("cause", [Cause.UNSUPPORTED, Cause.SERVER_ERROR, Cause.STALL])
def test_a_handler_that_fails_rests_alone_and_comes_back_on_trial(cause: Cause) -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        k.failed(cause, OCR)
        assert (k.option_mode(OCR), k.option_mode(M), k.mode()) == (Mode.DOWN, Mode.UP, Mode.UP)
        assert k.rows[-1].detail == {"mode": "down", "type": "ocr"}
        await asyncio.sleep(6.0)
        assert k.option_mode(OCR) is Mode.TRIAL
        k.worked(OCR)
        assert k.option_mode(OCR) is Mode.UP

    told(story)


def test_a_handler_that_blames_its_host_has_it_asked() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        k.active = 3
        k.prober.down = True
        k.failed(Cause.UNSUPPORTED, OCR)
        await asyncio.sleep(0.1)
        assert k.mode() is Mode.UP, "that was about the handler alone"
        k.failed(Cause.SERVER_ERROR, Option(H, M.model, "scan"))
        await asyncio.sleep(0.1)
        assert k.mode() is Mode.DOWN, "its health path says so"

    told(story)


def test_tasks_that_a_handler_blocks_stop_the_handler_and_not_the_model() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        for _ in range(9):
            k.blocked(Cause.COMMAND_FAILED, OCR)
        assert (k.option_mode(OCR), k.option_mode(M)) == (Mode.DOWN, Mode.UP)

    told(story)


def test_what_a_handler_does_proves_nothing_of_a_host_on_trial() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        k.failed(Cause.RESET)
        await asyncio.sleep(1.0)
        assert k.mode() is Mode.TRIAL
        k.worked(OCR)
        k.blocked(Cause.COMMAND_FAILED, OCR)
        assert k.mode() is Mode.TRIAL
        for _ in range(5):
            assert k.keeper.failed(OCR, Failure(Cause.BUSY, "b", taken=False), task="t").verdict
        assert k.mode() is Mode.TRIAL
        k.worked(M)
        assert k.mode() is Mode.UP

    told(story)


def test_what_a_handler_ran_while_its_host_was_on_trial_was_no_trial() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        k.failed(Cause.RESET)
        await asyncio.sleep(1.0)
        failure = Failure(Cause.SERVER_ERROR, "ended with 75", taken=True)
        at_once = [k.keeper.failed(OCR, failure, task=f"t{n}").verdict for n in range(4)]
        assert all(verdict.strike for verdict in at_once), "these ran side by side"

    told(story)


def test_a_handler_that_is_busy_rests_for_as_long_as_it_said_and_its_host_does_not() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        k.failed(Cause.BUSY, OCR, retry_after=30.0)
        assert (k.option_mode(OCR), k.mode()) == (Mode.RESTING, Mode.UP)
        await asyncio.sleep(29.0)
        assert k.option_mode(OCR) is Mode.RESTING
        await asyncio.sleep(2.0)
        assert k.option_mode(OCR) is Mode.UP
        assert k.modes_told(Kind.OPTION) == ["resting", "up"]

    told(story)


def test_a_handler_whose_trials_fail_alike_costs_no_more_strikes() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        k.failed(Cause.SERVER_ERROR, OCR)
        strikes = [
            (await k.fails_on_trial(Cause.SERVER_ERROR, task=f"t{n}", option=OCR)).strike
            for n in range(4)
        ]
        assert strikes == [True, True, False, False]

    told(story)


# -- mistakes of ours ------------------------------------------------------------------------------


def test_a_bug_that_a_look_meets_is_a_failed_look_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(k: Kept) -> None:
        k.prober.bug = OverflowError("date value out of range")
        await asyncio.sleep(30.0)
        assert k.mode() is Mode.DOWN
        health = k.keeper.host_health(H)
        assert health is not None
        assert "OverflowError" in health.reason
        k.prober.bug = None
        await asyncio.sleep(30.0)
        assert k.mode() is Mode.UP
        k.failed(Cause.NO_MODEL)
        k.worked(OTHER)  # puts the host's own look off
        k.prober.bug = OverflowError("date value out of range")
        await asyncio.sleep(14.0)
        assert k.option_mode() is Mode.DOWN

    told(story)
    assert caplog.text.count("event=look_broke host=h") == 2, "once of the host, once of the option"


def test_a_fault_of_nobodys_changes_nothing() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        assert k.failed(Cause.INTERNAL) == []
        assert (k.mode(), k.option_mode()) == (Mode.UP, Mode.UP)

    told(story)


# -- rows that were lost ---------------------------------------------------------------------------


def test_a_mode_that_the_board_has_wrong_twice_is_written_again() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        k.failed(Cause.RESET)
        assert k.keeper.unheard({H: Mode.UP}, {}) == [], "its row may be on its way"
        (note,) = k.keeper.unheard({H: Mode.UP}, {})
        assert (note.kind, note.host, note.detail["mode"]) == (Kind.HOST, H, "down")
        assert k.keeper.unheard({H: Mode.UP}, {}) == [], "that one too may be on its way"
        assert k.keeper.unheard({H: Mode.DOWN}, {}) == []

    told(story)


def test_only_twice_in_a_row_counts_and_only_of_hosts_that_are_kept() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        for board in (Mode.DOWN, Mode.UP, Mode.DOWN, Mode.UP):
            assert k.keeper.unheard({H: board, "gone": Mode.TRIAL}, {}) == []

    told(story)


def test_an_options_mode_that_the_board_has_wrong_twice_is_written_again() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        k.failed(Cause.NO_MODEL)
        well = {H: Mode.UP}
        assert k.keeper.unheard(well, {M: Mode.UP}) == []
        (note,) = k.keeper.unheard(well, {M: Mode.UP})
        assert (note.kind, note.model, note.detail["mode"]) == (Kind.OPTION, "m", "down")
        # A board that never saw the option takes it to be up.
        assert k.keeper.unheard(well, {M: Mode.DOWN}) == []
        assert k.keeper.unheard(well, {}) == []
        assert len(k.keeper.unheard(well, {})) == 1

    told(story)


# -- hosts that leave the fleet --------------------------------------------------------------------


def test_a_removed_host_is_asked_no_more_and_its_watch_ends() -> None:
    async def story(k: Kept) -> None:
        await asyncio.sleep(1.0)
        k.keeper.remove(H)
        await asyncio.sleep(0.1)
        assert k.watching.done()
        await asyncio.sleep(100.0)
        assert k.prober.looks == [0.0]
        assert k.keeper.host_health(H) is None
        assert k.keeper.option_healths(H) == {}

    told(story)


def test_a_host_removed_while_it_is_being_asked_ends_its_watch_without_a_row() -> None:
    async def story(k: Kept) -> None:
        k.prober.slow = 2.0
        await asyncio.sleep(1.0)
        k.keeper.remove(H)
        await asyncio.sleep(100.0)
        assert k.prober.looks == [0.0]
        assert k.rows == []

    told(story)


def test_a_host_that_comes_back_while_its_old_watch_asks_is_watched_once() -> None:
    async def story(k: Kept) -> None:
        k.prober.slow = 2.0
        await asyncio.sleep(1.0)
        k.keeper.remove(H)
        k.keeper.add(H)
        k.watch()
        await asyncio.sleep(25.0)
        # 0: by the watch that ended. 1: at once, answered at 3; then every 15 seconds.
        assert k.prober.looks == [0.0, 1.0, 18.0]
        assert k.modes_told() == ["up"]

    told(story)


def test_what_is_said_of_a_host_that_is_gone_changes_nothing() -> None:
    async def story(k: Kept) -> None:
        gone = Option("gone", "m")
        assert k.failed(Cause.RESET, gone) == []
        assert k.worked(gone) == []
        assert k.blocked(option=gone) == []
        k.keeper.remove("gone")

    told(story)


# -- for all ---------------------------------------------------------------------------------------

#: What happens, and the seconds until it does.
happenings = st.lists(
    st.tuples(
        st.sampled_from((0.0, 0.25, 1.0, 7.0, 20.0)),
        st.sampled_from(
            ("worked", "reset", "busy", "no_model", "first_token", "blocked", "down", "up",
             "no models", "models", "idle", "at work")
        ),
    ),
    max_size=30,
)  # fmt: skip


@settings(max_examples=60)
@given(history=happenings)
def test_the_last_row_of_each_host_and_option_is_what_the_keeper_thinks(
    history: list[tuple[float, str]],
) -> None:
    async def story(k: Kept) -> None:
        for seconds, what in history:
            await asyncio.sleep(seconds)
            match what:
                case "worked":
                    k.worked()
                case "blocked":
                    k.blocked()
                case "reset" | "busy" | "no_model" | "first_token":
                    k.failed(Cause(what))
                case "down" | "up":
                    k.prober.down = what == "down"
                case "models" | "no models":
                    k.prober.has_models = what == "models"
                case _:
                    k.active = int(what == "at work")
            await asyncio.sleep(0.0)
        await asyncio.sleep(0.001)
        hosts, options = k.modes_told(), k.modes_told(Kind.OPTION)
        assert (hosts[-1] if hosts else "down") == k.mode().value
        assert (options[-1] if options else "up") == k.option_mode().value
        for one, other in pairwise(hosts):
            assert one != other, "a row that changes nothing"

    told(story)
