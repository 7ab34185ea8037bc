"""The fleet's servers: met at first contact, learned from, and met anew after they were away."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from tests.bad_servers import FakeServer, Peer, status
from tests.worlds import fleet
from ygg.faults import Cause, Failure
from ygg.fleet import Fleet, Option
from ygg.hosts.pool import Pool


def at(server: FakeServer, *, model: str | None = "m", key: str | None = None) -> Fleet:
    """One host, `h`, at the server; its API is to be asked for."""
    settings = fleet()
    host = dataclasses.replace(settings.hosts["h"], url=server.url, model=model, key=key)
    return dataclasses.replace(settings, hosts={"h": host})


def test_a_host_is_met_once_and_then_only_looked_at() -> None:
    async def story() -> None:
        async with FakeServer("openai", slots=3) as server, Pool(at(server)) as pool:
            await pool.look("h")
            assert pool.most("h") == 3
            met = len(server.asked)
            await pool.look("h")
            assert server.asked[met:] == ["/health"]
            place = pool.place(Option("h", "m"))
            assert (place.host, place.url, place.model) == ("h", server.url, "m")
            assert server.requests == [], "no token was spent"

    asyncio.run(story())


def test_the_only_model_of_a_server_is_the_default() -> None:
    async def story() -> None:
        async with (
            FakeServer("ollama", models=("just-me",)) as server,
            Pool(at(server, model=None)) as pool,
        ):
            await pool.look("h")
            assert pool.place(Option("h")).model == "just-me"
            await pool.look_at_option(Option("h"))

    asyncio.run(story())


def test_several_models_and_none_named_is_for_a_person() -> None:
    async def story() -> None:
        async with (
            FakeServer("ollama", models=("a", "b")) as server,
            Pool(at(server, model=None)) as pool,
        ):
            await pool.look("h")
            assert pool.place(Option("h")).model == ""
            with pytest.raises(Failure, match=r"has not just one model.*`model:`") as caught:
                await pool.look_at_option(Option("h"))
            assert caught.value.cause is Cause.NO_MODEL

    asyncio.run(story())


def test_a_model_that_is_not_there_is_named_with_those_that_are() -> None:
    async def story() -> None:
        async with FakeServer("ollama", models=("qwen",)) as server, Pool(at(server)) as pool:
            await pool.look("h")
            with pytest.raises(Failure, match=r"has no model 'm' \(it has: qwen"):
                await pool.look_at_option(Option("h", "m"))

    asyncio.run(story())


def test_a_host_that_was_away_is_met_anew() -> None:
    async def story() -> None:
        async with FakeServer("openai", slots=4) as server, Pool(at(server)) as pool:
            await pool.look("h")
            await server.down()
            with pytest.raises(Failure):
                await pool.look("h")
            server.slots = 2  # it was restarted with other settings
            await server.up()
            await pool.look("h")
            assert pool.most("h") == 2

    asyncio.run(story())


def test_a_host_nobody_met_has_no_place() -> None:
    async def story() -> None:
        async with FakeServer("openai") as server, Pool(at(server)) as pool:
            with pytest.raises(Failure) as caught:
                pool.place(Option("h", "m"))
            assert (caught.value.cause, caught.value.taken) == (Cause.REFUSED, False)

    asyncio.run(story())


def test_a_key_that_is_not_there_is_configuration() -> None:
    async def story() -> None:
        async with (
            FakeServer("openai") as server,
            Pool(at(server, key="env:YGG_TEST_NO_SUCH_KEY")) as pool,
        ):
            with pytest.raises(Failure, match="YGG_TEST_NO_SUCH_KEY") as caught:
                await pool.look("h")
            assert caught.value.cause is Cause.UNAUTHORISED

    asyncio.run(story())


def test_a_server_without_a_path_for_its_memory_is_met_all_the_same() -> None:
    async def story() -> None:
        paths = {"/api/ps": (404, b"404 page not found")}
        async with FakeServer("ollama", paths=paths) as server, Pool(at(server)) as pool:
            await pool.look("h")
            assert pool.place(Option("h", "m")).model == "m"
            assert pool.memory() == {}

    asyncio.run(story())


def test_a_measure_of_a_server_that_was_met_anew_meanwhile_is_dropped() -> None:
    async def story() -> None:
        loaded = b'{"models":[{"name":"m:latest","size":900,"size_vram":700}]}'
        paths = {"/api/ps": (200, loaded)}
        async with (
            FakeServer("ollama", paths=paths, models=("m",)) as server,
            Pool(at(server, model=None)) as pool,
        ):
            await pool.look("h")
            before = pool.place(Option("h", "m")).server
            asked, held = asyncio.Event(), asyncio.Event()

            async def late(peer: Peer) -> None:
                asked.set()
                await held.wait()
                await peer.head(200, length=len(loaded))
                await peer.send(loaded)

            server.get_fault = late
            measuring = asyncio.ensure_future(pool.measure())
            await asked.wait()
            server.get_fault = None
            await pool.look_at_option(Option("h"))  # without a model's name it is met anew
            now = pool.place(Option("h", "m")).server
            assert now is not before
            held.set()
            await measuring
            assert pool.place(Option("h", "m")).server is now

    asyncio.run(story())


def test_measuring_forgives_a_server_that_fails() -> None:
    async def story() -> None:
        loaded = b'{"models":[{"name":"m:latest","size":900,"size_vram":700}]}'
        paths = {"/api/ps": (200, loaded)}
        async with FakeServer("ollama", paths=paths) as server, Pool(at(server)) as pool:
            await pool.look("h")
            assert pool.memory() == {"h": 700}
            server.paths["/api/ps"] = (200, loaded.replace(b"700", b"800"))
            await pool.measure()
            assert pool.memory() == {"h": 800}
            server.get_fault = status(500)
            await pool.measure()
            assert pool.memory() == {"h": 800}

    asyncio.run(story())


def test_another_fleet_keeps_what_is_known_of_the_servers_that_stay() -> None:
    async def story() -> None:
        async with FakeServer("openai", slots=3) as server, Pool(at(server)) as pool:
            await pool.look("h")
            settings = at(server)
            host = dataclasses.replace(settings.hosts["h"], keep_alive="1h", line=9)
            pool.take_over(dataclasses.replace(settings, hosts={"h": host}))
            assert pool.most("h") == 3
            assert pool.place(Option("h", "m")).keep_alive == "1h"

    asyncio.run(story())


def test_behind_another_address_nothing_is_known_until_it_was_met() -> None:
    async def story() -> None:
        async with (
            FakeServer("openai", slots=3) as old,
            FakeServer("openai", slots=5) as new,
            Pool(at(old)) as pool,
        ):
            await pool.look("h")
            running = pool.place(Option("h", "m"))
            pool.take_over(at(new))
            assert pool.most("h") is None
            with pytest.raises(Failure, match="has not answered yet"):
                pool.place(Option("h", "m"))
            await pool.look("h")
            assert (pool.most("h"), pool.place(Option("h", "m")).url) == (5, new.url)
            assert running.url == old.url, "what runs there has its own"

    asyncio.run(story())


def test_what_an_old_server_says_late_is_not_taken_for_the_new_ones() -> None:
    async def story() -> None:
        async with (
            FakeServer("openai", slots=3) as old,
            FakeServer("openai", slots=5) as new,
            Pool(at(old)) as pool,
        ):
            asked = asyncio.ensure_future(pool.look("h"))
            while not old.asked:
                await asyncio.sleep(0)
            pool.take_over(at(new))
            with pytest.raises(Failure, match="its settings changed while it was asked"):
                await asked
            assert pool.most("h") is None

    asyncio.run(story())


def test_a_host_that_went_is_forgotten() -> None:
    async def story() -> None:
        async with FakeServer("openai", slots=3) as server, Pool(at(server)) as pool:
            await pool.look("h")
            pool.take_over(dataclasses.replace(at(server), hosts={}))
            assert (pool.most("h"), pool.memory()) == (None, {})
            await pool.measure()

    asyncio.run(story())
