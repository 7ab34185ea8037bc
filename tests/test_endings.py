"""How an attempt ended, written down: the task's status and the host's health in one commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from tests.worlds import Answers, Failing, LoopClock, NoMeter, Servers, draft, fleet, run_virtual
from ygg.assignment import Start
from ygg.attempt import Attempt, Stop
from ygg.endings import Endings, blocked_by_drain
from ygg.faults import Cause, Failure
from ygg.fleet import DispatcherSettings, Fleet, Option
from ygg.health import Mode
from ygg.hosts.base import Answer
from ygg.journal import Event, Kind
from ygg.keeper import Keeper
from ygg.outages import Outages
from ygg.stores.base import Unstorable
from ygg.tasks import Draft, Held, Outcome, Status, Task

pytestmark = [pytest.mark.pure, pytest.mark.timeout(60)]

H = Option("h", "m")
#: Rule 8 in the test's own words: whose fault each cause is.
TASK = ("bad_request", "empty_answer", "refused_answer", "answer_too_long", "deadline",
        "command_failed", "internal")  # fmt: skip
HOST = ("refused", "reset", "cut_off", "server_error", "no_final", "malformed", "stall",
        "request_timeout")  # fmt: skip
OPTION = ("unauthorised", "no_model", "unsupported")


@dataclass
class Scene:
    """One claimed task on a host that is up, and all that writes how its attempt ends."""

    store: Failing
    keeper: Keeper
    endings: Endings
    fleet: Fleet
    attempt: Attempt
    task: Task

    async def ends(
        self, *, answer: Answer | None = None, failure: Failure | None = None, artifact: str = ""
    ) -> Task:
        await self.endings.write(
            self.attempt, self.task, answer=answer, artifact=artifact, failure=failure
        )
        return self.store.tables.tasks[self.task.id]

    async def fails(self, cause: str, *, taken: bool = True) -> Task:
        return await self.ends(failure=Failure(Cause(cause), f"it was {cause}", taken=taken))

    async def claim_again(self) -> None:
        task = await self.store.claim(self.task.id, option=H, seen=1, now=2.0)
        assert task is not None
        self.task = task

    @property
    def rows(self) -> list[Event]:
        """Those after the start."""
        rows = self.store.tables.rows
        last = max(n for n, row in enumerate(rows) if row.kind is Kind.STARTED)
        return rows[last + 1 :]

    def told(self) -> list[tuple[Kind, str]]:
        """The rows: a task's with its reason, a host's or option's with its mode."""
        return [(row.kind, str(row.detail.get("mode", row.reason))) for row in self.rows]


@asynccontextmanager
async def scene(
    settings: DispatcherSettings | None = None, submitted: Draft | None = None
) -> AsyncIterator[Scene]:
    loop = asyncio.get_running_loop()
    store, clock = Failing(), LoopClock(loop)
    outages = Outages(
        store, Answers(), clock, began=lambda: None, over=lambda: None, settled=lambda: True
    )
    s: Scene
    keeper = Keeper(
        Servers(["h"], loop), write=lambda notes: outages.persist(lambda now: store.note(notes, now=now)),
        active=lambda _: 0, now=clock.monotonic,
    )  # fmt: skip
    await store.open(owner="d1", now=0.0, max_strikes=3)
    keeper.add("h")
    async with asyncio.TaskGroup() as group:
        group.create_task(keeper.watch("h"))
        await asyncio.sleep(0.1)  # it answered
        (added,) = await store.add([submitted or draft()], now=0.0)
        task = await store.claim(added.task.id, option=H, seen=1, now=1.0)
        assert task is not None
        start = Start(waiting=added.task.waiting, option=H, seen=1)
        its = fleet(settings=settings)
        attempt = Attempt(
            start=start, meter=NoMeter(), settings=its.types[task.type], task=task, began=1.0
        )
        endings = Endings(store, keeper, outages, fleet=lambda: s.fleet)
        s = Scene(store, keeper, endings, its, attempt, task)
        yield s
        keeper.remove("h")


def told(
    story: Callable[[Scene], Awaitable[None]],
    settings: DispatcherSettings | None = None,
    submitted: Draft | None = None,
) -> None:
    async def whole() -> None:
        async with scene(settings, submitted) as s:
            await story(s)

    run_virtual(whole())


