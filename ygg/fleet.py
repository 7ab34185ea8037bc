"""The fleet as settings: hosts, their slots, task types and their routes.

Plain values. Reading them out of hosts.yaml, with every mistake and its line, is left to
hostsfile.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from ygg.tasks import Json

#: What becomes of an issue once it is answered: it is closed, or a person looks at it first.
Done: TypeAlias = Literal["close", "review"]
#: The label of an issue that was answered and waits for a person: it is not taken.
ANSWERED: Final = "ygg-answered"


class Option(NamedTuple):
    """A host with a model on it. An empty model means the host's default, asked of its server."""

    host: str
    model: str = ""
    #: The type whose own handler (a command, a function) runs there: whether that works says
    #: nothing of the model. Empty: the model is asked.
    handler: str = ""

    def __str__(self) -> str:
        where = f"{self.host}/{self.model}" if self.model else self.host
        return f"{where} for {self.handler}" if self.handler else where


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotSettings:
    """How many tasks a host may run at once: where the limit starts, and its bounds."""

    start: int = 1
    min: int = 1
    #: None: as many as the server says it can run at once, else `start`.
    max: int | None = None
    #: A limit set by hand in the file; the autoscaler leaves it alone.
    pin: int | None = None
    #: Line of the pin in hosts.yaml.
    pin_line: int = field(default=0, compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuSettings:
    """Where a host's GPU exporter is, for the autoscaler. The dispatcher does not read it."""

    port: int | None = None
    exporter: str | None = None
    device: int | None = None
    memory: Literal["nvml", "kv", "off"] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class HostSettings:
    name: str
    #: The server's root, without a trailing /v1 or slash.
    url: str
    #: None: asked of the server.
    api: Literal["ollama", "openai"] | None = None
    #: The default model here; None: asked of the server when it has just one.
    model: str | None = None
    slots: SlotSettings = SlotSettings()
    #: The host whose semaphore this one uses (the same card); None: its own.
    shares: str | None = None
    #: Where the API key is: env:NAME, file:PATH or credential:NAME; never the secret itself.
    key: str | None = None
    #: How long a server keeps a model loaded after an answer, in Ollama's words ("30m").
    keep_alive: str | None = None
    gpu: GpuSettings = GpuSettings()
    #: The autoscaler only shows what it would do.
    dry_run: bool = False
    #: Line in hosts.yaml.
    line: int = 0

    @property
    def semaphore(self) -> str:
        return self.shares or self.name

    @property
    def exporter(self) -> str | None:
        """Where its GPU exporter is."""
        if self.gpu.exporter is not None or self.gpu.port is None:
            return self.gpu.exporter
        name = urlsplit(self.url).hostname or ""
        machine = f"[{name}]" if ":" in name else name
        return f"http://{machine}:{self.gpu.port}/metrics"


def is_same_server(one: HostSettings, other: HostSettings) -> bool:
    """Whether what was learned of the one holds for the other."""
    return (one.url, one.api, one.key, one.model is None) == (
        other.url, other.api, other.key, other.model is None,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class TypeSettings:
    """A type of task: how it is recognised, where it runs, and what is asked of the model."""

    name: str
    #: Options in order of preference.
    run: tuple[Option, ...] = ()
    #: Labels that mean this type, beside its own name.
    labels: tuple[str, ...] = ()
    #: Words of a title that mean this type, in lower case.
    words: tuple[str, ...] = ()
    system: str | None = None
    options: Mapping[str, Json] = field(default_factory=dict)
    #: Seconds; see hosts.base.Limits.
    first_token: float = 600.0
    stall: float = 120.0
    timeout: float = 3600.0
    #: Run this program instead of a request: arguments, never a shell string.
    command: tuple[str, ...] | None = None
    #: Its working folder.
    cwd: str | None = None
    #: Names of environment variables that the command may see beside the standard ones.
    environment: tuple[str, ...] = ()
    #: `package.module:function`: a Python handler instead of a request.
    python: str | None = None
    #: False: an attempt that may have begun is not run again, its task is blocked.
    repeat: bool = True
    #: What becomes of an answered issue of this type; None: as `beads:` says.
    done: Done | None = None
    line: int = 0

    @property
    def route(self) -> tuple[Option, ...]:
        """Its options, as the dispatcher tells them apart."""
        if self.command is None and self.python is None:
            return self.run
        return tuple(option._replace(handler=self.name) for option in self.run)


@dataclass(frozen=True, kw_only=True, slots=True)
class Retention:
    """How long what has ended is kept, in seconds. None: for ever."""

    closed: float | None = 90 * 86400.0
    artifacts: float | None = 90 * 86400.0
    journal: float | None = 90 * 86400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class DispatcherSettings:
    #: Each HOST:PORT or unix:PATH, as addresses.py reads them.
    listen: tuple[str, ...] = ("127.0.0.1:8765",)
    #: What it is called besides: by a reverse proxy, by DNS. With one, all need a token.
    names: tuple[str, ...] = ()
    #: Who must bring a token: who comes from beyond loopback, or everybody.
    token: Literal["remote", "always"] = "remote"  # noqa: S105 - a word of ours
    #: Where the tokens are: env:NAME, file:PATH or credential:NAME; None: there are none.
    token_from: str | None = None
    #: sqlite:PATH; None: ygg.db in the state folder.
    store: str | None = None
    #: Folder for store and artifacts; None: as the place of the process suggests.
    state: Path | None = None
    #: How long in-flight tasks may go on after SIGINT or SIGTERM.
    drain_seconds: float = 60.0
    #: What becomes of those that did not end in time.
    after_drain: Literal["block", "reopen"] = "block"
    #: The safety net's pace.
    poll_seconds: float = 2.0
    max_strikes: int = 3
    #: Folder of the answers; None: `artifacts` in the state folder.
    artifacts: Path | None = None
    retention: Retention = Retention()


@dataclass(frozen=True, kw_only=True, slots=True)
class BeadsSettings:
    """Which issues of a Beads project are taken as tasks, in whose name, and how it is asked."""

    #: The project's folder; None: looked for from the working folder upwards.
    path: Path | None = None
    #: Who claims issues; None: ygg@HOSTNAME, the name of the machine.
    actor: str | None = None
    #: Labels that let an issue be taken, beside those that mean a type.
    labels: tuple[str, ...] = ()
    #: Only issues with such a label, or every one.
    take: Literal["labelled", "all"] = "labelled"
    #: What becomes of an answered issue, unless its type says otherwise.
    done: Done = "close"
    #: The safety net's pace; None: as quick as the project needs.
    poll_seconds: float | None = None
    #: The program: a name, looked for in PATH, or a path.
    command: str = "bd"
    #: Seconds that one call of it may take.
    timeout: float = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Fleet:
    """Everything hosts.yaml says."""

    #: The file it came from, for messages.
    file: str
    hosts: Mapping[str, HostSettings]
    types: Mapping[str, TypeSettings]
    dispatcher: DispatcherSettings = DispatcherSettings()
    beads: BeadsSettings = BeadsSettings()
    #: The autoscaler's own settings, kept as given: it checks them itself.
    autoscaler: Mapping[str, Json] = field(default_factory=dict)

    @property
    def routes(self) -> Mapping[str, tuple[Option, ...]]:
        """Of each type, where its tasks run, in order of preference."""
        return {name: settings.route for name, settings in self.types.items()}

    def done(self, type_: str) -> Done:
        """What becomes of an answered issue of this type."""
        settings = self.types.get(type_)
        return (settings and settings.done) or self.beads.done


@dataclass(frozen=True, kw_only=True, slots=True)
class FileStanding:
    """How it goes with hosts.yaml while the process runs."""

    #: When it was last taken over, in seconds since the epoch.
    taken_at: float
    #: Why what stands there now is not taken over, each with file and line; empty: it is.
    problems: tuple[str, ...] = ()
    #: What it says otherwise than at the start, and only a restart can change.
    needs_restart: tuple[str, ...] = ()


#: The four types that everybody has, with the words of a title that mean them.
#: Order counts: the first type with a word in the title is taken.
BUILT_IN_TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "code-generation": (
        "code", "implement", "refactor", "function", "script", "bug", "fix", "program", "compile",
        "unittest", "regex", "sql", "api", "class", "python", "rust", "javascript",
    ),
    "text-processing": (
        "summarize", "summarise", "summary", "translate", "extract", "rewrite", "classify",
        "proofread", "text", "paraphrase", "shorten",
    ),
    "reasoning": (
        "reason", "why", "plan", "analyze", "analyse", "prove", "compare", "decide", "evaluate",
        "solve", "explain", "complexity",
    ),
    "general": (),
}  # fmt: skip
#: Where a task goes that nothing else claims.
FALLBACK_TYPE: Final = "general"
