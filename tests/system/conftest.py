"""Real processes that several system tests share."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.beads.project import Project
from tests.system.daemons import Servers

ROOT = Path(__file__).parents[2]

#: From a number of slots to a server's URL and process, which ends with the context.
StartServer: TypeAlias = Callable[[int], AbstractContextManager[tuple[str, subprocess.Popen[str]]]]


@pytest.fixture
def servers() -> Iterator[Servers]:
    """Stand-ins for model servers, as many as a test starts."""
    with closing(Servers()) as made:
        yield made


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A Beads project whose stand-in of `bd` is found in PATH."""
    made = Project(tmp_path)
    monkeypatch.setenv("PATH", made.path)
    return made


@pytest.fixture(scope="session")
def demo_python() -> str:
    """An interpreter that has the `demo` extra: this one, or that of `make demo`."""
    if importlib.util.find_spec("xllamacpp") is not None:
        return sys.executable
    python = ROOT / ".cache" / "demo-env" / "bin" / "python"
    if not python.exists():
        pytest.skip("needs a real model server: `make demo` installs it")
    return str(python)


@pytest.fixture(scope="session")
def start_server(demo_python: str) -> StartServer:
    """A way to start a real llama.cpp server of one's own."""

    @contextmanager
    def start(slots: int) -> Iterator[tuple[str, subprocess.Popen[str]]]:
        command = [demo_python, "-m", "ygg.demo.server", "--slots", str(slots)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
        ) as process:
            assert process.stdout is not None
            try:
                lines = iter(process.stdout.readline, "")
                url = next((line.split()[-1] for line in lines if "listening on" in line), None)
                assert url is not None, "the server ended before it listened"
                yield url, process
            finally:
                process.kill()

    return start


@pytest.fixture(scope="session")
def real_server(start_server: StartServer) -> Iterator[str]:
    """The URL of one real llama.cpp server with two slots, for all tests that only ask it."""
    with start_server(2) as (url, _):
        yield url
