"""The doors of the real daemon: tokens, the Unix socket, and what it refuses to listen at."""

from __future__ import annotations

import json
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.system.blocking import BlockingClient
from tests.system.daemons import Servers, all_closed, daemon, hosts_yaml, until, ygg
from ygg.client import Problem
from ygg.web.auth import token_line

pytestmark = pytest.mark.system

TOKEN = "ygg_hunter2-hunter2-hunter2"
BEARER = f"Authorization: Bearer {TOKEN}"


@pytest.fixture
def hosts() -> Iterator[str]:
    servers = Servers()
    yield hosts_yaml({"h": (servers.start("h"), 2)})
    servers.close()


@pytest.fixture
def guarded(hosts: str, tmp_path: Path) -> str:
    """Two doors, and everybody needs a token."""
    (tmp_path / "tokens").write_text(token_line(TOKEN, "ci") + "\n")
    where = f"listen: ['127.0.0.1:0', 'unix:{tmp_path}/s'], token_from: 'file:{tmp_path}/tokens'"
    return f"{hosts}dispatcher: {{token: always, {where}}}\n"


def answer(where: socket.socket, *lines: str, body: bytes = b"") -> tuple[int, bytes]:
    with closing(where):
        where.settimeout(20)
        where.sendall("\r\n".join((*lines, "Connection: close", "", "")).encode() + body)
        told = b""
        while some := where.recv(65536):
            told += some
    return int(told.split(b" ", 2)[1]), told


def over_tcp(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), 20)


def over_socket(path: Path) -> socket.socket:
    one = socket.socket(socket.AF_UNIX)
    one.connect(str(path))
    return one


def test_a_token_opens_both_doors_and_is_seen_nowhere(tmp_path: Path, guarded: str) -> None:
    state, unix = tmp_path / "d", tmp_path / "s"
    with daemon(state, guarded, listen=(), token=TOKEN) as d:
        for url in (d.url, f"unix:{unix}"):
            stranger = BlockingClient(url)
            with pytest.raises(Problem) as refused:
                stranger.call("GET", "/v1/status")
            assert refused.value.status == 401
            assert stranger.call("GET", "/livez") == {"live": True}
            stranger.close()
            done = ygg("submit", "--wait", "Is it so?", "--url", url, env={"YGG_TOKEN": TOKEN})
            assert (done.returncode, done.stdout) == (0, "h says yes\n"), done.stderr
            done = ygg("list", "--url", url, env={"YGG_TOKEN": "ygg_another-token-another"})
            assert done.returncode == 1
            assert "none of this server's" in done.stderr
            assert "another" not in done.stderr
        for one in (over_tcp(d.url), over_socket(unix)):
            head = ("POST /v1/tasks HTTP/1.1", "Host: localhost", BEARER)
            json_ = ("Content-Type: application/json", "Content-Length: 13")
            assert answer(one, *head, *json_, body=b'{"title":"a"}')[0] == 201
        until(all_closed(d, 4))
        assert {task["submitter"] for task in d.client.tasks()} == {"ci"}
        seen = [
            d.client.text("GET", "/metrics"),
            Path(f"/proc/{d.process.pid}/cmdline").read_text(),
            Path(f"/proc/{d.process.pid}/environ").read_text(),
        ]
        assert d.end() == 0
        seen += [file.read_text(errors="replace") for file in state.rglob("*") if file.is_file()]
        assert not [text for text in seen if "hunter" in text]
    assert not unix.exists()


def test_the_socket_of_a_killed_daemon_is_taken_over_and_a_living_ones_is_not(
    tmp_path: Path, guarded: str
) -> None:
    unix = tmp_path / "s"
    with daemon(tmp_path / "d", guarded, listen=(), token=TOKEN) as first:
        done = ygg(
            "serve", "--hosts", first.state / "hosts.yaml", "--state", tmp_path / "other",
            "--listen", f"unix:{unix}",
        )  # fmt: skip
        assert done.returncode == 1
        assert f"another process listens at {unix}: end it, or choose another path" in done.stderr
        assert first.client.call("GET", "/livez") == {"live": True}
        first.end(signal.SIGKILL)
    assert stat.S_ISSOCK(unix.stat().st_mode)
    with daemon(tmp_path / "d", guarded, listen=(f"unix:{unix}",), token=TOKEN) as second:
        assert second.url == f"unix:{unix}"
        assert stat.S_IMODE(unix.stat().st_mode) == 0o660
        assert second.client.call("GET", "/v1/status")["hosts"]
        assert second.end() == 0


def test_it_does_not_start_beyond_loopback_without_a_token(tmp_path: Path, hosts: str) -> None:
    state, path = tmp_path / "state", tmp_path / "hosts.yaml"
    path.write_text(hosts)
    for given in (["--listen", "0.0.0.0:0"], ["--listen", "[::]:0", "--listen", "127.0.0.1:0"]):
        done = ygg("serve", "--hosts", path, "--state", state, *given)
        assert done.returncode == 1
        assert re.search(r"needs a token.*`ygg token new --file /etc/ygg/tokens`", done.stderr)
    done = ygg("serve", "--hosts", path, "--state", state, env={"YGG_LISTEN": "0.0.0.0:0"})
    assert done.returncode == 1
    assert not (state / "ygg.db").exists(), "nothing was begun"
    path.write_text(f"{hosts}dispatcher: {{listen: 0.0.0.0:0}}\n")
    done = ygg("check", "--hosts", path)
    assert done.returncode == 1
    assert "`dispatcher.listen` has 0.0.0.0:0, which other machines reach" in done.stderr


