"""Run a Python function for a task, and say in the table's words how it failed.

An `async def` runs on the event loop and must not block it. A plain function gets a thread of its
own, which nobody can stop: when its time is up its answer is dropped, and it goes on until it
returns by itself. What a function may use beside the task is its `Context`.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from ygg.faults import Cause, Failure
from ygg.hosts.base import Answer
from ygg.lines import printable
from ygg.tasks import Json

logger = logging.getLogger(__name__)

#: Characters of an exception's text that are kept as the task's error.
_MESSAGE_MAX: Final = 2000

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """Where a Python handler runs, and the model it may ask."""

    host: str
    url: str
    model: str
    #: Ask the host's model, as a plain task of this type would; for async handlers.
    generate: Callable[[str], Awaitable[Answer]] = field(repr=False)


#: What a function returns is checked, so nothing is promised of it here.
Function = Callable[[dict[str, Json], Context], object]


def load(entry: str) -> Function:
    """The function that `package.module:function` names. Raises Failure, saying what to mend."""
    module_name, _, name = entry.partition(":")
    mend = f"mend `python: {entry}` in the type's settings, or the module"
    if not module_name or not name.isidentifier():
        raise _broken(f"{entry!r} is not of the form package.module:function; {mend}")
    importlib.invalidate_caches()  # the module may have been put there since the last try
    try:
        module = importlib.import_module(module_name)
        function: object = getattr(module, name)
    except (Exception, SystemExit) as error:
        logger.exception("event=handler_import_failed entry=%r", entry)
        raise _broken(f"{entry} can't be imported: {_described(error)}; {mend}") from error
    if not callable(function):
        raise _broken(f"{entry} is a {type(function).__name__}, not a function; {mend}")
    return function


async def call(
    function: Function, task: dict[str, Json], context: Context, *, entry: str
) -> str | Answer:
    """What the function returns, if it is an answer. Raises Failure, CancelledError."""
    try:
        result = await _called(function, task, context)
    except Failure:
        raise
    except asyncio.CancelledError as error:
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            raise
        # Nobody cancelled us: it awaited something of its own that was cancelled.
        raise _failed(f"{entry} raised {_described(error)}", task, context, error) from error
    except (Exception, SystemExit) as error:
        raise _failed(f"{entry} raised {_described(error)}", task, context, error) from error
    if inspect.iscoroutine(result):
        result.close()
        raise _failed(f"{entry} returned a coroutine: make it an `async def`", task, context)
    if not isinstance(result, (str, Answer)):
        raise _failed(f"{entry} returned {type(result).__name__}, not a str", task, context)
    if isinstance(result, Answer) and (wrong := _misfit(result)) is not None:
        raise _failed(f"{entry} returned an Answer whose {wrong}", task, context)
    return result


def _misfit(answer: Answer) -> str | None:
    """What a store could not take of an Answer, or would not give back; None: it takes it."""
    for name, fits, what in _FIELDS:
        value: object = getattr(answer, name)
        if not fits(value):
            return f"{name} is {repr(value)[:200]}, not {what}"
    return None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _NUMBER_MAX


def _is_seconds(value: object) -> bool:
    return (isinstance(value, float) and 0 <= value <= _NUMBER_MAX) or _is_count(value)


#: Beyond it JSON's numbers are no longer exact.
_NUMBER_MAX: Final = 2**53
#: Each field of an Answer, whether a value fits it, and what one that fits is.
_FIELDS: Final[Sequence[tuple[str, Callable[[object], bool], str]]] = (
    ("text", lambda value: isinstance(value, str), "a str"),
    ("thinking", lambda value: isinstance(value, str), "a str"),
    ("finish", lambda value: value in ("stop", "length"), "'stop' or 'length'"),
    ("prompt_tokens", _is_count, "an int from 0"),
    ("completion_tokens", _is_count, "an int from 0"),
    ("seconds", _is_seconds, "a number from 0"),
    ("server_wait_seconds", lambda v: v is None or _is_seconds(v), "a number from 0, or None"),
)


async def _called(function: Function, task: dict[str, Json], context: Context) -> object:
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object whose __call__ is async
    ):
        result = function(task, context)
        assert inspect.isawaitable(result), "a coroutine function returns an awaitable"
        return await result
    return await in_thread(lambda: function(task, context))


async def in_thread(function: Callable[[], T]) -> T:
    """Call it in a thread of its own.

    Not in the loop's pool: a function that never returns would take one of its few threads for
    ever, and the process could not end before it.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    variables = contextvars.copy_context()

    def settle(result: Callable[[], None]) -> None:
        if not future.done():  # done: cancelled, nobody waits for the result
            result()

    def work() -> None:
        try:
            value = variables.run(function)
        except BaseException as error:  # noqa: BLE001 - the waiter gets it, whatever it is
            failure = _carried(error)
            outcome: Callable[[], None] = lambda: future.set_exception(failure)  # noqa: E731
        else:
            outcome = lambda: future.set_result(value)  # noqa: E731
        try:
            loop.call_soon_threadsafe(settle, outcome)
        except RuntimeError:
            logger.warning("event=handler_late: it returned after the dispatcher had ended")

    threading.Thread(target=work, name="ygg-handler", daemon=True).start()
    return await future


class _Stopped(Exception):
    """SystemExit, KeyboardInterrupt or StopIteration, which a future can't carry."""


def _carried(error: BaseException) -> Exception:
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    stopped = _Stopped(_described(error))
    stopped.__cause__ = error
    return stopped


def _described(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, _Stopped):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _broken(message: str) -> Failure:
    return Failure(Cause.UNSUPPORTED, printable(message[:_MESSAGE_MAX]), taken=False)


def _failed(
    message: str,
    task: dict[str, Json],
    context: Context,
    error: BaseException | None = None,
) -> Failure:
    """The task's failure; the log has the traceback, the task's error what it comes to."""
    line = "event=handler_failed task=%s host=%s error=%r"
    logger.error(line, task["id"], context.host, message, exc_info=error)
    # Printable: the error goes through stores and tables that know neither halves of surrogate
    # pairs nor lines.
    return Failure(Cause.COMMAND_FAILED, printable(message[:_MESSAGE_MAX]), taken=True)
