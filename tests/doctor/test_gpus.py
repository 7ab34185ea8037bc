"""Exporters as hosts.yaml leads to them: which, whether they answer, and what their page means."""

from __future__ import annotations

import aiohttp
import pytest

from tests.bad_servers import FakeServer, closed_port, raw
from tests.hosts.harness import run
from tests.test_exporters import DCGM, OURS
from ygg.doctor import gpus
from ygg.doctor.findings import Finding
from ygg.exporters import read_page
from ygg.fleet import Fleet, GpuSettings, HostSettings
from ygg.hostsfile import parse_fleet


def host(**gpu: object) -> HostSettings:
    settings = GpuSettings(**gpu)  # type: ignore[arg-type]  # a test's own keywords
    return HostSettings(name="h", url="http://h:1", line=3, gpu=settings)


def judged(page: str, *hosts: HostSettings) -> list[tuple[str, str]]:
    found = gpus.judge(read_page(page), hosts or (host(),), "hosts.yaml:3")
    return [(finding.state.value, finding.what) for finding in found]


@pytest.mark.pure
def test_each_exporter_is_looked_at_once() -> None:
    fleet: Fleet = parse_fleet(
        "hosts:\n  a: {url: http://one:1}\n  b: {url: http://one:2}\n  c: {url: 'http://[::1]:3'}\n"
        "  d: {url: http://two:1, gpu: {exporter: 'http://x:9400/m'}}\n",
        "f",
    )
    assert {url: [h.name for h in of] for url, of in gpus.exporters_of(fleet).items()} == {
        "http://one:9836/metrics": ["a", "b"],
        "http://[::1]:9836/metrics": ["c"],
        "http://x:9400/m": ["d"],
    }


@pytest.mark.pure
def test_a_page_that_is_right_is_told_card_by_card() -> None:
    assert judged(OURS) == [
        ("ok", "ygg-gpu-exporter: GPU 0 (NVIDIA L4): 42% busy, memory 25% of 24.0 GiB")
    ]


@pytest.mark.pure
@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("<html>", "what answers is no exporter that ygg knows"),
        ("# ygg_gpu\nygg_gpu_utilization_ratio\n", "ygg-gpu-exporter shows no GPU"),
        ('DCGM_FI_DEV_GPU_UTIL{gpu="0"} 250\n', "GPU 0: DCGM_FI_DEV_GPU_UTIL is 250, which can't"),
    ],
)
def test_a_page_that_is_not_right_is_wrong(page: str, said: str) -> None:
    state, what = judged(page)[0]
    assert state == "wrong"
    assert said in what


@pytest.mark.pure
@pytest.mark.parametrize(
    ("memory", "state"), [(None, "warning"), ("nvml", "warning"), ("off", "ok"), ("kv", "ok")]
)
def test_memory_that_is_full_at_rest_is_told_unless_the_file_knows(memory: str, state: str) -> None:
    page = OURS.replace(" 0.42", " 0").replace("6.442450944e+09", "2.4e+10")
    assert [found for found, _ in judged(page, host(memory=memory))] == [state]


@pytest.mark.pure
def test_a_device_that_is_not_there_is_wrong() -> None:
    assert judged(OURS, host(device=1))[1:] == [
        ("wrong", "h uses device 1, which the exporter does not show")
    ]
    assert [state for state, _ in judged(OURS, host(device=0))] == ["ok"]


@pytest.mark.pure
def test_of_several_cards_each_host_says_which_is_its() -> None:
    two = DCGM + DCGM.replace('gpu="0"', 'gpu="1"').replace("604ac76c", "aaaa")
    assert [state for state, _ in judged(two, host())] == ["ok", "ok"], "it may use both"
    assert judged(two, host(), host(device=1))[2:] == [
        ("warning", "h does not say which of 2 GPUs it uses: the fullest counts")
    ]


def look(url: str, *hosts: HostSettings) -> list[Finding]:
    found: list[Finding] = []

    async def story(session: aiohttp.ClientSession) -> None:
        found.extend(await gpus.look_at(session, url, hosts, "hosts.yaml"))

    run(story)
    return found


def test_one_that_answers_is_read() -> None:
    found: list[Finding] = []

    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer(paths={"/metrics": (200, OURS.encode())}) as server:
            url = f"{server.url}/metrics"
            found.extend(await gpus.look_at(session, url, [host()], "hosts.yaml"))

    run(story)
    assert [finding.state.value for finding in found] == ["ok"]


@pytest.mark.parametrize(
    ("is_named", "state"), [(True, "wrong"), (False, "warning")], ids=["named", "usual"]
)
def test_one_that_is_silent_is_wrong_only_where_the_file_names_it(
    is_named: bool, state: str
) -> None:
    url = f"http://127.0.0.1:{closed_port()}/metrics"
    (finding,) = look(url, host(exporter=url) if is_named else host(port=9836))
    assert finding.state.value == state
    assert "no connection" in finding.what
    assert "`gpu: {exporter: URL}`" in finding.remedy
    assert "hosts.yaml:3" in finding.remedy


def test_a_page_that_is_no_text_is_no_exporter() -> None:
    found: list[Finding] = []

    async def story(session: aiohttp.ClientSession) -> None:
        async with FakeServer(get_fault=raw(200, bytes(range(256)))) as server:
            found.extend(await gpus.look_at(session, server.url, [host()], "hosts.yaml"))

    run(story)
    assert found[0].what == "what answers is no exporter that ygg knows"
