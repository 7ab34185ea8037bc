"""The exporter as its user has it: a process, the real pynvml, a page that Prometheus reads."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from autoscaler import gpu_exporter
from autoscaler.cards import Card, NoReading
from autoscaler.cpu_card import server_utilization
from autoscaler.gpu_exporter import size
from autoscaler.sampler import Sampler
from tests.nvml import StandIn
from tests.system.daemons import until
from ygg.exporters import read_page


@dataclass
class Exporter:
    process: subprocess.Popen[str]
    url: str
    log: Path

    def page(self) -> str:
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=20) as answer:
            text: str = answer.read().decode()
        return text

    def values(self) -> dict[str, float]:
        """Each line of the page without its card's labels."""
        lines = [line for line in self.page().splitlines() if not line.startswith("#")]
        return {
            line.rsplit(" ", 1)[0].split("{")[0]: float(line.rsplit(" ", 1)[1]) for line in lines
        }

    def waits_for(self, condition: Callable[[dict[str, float]], bool]) -> dict[str, float]:
        found: dict[str, float] = {}

        def there() -> bool:
            nonlocal found
            found = self.values()
            return condition(found)

        until(there)
        return found


@contextmanager
def exporter(folder: Path, *args: str, env: dict[str, str] | None = None) -> Iterator[Exporter]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "exporter.log"
    with log.open("a") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "autoscaler.gpu_exporter", "--listen", f"127.0.0.1:{port}", *args],
            stdout=out, stderr=out, text=True, env={**os.environ, **(env or {})},
        )  # fmt: skip
    running = Exporter(process, f"http://127.0.0.1:{port}", log)
    try:
        until(lambda: _answers(running))
        yield running
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)


def _answers(running: Exporter) -> bool:
    assert running.process.poll() is None, running.log.read_text()
    try:
        running.page()
    except (urllib.error.URLError, ConnectionError):
        return False
    return True


@contextmanager
def standing_in(tmp_path: Path, **changes: object) -> Iterator[tuple[StandIn, Exporter]]:
    driver = StandIn(tmp_path / "nvml", **changes)
    env = driver.environment(tmp_path / "lib")
    with exporter(tmp_path, env=env) as running:
        yield driver, running


@pytest.mark.system
def test_the_page_says_what_the_driver_says(tmp_path: Path) -> None:
    with standing_in(tmp_path) as (_, running):
        page = running.page()
        card = (
            'gpu="0",mig="",name="NVIDIA Test 8GB",uuid="GPU-00000000-1111-2222-3333-444444444444"'
        )
        for line in (
            "ygg_gpu_up 1.0",
            f"ygg_gpu_utilization_ratio{{{card}}} 0.4",
            f"ygg_gpu_memory_used_bytes{{{card}}} 6e+09",
            f"ygg_gpu_memory_free_bytes{{{card}}} 2e+09",
            f"ygg_gpu_memory_total_bytes{{{card}}} 8e+09",
            f"ygg_gpu_temperature_celsius{{{card}}} 61.0",
            f"ygg_gpu_power_watts{{{card}}} 141.5",
            f"ygg_gpu_power_limit_watts{{{card}}} 200.0",
            f'ygg_gpu_clock_hertz{{domain="sm",{card}}} 1.8e+09',
            f'ygg_gpu_throttled{{{card},reason="power_cap"}} 1.0'.replace(
                'name="NVIDIA Test 8GB",', 'name="NVIDIA Test 8GB",'
            ),
        ):
            assert _has(page, line), f"{line} is not on the page:\n{page}"
        read = read_page(page)
        assert read.dialect is not None
        assert read.dialect.name == "ygg-gpu-exporter"
        (card_read,) = read.cards
        assert (card_read.utilization_ratio, card_read.memory_used_ratio) == (0.4, 0.75)


def _has(page: str, line: str) -> bool:
    """The order of labels is no matter."""

    def parts(text: str) -> tuple[str, frozenset[str], str]:
        name, _, rest = text.partition("{")
        labels, _, value = rest.rpartition("} ")
        return (name, frozenset(labels.split(",")), value) if rest else (text, frozenset(), "")

    return parts(line) in {parts(candidate) for candidate in page.splitlines()}


