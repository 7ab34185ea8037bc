"""Asks one host all there is to ask, in order; what cannot be asked then is left out.

What its answers mean is judging.py's. Only `deep` and `measure` make a model work.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

import aiohttp

from ygg.doctor import judging
from ygg.doctor.findings import Finding, State, ok, warning, wrong
from ygg.doctor.judging import Wanted
from ygg.doctor.working import AT_ONCE_MAX, Bench, one_token, together
from ygg.faults import Cause, Failure
from ygg.fleet import Fleet, HostSettings
from ygg.hosts.base import Identity, ModelServer
from ygg.hosts.blame import apart
from ygg.hosts.detect import make_server
from ygg.hosts.http import ASK_SECONDS, open_session
from ygg.hosts.identity import identify
from ygg.secrets import SecretError, resolve_secret

#: How a server of another API fails to answer.
_OTHER_API: Final = frozenset(
    {Cause.NO_MODEL, Cause.MALFORMED, Cause.UNSUPPORTED, Cause.BAD_REQUEST}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Depth:
    """How far to go."""

    #: Have one token made.
    deep: bool = False
    #: Have several answers made at once.
    measure: bool = False
    #: For one answer, the model's loading included.
    seconds: float = 120.0

    def bound(self, models: int) -> float:
        """For all questions to a host with so many models, in seconds."""
        return 30.0 + self.seconds * (self.deep * models + 2 * self.measure)


class Seen(NamedTuple):
    findings: Sequence[Finding]
    #: Of the wanted models those that are there; None: it did not say what it has.
    able: Collection[str] | None


async def look_at(session: aiohttp.ClientSession, wanted: Wanted, depth: Depth) -> Seen:
    """All that is found of a host. Never raises Failure."""
    visit = _Visit(session=session, wanted=wanted, depth=depth)
    try:
        await visit.pay()
    except Failure as failure:
        visit.found.append(_unwell(failure, wanted))
    return Seen(visit.found, visit.able)


def _unwell(failure: Failure, wanted: Wanted) -> Finding:
    what, remedy = apart(failure)
    if failure.cause is Cause.REFUSED:
        remedy = f"start the server there, or correct `url:` at {wanted.place}"
    elif failure.cause is Cause.UNAUTHORISED:
        remedy = f"set `key:` at {wanted.place} to where a key is that it takes (env:NAME)"
    if failure.cause is Cause.BUSY:
        return warning(what, f"wait until it has loaded its model; else: {remedy}")
    return wrong(what, remedy)


@dataclass(kw_only=True, slots=True)
class _Visit:
    session: aiohttp.ClientSession
    wanted: Wanted
    depth: Depth
    found: list[Finding] = field(default_factory=list)
    key: str | None = None
    able: Collection[str] | None = None

    async def pay(self) -> None:
        """Raises Failure: what was found until then stands."""
        host = self.wanted.host
        if host.key is not None:
            try:
                self.key = resolve_secret(host.key)
            except SecretError as error:
                self.found.append(wrong(str(error), _key_remedy(host.key, self.wanted.place)))
                return
            self.found.append(ok("its key is there"))
        identity = await self._identify()
        if identity is None:
            return
        server = await make_server(
            HostSettings(name=host.name, url=host.url, api=identity.api),
            self.session,
            api_key=self.key,
        )
        await server.probe()
        self.found.append(ok(f"{identity} answers at {host.url}"))
        names = await server.models()
        self.able = judging.able(self.wanted, identity, names)
        self.found += judging.models(self.wanted, identity, names)
        self.found += judging.memory(await server.loaded())
        self.found += judging.slots(
            self.wanted, identity, measured=self.depth.measure and bool(self.able)
        )
        self.found += judging.clock(await self._skew())
        await self._work(server, identity, names)

    async def _identify(self) -> Identity | None:
        """None: it is not what the file says, which was told."""
        host = self.wanted.host
        try:
            return await identify(self.session, host.url, api=host.api, api_key=self.key)
        except Failure as failure:
            if host.api is None or failure.cause not in _OTHER_API:
                raise
            other: Identity | None = None
            with suppress(Failure):  # then the first failure says more
                other = await identify(self.session, host.url, api_key=self.key)
            if other is None or other.api == host.api:
                raise
            what = f"{host.url} is {other}, and the file says that its api is {host.api}"
            self.found.append(wrong(what, f"write `api: {other.api}` at {self.wanted.place}"))
            return None

    async def _skew(self) -> float:
        """Seconds by which its clock is ahead of ours, by its Date header; 0 where it has none."""
        before = time.time()
        date: str | None = None
        with suppress(aiohttp.ClientError, TimeoutError):  # it answered a moment ago: no finding
            async with asyncio.timeout(ASK_SECONDS):
                async with self.session.get(self.wanted.host.url, allow_redirects=False) as answer:
                    date = answer.headers.get("Date")
        if date is None:
            return 0.0
        try:
            there = parsedate_to_datetime(date).timestamp()
        except ValueError:
            return 0.0
        return there + 0.5 - (before + time.time()) / 2

    async def _work(self, server: ModelServer, identity: Identity, names: Sequence[str]) -> None:
        """Raises Failure."""
        benches = [
            Bench(
                server=server, model=model or names[0], type=self.wanted.models[model],
                host=self.wanted.host, seconds=self.depth.seconds,
            )
            for model in judging.able(self.wanted, identity, names)
        ]  # fmt: skip
        for bench in benches if self.depth.deep else ():
            try:
                seconds = await one_token(bench)
            except Failure as failure:  # its other models may work all the same
                self.found.append(_unwell(failure, self.wanted))
            else:
                self.found.append(ok(f"{bench.model} gave a token after {seconds:.1f} s"))
        if self.depth.measure and benches:
            count = min(max(self.wanted.limit, 2), AT_ONCE_MAX)
            found = await together(benches[0], count)
            self.found.append(judging.measured(self.wanted, identity, count, found))


def _key_remedy(key: str, place: str) -> str:
    kind, _, name = key.partition(":")
    match kind:
        case "env":
            return f"export {name}=... where ygg is started, or correct `key:` at {place}"
        case "file":
            return f"put the key into {name}, chmod 600 {name}, or correct `key:` at {place}"
        case _:
            return f"LoadCredential={name}:PATH in ygg's unit, or correct `key:` at {place}"


async def look_at_all(fleet: Fleet) -> list[tuple[str, Finding]]:
    """What is not well of all hosts and of the types that run there; no model is made to work."""
    async with open_session() as session:
        wanted = {name: judging.wanted_of(fleet, name) for name in fleet.hosts}
        seen = await asyncio.gather(*(look_at(session, one, Depth()) for one in wanted.values()))
    told = dict(zip(wanted, seen, strict=True))
    found = [
        (f"host {name}", finding)
        for name, one in told.items()
        for finding in one.findings
        if finding.state is not State.OK
    ]
    homeless = judging.homeless(fleet, {name: one.able for name, one in told.items()})
    return [*found, *(("", finding) for finding in homeless)]
