"""From what servers say to a proposed fleet, every guess with its reason. Pure.

Asking servers is left to asking.py, people to dialogue.py, the file's text to writing.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, NamedTuple

from ygg.exporters import Card
from ygg.fleet import BUILT_IN_TYPES, FALLBACK_TYPE, Option
from ygg.hosts.base import Api, Identity, Product
from ygg.setup.guessing import host_name, key_variable, kind_of

#: Where a type goes for which no model is made: to models of the first of these that there are.
_NEXT_BEST: Final[Mapping[str, tuple[str, ...]]] = {
    "code-generation": ("general", "text-processing", "reasoning"),
    "text-processing": ("general", "reasoning", "code-generation"),
    "reasoning": ("general", "text-processing", "code-generation"),
    "general": ("reasoning", "text-processing", "code-generation"),
}
#: A card fuller than this while nothing runs on it is so by design.
_FULL_RATIO: Final = 0.90
_IDLE_RATIO: Final = 0.05
#: No model's name is longer.
_NAME_MAX: Final = 200
#: vLLM and SGLang run hundreds at once; their memory decides, and the autoscaler watches that.
_BATCHING_START, _BATCHING_MAX = 4, 32


class Model(NamedTuple):
    name: str
    #: It is in the server's memory now.
    is_loaded: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """What was learned of one server."""

    url: str
    #: None: it does not say without a key.
    identity: Identity | None = None
    models: Sequence[Model] = ()
    needs_key: bool = False
    #: Where its key is, as a person said: env:NAME, ...
    key: str | None = None
    #: Address of its machine's GPU exporter, if one answered, and what that says.
    exporter: str | None = None
    exporter_is_usual: bool = True
    cards: Sequence[Card] = ()

    def with_key(self, where: str) -> Server:
        return replace(self, needs_key=True, key=where)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What a person said of a host; None: nothing."""

    name: str | None = None
    model: str | None = None
    types: Sequence[str] | None = None
    slots: int | None = None
    key: str | None = None


NO_WISH: Final = Wish()


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    memory: Literal["kv", "off"] | None = None
    exporter: str | None = None
    #: Each a sentence.
    reasons: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """A host as proposed."""

    name: str
    url: str
    #: What it is, in words.
    what: str
    api: Api | None
    model: str | None
    #: Others of its models that answer prompts.
    others: Sequence[str]
    #: Type to the model that does it here; "" is a model that is not known yet.
    types: Mapping[str, str]
    slots: int
    slots_max: int
    slots_reason: str
    key: str | None = None
    gpu: Gpu = Gpu()


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    hosts: Sequence[Host]
    #: Options by type, in the order of the file.
    routes: Mapping[str, Sequence[Option]] = field(default_factory=dict)


def propose(servers: Sequence[Server], wishes: Sequence[Wish] = ()) -> Plan:
    """A fleet of these servers; the n-th wish is about the n-th server."""
    hosts: list[Host] = []
    wanted = {wish.name for wish in wishes if wish.name is not None}
    for number, server in enumerate(servers):
        wish = wishes[number] if number < len(wishes) else NO_WISH
        hosts.append(propose_host(server, wish, {*wanted, *(host.name for host in hosts)}))
    return Plan(hosts=hosts, routes=_routes(hosts))


def propose_host(server: Server, wish: Wish, taken: Collection[str]) -> Host:
    """One host. `taken`: names that others have, or were asked to have."""
    able = [m for m in server.models if fits(m.name) and kind_of(m.name) is not None]
    able.sort(key=lambda model: not model.is_loaded)  # what is loaded is what is used there
    model = wish.model or (able[0].name if able else None)
    kind = None if model is None else kind_of(model)
    name = wish.name or host_name(server.url, kind, taken)
    slots, most, reason = _slots(server.identity, wish.slots)
    key = wish.key or server.key or (f"env:{key_variable(name)}" if server.needs_key else None)
    return Host(
        name=name,
        url=server.url,
        what=_what(server),
        api=None if server.identity is None else server.identity.api,
        model=model,
        others=[other.name for other in able if other.name != model],
        types=_types(model, [one.name for one in able], wish.types),
        slots=slots,
        slots_max=most,
        slots_reason=reason,
        key=key,
        gpu=_gpu(server),
    )


