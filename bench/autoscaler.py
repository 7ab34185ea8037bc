"""What the autoscaler costs: the real process against exporters and a dispatcher that answer at once.

    python -m bench.autoscaler            # 100 and 1,000 hosts, two minutes

The exporters keep connections open, as ours does. All of them, and the dispatcher's page, are
served by another process on another core; the autoscaler is kept on one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
#: The interval in which all hosts must have been scraped and decided on.
_INTERVAL = 15.0


def _exporter_page(turn: int) -> str:
    card = '{gpu="0",uuid="GPU-7e6e3f0a-0000-0000-0000-000000000000",name="NVIDIA L4",mig=""}'
    values = {
        "utilization_ratio": 0.4, "utilization_mean_ratio": 0.41, "memory_used_bytes": 6e9 + turn,
        "memory_free_bytes": 2e9 - turn, "memory_total_bytes": 8e9, "temperature_celsius": 61.0,
        "power_watts": 141.5, "power_limit_watts": 200.0,
    }  # fmt: skip
    lines = ["# HELP ygg_gpu_up Whether the cards can be read.", "# TYPE ygg_gpu_up gauge"]
    lines.append("ygg_gpu_up 1.0")
    for name, value in values.items():
        lines += [f"# HELP ygg_gpu_{name} What it is.", f"# TYPE ygg_gpu_{name} gauge"]
        lines.append(f"ygg_gpu_{name}{card} {value}")
    for domain in ("sm", "memory"):
        lines.append(f'ygg_gpu_clock_hertz{{domain="{domain}",{card[1:]} 1.8e+09')
    for reason in ("idle", "power_cap", "thermal", "hardware", "other"):
        lines.append(f'ygg_gpu_throttled{{reason="{reason}",{card[1:]} 0.0')
    return "\n".join(lines) + "\n"


def _dispatcher_page(hosts: int, turn: int) -> str:
    lines = ["# TYPE ygg_host_up gauge"]
    for number in range(hosts):
        label = f'{{host="host-{number:04d}"}}'
        lines += [
            f"ygg_host_{name}{label} {value}"
            for name, value in {
                "up": 1.0, "paused": 0.0, "slots_limit": 2.0, "slots_active": 2.0, "slots_min": 1.0,
                "slots_max": 4.0, "slots_pinned": 0.0, "demand_tasks": 3.0,
                "oldest_wait_seconds": 12.5, "runs_total": float(turn),
                "run_seconds_total": 10.0 * turn, "model_memory_bytes": 5e9,
            }.items()
        ]  # fmt: skip
        lines.append(f'ygg_tokens_total{{direction="completion",host="host-{number:04d}"}} {turn}')
        lines.append(f'ygg_tokens_total{{direction="prompt",host="host-{number:04d}"}} {turn}')
    return "\n".join(lines) + "\n"


class _Server(asyncio.Protocol):
    """HTTP as far as it is needed here."""

    hosts = 0
    turns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, blank, body = self._data.partition(b"\r\n\r\n")
        if not blank:
            return
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n")
             if line.lower().startswith(b"content-length:")), 0,
        )  # fmt: skip
        if len(body) < length:
            return
        self._data = b""
        _Server.turns += 1
        if head.startswith(b"PUT "):
            names = json.loads(body)["hosts"]
            said = {"hosts": {n: {"effect": "unchanged", "detail": "", "limit": 2} for n in names}}
            self._answer(json.dumps({**said, "lease_seconds": 45.0}))
        elif head.startswith(b"GET /metrics "):
            self._answer(_dispatcher_page(self.hosts, _Server.turns))
        else:
            self._answer(_exporter_page(_Server.turns))

    def _answer(self, text: str) -> None:
        body = text.encode()
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s"
            % (len(body), body)
        )


def _serve(hosts: int, ready: multiprocessing.SimpleQueue[int]) -> None:
    async def run() -> None:
        _Server.hosts = hosts
        loop = asyncio.get_running_loop()
        server = await loop.create_server(_Server, "127.0.0.1", 0, backlog=4096)
        ready.put(server.sockets[0].getsockname()[1])
        await asyncio.Event().wait()

    asyncio.run(run())


@dataclass(frozen=True)
class Figures:
    hosts: int
    cpu_seconds_per_interval: float
    memory_mb: float
    #: How long ago the most neglected exporter was seen when its host was decided on.
    gpu_age_seconds_max: float
    decisions_per_interval: float


def measure(hosts: int, seconds: float) -> Figures:
    ready: multiprocessing.SimpleQueue[int] = multiprocessing.SimpleQueue()
    server = multiprocessing.Process(target=_serve, args=(hosts, ready), daemon=True)
    server.start()
    port = ready.get()
    with tempfile.TemporaryDirectory() as folder:
        lines = ["hosts:"]
        for number in range(hosts):
            url = f"http://127.0.0.1:{port}/exporter/{number}"
            lines.append(
                f"  host-{number:04d}: {{url: 'http://host-{number}:11434', api: ollama, "
                f"slots: {{start: 2, max: 4}}, gpu: {{exporter: '{url}'}}}}"
            )
        lines.append("autoscaler: {listen: '127.0.0.1:0'}")
        (Path(folder) / "hosts.yaml").write_text("\n".join(lines))
        log = Path(folder) / "log"
        with log.open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "autoscaler.cli", "--state", folder,
                 "--url", f"http://127.0.0.1:{port}"],
                cwd=folder, stderr=out, stdout=out,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            )  # fmt: skip
        try:
            os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
            os.sched_setaffinity(server.pid or 0, {min(os.sched_getaffinity(0))})
            return _watch(process, log, hosts, seconds)
        finally:
            process.terminate()
            process.wait(30)
            server.terminate()
            server.join()


def _watch(process: subprocess.Popen[bytes], log: Path, hosts: int, seconds: float) -> Figures:
    url = ""
    while not url:
        if process.poll() is not None:
            raise RuntimeError(log.read_text()[-2000:])
        time.sleep(0.1)
        for line in log.read_text().splitlines():
            if "event=serving" in line:
                url = line.split("url=")[1].split()[0]
    time.sleep(2 * _INTERVAL)  # until what starts up has started
    before, made = _cpu_seconds(process.pid), _decisions(url)
    began = time.monotonic()
    time.sleep(seconds)
    intervals = (time.monotonic() - began) / _INTERVAL
    used, done = _cpu_seconds(process.pid) - before, _decisions(url) - made
    return Figures(
        hosts=hosts,
        cpu_seconds_per_interval=used / intervals,
        memory_mb=_memory_mb(process.pid),
        gpu_age_seconds_max=max(_values(url, "ygg_autoscaler_signal_age_seconds")),
        decisions_per_interval=done / intervals,
    )


def _values(url: str, name: str) -> list[float]:
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as answer:
        text: str = answer.read().decode()
    return [float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name}{{")]


def _decisions(url: str) -> float:
    return sum(_values(url, "ygg_autoscaler_decisions_total"))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def _memory_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    print(f"{'hosts':>6} {'CPU s/15 s':>11} {'of a core':>10} {'memory MB':>10} "
          f"{'oldest sample s':>16} {'decided/15 s':>13}")  # fmt: skip
    for hosts in args.hosts:
        found = measure(hosts, args.seconds)
        print(
            f"{found.hosts:>6} {found.cpu_seconds_per_interval:>11.3f} "
            f"{found.cpu_seconds_per_interval / _INTERVAL:>10.2%} {found.memory_mb:>10.1f} "
            f"{found.gpu_age_seconds_max:>16.1f} {found.decisions_per_interval:>13.0f}"
        )


if __name__ == "__main__":
    main()
