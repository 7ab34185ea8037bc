"""Files of many tasks: bounded memory, broken lines, interruptions; nothing doubled, none lost."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest

from tests.system.daemons import Daemon, Servers, counts, daemon, hosts_yaml, until, ygg
from tests.system.terminals import terminal, without_codes
from ygg import shapes

pytestmark = pytest.mark.system

MANY = 20_000
#: What the process may take beyond one that submits nothing. The file alone has 60 MB.
MORE_BYTES = 40 * 1024 * 1024


@pytest.fixture
def d(tmp_path: Path, servers: Servers) -> Iterator[Daemon]:
    """Its host is paused: what is handed in stays open."""
    with daemon(tmp_path / "d", hosts_yaml({"h": (servers.start("h"), 2)})) as running:
        running.client.call("PUT", "/v1/hosts/h/pause", {})
        yield running


def file_of(folder: Path, number: int, *, padding: int = 0) -> Path:
    path = folder / "tasks.jsonl"
    with path.open("w") as file:
        for n in range(number):
            print(json.dumps({"title": f"t{n}", "description": "x" * padding}), file=file)
    return path


def titles(d: Daemon) -> list[str]:
    return sorted(task["title"] for task in d.client.tasks())


def most_memory(*args: object, url: str) -> int:
    """The greatest resident size of a process, in bytes, once it has ended well."""
    # Not by getrusage: it counts what the process that started it had when it did.
    code = (
        "import sys; from ygg.cli import main; code = main(sys.argv[1:]);"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0], file=sys.stderr);"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True,
        timeout=280, env={**os.environ, "YGG_URL": url}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return int(done.stderr.splitlines()[-1]) * 1024


def test_a_large_file_is_never_held_in_memory(d: Daemon, tmp_path: Path) -> None:
    path = file_of(tmp_path, MANY, padding=3000)
    assert path.stat().st_size > MORE_BYTES
    little = most_memory("submit", "--file", file_of(tmp_path / "d", 1), url=d.url)
    much = most_memory("submit", "--file", path, url=d.url)
    print(f"resident: {little} bytes for a line, {much} for {MANY}")
    assert much - little < MORE_BYTES
    assert counts(d) == {"open": MANY + 1}


def test_the_json_of_a_file_is_a_task_a_line_in_order(d: Daemon, tmp_path: Path) -> None:
    done = ygg("submit", "--json", "--file", file_of(tmp_path, 1500), "-p", 4, "--url", d.url)
    assert done.returncode == 0, done.stderr
    tasks = [msgspec.json.decode(line, type=shapes.TaskView) for line in done.stdout.splitlines()]
    assert [task.title for task in tasks] == [f"t{n}" for n in range(1500)]
    assert {task.priority for task in tasks} == {4}


def test_quiet_prints_the_ids_alone(d: Daemon) -> None:
    done = ygg("submit", "-q", "-f", "-", "--url", d.url, text='{"title": "a"}\n{"title": "b"}\n')
    assert done.returncode == 0, done.stderr
    found = [d.client.call("GET", f"/v1/tasks/{id_}")["title"] for id_ in done.stdout.split()]
    assert found == ["a", "b"]


def test_lines_may_come_through_a_pipe(d: Daemon) -> None:
    lines = "".join(json.dumps({"title": f"t{n}"}) + "\n" for n in range(1200))
    done = ygg("submit", "--file", "-", "--url", d.url, text=lines)
    assert (done.returncode, done.stdout) == (0, "1200 tasks accepted\n"), done.stderr
    assert counts(d) == {"open": 1200}


def test_a_broken_line_of_a_file_costs_nothing(d: Daemon, tmp_path: Path) -> None:
    path = file_of(tmp_path, 1500)
    with path.open("a") as file:
        file.write("{broken\n")
    done = ygg("submit", "--file", path, "--url", d.url)
    assert done.returncode == 2
    assert f"{path}:1501: not a JSON object" in done.stderr
    assert "no task was accepted" in done.stderr
    assert counts(d) == {}


def key_prefix(text: str) -> str:
    found = re.search(r"--key-prefix (\S+) goes on from there", text)
    assert found, text
    return found[1]


def test_what_the_dispatcher_refuses_is_told_by_its_line_and_can_be_mended(
    d: Daemon, tmp_path: Path
) -> None:
    path = file_of(tmp_path, 1200)
    good = path.read_text()
    path.write_text(good + '{"title": "bad", "priority": 9}\n')
    done = ygg("submit", "--file", path, "--url", d.url)
    assert done.returncode == 2
    assert f"{path}:1201: priority: expected an integer from 0" in done.stderr
    assert "1000 tasks were accepted before" in done.stderr
    assert done.stderr.count("\n") == 1
    path.write_text('{"title": "in front"}\n' + good + '{"title": "mended"}\n')
    again = ygg("submit", "--file", path, "--key-prefix", key_prefix(done.stderr), "--url", d.url)
    assert again.returncode == 0, again.stderr
    assert titles(d) == sorted(["in front", "mended", *(f"t{n}" for n in range(1200))])


def test_the_same_file_without_the_prefix_is_handed_in_anew(d: Daemon, tmp_path: Path) -> None:
    path = file_of(tmp_path, 3)
    for _ in range(2):
        assert ygg("submit", "--file", path, "--url", d.url).returncode == 0
    for _ in range(2):
        done = ygg("submit", "--file", path, "--key-prefix", "p", "--url", d.url)
        assert (done.returncode, done.stdout) == (0, "3 tasks accepted\n")
    assert titles(d) == sorted(["t0", "t1", "t2"] * 3)


def test_a_prefix_doubles_no_line_that_says_that_it_has_no_key(d: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text('{"title": "t", "key": null}\n')
    for _ in range(2):
        done = ygg("submit", "--file", path, "--key-prefix", "p", "--url", d.url)
        assert (done.returncode, done.stdout) == (0, "1 task accepted\n"), done.stderr
    assert titles(d) == ["t"]


@pytest.mark.parametrize("prefix", ["", "p" * 161])
def test_a_prefix_that_makes_no_keys_is_refused(tmp_path: Path, prefix: str) -> None:
    done = ygg("submit", "--file", file_of(tmp_path, 1), "--key-prefix", prefix)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--key-prefix has {len(prefix)} characters: write 1 to 160" in done.stderr


def test_a_file_without_a_task_is_told_and_asks_nobody() -> None:
    done = ygg("submit", "--file", "/dev/null", "--url", "http://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there was nothing to submit: /dev/null has no line with a task" in done.stderr


def test_ctrl_c_says_how_to_go_on_and_nothing_is_doubled(d: Daemon, tmp_path: Path) -> None:
    path = file_of(tmp_path, MANY)
    with terminal("submit", "--file", path, "--url", d.url) as t:
        t.until(lambda _: counts(d).get("open", 0) > 0)
        t.press("C")
        assert t.end() == 130
        text = without_codes(t.shown)
    assert "Traceback" not in text
    before = counts(d)["open"]
    assert before < MANY, "the file was not large enough to be interrupted"
    again = ygg("submit", "--file", path, "--key-prefix", key_prefix(text), "--url", d.url)
    assert again.returncode == 0, again.stderr
    assert titles(d) == sorted(f"t{n}" for n in range(MANY))


def test_a_dispatcher_that_is_killed_in_the_middle_loses_and_doubles_nothing(
    tmp_path: Path, servers: Servers
) -> None:
    hosts = hosts_yaml({"h": (servers.start("h"), 2)})
    path = file_of(tmp_path, MANY)
    with daemon(tmp_path / "d", hosts) as d:
        d.client.call("PUT", "/v1/hosts/h/pause", {})
        submit = subprocess.Popen(
            [sys.executable, "-m", "ygg.cli", "submit", "--file", str(path), "--url", d.url,
             "--patience", "0"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        until(lambda: counts(d).get("open", 0) > 0)
        d.process.kill()
        _, said = submit.communicate(timeout=60)
    assert submit.returncode == 3
    with daemon(tmp_path / "d", hosts) as d:
        again = ygg("submit", "--file", path, "--key-prefix", key_prefix(said), "--url", d.url)
        assert again.returncode == 0, again.stderr
        assert titles(d) == sorted(f"t{n}" for n in range(MANY))


def test_a_wait_outlives_a_dispatcher_that_is_killed_and_started_anew(
    tmp_path: Path, servers: Servers
) -> None:
    host = servers.start("h")
    servers.gate(host, is_open=False)
    hosts = hosts_yaml({"h": (host, 1)})
    with ExitStack() as stack:
        d = stack.enter_context(daemon(tmp_path / "d", hosts))
        waiting = subprocess.Popen(
            [sys.executable, "-m", "ygg.cli", "submit", "--wait", "yes?", "--url", d.url],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        stack.enter_context(waiting)
        stack.callback(waiting.kill)
        assert waiting.stderr is not None
        said = waiting.stderr.readline()  # at once: its answer is far away
        (task,) = d.client.tasks()
        assert said == f"ygg: {task['id']} is accepted; Ctrl-C leaves it to run\n"
        until(lambda: counts(d) == {"in_progress": 1})
        d.process.kill()
        d.process.wait(10)
        address = d.url.removeprefix("http://")
        stack.enter_context(daemon(tmp_path / "d", hosts, listen=[address]))
        servers.gate(host, is_open=True)
        out, err = waiting.communicate(timeout=60)
        assert (waiting.returncode, out, err) == (0, "h says yes\n", "")


@contextmanager
def cut_off(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A submit out of a pipe whose dispatcher ended after the first batch: with hosts.yaml, URL.

    It has said that it waits, or has ended.
    """
    servers = Servers()
    hosts = hosts_yaml({"h": (servers.start("h"), 2)})
    lines = [json.dumps({"title": f"t{n}"}) + "\n" for n in range(3000)]
    with daemon(tmp_path / "d", hosts) as d:
        d.client.call("PUT", "/v1/hosts/h/pause", {})
        submit = subprocess.Popen(
            [sys.executable, "-m", "ygg.cli", "submit", "--file", "-", "--url", d.url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert submit.stdin is not None
        assert submit.stderr is not None
        submit.stdin.writelines(lines[:1500])
        submit.stdin.flush()
        until(lambda: counts(d).get("open", 0) == 1000)
        assert d.end() == 0
    submit.stdin.writelines(lines[1500:])
    submit.stdin.flush()
    assert "; trying for 120 s to go on, Ctrl-C ends it\n" in submit.stderr.readline()
    try:
        yield submit, hosts, d.url
    finally:
        submit.kill()
        submit.communicate()
        servers.close()


def test_a_restart_in_the_middle_is_only_a_pause(tmp_path: Path) -> None:
    with (
        cut_off(tmp_path) as (submit, hosts, url),
        daemon(tmp_path / "d", hosts, listen=(url.removeprefix("http://"),)) as d,
    ):
        printed, said = submit.communicate(timeout=120)
        assert (submit.returncode, printed, said) == (0, "3000 tasks accepted\n", "")
        assert titles(d) == sorted(f"t{n}" for n in range(3000))


def test_ctrl_c_ends_the_waiting_for_a_dispatcher(tmp_path: Path) -> None:
    with cut_off(tmp_path) as (submit, _, _):
        submit.send_signal(signal.SIGINT)
        _, said = submit.communicate(timeout=60)
        assert submit.returncode == 130
        assert key_prefix(said)
        assert "Traceback" not in said


def test_on_a_terminal_there_is_a_bar(d: Daemon, tmp_path: Path) -> None:
    with terminal("submit", "--file", file_of(tmp_path, 3000), "--url", d.url) as t:
        assert t.end() == 0
        assert "3000/3000" in t.shown or "submitted:" in t.shown
        assert without_codes(t.shown).rstrip().endswith("3000 tasks accepted")


def test_elsewhere_there_is_none(d: Daemon, tmp_path: Path) -> None:
    done = ygg("submit", "--file", file_of(tmp_path, 3000), "--url", d.url)
    assert (done.stdout, done.stderr) == ("3000 tasks accepted\n", "")


def test_ctrl_c_while_it_waits_leaves_the_task_to_run(d: Daemon) -> None:
    with terminal("submit", "--wait", "later", "--url", d.url) as t:
        t.until(lambda text: "Ctrl-C leaves it to run" in text)
        t.press("C")
        assert t.end() == 130
        text = t.shown
    (task,) = d.client.tasks()
    assert f"{task['id']} goes on: `ygg show {task['id']}`" in text
    assert task["status"] == "open"
    assert "Traceback" not in text


# -- standard input beside a title ---------------------------------------------------------------


def remark(d: Daemon, stdin: int) -> str:
    """What is said beside the id of a task with a title."""
    done = subprocess.run(
        [sys.executable, "-m", "ygg.cli", "submit", "-q", "title", "--url", d.url],
        stdin=stdin, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    task = d.client.call("GET", f"/v1/tasks/{done.stdout.strip()}")
    assert (task["title"], task["description"]) == ("title", "")
    return done.stderr


def test_what_is_piped_in_beside_a_title_is_not_read_and_that_is_said(
    d: Daemon, tmp_path: Path
) -> None:
    read, write = os.pipe()
    os.write(write, b"a diff\n")
    assert remark(d, read) == "ygg: standard input was not read: `-d -` makes it the prompt\n"
    assert os.read(read, 100) == b"a diff\n"
    file = tmp_path / "prompt"
    file.write_text("a prompt")
    with file.open("rb") as whole:
        assert "was not read" in remark(d, whole.fileno())


def test_nothing_is_said_of_a_standard_input_that_says_nothing(d: Daemon, tmp_path: Path) -> None:
    """Of cron and of service managers; and of loops, which are in the middle of a file."""
    assert remark(d, subprocess.DEVNULL) == ""
    read, write = os.pipe()
    assert remark(d, read) == ""  # nobody closes it, and nothing comes
    os.close(write)
    assert remark(d, read) == ""  # at its end
    os.close(read)
    file = tmp_path / "titles"
    file.write_text("first\nsecond\n")
    with file.open("rb", buffering=0) as lines:
        lines.seek(6)
        assert remark(d, lines.fileno()) == ""
        assert lines.read() == b"second\n"


def test_a_given_description_says_nothing_of_standard_input(d: Daemon) -> None:
    done = ygg("submit", "-q", "t", "-d", "", "--url", d.url, text="not for you")
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_ends_a_submit_that_still_reads(d: Daemon) -> None:
    read, write = os.pipe()
    os.write(write, b"the beginning")
    with subprocess.Popen(
        [sys.executable, "-m", "ygg.cli", "submit", "title", "-d", "-", "--url", d.url],
        stdin=read, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as submit:  # fmt: skip
        until(lambda: fcntl.ioctl(read, termios.FIONREAD, b"\0" * 4) == b"\0" * 4)
        submit.send_signal(signal.SIGINT)
        said = submit.communicate(timeout=60)
    os.close(read)
    os.close(write)
    assert (submit.returncode, *said) == (130, "", "")
    assert titles(d) == []


def test_ctrl_c_ends_a_submit_of_lines_that_do_not_come(d: Daemon) -> None:
    read, write = os.pipe()
    os.write(write, b'{"title": "a"}\n')
    with subprocess.Popen(
        [sys.executable, "-m", "ygg.cli", "submit", "-f", "-", "--url", d.url],
        stdin=read, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as submit:  # fmt: skip
        until(lambda: fcntl.ioctl(read, termios.FIONREAD, b"\0" * 4) == b"\0" * 4)
        submit.send_signal(signal.SIGINT)
        said = submit.communicate(timeout=60)
    os.close(read)
    os.close(write)
    assert (submit.returncode, *said) == (130, "", "ygg: no task was accepted\n")


def test_an_id_that_can_not_be_printed_is_not_lost(d: Daemon) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ygg.cli", "submit", "x", "--url", d.url],
            stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, text=True,
            timeout=60, check=False,
        )  # fmt: skip
    accepted, why = done.stderr.splitlines()
    assert d.client.call("GET", f"/v1/tasks/{accepted.split()[1]}")["title"] == "x"
    assert accepted.endswith(" is accepted")
    assert (done.returncode, why) == (
        1,
        "ygg: the output can't be written: No space left on device",
    )


def test_a_file_that_became_a_title_is_remarked(d: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text('{"title": "a"}\n')
    done = ygg("submit", str(file), "--url", d.url)
    assert done.returncode == 0
    assert done.stderr == (
        f"ygg: {file} is a file here, and was taken as the title: `-f` hands in its lines\n"
    )
