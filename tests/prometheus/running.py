"""A real Prometheus with the files that we ship, made quick: minutes become seconds."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import yaml

from tests.prometheus.rules import FILES, FOLDER
from tests.system.daemons import until

_DURATION = re.compile(r"(?P<before>^|\[|offset )(?P<number>\d+)(?P<unit>[ms])\b")
_SECONDS = {"m": 60, "s": 1}


def hastened(text: str, factor: float) -> str:
    """An expression, or a duration alone, of which all durations are so many times shorter."""

    def shorter(found: re.Match[str]) -> str:
        seconds = int(found["number"]) * _SECONDS[found["unit"]] / factor
        return f"{found['before']}{max(1, round(seconds * 1000))}ms"

    return _DURATION.sub(shorter, text)


@dataclass(frozen=True)
class Series:
    labels: Mapping[str, str]
    value: float


@dataclass
class Prometheus:
    url: str
    #: Of the files of targets.
    targets: Path
    log: Path

    def ask(self, expr: str) -> list[Series]:
        """What an expression gives now. Raises HTTPError: it does not parse."""
        query = f"{self.url}/api/v1/query?query={quote(expr)}"
        with urllib.request.urlopen(query, timeout=30) as answer:
            data = json.load(answer)["data"]
        if data["resultType"] == "scalar":
            return [Series({}, float(data["result"][1]))]
        return [Series(one["metric"], float(one["value"][1])) for one in data["result"]]

    def by(self, label: str, expr: str) -> dict[str, float]:
        return {one.labels.get(label, ""): one.value for one in self.ask(expr)}

    def troubles(self) -> list[str]:
        """Rules that could not be evaluated, each with why."""
        with urllib.request.urlopen(f"{self.url}/api/v1/rules", timeout=30) as answer:
            groups = json.load(answer)["data"]["groups"]
        every = [rule for group in groups for rule in group["rules"]]
        assert every, "it has no rules"
        return [f"{rule['name']}: {rule['lastError']}" for rule in every if rule["health"] == "err"]

    def firing(self) -> set[tuple[str, str]]:
        """The alerts that fire, each with the host that it is of."""
        found = self.ask('ALERTS{alertstate="firing"}')
        return {(one.labels["alertname"], one.labels.get("host", "")) for one in found}


@contextmanager
def prometheus(folder: Path, rules: Mapping[str, str]) -> Iterator[Prometheus]:
    """One that scrapes each second, with these rules by the names of their files."""
    (folder / "rules").mkdir(parents=True)
    (folder / "targets").mkdir()
    for name, text in rules.items():
        (folder / "rules" / name).write_text(text)
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text("utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "500ms"}
    for job in config["scrape_configs"]:
        job |= {"scrape_interval": "1s", "scrape_timeout": "1s"}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    with started(folder) as url:
        yield Prometheus(url, folder / "targets", folder / "prometheus.log")


@contextmanager
def started(folder: Path) -> Iterator[str]:
    """The address of a real one that runs by the folder's prometheus.yml, and logs there."""
    program = shutil.which("prometheus")
    assert program, "prometheus is missing: `make test` installs it"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    log = folder / "prometheus.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [program, f"--config.file={folder / 'prometheus.yml'}", f"--web.listen-address={address}",
             f"--storage.tsdb.path={folder / 'tsdb'}"],
            stdout=out, stderr=out,
        )  # fmt: skip
    try:
        until(lambda: _is_ready(f"http://{address}", process, log))
        yield f"http://{address}"
    finally:
        process.kill()
        process.wait(10)


def _is_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()[-3000:]
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=10):
            return True
    except (urllib.error.URLError, ConnectionError):
        return False


def shipped() -> dict[str, str]:
    """The rules as they are shipped, by the names of their files."""
    return {path.name: path.read_text("utf-8") for path in FILES}