@pytest.mark.system
def test_what_the_driver_cant_say_is_absent_and_counted(tmp_path: Path) -> None:
    changes = {"0.power": "!3", "0.util": "!4", "0.temperature": None}
    with standing_in(tmp_path) as (driver, running):
        driver.set(changes)
        values = running.waits_for(lambda v: "ygg_gpu_power_watts" not in v)
        assert values["ygg_gpu_up"] == 1
        assert "ygg_gpu_temperature_celsius" not in values
        assert "ygg_gpu_utilization_ratio" not in values
        assert values["ygg_gpu_memory_used_bytes"] == 6e9
        page = running.page()
        assert 'ygg_gpu_read_failures_total{field="power_watts",reason="not_supported"}' in page
        assert 'field="utilization_ratio",reason="no_permission"' in page


@pytest.mark.system
@pytest.mark.parametrize(
    ("changes", "kind", "remedy"),
    [
        ({"0.all": "!15"}, "gpu_lost", "reset it or reboot"),
        ({"count": "!9"}, "driver_not_loaded", "modprobe nvidia"),
        ({"count": "!18"}, "driver_upgraded", "reboot"),
        ({"0.handle": "!999"}, "nvml", "nvidia-smi"),
    ],
)
def test_a_driver_that_goes_is_told_and_comes_back_by_itself(
    tmp_path: Path, changes: dict[str, object], kind: str, remedy: str
) -> None:
    with standing_in(tmp_path) as (driver, running):
        driver.set(changes)
        values = running.waits_for(lambda v: v["ygg_gpu_up"] == 0)
        assert "ygg_gpu_memory_used_bytes" not in values, "an old number would be a lie"
        assert f'ygg_gpu_trouble{{kind="{kind}"}} 1.0' in running.page()
        assert remedy in running.log.read_text()
        driver.set(dict.fromkeys(changes) | {"count": 1})
        running.waits_for(lambda v: v["ygg_gpu_up"] == 1)
        assert "event=gpu_back" in running.log.read_text()


@pytest.mark.system
def test_no_driver_at_all_is_up_0_and_says_what_to_do(tmp_path: Path) -> None:
    with exporter(tmp_path) as running:
        assert running.values() == {"ygg_gpu_up": 0.0, "ygg_gpu_trouble": 1.0}
        assert "--device cpu" in running.log.read_text()


@pytest.mark.system
def test_mig_instances_have_their_own_memory_and_the_card_no_utilization(tmp_path: Path) -> None:
    changes = {
        "0.mig_mode": 1, "0.mig_max": 3, "0.util": "!3",
        "0.mig.0.memory_total": 10_000, "0.mig.0.memory_used": 1_000,
        "0.mig.2.memory_total": 20_000, "0.mig.2.memory_used": 5_000, "0.mig.2.uuid": "MIG-2",
    }  # fmt: skip
    with standing_in(tmp_path, **changes) as (_, running):
        cards = read_page(running.page()).cards
        told = {(c.label, c.utilization_ratio, round(c.memory_used_ratio or 0.0, 6)) for c in cards}
        assert told == {
            ("0 (NVIDIA Test 8GB)", None, 0.75), ("0, part 0", None, 0.1), ("0, part 2", None, 0.25),
        }  # fmt: skip


@pytest.mark.system
def test_an_old_driver_and_one_without_memory_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    with standing_in(tmp_path, **{"0.old_driver": 1}) as (driver, running):
        assert running.values()["ygg_gpu_memory_used_bytes"] == 6e9
        driver.set({"0.memory_total": 0, "0.memory_used": 0})  # unified memory on some drivers
        values = running.waits_for(lambda v: "ygg_gpu_memory_used_bytes" not in v)
        assert values["ygg_gpu_utilization_ratio"] == 0.4


@pytest.mark.system
def test_the_mean_is_of_the_samples_since_the_last_reading(tmp_path: Path) -> None:
    with standing_in(tmp_path) as (driver, running):
        # Each sample is taken into one mean; the first scrapes took 10, 20 and 30.
        driver.set({"0.samples": "10,20,30,80,90"})
        running.waits_for(lambda v: v.get("ygg_gpu_utilization_mean_ratio") == 0.85)
        running.waits_for(lambda v: "ygg_gpu_utilization_mean_ratio" not in v)


