"""Fleets as Hypothesis draws them: every setting, sound by itself; and one setting changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import strategies as st

from ygg.fleet import (
    BeadsSettings,
    DispatcherSettings,
    Fleet,
    GpuSettings,
    HostSettings,
    Option,
    Retention,
    SlotSettings,
    TypeSettings,
)
from ygg.tasks import Json

NAMES = st.sampled_from(["surtr", "fenrir", "skadi", "loki", "10.0.0.7"])
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8
) | st.just("long " * 20)
MODELS = st.sampled_from(["", "qwen2.5:7b", "deepseek-r1:8b", "org/model"])
_SPANS = st.floats(0.001, 1e6, allow_nan=False)
_JSON: st.SearchStrategy[Json] = st.sampled_from(
    [None, True, 7, 0.5, "text", ["a", 1], {"a": {"b": None}}]
)

SLOTS = st.builds(
    SlotSettings, start=st.integers(1, 9), min=st.integers(1, 9),
    max=st.none() | st.integers(1, 9), pin=st.none() | st.integers(1, 9),
)  # fmt: skip
GPUS = st.builds(
    GpuSettings, port=st.none() | st.integers(1, 65535), exporter=st.none() | TEXTS,
    device=st.none() | st.integers(0, 7), memory=st.sampled_from([None, "nvml", "kv", "off"]),
)  # fmt: skip
RETENTIONS = st.builds(
    Retention, closed=st.none() | _SPANS, artifacts=st.none() | _SPANS, journal=st.none() | _SPANS
)
#: Of each field of each part, what it may be.
HOST: Mapping[str, st.SearchStrategy[Any]] = {
    "url": TEXTS, "api": st.sampled_from([None, "ollama", "openai"]), "model": st.none() | MODELS,
    "slots": SLOTS, "shares": st.none() | NAMES, "key": st.none() | TEXTS,
    "keep_alive": st.none() | TEXTS, "gpu": GPUS, "dry_run": st.booleans(),
    "line": st.integers(0, 99),
}  # fmt: skip
TYPE: Mapping[str, st.SearchStrategy[Any]] = {
    "run": st.lists(st.builds(Option, NAMES, MODELS, st.just("")), max_size=3).map(tuple),
    "labels": st.lists(TEXTS, max_size=2).map(tuple),
    "words": st.lists(TEXTS, max_size=2).map(tuple),
    "system": st.none() | TEXTS, "options": st.dictionaries(TEXTS, _JSON, max_size=2),
    "first_token": _SPANS, "stall": _SPANS, "timeout": _SPANS,
    "command": st.none() | st.lists(TEXTS, max_size=2).map(tuple), "cwd": st.none() | TEXTS,
    "environment": st.lists(TEXTS, max_size=2).map(tuple), "python": st.none() | TEXTS,
    "repeat": st.booleans(), "done": st.sampled_from([None, "close", "review"]),
    "line": st.integers(0, 99),
}  # fmt: skip
DISPATCHER: Mapping[str, st.SearchStrategy[Any]] = {
    "listen": st.lists(TEXTS, min_size=1, max_size=3).map(tuple),
    "names": st.lists(TEXTS, max_size=3).map(tuple),
    "token": st.sampled_from(["remote", "always"]), "token_from": st.none() | TEXTS,
    "store": st.none() | TEXTS,
    "state": st.none() | st.just(Path("/var/lib/ygg")) | st.just(Path("state")),
    "drain_seconds": _SPANS, "after_drain": st.sampled_from(["block", "reopen"]),
    "poll_seconds": _SPANS, "max_strikes": st.integers(1, 9),
    "artifacts": st.none() | st.just(Path("/srv/answers")), "retention": RETENTIONS,
}  # fmt: skip

BEADS: Mapping[str, st.SearchStrategy[Any]] = {
    "path": st.none() | st.just(Path("/srv/project")) | st.just(Path("project")),
    "actor": st.none() | TEXTS, "labels": st.lists(TEXTS, max_size=2).map(tuple),
    "take": st.sampled_from(["labelled", "all"]), "done": st.sampled_from(["close", "review"]),
    "poll_seconds": _SPANS, "command": TEXTS, "timeout": _SPANS,
}  # fmt: skip


@st.composite
def hosts(draw: st.DrawFn, name: str) -> HostSettings:
    return HostSettings(name=name, **{key: draw(how) for key, how in HOST.items()})


@st.composite
def types(draw: st.DrawFn, name: str) -> TypeSettings:
    return TypeSettings(name=name, **{key: draw(how) for key, how in TYPE.items()})


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    names = draw(st.lists(NAMES, unique=True, max_size=3))
    kinds = draw(st.lists(st.sampled_from(["general", "ocr", "reasoning"]), unique=True))
    return Fleet(
        file="hosts.yaml",
        hosts={name: draw(hosts(name)) for name in names},
        types={name: draw(types(name)) for name in kinds},
        dispatcher=DispatcherSettings(**{key: draw(how) for key, how in DISPATCHER.items()}),
        beads=BeadsSettings(**{key: draw(how) for key, how in BEADS.items()}),
        autoscaler=draw(st.dictionaries(st.sampled_from(["dry_run", "listen"]), _JSON)),
    )


P = TypeVar("P", HostSettings, TypeSettings, DispatcherSettings, BeadsSettings)


@st.composite
def changed(draw: st.DrawFn, part: P, how: Mapping[str, st.SearchStrategy[Any]]) -> P:
    """The same part with one field that is another, and it is not the line."""
    name = draw(st.sampled_from(sorted(set(how) - {"line"})))
    before = getattr(part, name)
    return replace(part, **{name: draw(how[name].filter(lambda value: value != before))})
