"""GPU exporters' pages: which exporter wrote one, and what it says of each card. Pure.

For people who set hosts up, and for the autoscaler; windows, freshness and decisions are left to
it. A dialect is known by whole names with known units, never by a port and never by a name that
only looks right.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

MIB: Final = 2**20
#: Nearly every line: labels without a backslash, a plain number. The library takes ten times as
#: long, which counts where hundreds of pages are read every few seconds; it has all other lines.
_PLAIN: Final = re.compile(
    r'[a-zA-Z_:][a-zA-Z0-9_:]* *(?:\{(?P<labels>(?:[a-zA-Z_][a-zA-Z0-9_]*="[^"\\\n]*",?)*)\})?'
    r" +(?P<value>[-+.0-9eE]+|NaN|[-+]Inf)(?: +-?[0-9]+)? *"
)
_LABEL: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="([^"]*)"')


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """One exporter's names. A name that is empty: it does not say that."""

    name: str
    utilization: str
    #: What a busy card's utilization reads: 1 or 100.
    full: float = 100.0
    used: str = ""
    free: str = ""
    reserved: str = ""
    total: str = ""
    #: Bytes in one of its units of memory.
    unit: float = 1.0
    #: Where it gives memory only as a share: the name, of 100.
    used_percent: str = ""
    #: Utilization by another name, for the parts of a card (MIG), from 0 to 1.
    part_utilization: str = ""
    #: 1 while the cards can be read: at 0 the page still stands, with nothing or with old values.
    well: str = ""
    #: Has a card's number and name among its labels, where the other lines have only its UUID.
    info: str = ""
    #: What all its names begin with.
    prefix: str

    @property
    def names(self) -> frozenset[str]:
        every = (
            self.utilization, self.used, self.free, self.reserved, self.total, self.used_percent,
            self.part_utilization, self.well, self.info,
        )  # fmt: skip
        return frozenset(name for name in every if name)


#: In the order in which they are looked for.
DIALECTS: Final = (
    Dialect(
        name="ygg-gpu-exporter", utilization="ygg_gpu_utilization_ratio", full=1.0,
        used="ygg_gpu_memory_used_bytes", free="ygg_gpu_memory_free_bytes",
        total="ygg_gpu_memory_total_bytes",
        well="ygg_gpu_up", prefix="ygg_gpu_",
    ),
    Dialect(
        name="NVIDIA dcgm-exporter", utilization="DCGM_FI_DEV_GPU_UTIL",
        used="DCGM_FI_DEV_FB_USED", free="DCGM_FI_DEV_FB_FREE",
        reserved="DCGM_FI_DEV_FB_RESERVED", unit=MIB,
        part_utilization="DCGM_FI_PROF_GR_ENGINE_ACTIVE",
        prefix="DCGM_FI_",
    ),
    Dialect(
        name="nvidia_gpu_exporter", utilization="nvidia_smi_utilization_gpu_ratio", full=1.0,
        used="nvidia_smi_memory_used_bytes", free="nvidia_smi_memory_free_bytes",
        reserved="nvidia_smi_memory_reserved_bytes", total="nvidia_smi_memory_total_bytes",
        well="nvidia_smi_last_collect_success", info="nvidia_smi_gpu_info", prefix="nvidia_smi_",
    ),
    Dialect(
        name="nvidia_gpu_prometheus_exporter", utilization="nvidia_gpu_duty_cycle",
        used="nvidia_gpu_memory_used_bytes", total="nvidia_gpu_memory_total_bytes",
        prefix="nvidia_gpu_",
    ),
    Dialect(
        name="nvitop-exporter", utilization="gpu_utilization_Percentage",
        used="gpu_memory_used_MiB", free="gpu_memory_free_MiB", total="gpu_memory_total_MiB",
        unit=MIB,
        prefix="gpu_",
    ),
    Dialect(
        name="ROCm device-metrics-exporter", utilization="gpu_gfx_activity",
        used="gpu_used_vram", free="gpu_free_vram", total="gpu_total_vram", unit=MIB,
        prefix="gpu_",
    ),
    Dialect(
        name="rocm-smi-exporter", utilization="rocm_smi_gpu_usage",
        used_percent="rocm_smi_gpu_vram_allocation",
        prefix="rocm_smi_",
    ),
    Dialect(name="amd_smi_exporter", utilization="amd_gpu_Usage", prefix="amd_gpu_"),
)  # fmt: skip
#: Ports that exporters take when nobody says otherwise; only a place to look.
USUAL_PORTS: Final = (9836, 9400, 9835, 9445)


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """One GPU, or a part of one. None: the exporter does not say it, or nothing that can be."""

    #: What the exporter calls it: number, name.
    label: str
    #: As the exporter counts; empty where it tells cards apart by UUID only.
    number: str = ""
    utilization_ratio: float | None = None
    memory_used_ratio: float | None = None
    memory_total_bytes: float | None = None
    #: It said something that can't be; that is left out, and the rest is not to be believed either.
    is_absurd: bool = False

    def __str__(self) -> str:
        total = self.memory_total_bytes
        size = "" if total is None else f" of {total / 2**30:.1f} GiB"
        memory, busy = (
            "unknown" if ratio is None else f"{ratio:.0%}"
            for ratio in (self.memory_used_ratio, self.utilization_ratio)
        )
        return f"GPU {self.label}: {busy} busy, memory {memory}{size}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    #: None: no exporter that is known here wrote it.
    dialect: Dialect | None
    cards: tuple[Card, ...] = ()
    #: Values that can't be, in words.
    absurd: tuple[str, ...] = ()
    #: The exporter itself says that it can't read them now.
    is_well: bool = True
    #: Every value of the dialect but counters, as text: the same again means nothing was read anew.
    digits: tuple[str, ...] = ()


