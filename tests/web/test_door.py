"""Who gets in by which door, and that nobody holds it up. By hand-written requests over sockets.

No test may listen beyond loopback: 127.0.0.2 stands for an address that other machines reach.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import re
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.web.raw import BODY, JSON, Where, connect, head, raw, status_of, top_of
from tests.web.serving import Served, run, served, served_beside
from tests.worlds import fleet
from ygg.addresses import HostPort
from ygg.fleet import DispatcherSettings, Fleet
from ygg.web.auth import Token, parse_tokens, token_line
from ygg.web.connections import Times
from ygg.web.guard import host_names
from ygg.web.limits import Limits
from ygg.web.listening import CantListen, listening
from ygg.web.sockets import bind_unix

SECRET: Final = "ygg_hunter2-hunter2-hunter2"
OTHER: Final = "ygg_other-other-other-other"
TOKENS: Final = parse_tokens(f"{token_line(SECRET, 'ci')}\n{token_line(OTHER, 'laptop')}", "f")
LOCAL: Final = ("Host: localhost",)
BEARER: Final = (*LOCAL, f"Authorization: Bearer {SECRET}")


def with_settings(**changes: Any) -> Fleet:
    found = fleet()
    return replace(found, dispatcher=replace(found.dispatcher, **changes))


@asynccontextmanager
async def three_doors(
    folder: Path,
    settings: Fleet | None = None,
    limits: Limits | None = None,
    *,
    tokens: Iterable[Token] = TOKENS,
    more: Iterable[web.RouteDef] = (),
) -> AsyncIterator[tuple[Served, Where, Where, Where]]:
    """Loopback, the socket, and one beyond."""
    path = folder / "s"
    async with served(
        folder, settings, limits, tokens=tokens, listen=["127.0.0.2:0", f"unix:{path}"],
        is_loopback=lambda host: host == "127.0.0.1", more=more,
    ) as w:  # fmt: skip
        beyond = w.doors.addresses[1]
        assert isinstance(beyond, HostPort)
        yield w, w.port, path, (beyond.host, beyond.port)


async def until(condition: Callable[[], bool]) -> None:
    """For what no event tells of: the server's end of a connection."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


def problem_of(answer: bytes) -> dict[str, Any]:
    assert b"Content-Type: application/problem+json" in answer
    found: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert found["status"] == status_of(answer)
    return found


# -- tokens ------------------------------------------------------------------------------------


def test_beyond_loopback_every_route_but_livez_needs_a_token(tmp_path: Path) -> None:
    async def story() -> None:
        async with three_doors(tmp_path) as (w, _, _, beyond):
            asked = set[str]()
            for route in w.new_app().router.routes():
                assert route.resource is not None
                path = route.resource.canonical.replace("{id}", "0" * 18).replace("{name}", "h")
                path = re.sub(r"\{[^}]*\}", "x", path)
                asked.add(path)
                answer = await raw(beyond, head(*LOCAL, method=route.method, path=path))
                if path == "/livez":
                    assert status_of(answer) == 200
                    continue
                assert status_of(answer) == 401, (route.method, path)
                assert b'\r\nWWW-Authenticate: Bearer realm="ygg"\r\n' in answer
                if route.method != "HEAD":
                    assert problem_of(answer)["type"] == "urn:ygg:problem:unauthorized"
                good = await top_of(beyond, head(*BEARER, method=route.method, path=path))
                assert status_of(good) not in (401, 403, 421), (route.method, path)
            assert {"/v1/tasks", "/v1/status", "/metrics", "/readyz", "/livez"} <= asked
            # What is there at all is not told either.
            assert status_of(await raw(beyond, head(*LOCAL, path="/nowhere"))) == 401
            assert status_of(await raw(beyond, head(*LOCAL, path="/livez"))) == 401
            assert status_of(await raw(beyond, head(*LOCAL, method="GET", path="/%6civez"))) == 401

    run(story())


def test_loopback_and_the_socket_need_none(tmp_path: Path) -> None:
    async def story() -> None:
        async with three_doors(tmp_path) as (_, loopback, unix, _):
            for door in (loopback, unix):
                assert status_of(await raw(door, head(*LOCAL, method="GET"))) == 200
                assert status_of(await raw(door, head(*LOCAL, *JSON) + BODY)) == 201

    run(story())