# -- answers ---------------------------------------------------------------------------------------


def test_an_answer_closes_the_task_with_its_artifact_and_what_is_known_of_it() -> None:
    async def story(s: Scene) -> None:
        answer = Answer(
            text="yes", thinking="hm", finish="length", prompt_tokens=7, completion_tokens=3,
            seconds=1.23456, server_wait_seconds=0.5,
        )  # fmt: skip
        task = await s.ends(answer=answer, artifact="day/t.md")
        assert (task.status, task.outcome, task.artifact) == (
            Status.CLOSED, Outcome.DONE, "day/t.md",
        )  # fmt: skip
        assert task.answer == {
            "finish": "length", "prompt_tokens": 7, "completion_tokens": 3, "seconds": 1.235,
            "server_wait_seconds": 0.5, "thinking": True,
        }  # fmt: skip
        assert s.told() == [(Kind.CLOSED, "done")], "a host that was up needs no row"

    told(story)


def test_the_answer_that_ends_a_trial_and_what_it_proves_are_one_commit() -> None:
    commits: list[list[Kind]] = []

    async def story(s: Scene) -> None:
        await s.fails("reset")
        await asyncio.sleep(1.0)
        await s.claim_again()
        s.store.follow(lambda events: commits.append([event.kind for event in events]))
        await s.ends(answer=Answer(text="yes"), artifact="day/t.md")
        assert s.told() == [(Kind.CLOSED, "done"), (Kind.HOST, "up")]

    told(story)
    assert commits == [[Kind.CLOSED, Kind.HOST]]


# -- faults ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", TASK)
def test_its_own_fault_blocks_a_task_with_the_error_and_hurts_nobody(cause: str) -> None:
    async def story(s: Scene) -> None:
        task = await s.fails(cause)
        assert (task.status, task.error, task.strikes) == (Status.BLOCKED, f"it was {cause}", 0)
        assert s.told() == [(Kind.BLOCKED, cause)]

    told(story)


@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.parametrize("cause", HOST)
def test_the_hosts_fault_sends_it_back_with_a_strike_only_if_the_host_had_taken_it(
    cause: str, taken: bool
) -> None:
    async def story(s: Scene) -> None:
        task = await s.fails(cause, taken=taken)
        assert (task.status, task.strikes) == (Status.OPEN, int(taken))
        assert task.rank == s.task.rank, "to its old place"
        assert s.told() == [(Kind.REOPENED, cause), (Kind.HOST, "down")]

    told(story)


def test_a_late_first_token_sends_it_back_and_leaves_the_host_to_its_health_path() -> None:
    async def story(s: Scene) -> None:
        task = await s.fails("first_token")
        assert (task.status, task.strikes) == (Status.OPEN, 1)
        assert s.told() == [(Kind.REOPENED, "first_token")]

    told(story)


def test_a_timeout_before_the_first_token_blocks_the_task_and_blames_no_host() -> None:
    async def story(s: Scene) -> None:
        task = await s.fails("timeout")
        assert (task.status, task.strikes) == (Status.BLOCKED, 0)
        assert s.told() == [(Kind.BLOCKED, "timeout")]

    told(story)


def test_a_busy_host_rests_and_the_task_goes_back_without_a_strike() -> None:
    async def story(s: Scene) -> None:
        task = await s.fails("busy", taken=True)
        assert (task.status, task.strikes) == (Status.OPEN, 0)
        assert s.told() == [(Kind.REOPENED, "busy"), (Kind.HOST, "resting")]

    told(story)


@pytest.mark.parametrize("cause", OPTION)
def test_a_misconfigured_option_goes_down_alone_and_the_task_goes_back(cause: str) -> None:
    async def story(s: Scene) -> None:
        task = await s.fails(cause, taken=True)
        assert (task.status, task.strikes) == (Status.OPEN, 0)
        assert s.told() == [(Kind.REOPENED, cause), (Kind.OPTION, "down")]
        health = s.keeper.host_health("h")
        assert health is not None
        assert health.mode is Mode.UP

    told(story)


