"""From a task to an answer, by a model, a command or a Python function."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.children import children
from ygg.faults import Cause, Failure
from ygg.fleet import TypeSettings
from ygg.functions import Context
from ygg.handlers import (
    ANSWER_BYTES_MAX,
    LOGGED_LINES_MAX,
    CommandHandler,
    Handler,
    ModelHandler,
    Place,
    PythonHandler,
    handler_for,
    user_message,
)
from ygg.hosts.base import Answer, Limits, Loaded, Message, Progress, Request
from ygg.tasks import Json, Task
from ygg.wire import task_json

TASK = Task(
    id="01hq3k8v9x2m4n6p7r",
    title="Say hello",
    description="in French",
    labels=("greeting",),
    type="general",
    priority=2,
    created_at=1_795_490_400.0,
    sequence=1,
    attempt=3,
)
GENERAL = TypeSettings(name="general")


class Quiet:
    def tokens(self, *, prompt: int = 0, completion: int = 0) -> None:
        pass


class Echo:
    """A model server that says back what it was asked, and remembers it."""

    def __init__(self) -> None:
        self.asked: list[tuple[Request, Progress]] = []

    async def generate(self, request: Request, progress: Progress) -> Answer:
        self.asked.append((request, progress))
        if request.messages[-1].content == "fail":
            raise Failure(Cause.BUSY, "later", taken=False, retry_after=3)
        return Answer(text=f"echo {request.messages[-1].content}", completion_tokens=2)

    async def probe(self) -> None:
        pass

    async def models(self) -> Sequence[str]:
        return ["m"]

    async def has_model(self, model: str) -> bool:
        return True

    async def parallelism(self) -> int | None:
        return None

    async def loaded(self) -> Sequence[Loaded]:
        return []


def a_place(server: Echo | None = None) -> Place:
    return Place(
        host="skadi",
        url="http://127.0.0.1:11434",
        model="qwen2.5-coder:3b",
        server=server or Echo(),
        keep_alive="30m",
    )


def answer(handler: Handler, task: Task = TASK, place: Place | None = None) -> Answer:
    return asyncio.run(handler.run(task, place or a_place(), Quiet()))


def failure(handler: Handler, task: Task = TASK, place: Place | None = None) -> Failure:
    with pytest.raises(Failure) as caught:
        answer(handler, task, place)
    return caught.value


# Which handler


@pytest.mark.pure
@pytest.mark.parametrize(
    ("settings", "handler"),
    [
        (GENERAL, ModelHandler),
        (replace(GENERAL, command=("true",)), CommandHandler),
        (replace(GENERAL, python="a:b"), PythonHandler),
    ],
)
def test_the_type_says_who_answers(settings: TypeSettings, handler: type) -> None:
    assert type(handler_for(settings)) is handler


# Models


@pytest.mark.pure
@pytest.mark.parametrize(
    ("title", "description", "message"),
    [
        ("Say hello", "in French", "Say hello\n\nin French"),
        ("Say hello", "", "Say hello"),
        ("Say hello", " \n", "Say hello"),
        ("", "in French", "in French"),
        ("Say hello", "Say hello\nin French", "Say hello\nin French"),
        ("Say hello", "Say hello", "Say hello"),
        (" Say hello", "\r\n Say hello \r\nin French", "\r\n Say hello \r\nin French"),
        ("Say", "Say hello", "Say\n\nSay hello"),
        ("Title", "  indented:\n    code\n", "Title\n\n  indented:\n    code\n"),
    ],
)
def test_the_message_says_title_and_description_once(
    title: str, description: str, message: str
) -> None:
    assert user_message(replace(TASK, title=title, description=description)) == message


def asked(settings: TypeSettings, task: Task) -> Request:
    server = Echo()
    answer(ModelHandler(settings), task, a_place(server))
    return server.asked[0][0]


def test_the_request_says_what_the_type_says() -> None:
    settings = replace(
        GENERAL,
        system="Be brief.",
        options={"num_ctx": 8192},
        first_token=1.0,
        stall=2.0,
        timeout=3.0,
    )
    assert asked(settings, TASK) == Request(
        messages=[
            Message(role="system", content="Be brief."),
            Message(role="user", content="Say hello\n\nin French"),
        ],
        model="qwen2.5-coder:3b",
        options={"num_ctx": 8192},
        keep_alive="30m",
        limits=Limits(first_token=1.0, stall=2.0, timeout=3.0),
    )


def test_what_the_task_says_takes_precedence() -> None:
    settings = replace(GENERAL, system="Be brief.", options={"num_ctx": 8192, "seed": 1})
    task = replace(TASK, system="Be long.", options={"seed": 2, "think": True}, timeout=7.0)
    request = asked(settings, task)
    assert request.messages[0] == Message(role="system", content="Be long.")
    assert request.options == {"num_ctx": 8192, "seed": 2, "think": True}
    assert request.limits == Limits(timeout=7.0)


@pytest.mark.parametrize("system", [None, ""])
def test_without_system_text_there_is_no_system_message(system: str | None) -> None:
    request = asked(replace(GENERAL, system=system or None), replace(TASK, system=system))
    assert [message.role for message in request.messages] == ["user"]
    request = asked(replace(GENERAL, system="Be brief."), replace(TASK, system=""))
    assert [message.role for message in request.messages] == ["user"]


def test_answer_and_progress_pass_through() -> None:
    server, quiet = Echo(), Quiet()
    got = asyncio.run(ModelHandler(GENERAL).run(TASK, a_place(server), quiet))
    assert got == Answer(text="echo Say hello\n\nin French", completion_tokens=2)
    assert server.asked[0][1] is quiet


def test_what_the_server_fails_of_passes_through() -> None:
    task = replace(TASK, title="fail", description="")
    assert failure(ModelHandler(GENERAL), task).retry_after == 3


# Commands

commands = pytest.mark.system


def command(
    *argv: str,
    environ: dict[str, str] | None = None,
    cwd: str | None = None,
    environment: tuple[str, ...] = (),
    timeout: float = 60,
    grace: float = 5,
) -> CommandHandler:
    settings = replace(GENERAL, command=argv, cwd=cwd, environment=environment, timeout=timeout)
    return CommandHandler(settings, environ=os.environ if environ is None else environ, grace=grace)


def sh(script: str, *, timeout: float = 60, grace: float = 5) -> CommandHandler:
    return command("sh", "-c", script, timeout=timeout, grace=grace)


@commands
def test_a_command_gets_the_task_as_json_and_its_output_is_the_answer() -> None:
    got = answer(command("cat"))
    assert json.loads(got.text) == task_json(TASK)
    assert got.seconds > 0
    assert (got.finish, got.thinking) == ("stop", "")


@commands
def test_a_command_gets_even_half_a_surrogate_pair_as_json() -> None:
    got = answer(command("cat"), replace(TASK, title="a \ud83c b"))
    assert json.loads(got.text)["title"] == "a \ud83c b"


@commands
def test_a_command_sees_an_allow_list_of_the_environment_and_no_secret() -> None:
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": "/home/ygg",
        "LANG": "C.UTF-8",
        "LC_TIME": "C",
        "TZ": "UTC",
        "TMPDIR": "/tmp",
        "CUDA_VISIBLE_DEVICES": "0",
        "FENRIR_KEY": "secret",
        "YGG_TOKEN": "secret",
        "LD_PRELOAD": "/evil.so",
        "YGG_HOST": "other",
    }
    got = answer(command("env", environ=environ, environment=("CUDA_VISIBLE_DEVICES", "NOT_SET")))
    assert dict(line.split("=", 1) for line in got.text.splitlines()) == {
        "PATH": os.environ["PATH"],
        "HOME": "/home/ygg",
        "LANG": "C.UTF-8",
        "LC_TIME": "C",
        "TZ": "UTC",
        "TMPDIR": "/tmp",
        "CUDA_VISIBLE_DEVICES": "0",
        "YGG_HOST": "skadi",
        "YGG_URL": "http://127.0.0.1:11434",
        "YGG_MODEL": "qwen2.5-coder:3b",
        "YGG_TASK_ID": "01hq3k8v9x2m4n6p7r",
        "YGG_ATTEMPT": "3",
    }


@commands
@pytest.mark.parametrize(
    "title", ["$(touch pwned)", "`touch pwned`", "; touch pwned", "' ; touch pwned '", "--help"]
)
def test_a_title_is_never_seen_by_a_shell(tmp_path: Path, title: str) -> None:
    got = answer(command("cat", cwd=str(tmp_path)), replace(TASK, title=title))
    assert json.loads(got.text)["title"] == title
    assert list(tmp_path.iterdir()) == []


@commands
def test_arguments_are_passed_as_they_are() -> None:
    assert answer(command("printf", "%s|", "$HOME", "a b", "*", "")).text == "$HOME|a b|*||"


@commands
def test_a_command_runs_in_its_folder(tmp_path: Path) -> None:
    assert answer(command("pwd", cwd=str(tmp_path))).text.strip() == str(tmp_path.resolve())


@commands
@pytest.mark.parametrize(
    ("script", "cause", "taken", "message"),
    [
        ("echo out; exit 1", Cause.COMMAND_FAILED, True, "sh ended with exit code 1"),
        ("exit 2", Cause.COMMAND_FAILED, True, "exit code 2"),
        ("exit 74", Cause.COMMAND_FAILED, True, "exit code 74"),
        ("exit 75", Cause.SERVER_ERROR, True, "its host failed"),
        ("exit 76", Cause.COMMAND_FAILED, True, "exit code 76"),
        ("exit 126", Cause.COMMAND_FAILED, True, "exit code 126"),
        ("exit 255", Cause.COMMAND_FAILED, True, "exit code 255"),
        ("kill -KILL $$", Cause.COMMAND_FAILED, True, "killed by SIGKILL"),
        ("kill -SEGV $$", Cause.COMMAND_FAILED, True, "killed by SIGSEGV"),
        ("kill -40 $$", Cause.COMMAND_FAILED, True, "killed by signal 40"),
        ("true", Cause.EMPTY_ANSWER, True, "wrote nothing to standard output"),
        ("echo; echo '  '", Cause.EMPTY_ANSWER, True, "wrote nothing"),
        (r"printf 'PNG\211'", Cause.COMMAND_FAILED, True, r"not UTF-8 (byte 3)"),
        ("sleep 60", Cause.DEADLINE, True, "timeout of 0.5 s"),
        ("cat /dev/zero", Cause.ANSWER_TOO_LONG, True, f"more than {ANSWER_BYTES_MAX} bytes"),
    ],
)
def test_how_a_command_ends_says_whose_fault_it_was(
    script: str, cause: Cause, taken: bool, message: str
) -> None:
    failed = failure(sh(script, timeout=0.5 if "sleep" in script else 60.0))
    assert (failed.cause, failed.taken) == (cause, taken)
    assert message in failed.message


@commands
def test_an_answer_of_the_largest_size_is_kept() -> None:
    assert len(answer(sh(f"head -c {ANSWER_BYTES_MAX} /dev/zero")).text) == ANSWER_BYTES_MAX


@commands
def test_the_timeout_of_a_task_takes_precedence() -> None:
    task = replace(TASK, timeout=0.1)
    assert "timeout of 0.1 s" in failure(command("sleep", "60"), task).message


@commands
def test_a_failure_keeps_what_was_said_before() -> None:
    failed = failure(sh("echo half; echo one >&2; printf 'two\\033[2J' >&2; exit 1"))
    assert failed.partial == "half\n"
    assert failed.message.endswith("; the end of its standard error: one | two\\x1b[2J")


@commands
@pytest.mark.parametrize(
    ("name", "mode", "first_line", "remedy"),
    [
        ("missing", None, "", "is not there: install it"),
        ("plain", 0o644, "#!/bin/sh", "chmod +x"),
        ("strange", 0o755, "\x01\x02", "Exec format error: mend `command`"),
        ("script", 0o755, "#!/no/such/interpreter", "or its interpreter, is not there"),
    ],
)
def test_a_command_that_can_not_be_started_is_the_options_fault_and_says_what_to_mend(
    tmp_path: Path, name: str, mode: int | None, first_line: str, remedy: str
) -> None:
    program = tmp_path / name
    if mode is not None:
        program.write_text(f"{first_line}\n")
        program.chmod(mode)
    failed = failure(command(str(program)))
    assert (failed.cause, failed.taken) == (Cause.UNSUPPORTED, False)
    assert str(program) in failed.message
    assert "type general" in failed.message
    assert remedy in failed.message


@commands
def test_a_missing_working_folder_is_named() -> None:
    failed = failure(command("true", cwd="/no/such/folder"))
    assert failed.cause is Cause.UNSUPPORTED
    assert "working folder /no/such/folder is not there: create it, or mend `cwd`" in failed.message


@commands
def test_a_nul_in_an_argument_is_the_options_fault() -> None:
    failed = failure(command("echo", "a\0b"))
    assert (failed.cause, failed.taken) == (Cause.UNSUPPORTED, False)


@commands
def test_a_shortage_of_descriptors_is_nobodys_fault() -> None:
    async def story() -> None:
        taken: list[int] = []
        try:
            while True:
                taken.append(os.dup(0))
        except OSError:
            pass
        try:
            with pytest.raises(Failure) as caught:
                await command("true").run(TASK, a_place(), Quiet())
        finally:
            for descriptor in taken:
                os.close(descriptor)
        assert (caught.value.cause, caught.value.taken) == (Cause.BUSY, False)
        assert "Too many open files" in caught.value.message

    asyncio.run(story())


@commands
def test_standard_error_goes_to_the_log_with_task_and_host(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "ygg")
    answer(sh("echo 'a line' >&2; printf 'b\\033[2J\\n' >&2; echo done"))
    assert [record.getMessage() for record in caplog.records] == [
        "event=command_stderr task=01hq3k8v9x2m4n6p7r host=skadi line='a line'",
        "event=command_stderr task=01hq3k8v9x2m4n6p7r host=skadi line='b\\\\x1b[2J'",
    ]


@commands
def test_a_flood_of_standard_error_is_cut_in_the_log_and_the_error_has_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "ygg")
    failed = failure(sh(f"seq {LOGGED_LINES_MAX + 500} >&2; exit 1"))
    assert len(caplog.records) == LOGGED_LINES_MAX + 1
    assert "event=command_stderr_cut" in caplog.records[-1].getMessage()
    assert failed.message.endswith(f"| {LOGGED_LINES_MAX + 500}")


@commands
@pytest.mark.parametrize("cancels", [1, 2])
def test_a_cancelled_command_is_ended_with_its_group(tmp_path: Path, cancels: int) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    deaf = "trap '' TERM; sleep 60; sleep 60"

    async def story() -> None:
        handler = sh(f"(echo up > {fifo}; {deaf}) & {deaf}", grace=0.1)
        running = asyncio.ensure_future(handler.run(TASK, a_place(), Quiet()))
        # The end of the fifo stays open in nobody once all of the group are dead.
        assert await asyncio.to_thread(fifo.read_text) == "up\n"
        for _ in range(cancels):
            running.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await running
        assert children() == theirs, "a process is left, or was not reaped"

    theirs = children()
    asyncio.run(story())


# Python functions


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Writes a module and gives its name; forgets it at the end."""
    monkeypatch.syspath_prepend(str(tmp_path))
    name = "a_handler_module"

    def write(text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        return name

    yield write
    sys.modules.pop(name, None)


def python(entry: str, timeout: float = 60) -> PythonHandler:
    return PythonHandler(replace(GENERAL, python=entry, system="Be brief.", timeout=timeout))


def plain(task: dict[str, Json], context: Context) -> str:
    """Tells what it sees."""
    thread = threading.current_thread() is threading.main_thread()
    return json.dumps([task["title"], context.host, context.url, context.model, thread])


async def asking(task: dict[str, Json], context: Context) -> Answer:
    """Asks the model."""
    return await context.generate(f"about {task['title']}")


async def saying(task: dict[str, Json], context: Context) -> str:
    """Returns its title as the answer."""
    await asyncio.sleep(0)
    return str(task["title"])


class SayingObject:
    async def __call__(self, task: dict[str, Json], context: Context) -> str:
        return "from an object"


callable_object = SayingObject()
NOT_CALLABLE = 7


def raising(task: dict[str, Json], context: Context) -> str:
    """Raises what its title names."""
    what: dict[str, BaseException] = {
        "ValueError": ValueError("bad\nvalue \ud83c"),
        "KeyError": KeyError("x"),
        "TimeoutError": TimeoutError(),
        "SystemExit": SystemExit(3),
        "KeyboardInterrupt": KeyboardInterrupt(),
        "StopIteration": StopIteration(),
        "CancelledError": asyncio.CancelledError(),
        "Failure": Failure(Cause.BUSY, "its own verdict", taken=False, retry_after=9),
    }
    raise what[str(task["title"])]


async def raising_too(task: dict[str, Json], context: Context) -> str:
    return raising(task, context)


#: What a function may put into an Answer by mistake: a numpy number, say.
ODD: tuple[tuple[str, Any], ...] = (
    ("text", None),
    ("text", b"t"),
    ("thinking", None),
    ("finish", "done"),
    ("finish", []),
    ("prompt_tokens", Decimal(1)),
    ("prompt_tokens", -1),
    ("completion_tokens", 2**63),
    ("completion_tokens", True),
    ("completion_tokens", 1.5),
    ("seconds", math.nan),
    ("seconds", math.inf),
    ("server_wait_seconds", "0.5"),
)


def returning(task: dict[str, Json], context: Context) -> object:
    """Returns what its title names."""
    results: dict[str, object] = {
        "None": None,
        "bytes": b"text",
        "empty": "  \n",
        "largest": "x" * ANSWER_BYTES_MAX,
        "too long": "ü" * (ANSWER_BYTES_MAX // 2) + "x",
        "halves": "\ud83c",
        **{f"{name} {value!r}": Answer(**{"text": "t", name: value}) for name, value in ODD},
        "whole": Answer(text="t", seconds=1, server_wait_seconds=0.5, prompt_tokens=2**53),
    }
    return results[str(task["title"])]


def forgetting(task: dict[str, Json], context: Context) -> object:
    """A plain function that returns a coroutine."""
    return saying(task, context)


HELD = threading.Event()
STARTED = threading.Event()


def stuck(task: dict[str, Json], context: Context) -> str:
    """Waits until the test lets it go."""
    STARTED.set()
    HELD.wait(60)
    return "late"


async def endless(task: dict[str, Json], context: Context) -> str:
    STARTED.set()
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


def here(function: str) -> str:
    return f"{__name__}:{function}"


def test_a_plain_function_gets_task_and_context_in_a_thread() -> None:
    assert json.loads(answer(python(here("plain"))).text) == [
        "Say hello",
        "skadi",
        "http://127.0.0.1:11434",
        "qwen2.5-coder:3b",
        False,
    ]


@pytest.mark.parametrize(
    ("function", "text"), [("saying", "Say hello"), ("callable_object", "from an object")]
)
def test_an_async_function_is_awaited(function: str, text: str) -> None:
    assert answer(python(here(function))).text == text


def test_an_async_function_may_ask_the_model_as_its_type_would() -> None:
    server = Echo()
    got = answer(python(here("asking")), place=a_place(server))
    assert (got.text, got.completion_tokens) == ("echo about Say hello", 2)
    request = server.asked[0][0]
    assert request.messages == [
        Message(role="system", content="Be brief."),
        Message(role="user", content="about Say hello"),
    ]
    assert (request.model, request.keep_alive) == ("qwen2.5-coder:3b", "30m")


def test_what_the_model_fails_of_is_the_functions_failure() -> None:
    handler = python(here("asking_to_fail"))
    assert failure(handler).retry_after == 3


async def asking_to_fail(task: dict[str, Json], context: Context) -> Answer:
    return await context.generate("fail")


@pytest.mark.parametrize("function", ["raising", "raising_too"])
@pytest.mark.parametrize(
    ("title", "message"),
    [
        ("ValueError", "raised ValueError: bad\\nvalue \\ud83c"),
        ("KeyError", "raised KeyError: 'x'"),
        ("TimeoutError", "raised TimeoutError"),
        ("SystemExit", "raised SystemExit: 3"),
        ("CancelledError", "raised CancelledError"),
    ],
)
def test_an_exception_is_the_tasks_failure_and_its_traceback_is_in_the_log(
    caplog: pytest.LogCaptureFixture, function: str, title: str, message: str
) -> None:
    failed = failure(python(here(function)), replace(TASK, title=title))
    assert (failed.cause, failed.taken) == (Cause.COMMAND_FAILED, True)
    assert failed.message == f"{here(function)} {message}"
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "event=handler_failed task=01hq3k8v9x2m4n6p7r host=skadi error="
    )
    assert "in raising" in caplog.text


@pytest.mark.parametrize("title", ["KeyboardInterrupt", "StopIteration"])
def test_in_a_thread_even_these_are_the_tasks_failure(title: str) -> None:
    failed = failure(python(here("raising")), replace(TASK, title=title))
    assert failed.cause is Cause.COMMAND_FAILED
    assert failed.message == f"{here('raising')} raised {title}"


@pytest.mark.parametrize("function", ["raising", "raising_too"])
def test_a_function_may_name_the_fault_itself(function: str) -> None:
    failed = failure(python(here(function)), replace(TASK, title="Failure"))
    assert (failed.cause, failed.retry_after) == (Cause.BUSY, 9)


@pytest.mark.parametrize(
    ("title", "cause", "message"),
    [
        ("None", Cause.COMMAND_FAILED, "returned NoneType, not a str"),
        ("bytes", Cause.COMMAND_FAILED, "returned bytes, not a str"),
        ("empty", Cause.EMPTY_ANSWER, "returned an empty answer"),
        ("too long", Cause.ANSWER_TOO_LONG, f"returned {ANSWER_BYTES_MAX + 1} bytes"),
    ],
)
def test_what_is_no_answer_is_the_tasks_failure(title: str, cause: Cause, message: str) -> None:
    failed = failure(python(here("returning")), replace(TASK, title=title))
    assert failed.cause is cause
    assert message in failed.message


@pytest.mark.parametrize(("name", "value"), ODD)
def test_an_answer_that_no_store_could_keep_is_the_tasks_failure(name: str, value: object) -> None:
    failed = failure(python(here("returning")), replace(TASK, title=f"{name} {value!r}"))
    assert failed.cause is Cause.COMMAND_FAILED
    assert f"returned an Answer whose {name} is {value!r}, not " in failed.message


@pytest.mark.parametrize("title", ["largest", "halves", "whole"])
def test_what_is_just_an_answer_is_one(title: str) -> None:
    assert answer(python(here("returning")), replace(TASK, title=title)).text


def test_a_forgotten_await_is_named() -> None:
    assert "make it an `async def`" in failure(python(here("forgetting"))).message


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("no_such_package.module:function", "ModuleNotFoundError: No module named"),
        (f"{__name__}:no_such_function", "AttributeError"),
        (f"{__name__}:NOT_CALLABLE", "is a int, not a function"),
        ("module", "not of the form package.module:function"),
        (":function", "not of the form"),
        ("module:a.b", "not of the form"),
    ],
)
def test_an_entry_that_is_not_there_is_the_options_fault(entry: str, message: str) -> None:
    failed = failure(python(entry))
    assert (failed.cause, failed.taken) == (Cause.UNSUPPORTED, False)
    assert message in failed.message
    assert f"mend `python: {entry}`" in failed.message


