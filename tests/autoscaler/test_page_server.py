"""The exporter's own small server, by sockets: who takes too long or too much."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from prometheus_client import CollectorRegistry, Gauge

from autoscaler.page_server import PageServer
from tests.system.daemons import until
from ygg.addresses import HostPort

GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
ASK = GET + b"Connection: close\r\n\r\n"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def server(*, at_once: int = 8) -> Iterator[tuple[PageServer, Clock]]:
    registry, clock = CollectorRegistry(), Clock()
    Gauge("answer", "of a test", registry=registry).set(42)
    served = PageServer(HostPort("127.0.0.1", 0), registry, at_once=at_once, clock=clock)
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served, clock
    finally:
        served.shutdown()
        served.server_close()
        thread.join(10)
        assert not thread.is_alive()


def connect(served: PageServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.server_port), timeout=20)


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side closes; b"" where it did so without a word."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass  # what it had not read was thrown away
    return b"".join(parts)


def ask(served: PageServer, request: bytes = ASK) -> bytes:
    with connect(served) as connection:
        connection.sendall(request)
        return everything(connection)


def test_the_page_is_served_and_names_no_versions() -> None:
    with server() as (served, _):
        head, _, page = ask(served).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert b"Python" not in head
        assert b"answer 42.0" in page.splitlines()


@pytest.mark.parametrize("words", [b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\nHost: x\r\n"])
def test_a_client_that_does_not_end_its_request_is_cut_off(words: bytes) -> None:
    with server() as (served, clock), connect(served) as slow:
        slow.sendall(words)
        until(lambda: len(served._until) == 1)
        clock.now += 14
        assert b"answer 42.0" in ask(served), "others are served meanwhile"
        clock.now += 2
        assert b"answer" not in everything(slow)
        until(lambda: not served._until)


def answer(connection: socket.socket, request: bytes = GET + b"\r\n") -> bytes:
    """One answer of a connection that stays open."""
    connection.sendall(request)
    with connection.makefile("rb") as lines:
        head = b"".join(iter(lines.readline, b"\r\n"))
        length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
        return lines.read(length)


def rests(served: PageServer, clock: Clock) -> bool:
    return set(served._until.values()) == {clock.now + 75}


def test_a_connection_serves_many_scrapes_and_is_closed_when_none_comes() -> None:
    with server(at_once=1) as (served, clock), connect(served) as kept:
        for seconds in (60, 60, 76):  # a scrape a minute finds it open
            assert b"answer 42.0" in answer(kept)
            until(lambda: rests(served, clock))
            clock.now += seconds
        assert everything(kept) == b""
        until(lambda: not served._until)


def test_a_further_request_that_does_not_end_is_cut_off_as_soon_as_the_first() -> None:
    with server() as (served, clock), connect(served) as slow:
        assert b"answer 42.0" in answer(slow)
        until(lambda: rests(served, clock))
        slow.sendall(b"GET /metr")
        until(lambda: set(served._until.values()) == {15.0})
        clock.now += 16
        assert everything(slow) == b""


def test_what_follows_a_request_as_its_body_is_no_request() -> None:
    with server() as (served, _):
        told = ask(served, GET + b"Content-Length: 100\r\n\r\n" + GET + b"\r\n")
        assert told.count(b"200 OK") == 1
        assert b"Connection: close" in told


def test_a_page_of_some_names_and_its_head_alone() -> None:
    with server() as (served, _):
        some = ask(served, ASK.replace(b"/metrics", b"/metrics?name[]=other"))
        assert b"200 OK" in some
        assert b"answer" not in some
        head = ask(served, ASK.replace(b"GET", b"HEAD"))
        assert b"200 OK" in head
        assert b"answer" not in head


def test_more_than_have_room_are_sent_away_and_room_comes_back() -> None:
    with server(at_once=3) as (served, clock):
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(connect(served))
            until(lambda: len(served._until) == 3)
            assert ask(served) == b""
        until(lambda: not served._until)
        assert b"answer 42.0" in ask(served)
        assert clock.now == 0


@pytest.mark.parametrize("request_", [b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"A" * 70_000])
def test_what_is_no_request_is_refused_and_nothing_else_happens(request_: bytes) -> None:
    with server() as (served, _):
        assert b" 200 " not in ask(served, request_).split(b"\r\n")[0]
        assert b"answer 42.0" in ask(served)


def test_an_address_that_is_taken_is_an_error() -> None:
    with server() as (served, _), pytest.raises(OSError, match="in use"):
        PageServer(HostPort("127.0.0.1", served.server_port), CollectorRegistry())
