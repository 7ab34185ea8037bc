"""The pages are true: every command in them is run, and prints what the page shows."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.docs.blocks import Page, read_page
from tests.docs.pages import run_page
from tests.system.conftest import StartServer
from tests.system.daemons import Daemon, Servers, daemon, until
from tools.shell import Shell
from ygg.board import Reason

pytestmark = pytest.mark.system

DOCS = Path(__file__).parents[2] / "docs"
#: A machine of the pages; `localhost` stays what it is.
_URL = re.compile(r"http://(?!localhost)([a-z]+):\d+")
#: What each machine has. Nobody listens where `gone` was.
_MODELS = {"surtr": "deepseek-r1:8b", "fenrir": "qwen2.5:7b", "skadi": "qwen2.5-coder:7b"}
_GONE = {"gone": "http://127.0.0.1:1"}


def machines(text: str) -> Sequence[str]:
    return list(dict.fromkeys(_URL.findall(text)))


def at(text: str, machine: str, url: str) -> str:
    """A page's text with one of its machines at another address."""
    return re.sub(rf"http://{machine}:\d+", url, text)


@contextmanager
def with_fakes(name: str) -> Iterator[Page]:
    """A page whose machines speak Ollama's API, and answer at once."""
    text = (DOCS / name).read_text("utf-8")
    servers = Servers()
    try:
        for machine in machines(text):
            url = _GONE.get(machine) or servers.start(machine, models=(_MODELS[machine],)).url
            text = at(text, machine, url)
        yield read_page(text)
    finally:
        servers.close()


@contextmanager
def served(folder: Path, page: Page) -> Iterator[Shell]:
    """A shell beside a dispatcher with the page's own hosts.yaml: $YGG, its $STATE and $LOGS."""
    hosts = next(block.text for block in page.files if block.language == "yaml")
    state = folder / "d"
    with daemon(state, hosts) as running:
        until(lambda: all(h["reason"] != "not asked yet" for h in statuses(running)))
        shell = a_shell(
            folder, YGG=running.url, YGG_URL=running.url, STATE=str(state), LOGS=f"{state}/logs"
        )
        with shell:
            yield shell


def statuses(running: Daemon) -> list[dict[str, str]]:
    found: list[dict[str, str]] = running.client.call("GET", "/v1/hosts")["hosts"]
    return found


def a_shell(folder: Path, **variables: str) -> Shell:
    for name in ("here", "kept"):
        (folder / name).mkdir()
    return Shell(folder / "here", folder / "kept", variables)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def test_the_page_about_http(tmp_path: Path) -> None:
    with with_fakes("http.md") as page, served(tmp_path, page) as shell:
        run_page(page, shell, "docs/http.md")
        _, described = shell.run("curl -s $YGG/openapi.json")
        _, measured = shell.run("curl -s $YGG/metrics")
    routes = {
        f"{method.upper()} {path}"
        for path, methods in json.loads(described)["paths"].items()
        for method in methods
    }
    text = (DOCS / "http.md").read_text("utf-8")
    assert routes == set(re.findall(r"^\| \[`([A-Z]+ \S+)`\]", text, re.MULTILINE))
    told = (DOCS / "metrics.md").read_text("utf-8").partition("## `ygg-autoscaler`")[0]
    names = re.findall(r"^# TYPE (ygg_\w+)", measured, re.MULTILINE)
    assert sorted(names) == sorted(re.findall(r"^\| `(ygg_\w+)`", told, re.MULTILINE))
    tried = "\n".join(step.block.text for step in page.steps)
    for path in {route.partition(" ")[2] for route in routes}:
        pattern = re.sub(r"\\\{\w+\\\}", r"[\\w$]+", re.escape(path))
        assert re.search(rf"(\$YGG|http://localhost){pattern}(?![/\w])", tried), path


def test_the_page_about_troubleshooting(tmp_path: Path) -> None:
    with with_fakes("troubleshooting.md") as page, served(tmp_path, page) as shell:
        run_page(page, shell, "docs/troubleshooting.md")
    text = (DOCS / "troubleshooting.md").read_text("utf-8")
    assert set(Reason) == set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))


@pytest.mark.model
def test_the_page_about_the_first_task(start_server: StartServer, tmp_path: Path) -> None:
    text = (DOCS / "first-task.md").read_text("utf-8")
    address = f"127.0.0.1:{free_port()}"
    with ExitStack() as stack:
        for machine, slots in {"surtr": 2, "fenrir": 1}.items():
            url, _ = stack.enter_context(start_server(slots))
            text = at(text, machine, url)
        shell = a_shell(
            tmp_path,
            YGG_LISTEN=address,
            YGG_URL=f"http://{address}",
            XDG_STATE_HOME=str(tmp_path / "state"),
        )
        run_page(read_page(text), stack.enter_context(shell), "docs/first-task.md")
