"""The closed loop between real processes over real HTTP: dispatcher, exporter, autoscaler.

The exporter has the real pynvml, on a stand-in of NVIDIA's library whose card a test steers.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from autoscaler.prometheus import PrometheusSources
from autoscaler.readings import read_engine, read_gpu, read_hosts
from autoscaler.recorder import read_records
from autoscaler.records import Record
from autoscaler.sightings import Kind, Sighting, Source, Sources
from tests.autoscaler import pages
from tests.autoscaler.test_gpu_exporter import Exporter, standing_in
from tests.nvml import StandIn
from tests.prometheus.running import started
from tests.system.daemons import Daemon, ModelServer, Servers, daemon, until, ygg

pytestmark = pytest.mark.system

#: The rule's own, shortened: a window is 3 s, an interval 1 s.
SHORT = (
    "autoscaler: {listen: '127.0.0.1:0', scrape_seconds: 1, decide_seconds: 1, stale_seconds: 5, "
    "memory_window_seconds: 1, window_seconds: 4, trial_piece_seconds: 2, "
    "shrink_cooldown_seconds: 1, growth_after_shrink_seconds: 2, growth_after_growth_seconds: 2, "
    # The stand-in says the same until it is told otherwise.
    "frozen_samples: 1000}\n"
)
#: Of which a page was recorded.
EXPORTERS = ("dcgm", "nvidia_gpu_exporter", "mindprince", "nvitop", "rocm")


@dataclass
class Autoscaler:
    process: subprocess.Popen[str]
    url: str
    log: Path
    records: Path

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as answer:
            text: str = answer.read().decode()
        return text

    def decisions(self) -> list[Record]:
        return list(read_records(self.records)) if self.records.is_dir() else []

    def decided(self, reason: str, *, times: int = 1) -> Callable[[], bool]:
        return lambda: sum(r.reason == reason for r in self.decisions()) >= times


@contextmanager
def autoscaler(state: Path, url: str, *args: str, token: str | None = None) -> Iterator[Autoscaler]:
    log = state / f"autoscaler-{len(list(state.glob('autoscaler-*.log')))}.log"
    env = {**os.environ, **({"YGG_TOKEN": token} if token else {})}
    with log.open("a") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "autoscaler.cli", "--hosts", str(state / "hosts.yaml"),
             "--state", str(state), "--url", url, *args],
            stdout=out, stderr=out, text=True, env=env,
        )  # fmt: skip
    try:
        served = ""

        def serving() -> bool:
            nonlocal served
            assert process.poll() is None, log.read_text()[-3000:]
            for line in log.read_text().splitlines():
                if "event=serving" in line:
                    served = line.split("url=")[1].split()[0]
            return bool(served)

        until(serving)
        yield Autoscaler(process, served, log, state / "autoscaler")
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)


def hosts_yaml(server: ModelServer, exporter: Exporter, *, slots: str, more: str = "") -> str:
    return (
        f"hosts: {{h: {{url: '{server.url}', api: ollama, model: m, slots: {slots}, "
        f"gpu: {{exporter: '{exporter.url}/metrics'}}{more}}}}}\n" + SHORT
    )


@dataclass
class Machine:
    """A host with a card, and a dispatcher in front of it with more to do than it can."""

    card: StandIn
    exporter: Exporter
    dispatcher: Daemon
    state: Path
    servers: Servers
    server: ModelServer

    def tasks_end(self) -> None:
        self.servers.gate(self.server, is_open=True)

    def host(self, name: str = "h") -> dict[str, Any]:
        hosts = self.dispatcher.client.call("GET", "/v1/hosts")["hosts"]
        found: dict[str, Any] = next(host for host in hosts if host["name"] == name)
        return found

    def limit(self) -> int:
        limit: int = self.host()["limit"]
        return limit


@contextmanager
def machine(
    tmp_path: Path,
    *,
    slots: str,
    more: str = "",
    also: str = "",
    card: Mapping[str, object] | None = None,
    command: Sequence[str] = ("loop", "--async"),
) -> Iterator[Machine]:
    servers = Servers()
    try:
        server = servers.start("h")
        servers.gate(server, is_open=False)
        with standing_in(tmp_path, **(card or {})) as (driver, exporter):
            state = tmp_path / "state"
            text = hosts_yaml(server, exporter, slots=slots, more=more) + also
            with daemon(state, text, command=command) as dispatcher:
                tasks = [{"title": f"task {number}"} for number in range(20)]
                dispatcher.client.call("POST", "/v1/tasks", tasks)
                yield Machine(driver, exporter, dispatcher, state, servers, server)
                servers.gate(server, is_open=True)
    finally:
        servers.close()


def ygg_autoscaler(machine: Machine, *args: str) -> subprocess.CompletedProcess[str]:
    files = ["--hosts", str(machine.state / "hosts.yaml"), "--state", str(machine.state)]
    return subprocess.run(
        [sys.executable, "-m", "autoscaler.cli", *args, *files],
        capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def reasons(records: Sequence[Record]) -> list[str]:
    return [record.reason.value for record in records]


def test_memory_over_its_threshold_shrinks_and_a_queue_at_low_utilization_grows(
    tmp_path: Path,
) -> None:
    with (
        machine(
            tmp_path, slots="{start: 2, min: 1, max: 4}", card={"0.memory_used": 2_000_000_000}
        ) as m,
        autoscaler(m.state, m.dispatcher.url) as scaler,
    ):
        until(lambda: any(r.action == "grow" for r in scaler.decisions()))
        assert m.limit() > 2
        grown = next(r for r in scaler.decisions() if r.action == "grow")
        assert (grown.reason, grown.limit, grown.wanted) == ("low_utilization", 2, 3)
        assert grown.signals.util == pytest.approx(0.4)
        assert grown.effect == "resized"

        limit = m.limit()
        m.card.set({"0.memory_used": 7_600_000_000})
        until(scaler.decided("memory_high"))
        assert m.limit() < limit
        seen = [r for r in scaler.decisions() if r.signals.memory is not None]
        high = [r for r in seen if r.signals.memory is not None and r.signals.memory.last > 0.9]
        # Within two intervals from the first that saw it.
        assert "memory_high" in reasons(high[:2])

        until(scaler.decided("draining"))  # tasks run on, and none is killed
        m.tasks_end()
        until(scaler.decided("memory_at_min"))
        said = ygg_autoscaler(m, "explain", "h")
        assert said.returncode == 0, said.stderr
        assert "h: the limit is 1, within 1 to 4." in said.stdout
        assert "memory is 95% full, over 90%" in said.stdout
        chart = ygg_autoscaler(m, "history", "h")
        assert "memory" in chart.stdout
        assert "memory_high" in chart.stdout
        same = ygg_autoscaler(m, "replay", str(m.state / "autoscaler"), "--json")
        assert (same.returncode, same.stdout) == (0, "")
        other = ygg_autoscaler(
            m, "replay", str(m.state / "autoscaler"), "--set", "memory_high_ratio=0.96",
            "--json", "--set", "memory_urgent_ratio=0.97",
        )  # fmt: skip
        assert '"memory_high"' in other.stdout, other.stderr

        page = scaler.get("/metrics")
        assert 'ygg_autoscaler_signal{host="h",signal="memory"} 0.95' in page
        assert 'ygg_autoscaler_threshold{host="h",signal="memory"} 0.9' in page
        assert 'ygg_autoscaler_desired{host="h"} 1.0' in page
        assert (
            'ygg_autoscaler_decisions_total{action="shrink",host="h",reason="memory_high"}' in page
        )
        assert 'ygg_autoscaler_signal_age_seconds{host="h",source="gpu"}' in page
        assert json.loads(scaler.get("/livez")) == {"live": True, "standing": "leads"}

        scaler.process.send_signal(signal.SIGTERM)
        assert scaler.process.wait(30) == 0
        status = m.dispatcher.client.call("GET", "/v1/status")["autoscaler"]
        assert status["state"] == "left"


def test_a_pinned_host_does_not_move(tmp_path: Path) -> None:
    used = {"0.memory_used": 7_600_000_000}
    with machine(tmp_path, slots="{start: 3, min: 1, max: 4}", card=used) as m:
        m.dispatcher.client.call("PUT", "/v1/hosts/h/pin", {"limit": 3})
        with autoscaler(m.state, m.dispatcher.url) as scaler:
            until(scaler.decided("pinned", times=5))
            assert m.limit() == 3
            assert set(reasons(scaler.decisions())) == {"pinned"}


def test_an_exporter_that_is_killed_holds_the_limit(tmp_path: Path) -> None:
    with (
        machine(tmp_path, slots="{start: 2, min: 1, max: 2}") as m,
        autoscaler(m.state, m.dispatcher.url) as scaler,
    ):
        until(scaler.decided("at_max"))
        m.exporter.process.kill()
        until(scaler.decided("gpu_stale", times=3))
        assert m.limit() == 2
        assert "event=source_lost host=h source=exporter" in scaler.log.read_text()
        assert 'ygg_autoscaler_alert{host="h",reason="gpu_stale"} 1.0' in scaler.get("/metrics")
        said = ygg_autoscaler(m, "explain", "h").stdout
        assert "nothing new was heard of its GPU" in said
        assert "Connect call failed" in said
        until(lambda: m.host()["decision"]["reason"] == "gpu_stale")
        shown = ygg("status", "--url", m.dispatcher.url).stdout
        assert "autoscaler: keep 2 (gpu stale)" in shown
        assert "the autoscaler leaves h at 2: it heard nothing new of its GPU for" in shown


def test_a_dispatcher_that_is_killed_is_waited_for(tmp_path: Path) -> None:
    with (
        machine(tmp_path, slots="{start: 2, min: 1, max: 2}") as m,
        autoscaler(m.state, m.dispatcher.url) as scaler,
    ):
        until(scaler.decided("at_max"))
        m.dispatcher.process.kill()
        m.dispatcher.process.wait(10)
        until(scaler.decided("queue_stale", times=2))
        assert json.loads(scaler.get("/livez"))["standing"] == "unreached"
        address = m.dispatcher.url.removeprefix("http://")
        with daemon(m.state, (m.state / "hosts.yaml").read_text(), listen=[address]):
            until(lambda: json.loads(scaler.get("/livez"))["standing"] == "leads")


def test_the_second_autoscaler_watches_and_takes_over(tmp_path: Path) -> None:
    with (
        machine(tmp_path, slots="{start: 2, min: 1, max: 2}") as m,
        autoscaler(m.state, m.dispatcher.url) as first,
    ):
        until(lambda: json.loads(first.get("/livez"))["standing"] == "leads")
        other = m.state / "other"
        other.mkdir()
        (other / "hosts.yaml").write_text((m.state / "hosts.yaml").read_text())
        with autoscaler(other, m.dispatcher.url) as second:
            until(lambda: json.loads(second.get("/livez"))["standing"] == "standby")
            assert "holds the lease" in second.log.read_text()
            first.process.kill()  # nothing is given back
            until(lambda: json.loads(second.get("/livez"))["standing"] == "leads")


def test_two_servers_on_one_card_are_one_host(tmp_path: Path) -> None:
    others = Servers()
    try:
        other = others.start("g")
        others.gate(other, is_open=False)
        sharing = f"}}, g: {{url: '{other.url}', api: ollama, model: m, shares: h"
        types = "types: {general: {run: [h]}, reasoning: {run: [g]}}\n"
        card = {"0.memory_used": 2_000_000_000}
        slots = "{start: 2, min: 1, max: 3}"
        with machine(tmp_path, slots=slots, more=sharing, also=types, card=card) as m:
            urgent = {"title": "a proof", "type": "reasoning", "priority": 0}
            m.dispatcher.client.call("POST", "/v1/tasks", [urgent])
            with autoscaler(m.state, m.dispatcher.url) as scaler:
                # Both of h's slots are taken by h; the third, that it got for the two, goes to g.
                until(lambda: other.running == 1)
                until(lambda: scaler.decisions()[-1].signals.active == 3)
                assert {record.host for record in scaler.decisions()} == {"h"}
                assert m.host("h")["limit"] == 3
                assert m.host("g")["decision"] is None
                said = ygg_autoscaler(m, "explain", "g")
                assert (said.returncode, "ask for h" in said.stderr) == (2, True)
                others.gate(other, is_open=True)
                m.tasks_end()
    finally:
        others.close()


def test_a_disk_that_is_full_costs_the_records_and_that_is_told(tmp_path: Path) -> None:
    with machine(tmp_path, slots="{start: 2, min: 1, max: 4}") as m:
        records = m.state / "autoscaler"
        records.mkdir()
        (records / "decisions.jsonl").symlink_to("/dev/full")
        with autoscaler(m.state, m.dispatcher.url) as scaler:
            until(lambda: m.limit() > 2)
            assert "event=records_lost" in scaler.log.read_text()
            assert "No space left on device" in scaler.log.read_text()
            lost = "ygg_autoscaler_records_lost_total "
            until(lambda: float(scaler.get("/metrics").partition(f"\n{lost}")[2].split()[0]) > 0)
            assert "Traceback" not in scaler.log.read_text()


def test_a_dry_run_of_one_host_shows_and_does_not_touch(tmp_path: Path) -> None:
    used = {"0.memory_used": 7_600_000_000}
    slots = "{start: 2, min: 1, max: 4}"
    with (
        machine(tmp_path, slots=slots, more=", dry_run: true", card=used) as m,
        autoscaler(m.state, m.dispatcher.url) as scaler,
    ):
        until(scaler.decided("memory_high", times=2))
        assert m.limit() == 2
        host = m.host()
        assert host["decision"]["dry_run"]
        assert host["decision"]["limit"] == 1


def test_the_dispatchers_own_process_runs_the_same_loop(tmp_path: Path) -> None:
    with machine(
        tmp_path, slots="{start: 2, min: 1, max: 4}", card={"0.memory_used": 2_000_000_000},
        command=("serve", "--autoscale"),
    ) as m:  # fmt: skip
        until(lambda: m.limit() > 2)
        m.card.set({"0.memory_used": 7_600_000_000})
        until(lambda: m.limit() == 1 or m.host()["decision"]["reason"] == "draining")
        assert m.dispatcher.client.call("GET", "/v1/status")["autoscaler"]["state"] == "live"
        with urllib.request.urlopen(f"{m.dispatcher.url}/metrics", timeout=10) as answer:
            assert 'ygg_autoscaler_desired{host="h"}' in answer.read().decode()
        m.tasks_end()
        assert m.dispatcher.end() == 0
        said = ygg_autoscaler(m, "explain", "h")
        assert "h: the limit is" in said.stdout, said.stderr
        log = m.dispatcher.log.read_text()
        assert "event=autoscaler_leaves" in log
        assert "Traceback" not in log


def _page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


@pytest.mark.parametrize("command", [("loop", "--async"), ("serve", "--autoscale")])
def test_it_follows_hosts_yaml_and_a_pin_of_the_file_stops_it(
    tmp_path: Path, command: Sequence[str]
) -> None:
    free = "{start: 2, min: 1, max: 4}"
    with machine(tmp_path, slots=free, card={"0.memory_used": 2_000_000_000},
                 command=command) as m, ExitStack() as stack:  # fmt: skip
        file = m.state / "hosts.yaml"
        if "--autoscale" not in command:
            stack.enter_context(autoscaler(m.state, m.dispatcher.url))
        until(lambda: m.limit() > 2)
        file.write_text(file.read_text().replace(free, "{start: 2, min: 1, max: 4, pin: 1}"))
        until(lambda: m.limit() == 1)
        until(lambda: (m.host()["decision"] or {}).get("reason") == "pinned")
        assert m.limit() == 1
        other = m.servers.start("other")
        m.servers.gate(other, is_open=False)
        more = f"{{url: '{other.url}', api: ollama, model: m, slots: {free}, gpu: {{exporter: '{m.exporter.url}/metrics'}}}}"
        text = file.read_text().replace("hosts: {", f"hosts: {{other: {more}, ")
        file.write_text(text)
        url = f"{m.dispatcher.url}/metrics"
        until(lambda: 'ygg_host_slots_limit{host="other"}' in _page(url))
        until(lambda: m.host("other")["decision"] is not None)
        until(lambda: m.host("other")["limit"] > 2)
        assert m.limit() == 1, "the hand override stands"
        file.write_text(text.replace("pin: 1", "pin: 2"))
        until(lambda: m.limit() == 2)
        m.servers.gate(other, is_open=True)
        m.tasks_end()


def test_the_legacy_dispatcher_has_no_limits_to_tune() -> None:
    ran = ygg("loop", "--autoscale")
    assert (ran.returncode, "--autoscale needs --async" in ran.stderr) == (2, True)


@contextmanager
def prometheus(folder: Path, *targets: str) -> Iterator[str]:
    """A real one that scrapes these every second."""
    listed = ", ".join(f"'{target.removeprefix('http://')}'" for target in targets)
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        f"scrape_configs: [{{job_name: ygg, static_configs: [{{targets: [{listed}]}}]}}]\n"
    )
    with started(folder) as url:
        yield url


def test_a_real_prometheus_serves_for_all_sources(tmp_path: Path) -> None:
    with (
        machine(tmp_path, slots="{start: 2, min: 1, max: 4}") as m,
        prometheus(tmp_path, m.dispatcher.url, m.exporter.url) as url,
    ):
        file = m.state / "hosts.yaml"
        file.write_text(file.read_text().replace("{listen:", f"{{prometheus: '{url}', listen:"))
        with autoscaler(m.state, m.dispatcher.url) as scaler:
            until(lambda: any(r.action == "grow" for r in scaler.decisions()))
            m.exporter.process.kill()
            until(scaler.decided("gpu_stale", times=2))


class Pages(ThreadingHTTPServer):
    """Recorded pages of other programs, each at an address of its own."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(("127.0.0.1", 0), _Page)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Page(BaseHTTPRequestHandler):
    server: Pages

    def do_GET(self) -> None:
        body = self.server.text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def sightings(sources: Sources, count: int) -> dict[str, str]:
    """The page of each source by its address; looked for until there are so many."""
    found: dict[str, str] = {}

    async def look() -> None:
        enough = asyncio.Event()

        def take(sighting: Sighting) -> None:
            if sighting.text:
                found[sighting.source.url] = sighting.text
            if len(found) == count:
                enough.set()

        following = asyncio.create_task(sources.follow(take))
        async with asyncio.timeout(60):
            await enough.wait()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    asyncio.run(look())
    return found


