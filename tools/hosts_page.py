"""docs/hosts-yaml.md out of the tables by which the reader knows its keys."""

from __future__ import annotations

from typing import Final

from tools import markdown
from ygg.autoscalerfile import AUTOSCALER_KEYS
from ygg.changes import AT_START, BEADS_AT_START
from ygg.fleet import BUILT_IN_TYPES
from ygg.hostskeys import (
    BEADS_KEYS,
    DISPATCHER_KEYS,
    GPU_KEYS,
    HOST_KEYS,
    RETENTION_KEYS,
    SHARED_KEYS,
    SLOT_KEYS,
    TOP_KEYS,
    TYPE_KEYS,
    Key,
    Keys,
)

_TOP: Final = """\
# hosts.yaml, key by key

<!-- Made by `make docs` out of ygg/hostskeys.py and ygg/autoscalerfile.py. Edit those. -->

`hosts.yaml` says which model servers there are, what may run where, and how the dispatcher
behaves. The one in the [root of the repository](../hosts.yaml) is a commented example with every
key. `ygg check` reads the file and prints every mistake at once, each with its line and the way
out.

ygg takes the file that `--hosts FILE` names, else `YGG_HOSTS`, else `hosts.yaml` in the current
folder, else `~/.config/ygg/hosts.yaml`, else `/etc/ygg/hosts.yaml`.

How values are written:

- **Durations** are seconds, or texts such as `500ms`, `90s`, `10m`, `1h30m`, `2d`.
- **Paths** that are relative start at the folder of the file. `~` is the user's home.
- **Yes and no** are `true` and `false`. Where a text is meant, quote `yes`, `no`, `on`, `off`.
- There are no YAML anchors, aliases or tags here. The file is UTF-8 and at most 1 MiB.
- A key that is not listed here is a mistake. The message names the nearest one.

## While it runs

The dispatcher looks at the file twice a second and takes a change over within a second or so, in
place or by a rename; `kill -HUP` has it read at once. All of a change counts from one moment on,
and no running task is touched:

- A new host starts what waits, once it has answered. One that is taken out ends what it runs, gets
  nothing more, and is then gone from `ygg status` and the metrics. Behind a changed `url`, `api`
  or `key` another server may stand: it is asked before it gets tasks.
- Limits, bounds, pins, routes, models, timeouts and all else of hosts and types count from the next
  start of a task on. An edited `slots: {start: ...}` is the limit at once; a smaller limit stops
  nothing. A `pin` wins over the autoscaler until it is deleted; then the limit of before holds.
- Tasks whose last host or type was taken out (`run: []` is a route to nowhere) stay open with the
  reason `no_host`, and start when one returns.
- A bad edit changes nothing. `ygg status`, the log and `ygg_config_last_reload_successful` 0 say
  so, with file and line.
- Of `dispatcher:` and `beads:` these count at a restart only, and until then `ygg status` says so:
  AT_START.

The autoscaler follows the file too, and keeps what it learned of hosts that stay as they are.
`ygg check` on a copy says what a change would do, and how many waiting tasks would have no host:

```sh by-hand
cp hosts.yaml new.yaml
${EDITOR:-vi} new.yaml
ygg check --hosts new.yaml && mv new.yaml hosts.yaml
```
"""
_SECTIONS: Final[tuple[tuple[str, str, Keys], ...]] = (
    ("The left margin", "The file's sections.", TOP_KEYS),
    ("`defaults:`", "These hold for every host that does not say otherwise.", SHARED_KEYS),
    (
        "A host: `hosts: {NAME: ...}`",
        "Each key stands below the host's name. Only `url` is required.",
        HOST_KEYS,
    ),
    (
        "`slots:` of a host, or of `defaults:`",
        "`min` <= `start` <= `max`, and a pin between `min` and `max`.",
        SLOT_KEYS,
    ),
    (
        "`gpu:` of a host, or of `defaults:`",
        "The autoscaler and `ygg doctor` read these.",
        GPU_KEYS,
    ),
    (
        "A type: `types: {NAME: ...}`",
        (
            "A task's type is the one that the submit names; else that of its first label that "
            "means one; else the first type, in the order of the file, that has a word of the "
            "title; else `general`. A type that is not in the file, or has no `run`, runs on all "
            "hosts; `general` without one runs where `reasoning` does. Beside a `command` no "
            "`system`, `options` or `python` may stand: it would never see them. `cwd` and "
            "`environment` stand only beside a `command`."
        ),
        TYPE_KEYS,
    ),
    ("`dispatcher:`", "All keys may be left out.", DISPATCHER_KEYS),
    ("`retention:` of `dispatcher:`", "What is older is deleted.", RETENTION_KEYS),
    (
        "`beads:`",
        (
            "Tasks out of a [Beads](https://github.com/gastownhall/beads) project, by its command "
            "line `bd`. All keys may be left out. An issue is taken that has a label which means a "
            "type, or one of `labels`; everything only by `take: all`, in writing."
        ),
        BEADS_KEYS,
    ),
    (
        "`autoscaler:`",
        "The constants of its rule. All keys may be left out; most people never need one.",
        AUTOSCALER_KEYS,
    ),
)


def page() -> str:
    parts = [_TOP.replace("AT_START", _at_start())]
    for heading, text, keys in _SECTIONS:
        parts.append(f"## {heading}\n\n{text}\n\n{_table(keys)}")
        if keys is TYPE_KEYS:
            parts.append(_built_in())
    return "\n".join(parts)


def _at_start() -> str:
    return ", ".join([
        *(f"`{name}`" for name in AT_START if name in DISPATCHER_KEYS),
        *(f"`{name}` of `beads:`" for name in BEADS_AT_START if name in BEADS_KEYS),
    ])  # fmt: skip


def _table(keys: Keys) -> str:
    rows = [
        (f"`{name}`", key.form, _otherwise(key), key.means, f"`{name}: {key.example}`")
        for name, key in keys.items()
    ]
    return markdown.table(["key", "what may stand there", "default", "means", "example"], rows)


def _otherwise(key: Key) -> str:
    return f"`{key.default}`" if key.default else key.without


def _built_in() -> str:
    rows = [
        (f"`{name}`", ", ".join(words) or "none: what nothing else claims")
        for name, words in BUILT_IN_TYPES.items()
    ]
    text = "The built-in types, in the order in which their words are looked for:"
    return f"{text}\n\n{markdown.table(['type', 'words of a title that mean it'], rows)}"
