"""Every key of hosts.yaml: what may stand there and what it means, in one table for all.

The readers know a key by its being here; docs/hosts-yaml.md is made from it. How a value is read
and checked is left to hostsfile.py and its neighbours. The autoscaler's constants are in
autoscalerfile.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias


@dataclass(frozen=True, slots=True)
class Key:
    """A key as people see it. Texts are Markdown; a YAML text stands in it as in the file."""

    #: What may stand there. Bounds are written "from LEAST to MOST": a test tries them.
    form: str
    #: What it means: one or a few sentences.
    means: str
    #: A value, as YAML.
    example: str
    #: The value that changes nothing, as YAML; "": there is none that could be written.
    default: str = ""
    #: What happens without the key, in words, where no default can be written.
    without: str = ""


Keys: TypeAlias = Mapping[str, Key]

_LIMIT: Final = "duration, from 0.001 to 31d"
_KEPT: Final = "duration, from 60s to 36500d, or `forever`"
_SLOT: Final = "whole number, from 1 to 10000"

TOP_KEYS: Final[Keys] = {
    "defaults": Key(
        "section", "What holds for all hosts that do not say otherwise.", "{keep_alive: 30m}",
        without="each host as its own keys say",
    ),
    "hosts": Key(
        "section: a name for each host",
        "The model servers. A name has letters, digits, `.`, `_` and `-`, at most 63, a letter or "
        "digit first.",
        "{surtr: {url: 'http://surtr:11434'}}", without="required: at least one host",
    ),
    "types": Key(
        "section: a name for each type",
        "Types of tasks: how they are recognised, where they run, what is asked of the model.",
        "{reasoning: {run: [surtr]}}", without="the four built-in types, on all hosts",
    ),
    "dispatcher": Key(
        "section", "How the dispatcher itself behaves.", "{drain_seconds: 2m}",
        without="as each of its keys says",
    ),
    "beads": Key(
        "section", "Which issues of a Beads project are taken, and how `bd` is asked.",
        "{labels: [for-ygg]}", without="as each of its keys says",
    ),
    "autoscaler": Key(
        "section", "The constants of the autoscaler's rule.", "{dry_run: true}",
        without="as each of its keys says",
    ),
}  # fmt: skip

SLOT_KEYS: Final[Keys] = {
    "start": Key(
        _SLOT, "The limit to start with. When it is edited, the limit is this again, whatever it was.", "2",
        without="`pin`, else `min`",
    ),
    "min": Key(_SLOT, "No limit is ever under it.", "2", default="1"),
    "max": Key(
        _SLOT,
        "No limit is ever over it. Where the server says how many it runs at once, the limit is "
        "not over that either.",
        "4", without="the same as `start`",
    ),
    "pin": Key(
        _SLOT,
        "A hand override: the limit is this, the autoscaler leaves the host alone, and `ygg "
        "limit` is refused. Between `min` and `max`.",
        "2", without="no pin",
    ),
}  # fmt: skip

GPU_KEYS: Final[Keys] = {
    "port": Key(
        "whole number, from 1 to 65535",
        "Where the host's own exporter listens: `http://HOST:PORT/metrics`. Not beside `exporter`.",
        "9400", default="9836",
    ),
    "exporter": Key(
        "http or https address, or `off`",
        "The address of another exporter, in full, or that there is none. Not beside `port`.",
        "http://skadi:9400/metrics", without="the one at `port`",
    ),
    "device": Key(
        "whole number, from 0 to 1023", "Which of the machine's GPUs it is.", "0",
        without="the only one",
    ),
    "memory": Key(
        "`nvml`, `kv` or `off`",
        "Which memory the autoscaler watches: the card's, the server's KV cache, or none.", "nvml",
        without="the autoscaler's choice",
    ),
}  # fmt: skip

#: A host's keys that may also stand in `defaults:`. Its `key` may not: it would be sent to every
#: host that is ever added, whoever runs it.
SHARED_KEYS: Final[Keys] = {
    "api": Key(
        "`ollama` or `openai`",
        "The API that the server speaks; llama.cpp, vLLM and most others speak `openai`.", "ollama",
        without="asked of the server",
    ),
    "model": Key(
        "text", "The model that a host runs when neither route nor task names one.",
        "qwen2.5:7b", without="asked of the server, when it has just one",
    ),
    "slots": Key(
        "section", "How many tasks at once, and within which bounds.",
        "{start: 2, min: 1, max: 4}", without="1",
    ),
    "keep_alive": Key(
        "duration in Ollama's words: `90s`, `24h`; `0` for none, `-1` for ever",
        "How long Ollama keeps a model loaded after an answer. A plain number is seconds.", "30m",
        without="as the server likes",
    ),
    "gpu": Key(
        "section", "Where the GPU's exporter is. The autoscaler and `ygg doctor` read it.", "{port: 9400}",
        default="{port: 9836}",
    ),
}  # fmt: skip

HOST_KEYS: Final[Keys] = {
    "url": Key(
        "http or https address",
        "The server's root. A trailing `/v1` is accepted. No user or password in it.",
        "http://surtr:11434", without="required",
    ),
    **SHARED_KEYS,
    "shares": Key(
        "name of a host",
        "The host whose slots this one uses, because both are on the same card. Not beside "
        "`slots`.",
        "fenrir-chat", without="slots of its own",
    ),
    "key": Key(
        "`env:NAME`, `file:PATH` or `credential:NAME`",
        "Where the server's API key is; the key itself never stands here. A file must be closed "
        "to other users; `credential:` is systemd's.",
        "env:FENRIR_KEY", without="none is sent",
    ),
    "dry_run": Key(
        "`true` or `false`",
        "`true`: the autoscaler decides about this host and shows it, and leaves its limit alone.",
        "true", default="false",
    ),
}  # fmt: skip

TYPE_KEYS: Final[Keys] = {
    "run": Key(
        "list of `HOST` or `HOST/MODEL`",
        "The route: where tasks of this type may run, best first. The first that is well and has "
        "a free slot is taken. `[]` is nowhere: what waits goes on waiting (`no_host`), and new "
        "tasks of the type are refused.",
        "[skadi-code, 'fenrir-chat/qwen2.5-coder:7b']",
        without="all hosts; `general` where `reasoning` runs",
    ),
    "labels": Key(
        "list of texts",
        "Labels that mean this type, beside its own name. No label means two types.", "[l10n]",
        default="[]",
    ),
    "words": Key(
        "list of words",
        "Words of a title that mean this type, when no label says one. A word that is given here "
        "no longer means a built-in type.",
        "[traduire, translate]", without="the built-in words of the four built-in types",
    ),
    "system": Key(
        "text", "The system text of each request, unless the task brings its own.",
        "You are a translator. Answer with the translation only.", without="none",
    ),
    "options": Key(
        "section of anything that the server takes",
        "Options of each request. Those of a task come before these.",
        "{num_ctx: 8192, temperature: 0}", default="{}",
    ),
    "first_token": Key(
        _LIMIT,
        "How long the first token may take: the model's loading, the server's queue, the prompt.",
        "20m", default="10m",
    ),
    "stall": Key(_LIMIT, "How long the next token may take.", "5m", default="2m"),
    "timeout": Key(
        _LIMIT, "How long the whole run may take, unless the task says it.", "4h", default="1h"
    ),
    "command": Key(
        "list: the program and its arguments",
        "A program instead of a model. It gets the task as JSON on its standard input, and what "
        "it prints is the answer. Never through a shell. Exit status 0 closes the task, 75 is the "
        "host's fault, any other blocks it. A command that fails again and again stops alone: other "
        "types go on there.",
        "[/usr/local/bin/ocr, --fast]", without="a model answers",
    ),
    "cwd": Key(
        "path", "The command's working folder.", "work", without="the dispatcher's own"
    ),
    "environment": Key(
        "list of names",
        "Environment variables that the command may see beside `PATH`, `HOME`, `LANG`, `LC_*`, "
        "`TZ` and `TMPDIR`.",
        "[OCR_LANGUAGE]", without="none",
    ),
    "python": Key(
        "`package.module:function`", "A Python function instead of a model.", "mytasks.triage:run",
        without="a model answers",
    ),
    "repeat": Key(
        "`true` or `false`",
        "`false`: a task that may have begun is not run again after a crash or a host's failure. "
        "It is blocked, for a person to look at.",
        "false", default="true",
    ),
    "done": Key(
        "`close` or `review`",
        "What becomes of an issue of Beads once it is answered: closed, or labelled `ygg-answered` "
        "and left open for a person to look at.",
        "review", without="as `done` of `beads:` says",
    ),
}  # fmt: skip

DISPATCHER_KEYS: Final[Keys] = {
    "listen": Key(
        "`HOST:PORT` or `unix:PATH`, or a list of them",
        "Where the HTTP interface listens. An IPv6 address wants quotes. An address that other "
        "machines reach needs `token_from`.",
        "[127.0.0.1:8765, 'unix:/run/ygg/ygg.sock']", default="127.0.0.1:8765",
    ),
    "names": Key(
        "list of names or addresses, without ports",
        "What a reverse proxy in front, or DNS, calls it: requests for any other name are "
        "refused. With one, all need a token: through a proxy everybody comes by loopback.",
        "[ygg.example.org]", default="[]",
    ),
    "token": Key(
        "`remote` or `always`",
        "Who needs a token: who comes by an address that other machines reach, or everybody.",
        "always", default="remote",
    ),
    "token_from": Key(
        "`env:NAME`, `file:PATH` or `credential:NAME`",
        "Where the tokens are, one a line; `ygg token new` makes one. A token itself never stands "
        "here. Read at the start.",
        "file:/etc/ygg/tokens", without="there are none, and only this machine is let in",
    ),
    "store": Key(
        "`sqlite:PATH`", "The file with the tasks.", "sqlite:/var/lib/ygg/ygg.db",
        without="`ygg.db` in the state folder",
    ),
    "state": Key(
        "path", "The folder of store and answers.", ".ygg",
        without="`./.ygg` in a checkout, `/var/lib/ygg` as a service that systemd gives it, else "
        "`~/.local/state/ygg`",
    ),
    "drain_seconds": Key(
        "duration, from 0 to 1d", "What runs may go on for so long after SIGINT or SIGTERM.", "2m",
        default="60",
    ),
    "after_drain": Key(
        "`block` or `reopen`",
        "What then becomes of the rest: blocked, for `ygg retry --drained`; or back to its place, "
        "for restarts that need no hand.",
        "reopen", default="block",
    ),
    "poll_seconds": Key(
        "duration, from 0.1 to 1h",
        "The safety net: how often to look although nothing was said.", "10", default="2",
    ),
    "max_strikes": Key(
        "whole number, from 1 to 1000",
        "So many attempts that may have hurt a host, or a dispatcher, block a task.", "5",
        default="3",
    ),
    "artifacts": Key(
        "path", "The folder of the answers.", "/srv/answers",
        without="`artifacts` in the state folder",
    ),
    "retention": Key(
        "section", "How long what has ended is kept.", "{closed: 30d, journal: forever}",
        default="{closed: 90d, artifacts: 90d, journal: 90d}",
    ),
}  # fmt: skip

RETENTION_KEYS: Final[Keys] = {
    "closed": Key(_KEPT, "Tasks that are closed.", "30d", default="90d"),
    "artifacts": Key(_KEPT, "Answers, as files.", "forever", default="90d"),
    "journal": Key(_KEPT, "Rows of the journal.", "1d", default="90d"),
}

BEADS_KEYS: Final[Keys] = {
    "path": Key(
        "path", "The folder of the project: the one with `.beads` in it.", "~/work/project",
        without="found from the working folder upwards",
    ),
    "actor": Key(
        "name without blanks",
        "Who claims issues. It must stay the same: what an earlier name claimed is somebody else's.",
        "ygg@skadi", without="`ygg@` and the name of the machine",
    ),
    "labels": Key(
        "list of texts",
        "Issues with one of these labels are taken, and those with a label that means a type. Not "
        "beside `take: all`.",
        "[for-ygg]", default="[]",
    ),
    "take": Key(
        "`labelled` or `all`",
        "`all`: every issue that is ready is taken, labelled or not. Epics are never taken.", "all",
        default="labelled",
    ),
    "done": Key(
        "`close` or `review`",
        "What becomes of an issue once it is answered, unless its type says otherwise: closed, or "
        "labelled `ygg-answered` and left open, and not taken again until a person removes that "
        "label.",
        "review", default="close",
    ),
    "poll_seconds": Key(
        "duration, from 1 to 1h",
        "The safety net: how often to look although nothing changed in `.beads/`. A look costs "
        "half a second of a processor.",
        "5m", without="60; 10 where bd talks to a server and nothing changes on this disk",
    ),
    "command": Key(
        "program", "The `bd` to run: a name that is looked for in `PATH`, or a path.",
        "/usr/local/bin/bd", default="bd",
    ),
    "timeout": Key(
        "duration, from 1 to 1h",
        "One call may take so long; then it is ended, and made again later. `bd` itself may wait "
        "for a lock for 20 to 60 seconds.",
        "2m", default="60s",
    ),
}  # fmt: skip