def fits(model: str) -> bool:
    """Whether a name can stand in hosts.yaml: servers may say anything."""
    return model.isprintable() and model == model.strip() != "" and len(model) <= _NAME_MAX


def _what(server: Server) -> str:
    if server.identity is None:
        return "does not say what it is without a key"
    return str(server.identity)


def _types(
    model: str | None, able: Sequence[str], wished: Sequence[str] | None
) -> Mapping[str, str]:
    """What this host is for: of each type the first model made for it, the default before all."""
    made: dict[str, str] = {}
    for name in ([model] if model else []) + list(able):
        kind = kind_of(name)
        if kind is not None:
            made.setdefault(kind, name)
    if wished is None:
        return made
    return {type_: made.get(type_, model or "") for type_ in wished}


def _slots(identity: Identity | None, wished: int | None) -> tuple[int, int, str]:
    """Start, max and why."""
    said = None if identity is None else identity.slots
    if wished is not None:
        if said is not None and wished > said:
            return said, said, f"{wished} were wished for, but it runs {said}"
        return wished, said or wished, "you said so"
    if said is not None:
        return said, said, f"it says that it runs {said}"
    match None if identity is None else identity.product:
        case Product.OLLAMA:
            return (
                1,
                1,
                (
                    "Ollama runs one request at a time unless OLLAMA_NUM_PARALLEL is set where it "
                    "runs, which can't be asked: with it, write that number (`ygg doctor --measure`)"
                ),
            )
        case Product.VLLM | Product.SGLANG:
            return (
                _BATCHING_START,
                _BATCHING_MAX,
                (
                    "it runs hundreds at once, as many as its KV cache holds: raise `max` if it idles"
                ),
            )
        case _:
            return 1, 1, "it does not say how many it runs at once (`ygg doctor --measure`)"


def _gpu(server: Server) -> Gpu:
    reasons: list[str] = []
    memory: Literal["kv", "off"] | None = None
    if server.identity is not None and server.identity.preallocates:
        memory = "kv"
        reasons.append(
            f"{server.identity.product} takes the card's memory whole at its start: how full its "
            "KV cache is says more"
        )
    elif (card := _full_at_rest(server.cards)) is not None:
        memory = "off"
        reasons.append(
            f"{card}: so full at rest it is by design, and says nothing about how much fits; "
            "the autoscaler does not look at it"
        )
    if len(server.cards) > 1:
        reasons.append(
            f"The exporter shows {len(server.cards)} cards: `device: N` names the one it uses"
        )
    exporter = None if server.exporter_is_usual else server.exporter
    return Gpu(memory=memory, exporter=exporter, reasons=reasons)


def _full_at_rest(cards: Sequence[Card]) -> Card | None:
    full = [
        card
        for card in cards
        if card.memory_used_ratio is not None
        and card.memory_used_ratio > _FULL_RATIO
        and card.utilization_ratio is not None
        and card.utilization_ratio <= _IDLE_RATIO
    ]
    return max(full, key=lambda card: card.memory_used_ratio or 0.0, default=None)


def _routes(hosts: Sequence[Host]) -> Mapping[str, Sequence[Option]]:
    """A route for each built-in type and each that was asked for."""
    names = dict.fromkeys([*BUILT_IN_TYPES, *(type_ for host in hosts for type_ in host.types)])
    routes: dict[str, Sequence[Option]] = {}
    for type_ in names:
        choices = (type_, *_NEXT_BEST.get(type_, (FALLBACK_TYPE, "reasoning")))
        found = (list(_made_for(hosts, choice)) for choice in choices)
        everywhere = [Option(host.name, host.model or "") for host in hosts]
        routes[type_] = next((options for options in found if options), everywhere)
    return routes


def _made_for(hosts: Sequence[Host], type_: str) -> Iterator[Option]:
    for host in hosts:
        if type_ in host.types:
            yield Option(host.name, host.types[type_])
