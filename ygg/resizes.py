"""What an autoscaler may do to limits: which one may, and which of its resizes are carried out.

One autoscaler at a time has the lease, and each of its calls renews it: two that were started by
mistake do not fight. A resize rests on what was seen some seconds ago, so it says which limit it
expects; whatever a person has set since then is left as it is. Pure. Where limits come from is
left to pins.py, writing them to autoscaling.py, and what they should be to the autoscaler.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

#: A lease holds for so many of its holder's intervals: two calls may be lost.
LEASE_INTERVALS: Final = 3

Evidence = Mapping[str, int | float | bool | str | None]


class DecisionAction(StrEnum):
    GROW = "grow"
    SHRINK = "shrink"
    HOLD = "hold"


class DecisionReason(StrEnum):
    """Why an autoscaler wants a limit: those of its rule, a closed list, for they label metrics."""

    PINNED = "pinned"
    BOUNDS = "bounds"
    HOST_DOWN = "host_down"
    PAUSED = "paused"
    HOST_FAILURES = "host_failures"
    GPU_STALE = "gpu_stale"
    MEMORY_AT_MIN = "memory_at_min"
    DRAINING = "draining"
    SHRINK_COOLDOWN = "shrink_cooldown"
    MEMORY_HIGH = "memory_high"
    QUEUE_STALE = "queue_stale"
    WARMING_UP = "warming_up"
    PROBING = "probing"
    NO_GAIN = "no_gain"
    UNJUDGED = "unjudged"
    SATISFIED = "satisfied"
    NOT_BINDING = "not_binding"
    SERVER_FULL = "server_full"
    AT_MAX = "at_max"
    COOLDOWN = "cooldown"
    CEILING = "ceiling"
    MEMORY_UNKNOWN = "memory_unknown"
    FORECAST = "forecast"
    LOW_UTILIZATION = "low_utilization"
    WAIT = "wait"


class Effect(StrEnum):
    """What became of a decision: the first that applies."""

    UNKNOWN_HOST = "unknown_host"
    #: The host uses the slots of another one.
    SHARED = "shared"
    #: The limit is so already.
    UNCHANGED = "unchanged"
    #: It was only to be shown.
    DRY_RUN = "dry_run"
    PINNED = "pinned"
    #: The limit is no longer the one that was expected.
    STALE = "stale"
    OUT_OF_BOUNDS = "out_of_bounds"
    RESIZED = "resized"


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What an autoscaler decided about a host."""

    #: The limit that it saw, from which it decided.
    expected: int
    #: The one that it wants.
    limit: int
    action: DecisionAction
    reason: DecisionReason
    #: The numbers behind it.
    evidence: Evidence = field(default_factory=dict)
    #: It is only to be shown, not carried out.
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """Of a host, what a resize is held against."""

    limit: int
    least: int
    most: int
    #: The host whose slots it uses; None: it has its own.
    shares: str | None = None
    #: The pin in words; None: none stands.
    pin: str | None = None


class Verdict(NamedTuple):
    effect: Effect
    #: In words, where it was not carried out as asked.
    detail: str = ""


def verdict(decision: Decision, card: Card | None) -> Verdict:
    """What is to become of a decision. `card` None: hosts.yaml has no such host."""
    if card is None:
        return Verdict(Effect.UNKNOWN_HOST, "hosts.yaml has no such host")
    if card.shares is not None:
        return Verdict(
            Effect.SHARED, f"it uses the slots of {card.shares}: resize {card.shares} in its place"
        )
    if decision.limit == card.limit:
        # Also what was asked for before and answered in vain: a call may be repeated.
        return Verdict(Effect.UNCHANGED)
    if decision.dry_run:
        return Verdict(Effect.DRY_RUN)
    if card.pin is not None:
        return Verdict(Effect.PINNED, card.pin)
    if decision.expected != card.limit:
        return Verdict(
            Effect.STALE, f"the limit is {card.limit} by now, not {decision.expected}: decide anew"
        )
    if not card.least <= decision.limit <= card.most:
        bounds = f"{card.least} to {card.most}"
        return Verdict(Effect.OUT_OF_BOUNDS, f"{decision.limit} is outside its bounds, {bounds}")
    return Verdict(Effect.RESIZED)


# -- the lease -----------------------------------------------------------------------------------


class LeaseHeld(Exception):
    """Another autoscaler is at work."""

    def __init__(self, holder: str, seconds: float) -> None:
        super().__init__(
            f"the autoscaler {holder!r} holds the lease for another {seconds:.0f} s: end one of "
            "the two; should that one be gone, try again then"
        )
        self.holder = holder
        self.seconds = seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """Who may resize, and until when by the monotonic clock."""

    holder: str
    ends: float

    def holds(self, now: float) -> bool:
        return now < self.ends


def renewed(lease: Lease | None, holder: str, *, now: float, interval: float) -> Lease:
    """The lease after a call of `holder`, who calls every `interval` seconds. Raises LeaseHeld."""
    if lease is not None and lease.holder != holder and lease.holds(now):
        raise LeaseHeld(lease.holder, lease.ends - now)
    return Lease(holder=holder, ends=now + LEASE_INTERVALS * interval)
