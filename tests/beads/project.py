"""A Beads project for tests, with the stand-in of `bd` on a PATH of its own."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from ygg.sources.answers import issues
from ygg.sources.base import Issue

HERE: Final = Path(__file__).parent
#: Isolated and without site packages: that is most of what a start costs.
PROGRAM: Final = f"""#!{sys.executable} -IS
import os, sys
sys.path.insert(0, {str(HERE)!r})
import standin
sys.exit(standin.main(sys.argv[1:], os.path.dirname(os.path.abspath(sys.argv[0]))))
"""


class Called(msgspec.Struct, frozen=True, kw_only=True):
    """A call as the stand-in saw it."""

    argv: list[str]
    actor: str
    pid: int
    cwd: str
    environment: list[str]

    @property
    def words(self) -> str:
        return " ".join(self.argv)


def install(folder: Path) -> Path:
    """Put the stand-in into a folder, as `bd`."""
    folder.mkdir(exist_ok=True)
    program = folder / "bd"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    return program


class Project:
    """A fresh project in a folder of its own; its calls are made by one actor, or another."""

    def __init__(self, folder: Path, *, actor: str = "person") -> None:
        self.folder = folder / "project"
        self.folder.mkdir()
        self.program = install(folder / "bin")
        self.actor = actor
        self.run("init")

    @property
    def beads(self) -> Path:
        return self.folder / ".beads"

    @property
    def path(self) -> str:
        """PATH with the stand-in first."""
        return f"{self.program.parent}{os.pathsep}{os.environ['PATH']}"

    def run(
        self, *argv: str, actor: str | None = None, cwd: Path | None = None, input: str = ""
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *argv],
            check=False,
            cwd=cwd or self.folder,
            env={"BD_ACTOR": actor or self.actor},
            input=input,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def bd(self, *argv: str, actor: str | None = None) -> bytes:
        """What a call printed that went well."""
        done = self.run(*argv, "--json", actor=actor)
        assert done.returncode == 0, done
        return done.stdout.encode()

    def new(self, title: str, *argv: str) -> str:
        """The id of a new issue."""
        found = json.loads(self.bd("create", title, *argv))["id"]
        assert isinstance(found, str)
        return found

    def issue(self, one: str) -> Issue:
        (found,) = issues(self.bd("show", one), call="show")
        return found

    def rewrite(self, one: str, **fields: object) -> None:
        """Put into an issue what no argument can carry: a file or another tool's import."""
        with (self.beads / "embeddeddolt" / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            file = self.beads / "embeddeddolt" / "project.json"
            state = json.loads(file.read_text())
            state["issues"][one] |= fields
            new = file.with_suffix(".test")
            new.write_text(json.dumps(state))
            new.replace(file)

    # -- faults --------------------------------------------------------------------------------

    def break_calls(self, *rules: Mapping[str, Any]) -> None:
        """Say what goes wrong from now on; nothing: all is well again.

        The first rule that fits a call holds for it. Its keys:
            call: how the words of the call begin. with: what is among them.
            times: how often it holds; left out: for ever.
            at: nanoseconds since the epoch, for the call's clock.
            wait: seconds before anything happens.
            hang: "before" or "after" the effect; SIGTERM is ignored.
            die: by SIGKILL "before" the effect, in its "middle" (nothing is kept), or "after" it.
            effect: False: nothing is carried out.
            out, err, code: what is said in place of the truth. cut: how much of the output comes.
            repeat: how often the output is printed.
            steal: who has the issues when the call has said that they are the caller's.
            delay_reads: how many reads from now on see what was before.
        """
        file = self.program.parent / "faults.json"
        new = file.with_suffix(".test")
        new.write_text(json.dumps(rules))
        new.replace(file)

    @property
    def calls(self) -> list[Called]:
        lines = (self.program.parent / "calls.jsonl").read_bytes().splitlines()
        return [msgspec.json.decode(line, type=Called) for line in lines]


#: bd's database is somebody else's: in its words, and nothing is done.
LOCKED: Final[Mapping[str, Any]] = {
    "effect": False,
    "code": 1,
    "err": "Error: failed to open database: database is locked\n",
}
