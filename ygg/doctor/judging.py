"""What a host's answers mean for what hosts.yaml says of it. Pure.

Asking the host is hosts.py's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ygg.doctor.findings import Finding, ok, warning, wrong
from ygg.fleet import Fleet, HostSettings, TypeSettings
from ygg.hosts.base import Identity, Loaded, Product
from ygg.hosts.ollama import has_name
from ygg.yamlreader import near

#: Of what a server has so many names are told.
_NAMED_MAX = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A host as the file has it, and what the file wants of it."""

    host: HostSettings
    #: Models of routes that lead here, and the default; "" is the only model, whatever its name.
    #: Of each the type that first asks for it: its options are what the model is loaded with.
    models: Mapping[str, TypeSettings]
    #: Where the host stands in the file: FILE:LINE.
    place: str

    @property
    def limit(self) -> int:
        """The most tasks that ygg may send here at once, by the file."""
        slots = self.host.slots
        return slots.pin or max(slots.start, slots.max or 0)


def wanted_of(fleet: Fleet, name: str) -> Wanted:
    host = fleet.hosts[name]
    found: dict[str, TypeSettings] = {}
    for type_ in fleet.types.values():
        for option in type_.run:
            if option.host == name:
                found.setdefault(option.model, type_)
    if host.model is not None:
        found.setdefault(host.model, TypeSettings(name="(none)"))
    return Wanted(host=host, models=found, place=f"{fleet.file}:{host.line}")


def able(wanted: Wanted, identity: Identity, names: Sequence[str]) -> list[str]:
    """The wanted models that are there; "" is there if there is just one."""
    return [
        model
        for model in wanted.models
        if (len(names) == 1 if model == "" else has_name(names, model) or _takes_any(identity))
    ]


def homeless(fleet: Fleet, able: Mapping[str, Collection[str] | None]) -> Iterator[Finding]:
    """Types none of whose options is there. `able`: by host its models, None where unknown."""
    for type_ in fleet.types.values():
        if not type_.run:
            yield warning(
                f"type {type_.name} runs nowhere: its `run:` is empty, and its tasks wait (no_host)",
                f"name a host at {fleet.file}:{type_.line or 1}",
            )
            continue
        found = [able.get(option.host) for option in type_.run]
        if (
            type_.command is None
            and type_.python is None
            and all(
                models is not None and option.model not in models
                for option, models in zip(type_.run, found, strict=True)
            )
        ):
            route = ", ".join(map(str, type_.run))
            yield warning(
                f"type {type_.name} could run nowhere: no host of its route has its model ({route})",
                f"load the model there, or write another route at {fleet.file}:{type_.line or 1}",
            )


def _takes_any(identity: Identity) -> bool:
    """llama.cpp with one model takes any name, and answers with what it has."""
    return identity.product is Product.LLAMA_CPP and identity.slots is not None


def models(wanted: Wanted, identity: Identity, names: Sequence[str]) -> Iterator[Finding]:
    """Whether what is wanted is there. `names`: what the server says it has."""
    host, place = wanted.host, wanted.place
    if not names:
        yield wrong("it has no model at all", _get("MODEL", host, identity, place))
        return
    for model in wanted.models:
        if model == "":
            yield _only_model(names, place)
        elif has_name(names, model):
            yield ok(f"it has {model}")
        elif _takes_any(identity):
            yield warning(
                f"it answers with {names[0]}, whatever the name, and the file says {model}",
                f"write `model: {names[0]}` at {place}, or start it with that model",
            )
        else:
            known = near(model, names) if len(names) <= _NAMED_MAX or _is_near(model, names) else ""
            yield wrong(
                f"it has no model {model} (it has: {_list(names)})",
                f"{_get(model, host, identity, place)}{f'; {known}' if known else ''}",
            )


def _is_near(model: str, names: Sequence[str]) -> bool:
    return near(model, names).startswith("did you mean")


def _only_model(names: Sequence[str], place: str) -> Finding:
    if len(names) == 1:
        return ok(f"it has one model, {names[0]}, for tasks that name none")
    return wrong(
        f"it has {len(names)} models, and the file does not say which is for tasks that name none",
        f"write `model: {names[0]}` or another of {_list(names)} at {place}",
    )