@pytest.mark.parametrize(
    ("listen", "words"), [("nonsense", "write HOST:PORT"), ("unix:", "write unix:PATH")]
)
def test_an_address_that_is_none_is_wrong_use(
    tmp_path: Path, hosts: str, listen: str, words: str
) -> None:
    path = tmp_path / "hosts.yaml"
    path.write_text(hosts)
    done = ygg("serve", "--hosts", path, "--state", tmp_path, "--listen", listen)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    done = ygg("serve", "--hosts", path, "--state", tmp_path, env={"YGG_LISTEN": listen})
    assert (done.returncode, words in done.stderr) == (1, True), done.stderr


def test_tokens_that_cant_be_had_are_told_and_open_ones_warned_of(
    tmp_path: Path, guarded: str
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("hunter2\n")
    (tmp_path / "hosts.yaml").write_text(guarded)
    done = ygg("serve", "--hosts", tmp_path / "hosts.yaml", "--state", tmp_path / "d")
    assert done.returncode == 1
    assert f"{tokens}: line 1 has neither sha256:" in done.stderr
    assert "hunter2" not in done.stderr
    tokens.unlink()
    done = ygg("serve", "--hosts", tmp_path / "hosts.yaml", "--state", tmp_path / "d")
    assert f"{tokens} can't be read: No such file" in done.stderr
    tokens.write_text(TOKEN)
    tokens.chmod(0o644)
    with daemon(tmp_path / "d", guarded, listen=(), token=TOKEN) as d:
        assert f"chmod 600 {tokens}" in d.log.read_text()
        assert d.client.call("GET", "/v1/status")["hosts"]


def test_a_client_that_reads_nothing_does_not_keep_it_from_ending(
    tmp_path: Path, hosts: str
) -> None:
    with daemon(tmp_path / "d", hosts) as d:
        long = "x" * 1_000_000
        for _ in range(8):
            d.client.call("POST", "/v1/tasks", {"title": "a", "description": long})
        slow = socket.socket()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        host, port = d.url.removeprefix("http://").split(":")
        slow.connect((host, int(port)))
        with closing(slow):
            slow.sendall(b"GET /v1/tasks HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert slow.recv(1) == b"H"
            assert d.end(within=30) == 0


def test_a_token_is_made_once_and_its_file_never_written_over(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    made = ygg("token", "new", "--file", file, "--name", "laptop")
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    assert re.fullmatch(r"ygg_[A-Za-z0-9_-]{43}", token)
    assert token_line(token, "laptop") in file.read_text().splitlines()
    assert token not in file.read_text() + made.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_text()
    again = ygg("token", "new", "--file", file)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == f"ygg: {file} is there already: --add adds a line to it\n"
    assert file.read_text() == before
    file.write_text(before.rstrip("\n"))  # as an editor may leave it
    added = ygg("token", "new", "--file", file, "--add", "--json")
    told = json.loads(added.stdout)
    assert told["line"] == token_line(told["token"])
    assert file.read_text() == f"{before}{told['line']}\n"


def test_a_token_without_a_file_comes_with_its_line(tmp_path: Path) -> None:
    made = ygg("token", "new", "--name", "ci")
    token, line = made.stdout.splitlines()
    assert line == token_line(token, "ci")


def test_a_token_that_can_not_be_shown_leaves_no_hash(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("# mine\n")
    for file, words in ((tmp_path / "new", ()), (there, ("--add",))):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "ygg.cli", "token", "new", "--file", str(file), *words],
                stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
            )  # fmt: skip
        assert done.returncode == 1, done.stderr
    assert not (tmp_path / "new").exists()
    assert there.read_text() == "# mine\n"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--name", "two words"], "letters, digits"),
        (["--add"], "--file PATH"),
        (["--file", "/no/such/folder/tokens"], "No such file or directory; choose another"),
    ],
)
def test_wrong_use_of_token_is_told(args: list[str], words: str) -> None:
    done = ygg("token", "new", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_the_command_line_finds_the_doors_that_the_file_names(tmp_path: Path, hosts: str) -> None:
    """Be it the socket, which only the file tells of, or a port; --url goes before."""
    doors = f"dispatcher: {{listen: 'unix:{tmp_path / 's'}'}}\n"
    with daemon(tmp_path / "d", hosts + doors, listen=()):
        file = tmp_path / "d" / "hosts.yaml"
        for words, env in ((("--hosts", file), {}), ((), {"YGG_HOSTS": str(file)})):
            done = ygg("status", *words, env={"YGG_URL": "", **env})
            assert done.returncode == 0, done.stderr
            assert f"unix:{tmp_path / 's'}" in done.stdout
        done = ygg("status", "--hosts", file, "--url", "http://127.0.0.1:1")
        assert done.returncode == 3
