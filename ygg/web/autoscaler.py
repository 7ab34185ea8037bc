"""The route of the autoscaler: one call each interval, with what it decided about all hosts.

What becomes of a decision is told host by host, so that one of them in vain hinders no other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

import msgspec
from aiohttp import web

from ygg.autoscaling import INTERVAL_SECONDS
from ygg.resizes import Decision, DecisionAction, DecisionReason
from ygg.shapes import AutoscalerAnswer, DecisionAnswer
from ygg.web.bodies import BodyReader, escaped, read_request, text
from ygg.web.orders import LIMIT_MAX
from ygg.web.parts import Parts
from ygg.web.problems import FieldError, Kind, bad_fields
from ygg.web.routes import STORE, Answer, Route, as_json

#: More hosts than any fleet has.
HOSTS_MAX: Final = 10_000
EVIDENCE_BYTES_MAX: Final = 4096
INTERVAL_MIN: Final = 0.1
INTERVAL_MAX: Final = 3600.0
_LIMIT: Final = msgspec.Meta(
    ge=0, le=LIMIT_MAX, description=f"a whole number from 0 to {LIMIT_MAX}"
)
_TRUE_OR_FALSE: Final = msgspec.Meta(description="true or false")


class HostDecision(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What an autoscaler decided about one host."""

    #: The limit that it saw; where there is another one by now, nothing is changed.
    expected: Annotated[int, _LIMIT]
    #: The one that it wants.
    limit: Annotated[int, _LIMIT]
    action: Annotated[DecisionAction, msgspec.Meta(description='"grow", "shrink" or "hold"')]
    reason: Annotated[
        DecisionReason, msgspec.Meta(description=f"one of {', '.join(DecisionReason)}")
    ]
    #: The numbers behind it.
    evidence: (
        Annotated[
            dict[str, int | float | bool | str | None],
            msgspec.Meta(
                description="an object of numbers, texts, true, false and null, of at most "
                f"{EVIDENCE_BYTES_MAX} bytes"
            ),
        ]
        | None
    ) = None
    #: Only show it, change nothing.
    dry_run: Annotated[bool, _TRUE_OR_FALSE] | None = None


class AutoscalerOrder(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """All decisions of one interval."""

    #: Who decides; another one at every start.
    holder: Annotated[str, text(least=1, most=200)]
    hosts: Annotated[
        dict[str, HostDecision],
        msgspec.Meta(
            max_length=HOSTS_MAX, description=f"an object of at most {HOSTS_MAX} hosts by name"
        ),
    ]
    #: Seconds between two calls; its lease holds for three of them.
    interval: (
        Annotated[
            float,
            msgspec.Meta(
                ge=INTERVAL_MIN,
                le=INTERVAL_MAX,
                description=f"a number of seconds from {INTERVAL_MIN:g} to {INTERVAL_MAX:g}",
            ),
        ]
        | None
    ) = None
    #: True: it ends, the next one need not wait for the end of its lease.
    leaves: Annotated[bool, _TRUE_OR_FALSE] | None = None


ORDER: Final = BodyReader(AutoscalerOrder)


class AutoscalerRoutes:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._autoscaling = parts.dispatcher.autoscaling

    def routes(self) -> list[Route]:
        return [
            Route(
                method="PUT",
                path="/v1/autoscaler",
                handle=self.autoscale,
                summary="Take in what an autoscaler decided about hosts",
                about="Renews its lease for three intervals. A limit changes only where it still "
                "is the expected one, no pin stands and the new one is within the host's bounds; "
                "the answer says of each host what was done, or why not.",
                body=ORDER,
                answers={200: Answer(about="taken in", kinds=(AutoscalerAnswer,))},
                problems=(Kind.LEASE_HELD, *STORE),
            ),
        ]

    async def autoscale(self, request: web.Request) -> web.Response:
        order = await read_request(request, read_order)
        verdicts = await self._autoscaling.take(
            order.holder,
            {name: _decision(host) for name, host in order.hosts.items()},
            interval=INTERVAL_SECONDS if order.interval is None else order.interval,
            leaves=bool(order.leaves),
        )
        hosts = {
            name: DecisionAnswer(
                effect=verdict.effect,
                detail=verdict.detail,
                limit=self._autoscaling.limit(name),
            )
            for name, verdict in verdicts.items()
        }
        lease_seconds = self._autoscaling.lease_seconds()
        return as_json(AutoscalerAnswer(hosts=hosts, lease_seconds=lease_seconds))


def read_order(body: bytes) -> AutoscalerOrder:
    """Raises Problem."""
    order = ORDER.one(body)
    if errors := list(_errors(order)):
        raise bad_fields(errors)
    return order


def _errors(order: AutoscalerOrder) -> Iterator[FieldError]:
    """What the types could not check."""
    if "\0" in order.holder:
        yield FieldError("/holder", "has a NUL character: leave it out")
    for name, host in order.hosts.items():
        size = len(msgspec.json.encode(host.evidence))
        if size > EVIDENCE_BYTES_MAX:
            detail = f"is {size} bytes as JSON, at most {EVIDENCE_BYTES_MAX} are kept: say less"
            yield FieldError(f"/hosts/{escaped(name)}/evidence", detail)


def _decision(host: HostDecision) -> Decision:
    return Decision(
        expected=host.expected,
        limit=host.limit,
        action=host.action,
        reason=host.reason,
        evidence=host.evidence or {},
        dry_run=bool(host.dry_run),
    )