@pytest.mark.parametrize(
    ("submitted", "is_its_own"),
    [
        (draft(options={"think": True}), True),
        (draft(system="Be brief."), True),
        (draft(model="m"), True),
        (draft(options={"seed": 7}), False),  # as its type has it
        (draft(system="Be kind."), False),
        (draft(), False),
    ],
)
def test_what_a_task_asked_for_and_its_type_did_not_is_its_own_fault_if_not_supported(
    submitted: Draft, is_its_own: bool
) -> None:
    async def story(s: Scene) -> None:
        settings = replace(s.attempt.settings, options={"seed": 7}, system="Be kind.")
        s.attempt.settings = settings
        task = await s.fails("unsupported", taken=False)
        if is_its_own:
            assert (task.status, task.error) == (Status.BLOCKED, "it was unsupported")
            assert s.told() == [(Kind.BLOCKED, "unsupported")], "the option is as well as before"
        else:
            assert task.status is Status.OPEN
            assert s.told() == [(Kind.REOPENED, "unsupported"), (Kind.OPTION, "down")]

    told(story, submitted=submitted)


def test_a_handler_that_is_not_there_is_no_tasks_fault_whatever_the_task_asked_for() -> None:
    async def story(s: Scene) -> None:
        ocr = H._replace(handler="general")
        start, settings = replace(s.attempt.start, option=ocr), s.attempt.settings
        s.attempt = Attempt(start=start, meter=NoMeter(), settings=settings)
        task = await s.fails("unsupported", taken=False)
        assert task.status is Status.OPEN
        assert s.told() == [(Kind.REOPENED, "unsupported"), (Kind.OPTION, "down")]

    told(story, submitted=draft(options={"think": True}))


