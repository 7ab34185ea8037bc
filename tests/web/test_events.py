"""Streams of events over HTTP: every row once and in order, whatever happens to the connection."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.web.serving import STORE_TROUBLE, Served, run, served
from tests.worlds import fleet
from ygg.client.messages import Message, Messages
from ygg.fleet import Fleet
from ygg.journal import Kind, Note
from ygg.tasks import Status
from ygg.web import tail
from ygg.web.limits import Limits

CLIENTS = 200


class Stream:
    """One connection's messages, as they come."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self.reader = Messages()
        self._ready: list[Message] = []

    async def next(self) -> Message:
        """Raises EOFError at the stream's end."""
        while not self._ready:
            part = await self.answer.content.readany()
            if not part:
                raise EOFError
            self._ready = self.reader.feed(part)
        return self._ready.pop(0)

    async def rows(self, count: int) -> list[dict[str, Any]]:
        return [json.loads((await self.next()).data) for _ in range(count)]

    async def until_id(self, position: int) -> None:
        """Wait for a sign of life that says so."""
        while self.reader.last_id != str(position):
            part = await self.answer.content.readany()
            assert part, "the stream ended"
            self._ready += self.reader.feed(part)


@asynccontextmanager
async def stream(
    w: Served, query: str = "", headers: Mapping[str, str] | None = None
) -> AsyncIterator[Stream]:
    """Open, and at its beginning: what happens from now on is in it."""
    url = f"http://127.0.0.1:{w.port}/v1/events{query}"
    async with asyncio.timeout(60), w.session.get(url, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        it = Stream(answer)
        while not it.reader.last_id:
            it._ready += it.reader.feed(await answer.content.readany())
        yield it


def positions(w: Served, after: int = 0) -> list[int]:
    return [row.position for row in w.store.tables.rows if row.position > after]


def last(w: Served) -> int:
    return w.store.tables.rows[-1].position


async def note(w: Served, reason: str = "") -> None:
    """A row that changes nothing."""
    row = Note(kind=Kind.HOST, host="h", reason=reason, detail={"mode": "up"})
    await w.store.note([row], now=1.0)


def test_a_stream_tells_of_what_happens_from_now_on(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w, stream(w) as s:
            assert s.answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
            whole = await w.ask("GET", "/v1/status")  # no more is told of what is below
            for name in ("Cache-Control", "Server", "Cross-Origin-Resource-Policy"):
                assert s.answer.headers[name] == whole.headers[name]
            began = last(w)
            task_id = await w.submit(title="a", type="reasoning", priority=1)
            await w.until_status(task_id, Status.CLOSED)
            rows = await s.rows(3)
            assert [row["kind"] for row in rows] == ["accepted", "started", "closed"]
            assert [row["position"] for row in rows] == positions(w, began)
            assert {row["task"] for row in rows} == {task_id}
            assert (rows[0]["type"], rows[0]["priority"]) == ("reasoning", 1)
            assert s.reader.last_id == str(last(w))

    run(story())


def test_a_stream_is_taken_up_again_after_the_last_row_that_was_seen(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            await w.until_status(await w.submit(title="a"), Status.CLOSED)
            every = positions(w)
            for query, headers, after in (
                ("?after=0", None, 0),
                (f"?after={every[2]}", None, every[2]),
                ("", {"Last-Event-ID": str(every[3])}, every[3]),
                # As a browser does it: the address stays, the header says how far it came.
                ("?after=0", {"Last-Event-ID": str(every[4])}, every[4]),
            ):
                async with stream(w, query, headers) as s:
                    rows = await s.rows(len(positions(w, after)))
                    assert [row["position"] for row in rows] == positions(w, after)

    run(story())


def test_a_stream_shows_only_what_is_wanted(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            one, two = await w.submit(title="a"), await w.submit(title="b")
            await w.until_status(two, Status.CLOSED)
            async with stream(w, f"?after=0&task={one}") as s:
                assert [r["kind"] for r in await s.rows(3)] == ["accepted", "started", "closed"]
            async with stream(w, "?after=0&kinds=closed,started") as s:
                rows = await s.rows(4)
                assert [(r["task"], r["kind"]) for r in rows] == [
                    (one, "started"), (one, "closed"), (two, "started"), (two, "closed"),
                ]  # fmt: skip
            async with stream(w, f"?after=0&task={two}&kinds=accepted") as s:
                assert [r["task"] for r in await s.rows(1)] == [two]

    run(story())


@pytest.mark.parametrize(
    ("query", "headers", "status", "says"),
    [
        ("?after=x", {}, 400, "whole number"),
        ("?after=-1", {}, 400, "whole number"),
        ("?kinds=closed,opend", {}, 400, "some of accepted, started"),
        ("?kinds=", {}, 400, "1 to 500 characters"),
        ("?task=" + "0" * 18, {}, 404, "no task"),
        ("?since=1", {}, 400, "known: after, task, kinds"),
        ("", {"Last-Event-ID": "x"}, 400, "whole number"),
        ("", {"Last-Event-ID": "9" * 30}, 400, "whole number"),
    ],
)
def test_a_stream_that_can_not_be_is_refused_before_it_begins(
    tmp_path: Path, query: str, headers: dict[str, str], status: int, says: str
) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            reply = await w.ask("GET", f"/v1/events{query}", headers=headers)
            assert reply.status == status
            assert says in reply.json["detail"]
            assert (await w.ask("HEAD", "/v1/events")).status == 405

    run(story())


def test_who_fell_out_of_the_journal_is_told_and_goes_on_from_now(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            task_id = await w.submit(title="a")
            await w.until_status(task_id, Status.CLOSED)
            for _ in range(5):
                await note(w)
            await w.store.prune(closed_before=1e12, journal_before=None)
            pruned = await w.store.pruned_to()
            assert 0 < pruned < last(w)
            async with stream(w, f"?after={pruned - 1}") as s:
                message = await s.next()
                row = json.loads(message.data)
                assert (message.event, message.id, row["kind"]) == ("reset", str(last(w)), "reset")
                assert f"rows up to {pruned}" in row["reason"]
                await note(w, "goes on")
                assert [r["reason"] for r in await s.rows(1)] == ["goes on"]
            async with stream(w, f"?after={pruned}") as s:
                assert (await s.rows(1))[0]["kind"] != "reset"

    # What is still at hand is sent all the same: only who must read the journal can miss a row.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tail, "KEPT", 1)
        run(story())


def test_a_position_of_another_store_is_told(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w, stream(w, f"?after={last(w) + 1000}") as s:
            message = await s.next()
            assert (message.event, message.id) == ("reset", str(last(w)))
            assert "was not written yet" in json.loads(message.data)["reason"]

    run(story())


def test_who_is_far_behind_reads_on_from_the_journal(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            for i in range(50):
                await note(w, str(i))
            async with stream(w, "?after=0") as s:
                for i in range(50, 60):
                    await note(w, str(i))
                rows = await s.rows(len(positions(w)))
                assert [row["position"] for row in rows] == positions(w)
            async with stream(w, "?after=0&kinds=opened") as s:
                assert [row["kind"] for row in await s.rows(1)] == ["opened"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tail, "KEPT", 3)
        patch.setattr(tail, "PIECE_ROWS", 7)
        run(story())


def test_a_quiet_stream_gives_signs_of_life_that_say_how_far_it_came(tmp_path: Path) -> None:
    async def story() -> None:
        limits = Limits(heartbeat_seconds=0.02)
        async with served(tmp_path, limits=limits) as w, stream(w, "?kinds=left") as s:
            await note(w)
            await s.until_id(last(w))

    run(story())


def test_what_is_not_wanted_keeps_no_sign_of_life_back(tmp_path: Path) -> None:
    async def story() -> None:
        limits = Limits(heartbeat_seconds=0.02)
        async with served(tmp_path, limits=limits) as w, stream(w, "?kinds=left") as s:
            ends = asyncio.Event()

            async def chatter() -> None:
                while not ends.is_set():
                    await note(w)
                    await asyncio.sleep(0.001)

            talking = asyncio.create_task(chatter())
            began = int(s.reader.last_id)
            while int(s.reader.last_id) <= began:
                s.reader.feed(await s.answer.content.readany())
            ends.set()
            await talking

    run(story())


def test_there_is_a_limit_to_streams(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path, limits=Limits(streams=2)) as w:
            async with stream(w), stream(w):
                reply = await w.ask("GET", "/v1/events")
                assert reply.status == 503
                assert reply.json["type"] == "urn:ygg:problem:too-many-streams"
                assert reply.headers["Retry-After"] == "10"
                assert (await w.ask("GET", "/v1/status")).status == 200
            async with asyncio.timeout(30):  # who hangs up makes room, though nothing happens
                while True:
                    with suppress(AssertionError):
                        async with stream(w):
                            break

    run(story())


def test_a_store_that_fails_ends_only_the_streams_that_must_read_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            for i in range(9):
                await note(w, str(i))
            async with stream(w) as s:
                w.store.trouble = STORE_TROUBLE
                async with stream(w, "?after=0") as behind:
                    with pytest.raises(EOFError):
                        await behind.next()
                w.store.trouble = None
                await note(w, "well again")
                assert [row["reason"] for row in await s.rows(1)] == ["well again"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tail, "KEPT", 1)
        run(story())


def test_a_stream_ends_with_the_dispatcher_after_the_last_row(tmp_path: Path) -> None:
    async def story() -> None:
        async with aiohttp.ClientSession() as session:
            async with served(tmp_path) as w:
                w.session, ours = session, w.session
                opened = stream(w)
                s = await opened.__aenter__()
                await note(w, "the last word")
                w.session = ours
            rows = await s.rows(1)
            assert rows[0]["reason"] == "the last word"
            with pytest.raises(EOFError):  # cleanly: a cut connection is another error
                await s.next()
            await opened.__aexit__(None, None, None)

    run(story())


def test_a_client_that_does_not_read_holds_nobody_up_and_misses_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            began = last(w)
            slow = socket.socket()
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(slow, ("127.0.0.1", w.port))
            await loop.sock_sendall(
                slow, b"GET /v1/events?after=%d HTTP/1.0\r\nHost: localhost\r\n\r\n" % began
            )
            async with stream(w) as s:
                for i in range(3000):
                    await note(w, f"{i} " + "x" * 1000)  # more than all buffers on the way hold
                rows = await s.rows(3000)
                assert [row["position"] for row in rows] == positions(w, began)
            got, reader = list[int](), Messages()
            head = True
            async with asyncio.timeout(60):
                while len(got) < 3000:
                    part = await loop.sock_recv(slow, 65536)
                    assert part
                    if head:
                        head, part = False, part.partition(b"\r\n\r\n")[2]
                    got += [json.loads(m.data)["position"] for m in reader.feed(part)]
            slow.close()
            assert got == positions(w, began)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tail, "KEPT", 100)
        run(story())


def a_busy_fleet() -> Fleet:
    return fleet({"a": 4, "b": 4})


def test_200_clients_see_every_row_once_in_order_through_reconnects(tmp_path: Path) -> None:
    async def story() -> None:
        limits = Limits(connections=3 * CLIENTS, streams=2 * CLIENTS)
        async with served(tmp_path, a_busy_fleet(), limits) as w:
            w.session._connector._limit = 0  # type: ignore[union-attr]  # so many at once
            began, seen = last(w), [list[int]() for _ in range(CLIENTS)]
            ready, done = 0, asyncio.Event()
            all_ready = asyncio.Event()

            async def follow(index: int) -> None:
                """Hang up in the middle again and again; come back with the last id."""
                nonlocal ready
                chance, last_id = random.Random(index), str(began)
                while True:
                    async with stream(w, headers={"Last-Event-ID": last_id}) as s:
                        ready += 1
                        if ready >= CLIENTS:
                            all_ready.set()
                        for _ in range(chance.randint(5, 150)):
                            message = await s.next()
                            seen[index].append(json.loads(message.data)["position"])
                            last_id = message.id
                            if done.is_set() and seen[index][-1] == last(w):
                                return

            async def work() -> None:
                await all_ready.wait()
                for _ in range(4):
                    body = [{"title": f"t{i}"} for i in range(25)]
                    ids = (await w.ask("POST", "/v1/tasks", body)).json["tasks"]
                    for task in ids:
                        await w.until_status(task["id"], Status.CLOSED)
                done.set()
                await note(w, "the end")

            async with asyncio.timeout(120), asyncio.TaskGroup() as group:
                for index in range(CLIENTS):
                    group.create_task(follow(index))
                group.create_task(work())
            expected = positions(w, began)
            assert len(expected) > 300
            for got in seen:
                assert got == expected

    run(story())
