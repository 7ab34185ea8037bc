"""The servers that both dispatchers are measured against: simulated ones, or the demo's real ones.

The hosts are the original's, with its slots and its task-to-host mapping: `general` falls back to
the reasoning host.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from ygg.compare import servers
from ygg.demo.children import Children
from ygg.demo.server import MODEL, require
from ygg.demo.work import HOSTS

ROUTES: Final[Mapping[str, str]] = {
    "code-generation": "skadi-code",
    "text-processing": "fenrir-chat",
    "reasoning": "surtr-reasoning",
    "general": "surtr-reasoning",
}
#: About what a card of 8 GB does with a model of 8 billion parameters.
TOKENS_PER_SECOND: Final = 40.0
_LISTENING: Final = re.compile(r"^listening (\S+) (http://\S+)$", re.MULTILINE)
_READY_SECONDS: Final = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Servers:
    """A kind of servers to compare on."""

    name: str
    model: str
    #: In a sentence, what answers: nobody shall take a simulation for more than it is.
    about: str
    #: Starts them; their addresses by host.
    start: Callable[[Children], Mapping[str, str]]
    #: Raises `Missing` when a part of them isn't installed.
    require: Callable[[], object]


def _start_simulated(children: Children) -> Mapping[str, str]:
    named = [f"{name}={slots}" for name, slots in HOSTS.items()]
    speed = ["--tokens-per-second", str(TOKENS_PER_SECOND)]
    child = children.start("servers", ["-m", servers.__name__, *speed, *named])

    def look() -> Mapping[str, str] | None:
        found = dict(_LISTENING.findall(child.log.read_text(errors="replace")))
        return found if len(found) == len(HOSTS) else None

    return children.wait_for("the simulated servers listen", look, _READY_SECONDS, child.log)


def _start_real(children: Children) -> Mapping[str, str]:
    from ygg.demo.starting import start_servers

    return start_servers(children)


SIMULATED: Final = Servers(
    name="simulated",
    model=servers.MODEL,
    about=(
        "SIMULATED: real HTTP servers without a model. Each answer takes its tokens at "
        f"{TOKENS_PER_SECOND:g} a second, however many run beside it; a real card slows down when "
        "it is shared (--servers demo has real models)"
    ),
    start=_start_simulated,
    require=lambda: None,
)
REAL: Final = Servers(
    name="demo",
    model=MODEL,
    about=(
        f"real: three llama.cpp servers with the weights of {MODEL} on this machine's CPU, which "
        "all of them share: more at once makes each one slower, so the makespan says little and "
        "the waits say much"
    ),
    start=_start_real,
    require=require,
)
BY_NAME: Final[Mapping[str, Servers]] = {kind.name: kind for kind in (SIMULATED, REAL)}


def hosts_yaml(urls: Mapping[str, str], model: str) -> str:
    """The hosts.yaml that both dispatchers get."""
    lines = ["# Written by `ygg compare`.", "hosts:"]
    for name, slots in HOSTS.items():
        lines.append(f"  {name}:")
        lines.append(f"    {{url: '{urls[name]}', api: openai, model: {model},")
        lines.append(f"     slots: {{start: {slots}, min: 1, max: {slots}}}}}")
    lines.append("types:")
    lines += [f"  {name}: {{run: [{host}]}}" for name, host in ROUTES.items()]
    return "\n".join([*lines, "dispatcher: {drain_seconds: 2}", ""])