@dataclass(slots=True)
class _Readings:
    labels: dict[str, str]
    values: dict[str, float] = field(default_factory=dict)


def read_page(text: str) -> Page:
    """What an exporter's page says; never raises, whatever the page is."""
    lines = list(_named(text))
    names = {name for name, _ in lines}
    dialect = next((d for d in DIALECTS if d.names & names), None)
    if dialect is None:
        return Page(dialect=None)
    cards: dict[str, _Readings] = {}
    is_well = True
    for name, labels, value in _samples(lines, dialect.names):
        if name == dialect.well:
            is_well = value == 1
            continue
        card = cards.setdefault(_identity(labels), _Readings({}))
        card.labels |= labels
        card.values[name] = value
    absurd: list[str] = []
    known = [one for one in cards.values() if one.values.keys() != {dialect.info}]
    read = sorted((_card(dialect, one, absurd) for one in known), key=lambda card: card.label)
    return Page(
        dialect=dialect,
        cards=tuple(read) if is_well else (),
        absurd=tuple(absurd) if is_well else (),
        is_well=is_well,
        digits=tuple(_digits(lines, dialect.prefix)),
    )


def samples(text: str, names: frozenset[str]) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """The lines with these names, as name, labels, value."""
    return _samples(_named(text), names)


def _named(text: str) -> Iterator[tuple[str, str]]:
    """Each line that may have a value, after its name."""
    for line in text.splitlines():
        if line and line[0] != "#":
            yield line.partition("{")[0].partition(" ")[0].strip(), line


def _digits(lines: Iterable[tuple[str, str]], prefix: str) -> Iterator[str]:
    for name, line in lines:
        if name.startswith(prefix) and not name.endswith("_total"):
            rest = line.rpartition("}")[2] if "}" in line else line.partition(" ")[2]
            yield rest.strip().partition(" ")[0]


def _samples(
    lines: Iterable[tuple[str, str]], names: frozenset[str]
) -> Iterator[tuple[str, Mapping[str, str], float]]:
    """One by one: a line that is malformed would lose the whole page."""
    for name, line in lines:
        if name not in names:
            continue
        plain = _PLAIN.fullmatch(line)
        try:
            if plain is not None:
                yield name, dict(_LABEL.findall(plain["labels"] or "")), float(plain["value"])
                continue
            for family in text_string_to_metric_families(line + "\n"):
                for sample in family.samples:
                    yield sample.name, sample.labels, float(sample.value)
        except (ValueError, LookupError, AttributeError, TypeError):
            continue  # the library's parser falls over some lines in ways of its own


def _identity(labels: Mapping[str, str]) -> str:
    """One text for the same card in all its lines."""
    uuid = (labels.get("uuid") or labels.get("UUID") or "").lower().removeprefix("gpu-")
    return f"{uuid or _number(labels)}/{_part(labels)}"


def _part(labels: Mapping[str, str]) -> str:
    """A MIG instance's number; empty for a whole card."""
    return labels.get("GPU_I_ID") or labels.get("mig", "")


def _number(labels: Mapping[str, str]) -> str:
    for name in ("gpu", "index", "minor_number", "gpu_id", "device_id"):
        if labels.get(name):
            return labels[name]
    return "?"


def _card(dialect: Dialect, one: _Readings, absurd: list[str]) -> Card:
    before = len(absurd)
    named = [one.labels.get(name, "") for name in ("name", "modelName", "devicename", "card_model")]
    number = _number(one.labels)
    if number == "?":
        number = _identity(one.labels).partition("/")[0][:8]
    label = next((f"{number} ({text})" for text in named if text), number)
    if part := _part(one.labels):
        label += f", part {part}"

    def value(name: str, most: float) -> float | None:
        found = one.values.get(name) if name else None
        if found is None or math.isnan(found):
            return None  # not available, as some exporters write it
        if not 0 <= found <= most:
            absurd.append(f"GPU {label}: {name} is {found:g}")
            return None
        return found

    busy = value(dialect.utilization, dialect.full)
    if part:
        # Some versions give the parts a utilization that is always 0.
        busy = value(dialect.part_utilization, 1.0)
    elif busy is not None:
        busy /= dialect.full
    used, free, reserved, total = (
        value(name, 1e15) for name in (dialect.used, dialect.free, dialect.reserved, dialect.total)
    )
    share = value(dialect.used_percent, 100.0)
    ratio = None if share is None else share / 100
    if free is not None and used is not None:
        # What is free is said alike everywhere; `used` is with or without what is reserved.
        total = used + free + (reserved or 0.0)
        ratio = 1 - free / total if total else None
    elif used is not None and total:
        if used > total:
            absurd.append(f"GPU {label}: {used:g} of {total:g} used")
        else:
            ratio = used / total
    return Card(
        label=label,
        number="" if _number(one.labels) == "?" else _number(one.labels),
        utilization_ratio=busy,
        memory_used_ratio=ratio,
        memory_total_bytes=total * dialect.unit if total else None,
        is_absurd=len(absurd) > before,
    )