def test_an_end_that_no_row_can_take_is_told_and_given_up(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(s: Scene) -> None:
        async def refuse(*_: object, **__: object) -> None:
            raise Unstorable("row 1 of tasks is damaged")

        s.store.block = s.store.finish = refuse  # type: ignore[method-assign,assignment]  # damaged
        task = await s.ends(answer=Answer(text="yes"), artifact="day/t.md")
        assert task.status is Status.IN_PROGRESS
        assert f"event=end_not_written task={task.id} host=h" in caplog.text

    told(story)


def test_every_cause_of_the_table_has_its_test_here() -> None:
    assert sorted((*TASK, *HOST, *OPTION, "first_token", "timeout", "busy")) == sorted(
        c.value for c in Cause
    )


def test_the_last_strike_blocks_the_task_and_still_tells_of_the_host() -> None:
    async def story(s: Scene) -> None:
        for strikes in (1, 2):
            assert (await s.fails("stall")).strikes == strikes
            await asyncio.sleep(5.0)
            await s.claim_again()
        task = await s.fails("stall")
        assert (task.status, task.strikes) == (Status.BLOCKED, 3)
        assert s.told() == [(Kind.BLOCKED, "stall"), (Kind.HOST, "down")]

    told(story)


def test_how_many_strikes_block_is_as_the_file_says_now() -> None:
    async def story(s: Scene) -> None:
        s.fleet = fleet(settings=DispatcherSettings(max_strikes=1))
        assert (await s.fails("stall")).status is Status.BLOCKED

    told(story)


def once(s: Scene) -> None:
    s.attempt.settings = replace(s.attempt.settings, repeat=False)


def test_what_must_not_run_twice_is_blocked_once_a_host_had_taken_it_and_the_host_suffers() -> None:
    async def story(s: Scene) -> None:
        once(s)
        task = await s.fails("cut_off", taken=True)
        assert (task.status, task.strikes) == (Status.BLOCKED, 1)
        assert s.told() == [(Kind.BLOCKED, "cut_off"), (Kind.HOST, "down")]

    told(story)


def test_what_must_not_run_twice_goes_back_if_no_host_had_taken_it() -> None:
    async def story(s: Scene) -> None:
        once(s)
        task = await s.fails("refused", taken=False)
        assert (task.status, task.strikes) == (Status.OPEN, 0)

    told(story)


# -- stopped ---------------------------------------------------------------------------------------


def test_a_cancelled_run_is_closed_as_cancelled() -> None:
    async def story(s: Scene) -> None:
        s.attempt.stop = Stop.CANCELLED
        task = await s.ends()
        assert (task.status, task.outcome) == (Status.CLOSED, Outcome.CANCELLED)
        assert s.told() == [(Kind.CANCELLED, "cancelled")]

    told(story)


def test_a_drained_run_is_blocked_with_an_error_that_says_the_way_back_and_no_strike() -> None:
    async def story(s: Scene) -> None:
        s.attempt.stop = Stop.DRAINED
        task = await s.ends()
        assert (task.status, task.strikes) == (Status.BLOCKED, 0)
        assert "ygg retry --drained" in (task.error or "")
        assert blocked_by_drain(task)

    told(story)


def test_after_a_drain_set_to_reopen_it_is_back_in_its_place() -> None:
    async def story(s: Scene) -> None:
        s.attempt.stop = Stop.DRAINED
        task = await s.ends()
        assert (task.status, task.strikes, task.rank) == (Status.OPEN, 0, s.task.rank)
        assert not blocked_by_drain(task)

    told(story, DispatcherSettings(after_drain="reopen"))


def test_what_must_not_run_twice_is_blocked_by_a_drain_whatever_is_set() -> None:
    async def story(s: Scene) -> None:
        once(s)
        s.attempt.stop = Stop.DRAINED
        task = await s.ends()
        assert (task.status, task.strikes) == (Status.BLOCKED, 0)
        assert blocked_by_drain(task)

    told(story, DispatcherSettings(after_drain="reopen"))


def test_a_run_that_had_not_begun_when_the_drain_came_is_back_whatever_is_set() -> None:
    async def story(s: Scene) -> None:
        s.attempt.stop, s.attempt.began = Stop.DRAINED, None
        task = await s.ends()
        assert (task.status, task.strikes) == (Status.OPEN, 0)

    told(story)


def test_a_failure_that_came_before_the_stop_is_what_is_written() -> None:
    async def story(s: Scene) -> None:
        s.attempt.stop = Stop.DRAINED
        task = await s.fails("bad_request")
        assert (task.status, task.error) == (Status.BLOCKED, "it was bad_request")
        assert not blocked_by_drain(task)

    told(story)


@pytest.mark.parametrize(("status", "error"), [
    (Status.OPEN, "drained: x"), (Status.BLOCKED, "why"), (Status.BLOCKED, None),
])  # fmt: skip
def test_only_blocked_tasks_that_a_drain_cut_are_the_drains(
    status: Status, error: str | None
) -> None:
    task = Task(id="t", title="", description="", labels=(), type="general", priority=2,
                created_at=0.0, sequence=1, status=status, error=error)  # fmt: skip
    assert not blocked_by_drain(task)


# -- a store that takes nothing --------------------------------------------------------------------


def test_an_end_is_written_until_the_store_takes_it_and_once() -> None:
    async def story(s: Scene) -> None:
        s.store.broken = True
        ending = asyncio.ensure_future(s.fails("stall"))
        await asyncio.sleep(60.0)
        assert not ending.done()
        assert s.rows == []
        s.store.broken = False
        task = await ending
        assert (task.status, task.strikes) == (Status.OPEN, 1)
        ends = [(kind, why) for kind, why in s.told() if kind is not Kind.HOST]
        assert ends == [(Kind.REOPENED, "stall")]

    told(story)


def test_an_end_under_a_fence_that_moved_on_changes_nothing() -> None:
    async def story(s: Scene) -> None:
        before = s.task
        await s.fails("reset")
        await asyncio.sleep(1.0)
        await s.claim_again()
        second, s.task = s.task, before
        await s.ends(answer=Answer(text="too late"), artifact="day/t.md")
        assert s.store.tables.tasks[second.id] == second
        assert s.rows == []

    told(story)


def test_a_held_task_that_comes_back_stays_held() -> None:
    async def story(s: Scene) -> None:
        held = replace(s.task, held=Held.BY_HAND)
        s.store.tables.tasks[held.id] = held
        task = await s.fails("busy")
        assert (task.status, task.held) == (Status.OPEN, Held.BY_HAND)
        assert s.store.tables.waiting() == {}

    told(story)
