"""What a person should know of the autoscaler, in sentences: that it is silent, blind, or at its end.

Pure. Which decision is carried out is resizes.py's, what was decided the autoscaler's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ygg.printing import seconds
from ygg.resizes import DecisionReason
from ygg.shapes import AutoscalerStatus, DecisionStatus, HostStatus

#: Shrinks in a row that did nothing for memory, from which on it is said.
_FUTILE: Final = 2
_BLIND: Final = {
    DecisionReason.GPU_STALE: ("its GPU", "gpu_age"),
    DecisionReason.QUEUE_STALE: ("its tasks and slots", "queue_age"),
}


def sentences(autoscaler: AutoscalerStatus | None, hosts: Sequence[HostStatus]) -> Iterator[str]:
    if autoscaler is None or autoscaler.state == "left":
        return
    if autoscaler.state == "silent":
        yield (
            f"the autoscaler {autoscaler.holder} is silent since {autoscaler.heard_at}: "
            "limits stay where they are"
        )
        return
    for host in hosts:
        if host.decision is not None:
            yield from _of(host, host.decision)


def _of(host: HostStatus, decision: DecisionStatus) -> Iterator[str]:
    evidence = decision.evidence
    if decision.reason in _BLIND:
        what, name = _BLIND[decision.reason]
        age = evidence.get(name)
        since = f"for {seconds(age)}" if isinstance(age, (int, float)) else "so far"
        why = f": {evidence['trouble']}" if evidence.get("trouble") else ""
        yield (
            f"the autoscaler leaves {host.name} at {host.limit}: it heard nothing new of {what} "
            f"{since}{why}; `ygg doctor` tells more, and `ygg limit {host.name} {host.limit}` "
            "leaves it so for good"
        )
    futile, is_futile = evidence.get("futile_shrinks"), False
    if isinstance(futile, int) and futile >= _FUTILE:
        is_futile = True
        yield (
            f"the last {futile} shrinks of {host.name} changed its memory by next to nothing: it is "
            "the server's own, taken at its start, or another program's; if that is by design, "
            "write `gpu: {memory: off}` (or kv) for it in hosts.yaml"
        )
    if decision.reason is DecisionReason.MEMORY_AT_MIN and not is_futile:
        memory = evidence.get("memory")
        full = f"{memory:.0%} full" if isinstance(memory, (int, float)) else "full"
        yield (
            f"the memory of {host.name} is {full} at its minimum of {host.limit}: free some, by a "
            "smaller model or context, or end what else is on the card"
        )
