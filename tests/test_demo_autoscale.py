"""The pure parts of `ygg demo --autoscale`: its load, its rates, and what it says of moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.observed import Signals
from autoscaler.policy import Action, Reason
from autoscaler.records import Record, encoded
from autoscaler.settings import Settings
from ygg.demo import autoscale, run, scaling, telling, throughput, work
from ygg.demo.client import Seen
from ygg.demo.throughput import HostLook, Look, Rate
from ygg.hostsfile import parse_fleet
from ygg.tasks import Outcome, Status

pytestmark = pytest.mark.pure

SETTINGS = scaling.settings()
PAGE = """\
# HELP ygg_host_slots_limit Slots.
# TYPE ygg_host_slots_limit gauge
ygg_host_slots_limit{host="a"} 2.0
ygg_host_slots_limit{host="b"} 1.0
ygg_host_slots_active{host="a"} 1.0
ygg_host_demand_tasks{host="a"} 7.0
ygg_tokens_total{direction="prompt",host="a"} 900.0
ygg_tokens_total{direction="completion",host="a"} 40.0
ygg_tasks_finished_total{host="a",outcome="closed",type="general"} 3.0
ygg_tasks_finished_total{host="a",outcome="closed",type="reasoning"} 2.0
ygg_tasks_finished_total{host="a",outcome="reopened",type="general"} 9.0
ygg_tasks_waiting{priority="0",type="general"} 1.0
ygg_tasks_waiting{priority="3",type="general"} 4.0
ygg_tasks_waiting{priority="3",type="reasoning"} 0.0
"""


class TestWhatIsSettledBefore:
    def test_every_constant_that_is_shown_as_shortened_is_a_shorter_one(self) -> None:
        usual = Settings()
        for name, value in scaling.SHORT.items():
            assert getattr(SETTINGS, name) == value < getattr(usual, name)
        assert {name for name, _, _ in scaling.constants()} == set(scaling.SHORT)

    def test_hosts_yaml_has_every_host_at_one_slot_with_its_exporter_and_these_constants(
        self,
    ) -> None:
        urls = {name: f"http://127.0.0.1:{port}" for port, name in enumerate(work.HOSTS, 9000)}
        pages = {name: f"{url}/page" for name, url in urls.items()}
        fleet = parse_fleet(scaling.hosts_yaml(urls, pages), "hosts.yaml")
        for name, most in work.HOSTS.items():
            slots = fleet.hosts[name].slots
            assert (slots.start, slots.min, slots.max) == (1, 1, most)
            assert fleet.hosts[name].exporter == pages[name]
        for name, value in scaling.SHORT.items():
            assert fleet.autoscaler[name] == value

    def test_a_failed_limit_is_tried_again_within_the_load_and_not_shortly_before_its_end(
        self,
    ) -> None:
        first = scaling.ALONE_SECONDS + 2 * SETTINGS.window_seconds
        again = first + SETTINGS.ceiling_seconds + SETTINGS.window_seconds
        assert again < autoscale.SECONDS / 2 + 30
        assert again + SETTINGS.ceiling_seconds_max > autoscale.SECONDS

    @given(
        st.dictionaries(st.sampled_from(sorted(work.ROUTES)), st.integers(0, 500)),
        st.dictionaries(st.sampled_from(sorted(work.ROUTES)), st.integers(0, 500)),
    )
    def test_the_load_fills_every_queue_and_never_beyond_its_bound(
        self, waiting: dict[str, int], ended: dict[str, int]
    ) -> None:
        tasks = scaling.Load().missing(waiting, ended)
        for type_ in work.ROUTES:
            count = waiting.get(type_, 0) + sum(task.type == type_ for task in tasks)
            assert count >= min(200, max(8, ended.get(type_, 0)))
            assert count <= max(200, waiting.get(type_, 0))

    def test_the_load_goes_through_all_tasks_of_a_type_before_one_comes_again(self) -> None:
        load, full = scaling.Load(), dict.fromkeys(work.ROUTES, 500)
        tasks = [
            *load.missing({**full, "general": 2}, {}),
            *load.missing({**full, "general": 2}, {}),
        ]
        assert len(tasks) == 12
        assert {tasks.count(task) for task in tasks} == {2}


def look(at: float, **hosts: HostLook) -> Look:
    return Look(at=at, hosts=hosts, waiting={}, closed={})


def looks(
    *parts: tuple[int, float], host: str = "a", every: float = 1.0, others: float = 0.0
) -> list[Look]:
    """Looks a second apart: (limit, tokens a second) for ten seconds each; a task is 10 tokens.

    The server has one core; or, where others have so many, one for 20 tokens a second.
    """
    found, tokens, at, cpu = [], 0.0, 0.0, 0.0
    for limit, rate in parts:
        for _ in range(10):
            one = HostLook(
                limit=limit, active=limit, tokens=tokens, closed=tokens / 10, cpu_seconds=cpu
            )
            found.append(replace(look(at, **{host: one}), others_seconds=others * at))
            cpu += every * (rate / 20 if others else 1.0)
            tokens, at = tokens + rate * every, at + every
    return found


class TestRates:
    def test_a_page_is_read_host_by_host_and_type_by_type(self) -> None:
        read = throughput.read_look(PAGE, 3.5, cpu_seconds={"a": 2.0}, busy=5.0)
        a = HostLook(limit=2, active=1, waiting=7, tokens=40.0, closed=5.0, cpu_seconds=2.0)
        assert read.others_seconds == 3.0
        assert read.hosts == {"a": a, "b": HostLook(limit=1)}
        assert read.waiting == {"general": 5, "reasoning": 0}
        assert read.closed == {"general": 3, "reasoning": 2}

    def test_a_stretch_is_the_time_between_two_moves_and_has_a_rate_of_its_own(self) -> None:
        found = list(throughput.stretches(looks((1, 20), (2, 30), (1, 20)), "a"))
        assert [(s.limit, s.seconds) for s in found] == [(1, 9.0), (2, 9.0), (1, 9.0)]
        assert [s.rate and s.rate.tokens for s in found] == [20.0, 30.0, 20.0]
        assert [s.rate and s.rate.tasks for s in found] == [2.0, 3.0, 2.0]

    def test_before_is_until_the_first_move_of_any_host_and_after_is_since_the_last(self) -> None:
        before, after = throughput.before_and_after(looks((1, 20), (2, 30), (3, 50)))
        assert before == Rate(seconds=9.0, tokens=20.0, tasks=2.0, cores=1.0)
        assert after == Rate(seconds=9.0, tokens=50.0, tasks=5.0, cores=1.0)

    def test_a_stretch_that_is_too_short_has_no_rate(self) -> None:
        assert throughput.rate(looks((1, 20))[:5]) is None
        assert throughput.rate([]) is None

    def test_rates_are_taken_from_when_every_host_is_at_work(self) -> None:
        idle, busy = HostLook(limit=1), HostLook(limit=1, active=1)
        late = [look(0, a=idle, b=idle), look(1, a=busy, b=idle), look(2, a=busy, b=busy)]
        assert throughput.at_work(late) == late[2:]
        assert throughput.at_work(late[:2]) == []

    def test_what_was_closed_lately_is_counted_by_type(self) -> None:
        three = [
            Look(at=at, hosts={}, waiting={}, closed={"general": 3 * at}) for at in (0, 10, 20)
        ]
        assert throughput.closed_within(three, 30) == {"general": 60}
        assert throughput.closed_within(three, 10) == {"general": 30}


def record(
    reason: Reason,
    limit: int,
    wanted: int | None = None,
    *,
    effect: str = "unchanged",
    detail: str = "",
    evidence: dict[str, Any] | None = None,
) -> Record:
    wanted = limit if wanted is None else wanted
    action = Action.HOLD if wanted == limit else Action.GROW if wanted > limit else Action.SHRINK
    return Record(
        at=0.0, run="r", host="a", limit=limit, wanted=wanted, action=action, reason=reason,
        effect=effect, detail=detail, evidence=evidence or {},
        signals=Signals(now=0.0, limit=limit, min=1, max=3, oldest_wait=25.0),
    )  # fmt: skip


PROBING = record(
    Reason.PROBING, 2, evidence={"trial_rate_before": 20.0, "trial_rate": 30.0, "trial_from": 1}
)


def told(*records: Record) -> list[str]:
    moves = telling.Moves(settings=SETTINGS)
    return [line for one in records for line in moves.take(one)]


class TestMoves:
    def test_a_growth_is_told_with_its_reason(self) -> None:
        assert told(record(Reason.WAIT, 1, 2, effect="resized")) == [
            "a grows from 1 to 2: a task has waited 25 s, over 20 s, and memory allows it"
        ]

    def test_a_step_that_bought_nothing_is_told_as_one_that_goes_back(self) -> None:
        lost = {"trial_rate_before": 20.0, "trial_rate": 19.0}
        assert told(record(Reason.NO_GAIN, 2, 1, effect="resized", evidence=lost)) == [
            (
                "a goes back from 2 to 1: the last step up bought nothing: "
                "19 tokens/s after the last step up, 20 before it"
            )
        ]

    def test_any_other_shrink_is_told_as_one(self) -> None:
        (line,) = told(record(Reason.HOST_FAILURES, 2, 1, effect="resized"))
        assert line.startswith("a shrinks from 2 to 1: the host failed")

    def test_a_step_that_stays_is_told_when_its_trial_is_over(self) -> None:
        assert told(PROBING, record(Reason.SATISFIED, 2)) == [
            "a keeps 2: its trial is over (30 tokens/s after the last step up, 20 before it)"
        ]
        assert told(PROBING, record(Reason.WAIT, 2, 3, effect="resized"))[0].startswith("a keeps 2")
        assert told(PROBING, PROBING) == []
        unseen = record(Reason.PROBING, 2, evidence={"trial_rate_before": 20.0, "trial_rate": None})
        assert told(unseen, record(Reason.SATISFIED, 2)) == ["a keeps 2: its trial is over"]

    def test_a_trial_that_a_shrink_ended_was_not_kept(self) -> None:
        lines = told(PROBING, record(Reason.MEMORY_HIGH, 2, 1, effect="resized"))
        assert [line.split()[1] for line in lines] == ["shrinks"]

    def test_what_the_dispatcher_did_not_carry_out_is_no_move_and_is_told(self) -> None:
        moves = telling.Moves(settings=SETTINGS)
        (line,) = moves.take(record(Reason.WAIT, 1, 2, effect="pinned", detail="by ada"))
        assert line == (
            "a stays at 1, 2 was wanted because a task has waited 25 s, over 20 s, and memory allows"
            " it: pinned (by ada)"
        )
        assert (moves.given, moves.steps_up) == ({}, 0)

    def test_a_decision_to_hold_is_no_line_and_the_last_one_is_told_at_the_end(self) -> None:
        moves = telling.Moves(settings=SETTINGS)
        assert list(moves.take(record(Reason.AT_MAX, 3))) == []
        assert list(moves.reasons_now()) == ["a is at 3: its maximum, 3, is what holds work back"]

    def test_records_are_read_as_they_are_written_a_half_written_one_when_it_is_whole(
        self, tmp_path: Path
    ) -> None:
        file = tmp_path / "decisions.jsonl"
        records = autoscale.Records(file)
        assert list(records.new()) == []
        line = encoded(PROBING)
        file.write_bytes(line + line[:30])
        assert list(records.new()) == [PROBING]
        assert list(records.new()) == []
        with file.open("ab") as more:
            more.write(line[30:])
        assert list(records.new()) == [PROBING]


def verdict(of: Sequence[Look], *records: Record) -> str:
    moves = telling.Moves(settings=SETTINGS)
    for one in records:
        list(moves.take(one))
    return "\n".join(telling.verdict(of, moves, cores=2))


GROWN = record(Reason.WAIT, 1, 2, effect="resized")
WENT_BACK = record(Reason.NO_GAIN, 2, 1, effect="resized")


class TestVerdict:
    def test_a_step_that_went_back_is_called_a_right_result(self) -> None:
        text = verdict(looks((1, 20), (2, 20), (1, 20)), GROWN, WENT_BACK)
        assert "1 of 1 step up bought nothing and went back. That is a right result" in text
        assert "bought nothing here that could be told from noise (+0% tokens a second)" in text

    def test_a_gain_is_told_as_one(self) -> None:
        text = verdict(looks((1, 20), (2, 30)), GROWN)
        assert (
            "All hosts together, until the first move: 20.0 tokens/s, 2.00 tasks/s (9 s)." in text
        )
        assert "In all, the limits that were found give +50% tokens a second." in text

    def test_a_loss_is_told_as_one(self) -> None:
        assert "In all, it is less than before (-50% tokens a second)" in verdict(
            looks((1, 20), (2, 10)), GROWN
        )

    def test_what_differs_at_the_same_limit_is_noise_and_no_gain_is_claimed_within_it(self) -> None:
        text = verdict(looks((1, 20), (2, 20), (1, 26)), GROWN, WENT_BACK)
        assert "the difference (+30% on a) is not the limit's doing" in text
        assert "could be told from noise (+30% tokens a second)" in text

    def test_no_gain_is_claimed_where_other_work_went_away_meanwhile(self) -> None:
        text = verdict(looks((1, 20), (2, 30), others=0.5), GROWN)
        assert "All else had 0.5 of 2 cores then, and 0.5 since, so tokens/s can't be" in text
        assert "20.0 > 20.0 (+0%)" in text
        assert "could be told from noise (+0% tokens for each processor second)" in text

    @pytest.mark.parametrize(("tokens", "seen"), [(30, "+50%"), (10, "-50%")])
    def test_one_run_beside_other_work_is_never_called_a_gain_or_a_loss(
        self, tokens: float, seen: str
    ) -> None:
        # The server has one core throughout, as in the undisturbed runs, and others come and go.
        calm = looks((1, 20), (2, tokens))
        busy = [replace(one, others_seconds=0.5 * one.at) for one in calm]
        text = verdict(busy, GROWN)
        assert f"In all, {seen} tokens for each processor second were seen, once" in text
        assert "proves neither a gain nor a loss" in text
        assert "the limits that were found give" not in text
        assert "it is less than before" not in text

    def test_that_nothing_moved_is_said(self) -> None:
        assert verdict(looks((1, 20))).startswith("No limit moved.")

    def test_what_is_too_short_to_tell_is_not_told(self) -> None:
        text = verdict([*looks((1, 20)), *looks((1, 20), (2, 30))[10:13]], GROWN)
        assert "from the last move on: too short to tell" in text
        assert "In all" not in text

    def test_the_table_has_each_host_at_its_start_and_at_its_end(self) -> None:
        _, row = telling.limits_table(looks((1, 20), (2, 20), (1, 22)))
        assert " ".join(row.split()) == "a 1 1 1 > 2 > 1 20.0 (9 s) 22.0 (9 s) 20.0 > 22.0 (+10%)"


class TestSuccess:
    def seen(self, **changes: Any) -> Seen:
        task = Seen(
            id="t", title="T", type="general", priority=2, status=Status.CLOSED,
            created_at=datetime(2026, 11, 24, tzinfo=UTC), outcome=Outcome.DONE,
        )  # fmt: skip
        return task if not changes else Seen(**{**_fields(task), **changes})

    def test_it_is_one_if_every_task_has_an_answer_or_was_cancelled(self) -> None:
        tasks = [self.seen(), self.seen(outcome=Outcome.CANCELLED)]
        assert autoscale.problems(tasks, lambda _: "an answer") == []
        assert telling.account(autoscale.outcomes(tasks)) == (
            "2 tasks accepted: 1 closed with an answer, 1 cancelled."
        )

    def test_it_is_none_if_a_task_is_blocked_or_its_answer_is_empty(self) -> None:
        blocked = self.seen(status=Status.BLOCKED, outcome=None, error="why")
        assert "is blocked: why" in autoscale.problems([blocked], lambda _: "")[0]
        assert "an empty answer" in autoscale.problems([self.seen()], lambda _: " \n")[0]
        assert "1 blocked" in telling.account(autoscale.outcomes([blocked]))


def _fields(task: Seen) -> dict[str, Any]:
    return {name: getattr(task, name) for name in task.__struct_fields__}


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["--seconds", "60"], "--seconds is for --autoscale"),
        (["--autoscale", "--seconds", "5"], "5 is not from 20 to 3600 seconds"),
        (["--autoscale", "--seconds", "nan"], "nan is not from 20 to 3600 seconds"),
        (["--autoscale", "--seconds", "soon"], "'soon'"),
    ],
)
def test_a_load_that_cant_be_is_wrong_use(
    args: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        run.main(args)
    assert end.value.code == 2
    assert why in capsys.readouterr().err
