"""Every source is looked at by itself, over real HTTP: a bad one costs nobody else a look."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from autoscaler.dispatcher import Order, OrderAnswer, Unreached
from autoscaler.sightings import Kind, Sighting, Source
from autoscaler.sources import WebSources, follow_dispatcher
from tests import bad_servers
from tests.autoscaler import pages
from tests.bad_servers import FakeServer
from tests.worlds import run_virtual

KEY = "sk-very-secret-key-of-a-server"


class Page:
    """A dispatcher."""

    def __init__(self) -> None:
        self.is_dead = False

    async def metrics(self) -> str:
        if self.is_dead:
            raise Unreached("nobody there")
        return pages.dispatcher()

    async def report(self, order: Order) -> OrderAnswer:
        raise AssertionError("sources only look")


class Seen:
    def __init__(self) -> None:
        self.sightings: list[Sighting] = []
        self._changed = asyncio.Event()

    def take(self, sighting: Sighting) -> None:
        self.sightings.append(sighting)
        self._changed.set()

    async def until(self, true: Callable[[Sequence[Sighting]], bool]) -> None:
        async with asyncio.timeout(30):
            while not true(self.sightings):
                self._changed.clear()
                await self._changed.wait()

    def of(self, source: Source) -> list[Sighting]:
        return [one for one in self.sightings if one.source == source]


def exporter_at(url: str) -> Source:
    return Source(kind=Kind.EXPORTER, url=f"{url}/metrics")


def says(what: bytes) -> bad_servers.Fault:
    async def say(peer: bad_servers.Peer) -> None:
        await peer.send(what)

    return say


@asynccontextmanager
async def following(
    *sources: Source, dispatcher: Page | None = None, every: float = 0.02
) -> AsyncIterator[Seen]:
    seen = Seen()
    followed = WebSources(
        sources, dispatcher or Page(), scrape_seconds=every, pause_seconds_max=4 * every
    )
    task = asyncio.create_task(followed.follow(seen.take))
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_pages_are_handed_on_with_their_time() -> None:
    async def story() -> None:
        async with FakeServer(paths={"/metrics": (200, pages.ours().encode())}) as server:
            source = exporter_at(server.url)
            async with following(source) as seen:
                await seen.until(lambda _: len(seen.of(source)) > 1)
            first, second = seen.of(source)[:2]
            assert (first.text, first.trouble) == (pages.ours(), "")
            assert first.at < second.at
            dispatcher = [s for s in seen.sightings if s.source.kind is Kind.DISPATCHER]
            assert dispatcher[0].text == pages.dispatcher()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (bad_servers.reset_before, "cut the connection"),
        (bad_servers.status(500, "no driver"), "500: no driver"),
        (bad_servers.redirect("http://elsewhere/"), "307"),
        (bad_servers.not_http, "HTTP"),
        (bad_servers.gzip_bomb, "encoding"),
    ],
)
def test_a_bad_exporter_is_a_trouble_in_words_and_costs_nobody_else_a_look(
    fault: bad_servers.Fault, why: str
) -> None:
    async def story() -> None:
        good = FakeServer(paths={"/metrics": (200, pages.ours().encode())})
        async with good, FakeServer(get_fault=fault) as bad:
            ill, well = exporter_at(bad.url), exporter_at(good.url)
            async with following(ill, well) as seen:
                await seen.until(lambda _: len(seen.of(ill)) > 1 and len(seen.of(well)) > 3)
            assert why in seen.of(ill)[0].trouble
            assert not any(one.trouble for one in seen.of(well))

    asyncio.run(story())


def test_a_silent_exporter_costs_nobody_else_a_look() -> None:
    async def story() -> None:
        good = FakeServer(paths={"/metrics": (200, pages.ours().encode())})
        async with good, FakeServer(get_fault=bad_servers.silence) as bad:
            ill, well = exporter_at(bad.url), exporter_at(good.url)
            async with following(ill, well) as seen:
                await seen.until(lambda _: len(seen.of(well)) > 5)
                assert not seen.of(ill)

    asyncio.run(story())


def test_an_endless_page_is_cut_off_and_not_believed() -> None:
    async def story() -> None:
        fault = bad_servers.forever(b"ygg_gpu_up 1.0\n" * 100_000)
        async with FakeServer(get_fault=fault) as bad:
            source = exporter_at(bad.url)
            async with following(source, every=0.5) as seen:
                await seen.until(lambda _: bool(seen.of(source)))
            assert seen.of(source)[0].trouble
            assert not seen.of(source)[0].text

    asyncio.run(story())


def test_one_that_comes_back_is_seen_again() -> None:
    async def story() -> None:
        server = FakeServer(paths={"/metrics": (200, pages.ours().encode())})
        async with server:
            source = exporter_at(server.url)
            async with following(source) as seen:
                await seen.until(lambda _: bool(seen.of(source)))
                await server.down()
                await seen.until(lambda _: bool(seen.of(source)[-1].trouble))
                await server.up()
                await seen.until(lambda _: bool(seen.of(source)[-1].text))

    asyncio.run(story())


def test_a_dead_dispatcher_is_a_trouble_and_is_asked_on() -> None:
    async def story() -> None:
        page = Page()
        page.is_dead = True
        async with following(dispatcher=page) as seen:
            await seen.until(lambda found: len(found) > 2)
            assert seen.sightings[0].trouble == "nobody there"
            page.is_dead = False
            await seen.until(lambda found: bool(found[-1].text))

    asyncio.run(story())


# -- model servers -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_model_server_without_metrics_is_known_to_have_none(status: int) -> None:
    async def story() -> None:
        body = b'{"error": {"message": "This server does not support metrics endpoint."}}'
        async with FakeServer(paths={"/metrics": (status, body)}) as server:
            source = Source(kind=Kind.ENGINE, url=f"{server.url}/metrics")
            async with following(source) as seen:
                await seen.until(lambda _: len(seen.of(source)) > 1)
            first, second = seen.of(source)[:2]
            assert (first.is_absent, second.is_absent) == (False, True), "once is no proof"
            assert first.trouble

    asyncio.run(story())


@pytest.mark.parametrize("status", [204, 302, 400, 404, 503, 999])
def test_only_a_page_that_is_missing_twice_in_a_row_says_what_kind_of_server_it_is(
    status: int,
) -> None:
    async def story() -> None:
        async with FakeServer(paths={"/metrics": (status, b"what a proxy says")}) as server:
            source = Source(kind=Kind.ENGINE, url=f"{server.url}/metrics")
            async with following(source) as seen:
                await seen.until(lambda _: len(seen.of(source)) > 1)
            absent = [sighting.is_absent for sighting in seen.of(source)[:2]]
            assert absent == [False, status == 404]

    asyncio.run(story())


def test_what_an_answer_only_tells_of_is_not_its_status() -> None:
    """A proxy quotes what it was told itself."""
    body = b'{"error": {"message": "upstream answered /metrics with 404: no such page"}}'

    async def story() -> None:
        async with FakeServer(paths={"/metrics": (502, body)}) as server:
            source = Source(kind=Kind.ENGINE, url=f"{server.url}/metrics")
            async with following(source) as seen:
                await seen.until(lambda _: len(seen.of(source)) > 2)
            assert not any(sighting.is_absent for sighting in seen.of(source))

    asyncio.run(story())


@pytest.mark.parametrize(
    "fault",
    [
        bad_servers.redirect("/login"), bad_servers.gzip_bomb, bad_servers.not_http,
        bad_servers.broken_chunks,
        says(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n"),
        says(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhi"),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_http_says_nothing_of_the_page(fault: bad_servers.Fault) -> None:
    async def story() -> None:
        async with FakeServer(get_fault=fault) as server:
            source = Source(kind=Kind.ENGINE, url=f"{server.url}/metrics")
            async with following(source) as seen:
                await seen.until(lambda _: len(seen.of(source)) > 2)
            for told in seen.of(source):
                assert (told.is_absent, bool(told.trouble)) == (False, True)

    asyncio.run(story())


def test_a_404_between_other_answers_does_not_mean_that_there_is_no_page() -> None:
    turns = itertools.cycle([bad_servers.status(404), bad_servers.status(503)])

    async def take_turns(peer: bad_servers.Peer) -> None:
        await next(turns)(peer)

    async def story() -> None:
        async with FakeServer(get_fault=take_turns) as server:
            source = Source(kind=Kind.ENGINE, url=f"{server.url}/metrics")
            async with following(source) as seen:
                await seen.until(lambda _: len(seen.of(source)) > 4)
            found = seen.of(source)
            assert ["404" in one.trouble for one in found[:4]] == [True, False, True, False]
            assert not any(one.is_absent for one in found)

    asyncio.run(story())


def test_a_dispatcher_that_hung_is_not_asked_for_all_that_was_missed() -> None:
    asked: list[float] = []

    class Hung(Page):
        async def metrics(self) -> str:
            asked.append(asyncio.get_running_loop().time())
            if len(asked) < 50:
                await asyncio.sleep(10)
            return await super().metrics()

    async def story() -> None:
        task = asyncio.create_task(follow_dispatcher(Hung(), lambda _: None, 5.0))
        await asyncio.sleep(600)
        task.cancel()

    run_virtual(story())
    pauses = [after - before for before, after in itertools.pairwise(asked[50:])]
    assert pauses
    assert min(pauses) >= 5.0


def test_a_model_server_that_loads_is_not_yet_known() -> None:
    async def story() -> None:
        async with FakeServer(paths={"/metrics": (503, b'{"error": "Loading model"}')}) as server:
            source = Source(kind=Kind.ENGINE, url=f"{server.url}/metrics")
            async with following(source) as seen:
                await seen.until(lambda _: bool(seen.of(source)))
            assert not seen.of(source)[0].is_absent

    asyncio.run(story())


@pytest.mark.parametrize("status", [401, 403])
def test_a_model_server_that_wants_another_key_is_not_one_without_metrics(status: int) -> None:
    async def story() -> None:
        async with FakeServer(paths={"/metrics": (status, b'{"error": "no"}')}) as server:
            source = Source(kind=Kind.ENGINE, url=f"{server.url}/metrics")
            async with following(source) as seen:
                await seen.until(lambda _: bool(seen.of(source)))
            told = seen.of(source)[0]
            assert not told.is_absent
            assert str(status) in told.trouble

    asyncio.run(story())


def test_a_key_is_sent_where_it_belongs_and_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_KEY", KEY)

    async def story() -> None:
        got: list[bytes] = []

        async def keep(peer: bad_servers.Peer) -> None:
            got.append(peer.received.headers.get("authorization", "").encode())
            await bad_servers.status(401, f"what is {KEY}?")(peer)

        async with FakeServer(get_fault=keep) as server:
            source = Source(kind=Kind.ENGINE, url=f"{server.url}/metrics", key="env:SERVER_KEY")
            async with following(source) as seen:
                await seen.until(lambda _: bool(seen.of(source)))
            assert got[0] == f"Bearer {KEY}".encode()
            assert KEY not in repr(seen.sightings)

    asyncio.run(story())


def test_a_key_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SERVER_KEY", raising=False)

    async def story() -> None:
        source = Source(kind=Kind.ENGINE, url="http://127.0.0.1:1/metrics", key="env:SERVER_KEY")
        async with following(source) as seen:
            await seen.until(lambda _: bool(seen.of(source)))
        assert "SERVER_KEY is not set" in seen.of(source)[0].trouble

    asyncio.run(story())
