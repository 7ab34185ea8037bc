"""From a type and a task to an answer: a model's, a command's, or a Python function's.

A handler raises `Failure` for all that faults.py has a line for, and leaves to the dispatcher what
follows from it. How a program is run and ended is processes.py, how a function is functions.py.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from ygg import functions
from ygg.durations import in_seconds
from ygg.faults import Cause, Failure
from ygg.fleet import TypeSettings
from ygg.hosts.base import Answer, Limits, Message, ModelServer, Progress, Request
from ygg.processes import End, Ended, run_process
from ygg.tasks import Task
from ygg.wire import task_json

logger = logging.getLogger(__name__)

#: The largest answer that ygg keeps, in bytes of UTF-8.
ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
#: sysexits.h: a command says by it that its host failed and not the task.
EX_TEMPFAIL: Final = 75
#: Lines of a command's standard error that go to the log: one command must not fill a disk.
LOGGED_LINES_MAX: Final = 1000
#: What a command sees of our environment, beside LC_* and the names its type allows.
_ENVIRONMENT: Final = ("PATH", "HOME", "LANG", "TZ", "TMPDIR")
#: What a start may fail of that is nobody's setting: this machine is short of something.
_SHORTAGES: Final = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a task runs: an option, resolved."""

    host: str
    url: str
    #: The model's name as its server knows it.
    model: str
    server: ModelServer
    #: How long the host keeps a model loaded; None: as its server likes.
    keep_alive: str | None = None


class Handler(Protocol):
    async def run(self, task: Task, place: Place, progress: Progress) -> Answer:
        """The task's answer. Raises Failure. Cancelled: it leaves nothing running, where it can."""


def handler_for(settings: TypeSettings) -> Handler:
    """The handler that a type asks for; a request to its host's model when it says nothing."""
    assert not (settings.command and settings.python), f"type {settings.name} has two handlers"
    if settings.command:
        return CommandHandler(settings)
    if settings.python:
        return PythonHandler(settings)
    return ModelHandler(settings)


def user_message(task: Task) -> str:
    """Title and description as one message; the title once when the description begins with it."""
    title, description = task.title.strip(), task.description.strip()
    if not description or description.partition("\n")[0].strip() == title:
        return task.description if description else task.title
    return f"{title}\n\n{task.description}" if title else task.description


def model_request(settings: TypeSettings, task: Task, place: Place, prompt: str) -> Request:
    """What the model is asked. What the task says takes precedence over what its type says."""
    system = settings.system if task.system is None else task.system
    user = Message(role="user", content=prompt)
    return Request(
        messages=[Message(role="system", content=system), user] if system else [user],
        model=place.model,
        options={**settings.options, **task.options},
        keep_alive=place.keep_alive,
        limits=Limits(
            first_token=settings.first_token,
            stall=settings.stall,
            timeout=_timeout(settings, task),
        ),
    )


def _timeout(settings: TypeSettings, task: Task) -> float:
    return settings.timeout if task.timeout is None else task.timeout


class ModelHandler:
    """Asks the host's model."""

    def __init__(self, settings: TypeSettings) -> None:
        self._settings = settings

    async def run(self, task: Task, place: Place, progress: Progress) -> Answer:
        request = model_request(self._settings, task, place, user_message(task))
        return await place.server.generate(request, progress)


