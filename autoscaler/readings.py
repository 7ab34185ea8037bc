"""What the pages of other programs say of a host, in the rule's units. Pure.

Three kinds of page: a GPU exporter's (its dialects are exporters.py's), a model server's own, and
the dispatcher's. What can't be read raises `NoReading` with words for a person; what can be read
and is absurd is refused later, by the windows. When a page was fetched, and from where, is left to
the loop.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ygg.exporters import DIALECTS, Card, read_page, samples

#: What a host's page must have, or nothing can be decided about it.
_NEEDED: Final = (
    "ygg_host_slots_limit", "ygg_host_slots_min", "ygg_host_slots_max", "ygg_host_slots_active",
)  # fmt: skip
_UP: Final = "ygg_host_up"
_PAUSED: Final = "ygg_host_paused"
_PINNED: Final = "ygg_host_slots_pinned"
_DEMAND: Final = "ygg_host_demand_tasks"
_OLDEST: Final = "ygg_host_oldest_wait_seconds"
_TOKENS: Final = "ygg_tokens_total"
_RUNS: Final = "ygg_host_runs_total"
_RUN_SECONDS: Final = "ygg_host_run_seconds_total"
_FAILURES: Final = "ygg_host_failures_total"
_SERVER_WAIT: Final = "ygg_host_server_wait_seconds_total"
_MODEL_MEMORY: Final = "ygg_host_model_memory_bytes"
#: Everything that is taken from the dispatcher's page.
QUEUE_NAMES: Final = frozenset(
    {
        *_NEEDED, _UP, _PAUSED, _PINNED, _DEMAND, _OLDEST, _TOKENS, _RUNS, _RUN_SECONDS,
        _FAILURES, _SERVER_WAIT, _MODEL_MEMORY,
    }
)  # fmt: skip
#: The dispatcher's own lines: their labels are names of hosts and words of closed lists. A library
#: takes ten times as long for the page of a thousand hosts.
_LINE: Final = re.compile(r"^(ygg_(?:host|tokens)_\w+)\{([^}]*)\} (\S+)", re.MULTILINE)
_HOST: Final = re.compile(r'(?:^|,)host="([^"\\]*)"')
#: Tokens of prompts come in lumps, when a task starts or ends: no measure of throughput.
_STREAMED: Final = 'direction="completion"'


class NoReading(Exception):
    """A page says nothing that can be used; the message says why and what to do."""


# -- GPU exporters -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuReading:
    """Of the one card of a host, or of several: the busiest and the fullest."""

    dialect: str
    #: 0 to 1; None: the exporter doesn't say.
    util: float | None
    #: None too where one of the cards doesn't say: it may be the fullest.
    memory: float | None
    #: So many cards say how full their memory is.
    measured: int = 0
    #: Every value of the page, to tell a frozen exporter.
    digits: tuple[str, ...] = ()


def read_gpu(text: str, device: int | None = None) -> GpuReading:
    """What an exporter's page says. `device`: which card; None: all of them. Raises NoReading."""
    page = read_page(text)
    if page.dialect is None:
        known = ", ".join(one.name for one in DIALECTS)
        raise NoReading(f"what answers is no exporter that ygg knows (known: {known})")
    name = page.dialect.name
    if not page.is_well:
        raise NoReading(f"{name} can't read the cards now: look at its log")
    if not page.cards:
        raise NoReading(f"{name} shows no GPU: is the driver there (nvidia-smi)?")
    cards = _of_device(page.cards, device)
    if not cards:
        shown = ", ".join(card.label for card in page.cards)
        raise NoReading(f"{name} does not show device {device}, but {shown}: correct `gpu:`")
    if any(card.is_absurd for card in cards):
        raise NoReading(f"{name} says what can't be: {'; '.join(page.absurd)}")
    measured = [card for card in cards if card.memory_used_ratio is not None]
    # Of a card's parts (MIG) some exporters tell nothing, and of the whole everything.
    is_whole = {_chip(card) for card in measured} == {_chip(card) for card in cards}
    busy = (card.utilization_ratio for card in cards)
    full = (card.memory_used_ratio for card in cards)
    return GpuReading(
        dialect=name,
        util=_most(busy),
        # A server spread over several cards is bounded by the fullest.
        memory=_most(full) if is_whole else None,
        measured=len(measured),
        digits=page.digits,
    )


def _of_device(cards: Sequence[Card], device: int | None) -> Sequence[Card]:
    if device is None:
        return cards
    found = [card for card in cards if card.number == str(device)]
    # Some tell cards apart by UUID only: where there is just one, it is the one that is meant.
    return found or (cards if len(cards) == 1 and not cards[0].number else ())


def _chip(card: Card) -> str:
    """Which card it is or is a part of; some exporters tell them apart by UUID only."""
    return card.number or card.label


