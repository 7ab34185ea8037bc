"""Keeps the health of hosts and options: hears what work showed, asks those that need asking.

The machine is health.py; what it decides becomes rows of the journal (`notes`), and the board
follows the rows. Timers and back-off stay here: they need not survive a restart.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from ygg.faults import MISCONFIGURED, Failure, Hurts, Next, Verdict
from ygg.fleet import Option
from ygg.health import Health, Mode, Streak, Trials, new_host, new_option
from ygg.journal import Kind, Note
from ygg.tasks import Json

log = logging.getLogger("ygg.health")


class Prober(Protocol):
    """How hosts are asked. Both raise Failure."""

    async def look(self, host: str) -> None:
        """Ask the health path; at first contact learn the API and the default model too."""

    async def look_at_option(self, option: Option) -> None:
        """Whether the model is there, without spending a token."""


class Judged(NamedTuple):
    """What a failure means, seen with those before it."""

    verdict: Verdict
    #: Rows that must be committed.
    notes: list[Note]


@dataclass(slots=True)
class _Kept:
    health: Health
    options: dict[Option, Health] = field(default_factory=dict)
    streaks: dict[Option, Streak] = field(default_factory=dict)
    trials: dict[Option, Trials] = field(default_factory=dict)
    #: Set to have it looked at anew: a timer changed.
    stir: asyncio.Event = field(default_factory=asyncio.Event)
    doubted: bool = False
    #: Whose modes the board had wrong when last compared, by option (None: the host itself).
    wrong: set[Option | None] = field(default_factory=set)
    #: Modes as last written to the journal, by option (None: the host itself).
    written: dict[Option | None, Mode] = field(default_factory=dict)

    def doubt(self, now: float) -> None:
        """Ask it now, even at work: its health path decides."""
        self.doubted = True
        self.health = self.health.doubted(now)

    def mode(self, what: Option | None) -> Mode:
        return self.health.mode if what is None else self.options[what].mode

    def option(self, option: Option) -> Health:
        return self.options.get(option) or new_option()

    def on_trial(self, option: Option) -> bool:
        # A handler of a type's own is no trial of its host: it may never speak to it.
        host = None if option.handler else self.health.mode
        return Mode.TRIAL in (host, self.option(option).mode)

    def answered(self, option: Option, now: float) -> None:
        if not option.handler:
            self.health = self.health.worked(now)

    def option_down(self, option: Option, now: float, why: str, task: str) -> None:
        self.options[option] = self.option(option).failed(now, why)
        message = "event=option_down host=%s model=%s%s task=%s reason=%r"
        whose = f" type={option.handler}" if option.handler else ""
        log.warning(message, option.host, option.model, whose, task, why)


class Keeper:
    """The health of every host and option of a fleet.

    Args:
        prober: asks servers.
        write: commits notes; returns once they are, whatever the store has to go through.
        active: how many tasks run on a host now.
        now: the monotonic clock, in seconds.
    """

    def __init__(
        self,
        prober: Prober,
        *,
        write: Callable[[Sequence[Note]], Awaitable[None]],
        active: Callable[[str], int],
        now: Callable[[], float],
    ) -> None:
        self._prober = prober
        self._write = write
        self._active = active
        self._now = now
        self._hosts: dict[str, _Kept] = {}

    def add(self, host: str) -> None:
        """A host of the fleet: to be asked at once. `watch` it from then on."""
        kept = self._hosts[host] = _Kept(health=new_host(self._now()))
        kept.written[None] = Mode.DOWN  # as a board begins

    def remove(self, host: str) -> None:
        kept = self._hosts.pop(host, None)
        if kept is not None:
            kept.stir.set()

    def forget_all_but(self, options: Collection[Option]) -> None:
        """Of other options nothing is known any more; the board takes them for well."""
        for kept in self._hosts.values():
            for known in (kept.options, kept.streaks, kept.trials):
                for option in [one for one in known if one not in options]:
                    del known[option]
            kept.written = {w: m for w, m in kept.written.items() if w is None or w in options}
            kept.wrong = {what for what in kept.wrong if what is None or what in options}

    def host_health(self, host: str) -> Health | None:
        kept = self._hosts.get(host)
        return None if kept is None else kept.health

    def option_healths(self, host: str) -> Mapping[Option, Health]:
        """Of the options that something was ever wrong with."""
        kept = self._hosts.get(host)
        return {} if kept is None else kept.options

    # -- what work showed ----------------------------------------------------------------------

    def worked(self, option: Option) -> list[Note]:
        """A task was answered well here."""
        kept = self._hosts.get(option.host)
        if kept is None:
            return []
        kept.answered(option, self._now())
        kept.trials.pop(option, None)
        kept.streaks.pop(option, None)
        if option in kept.options:
            kept.options[option] = kept.options[option].worked(self._now())
        return self._changes(option.host)

    def answered(self, option: Option) -> list[Note]:
        """The host answered, and what it said is about the task alone."""
        kept = self._hosts.get(option.host)
        if kept is None:
            return []
        kept.answered(option, self._now())
        return self._changes(option.host)

    def blocked(self, option: Option, failure: Failure, *, task: str) -> list[Note]:
        """A task was blocked here, by its own fault as far as one task shows.

        So many in a row say that the option is misconfigured.
        """
        kept = self._hosts.get(option.host)
        if kept is None:
            return []
        now, cause, message = self._now(), failure.cause, failure.message
        if failure.verdict.hurts is Hurts.DOUBT:
            kept.doubt(now)
        else:
            kept.answered(option, now)
        kept.trials.pop(option, None)
        streak = kept.streaks.get(option, Streak()).blocked(cause, message)
        kept.streaks[option] = streak
        if streak.too_long or kept.option(option).mode is Mode.TRIAL:
            many = "a task was" if streak.count == 1 else f"{streak.count} tasks in a row were"
            kept.option_down(option, now, f"{many} blocked with {cause.value}: {message}", task)
        return self._changes(option.host)

    def failed(self, option: Option, failure: Failure, *, task: str) -> Judged:
        """An attempt failed here, not by the task's fault as far as one attempt shows.

        Trials that fail alike show more: it is the option, or after all the task.
        """
        kept, verdict = self._hosts.get(option.host), failure.verdict
        if kept is None:
            return Judged(verdict, [])
        now, message = self._now(), failure.message
        if option.handler and verdict.hurts in (Hurts.HOST, Hurts.DOUBT):
            # The handler's word, not the host's: the handler rests, and the host is asked.
            kept.doubt(now)
            verdict = replace(verdict, hurts=Hurts.OPTION)
        if kept.on_trial(option) and (failure.strike or verdict.hurts is Hurts.OPTION):
            trials = kept.trials.get(option, Trials()).failed(failure.cause, message, task)
            kept.trials[option] = trials
            if trials.blame_option and verdict.strike:
                verdict = MISCONFIGURED
                message = f"{trials.count} trials in a row failed alike: {message}"
            if trials.give_task_up and verdict.hurts is Hurts.OPTION:
                verdict = replace(verdict, next=Next.BLOCK)
        match verdict.hurts:
            case Hurts.DOUBT:
                kept.doubt(now)
            case Hurts.HOST:
                kept.health = kept.health.failed(now, message)
            case Hurts.REST if option.handler:
                rest = kept.option(option).busy(now, failure.retry_after, message)
                kept.options[option] = rest
            case Hurts.REST:
                kept.health = kept.health.busy(now, failure.retry_after, message)
            case Hurts.OPTION:
                kept.option_down(option, now, message, task)
            case Hurts.NOBODY:
                pass
        return Judged(verdict, self._changes(option.host))

    # -- asking --------------------------------------------------------------------------------

    async def watch(self, host: str) -> None:
        """Ask a host whenever it needs asking, until it is removed. Never raises Failure."""
        kept = self._hosts.get(host)
        # A timer may fire a hair before its time: then that time has come all the same.
        reached = float("-inf")
        # One that came back meanwhile has another watch.
        while kept is not None and self._hosts.get(host) is kept:
            kept.stir.clear()
            now = max(self._now(), reached)
            due = min(self._due(kept), default=None)
            if due is None or due > now:
                try:
                    async with asyncio.timeout(None if due is None else due - now):
                        await kept.stir.wait()
                except TimeoutError:
                    reached = now if due is None else due
                continue
            await self._look(host, kept, now)
            if self._hosts.get(host) is not kept:
                return  # removed while it was asked
            notes = self._changes(host)
            if notes:
                await self._write(notes)

    def _due(self, kept: _Kept) -> Iterable[float]:
        if kept.health.look_at is not None:
            yield kept.health.look_at
        for health in kept.options.values():
            if health.mode in (Mode.DOWN, Mode.RESTING) and health.look_at is not None:
                yield health.look_at

    async def _look(self, host: str, kept: _Kept, now: float) -> None:
        if kept.health.look_at is not None and kept.health.look_at <= now:
            if kept.health.mode is Mode.RESTING:
                kept.health = kept.health.rested(now)
            elif self._active(host) and kept.health.mode is Mode.UP and not kept.doubted:
                kept.health = kept.health.probe_answered(now)  # judged by its traffic
            else:
                await self._ask(host, kept)
        for option, health in list(kept.options.items()):
            if self._hosts.get(host) is not kept or option not in kept.options:
                continue  # taken away while another was asked
            if health.look_at is None or health.look_at > now:
                continue
            if health.mode is Mode.RESTING:
                kept.options[option] = health.rested(now)
            elif health.mode is Mode.DOWN:
                await self._ask_option(kept, option)

    async def _ask(self, host: str, kept: _Kept) -> None:
        kept.doubted = False
        before = kept.health.mode
        reason = await _answer(self._prober.look(host), host, kept.health.reason)
        if reason is not None:
            kept.health = kept.health.probe_failed(self._now(), reason)
            if before is not Mode.DOWN or not kept.health.unanswered > 1:
                log.warning("event=host_down host=%s reason=%r", host, reason)
        else:
            kept.health = kept.health.probe_answered(self._now())
            if before is Mode.DOWN:
                log.info("event=host_answers host=%s", host)

    async def _ask_option(self, kept: _Kept, option: Option) -> None:
        looking = self._prober.look_at_option(option)
        reason = await _answer(looking, option.host, kept.options[option].reason)
        if option not in kept.options:
            return  # no type runs there any more
        if reason is not None:
            health = kept.options[option].probe_failed(self._now(), reason)
        else:
            health = kept.options[option].probe_answered(self._now())
            if not option.handler:  # that one was not asked: the next task is the question
                log.info("event=option_answers host=%s model=%s", option.host, option.model)
        kept.options[option] = health

    def unheard(self, hosts: Mapping[str, Mode], options: Mapping[Option, Mode]) -> list[Note]:
        """Rows again for whatever the board has had wrong since the last call.

        A write that carried a note may have changed nothing, because its fence had moved on.

        Args:
            hosts: modes as the board has them.
            options: likewise; one that the board never saw is up there.
        """
        notes: list[Note] = []
        for name, board_mode in hosts.items():
            kept = self._hosts.get(name)
            if kept is None:
                continue
            board: dict[Option | None, Mode] = {None: board_mode}
            board |= {option: options.get(option, Mode.UP) for option in kept.options}
            wrong = {what for what, mode in board.items() if mode is not kept.mode(what)}
            lost = wrong & kept.wrong
            kept.wrong = wrong - lost
            kept.written |= {what: board[what] for what in lost}
            notes += self._changes(name) if lost else ()
        return notes

    # -- rows ----------------------------------------------------------------------------------

    def _changes(self, host: str) -> list[Note]:
        """Rows for every mode that differs from the last one written; they must be committed."""
        kept = self._hosts[host]
        kept.stir.set()
        notes: list[Note] = []
        if kept.written[None] is not kept.health.mode:
            kept.written[None] = kept.health.mode
            notes.append(
                Note(
                    kind=Kind.HOST,
                    host=host,
                    reason=kept.health.reason,
                    detail={"mode": kept.health.mode.value},
                )
            )
        for option, health in kept.options.items():
            if kept.written.get(option, Mode.UP) is not health.mode:
                kept.written[option] = health.mode
                notes.append(
                    Note(
                        kind=Kind.OPTION,
                        host=host,
                        model=option.model,
                        reason=health.reason,
                        detail={"mode": health.mode.value, **_whose(option)},
                    )
                )
        return notes


def _whose(option: Option) -> dict[str, Json]:
    return {"type": option.handler} if option.handler else {}


async def _answer(look: Awaitable[None], host: str, known: str) -> str | None:
    """Why a look failed; None: it did not.

    Args:
        look: the question.
        host: who is asked.
        known: why the last one failed; what is known is not logged again.
    """
    try:
        await look
    except Failure as failure:
        return failure.message
    except Exception as error:  # a bug of ours, met at this host: the others must be asked on
        reason = f"internal error: {error!r}; see the log"
        if reason != known:
            log.exception("event=look_broke host=%s", host)
        return reason
    return None