class CommandHandler:
    """Runs a program: the task as JSON on its standard input, the answer on its standard output.

    Args:
        settings: a type with a command.
        environ: our own environment, of which the command sees an allow-list.
        grace: seconds from SIGTERM to SIGKILL.
    """

    def __init__(
        self,
        settings: TypeSettings,
        *,
        environ: Mapping[str, str] = os.environ,
        grace: float = 5.0,
    ) -> None:
        assert settings.command, f"type {settings.name} has no command"
        self._argv = settings.command
        self._settings = settings
        self._environ = environ
        self._grace = grace

    async def run(self, task: Task, place: Place, progress: Progress) -> Answer:
        clock = asyncio.get_running_loop().time
        start = clock()
        try:
            ended = await run_process(
                self._argv,
                # ASCII with escapes: even half a surrogate pair in a title is valid JSON then.
                data=json.dumps(task_json(task)).encode("ascii") + b"\n",
                environment=self._environment(task, place),
                cwd=self._settings.cwd,
                timeout=_timeout(self._settings, task),
                grace=self._grace,
                output_max=ANSWER_BYTES_MAX,
                heard=_StandardError(task, place),
            )
        except (OSError, ValueError) as error:
            raise self._unstartable(error) from error
        return Answer(text=self._text(task, ended), seconds=clock() - start)

    def _environment(self, task: Task, place: Place) -> dict[str, str]:
        allowed = {*_ENVIRONMENT, *self._settings.environment}
        seen = {
            name: value
            for name, value in self._environ.items()
            if name in allowed or name.startswith("LC_")
        }
        return seen | {
            "YGG_HOST": place.host,
            "YGG_URL": place.url,
            "YGG_MODEL": place.model,
            "YGG_TASK_ID": task.id,
            "YGG_ATTEMPT": str(task.attempt),
        }

    def _unstartable(self, error: OSError | ValueError) -> Failure:
        name, cwd = self._argv[0], self._settings.cwd
        if isinstance(error, OSError) and error.errno in _SHORTAGES:
            message = f"command {name} could not be started now: {error.strerror}"
            return Failure(Cause.BUSY, message, taken=False)
        if cwd is not None and not Path(cwd).is_dir():
            remedy = f"its working folder {cwd} is not there: create it, or mend `cwd`"
        elif isinstance(error, FileNotFoundError):
            # Also a script whose first line names an interpreter that is not there.
            remedy = "it, or its interpreter, is not there: install it, or mend `command` or PATH"
        elif isinstance(error, PermissionError):
            remedy = "it may not be executed: chmod +x, or mend `command`"
        elif isinstance(error, OSError):
            remedy = f"{error.strerror}: mend `command`, or the file"
        else:
            remedy = f"{error}: mend `command` or the environment"
        message = f"command {name} of type {self._settings.name} can't be started: {remedy}"
        # Not the task's fault, and not to be tried with the whole backlog: the option rests.
        return Failure(Cause.UNSUPPORTED, message, taken=False)

    def _text(self, task: Task, ended: Ended) -> str:
        """The answer. Raises Failure unless the program ended well and said one."""

        def failure(cause: Cause, what: str) -> Failure:
            tail = f"; the end of its standard error: {ended.tail}" if ended.tail else ""
            return Failure(
                cause,
                f"command {self._argv[0]} {what}{tail}",
                taken=True,
                partial=ended.output.decode(errors="replace"),
            )

        if ended.end is End.TIMEOUT:
            limit = _timeout(self._settings, task)
            raise failure(
                Cause.DEADLINE,
                f"was ended after its timeout of {in_seconds(limit)}: raise `timeout` of the type "
                "or task if it needs more",
            )
        if ended.end is End.TOO_LONG:
            what = f"wrote more than {ANSWER_BYTES_MAX} bytes to standard output and was ended"
            raise failure(Cause.ANSWER_TOO_LONG, what)
        if ended.code == EX_TEMPFAIL:
            raise failure(Cause.SERVER_ERROR, f"ended with {EX_TEMPFAIL}: its host failed")
        assert ended.code is not None, "it exited by itself"
        if ended.code < 0:
            raise failure(Cause.COMMAND_FAILED, f"was killed by {_signal_name(-ended.code)}")
        if ended.code > 0:
            raise failure(Cause.COMMAND_FAILED, f"ended with exit code {ended.code}")
        try:
            text = ended.output.decode()
        except UnicodeDecodeError as error:
            what = f"wrote what is not UTF-8 (byte {error.start}): let it print text, or base64"
            raise failure(Cause.COMMAND_FAILED, what) from error
        if not text.strip():
            raise failure(Cause.EMPTY_ANSWER, "ended well, but wrote nothing to standard output")
        return text


class PythonHandler:
    """Calls a Python function with the task and a context; what it returns is the answer."""

    def __init__(self, settings: TypeSettings) -> None:
        assert settings.python, f"type {settings.name} has no Python handler"
        self._entry = settings.python
        self._settings = settings
        self._function: functions.Function | None = None

    async def run(self, task: Task, place: Place, progress: Progress) -> Answer:
        clock = asyncio.get_running_loop().time
        start = clock()

        async def generate(prompt: str) -> Answer:
            request = model_request(self._settings, task, place, prompt)
            return await place.server.generate(request, progress)

        context = functions.Context(
            host=place.host, url=place.url, model=place.model, generate=generate
        )
        limit = _timeout(self._settings, task)
        try:
            async with asyncio.timeout(limit) as deadline:
                if self._function is None:
                    # In a thread: an import may take seconds.
                    self._function = await functions.in_thread(lambda: functions.load(self._entry))
                result = await functions.call(
                    self._function, task_json(task), context, entry=self._entry
                )
        except TimeoutError as error:
            assert deadline.expired(), "a TimeoutError of the function itself became a Failure"
            message = (
                f"{self._entry} ran past its timeout of {in_seconds(limit)} (a plain function can't "
                "be stopped: its thread goes on until it returns); raise `timeout` if it needs more"
            )
            raise Failure(Cause.DEADLINE, message, taken=True) from error
        answer = Answer(text=result, seconds=clock() - start) if isinstance(result, str) else result
        self._check(answer.text)
        return answer

    def _check(self, text: str) -> None:
        if not text.strip():
            message = f"{self._entry} returned an empty answer"
            raise Failure(Cause.EMPTY_ANSWER, message, taken=True)
        size = len(text.encode(errors="surrogatepass"))
        if size > ANSWER_BYTES_MAX:
            message = f"{self._entry} returned {size} bytes; {ANSWER_BYTES_MAX} are kept at most"
            raise Failure(Cause.ANSWER_TOO_LONG, message, taken=True)


class _StandardError:
    """Writes a command's standard error to the log, so much and no more."""

    def __init__(self, task: Task, place: Place) -> None:
        self._task_id, self._host = task.id, place.host
        self._left = LOGGED_LINES_MAX

    def __call__(self, line: str) -> None:
        if self._left > 0:
            message = "event=command_stderr task=%s host=%s line=%r"
            logger.info(message, self._task_id, self._host, line)
        elif self._left == 0:
            message = (
                "event=command_stderr_cut task=%s host=%s: only %d lines of an attempt are logged"
            )
            logger.warning(message, self._task_id, self._host, LOGGED_LINES_MAX)
        self._left -= 1


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # a real-time signal between the two that have names
