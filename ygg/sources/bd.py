"""Run `bd`, one call at a time, and hand back what it printed, or the error that it comes to.

Never a shell; each call is a process group of its own that is ended when its time is up, however
it feels about SIGTERM. What a call's words mean is left to `beads`, what was printed to `answers`.

What is recorded of bd 1.0.3 are its command lines, exit codes and output. Not recorded, and an
assumption after bd's documentation: that BD_ACTOR (in later versions BEADS_ACTOR) names who makes
a call, that BEADS_DIR names the project, that `--` ends the options, that `update` and `show` take several ids, that `comments add` takes its
text from `--file`, that BEADS_DOLT_* says where a database server is, and the words that tell of a
lock.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from ygg.lines import printable
from ygg.processes import End, Ended, run_process
from ygg.sources import answers, leftover
from ygg.sources.base import (
    Died,
    Garbage,
    Issue,
    Missing,
    NoProject,
    Refused,
    SourceError,
    TimedOut,
    WrongVersion,
)

logger = logging.getLogger(__name__)

#: What `bd` sees of our environment, beside LC_* and BEADS_DOLT_*. Whatever else there is of its
#: own variables could change the form of its answers.
_ENVIRONMENT: Final = ("PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "XDG_CONFIG_HOME")
_PREFIXES: Final = ("LC_", "BEADS_DOLT_")
#: From SIGTERM to SIGKILL.
_GRACE_SECONDS: Final = 2.0
#: Lines of standard error that are kept.
_ERROR_LINES: Final = 1000
#: Linux takes no argument of 128 KiB; a text that may be longer goes by standard input.
_ARGUMENT_BYTES: Final = 100_000
#: Characters of a command line that an error repeats.
_SHOWN: Final = 200

#: Calls that change nothing.
_READS: Final = ("version", "ready", "list", "show")


class Around(Protocol):
    """Hears of calls, so that it can tell what they changed from what others did."""

    def before(self) -> Awaitable[None]:
        """A call begins."""
        ...

    def after(self, *, wrote: bool) -> Awaitable[None]:
        """It has ended, whatever became of it; whether it was one that changes something."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Printed:
    """How a call ended, and what it printed."""

    #: The command line, for errors.
    call: str
    code: int
    out: bytes
    err: bytes


