"""A host's last hours as a chart of text: limit, utilization, memory, wait. Pure."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from autoscaler.policy import Action
from autoscaler.records import RESIZED, Record
from autoscaler.settings import Settings
from ygg.printing import seconds

_ROWS: Final = 3
_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
#: Where the terminal knows no blocks.
_PLAIN: Final = " ...::###"
_LABEL: Final = 12
_SCALE: Final = 10
_NARROWEST: Final = 20
_BY_OTHERS: Final = "by hand, by hosts.yaml or by the server's own limit"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One curve of the chart."""

    name: str
    #: Its value in a record; None: unknown then.
    value: Callable[[Record], float | None]
    #: The top of the scale, at least.
    top: float
    shown: Callable[[float], str]


def rows_of(records: Sequence[Record], settings: Settings) -> tuple[Row, ...]:
    return (
        Row(
            name="limit", value=lambda r: float(r.limit),
            top=max((r.signals.max for r in records), default=1), shown=lambda v: f"{v:.0f}",
        ),
        Row(name="utilization", value=lambda r: r.signals.util, top=1.0, shown=lambda v: f"{v:.0%}"),
        Row(
            name="memory", value=lambda r: r.signals.memory.high if r.signals.memory else None,
            top=1.0, shown=lambda v: f"{v:.0%}",
        ),
        Row(
            name="wait", value=lambda r: r.signals.oldest_wait, top=settings.wait_seconds_max,
            shown=seconds,
        ),
    )  # fmt: skip


def chart(
    records: Sequence[Record],
    settings: Settings,
    *,
    begin: float,
    end: float,
    width: int = 80,
    plain: bool = False,
    zone: Callable[[float], time.struct_time] = time.localtime,
) -> Iterator[str]:
    """The lines of the chart, then every change.

    Args:
        records: one host's, from the oldest on.
        settings: for what matters of each signal.
        begin: seconds since the epoch at the left edge.
        end: at the right edge.
        width: of the terminal.
        plain: without characters beyond ASCII.
        zone: the time of day of a time.
    """
    columns = max(_NARROWEST, width - _LABEL - _SCALE - 2)
    for row in rows_of(records, settings):
        values = _columns(records, row, begin, end, columns)
        yield from _curve(row, values, plain=plain)
        yield ""
    left, right = (time.strftime("%H:%M", zone(at)) for at in (begin, end))
    yield f"{'':{_LABEL}} {left}{right:>{columns - len(left)}}"
    yield from _moves(records, zone, plain=plain)


def _columns(
    records: Sequence[Record], row: Row, begin: float, end: float, columns: int
) -> list[float | None]:
    """The highest value of each column's time; what is not known stays empty."""
    found: list[float | None] = [None] * columns
    for record in records:
        value = row.value(record)
        if value is None or not begin <= record.at <= end:
            continue
        place = min(columns - 1, int((record.at - begin) / max(end - begin, 1e-9) * columns))
        before = found[place]
        found[place] = value if before is None else max(before, value)
    return found


def _curve(row: Row, values: Sequence[float | None], *, plain: bool) -> Iterator[str]:
    known = [value for value in values if value is not None]
    top = max([row.top, *known])
    last = row.shown(known[-1]) if known else "unknown"
    blocks = _PLAIN if plain else _BLOCKS
    for line in reversed(range(_ROWS)):
        drawn = "".join(_cell(value, line, top, blocks) for value in values)
        label = row.name if line == _ROWS - 1 else last if line == _ROWS - 2 else ""
        scale = row.shown(top) if line == _ROWS - 1 else "0" if line == 0 else ""
        yield f"{label:{_LABEL}} {drawn} {scale}".rstrip()


def _cell(value: float | None, line: int, top: float, blocks: str) -> str:
    if value is None:
        return " "
    steps = len(blocks) - 1
    # A value of 0 has its mark, too: it is known.
    filled = max(1, round(value / top * _ROWS * steps)) if top else 1
    return blocks[min(steps, max(0, filled - line * steps))]


def _repeats(before: Record | None, record: Record) -> bool:
    """A step that nobody took is asked for again at each interval: one line tells of it."""
    return (
        before is not None
        and before.effect != RESIZED
        and (before.limit, before.wanted, before.reason, before.effect)
        == (record.limit, record.wanted, record.reason, record.effect)
    )


def _moves(
    records: Sequence[Record], zone: Callable[[float], time.struct_time], *, plain: bool
) -> Iterator[str]:
    told = [*_told(records)]
    if told:
        yield ""
    for at, before, limit, why in told:
        arrow = "->" if plain else "→"
        yield f"{time.strftime('%H:%M:%S', zone(at))}  {before} {arrow} {limit}  {why}"


def _told(records: Sequence[Record]) -> Iterator[tuple[float, int, int, str]]:
    """When the limit went from where to where, or was asked to, and why."""
    for before, record in itertools.pairwise([None, *records]):
        assert record is not None
        if before is not None and record.limit != before.limit_after:
            yield record.at, before.limit_after, record.limit, _BY_OTHERS
        if record.action is not Action.HOLD and not _repeats(before, record):
            effect = "" if record.effect == RESIZED else f" ({record.effect})"
            yield record.at, record.limit, record.wanted, f"{record.reason}{effect}"
