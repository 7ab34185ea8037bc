"""The loopback door: names, origins, bodies, patience. Mostly by hand-written requests."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.web.raw import BODY, JSON, head, raw, status_of
from tests.web.serving import run, served
from ygg.addresses import is_loopback
from ygg.fleet import DispatcherSettings
from ygg.web.connections import Times
from ygg.web.guard import host_names
from ygg.web.limits import Limits
from ygg.web.listening import CantListen, listening


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["Host: localhost"], 200),
        (["Host: LOCALHOST:9"], 200),
        (["Host: 127.0.0.1:8765"], 200),
        (["Host: [::1]:8765"], 200),
        (["Host: evil.test"], 421),
        (["Host: 127.0.0.1.evil.test"], 421),
        (["Host: localhost.evil.test:80"], 421),
        (["Host: evil.test:localhost"], 421),
        (["Host: localhost@evil.test"], 421),
        (["Host: localhost."], 421),
        (["Host: [::2]"], 421),
        (["Host: "], 421),
        (["Host: localhost", "Host: evil.test"], 400),
        ([], 400),
    ],
)
def test_only_our_own_names_are_answered(tmp_path: Path, lines: list[str], status: int) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            answer = await raw(w.port, head(*lines, method="GET"))
            assert status_of(answer) == status
            if status == 421:
                assert b"urn:ygg:problem:wrong-host" in answer
                assert b"[::1]" in answer

    run(story())


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://localhost/livez", "localhost", 200),
        ("http://LOCALHOST:9/v1/status?x", "127.0.0.1", 400),
        ("http://evil.test/livez", "localhost", 421),
        ("https://evil.test:8765", "localhost", 421),
        ("http://evil.test", "localhost", 421),
        ("http://localhost@evil.test/livez", "localhost", 421),
        ("http:///livez", "localhost", 400),
        ("http://localhost/livez", "evil.test", 421),
        ("//evil.test/livez", "localhost", 404),
    ],
)
def test_a_target_that_names_a_server_must_name_this_one(
    tmp_path: Path, target: str, host: str, status: int
) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            answer = await raw(w.port, head(f"Host: {host}", method="GET", path=target))
            assert status_of(answer) == status, answer

    run(story())


def test_an_old_client_without_a_host_is_not_answered(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            assert status_of(await raw(w.port, b"GET /v1/tasks HTTP/1.0\r\n\r\n")) == 421

    run(story())


@pytest.mark.pure
def test_the_listening_address_is_one_of_our_names() -> None:
    def names(*listen: str) -> frozenset[str]:
        return host_names(DispatcherSettings(listen=listen, names=("ygg.example.org",)))

    always = {"localhost", "127.0.0.1", "[::1]", "ygg.example.org"}
    assert names("127.0.0.1:8765") == always
    assert names("127.8.8.8:1") == always | {"127.8.8.8"}
    assert names("[fd00::1]:1", "Tower:2") == always | {"[fd00::1]", "tower"}
    assert names("0.0.0.0:1", "[::]:1", "unix:a") == always


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([], 201),
        (["Origin: http://localhost:80"], 201),
        (["Origin: http://localhost", "Sec-Fetch-Site: same-origin"], 201),
        (["Sec-Fetch-Site: none"], 201),
        (["Origin: null"], 403),
        (["Origin: http://evil.test"], 403),
        (["Origin: https://localhost"], 403),
        (["Origin: http://localhost:3000"], 403),
        (["Origin: http://localhost", "Origin: http://evil.test"], 403),
        (["Sec-Fetch-Site: cross-site"], 403),
        (["Sec-Fetch-Site: same-site"], 403),
    ],
)
def test_no_other_page_may_write_or_read(tmp_path: Path, lines: list[str], status: int) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            request = head("Host: localhost:80", *lines, *JSON) + BODY
            answer = await raw(w.port, request)
            assert status_of(answer) == status
            assert (b"urn:ygg:problem:foreign-origin" in answer) == (status == 403)
            assert len(w.store.tables.tasks) == (status == 201)
            # The same for reads; and no answer says that another page may see it.
            answer = await raw(w.port, head("Host: localhost:80", *lines, method="GET"))
            assert status_of(answer) == (403 if status == 403 else 200)
            assert b"access-control" not in answer.lower()

    run(story())


@pytest.mark.parametrize(
    ("lines", "body", "status"),
    [
        (["Content-Type: application/json; charset=UTF-8"], BODY, 201),
        (["Content-Type: APPLICATION/JSON"], BODY, 201),
        (["Content-Type: application/json; charset=utf-16"], BODY, 415),
        (["Content-Type: text/plain"], BODY, 415),
        (["Content-Type: application/x-www-form-urlencoded"], BODY, 415),
        (["Content-Type: application/x-www-form-urlencoded"], b"", 415),
        (["Content-Type: application/json", "Content-Type: text/plain"], BODY, 400),
        ([], BODY, 415),
        (["Content-Type: application/json", "Content-Encoding: gzip"], gzip.compress(BODY), 415),
        (["Content-Type: application/json", "Content-Encoding: identity"], BODY, 415),
        ([], b"", 400),
    ],
)
def test_only_plain_json_is_taken(
    tmp_path: Path, lines: list[str], body: bytes, status: int
) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            length = f"Content-Length: {len(body)}"
            answer = await raw(w.port, head("Host: localhost", *lines, length) + body)
            assert status_of(answer) == status

    run(story())


def test_a_page_of_our_own_may_cancel_with_no_body(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            path = f"/v1/tasks/{'0' * 18}/cancel"
            request = head("Host: localhost", "Origin: http://localhost", path=path)
            assert status_of(await raw(w.port, request)) == 404

    run(story())


def test_a_body_that_is_too_large_is_refused_by_its_head(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path, limits=Limits(body_bytes=1000)) as w:
            length = ("Content-Type: application/json", "Content-Length: 1001")
            # No byte of the body is sent: the answer may not wait for it.
            answer = await raw(w.port, head("Host: localhost", *length))
            assert status_of(answer) == 413
            assert b"at most 1000 bytes" in answer
            fits = b'{"title":"a"}'.ljust(1000)
            assert (await w.ask("POST", "/v1/tasks", data=fits)).status == 201

    run(story())


def test_a_body_that_never_says_its_length_is_cut_off(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path, limits=Limits(body_bytes=1000)) as w:
            chunked = ("Content-Type: application/json", "Transfer-Encoding: chunked")
            request = head("Host: localhost", *chunked) + b"1f4\r\n" + b" " * 500 + b"\r\n"
            request += b"1f5\r\n" + b" " * 501 + b"\r\n"
            answer = await raw(w.port, request)
            assert status_of(answer) == 413
            assert b"urn:ygg:problem:too-large" in answer

    run(story())


def test_a_body_that_comes_too_slowly_is_given_up(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path, limits=Limits(body_seconds=0.05)) as w:
            answer = await raw(w.port, head("Host: localhost", *JSON) + BODY[:-1])
            assert status_of(answer) == 408
            assert b"urn:ygg:problem:too-slow" in answer
            assert b"connection: close" in answer.lower()

    run(story())


def test_a_body_that_is_badly_chunked_is_a_problem(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            chunked = ("Content-Type: application/json", "Transfer-Encoding: chunked")
            request = head("Host: localhost", *chunked) + b"zz\r\n"
            assert status_of(await raw(w.port, request)) == 400

    run(story())


@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\nHost: loc"])
def test_a_connection_that_never_asks_is_closed(tmp_path: Path, sent: bytes) -> None:
    async def story() -> None:
        limits = Limits(head_seconds=0.05, sweep_seconds=0.01)
        async with served(tmp_path, limits=limits) as w:
            assert await raw(w.port, sent) == b""

    run(story())


def test_a_connection_that_has_asked_may_rest_longer(tmp_path: Path) -> None:
    async def story() -> None:
        limits = Limits(head_seconds=0.05, idle_seconds=0.3, sweep_seconds=0.01)
        async with served(tmp_path, limits=limits) as w:
            began = asyncio.get_running_loop().time()
            answer = await raw(w.port, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert status_of(answer) == 200
            # It was closed by us, and not before its rest was over.
            assert asyncio.get_running_loop().time() - began >= 0.3

    run(story())


def test_one_connection_too_many_is_told_so(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path, limits=Limits(connections=3)) as w:
            open_ones = [await asyncio.open_connection("127.0.0.1", w.port) for _ in range(5)]
            answers = list[bytes]()
            for reader, writer in open_ones:
                writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
                try:
                    answers.append(await reader.read(100))
                except ConnectionResetError:
                    answers.append(b"HTTP/1.1 503 lost")
            assert [status_of(answer) for answer in answers] == [200, 200, 200, 503, 503]
            for _, writer in open_ones:
                writer.close()
            async with asyncio.timeout(20):
                while status_of(await raw(w.port, head("Host: localhost", method="GET"))) == 503:
                    await asyncio.sleep(0)

    run(story())


def test_an_address_that_others_can_reach_is_not_listened_on(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            with pytest.raises(CantListen, match=r"ygg token new.*127\.0\.0\.1:PORT"):
                async with listening(w.new_app(), ["0.0.0.0:0"]):
                    pass

    run(story())


def test_an_address_in_use_is_told(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            with pytest.raises(CantListen, match="in use; another ygg"):
                async with listening(w.new_app(), [f"127.0.0.1:{w.port}"]):
                    pass

    run(story())


@pytest.mark.pure
@pytest.mark.parametrize(
    ("host", "is_it"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("0.0.0.0", False),
     ("::", False), ("192.168.1.2", False), ("localhost", False), ("fe80::1%lo", False)],
)  # fmt: skip
def test_loopback_is_known_by_its_address(host: str, is_it: bool) -> None:
    assert is_loopback(host) is is_it


@pytest.mark.pure
def test_connections_are_overdue_only_while_nothing_is_under_way() -> None:
    now = 0.0

    def clock() -> float:
        return now

    tell: Callable[[], float] = clock
    times = Times[str](Limits(head_seconds=10.0, idle_seconds=60.0), tell)
    assert times.overdue(["silent", "busy"]) == []
    times.begin("busy")
    now = 10.0
    assert times.overdue(["silent", "busy"]) == ["silent"]
    now = 1000.0
    assert times.overdue(["busy"]) == []
    times.end("busy")
    now = 1059.0
    assert times.overdue(["busy"]) == []
    now = 1060.0
    assert times.overdue(["busy"]) == ["busy"]
    # One that is gone is forgotten: another of its name begins anew.
    assert times.overdue([]) == []
    assert times.overdue(["busy"]) == []
