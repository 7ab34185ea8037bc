"""A real Prometheus on the real processes: what the rules ask for is there, and alerts come and go.

Its configuration and rules are those that we ship, and its targets those of `ygg prometheus
targets`; only the windows and the patience of the rules are shorter here.
"""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.autoscaler.test_gpu_exporter import Exporter, exporter, standing_in
from tests.nvml import StandIn
from tests.prometheus.rules import Rule, rules
from tests.prometheus.running import Prometheus, hastened, prometheus, shipped
from tests.system.daemons import Daemon, ModelServer, Servers, daemon, until, ygg
from tests.system.test_autoscaler import Autoscaler, autoscaler
from ygg.client import Problem

pytestmark = pytest.mark.system

#: Minutes of the rules are two seconds here, ...
FACTOR = 30
#: ... and of those that wait for long still less.
MORE = {"YggBacklogGrowing": 180, "YggStoreSlow": 100}
TWO_CARDS = {
    "count": 2,
    "1.name": "NVIDIA Test 16GB",
    "1.uuid": "GPU-99999999-1111-2222-3333-444444444444",
    "1.util": 90,
    "1.memory_total": 16_000_000_000,
    "1.memory_used": 15_900_000_000,
}
#: A look each second, a decision each second.
AUTOSCALER = (
    "autoscaler: {listen: '127.0.0.1:0', scrape_seconds: 1, decide_seconds: 1, stale_seconds: 5, "
    "memory_window_seconds: 2, window_seconds: 6, trial_piece_seconds: 2, "
    "shrink_cooldown_seconds: 1, growth_after_shrink_seconds: 2, growth_after_growth_seconds: 2, "
    # The stand-in says the same until it is told otherwise.
    "frozen_samples: 1000}\n"
)
TYPES = "types: {general: {run: [a]}, reasoning: {run: [b]}}\n"
ALL = rules()


def quick_rules() -> dict[str, str]:
    found: dict[str, str] = {}
    for name, text in shipped().items():
        file = yaml.safe_load(text)
        for rule in (rule for group in file["groups"] for rule in group["rules"]):
            factor = MORE.get(rule.get("alert"), FACTOR)
            for key in {"expr", "for"} & rule.keys():
                rule[key] = hastened(rule[key], factor)
            if rule.get("alert") == "YggCriticalTaskWaiting":
                assert rule["expr"].endswith("> 60")
                rule["expr"] = rule["expr"].replace("> 60", "> 2")
        found[name] = yaml.safe_dump(file)
    return found