@pytest.mark.parametrize("changes", [{"token": "always"}, {"names": ("ygg.example.org",)}])
def test_with_token_always_or_behind_a_proxy_all_need_one(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    async def story() -> None:
        async with three_doors(tmp_path, with_settings(**changes)) as (_, *doors):
            for door in doors:
                assert status_of(await raw(door, head(*LOCAL, *JSON) + BODY)) == 401
                assert status_of(await raw(door, head(*BEARER, *JSON) + BODY)) == 201
                assert status_of(await raw(door, head(*LOCAL, method="GET", path="/livez"))) == 200

    run(story())


@pytest.mark.parametrize(
    "line",
    ["Forwarded: for=192.0.2.60", "X-Forwarded-For: 192.0.2.60", "X-Forwarded-Host: ygg.example",
     "X-Real-IP: 192.0.2.60", "via: 1.1 proxy"],
)  # fmt: skip
def test_what_a_proxy_passed_on_needs_one_on_loopback_too(tmp_path: Path, line: str) -> None:
    async def story() -> None:
        async with three_doors(tmp_path) as (_, loopback, unix, _):
            for door in (loopback, unix):
                assert status_of(await raw(door, head(*LOCAL, line, method="GET"))) == 401
                assert status_of(await raw(door, head(*BEARER, line, method="GET"))) == 200
        async with served(tmp_path) as w:
            answer = await raw(w.port, head(*LOCAL, line, method="GET"))
            assert "ygg token new" in problem_of(answer)["detail"]

    run(story())


def test_no_body_is_awaited_of_who_has_no_token(tmp_path: Path) -> None:
    async def story() -> None:
        async with three_doors(tmp_path) as (_, _, _, beyond):
            lines = ("Content-Type: application/json", "Content-Length: 1000000")
            assert status_of(await raw(beyond, head(*LOCAL, *lines))) == 401

    run(story())


def test_a_wrong_token_is_refused_everywhere_and_shown_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def story() -> None:
        async with three_doors(tmp_path) as (_, *doors):
            for door in doors:
                wrong = (*LOCAL, "Authorization: Bearer ygg_hunter3-hunter3-hunter3")
                answer = await raw(door, head(*wrong, *JSON) + BODY)
                assert status_of(answer) == 401
                assert b'realm="ygg", error="invalid_token"' in answer
                assert b"hunter" not in answer
                assert b"hunter" not in await raw(
                    door, head(*BEARER, method="GET", path="/metrics")
                )

    run(story())
    assert "hunter" not in caplog.text


def test_a_tokens_name_is_who_submits_and_keys_are_theirs(tmp_path: Path) -> None:
    async def submit(w: Served, token: str | None) -> dict[str, Any]:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        reply = await w.ask("POST", "/v1/tasks", {"title": "a", "key": "k"}, headers=headers)
        assert reply.status in (200, 201)
        found: dict[str, Any] = reply.json
        return found

    async def story() -> None:
        async with served(tmp_path, tokens=TOKENS) as w:
            tasks = [await submit(w, token) for token in (SECRET, OTHER, None, SECRET)]
            assert [task["submitter"] for task in tasks] == ["ci", "laptop", "", "ci"]
            assert len({task["id"] for task in tasks}) == 3
            assert tasks[0]["id"] == tasks[3]["id"]

    run(story())


def test_listening_beyond_loopback_without_a_token_is_refused(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            for address in ("0.0.0.0:0", "[::]:0"):
                with pytest.raises(CantListen, match=r"ygg token new --file.*127\.0\.0\.1:PORT"):
                    async with listening(w.new_app(), ["127.0.0.1:0", address]):
                        pytest.fail("it listens")

    run(story())


def test_a_door_beyond_loopback_says_that_nothing_is_encrypted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def story() -> None:
        async with three_doors(tmp_path):
            pass

    run(story())
    lines = [line for line in caplog.messages if line.startswith("event=listening")]
    assert len(lines) == 3
    for line in lines:
        is_beyond = "127.0.0.2" in line
        assert ("reverse proxy do TLS" in line) == is_beyond
        assert ("token=needed" in line) == is_beyond


# -- names -------------------------------------------------------------------------------------


def test_the_name_of_a_proxy_and_the_address_itself_are_answered(tmp_path: Path) -> None:
    async def story() -> None:
        async with three_doors(tmp_path, with_settings(names=("ygg.example.org",))) as (
            _, loopback, unix, beyond,
        ):  # fmt: skip
            bearer = f"Authorization: Bearer {SECRET}"
            for door in (loopback, unix, beyond):
                for name, status in (
                    ("ygg.example.org", 200),
                    ("YGG.example.org:443", 200),
                    ("localhost", 200),
                    ("127.0.0.2:8765", 200 if door is beyond else 421),
                    ("www.ygg.example.org", 421),
                    ("127.0.0.3", 421),
                ):
                    answer = await raw(door, head(f"Host: {name}", bearer, method="GET"))
                    assert status_of(answer) == status, (door, name)
            assert "`names`" in problem_of(answer)["detail"]

    run(story())


# -- the matrix --------------------------------------------------------------------------------

HOSTS: Final = ("localhost:8765", "ygg.example.org", "[::1]", "evil.test", "127.0.0.1.evil.test")
ORIGINS: Final[tuple[tuple[str, ...], ...]] = (
    (), ("http://localhost:8765",), ("https://localhost:8765",), ("http://ygg.example.org",),
    ("https://ygg.example.org",), ("http://localhost:3000",), ("null",), ("http://evil.test",),
    ("http://[::1]",), ("http://localhost:8765", "http://evil.test"),
)  # fmt: skip
SITES: Final = (None, "none", "same-origin", "same-site", "cross-site", "?")
MODES: Final = ((), ("navigate", "document"), ("navigate", "iframe"), ("no-cors", "script"))
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
#: Of each name of ours, the origins of its own page: only a proxy does TLS.
OWN: Final = {
    "localhost:8765": {"http://localhost:8765"},
    "ygg.example.org": {"http://ygg.example.org", "https://ygg.example.org"},
    "[::1]": {"http://[::1]"},
}


def expected(
    host: str, origins: tuple[str, ...], site: str | None, mode: tuple[str, ...], method: str
) -> int:
    """The rule again: 421, 403, or 0 for a request that the guard lets pass."""
    if host not in OWN:
        return 421
    by_link = method in ("GET", "HEAD") and not origins and mode == ("navigate", "document")
    foreign = bool(set(origins) - OWN[host]) or site in ("same-site", "cross-site", "?")
    return 403 if foreign and not by_link else 0


def request_of(
    host: str, origins: tuple[str, ...], site: str | None, mode: tuple[str, ...], method: str
) -> bytes:
    lines = [f"Host: {host}", f"Authorization: Bearer {SECRET}"]
    lines += [f"Origin: {origin}" for origin in origins]
    lines += [] if site is None else [f"Sec-Fetch-Site: {site}"]
    if mode:
        lines += [f"Sec-Fetch-Mode: {mode[0]}", f"Sec-Fetch-Dest: {mode[1]}"]
    return "\r\n".join((f"{method} /v1/hosts HTTP/1.1", *lines, "", "")).encode()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("by_socket", [False, True])
def test_the_whole_matrix_of_names_origins_sites_and_methods(
    tmp_path: Path, method: str, by_socket: bool
) -> None:
    async def story() -> None:
        async with three_doors(tmp_path, with_settings(names=("ygg.example.org",))) as (
            _, loopback, unix, _,
        ):  # fmt: skip
            door = unix if by_socket else loopback
            reader, writer = await connect(door)
            for case in itertools.product(HOSTS, ORIGINS, SITES, MODES, (method,)):
                writer.write(request_of(*case))
                top = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
                length = re.search(rb"Content-Length: (\d+)", top)
                assert length is not None, top
                if method != "HEAD":
                    await reader.readexactly(int(length[1]))
                status, wanted = status_of(top), expected(*case)
                if wanted:
                    assert status == wanted, case
                else:
                    assert status == (200 if method in ("GET", "HEAD") else 405), case
                assert b"access-control" not in top.lower()
                if b"Connection: close" in top:
                    writer.close()
                    reader, writer = await connect(door)
            writer.close()

    run(story())


@pytest.mark.pure
@given(
    listen=st.lists(
        st.sampled_from(["127.0.0.1:1", "[::1]:2", "tower:3", "0.0.0.0:4", "[::]:5", "unix:/s",
                         "[fd00::1]:6", "10.0.0.7:7"]), min_size=1, unique=True),
    names=st.lists(st.sampled_from(["ygg.example.org", "ygg_1", "[fd00::2]"]), unique=True),
)  # fmt: skip
def test_the_names_are_loopbacks_and_what_the_settings_say(
    listen: list[str], names: list[str]
) -> None:
    found = host_names(DispatcherSettings(listen=tuple(listen), names=tuple(names)))
    always = {"localhost", "127.0.0.1", "[::1]"}
    assert always <= found
    assert set(names) <= found
    assert found - always - set(names) == {
        address.rpartition(":")[0] for address in listen if address[0] not in "0u"
    } - {"[::]", "[::1]", "127.0.0.1"}


# -- limits ------------------------------------------------------------------------------------

LIMITS: Final = Limits(
    body_bytes=1000, body_seconds=0.3, sweep_seconds=0.02, line_bytes=300, header_bytes=400,
    headers=10, connections=12, connections_kept=8, connections_of_socket=2,
)  # fmt: skip
DOORS: Final = pytest.mark.parametrize("number", [0, 1, 2], ids=["loopback", "socket", "beyond"])


@DOORS
@pytest.mark.parametrize(
    ("request_", "status", "slug"),
    [
        (head(*BEARER, "Content-Type: application/json", "Content-Length: 1001"), 413, "too-large"),
        (head(*BEARER, *JSON, "Content-Encoding: gzip") + BODY, 415, "encoded"),
        (head(*BEARER, "Content-Length: 1") + b"x", 415, "not-json"),
        (head(*BEARER, *JSON) + BODY[:-1], 408, "too-slow"),
        (head(*BEARER, f"X: {'x' * 401}", method="GET"), 431, "large-headers"),
        (head(*BEARER, f"{'X' * 401}: x", method="GET"), 431, "large-headers"),
        (head(*BEARER, *(f"X{n}: x" for n in range(8)), method="GET"), 431, "large-headers"),
        (head(*BEARER, method="GET", path=f"/{'x' * 300}"), 414, "long-address"),
        (head(*BEARER, *JSON, "Expect: nonsense") + BODY, 417, "expectation"),
        (head(*BEARER, "Expect: nonsense", method="GET", path="/no"), 417, "expectation"),
        (head(method="GET"), 400, "bad-request"),
        (head("Host: a", "Host: b", method="GET"), 400, "bad-request"),
        (head(*BEARER, "Content-Length: 1", "Content-Length: 2"), 400, "bad-request"),
        (head(*BEARER, "X\x00: x", method="GET"), 400, "bad-request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "bad-request"),
    ],
)
def test_each_limit_is_told_at_each_door(
    tmp_path: Path, number: int, request_: bytes, status: int, slug: str
) -> None:
    async def story() -> None:
        async with three_doors(tmp_path, limits=LIMITS) as (_, *doors):
            answer = await raw(doors[number], request_)
            assert status_of(answer) == status, answer
            found = problem_of(answer)
            assert found["type"] == f"urn:ygg:problem:{slug}"
            assert found["detail"]
            assert b"Connection: close" in answer or answer.startswith(b"HTTP/1.0")
            assert b"X-Content-Type-Options: nosniff" in answer
            assert b"hunter" not in answer
            good = await raw(doors[number], head(*BEARER, *JSON) + BODY)
            assert status_of(good) == 201

    run(story())


def test_what_just_fits_the_limits_is_taken(tmp_path: Path) -> None:
    async def story() -> None:
        async with three_doors(tmp_path, limits=LIMITS) as (_, loopback, _, _):
            fits = (*BEARER, f"X: {'x' * 390}", *(f"X{n}: x" for n in range(6)))
            answer = await raw(loopback, head(*fits, method="GET", path=f"/{'x' * 280}"))
            assert status_of(answer) == 404

    run(story())


@pytest.mark.parametrize(
    "request_",
    [
        head(*BEARER, "X: a\x00b", method="GET"),
        head(*BEARER, f"Authorization: Bearer {SECRET}{'x' * 9000}", method="GET"),
        head(*LOCAL, f"Authorization : Bearer {SECRET}", method="GET"),
        head(*LOCAL, f"Bearer {SECRET}", method="GET"),
        head(*LOCAL, *(f"Authorization: Bearer {SECRET}" for _ in range(99)), method="GET"),
        f"GET /{SECRET} HTTP/7.7\r\n\r\n".encode(),
        f"{SECRET} / HTTP/1.1\r\n\r\n".encode(),
    ],
)
def test_what_cant_be_read_is_neither_logged_nor_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, request_: bytes
) -> None:
    caplog.set_level(logging.DEBUG)

    async def story() -> None:
        async with served(tmp_path, tokens=TOKENS) as w:
            answer = await raw(w.port, request_)
            assert status_of(answer) in (400, 431)
            assert b"hunter" not in answer

    run(story())
    assert "hunter" not in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@DOORS
@pytest.mark.parametrize("piece", [b"", b"X: y\r\n"], ids=["silent", "dripping"])
def test_a_head_that_does_not_end_is_given_up(tmp_path: Path, number: int, piece: bytes) -> None:
    async def story() -> None:
        limits = replace(LIMITS, head_seconds=0.2, headers=10_000)
        async with three_doors(tmp_path, limits=limits) as (_, *doors):
            reader, writer = await connect(doors[number])
            writer.write(b"GET /livez HTTP/1.1\r\n")
            ended = asyncio.ensure_future(reader.read())
            async with asyncio.timeout(20):
                while not ended.done():
                    writer.write(piece)
                    await asyncio.sleep(0.01)
            # It is closed without a word, or so that the last drops bounce.
            assert isinstance(ended.exception(), ConnectionError) or ended.result() == b""
            writer.close()

    run(story())


@DOORS
def test_a_body_that_drips_is_given_up(tmp_path: Path, number: int) -> None:
    async def story() -> None:
        async with three_doors(tmp_path, limits=LIMITS) as (_, *doors):
            reader, writer = await connect(doors[number])
            writer.write(head(*BEARER, "Content-Type: application/json", "Content-Length: 900"))
            answered = asyncio.ensure_future(reader.read(100))
            async with asyncio.timeout(20):
                while not answered.done():
                    writer.write(b" ")
                    await asyncio.sleep(0.01)
            assert status_of(answered.result()) == 408
            writer.close()

    run(story())


async def big(_: web.Request) -> web.Response:
    return web.Response(body=bytes(32 << 20))


async def endless(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    while True:
        await answer.write(bytes(1 << 16))


@DOORS
@pytest.mark.parametrize("path", ["/big", "/endless"])
def test_a_client_that_does_not_read_is_hung_up_on(tmp_path: Path, number: int, path: str) -> None:
    async def story() -> None:
        more = [web.get("/big", big), web.get("/endless", endless)]
        limits = replace(LIMITS, idle_seconds=0.4, take_seconds=0.4)
        async with three_doors(tmp_path, limits=limits, more=more) as (w, *doors):
            reader, writer = await connect(doors[number], takes_little=True)
            writer.write(head(*BEARER, method="GET", path=path))
            assert await reader.readexactly(1) == b"H"
            reception = w.doors._reception
            # Meanwhile others are served.
            assert status_of(await raw(doors[number], head(*BEARER, *JSON) + BODY)) == 201
            await until(lambda: not reception.connections)
            writer.close()

    run(story())


@pytest.mark.parametrize(("number", "path"), [(0, "/big"), (1, "/endless")])
def test_the_end_waits_for_no_client(tmp_path: Path, number: int, path: str) -> None:
    async def story() -> None:
        more = [web.get("/big", big), web.get("/endless", endless)]
        async with three_doors(tmp_path, more=more) as (w, *doors):
            reader, writer = await connect(doors[number], takes_little=True)
            writer.write(head(*BEARER, method="GET", path=path))
            await reader.readexactly(1)
            connections = w.doors._reception.connections
            assert connections
        await until(lambda: all(one._wire is None for one in connections))
        writer.close()

    run(story())


def test_a_client_that_reads_gets_an_answer_of_any_length(tmp_path: Path) -> None:
    async def story() -> None:
        async with three_doors(tmp_path, limits=LIMITS, more=[web.get("/big", big)]) as (_, *doors):
            for door in doors:
                assert len(await raw(door, head(*BEARER, method="GET", path="/big"))) > 32 << 20

    run(story())


@DOORS
def test_clients_that_hang_up_anywhere_leave_nothing_behind(tmp_path: Path, number: int) -> None:
    async def story() -> None:
        limits = replace(LIMITS, body_seconds=20.0)
        more = [web.get("/big", big)]
        whole = head(*BEARER, *JSON) + BODY
        async with three_doors(tmp_path, limits=limits, more=more) as (w, *doors):
            for cut in range(0, len(whole), 9):
                _, writer = await connect(doors[number])
                writer.write(whole[:cut])
                await writer.drain()
                writer.close()
            for _ in range(10):
                reader, writer = await connect(doors[number])
                writer.write(head(*BEARER, method="GET", path="/big"))
                await reader.read(1)
                writer.close()
            await until(lambda: not w.doors._reception.connections)
            assert status_of(await raw(doors[number], whole)) == 201

    run(story())


def test_strangers_who_take_all_connections_do_not_lock_the_owner_out(tmp_path: Path) -> None:
    async def story() -> None:
        async with three_doors(tmp_path, limits=LIMITS) as (w, loopback, unix, beyond):
            opened = [await connect(beyond) for _ in range(4)]
            await until(lambda: len(w.doors._reception.connections) == 4)
            answer = await raw(beyond, head(*BEARER, method="GET"))
            assert status_of(answer) == 503
            assert problem_of(answer)["type"] == "urn:ygg:problem:busy"
            for door in (loopback, unix):
                assert status_of(await raw(door, head(*LOCAL, method="GET"))) == 200
            for _, writer in opened:
                writer.close()

    run(story())


def test_who_takes_all_connections_of_loopback_does_not_lock_the_socket(tmp_path: Path) -> None:
    async def story() -> None:
        async with three_doors(tmp_path, limits=LIMITS) as (w, loopback, unix, beyond):
            opened = [await connect(loopback) for _ in range(10)]
            await until(lambda: len(w.doors._reception.connections) == 10)
            for door in (loopback, beyond):
                answer = await raw(door, head(*BEARER, method="GET"))
                assert problem_of(answer)["type"] == "urn:ygg:problem:busy"
            assert status_of(await raw(unix, head(*LOCAL, method="GET"))) == 200
            for _, writer in opened:
                writer.close()

    run(story())


@pytest.mark.pure
def test_a_connection_is_stuck_once_it_has_had_something_to_take_for_too_long() -> None:
    now = 0.0
    times = Times[str](Limits(take_seconds=10.0), lambda: now)
    assert times.stuck({"slow": 5, "well": 0}) == []
    now = 9.0
    assert times.stuck({"slow": 4, "well": 7}) == []
    now = 10.0
    assert times.stuck({"slow": 3, "well": 6}) == ["slow"]
    now = 18.0
    assert times.stuck({"slow": 0, "well": 6}) == ["slow"][:0], "it took all, once"
    now = 19.0
    assert times.stuck({"slow": 9, "well": 6}) == ["well"]
    now = 28.0
    assert times.stuck({"slow": 9}) == []
    now = 29.0
    assert times.stuck({"slow": 9}) == ["slow"]


PIECES: Final = (
    b"GET ", b"POST ", b"/v1/tasks", b"/livez", b" HTTP/1.1\r\n", b"HTTP/1.0", b"\r\n", b"\r\n\r\n",
    b"Host: localhost\r\n", b"Content-Length: 2\r\n", b"Transfer-Encoding: chunked\r\n", b"{}", b"0",
    b"Content-Type: application/json\r\n", b"Expect: 100-continue\r\n", b"Upgrade: websocket\r\n",
    b"Connection: upgrade\r\n", b"Authorization: Bearer ", SECRET.encode(), b"\0", b"\xff", b" ", b":",
    b"CONNECT ", b"OPTIONS * HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"X" * 9000,
)  # fmt: skip


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with served_beside(tmp_path_factory.mktemp("beside")) as port:
        yield port


@settings(max_examples=60, deadline=None)
@given(pieces=st.lists(st.sampled_from(PIECES) | st.binary(max_size=8), max_size=12))
def test_no_bytes_break_the_server(beside: int, pieces: list[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", beside), 20) as one:
        answer = b""
        with suppress(OSError):  # it may hang up while we still talk
            one.sendall(b"".join(pieces))
            one.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while some := one.recv(1 << 16):
                answer += some
    for status in re.findall(rb"^HTTP/1\.[01] (\d+)", answer, re.MULTILINE):
        assert int(status) < 500, answer
    with socket.create_connection(("127.0.0.1", beside), 20) as another:
        another.sendall(head(*LOCAL, method="GET", path="/livez"))
        assert status_of(another.recv(100)) == 200


# -- the socket --------------------------------------------------------------------------------


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o177])
def test_the_socket_is_for_its_owner_and_group_whatever_the_umask(
    tmp_path: Path, mask: int
) -> None:
    before = os.umask(mask)
    try:
        with bind_unix(tmp_path / "s"):
            assert mode_of(tmp_path / "s") == 0o660
    finally:
        os.umask(before)


def test_the_socket_goes_with_its_server(tmp_path: Path) -> None:
    async def story() -> None:
        async with three_doors(tmp_path) as (_, _, unix, _):
            assert isinstance(unix, Path)
            assert stat.S_ISSOCK(unix.lstat().st_mode)
            assert mode_of(unix) == 0o660
        assert not unix.exists()

    run(story())


def test_anothers_socket_at_our_path_stays(tmp_path: Path) -> None:
    async def story() -> None:
        async with three_doors(tmp_path) as (_, _, unix, _):
            assert isinstance(unix, Path)
            unix.unlink()
            another = bind_unix(unix)
        assert unix.exists()
        another.close()

    run(story())


def test_the_socket_of_a_dead_process_is_replaced(tmp_path: Path) -> None:
    bind_unix(tmp_path / "s").close()  # as a process that was killed leaves it
    assert (tmp_path / "s").exists()

    async def story() -> None:
        async with three_doors(tmp_path) as (_, _, unix, _):
            assert status_of(await raw(unix, head(*LOCAL, method="GET"))) == 200

    run(story())


@pytest.mark.parametrize("backlog", [0, 5])
def test_the_socket_of_a_living_process_is_left_alone(tmp_path: Path, backlog: int) -> None:
    """Also of one that is too busy to answer."""
    path = tmp_path / "s"

    async def story() -> None:
        async with served(tmp_path / "d") as w:
            with bind_unix(path) as living:
                living.listen(backlog)
                waiting = [
                    socket.socket(socket.AF_UNIX) for _ in range(3 - backlog if not backlog else 0)
                ]
                for one in waiting:
                    one.setblocking(False)
                    one.connect_ex(str(path))
                with pytest.raises(CantListen, match=f"another process listens at {path}: end it"):
                    async with listening(w.new_app(), [f"unix:{path}"]):
                        pytest.fail("it listens")
                assert path.exists()
                for one in waiting:
                    one.close()

    (tmp_path / "d").mkdir()
    run(story())


def test_a_socket_is_its_owners_from_before_it_is_open(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            listen = [f"unix:{tmp_path}/s"]
            async with listening(w.new_app(), listen) as doors:
                with pytest.raises(CantListen, match="another process listens"):
                    await open_and_close(w.new_app(), listen)
                asked = asyncio.ensure_future(raw(tmp_path / "s", head(*LOCAL, method="GET")))
                await doors.open()
                assert status_of(await asked) == 200

    run(story())


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_socket_is_never_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "s"
    if kind == "file":
        path.write_text("precious")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "elsewhere")

    async def story() -> None:
        async with served(tmp_path) as w:
            with pytest.raises(CantListen, match="is no socket: choose another path"):
                async with listening(w.new_app(), [f"unix:{path}"]):
                    pytest.fail("it listens")

    run(story())
    assert path.is_symlink() or path.exists()


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            with pytest.raises(CantListen, match=r"make the folder .*/no .*RuntimeDirectory="):
                async with listening(w.new_app(), [f"unix:{tmp_path}/no/s"]):
                    pytest.fail("it listens")

    run(story())


async def open_and_close(app: web.Application, listen: Sequence[str]) -> None:
    async with listening(app, listen) as doors:
        await doors.open()


@pytest.mark.parametrize(
    ("listen", "words"),
    [
        (["no-such-host.invalid:1"], "an address of this machine"),
        (["192.0.2.1:0"], "choose another address with --listen"),
        (["127.0.0.1:{free}", "127.0.0.1:{free}"], "in use; another ygg"),
    ],
)
def test_an_address_that_cant_be_had_is_told_and_the_others_are_given_back(
    tmp_path: Path, listen: list[str], words: str
) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            unix = tmp_path / "s"
            every = [f"unix:{unix}", *(text.format(free=port) for text in listen)]
            with pytest.raises(CantListen, match=words):
                await open_and_close(w.new_app(), every)
            assert not unix.exists()

    run(story())


@settings(max_examples=30, deadline=None)
@given(path=st.text(min_size=1, max_size=20))
def test_any_path_is_bound_or_refused_by_the_settings(path: str) -> None:
    from ygg.addresses import UnixPath, parse_address

    try:
        address = parse_address(f"unix:{path}")
    except ValueError:
        return
    assert isinstance(address, UnixPath)
    assert parse_address(str(address)) == address
