"""What one Prometheus has of everything is read as if each had been asked itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import pytest

from autoscaler.dispatcher import Dispatcher, Order, OrderAnswer
from autoscaler.prometheus import (
    NoAnswer,
    Page,
    PrometheusSources,
    dispatcher_of,
    page_at,
    query,
    read_pages,
)
from autoscaler.readings import read_engine, read_gpu, read_hosts, read_queue
from autoscaler.sightings import Kind, Sighting, Source
from tests.autoscaler import pages
from tests.autoscaler.test_sources import Seen
from tests.bad_servers import FakeServer, Peer, raw
from ygg.exporters import samples

pytestmark = pytest.mark.pure

EXPORTER = Source(kind=Kind.EXPORTER, url="http://fenrir:9400/metrics")
ENGINE = Source(kind=Kind.ENGINE, url="http://fenrir:8000/metrics")


def answer(targets: Mapping[str, tuple[float, str]], **more: str) -> bytes:
    """What Prometheus says of targets, by their instance: when they were scraped, and their page."""
    result = []
    for instance, (at, page) in targets.items():
        lines = page.splitlines()
        names = frozenset(line.partition("{")[0].partition(" ")[0] for line in lines)
        for name, labels, value in samples(page, names):
            metric = {"__name__": name, "instance": instance, "job": "ygg", **labels, **more}
            result.append({"metric": metric, "values": [[at - 5, "1"], [at, f"{value:.15g}"]]})
    return json.dumps(
        {"status": "success", "data": {"resultType": "matrix", "result": result}}
    ).encode()


def pages_of(targets: Mapping[str, tuple[float, str]]) -> Mapping[str, Page]:
    return {page.instance: page for page in read_pages(answer(targets))}


def test_a_target_is_read_like_the_page_that_it_is() -> None:
    found = pages_of(
        {"fenrir:9400": (100.0, pages.exporter("dcgm")), "y:1": (99.0, pages.dispatcher())}
    )
    assert read_gpu(found["fenrir:9400"].text, 0) == read_gpu(pages.exporter("dcgm"), 0)
    assert read_queue(read_hosts(found["y:1"].text), ("h",)) == read_queue(
        read_hosts(pages.dispatcher()), ("h",)
    )
    assert (found["fenrir:9400"].at, found["y:1"].at) == (100.0, 99.0)


def test_labels_that_prometheus_has_renamed_have_their_own_names_again() -> None:
    renamed = answer({"y:1": (1.0, pages.dispatcher())}).replace(
        b'"host": "h"', b'"host": "machine-7", "exported_host": "h"'
    )
    assert set(read_hosts(read_pages(renamed)[0].text)) == {"h"}


def test_a_line_that_the_last_scrape_did_not_have_is_not_there() -> None:
    old = json.loads(answer({"f:1": (100.0, pages.ours())}))
    for series in old["data"]["result"]:
        if "utilization" in series["metric"]["__name__"]:
            series["values"] = [[70.0, "0.1"]]
    page = read_pages(json.dumps(old).encode())[0]
    assert read_gpu(page.text).util is None
    assert read_gpu(page.text).memory == 0.75


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<html>", "no Prometheus"),
        (b'{"status": "error", "error": "query timed out"}', "query timed out"),
        (b'{"status": "success"}', "Prometheus says: success"),
        (b'{"status": "success", "data": {"result": [{"metric": {}, "value": [1, "1"]}]}}', "no"),
    ],
)
def test_what_is_no_answer_is_told(body: bytes, why: str) -> None:
    with pytest.raises(NoAnswer, match=why):
        read_pages(body)


def found_at(url: str, kind: Kind, texts: Mapping[str, str]) -> str | None:
    """Which of the targets, by its instance."""
    pages_there = read_pages(answer({name: (1.0, text) for name, text in texts.items()}))
    found = page_at(url, kind, pages_there)
    return None if found is None else found.instance


@pytest.mark.parametrize(
    ("url", "there", "found"),
    [
        ("http://fenrir:9400/metrics", ["fenrir:9400", "fenrir:9836"], "fenrir:9400"),
        ("http://fenrir:9400/metrics", ["fenrir"], "fenrir"),
        ("https://fenrir/metrics", ["fenrir:443"], "fenrir:443"),
        ("http://[::1]:9400/metrics", ["[::1]:9400"], "[::1]:9400"),
        ("http://fenrir:9400/metrics", ["fenrir:9836"], None),
    ],
)
def test_a_target_is_known_by_its_address_or_by_its_machine(
    url: str, there: list[str], found: str | None
) -> None:
    assert found_at(url, Kind.EXPORTER, dict.fromkeys(there, pages.ours())) == found
    assert found_at(url, Kind.ENGINE, dict.fromkeys(there, pages.ours())) is None


def test_targets_of_one_name_are_told_apart_by_their_job_and_by_what_they_tell() -> None:
    """`instance` relabelled to the machine's name: its exporter and its vLLM have the same one."""
    card = json.loads(answer({"skadi": (1.0, pages.ours())}))["data"]["result"]
    engine = answer({"skadi": (3.0, pages.server("vllm"))}).replace(b'"job": "ygg"', b'"job": "v"')
    both = [*card, *json.loads(engine)["data"]["result"]]
    found = read_pages(json.dumps({"status": "success", "data": {"result": both}}).encode())
    page = page_at("http://skadi:9836/metrics", Kind.EXPORTER, found)
    assert page is not None
    assert (read_gpu(page.text).memory, page.at) == (0.75, 1.0)
    page = page_at("http://skadi:8000/metrics", Kind.ENGINE, found)
    assert page is not None
    assert (read_engine(page.text).kv, page.at) == (0.4713, 3.0)
    assert page_at("http://skadi:8000/metrics", Kind.ENGINE, found[:1]) is None