@pytest.mark.system
def test_the_processor_is_a_card_too(tmp_path: Path) -> None:
    with exporter(tmp_path, "--device", "cpu") as running:
        (card,) = read_page(running.page()).cards
        assert card.label.startswith("cpu")
        assert card.memory_used_ratio is not None
        assert 0 < card.memory_used_ratio < 1


@pytest.mark.system
def test_one_server_is_measured_by_its_process(tmp_path: Path) -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        args = ["--device", "cpu", "--pid", str(busy.pid), "--memory-budget", "100MB"]
        with exporter(tmp_path, *args) as running:
            values = running.waits_for(lambda v: v.get("ygg_gpu_utilization_ratio", 0) > 0.1)
            assert 0 < values["ygg_gpu_utilization_mean_ratio"] <= 1
            assert values["ygg_gpu_memory_total_bytes"] == 100 << 20
            assert 0 < values["ygg_gpu_memory_used_bytes"] < 100 << 20
            busy.kill()
            # Nobody has waited for it yet: it is listed still, and takes nothing.
            until(lambda: psutil.Process(busy.pid).status() == psutil.STATUS_ZOMBIE)
            running.waits_for(lambda v: v["ygg_gpu_up"] == 0)
            busy.wait(10)
            running.waits_for(lambda v: v["ygg_gpu_up"] == 0)
            assert f"process {busy.pid}" in running.log.read_text()
    finally:
        busy.kill()
        busy.wait(10)


@pytest.mark.system
def test_a_driver_without_cards_is_not_up_and_fewer_cards_are_told(tmp_path: Path) -> None:
    with standing_in(tmp_path) as (driver, running):
        driver.set({"count": 2, "1.uuid": "GPU-1", "1.name": "another", "1.util": 7})
        until(lambda: 'gpu="1"' in running.page())
        driver.set({"count": 1})
        until(lambda: bool(running.page()) and "event=gpu_missing" in running.log.read_text())
        driver.set({"count": 0})
        running.waits_for(lambda v: v["ygg_gpu_up"] == 0)
        assert "the NVIDIA driver has no GPU" in running.log.read_text()
        driver.set({"count": 2})
        running.waits_for(lambda v: v["ygg_gpu_up"] == 1)


@pytest.mark.system
def test_sigterm_ends_it_also_while_the_driver_is_stuck(tmp_path: Path) -> None:
    with standing_in(tmp_path) as (driver, running):
        driver.set({"sleep": 60})
        running.waits_for(lambda v: v["ygg_gpu_up"] == 0)
        assert 'kind="stuck"' in running.page()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(20) == 0


# A server on the processor


@pytest.mark.pure
@pytest.mark.parametrize(
    ("busy", "threads", "free", "utilization"),
    [
        (0.5, 1, 1.0, 0.5),  # there is room: it could do more
        (0.5, 1, 0.0, 1.0),  # others have the rest: it could not
        (1.0, 2, 0.5, 1.0 / 1.5),
        (1.01, 1, 0.0, 1.0),  # clocks are not exact
        (0.5, 1, -0.01, 1.0),
        (0.01, 1, 0.0, 0.01),  # it is only looked at
        (0.0, 4, 0.0, 0.0),
    ],
)
def test_a_server_is_as_busy_as_the_processors_that_others_leave_it(
    busy: float, threads: int, free: float, utilization: float
) -> None:
    assert server_utilization(busy, threads, free) == pytest.approx(utilization)


@pytest.mark.pure
@given(st.floats(0, 64), st.integers(1, 64), st.floats(-1, 64))
def test_a_servers_utilization_is_a_ratio_never_under_its_share_of_its_threads(
    busy: float, threads: int, free: float
) -> None:
    found = server_utilization(busy, threads, free)
    assert min(1.0, busy / threads) <= found <= 1 + 1e-9


# The sampler alone


class Source:
    def __init__(self) -> None:
        self.failures: Counter[tuple[str, str]] = Counter()
        self.asked = 0
        self.go = threading.Event()
        self.go.set()

    def read(self) -> list[Card]:
        self.asked += 1
        self.go.wait(60)
        return [Card(gpu=str(self.asked), uuid="", name="")]

    def close(self) -> None:
        pass


