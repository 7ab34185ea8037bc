"""The autoscaler's own little HTTP server: /metrics for Prometheus, /livez for a watchdog."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from ygg.addresses import HostPort, parse_host_port

_SHUTDOWN_SECONDS: Final = 1.0


class CantServe(Exception):
    """The address can't be had; the message says why and what to do."""


@asynccontextmanager
async def serving(
    listen: str, registry: CollectorRegistry, lead: Callable[[], str]
) -> AsyncIterator[str]:
    """Serve at HOST:PORT until the end of the block; gives the address as it is. Raises CantServe.

    `lead`: how the autoscaler stands, in a word.
    """

    async def metrics(_: web.Request) -> web.Response:
        headers = {"Content-Type": CONTENT_TYPE_LATEST}
        return web.Response(body=generate_latest(registry), headers=headers)

    async def livez(_: web.Request) -> web.Response:
        return web.Response(
            text=json.dumps({"live": True, "standing": lead()}), content_type="application/json"
        )

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/livez", livez)
    runner = web.AppRunner(
        app, access_log=None, handle_signals=False, shutdown_timeout=_SHUTDOWN_SECONDS
    )
    address = parse_host_port(listen)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, address.host, address.port).start()
        except OSError as error:
            raise CantServe(
                f"can't listen on {listen}: {error.strerror or error}: end what listens there, or "
                "choose another address with --listen HOST:PORT or `autoscaler: {listen: ...}`"
            ) from error
        yield str(HostPort(host=address.host, port=runner.addresses[0][1]))
    finally:
        await runner.cleanup()
