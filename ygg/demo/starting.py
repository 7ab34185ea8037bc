"""What both demos start, watch and end: the model servers, the dispatcher, the checker's run.

Each is the real program as a process of its own. What is asked of them is left to the demos.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from ygg.demo import work
from ygg.demo.children import Child, Children
from ygg.demo.client import Client

LOOK_SECONDS: Final = 0.2
_LOAD_SECONDS: Final = 60.0
_READY_SECONDS: Final = 30.0
#: How a dispatcher ends that was told to: by itself, or by raising the signal again.
CLEAN: Final = frozenset({0, -signal.SIGTERM, 128 + signal.SIGTERM})
_LISTENING: Final = re.compile(r"^listening on (http://\S+)$", re.MULTILINE)


def threads_per_server(cores: int) -> int:
    """Threads that share the cores between the three servers.

    llama.cpp's threads wait for each other spinning: with more of them than cores the whole demo
    took five times as long.
    """
    return max(1, cores // len(work.HOSTS))


def cores_here() -> int:
    """The processors that this process, and so its children, may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def start_servers(children: Children) -> dict[str, str]:
    """Start the three model servers side by side; their addresses by name."""
    threads = str(threads_per_server(cores_here()))
    started = [
        children.start(
            name,
            ["-m", "ygg.demo.server", "--name", name, "--slots", str(slots), "--threads", threads],
        )
        for name, slots in work.HOSTS.items()
    ]

    def address(child: Child) -> str:
        def look() -> str | None:
            found = _LISTENING.search(child.log.read_text(errors="replace"))
            return found[1] if found else None

        return children.wait_for(f"{child.name} loads its model", look, _LOAD_SECONDS, child.log)

    return {child.name: address(child) for child in started}


def start_dispatcher(children: Children, hosts_file: Path, state: Path) -> tuple[Child, Client]:
    """Start `ygg loop --async` and wait until it takes tasks."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    arguments = ["loop", "--async", "--no-beads", "--hosts", str(hosts_file)]
    arguments += ["--listen", f"127.0.0.1:{port}", "--state", str(state)]
    print(f"The dispatcher: ygg {shlex.join(arguments)}")
    child, client = children.start("dispatcher", ["-m", "ygg.cli", *arguments]), Client(port)
    children.wait_for(
        "the dispatcher is ready", lambda: client.is_ready() or None, _READY_SECONDS, child.log
    )
    return child, client


def leave_running(children: Children, client: Client) -> None:
    ygg, url = ygg_command(), client.url
    print(f"\nEverything keeps running at {url} until Ctrl-C. In another terminal:")
    print(f'  {ygg} submit --url {url} "Translate to French: Good night." --priority 0')
    print(f"  {ygg} status --url {url}")
    print(f"  curl {url}/metrics", flush=True)
    try:
        while True:
            children.check()
            time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        print("\nCtrl-C: ending the dispatcher and the servers")


def check_journal(state: Path) -> bool:
    """Let the journal's checker say whether each start was the most urgent task that could run."""
    arguments = ["check-journal", "--state", str(state)]
    print(f"\nThe order, by the journal's checker (ygg {shlex.join(arguments)}):", flush=True)
    done = subprocess.run(  # noqa: S603 - our own module, no shell
        [sys.executable, "-m", "ygg.cli", *arguments], check=False
    )
    return done.returncode == 0


def ygg_command() -> str:
    """How this ygg is called from the current folder."""
    here = Path(sys.executable).with_name("ygg")
    if shutil.which("ygg") == str(here) or not here.exists():
        return "ygg"
    return str(here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here)
