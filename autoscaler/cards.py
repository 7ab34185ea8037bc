"""What an exporter knows of one card at one moment. Plain values, whoever measured them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """A GPU, a MIG instance, or a processor. What could not be read is not in `values`."""

    #: As its driver counts it, or `cpu`.
    gpu: str
    uuid: str
    name: str
    #: Index of the MIG instance within the card; "" for a whole card.
    mig: str = ""
    #: By the name of the metric, in its unit (see page.py).
    values: Mapping[str, float] = field(default_factory=dict)
    #: Clock in hertz by its domain.
    clocks: Mapping[str, float] = field(default_factory=dict)
    #: Why the clock is held down just now, each reason with whether it applies.
    throttled: Mapping[str, bool] = field(default_factory=dict)
    #: Bytes by process id.
    processes: Mapping[int, float] = field(default_factory=dict)


class NoReading(Exception):
    """Nothing can be read of any card.

    Args:
        kind: a word of a closed list, for a label.
        message: what is wrong and what to do, for a person.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
