"""The pages are true: every command in them is run, and prints what the page shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.blocks import Page, read_page
from tests.docs.shell import Shell, run_page
from tests.system.daemons import Servers, daemon

pytestmark = pytest.mark.system

DOCS = Path(__file__).parents[2] / "docs"
#: A machine of the pages; `localhost` stays what it is.
_URL = re.compile(r"http://(?!localhost)([a-z]+):\d+")


@contextmanager
def machines(text: str) -> Iterator[str]:
    """A page's text with its machines on loopback: each a server that speaks Ollama's API."""
    servers = Servers()
    try:
        for machine in dict.fromkeys(_URL.findall(text)):
            server = servers.start(machine, models=("qwen2.5:7b", "deepseek-r1:8b"))
            text = re.sub(rf"http://{machine}:\d+", server.url, text)
        yield text
    finally:
        servers.close()


@contextmanager
def served(folder: Path, page: Page) -> Iterator[Shell]:
    """A shell beside a dispatcher with the page's own hosts.yaml; $YGG is its address."""
    hosts = next(block.text for block in page.files if block.language == "yaml")
    (folder / "shell").mkdir()
    with daemon(folder / "d", hosts) as running:
        shell = Shell(folder / "shell", {"YGG": running.url})
        try:
            yield shell
        finally:
            shell.close()


def test_the_page_about_http(tmp_path: Path) -> None:
    with machines((DOCS / "http.md").read_text("utf-8")) as text:
        page = read_page(text)
        with served(tmp_path, page) as shell:
            run_page(page, shell, "docs/http.md")