class Bd:
    """The program and the project. Its calls wait for each other, in the order they were made."""

    def __init__(
        self,
        *,
        folder: Path,
        beads: Path | None = None,
        actor: str,
        command: str = "bd",
        seconds_max: float = 60.0,
        output_max: int = 64 * 2**20,
        environ: Mapping[str, str] = os.environ,
        around: Around | None = None,
        note: Path | None = None,
        guard: Callable[[], None] | None = None,
    ) -> None:
        """Starts nothing.

        Args:
            folder: the project's, in which calls are made.
            beads: what `bd` is told of; None: `.beads` in that folder.
            actor: in whose name all calls are made.
            command: the program, a path or a name to be looked for in PATH.
            seconds_max: how long a call may take until its processes are ended.
            output_max: bytes of an answer.
            environ: our own environment, of which `bd` sees an allow-list.
            around: hears of each call; None: nobody does.
            note: the file that tells of a call that writes (see `leftover`); None: there is none.
            guard: raises SourceError, on a thread, where a call must not be made now.
        """
        self.folder = folder
        self.actor = actor
        self._command = command
        self._seconds_max = seconds_max
        self._output_max = output_max
        self._environment = {
            name: value
            for name, value in environ.items()
            if name in _ENVIRONMENT or name.startswith(_PREFIXES)
        } | {"BD_ACTOR": actor, "BEADS_ACTOR": actor, "BEADS_DIR": str(beads or folder / ".beads")}
        self._around = around
        self._note = note
        self._guard = guard
        self._turn = asyncio.Lock()
        #: None: to be asked, at first and whenever an answer made no sense.
        self._version: str | None = None

    async def version(self) -> str:
        """The version, which is one that ygg knows. Raises SourceError."""
        async with self._turn:
            return await self._asked_version()

    async def run(self, *argv: str, data: bytes = b"") -> Printed:
        """Make a call and hand back what it printed, whatever its exit code.

        Args:
            argv: its arguments.
            data: its standard input.

        Raises SourceError: it could not be started, gave no answer in time, or too long a one.
        """
        async with self._turn:
            if self._version is None:
                await self._asked_version()
            try:
                return await self._run(argv, data)
            except (Garbage, Missing):
                self._version = None
                raise

    async def ask(self, *argv: str, data: bytes = b"") -> Printed:
        """As `run`, for a call that is to end well. Raises SourceError when it does not."""
        printed = await self.run(*argv, data=data)
        if printed.code != 0:
            raise self.refusal(printed)
        return printed

    def issues(self, printed: Printed) -> tuple[Issue, ...]:
        """The issues that a call printed. Raises Garbage."""
        try:
            return answers.issues(printed.out, call=printed.call)
        except Garbage:
            self._version = None  # another version may have taken its place
            raise

    def refusal(self, printed: Printed) -> SourceError:
        """What a call that did not end well comes to."""
        error = answers.refusal(
            printed.code,
            printed.out,
            printed.err,
            call=printed.call,
            folder=str(self.folder),
        )
        if isinstance(error, WrongVersion):
            self._version = None
        return error

    async def _asked_version(self) -> str:
        self._version = None
        printed = await self._run(("version", "--json"), b"")
        if printed.code != 0:
            raise self.refusal(printed)
        found = answers.version(printed.out, call=printed.call)
        answers.check_version(found, where=self._command)
        self._version = found
        return found

    async def _run(self, argv: tuple[str, ...], data: bytes) -> Printed:
        argv = tuple(_carried(word) for word in argv)
        call = _shown(self._command, argv)
        for word in argv:
            if (size := len(word.encode())) > _ARGUMENT_BYTES:
                raise Refused(
                    f"an argument of {size} bytes is longer than a command line takes",
                    where=call,
                    way_out="make the text shorter",
                )
        if self._guard is not None:
            await asyncio.to_thread(self._guard)
        note = None if argv[0] in _READS else self._note
        lines: list[str] = []
        started = time.monotonic()
        try:
            if self._around is not None:
                await self._around.before()
            ended = await run_process(
                (self._command, *argv),
                data=data,
                environment=self._environment,
                cwd=str(self.folder),
                timeout=self._seconds_max,
                grace=_GRACE_SECONDS,
                output_max=self._output_max,
                heard=lambda line: lines.append(line) if len(lines) < _ERROR_LINES else None,
                started=lambda pid: None if note is None else leftover.note(note, pid),
            )
        except OSError as error:
            raise self._not_started(error) from error
        finally:
            if note is not None:
                leftover.forget(note)
            if self._around is not None:
                await self._around.after(wrote=argv[0] not in _READS)
        logger.debug(
            "event=bd_called call=%r seconds=%.3f code=%s",
            call,
            time.monotonic() - started,
            ended.code,
        )
        self._check_end(ended, call)
        assert ended.code is not None, "a program that exited has a code"
        return Printed(call=call, code=ended.code, out=ended.output, err="\n".join(lines).encode())

    def _not_started(self, error: OSError) -> SourceError:
        if not self.folder.is_dir():
            return NoProject(
                "there is no such folder",
                where=str(self.folder),
                way_out="say where the Beads project is: --beads PATH, or `beads: {path: ...}` in"
                " hosts.yaml",
            )
        return Missing(
            f"it can't be started: {error.strerror or error}",
            where=self._command,
            way_out="install bd, or say where it is: `beads: {command: ...}` in hosts.yaml",
        )

    def _check_end(self, ended: Ended, call: str) -> None:
        """Raise SourceError unless it ended by itself, having said all that it had to say."""
        if ended.end is End.TOO_LONG:
            raise Garbage(
                f"the answer is longer than {self._output_max} bytes",
                where=call,
                way_out="close or delete issues that are done with",
            )
        if ended.end is End.TIMEOUT or ended.code is None:
            raise TimedOut(
                f"there was no answer in {self._seconds_max:g} s",
                where=call,
                way_out="look for a `bd` that holds the database; `beads: {timeout: ...}` in"
                " hosts.yaml gives it longer",
            )
        if ended.code < 0:
            raise Died(
                f"it was ended by signal {-ended.code}",
                where=call,
                way_out="look in the system's log for who ended it; memory may be short",
            )


def _carried(word: str) -> str:
    """An argument as a process can be given it: others' texts may hold what none takes."""
    return word.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _shown(command: str, argv: tuple[str, ...]) -> str:
    line = printable(shlex.join((command, *argv)))
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "..."
