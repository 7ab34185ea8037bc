"""Ctrl-C before the command line is there, and after it has gone: the system's own, without words."""

from __future__ import annotations

import subprocess
import sys

import pytest

_SAY = """
import signal, sys
{before}
import ygg.start
from ygg.cli.streams import carried_out

def run():
    print(repr(signal.getsignal(signal.SIGINT)))
    {work}
    return 0

print(repr(signal.getsignal(signal.SIGINT)))
code = carried_out(run, lambda text, code: code)
print(repr(signal.getsignal(signal.SIGINT)), code)
"""


def said(before: str = "", work: str = "") -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _SAY.format(before=before, work=work)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_only_a_command_hears_of_it() -> None:
    system, heard, after = said()
    assert system == "<Handlers.SIG_DFL: 0>"
    assert "default_int_handler" in heard
    assert after == "<Handlers.SIG_DFL: 0> 0"
    assert said(work="signal.raise_signal(signal.SIGINT)")[-1] == "<Handlers.SIG_DFL: 0> 130"


def test_who_was_told_to_ignore_it_goes_on_doing_so() -> None:
    """As `nohup` and a shell's `&` have it."""
    ignoring = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
    assert said(before=ignoring) == ["<Handlers.SIG_IGN: 1>"] * 2 + ["<Handlers.SIG_IGN: 1> 0"]


@pytest.mark.parametrize("words", [["--version"], ["status", "--help"]])
def test_it_begins_the_command_line(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ygg.start", *words],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "ygg" in done.stdout
