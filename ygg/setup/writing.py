"""The text of hosts.yaml for a proposed fleet: commented, and read back as what was proposed. Pure.

Names come from servers: whatever they hold, it is quoted so that it can be nothing but a text.
Where the text goes is left to placing.py.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from ygg.fleet import Option
from ygg.setup.proposal import Host, Plan

_WIDTH: Final = 96
#: Texts that YAML takes for nothing else, bare and inside brackets.
_BARE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*(?::[A-Za-z0-9_./-]+)*")
#: Words that YAML 1.1 or 1.2 takes for something else.
_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
#: Of a server's other models so many are named.
_OTHERS_MAX: Final = 6

_HEAD: Final = """\
# The fleet, as `ygg init` found it. Change what you like: `ygg check` says whether it is still
# good, `ygg doctor` whether the servers behind it are, and `ygg loop --async` starts.
# Not said here is the default: `dispatcher:` (listen, store, drain_seconds, ...), `autoscaler:`.
"""
_TYPES: Final = """\
# Where each type of task runs, best first: HOST or HOST/MODEL, the first with a free slot. A type
# is found by a task's labels, then by the words of its title, else it is `general`.
"""


def hosts_yaml(plan: Plan) -> str:
    """The whole file."""
    lines = [*_HEAD.splitlines(), "hosts:"]
    for host in plan.hosts:
        lines += [f"  {line}".rstrip() for line in _host(host, _neighbour(host, plan.hosts))]
    lines += ["", *_TYPES.splitlines(), "types:"]
    for type_, run in plan.routes.items():
        options = ", ".join(_option(option, plan.hosts) for option in run)
        lines.append(f"  {scalar(type_)}: {{run: [{options}]}}")
    return "\n".join(lines) + "\n"


def _host(host: Host, neighbour: Host | None) -> Iterator[str]:
    yield from _comment(host.what)
    yield f"{scalar(host.name)}:"
    for line in _settings(host, neighbour):
        yield f"  {line}"


def _settings(host: Host, neighbour: Host | None) -> Iterator[str]:
    yield f"url: {scalar(host.url)}"
    if host.api is not None:
        yield f"api: {host.api}"
    if host.model is None:
        yield from _comment("It names no model: write `model: NAME` once it has one.")
    else:
        if host.others:
            shown = [name for name in host.others[:_OTHERS_MAX] if name.isprintable()]
            more = ", ..." if len(host.others) > len(shown) else ""
            yield from _comment(f"Also there: {', '.join(shown)}{more}")
        yield f"model: {scalar(host.model)}"
    yield from _comment(f"Tasks at once: {host.slots_reason}.")
    yield f"slots: {{start: {host.slots}, max: {host.slots_max}}}"
    if neighbour is not None:
        yield from _comment(f"On the same card as {neighbour.name}? Then instead of `slots`:")
        yield f"# shares: {scalar(neighbour.name)}"
    if host.key is not None:
        yield from _comment("It wants a key. Where that is, never the key itself:")
        yield f"key: {scalar(host.key)}"
    for reason in host.gpu.reasons:
        yield from _comment(f"{reason}.")
    gpu = [f"exporter: {scalar(host.gpu.exporter)}"] if host.gpu.exporter else []
    gpu += [f"memory: {host.gpu.memory}"] if host.gpu.memory else []
    if gpu:
        yield f"gpu: {{{', '.join(gpu)}}}"


def _neighbour(host: Host, hosts: Sequence[Host]) -> Host | None:
    """The first other host on the same machine, if it stands before this one."""
    for other in hosts:
        if other is host:
            return None
        if _machine(other.url) == _machine(host.url):
            return other
    return None


def _machine(url: str) -> str:
    return re.sub(r"^https?://|:[0-9]+$|(?<=[^:])/.*$", "", url)


def _option(option: Option, hosts: Sequence[Host]) -> str:
    is_default = any(host.name == option.host and host.model == option.model for host in hosts)
    return scalar(option.host if is_default or not option.model else str(option))


def _comment(text: str) -> Iterator[str]:
    # What a server said is in here, too: one that breaks the line would break the file.
    safe = "".join(c if c.isprintable() else "?" for c in text)
    for line in textwrap.wrap(safe, _WIDTH - 6, break_on_hyphens=False):
        yield f"# {line}"


def scalar(text: str) -> str:
    """A text as YAML, quoted wherever it might be read as anything else."""
    if _BARE.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return "'" + text.replace("'", "''") + "'"