def test_the_dispatcher_is_the_only_one_or_the_one_that_is_named() -> None:
    one = read_pages(answer({"a:1": (1.0, pages.dispatcher()), "b:1": (1.0, pages.ours())}))
    assert dispatcher_of("http://elsewhere:8765", one).instance == "a:1"
    two = read_pages(answer({"a:1": (1.0, pages.dispatcher()), "b:1": (1.0, pages.dispatcher())}))
    assert dispatcher_of("http://b:1", two).instance == "b:1"
    with pytest.raises(NoAnswer, match="2 dispatchers"):
        dispatcher_of("http://c:1", two)
    with pytest.raises(NoAnswer, match="no metrics of the dispatcher"):
        dispatcher_of("http://c:1", read_pages(answer({})))


class Asked:
    """A dispatcher that is there to be asked."""

    async def metrics(self) -> str:
        return pages.dispatcher()

    async def report(self, order: Order) -> OrderAnswer:
        raise AssertionError("nothing is decided here")


def follow(
    bodies: list[bytes], *sources: Source, dispatcher: str | Dispatcher = "http://y:1"
) -> list[Sighting]:
    """What is handed on while Prometheus gives these answers, one after the other."""

    async def story() -> list[Sighting]:
        seen = Seen()
        said = [bodies[0]]

        async def say(peer: Peer) -> None:
            assert peer.received.path.startswith("/api/v1/query?query=")
            await raw(200, said[0])(peer)

        async with FakeServer(get_fault=say) as server:
            followed = PrometheusSources(
                server.url, sources, dispatcher=dispatcher, scrape_seconds=0.02,
                stale_seconds=45.0,
            )  # fmt: skip
            task = asyncio.create_task(followed.follow(seen.take))
            for body in bodies:
                said[0] = body
                asked = len(server.asked)
                async with asyncio.timeout(30):
                    while len(server.asked) < asked + 3:
                        await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return seen.sightings

    return asyncio.run(story())


def test_a_page_is_handed_on_once_for_each_time_that_it_was_scraped() -> None:
    def at(dispatcher: float, exporter: float) -> bytes:
        return answer(
            {"y:1": (dispatcher, pages.dispatcher()), "fenrir:9400": (exporter, pages.ours())}
        )

    seen = follow([at(100.0, 90.0), at(105.0, 90.0)], EXPORTER)
    of_exporter = [one for one in seen if one.source == EXPORTER]
    of_dispatcher = [one for one in seen if one.source.kind is Kind.DISPATCHER]
    assert (len(of_exporter), len(of_dispatcher)) == (1, 2)
    # It is as much older as Prometheus's own clock says.
    assert of_dispatcher[0].at - of_exporter[0].at == pytest.approx(10.0, abs=1e-6)


def test_samples_of_a_clock_that_was_set_back_are_not_new_and_that_is_told() -> None:
    def at(seconds: float) -> bytes:
        return answer({"y:1": (5000.0, pages.dispatcher()), "fenrir:9400": (seconds, pages.ours())})

    seen = follow([at(4000.0), at(3990.0), at(400.0)], EXPORTER)
    of_exporter = [one for one in seen if one.source == EXPORTER]
    assert len([one for one in of_exporter if one.text]) == 1
    # Two servers that take turns are a few seconds apart: that is no trouble.
    told = [one.trouble for one in of_exporter if one.trouble]
    assert len(told) >= 1
    assert all("its clock was set back" in trouble for trouble in told)


def test_a_dispatcher_that_can_be_asked_is_not_looked_for_in_prometheus() -> None:
    seen = follow(
        [answer({"fenrir:9400": (1.0, pages.ours())}), b"<html>"], EXPORTER, dispatcher=Asked()
    )
    of_dispatcher = [one for one in seen if one.source.kind is Kind.DISPATCHER]
    assert {one.text for one in of_dispatcher} == {pages.dispatcher()}
    of_exporter = [one for one in seen if one.source == EXPORTER]
    assert of_exporter[0].text
    assert of_exporter[-1].trouble


def test_what_prometheus_does_not_have_is_a_trouble_and_not_absent() -> None:
    seen = follow([answer({"y:1": (1.0, pages.dispatcher())})], EXPORTER, ENGINE)
    for source in (EXPORTER, ENGINE):
        told = next(one for one in seen if one.source == source)
        assert f"has nothing of {source.url}: scrape it there" in told.trouble
        assert not told.is_absent


def test_a_prometheus_that_is_ill_is_the_trouble_of_all() -> None:
    seen = follow([b"<html>"], EXPORTER)
    assert {one.source.kind for one in seen} == {Kind.DISPATCHER, Kind.EXPORTER}
    assert all("what answers is no Prometheus" in one.trouble for one in seen)


def test_the_query_asks_for_whole_families_and_a_bounded_time() -> None:
    asked = query(45.0)
    assert asked.startswith('{__name__=~"')
    assert asked.endswith('"}[45s]')
    for name in ("ygg_host_slots_limit", "vllm:kv_cache_usage_perc", "DCGM_FI_.+", "ygg_gpu_.+"):
        assert name in asked
