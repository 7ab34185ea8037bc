"""The exporter's own small HTTP server: one page, for so many at once, and to nobody for long.

prometheus_client has the page; its own server waits for a client that says nothing as long as that
likes, with a thread for each.
"""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from ygg.addresses import HostPort

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("ygg.gpu")

#: One more is sent away: a scrape a second of everybody who means well is far less.
_AT_ONCE: Final = 32
#: Seconds from a connection to the end of its answer.
_LONGEST: Final = 15.0


class PageServer(ThreadingMixIn, WSGIServer):
    """Serves a registry's metrics; `serve_forever` runs it, from any thread.

    Args:
        address: port 0 takes a free one.
        registry: of the metrics; collected by the thread of who asks.
        at_once: connections beyond so many are closed.
        longest: seconds after which a connection is closed, whatever it is in the middle of.

    Raises OSError: the address can't be had.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        address: HostPort,
        registry: CollectorRegistry,
        *,
        at_once: int = _AT_ONCE,
        longest: float = _LONGEST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._places = threading.Semaphore(at_once)
        self._longest = longest
        self._clock = clock
        self._since: dict[socket.socket, float] = {}
        self._guard = threading.Lock()
        info = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        self.address_family = info[0][0]
        super().__init__((address.host, address.port), _Handler)
        self.set_app(_unsigned(make_wsgi_app(registry)))

    def server_bind(self) -> None:
        """Without WSGIServer's look at the name of this machine, which asks DNS."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "ygg-gpu-exporter", int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        with self._guard:
            self._since[request] = self._clock()
        super().process_request(request, client_address)

    def process_request_thread(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._guard:
                del self._since[request]
            self._places.release()

    def service_actions(self) -> None:
        """Twice a second: whoever took too long is cut off, which ends its thread."""
        latest = self._clock() - self._longest
        with self._guard:
            for request, since in self._since.items():
                if since < latest:
                    with suppress(OSError):  # it went away by itself
                        request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):  # it went away, or was sent away
            log.debug("event=client_gone client=%s", client_address)
        else:
            log.error("event=request_failed client=%s", client_address, exc_info=error)


def _unsigned(app: WSGIApplication) -> WSGIApplication:
    """The same, without the versions of what is below in its answers."""

    def unsigned(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(
            status: str, headers: list[tuple[str, str]], exc_info: OptExcInfo | None = None, /
        ) -> Callable[[bytes], object]:
            return start_response(status, [*headers, ("Server", "ygg")], exc_info)

        return app(environ, start)

    return unsigned


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's word
        log.debug("event=request %s", format % args)
