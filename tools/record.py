"""`make sessions`: run the commands of docs/sessions/ on the demo's real servers, keep what they say.

Three llama.cpp servers with a real, very small model are started, as `make demo` does. What a
command printed is kept as it was, with its ids, times and ports; only the folders of this machine
are called otherwise. What is recorded, and what is said about it, is sessions.py.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import re
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools import markdown
from tools.sessions import SESSIONS, Quietly, Say, Session, Show, Step
from tools.shell import Shell
from ygg.demo.children import Children
from ygg.demo.server import require
from ygg.demo.starting import start_servers

ROOT: Final = Path(__file__).parents[1]
_STEP_SECONDS: Final = 900.0
_USUAL_PORT: Final = 8765
#: What the folder of a session is called in it.
_FOLDER: Final = "~/fleet"
_TOP: Final = """\
# {title}

<!-- Made by `make sessions` out of tools/sessions.py: what stands here was printed. -->
"""


class Unexpected(Exception):
    """A command of a session ended otherwise than the session says."""


@dataclass(frozen=True, slots=True)
class _Said:
    text: str


@dataclass(frozen=True, slots=True)
class _Printed:
    """A command and what it printed; nothing where it only set the scene."""

    text: str


def record(session: Session) -> str:
    """The session's page, out of a run of it. Raises Unexpected."""
    with tempfile.TemporaryDirectory(prefix="ygg-session-") as root:
        folder, kept, logs = (Path(root).resolve() / name for name in ("fleet", "kept", "logs"))
        for made in (folder, kept, logs):
            made.mkdir()
        with Children(folder=logs, of="the recorder") as children:
            variables = _variables(start_servers(children), children, Path(root))
            with Shell(folder, kept, variables, seconds=_STEP_SECONDS) as shell:
                parts = [_part(step, shell, variables, Path(root)) for step in session.steps]
    return _TOP.format(title=session.title) + "".join(_joined(parts))


def _joined(parts: Sequence[_Said | _Printed]) -> Iterator[str]:
    """The page's blocks: what was printed without a word between is one."""
    for kind, group in itertools.groupby((part for part in parts if part.text), type):
        texts = [part.text for part in group]
        if kind is _Printed:
            # A command that printed something is set apart from the next one.
            block = "".join(text + ("\n\n" if "\n" in text else "\n") for text in texts)
            yield f"\n{markdown.fence(block, 'console')}"
        else:
            yield from (f"\n{text}\n" for text in texts)


def _variables(urls: Mapping[str, str], children: Children, root: Path) -> dict[str, str]:
    """What the steps of a session may name: $SURTR, $SURTR_PID, ... of each server."""
    address = _address()
    variables = {
        "XDG_STATE_HOME": str(root / "state"),
        "YGG_LISTEN": address,
        "YGG_URL": f"http://{address}",
    }
    for child in children.running:
        name = child.name.partition("-")[0].upper()
        variables |= {name: urls[child.name], f"{name}_PID": str(child.process.pid)}
    return variables


def _address() -> str:
    """The one that ygg usually has, if nobody else has it now."""
    for port in (_USUAL_PORT, 0):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)) as free:
            return f"127.0.0.1:{free.getsockname()[1]}"
    raise AssertionError("any port is free")


def _part(step: Step, shell: Shell, variables: Mapping[str, str], root: Path) -> _Said | _Printed:
    """Raises Unexpected."""
    if isinstance(step, Say):
        return _Said(step.text)
    code, printed = shell.run(step.command, background=isinstance(step, Quietly) and step.goes_on)
    wanted = step.exit_code if isinstance(step, Show) else 0
    if code != wanted:
        raise Unexpected(f"exit code {code}, not {wanted}, of:\n{step.command}\n{printed}")
    if isinstance(step, Quietly):
        return _Printed("")
    lines = [f"$ {_expanded(step.command, variables)}", printed.rstrip()]
    if code:
        lines.append(f"(exit code {code})")
    return _Printed(_clean("\n".join(filter(None, lines)), root))


def _expanded(command: str, variables: Mapping[str, str]) -> str:
    """The command as a person would have typed it."""
    return re.sub(r"\$([A-Z_]+)", lambda match: variables.get(match[1], match[0]), command)


def _clean(text: str, root: Path) -> str:
    names = {"fleet": _FOLDER, "state": "~/.local/state"}
    for name, called in names.items():
        text = text.replace(str(root / name), called)
    return text


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.record", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="SESSION", help="all, if none is named")
    args = parser.parse_args(argv)
    unknown = set(args.names) - {session.name for session in SESSIONS}
    if unknown:
        known = ", ".join(session.name for session in SESSIONS)
        parser.error(f"no session {', '.join(sorted(unknown))}; there are {known}")
    require()
    for session in SESSIONS:
        if args.names and session.name not in args.names:
            continue
        path = ROOT / "docs" / "sessions" / f"{session.name}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(record(session), "utf-8")
        print(f"docs/sessions/{session.name}.md written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