def test_a_scrape_storm_costs_one_question_a_second() -> None:
    source, now = Source(), 0.0
    sampler = Sampler(source, clock=lambda: now)
    first = sampler.reading()
    for _ in range(100):
        assert sampler.reading() is first
    assert source.asked == 1
    now = 1.0
    assert sampler.reading() is not first
    sampler.close()


def test_a_card_whose_figures_stand_still_is_not_taken_for_a_frozen_exporter() -> None:
    class Steady(Source):
        def read(self) -> list[Card]:
            used, total = {"memory_used_bytes": 6e9}, {"memory_total_bytes": 8e9}
            return [Card(gpu="0", uuid="GPU-0", name="", mig="1", values=used | total)]

    now = 0.0
    sampler = Sampler(Steady(), clock=lambda: now, wall=lambda: 1.7e9 + now)
    registry = CollectorRegistry()
    registry.register(gpu_exporter.CardsCollector(sampler))

    def digits() -> tuple[str, ...]:
        return read_page(generate_latest(registry).decode()).digits

    first = digits()
    assert digits() == first, "nothing was read anew within a second"
    now = 5.0
    assert digits() != first
    sampler.close()


def test_a_driver_that_blocks_holds_nobody_for_longer_than_their_patience() -> None:
    source = Source()
    sampler = Sampler(source, clock=time.monotonic, patience=0.01)
    source.go.clear()
    assert sampler.reading().trouble == "stuck"
    assert sampler.reading().trouble == "stuck"
    assert source.asked == 1, "a second question would only queue behind the first"
    source.go.set()
    until(lambda: not sampler.reading().trouble)
    sampler.close()


def test_a_source_without_a_reading_says_why() -> None:
    class Away(Source):
        def read(self) -> list[Card]:
            raise NoReading("no_driver", "install it")

    sampler = Sampler(Away(), clock=time.monotonic)
    reading = sampler.reading()
    assert (reading.cards, reading.trouble, reading.message) == ((), "no_driver", "install it")
    sampler.close()


@pytest.mark.pure
@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["--device", "gpu"], "'gpu' is none of nvml, cpu: did you mean 'cpu'? `ygg-gpu-exporter"),
        (["--pid", "3"], "--pid needs --device cpu"),
        (["--device", "cpu", "--pid", "٣"], "'٣' is no whole number of at least 1"),
        (["--device", "cpu", "--pid", "0"], "'0' is no whole number of at least 1"),
        (["--device", "cpu", "--threads", "2"], "--threads is of one server: name it with --pid"),
        (["--device", "cpu", "--pid", "1", "--memory-budget", "inf"], "write 2GB or 512MiB"),
        (["--listen", "here"], "--listen: 'here': write HOST:PORT"),
        (["--lsiten", "here:1"], "unrecognized arguments: --lsiten here:1: did you mean '--listen'?"),
        (["--listen", "\udce4:1"], "argument 2 is no text in UTF-8"),
    ],
)  # fmt: skip
def test_wrong_use_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], args: list[str], why: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        gpu_exporter.main(args)
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n")) == (2, 1)
    assert said.startswith("ygg-gpu-exporter: ")
    assert why in said


@pytest.mark.pure
def test_what_can_not_be_served_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for args, why in (
            (["--device", "cpu", "--listen", address], "choose another address with --listen"),
            (["--device", "cpu", "--pid", "99999999"], "give the server's own --pid"),
        ):
            with pytest.raises(SystemExit) as ended:
                gpu_exporter.main(args)
            said = capsys.readouterr().err
            assert (ended.value.code, said.count("\n"), why in said) == (1, 1, True), said


@pytest.mark.pure
@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("2GB", 2 << 30), ("512MiB", 512 << 20), ("1000", 1000), ("1.5g", 3 << 29), ("7k", 7168)],
)
def test_sizes_are_written_as_people_write_them(text: str, bytes_: int) -> None:
    assert size(text) == bytes_


@pytest.mark.pure
@pytest.mark.parametrize(
    "text", ["", "much", "-1GB", "0", "GB", "inf", "nan", "1_000", "1e9", "٢GB", "9" * 400, "2GBB"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        size(text)
