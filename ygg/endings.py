"""How the end of an attempt is written: what becomes of the task, and what it showed of its host.

One commit for both. Whose fault it was is faults.py's to say, what it does to a host's health
keeper.py's.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from ygg.attempt import Attempt, Stop
from ygg.faults import Cause, Failure, Next
from ygg.fleet import Fleet, Option, TypeSettings
from ygg.hosts.base import Answer
from ygg.journal import DRAINED, Note
from ygg.keeper import Keeper
from ygg.outages import Outages
from ygg.stores.base import TaskStore, Unstorable
from ygg.tasks import Json, Outcome, Status, Task

log = logging.getLogger("ygg.dispatcher")


class Endings:
    def __init__(
        self, store: TaskStore, keeper: Keeper, outages: Outages, *, fleet: Callable[[], Fleet]
    ) -> None:
        self._store = store
        self._keeper = keeper
        self._outages = outages
        self._fleet = fleet

    async def write(
        self,
        attempt: Attempt,
        task: Task,
        *,
        answer: Answer | None,
        artifact: str,
        failure: Failure | None,
    ) -> None:
        """Write what became of the attempt, and what it showed of its host, in one commit."""
        try:
            await self._write(attempt, task, answer, artifact, failure)
        except Unstorable as error:
            await self._write_plainly(attempt, task, error)

    async def _write(
        self,
        attempt: Attempt,
        task: Task,
        answer: Answer | None,
        artifact: str,
        failure: Failure | None,
    ) -> None:
        option, fence, store = attempt.start.option, task.fence, self._store
        if answer is not None and failure is None:
            notes = self._keeper.worked(option)
            about = _about(answer)
            await self._persist(
                lambda now: store.finish(
                    task.id, fence, artifact=artifact, answer=about, now=now, notes=notes
                )
            )
        elif failure is not None:
            await self._end_failed(task, attempt, failure)
        elif attempt.stop is Stop.CANCELLED:
            await self._persist(
                lambda now: store.finish(task.id, fence, outcome=Outcome.CANCELLED, now=now)
            )
        elif attempt.began is not None and self._blocks_what_was_cut(attempt.settings):
            error = (
                f"{DRAINED}: the dispatcher ended before its answer came; "
                "`ygg retry --drained` sends it back"
            )
            await self._persist(
                lambda now: store.block(task.id, fence, error=error, reason=DRAINED, now=now)
            )
        else:
            await self._reopen(task, error=DRAINED, reason=DRAINED, strike=False, notes=())

    async def _write_plainly(self, attempt: Attempt, task: Task, error: Unstorable) -> None:
        """Something of its end fits no store: a person must see the task, and all else goes on.

        What the attempt showed of its host goes unsaid here; the keeper says it again.
        """
        host, why = attempt.start.option.host, ascii(str(error))
        log.error("event=end_unstorable task=%s host=%s error=%s", task.id, host, why)
        try:
            await self._persist(
                lambda now: self._store.block(
                    task.id,
                    task.fence,
                    error=f"its end could not be stored: {why}; see the log",
                    reason=Cause.INTERNAL.value,
                    now=now,
                )
            )
        except Unstorable:
            hint = "it is still in_progress in the store: mend that, the next start rescues it"
            log.exception("event=end_not_written task=%s host=%s hint=%r", task.id, host, hint)

    async def _persist(self, write: Callable[[float], Awaitable[object]]) -> None:
        await self._outages.persist(write, give_up=True)

    def _blocks_what_was_cut(self, settings: TypeSettings) -> bool:
        """Whether a drain blocks what it cut off. What must not run twice is never sent back."""
        return self._fleet().dispatcher.after_drain == "block" or not settings.repeat

    async def _end_failed(self, task: Task, attempt: Attempt, failure: Failure) -> None:
        settings, option = attempt.settings, attempt.start.option
        verdict, keeper = failure.verdict, self._keeper
        if verdict.next is Next.BLOCK:
            notes = keeper.blocked(option, failure, task=task.id)
        elif _asked_too_much(task, settings, option, failure):
            # Not what the option is for, but what this task asked of it.
            verdict = replace(verdict, next=Next.BLOCK)
            notes = keeper.answered(option)
        else:
            verdict, notes = keeper.failed(option, failure, task=task.id)
        strike = failure.strike and verdict.strike
        error, reason = failure.message, failure.cause.value
        if verdict.next is Next.REOPEN and (settings.repeat or not failure.taken):
            await self._reopen(task, error=error, reason=reason, strike=strike, notes=notes)
            return
        await self._persist(
            lambda now: self._store.block(
                task.id, task.fence, error=error, reason=reason, strike=strike, now=now, notes=notes
            )
        )

    async def _reopen(
        self, task: Task, *, error: str, reason: str, strike: bool, notes: Sequence[Note]
    ) -> None:
        await self._persist(
            lambda now: self._store.reopen(
                task.id,
                task.fence,
                error=error,
                reason=reason,
                strike=strike,
                max_strikes=self._fleet().dispatcher.max_strikes,
                now=now,
                notes=notes,
            )
        )


def _asked_too_much(task: Task, settings: TypeSettings, option: Option, failure: Failure) -> bool:
    """Whether the model lacks what the task may have asked for, and its type does not."""
    if failure.cause is not Cause.UNSUPPORTED or option.handler:
        return False
    return (
        any(settings.options.get(name) != value for name, value in task.options.items())
        or task.system not in (None, settings.system)
        or bool(task.model)
    )


def _about(answer: Answer) -> dict[str, Json]:
    """What is kept of an answer beside its text."""
    return {
        "finish": answer.finish,
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "seconds": round(answer.seconds, 3),
        "server_wait_seconds": answer.server_wait_seconds,
        "thinking": bool(answer.thinking),
    }


def blocked_by_drain(task: Task) -> bool:
    return task.status is Status.BLOCKED and (task.error or "").startswith(DRAINED)
