"""The routes of hosts: show them, pin them, pause them."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from ygg.overrides import UnknownHost
from ygg.shapes import Hosts, HostStatus
from ygg.web import orders
from ygg.web.bodies import read_request
from ygg.web.guard import SUBMITTER
from ygg.web.parts import Parts
from ygg.web.problems import Kind
from ygg.web.routes import STORE, Answer, Route, as_json
from ygg.web.status import autoscaler_status, host_statuses

_A_HOST: Final = Answer(about="the host as it is now", kinds=(HostStatus,))


class HostRoutes:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._overrides = parts.dispatcher.overrides

    def routes(self) -> list[Route]:
        known = (Kind.UNKNOWN_HOST, *STORE)
        pinnable = (Kind.PINNED_IN_FILE, Kind.SHARED_SLOTS, *known)
        return [
            Route(
                method="GET",
                path="/v1/hosts",
                handle=self.hosts,
                summary="Show the hosts, and what runs there",
                answers={200: Answer(about="in the order of hosts.yaml", kinds=(Hosts,))},
            ),
            Route(
                method="PUT",
                path="/v1/hosts/{name}/pin",
                handle=self.pin,
                summary="Pin a host: its limit is this and stays so",
                about="Within the host's bounds; `until` ends it by itself. Servers on one card "
                "are pinned by the host that has the slots. A pin in hosts.yaml goes before.",
                body=orders.PIN,
                answers={200: _A_HOST},
                problems=(Kind.OUT_OF_BOUNDS, *pinnable),
            ),
            Route(
                method="DELETE",
                path="/v1/hosts/{name}/pin",
                handle=self.unpin,
                summary="Take a pin away: back to the limit before it",
                body=orders.NOTHING,
                body_optional=True,
                answers={200: _A_HOST},
                problems=pinnable,
            ),
            Route(
                method="PUT",
                path="/v1/hosts/{name}/pause",
                handle=self.pause,
                summary="Pause a host: nothing new starts there, what runs goes on",
                about="`until` ends it by itself.",
                body=orders.PAUSE,
                answers={200: _A_HOST},
                problems=known,
            ),
            Route(
                method="DELETE",
                path="/v1/hosts/{name}/pause",
                handle=self.resume,
                summary="Resume a host",
                body=orders.NOTHING,
                body_optional=True,
                answers={200: _A_HOST},
                problems=known,
            ),
        ]

    async def hosts(self, _: web.Request) -> web.Response:
        sight = self._parts.sight()
        return as_json(Hosts(hosts=host_statuses(sight), autoscaler=autoscaler_status(sight)))

    async def pin(self, request: web.Request) -> web.Response:
        order, until = await read_request(request, lambda b: orders.read_pin(b, self._parts.wall()))
        name, by = request.match_info["name"], _by(request, order)
        reason = order.reason or ""
        await self._overrides.pin(name, order.limit, until=until, by=by, reason=reason)
        return self._host(name)

    async def unpin(self, request: web.Request) -> web.Response:
        await read_request(request, orders.read_nothing)
        await self._overrides.unpin(request.match_info["name"], by=_by(request))
        return self._host(request.match_info["name"])

    async def pause(self, request: web.Request) -> web.Response:
        order, until = await read_request(
            request, lambda b: orders.read_pause(b, self._parts.wall())
        )
        name, by = request.match_info["name"], _by(request, order)
        if order.paused is False:
            await self._overrides.resume(name, by=by)
        else:
            await self._overrides.pause(name, order.reason or "by hand", until=until, by=by)
        return self._host(name)

    async def resume(self, request: web.Request) -> web.Response:
        await read_request(request, orders.read_nothing)
        await self._overrides.resume(request.match_info["name"], by=_by(request))
        return self._host(request.match_info["name"])

    def _host(self, name: str) -> web.Response:
        for host in host_statuses(self._parts.sight()):
            if host.name == name:
                return as_json(host)
        raise UnknownHost(f"host {name!r} was taken out of hosts.yaml just now")


def _by(request: web.Request, order: orders.ByHand | None = None) -> str:
    """Who said so: the name of the token, else what was said of it."""
    return request[SUBMITTER] or (order.by if order is not None else None) or ""