@pytest.mark.parametrize("text", ["1 / 0", "import sys; sys.exit(1)", "def f(:"])
def test_a_module_that_breaks_at_its_import_can_be_mended_while_we_run(
    module: Callable[[str], str], text: str
) -> None:
    entry = f"{module(text)}:f"
    handler = python(entry)
    assert failure(handler).cause is Cause.UNSUPPORTED
    module("def f(task, context): return 'mended, and of another length'")
    assert answer(handler).text == "mended, and of another length"


@pytest.mark.parametrize("function", ["stuck", "endless"])
def test_time_runs_out(function: str) -> None:
    HELD.clear()
    try:
        failed = failure(python(here(function), timeout=0.05))
    finally:
        HELD.set()
    assert (failed.cause, failed.taken) == (Cause.DEADLINE, True)
    assert "timeout of 0.05 s" in failed.message
    assert "can't be stopped" in failed.message


def test_a_cancel_goes_through_an_async_function() -> None:
    async def story() -> None:
        running = asyncio.ensure_future(python(here("endless")).run(TASK, a_place(), Quiet()))
        await asyncio.to_thread(STARTED.wait, 60)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    STARTED.clear()
    asyncio.run(story())


def test_a_cancel_leaves_a_thread_behind_whose_answer_nobody_hears() -> None:
    broken: list[dict[str, object]] = []

    async def story() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: broken.append(context))
        running = asyncio.ensure_future(python(here("stuck")).run(TASK, a_place(), Quiet()))
        await asyncio.to_thread(STARTED.wait, 60)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        HELD.set()
        for thread in threading.enumerate():
            if thread.name == "ygg-handler":
                await asyncio.to_thread(thread.join, 60)
        await asyncio.sleep(0)  # what the thread left for the loop is done now

    HELD.clear()
    STARTED.clear()
    try:
        asyncio.run(story())
    finally:
        HELD.set()
    assert broken == []