def test_a_real_prometheus_gives_the_readings_that_the_sources_give_themselves(
    tmp_path: Path,
) -> None:
    exporters = {name: Pages(pages.exporter(name)) for name in EXPORTERS}
    engines = {name: Pages(pages.server(name)) for name in ("vllm", "llamacpp")}
    page = pages.dispatcher("h") + 'ygg_tokens_total{host="h",direction="completion"} 1234567.0\n'
    dispatcher = Pages(page)
    every = [*exporters.values(), *engines.values(), dispatcher]
    asked = [
        *(Source(kind=Kind.EXPORTER, url=f"{one.url}/metrics") for one in exporters.values()),
        *(Source(kind=Kind.ENGINE, url=f"{one.url}/metrics") for one in engines.values()),
    ]
    try:
        with (
            standing_in(tmp_path) as (_, ours),
            prometheus(tmp_path, ours.url, *(one.url for one in every)) as url,
        ):
            asked.append(Source(kind=Kind.EXPORTER, url=f"{ours.url}/metrics"))
            sources = PrometheusSources(
                url, asked, dispatcher=dispatcher.url, scrape_seconds=0.5, stale_seconds=45.0
            )
            found = sightings(sources, len(asked) + 1)
            itself = read_gpu(ours.page())
    finally:
        for one in every:
            one.shutdown()
            one.server_close()
    for one in exporters.values():
        there, here = read_gpu(found[f"{one.url}/metrics"], 0), read_gpu(one.text, 0)
        assert (there.dialect, there.util, there.memory) == (here.dialect, here.util, here.memory)
    for one in engines.values():
        assert replace(read_engine(found[f"{one.url}/metrics"]), digits=()) == replace(
            read_engine(one.text), digits=()
        )
    assert read_hosts(found[""]) == read_hosts(dispatcher.text)
    there = read_gpu(found[f"{ours.url}/metrics"])
    assert (there.dialect, there.memory) == (itself.dialect, itself.memory)
    assert there.util == itself.util


def test_an_address_that_is_taken_is_told(tmp_path: Path) -> None:
    with machine(tmp_path, slots="{start: 1}") as m:
        address = m.dispatcher.url.removeprefix("http://")
        ran = subprocess.run(
            [sys.executable, "-m", "autoscaler.cli", "--hosts", str(m.state / "hosts.yaml"),
             "--state", str(m.state), "--listen", address],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert ran.returncode == 1
        assert f"can't listen on {address}" in ran.stderr
