"""The fleet's model servers: met at first contact, asked when asked for.

One HTTP session for all. What a server says of itself (API, only model, parallelism) is learned
at first contact and again after it was down.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import aiohttp

from ygg.faults import Cause, Failure
from ygg.fleet import Fleet, HostSettings, Option, is_same_server
from ygg.handlers import Place
from ygg.hosts.base import ModelServer
from ygg.hosts.detect import make_server
from ygg.hosts.http import open_session
from ygg.secrets import SecretError, resolve_secret

log = logging.getLogger("ygg.hosts")


@dataclass(frozen=True, slots=True)
class _Met:
    server: ModelServer
    #: What the server said: its only model, if it has just one, and how many it runs at once.
    only_model: str = ""
    most: int | None = None
    #: Bytes of loaded models, where the server says it.
    memory: int | None = None


class Pool:
    """`dispatcher.Servers` over HTTP. Use it as an async context manager."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._met: dict[str, _Met] = {}
        #: Hosts whose last look failed: they are met anew.
        self._lost: set[str] = set()
        self._stack = AsyncExitStack()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = await self._stack.enter_async_context(open_session())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def take_over(self, fleet: Fleet) -> None:
        for name in list(self._met):
            if not self._is_as_in(fleet, self._fleet.hosts[name]):
                del self._met[name]
                self._lost.discard(name)
        self._fleet = fleet

    @staticmethod
    def _is_as_in(fleet: Fleet, settings: HostSettings) -> bool:
        host = fleet.hosts.get(settings.name)
        return host is not None and is_same_server(host, settings)

    async def look(self, host: str) -> None:
        """Raises Failure."""
        met = self._met.get(host)
        try:
            if met is None or host in self._lost:
                # It may come back as another server, with another model.
                await self._meet(self._fleet.hosts[host])
                self._lost.discard(host)
            else:
                await met.server.probe()
        except Failure:
            self._lost.add(host)
            raise

    async def _meet(self, settings: HostSettings) -> None:
        assert self._session is not None, "the pool was not entered"
        try:
            key = None if settings.key is None else resolve_secret(settings.key)
        except SecretError as error:
            raise Failure(
                Cause.UNAUTHORISED, f"host {settings.name}: {error}", taken=False
            ) from error
        server = await make_server(settings, self._session, api_key=key)
        await server.probe()
        only = ""
        if settings.model is None:
            models = await server.models()
            only = models[0] if len(models) == 1 else ""
        met = _Met(server, only, await server.parallelism())
        met = replace(met, memory=await _measured(settings.name, met))
        if not self._is_as_in(self._fleet, settings):
            why = f"host {settings.name}: its settings changed while it was asked"
            raise Failure(Cause.REFUSED, why, taken=False)
        self._met[settings.name] = met
        log.info(
            "event=host_met host=%s api=%s model=%s runs_at_once=%s",
            settings.name,
            type(server).__name__.removesuffix("Server").lower(),
            settings.model or met.only_model or "(none named)",
            met.most if met.most is not None else "unknown",
        )

    async def look_at_option(self, option: Option) -> None:
        """Raises Failure."""
        if not option.model:
            await self._meet(self._fleet.hosts[option.host])  # it may have just one by now
        met = self._known(option.host)
        model = option.model or met.only_model
        if not model or not await met.server.has_model(model):
            have = ", ".join(list(await met.server.models())[:10]) or "none"
            wanted = f"has no model {model!r}" if model else "has not just one model"
            raise Failure(
                Cause.NO_MODEL,
                f"host {option.host} {wanted} (it has: {have}): mend `model:` in "
                f"{self._fleet.file}, or load it there",
                taken=False,
            )

    async def measure(self) -> None:
        """Ask every host that answers what its models take of its memory."""
        for host, met in list(self._met.items()):
            if host in self._lost:
                continue
            memory = await _measured(host, met)
            if self._met.get(host) is met:  # it may have been met anew meanwhile
                self._met[host] = replace(met, memory=memory)

    def place(self, option: Option) -> Place:
        """Raises Failure if the host was never met."""
        met, settings = self._known(option.host), self._fleet.hosts[option.host]
        return Place(
            host=option.host,
            url=settings.url,
            model=option.model or met.only_model,
            server=met.server,
            keep_alive=settings.keep_alive,
        )

    def most(self, host: str) -> int | None:
        met = self._met.get(host)
        return None if met is None else met.most

    def memory(self) -> Mapping[str, int]:
        """Bytes of loaded models by host, where the server says it."""
        return {name: met.memory for name, met in self._met.items() if met.memory is not None}

    def _known(self, host: str) -> _Met:
        met = self._met.get(host)
        if met is None:
            raise Failure(Cause.REFUSED, f"host {host} has not answered yet", taken=False)
        return met


async def _measured(host: str, met: _Met) -> int | None:
    """What its models take now; what was known, where it does not say."""
    try:
        loaded = await met.server.loaded()
    except Failure as failure:
        # Its health is judged by its looks and its work; this was only curiosity.
        log.debug("event=not_measured host=%s why=%r", host, failure.message)
        return met.memory
    return sum(model.gpu_memory_bytes for model in loaded) if loaded else None