def _most(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


# -- model servers -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class _Engine:
    name: str
    #: It takes all its memory at the start: the use of its KV cache is what counts.
    preallocates: bool
    running: str
    waiting: str
    #: Names of the KV cache's use (0 to 1), the newest first.
    kv: tuple[str, ...]
    #: A counter that moves while answers stream: it tells a frozen page from a full cache.
    moves: str
    #: A counter of requests that were put off, and must be computed again, for want of KV cache.
    preempted: str = ""


_ENGINES: Final = (
    _Engine(
        name="vLLM", preallocates=True,
        running="vllm:num_requests_running", waiting="vllm:num_requests_waiting",
        kv=("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
        moves="vllm:generation_tokens_total", preempted="vllm:num_preemptions_total",
    ),
    _Engine(
        name="SGLang", preallocates=True,
        running="sglang:num_running_reqs", waiting="sglang:num_queue_reqs",
        kv=("sglang:full_token_usage", "sglang:token_usage"),
        moves="sglang:generation_tokens_total", preempted="sglang:num_retracted_requests_total",
    ),
    _Engine(
        name="llama.cpp", preallocates=False,
        running="llamacpp:requests_processing", waiting="llamacpp:requests_deferred",
        kv=("llamacpp:kv_cache_usage_ratio",), moves="llamacpp:tokens_predicted_total",
    ),
)  # fmt: skip
ENGINE_NAMES: Final = frozenset(
    name
    for one in _ENGINES
    for name in (one.running, one.waiting, *one.kv, one.moves, one.preempted)
    if name
)


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineReading:
    """What a model server says of itself."""

    name: str
    preallocates: bool
    #: Requests that run, and that wait inside the server.
    running: float
    waiting: float
    #: Use of the KV cache, 0 to 1; None: it doesn't say.
    kv: float | None
    #: Since it started; 0 too where it doesn't say.
    preemptions: float = 0.0
    digits: tuple[str, ...] = ()


def read_engine(text: str) -> EngineReading:
    """What a model server's /metrics says. Raises NoReading."""
    values: dict[str, list[float]] = {}
    for name, _, value in samples(text, ENGINE_NAMES):
        values.setdefault(name, []).append(value)
    engine = next((one for one in _ENGINES if one.running in values), None)
    if engine is None:
        raise NoReading("the page is none of vLLM, SGLang or llama.cpp")
    # Several engines behind one server (data parallel) have a line each.
    running, waiting = sum(values[engine.running]), sum(values.get(engine.waiting, ()))
    if not all(math.isfinite(count) and count >= 0 for count in (running, waiting)):
        raise NoReading(f"{engine.name} says that {running:g} requests run and {waiting:g} wait")
    preemptions = sum(values.get(engine.preempted, ()))
    if not (math.isfinite(preemptions) and preemptions >= 0):
        raise NoReading(f"{engine.name} says that it put off {preemptions:g} requests")
    kv = next((max(values[name]) for name in engine.kv if name in values), None)
    if kv is not None and not 0 <= kv <= 1:
        raise NoReading(f"{engine.name} says that {kv:g} of its KV cache is used")
    return EngineReading(
        name=engine.name,
        preallocates=engine.preallocates,
        running=running,
        waiting=waiting,
        kv=kv,
        preemptions=preemptions,
        digits=tuple(repr(value) for name in sorted(values) for value in values[name]),
    )


# -- the dispatcher ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueReading:
    """What the dispatcher says of the hosts that share one semaphore, together."""

    limit: int
    min: int
    max: int
    is_pinned: bool
    #: Whether any of them is there, and whether any of those may take work.
    up: bool
    paused: bool
    active: int
    waiting: int
    oldest_wait: float
    #: None: no token was ever counted here.
    tokens_total: float | None
    runs_total: float
    run_seconds_total: float
    failures_total: float
    server_wait_seconds_total: float | None
    model_memory: float | None


#: Of each host, its series summed over all other labels.
HostValues = Mapping[str, Mapping[str, float]]


def read_hosts(text: str) -> HostValues:
    """The dispatcher's page by host. Raises NoReading if it is none."""
    hosts: dict[str, dict[str, float]] = {}
    for name, labels, value in _LINE.findall(text):
        if name not in QUEUE_NAMES or (name == _TOKENS and _STREAMED not in labels):
            continue
        host = _HOST.search(labels)
        if host is None:
            continue
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        values = hosts.setdefault(host[1], {})
        values[name] = values.get(name, 0.0) + number
    if not hosts:
        raise NoReading("what answers is no page of ygg's dispatcher: look at --url and YGG_URL")
    return hosts


def read_queue(hosts: HostValues, members: Sequence[str]) -> QueueReading:
    """One semaphore's, whose owner stands first in `members`. Raises NoReading."""
    there = [hosts[name] for name in members if name in hosts]
    if members[0] not in hosts:
        raise NoReading("the dispatcher has no such host: does it run with this hosts.yaml?")
    owner = hosts[members[0]]
    limit, least, most, _ = (_whole(owner, name) for name in _NEEDED)
    up = [one for one in there if one.get(_UP, 0.0) > 0]
    return QueueReading(
        limit=limit,
        min=least,
        max=most,
        is_pinned=owner.get(_PINNED, 0.0) > 0,
        up=bool(up),
        paused=bool(up) and all(one.get(_PAUSED, 0.0) > 0 for one in up),
        active=sum(_whole(one, "ygg_host_slots_active") for one in there),
        # A task that could start on either counts for both: the sum would count it twice.
        waiting=max(_whole(one, _DEMAND, 0.0) for one in there),
        oldest_wait=max(one.get(_OLDEST, 0.0) for one in there),
        tokens_total=_sum(there, _TOKENS),
        runs_total=_sum(there, _RUNS) or 0.0,
        run_seconds_total=_sum(there, _RUN_SECONDS) or 0.0,
        failures_total=_sum(there, _FAILURES) or 0.0,
        server_wait_seconds_total=_sum(there, _SERVER_WAIT),
        model_memory=_sum(there, _MODEL_MEMORY),
    )


def _whole(values: Mapping[str, float], name: str, default: float | None = None) -> int:
    number = values.get(name, default)
    if number is None:
        raise NoReading(f"the dispatcher's page has no {name} of it")
    if not math.isfinite(number) or number != int(number) or number < 0:
        raise NoReading(f"the dispatcher says that {name} is {number:g}")
    return int(number)


def _sum(hosts: Sequence[Mapping[str, float]], name: str) -> float | None:
    found = [one[name] for one in hosts if name in one]
    return sum(found) if found else None