def _list(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _NAMED_MAX else ""
    return ", ".join(names[:_NAMED_MAX]) + more


def _get(model: str, host: HostSettings, identity: Identity, place: str) -> str:
    if identity.product is Product.OLLAMA:
        return f"OLLAMA_HOST={host.url} ollama pull {model}, or correct the name at {place}"
    return f"start {identity.product} with {model}, or correct the name at {place}"


def slots(wanted: Wanted, identity: Identity, *, measured: bool = False) -> Iterator[Finding]:
    """Whether more tasks are sent than the server runs at once.

    `measured`: what it does not say is measured, and told by that.
    """
    host, place = wanted.host, wanted.place
    if host.shares is not None:
        yield ok(f"it shares the slots of {host.shares}")
        return
    said, limit = identity.slots, wanted.limit
    if said is None:
        if identity.product is Product.OLLAMA and limit > 1 and not measured:
            yield warning(
                f"up to {limit} tasks are sent at once, and Ollama runs 1 unless "
                "OLLAMA_NUM_PARALLEL is set where it runs, which can't be asked",
                f"ygg doctor --measure {host.name}",
            )
        else:
            yield ok(f"up to {limit} at once; it does not say how many it runs")
    elif limit <= said:
        yield ok(f"up to {limit} at once, and it runs {said}")
    else:
        key = "pin" if host.slots.pin is not None else "max" if host.slots.max else "start"
        yield wrong(
            f"slots {key} {limit}, and it runs {said} at once: the rest would queue inside it, "
            "where priorities don't count",
            f"write `{key}: {said}` at {place}, or {_more(identity, limit)}",
        )


def _more(identity: Identity, limit: int) -> str:
    """How a server is made to run more at once."""
    match identity.product:
        case Product.OLLAMA:
            return f"set OLLAMA_NUM_PARALLEL={limit} where it runs, and restart it"
        case Product.LLAMA_CPP:
            return f"start llama-server with --parallel {limit}"
        case Product.VLLM:
            return f"start vLLM with --max-num-seqs {limit} or more"
        case Product.SGLANG:
            return f"start SGLang with --max-running-requests {limit} or more"
        case Product.OTHER:
            return f"set it to run {limit} at once"


def memory(loaded: Sequence[Loaded]) -> Iterator[Finding]:
    """What part of the loaded models is not on the GPU."""
    for model in loaded:
        off = model.memory_bytes - model.gpu_memory_bytes
        if model.gpu_memory_bytes and off > 0:
            yield warning(
                f"{off / model.memory_bytes:.0%} of {model.model} is not on the GPU: it is slow",
                "take a smaller model or quantization, a smaller num_ctx, or fewer slots there",
            )


def measured(wanted: Wanted, identity: Identity, asked: int, found: int | None) -> Finding:
    """What it means that of so many requests at once so many ran together."""
    limit, place = wanted.limit, wanted.place
    if found is None:
        return warning(
            f"{asked} requests at once were answered too fast, or too shortly, to tell how many "
            "ran together",
            f"ygg doctor --measure {wanted.host.name}, once more or with a larger model",
        )
    least = "at least " if found == asked else ""
    seen = f"of {asked} requests at once it ran {least}{found} together"
    if found >= min(limit, asked):
        return ok(f"{seen}; up to {limit} are sent")
    return wrong(
        f"{seen}, and up to {limit} are sent: the rest queues inside it, where priorities don't "
        "count",
        f"{_more(identity, limit)}, or write `slots: {{start: {found}, max: {found}}}` at {place}",
    )


def clock(skew_seconds: float) -> Iterator[Finding]:
    """How far its clock is from ours, as far as whole seconds tell."""
    if abs(skew_seconds) > 10:
        ahead = "ahead of" if skew_seconds > 0 else "behind"
        yield warning(
            f"its clock is {abs(skew_seconds):.0f} s {ahead} this machine's",
            "timedatectl set-ntp true, on the one that is wrong",
        )
