"""`ygg-gpu-exporter`: the page that Prometheus, and the autoscaler, read of one host's cards.

What the driver can't say is absent from the page, never 0. Reading cards is nvml.py's and
cpu_card.py's, how often they are asked sampler.py's.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NoReturn

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from autoscaler.cards import Card, NoReading
from autoscaler.page_server import PageServer
from autoscaler.sampler import Reading, Sampler, Source
from ygg.addresses import HostPort, parse_host_port
from ygg.version import VERSION

log = logging.getLogger("ygg.gpu")

DEFAULT_LISTEN: Final = "127.0.0.1:9836"
_LABELS: Final = ("gpu", "uuid", "name", "mig")
#: Every plain gauge of a card, and what it is.
_GAUGES: Final = {
    "utilization_ratio": "Share of the last moment in which some kernel ran.",
    "utilization_mean_ratio": "The same, as the mean since the last reading.",
    "memory_used_bytes": "Memory in use, by all processes.",
    "memory_free_bytes": "Memory that can still be had.",
    "memory_total_bytes": "All memory of the card.",
    "temperature_celsius": "Temperature of the chip.",
    "power_watts": "Power drawn.",
    "power_limit_watts": "Power that may be drawn.",
}
_UNITS: Final = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class CardsCollector(Collector):
    """One reading, as metrics."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def describe(self) -> Iterable[Metric]:
        """Nothing: to be registered must not ask the driver."""
        return []

    def collect(self) -> Iterator[Metric]:
        return page(self._sampler.reading())


def page(reading: Reading) -> Iterator[Metric]:
    """Pure: what stands on the page for a reading."""
    up = not reading.trouble
    yield GaugeMetricFamily("ygg_gpu_up", "Whether the cards can be read.", float(up))
    trouble = GaugeMetricFamily(
        "ygg_gpu_trouble", "Why they can't; the log says what to do.", labels=["kind"]
    )
    if reading.trouble:
        trouble.add_metric([reading.trouble], 1)
    yield trouble
    failures = CounterMetricFamily(
        "ygg_gpu_read_failures", "Fields that the driver could not say.", labels=["field", "reason"]
    )
    for (field, reason), count in sorted(reading.failures.items()):
        failures.add_metric([field, reason], count)
    yield failures
    for name, help_ in _GAUGES.items():
        gauge = GaugeMetricFamily(f"ygg_gpu_{name}", help_, labels=_LABELS)
        for card in reading.cards:
            if name in card.values:
                gauge.add_metric(_labels(card), card.values[name])
        yield gauge
    clock = GaugeMetricFamily(
        "ygg_gpu_clock_hertz", "Clock of a domain.", labels=[*_LABELS, "domain"]
    )
    throttled = GaugeMetricFamily(
        "ygg_gpu_throttled", "Whether the clock is held down.", labels=[*_LABELS, "reason"]
    )
    processes = GaugeMetricFamily(
        "ygg_gpu_process_memory_bytes", "Memory of a process.", labels=[*_LABELS, "pid"]
    )
    for card in reading.cards:
        for domain, hertz in card.clocks.items():
            clock.add_metric([*_labels(card), domain], hertz)
        for reason, applies in card.throttled.items():
            throttled.add_metric([*_labels(card), reason], float(applies))
        for pid, size in card.processes.items():
            processes.add_metric([*_labels(card), str(pid)], size)
    yield from (clock, throttled, processes)


def _labels(card: Card) -> list[str]:
    return [card.gpu, card.uuid, card.name, card.mig]


def main(argv: Sequence[str] | None = None) -> NoReturn:
    parser = make_parser()
    args = parser.parse_args(argv)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s [%(name)s] %(levelname)s: %(message)s"
    )
    try:
        source = _source(args)
    except NoReading as error:
        parser.exit(1, f"ygg-gpu-exporter: {error}\n")
    sampler = Sampler(source, clock=time.monotonic)
    registry = CollectorRegistry()
    registry.register(CardsCollector(sampler))
    try:
        server = PageServer(args.listen, registry)
    except OSError as error:
        parser.exit(
            1,
            f"ygg-gpu-exporter: can't listen on {args.listen}: {error.strerror or error}: "
            "choose another address with --listen HOST:PORT\n",
        )
    threading.Thread(target=server.serve_forever, name="ygg-gpu-http", daemon=True).start()
    where = HostPort(args.listen.host, server.server_port)
    log.info("event=serving version=%s url=http://%s/metrics", VERSION, where)
    sampler.reading()  # says at once whether there is anything to read
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
    server.shutdown()
    sampler.close()
    log.info("event=ended")
    logging.shutdown()
    # A driver that is stuck holds its thread for ever, and Python would wait for it.
    os._exit(0)


def _source(args: argparse.Namespace) -> Source:
    """Raises NoReading."""
    if args.pid is not None:
        from autoscaler.cpu_card import Server

        return Server(args.pid, budget=args.memory_budget, threads=args.threads)
    if args.device == "cpu":
        from autoscaler.cpu_card import Machine

        return Machine()
    from autoscaler.nvml import Nvml

    return Nvml()


def _address(text: str) -> HostPort:
    try:
        return parse_host_port(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def size(text: str) -> int:
    """Bytes of a text such as 2GB, 512MiB or 1000000. Raises ValueError."""
    lower = text.strip().lower().removesuffix("b").removesuffix("i")
    unit = _UNITS.get(lower[-1:], 1)
    number = float(lower[:-1] if lower[-1:] in _UNITS else lower)
    if not 1 <= number * unit < 1 << 60:
        raise ValueError(f"{text!r} is no size in bytes: write 2GB or 512MiB")
    return int(number * unit)


def make_parser() -> argparse.ArgumentParser:
    """The documentation is made from it too."""
    parser = argparse.ArgumentParser(
        prog="ygg-gpu-exporter",
        description="Shows the GPUs of this machine to Prometheus and to ygg's autoscaler.",
        epilog="example: ygg-gpu-exporter --listen 0.0.0.0:9836",
    )
    parser.add_argument("--version", action="version", version=f"ygg-gpu-exporter {VERSION}")
    parser.add_argument(
        "--listen",
        type=_address,
        default=DEFAULT_LISTEN,
        metavar="HOST:PORT",
        help="(default %(default)s)",
    )
    parser.add_argument(
        "--device", choices=["nvml", "cpu"], default="nvml",
        help="cpu: the processor and its memory, for models that run without a GPU",
    )  # fmt: skip
    parser.add_argument("--pid", type=int, help="with cpu: of one server, not of the machine")
    parser.add_argument(
        "--memory-budget", type=size, default=size("2GB"), metavar="SIZE",
        help="what that server may take (default 2GB)",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, help="processors that it may keep busy")
    return parser


if __name__ == "__main__":
    main()
