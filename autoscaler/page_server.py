"""The exporter's own small HTTP server: one page, for so many at once, and to nobody for long.

prometheus_client has the page; its own server waits for a client that says nothing as long as that
likes, with a thread for each. Connections stay open between two scrapes: of what it costs to look
at a hundred hosts every five seconds, opening them was a fifth.
"""

from __future__ import annotations

import io
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import BaseServer, ThreadingMixIn
from typing import Final
from urllib.parse import parse_qs, urlsplit

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from ygg.addresses import HostPort

log = logging.getLogger("ygg.gpu")

#: One more is sent away: a scrape a second of everybody who means well is far less.
_AT_ONCE: Final = 32
#: Seconds from a connection to the end of its answer, and from the first byte of a further request.
_LONGEST: Final = 15.0
#: Seconds between two requests of a connection: a scrape a minute finds it open.
_REST: Final = 75.0


class PageServer(ThreadingMixIn, HTTPServer):
    """Serves a registry's metrics; `serve_forever` runs it, from any thread.

    Args:
        address: port 0 takes a free one.
        registry: of the metrics; collected by the thread of who asks.
        at_once: connections beyond so many are closed.
        longest: seconds after which a connection is closed, whatever it is in the middle of.
        rest: the same for one that asks nothing more.

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
        rest: float = _REST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = registry
        self._places = threading.Semaphore(at_once)
        self._longest = longest
        self._rest = rest
        self._clock = clock
        #: When each connection has to have got on.
        self._until: dict[socket.socket, float] = {}
        self._guard = threading.Lock()
        info = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        self.address_family = info[0][0]
        super().__init__((address.host, address.port), _Handler)

    def server_bind(self) -> None:
        """Without HTTPServer's look at the name of this machine, which asks DNS."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "ygg-gpu-exporter", int(self.server_address[1])

    def process_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self.asks(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._guard:
                del self._until[request]
            self._places.release()

    def asks(self, connection: socket.socket) -> None:
        """A request begins, or should."""
        with self._guard:
            self._until[connection] = self._clock() + self._longest

    def rests(self, connection: socket.socket) -> None:
        """It was answered."""
        with self._guard:
            self._until[connection] = self._clock() + self._rest

    def service_actions(self) -> None:
        """Twice a second: whoever took too long is cut off, which ends its thread."""
        now = self._clock()
        with self._guard:
            for request, until in self._until.items():
                if until < now:
                    with suppress(OSError):  # it went away by itself
                        request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):  # it went away, or was sent away
            log.debug("event=client_gone client=%s", client_address)
        else:
            log.error("event=request_failed client=%s", client_address, exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "ygg", ""
    # An answer is one packet, sent at once: in two, the second would wait for the first's receipt.
    wbufsize = -1
    disable_nagle_algorithm = True

    def __init__(self, request: socket.socket, client_address: object, server: BaseServer) -> None:
        assert isinstance(server, PageServer)
        self._pages = server
        self._has_rested = False
        super().__init__(request, client_address, server)

    def handle_one_request(self) -> None:
        assert isinstance(self.rfile, io.BufferedReader)
        if not self.rfile.peek(1):
            self.close_connection = True
            return
        if self._has_rested:  # the first one's time runs from the connection on
            self._pages.asks(self.connection)
        super().handle_one_request()
        self._pages.rests(self.connection)
        self._has_rested = True

    def do_GET(self) -> None:
        """Under any path, as prometheus_client has it; of some names only, if they are asked for."""
        encode, content_type = choose_encoder(self.headers.get("Accept", ""))
        registry = self._pages.registry
        names = parse_qs(urlsplit(self.path).query).get("name[]")
        page = encode(registry.restricted_registry(names) if names else registry)
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # what follows is no request
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(page)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page)

    do_HEAD = do_GET  # noqa: N815 - the base's words

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's word
        log.debug("event=request %s", format % args)
