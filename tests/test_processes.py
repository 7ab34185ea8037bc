"""A program runs to its end, and nothing of it stays behind: on both event loops."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TypeVar

import pytest
import uvloop

from tests.children import children
from ygg.lines import LINE_BYTES_MAX, Lines, printable
from ygg.processes import End, Ended, run_process

pytestmark = pytest.mark.system

T = TypeVar("T")

#: Long enough that a test which waits for it has failed.
FOR_EVER = "60"


class OnLoop:
    """Runs a coroutine on one of the event loops."""

    def __init__(self, factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self._factory = factory

    def __call__(self, story: Coroutine[None, None, T]) -> T:
        with asyncio.Runner(loop_factory=self._factory) as runner:
            return runner.run(story)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def on_loop(request: pytest.FixtureRequest) -> OnLoop:
    return OnLoop(request.param)


async def run(
    *argv: str,
    data: bytes = b"",
    timeout: float = 60,
    grace: float = 30,
    output_max: int = 1_000_000,
    heard: Callable[[str], None] = lambda line: None,
) -> Ended:
    return await run_process(
        argv,
        data=data,
        environment={"PATH": os.environ["PATH"]},
        cwd=None,
        timeout=timeout,
        grace=grace,
        output_max=output_max,
        heard=heard,
    )


def shell(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


async def is_over(pid: int) -> bool:
    """Whether a process ends; a zombie that nobody reaps has ended. Waits for it for a while."""
    for _ in range(1000):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        await asyncio.sleep(0.01)  # SIGKILL was sent: its death is near, and nobody tells of it
    return False


def is_reaped(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


class Pids:
    """Collects the process ids that a program writes to standard error, a line each."""

    def __init__(self, count: int) -> None:
        self.found: list[int] = []
        self.all = asyncio.Event()
        self._count = count

    def __call__(self, line: str) -> None:
        self.found.append(int(line))
        if len(self.found) == self._count:
            self.all.set()


def test_input_goes_in_output_comes_out(on_loop: OnLoop) -> None:
    ended = on_loop(run(*shell("cat; echo gone >&2; exit 3"), data=b"in" * 100_000))
    assert ended == Ended(end=End.EXITED, code=3, output=b"in" * 100_000, tail="gone")


def test_a_program_that_never_reads_its_input_ends_as_if_it_had(on_loop: OnLoop) -> None:
    ended = on_loop(run(*shell("echo done"), data=b"x" * 5_000_000))
    assert (ended.end, ended.code, ended.output) == (End.EXITED, 0, b"done\n")


def test_death_by_a_signal_is_a_negative_code(on_loop: OnLoop) -> None:
    ended = on_loop(run(*shell("kill -KILL $$")))
    assert (ended.end, ended.code) == (End.EXITED, -9)


def test_output_past_its_bound_ends_the_program(on_loop: OnLoop) -> None:
    ended = on_loop(run("cat", "/dev/zero", output_max=100_000))
    assert (ended.end, len(ended.output)) == (End.TOO_LONG, 100_000)


def test_output_up_to_its_bound_is_kept(on_loop: OnLoop) -> None:
    ended = on_loop(run(*shell("head -c 100000 /dev/zero"), output_max=100_000))
    assert (ended.end, len(ended.output)) == (End.EXITED, 100_000)


def test_time_runs_out_for_the_whole_group(on_loop: OnLoop) -> None:
    async def story() -> None:
        pids = Pids(2)
        ended = await run(
            *shell(f"echo $$ >&2; sh -c 'echo $$ >&2; sleep {FOR_EVER}' & sleep {FOR_EVER}"),
            timeout=0.5,
            heard=pids,
        )
        assert ended.end is End.TIMEOUT
        assert is_reaped(pids.found[0])
        for pid in pids.found:
            assert await is_over(pid)

    on_loop(story())


def test_the_group_gets_time_to_end_in_order(on_loop: OnLoop) -> None:
    script = f"trap 'echo tidied; exit 0' TERM; echo up; sleep {FOR_EVER} & wait"
    ended = on_loop(run(*shell(script), timeout=0.5))
    assert (ended.end, ended.code, ended.output) == (End.TIMEOUT, 0, b"up\ntidied\n")


@pytest.mark.parametrize("cancels", [1, 2, 5])
def test_a_cancel_kills_even_those_who_do_not_listen(on_loop: OnLoop, cancels: int) -> None:
    async def story() -> None:
        pids = Pids(2)
        deaf = f"trap '' TERM; echo $$ >&2; sleep {FOR_EVER}; sleep {FOR_EVER}"
        running = asyncio.ensure_future(
            run(
                *shell(f"trap '' TERM; sh -c \"{deaf.replace('$', chr(92) + '$')}\" & {deaf}"),
                grace=0.2,
                heard=pids,
            )
        )
        await pids.all.wait()
        for _ in range(cancels):
            running.cancel()
            await asyncio.sleep(0)
        assert not running.done()
        with pytest.raises(asyncio.CancelledError):
            await running
        for pid in pids.found:
            assert await is_over(pid)

    on_loop(story())


def test_a_cancel_before_the_start_leaves_nothing(on_loop: OnLoop, tmp_path: Path) -> None:
    async def story() -> None:
        running = asyncio.ensure_future(run(*shell(f"sleep {FOR_EVER}")))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    on_loop(story())


def test_the_end_of_the_loop_ends_the_program() -> None:
    found: list[int] = []

    async def story() -> None:
        pids = Pids(1)
        asyncio.get_running_loop().running = asyncio.ensure_future(  # type: ignore[attr-defined]
            run(
                *shell(f"trap '' TERM; echo $$ >&2; sleep {FOR_EVER}; sleep {FOR_EVER}"), heard=pids
            )
        )
        await pids.all.wait()
        found.extend(pids.found)

    asyncio.run(story())
    assert asyncio.run(is_over(found[0]))


def test_a_grandchild_that_holds_the_pipe_does_not_hold_up_the_answer(
    on_loop: OnLoop,
) -> None:
    async def story() -> None:
        pids = Pids(1)
        ended = await run(
            *shell(f"sleep {FOR_EVER} & echo $! >&2; echo answer"),
            data=b"x" * 5_000_000,
            grace=0.2,
            heard=pids,
        )
        assert (ended.end, ended.code, ended.output) == (End.EXITED, 0, b"answer\n")
        assert await is_over(pids.found[0])

    on_loop(story())


def test_a_grandchild_without_pipes_is_ended_too(on_loop: OnLoop) -> None:
    async def story() -> None:
        pids = Pids(1)
        quiet = f"sleep {FOR_EVER} >/dev/null 2>&1 </dev/null"
        ended = await run(*shell(f"{quiet} & echo $! >&2"), heard=pids)
        assert ended.end is End.EXITED
        assert await is_over(pids.found[0])

    on_loop(story())


def test_one_who_left_the_group_can_not_keep_our_pipes_open(on_loop: OnLoop) -> None:
    async def story() -> None:
        await run("true")  # the loop's own descriptors
        before = len(list(Path("/proc/self/fd").iterdir()))
        pids = Pids(1)
        # The shell gives a background program no standard input; descriptor 3 it leaves alone.
        script = f"exec 3<&0; setsid sleep {FOR_EVER} & echo $! >&2; echo answer"
        try:
            ended = await run(*shell(script), data=b"x" * 5_000_000, grace=0.2, heard=pids)
            assert (ended.code, ended.output) == (0, b"answer\n")
            assert len(list(Path("/proc/self/fd").iterdir())) == before
        finally:
            os.kill(pids.found[0], signal.SIGKILL)

    on_loop(story())


def test_what_a_pipeline_still_says_after_the_exit_is_waited_for(on_loop: OnLoop) -> None:
    ended = on_loop(run(*shell("(sleep 0.3; echo late) & echo early")))
    assert ended.output == b"early\nlate\n"


def test_a_script_may_open_its_streams_by_name(on_loop: OnLoop) -> None:
    script = "cat /dev/stdin > /dev/stdout; echo seen > /dev/stderr"
    ended = on_loop(run(*shell(script), data=b"in"))
    assert (ended.code, ended.output, ended.tail) == (0, b"in", "seen")


def test_it_inherits_nothing_but_its_streams(on_loop: OnLoop) -> None:
    script = "import os; print(sorted(os.listdir('/proc/self/fd'))[:-1])"
    with Path("/etc/passwd").open() as file:
        os.set_inheritable(file.fileno(), True)
        ended = on_loop(run(sys.executable, "-c", script))
    assert ended.output == b"['0', '1', '2']\n"


def test_it_has_a_session_of_its_own(on_loop: OnLoop) -> None:
    script = "import os; print(os.getsid(0) == os.getpgrp() == os.getpid())"
    assert on_loop(run(sys.executable, "-c", script)).output == b"True\n"


def test_standard_error_comes_line_by_line_bounded_and_harmless(on_loop: OnLoop) -> None:
    heard: list[str] = []
    script = (
        "import sys; w = sys.stderr.buffer.write;"
        "w(b'one\\r\\n\\n'); w(b'\\x1b[2J\\x00\\xff\\xe2\\x80\\xa8\\n');"
        f"w(b'x' * {LINE_BYTES_MAX} + b'\\n'); w(b'y' * 300000 + b'\\n'); w(b'no end')"
    )
    ended = on_loop(run(sys.executable, "-c", script, heard=heard.append))
    assert heard == [
        "one",
        "",
        "\\x1b[2J\\x00\ufffd\\u2028",
        "x" * LINE_BYTES_MAX,
        "y" * LINE_BYTES_MAX + "...",
        "no end",
    ]
    assert ended.tail.endswith("yyy... | no end")
    assert len(ended.tail) == 1000


@pytest.mark.parametrize(
    ("program", "error"),
    [("/not/there", FileNotFoundError), ("/etc/passwd", PermissionError), ("true\0b", ValueError)],
)
def test_what_can_not_be_started_raises(
    on_loop: OnLoop, program: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        on_loop(run(program))


def test_neither_descriptors_nor_processes_are_left(on_loop: OnLoop) -> None:
    async def round_of_ends() -> None:
        await asyncio.gather(
            *(run("true", data=b"x" * n * 100_000) for n in range(5)),
            *(
                run(*shell(f"sleep {FOR_EVER} & echo hi"), grace=0.05, data=b"x" * 300_000)
                for _ in range(2)
            ),
            *(run("cat", "/dev/zero", output_max=10) for _ in range(2)),
            *(run("sleep", FOR_EVER, timeout=0.05) for _ in range(2)),
        )

    async def story() -> None:
        await round_of_ends()  # the loop's own
        before = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(4):
            await round_of_ends()
        assert len(list(Path("/proc/self/fd").iterdir())) <= before
        assert asyncio.all_tasks() == {asyncio.current_task()}

    theirs = children()
    on_loop(story())
    assert children() == theirs, "a process is left, or was not reaped"


def test_a_line_without_end_takes_no_memory() -> None:
    lines = Lines()
    for _ in range(10):
        assert lines.feed(b"x" * 65536) == []
    assert len(lines._rest) <= LINE_BYTES_MAX + 1
    assert lines.feed(b"y\n") == ["x" * LINE_BYTES_MAX + "..."]
    assert lines.flush() == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Grüße 🎉 'a' \"b\" c\\d", "Grüße 🎉 'a' \"b\" c\\d"),
        ("a\nb\tc\x1b[2J", "a\\nb\\tc\\x1b[2J"),
        ("\u202e\u2028\x9b\ud83c", "\\u202e\\u2028\\x9b\\ud83c"),
    ],
)
def test_what_could_forge_a_line_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