@dataclass
class World:
    """Hosts a (two cards, of which one is its own) and b (no GPU), and all that watches them."""

    servers: Servers
    a: ModelServer
    b: ModelServer
    card: StandIn
    exporters: dict[str, Exporter]
    dispatcher: Daemon
    autoscaler: Autoscaler
    prometheus: Prometheus
    hosts: str
    stack: ExitStack

    def submit(self, count: int = 1, **task: object) -> None:
        tasks = [{"title": f"task {number}", **task} for number in range(count)]
        self.dispatcher.client.call("POST", "/v1/tasks", tasks)

    def gate(self, server: ModelServer, *, is_open: bool) -> None:
        self.servers.gate(server, is_open=is_open)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.dispatcher.client.call("GET", "/v1/status")
        return found

    def running(self, name: str) -> int:
        active: int = next(h["active"] for h in self.status()["hosts"] if h["name"] == name)
        return active

    def is_idle(self) -> bool:
        counts = self.status()["counts"]
        return not counts.get("open") and not counts.get("in_progress")

    def fires(self, alert: str, host: str = "") -> None:
        until(lambda: (alert, host) in self.prometheus.firing(), within=60)

    def all_is_quiet(self) -> None:
        until(lambda: not self.prometheus.firing(), within=60)

    def write_targets(self, hosts: Path) -> None:
        done = ygg(
            "prometheus", "targets", "--hosts", hosts,
            "--dispatcher", self.dispatcher.url.removeprefix("http://"),
            "--autoscaler", self.autoscaler.url.removeprefix("http://"),
            "--output", self.prometheus.targets / "ygg.json",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def restart(self) -> None:
        address = self.dispatcher.url.removeprefix("http://")
        state = self.dispatcher.state
        self.dispatcher = self.stack.enter_context(daemon(state, self.hosts, listen=[address]))


@contextmanager
def world_in(folder: Path) -> Iterator[World]:
    with ExitStack() as stack:
        servers = Servers()
        stack.callback(servers.close)
        a, b = servers.start("a"), servers.start("b")
        for name in "ab":
            (folder / name).mkdir()
        card, of_a = stack.enter_context(standing_in(folder / "a", **TWO_CARDS))
        of_b = stack.enter_context(exporter(folder / "b", "--device", "cpu"))
        hosts = (
            "hosts:\n"
            f"  a: {{url: '{a.url}', api: ollama, model: m, slots: {{start: 2, min: 1, max: 4}},\n"
            f"      gpu: {{exporter: '{of_a.url}/metrics', device: 0}}}}\n"
            f"  b: {{url: '{b.url}', api: ollama, model: m, slots: {{start: 1, max: 1}},\n"
            f"      gpu: {{exporter: '{of_b.url}/metrics', memory: 'off'}}}}\n"
            f"{TYPES}dispatcher: {{drain_seconds: 120}}\n{AUTOSCALER}"
        )
        state = folder / "state"
        dispatcher = stack.enter_context(daemon(state, hosts))
        scaler = stack.enter_context(autoscaler(state, dispatcher.url))
        seen = stack.enter_context(prometheus(folder / "prometheus", quick_rules()))
        world = World(
            servers, a, b, card, {"a": of_a, "b": of_b}, dispatcher, scaler, seen, hosts, stack
        )
        world.write_targets(state / "hosts.yaml")
        until(lambda: len(seen.ask("up == 1")) == 4)
        yield world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_in(tmp_path_factory.mktemp("world")) as world:
        yield world


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that hangs: it answers nobody, and is there."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def selectors(rule: Rule) -> set[str]:
    """What an alert asks for, before it compares."""
    return set(re.findall(r"(?:\b\w+:)?\b(?:ygg_\w+|up)(?::\w+)?(?:\{[^}]*\})?", rule.expr))


# -- the whole ------------------------------------------------------------------------------------


def test_what_every_rule_asks_for_is_there_under_load(world: World) -> None:
    def is_there(expr: str) -> Callable[[], bool]:
        def look() -> bool:
            world.submit(1, priority=0)  # rates want counters that rise meanwhile
            world.submit(1, type="reasoning")
            return bool(world.prometheus.ask(expr))

        return look

    for rule in ALL:
        if rule.is_alert:
            world.prometheus.ask(rule.expr)  # it parses; whether it comes true is seen below
            for selector in sorted(selectors(rule)):
                until(is_there(selector))
        else:
            until(is_there(f"{rule.name} >= 0"))  # what is not a number is not there
    assert world.prometheus.troubles() == []
    until(world.is_idle)


def test_it_agrees_with_the_status(world: World) -> None:
    world.gate(world.a, is_open=False)
    world.gate(world.b, is_open=False)
    world.submit(6)
    world.submit(4, type="reasoning", priority=3)
    until(lambda: world.running("b") == 1)
    ask = world.prometheus.by

    def agrees() -> bool:
        status = world.status()
        hosts = {host["name"]: host for host in status["hosts"]}

        def of(key: str) -> dict[str, float]:
            return {name: float(host[key]) for name, host in hosts.items()}

        return (
            ask("job", "sum by (job) (ygg_tasks_waiting)") == {"ygg": status["waiting"]["total"]}
            and ask("host", "ygg_host_slots_active") == of("active")
            and ask("host", "ygg_host_slots_limit") == of("limit")
            and ask("host", "ygg_host_slots_available") == of("available_slots")
            and ask("host", "ygg_host_slots_min") == of("min")
            and ask("host", "ygg_host_slots_max") == of("max")
            and ask("host", "ygg_host_up") == {n: float(h["up"] == "up") for n, h in hosts.items()}
            and ask("priority", "sum by (priority) (ygg_tasks_waiting) > 0")
            == {k: float(v) for k, v in status["waiting"]["by_priority"].items() if v}
        )

    until(agrees)
    world.gate(world.a, is_open=True)
    world.gate(world.b, is_open=True)
    until(world.is_idle)


def test_an_exporter_s_series_are_joined_to_its_host_and_are_of_its_own_card(world: World) -> None:
    ask = world.prometheus.by

    def is_joined() -> bool:
        return (
            ask("host", "ygg_gpu_up * on (host) ygg_host_up") == {"a": 1, "b": 1}
            # There is a second card in the machine, and a has `device: 0`.
            and ask("gpu", 'ygg_gpu_memory_total_bytes{host="a"}') == {"0": 8e9}
            and ask("host", "host:ygg_gpu_memory_used:ratio").get("a") == 0.75
        )

    until(is_joined)
    (up,) = world.prometheus.ask('ygg_gpu_up{host="a"}')
    assert up.labels.keys() == {"__name__", "job", "instance", "host", "device"}
    assert 'gpu="1"' in world.exporters["a"].page()


def test_a_new_host_is_scraped_and_a_removed_one_is_not_without_a_word_to_prometheus(
    world: World, tmp_path: Path
) -> None:
    longer = tmp_path / "hosts.yaml"
    exporter_of_b = world.exporters["b"].url
    new = f"  c: {{url: 'http://127.0.0.1:1', gpu: {{exporter: '{exporter_of_b}/metrics'}}}}\n"
    longer.write_text(world.hosts.replace("hosts:\n", f"hosts:\n{new}", 1))
    world.write_targets(longer)
    until(lambda: world.prometheus.by("host", 'up{host="c"}') == {"c": 1})
    world.write_targets(world.dispatcher.state / "hosts.yaml")
    until(lambda: not world.prometheus.ask('up{host="c"}'))
    until(lambda: world.prometheus.by("host", 'up{job="ygg-gpu"}') == {"a": 1, "b": 1})


# -- conditions that are real, and pass -------------------------------------------------------------


def test_what_fails_or_hangs_is_told_of_and_so_is_the_critical_task_that_waits(
    world: World,
) -> None:
    world.all_is_quiet()
    world.gate(world.a, is_open=False)
    world.submit(6)  # more than it ever runs at once
    until(lambda: world.running("a") >= 1)
    world.submit(1, priority=0)
    world.servers.kill(world.b)
    with stopped(world.exporters["a"].process.pid), stopped(world.autoscaler.process.pid):
        world.submit(1, type="reasoning")  # that it is gone is seen at once
        world.fires("YggHostDown", "b")
        world.fires("YggGpuExporterDead", "a")
        world.fires("YggAutoscalerSilent")
        world.fires("YggCriticalTaskWaiting")
    world.servers.restart(world.b)
    world.gate(world.a, is_open=True)
    until(world.is_idle)
    world.all_is_quiet()


def test_a_full_card_a_bad_model_and_a_growing_backlog_are_told_of(world: World) -> None:
    world.gate(world.a, is_open=False)
    world.card.set({"0.memory_used": 7_700_000_000})
    world.b.error = 400
    world.submit(5, type="reasoning")
    wanted = {
        ("YggMemoryHighAtMinimum", "a"),
        ("YggTasksBlockedInARow", "b"),
        ("YggBacklogGrowing", ""),
    }
    seen: set[tuple[str, str]] = set()

    def all_seen() -> bool:
        world.submit(2)
        seen.update(world.prometheus.firing())
        return wanted <= seen

    until(all_seen, within=120)
    world.card.set({"0.memory_used": 6_000_000_000})
    world.b.error = 0
    for task in world.dispatcher.client.tasks(status="open"):
        world.dispatcher.client.call("POST", f"/v1/tasks/{task['id']}/cancel")
    world.gate(world.a, is_open=True)
    world.submit(1, type="reasoning")
    until(world.is_idle)
    world.all_is_quiet()


@contextmanager
def busy(file: Path) -> Iterator[None]:
    """Another program holds the store's file for most of the time, so each commit waits for it."""
    ends = threading.Event()

    def hold() -> None:
        with closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as connection:
            while not ends.is_set():
                connection.execute("BEGIN IMMEDIATE")
                ends.wait(0.8)
                connection.execute("ROLLBACK")
                ends.wait(0.15)  # SQLite looks again every tenth of a second

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()


def test_a_store_that_has_to_wait_is_told_of(world: World) -> None:
    world.all_is_quiet()

    def seen() -> bool:
        with suppress(Problem):  # it may also have waited for too long
            world.submit()
        return ("YggStoreSlow", "") in world.prometheus.firing()

    with busy(world.dispatcher.state / "ygg.db"):
        until(seen, within=90)

    def gone() -> bool:
        with suppress(Problem):  # what waited for the file is looked after first
            world.submit()
        return not world.prometheus.firing()

    until(gone, within=60)
    until(world.is_idle)


def test_a_bad_edit_of_hosts_yaml_is_told_of_until_it_is_mended(world: World) -> None:
    file = world.dispatcher.state / "hosts.yaml"
    file.write_text(world.hosts.replace("slots:", "slotz:", 1))
    try:
        world.dispatcher.process.send_signal(signal.SIGHUP)
        until(lambda: ("YggConfigReloadFailed", "") in world.prometheus.firing(), within=60)
    finally:
        file.write_text(world.hosts)
        world.dispatcher.process.send_signal(signal.SIGHUP)
    world.all_is_quiet()


def test_a_dispatcher_that_hangs_is_told_of(world: World) -> None:
    with stopped(world.dispatcher.process.pid):
        world.fires("YggDown")
    world.all_is_quiet()


def test_a_drain_that_lets_nothing_start_and_what_it_blocked_are_told_of(world: World) -> None:
    world.gate(world.a, is_open=False)
    world.gate(world.b, is_open=False)
    world.submit(20)
    world.submit(1, type="reasoning")
    until(lambda: world.running("a") >= 1 and world.running("b") == 1)
    world.dispatcher.process.send_signal(signal.SIGTERM)
    until(lambda: "event=drain " in world.dispatcher.log.read_text())
    world.gate(world.a, is_open=True)  # a has free slots now, and tasks that wait
    world.fires("YggNothingStarts", "a")
    world.dispatcher.process.send_signal(signal.SIGTERM)  # b's task won't end: it is cut off
    assert world.dispatcher.process.wait(60) == 0
    world.gate(world.b, is_open=True)
    world.restart()
    world.fires("YggDrainBlockedTasks")
    sent = ygg("retry", "--drained", "--yes", "--url", world.dispatcher.url)
    assert sent.returncode == 0, sent.stderr
    until(world.is_idle)
    world.all_is_quiet()
