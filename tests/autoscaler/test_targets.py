"""hosts.yaml says what is watched: each semaphore once, with all its sources."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoscaler.observed import MemoryMode
from autoscaler.settings import Settings
from autoscaler.targets import targets_of
from autoscaler.watch import Watch
from ygg.hostsfile import parse_fleet

pytestmark = pytest.mark.pure

FLEET = parse_fleet(
    """
hosts:
  surtr: {url: 'http://surtr:11434', api: ollama, slots: {start: 2}}
  fenrir: {url: 'http://fenrir:11434', api: ollama, slots: {start: 3, max: 6}, gpu: {device: 1}}
  fenrir-cpp: {url: 'http://fenrir:8080/v1', api: openai, shares: fenrir, key: env:K, dry_run: true}
  skadi: {url: 'http://[::1]:8000', gpu: {exporter: 'http://skadi:9400/metrics', memory: kv}}
""",
    "hosts.yaml",
)


def test_servers_that_share_slots_are_one_host() -> None:
    targets = targets_of(FLEET)
    assert list(targets) == ["surtr", "fenrir", "skadi"]
    fenrir = targets["fenrir"]
    assert fenrir.members == ("fenrir", "fenrir-cpp")
    assert (fenrir.exporter, fenrir.device) == ("http://fenrir:9836/metrics", 1)
    assert [(e.url, e.key) for e in fenrir.engines] == [("http://fenrir:8080/metrics", "env:K")]
    assert (fenrir.has_max, targets["surtr"].has_max) == (True, False)
    assert (fenrir.dry_run, targets["surtr"].dry_run) == (True, False)


def test_what_memory_means_is_as_the_file_says_or_found_out() -> None:
    targets = targets_of(FLEET)
    assert targets["skadi"].memory is MemoryMode.KV
    watch = Watch(Settings(), targets)
    assert watch.hosts["surtr"].mode is MemoryMode.NVML  # Ollama has no metrics to ask for
    assert watch.hosts["fenrir"].mode is None


def test_of_hosts_that_are_seen_as_before_nothing_is_forgotten() -> None:
    watch = Watch(Settings(), targets_of(FLEET))
    before = dict(watch.hosts)
    text = """
hosts:
  loki: {url: 'http://loki:11434'}
  surtr: {url: 'http://surtr:11434', api: ollama, slots: {start: 1, pin: 1}, dry_run: true}
  fenrir: {url: 'http://fenrir:11434', api: ollama, slots: {start: 3, max: 6}, gpu: {device: 0}}
  fenrir-cpp: {url: 'http://fenrir:8080/v1', api: openai, shares: fenrir, key: env:K}
"""
    longer = replace(Settings(), window_seconds=900.0)
    watch.follow(longer, targets_of(parse_fleet(text, "hosts.yaml")))
    assert list(watch.hosts) == ["loki", "surtr", "fenrir"]
    assert watch.hosts["surtr"] is before["surtr"]
    assert (watch.hosts["surtr"].target.dry_run, watch.hosts["surtr"].target.start) == (True, 1)
    assert watch.hosts["fenrir"] is not before["fenrir"], "it has another card"
    assert watch.settings is longer
    assert {source.url for source in watch.sources()} == {
        "http://loki:9836/metrics", "http://surtr:9836/metrics", "http://fenrir:9836/metrics",
        "http://loki:11434/metrics", "http://fenrir:8080/metrics",
    }  # fmt: skip


def test_a_key_that_is_elsewhere_makes_no_other_host() -> None:
    watch = Watch(Settings(), targets_of(FLEET))
    before = watch.hosts["fenrir"]
    host = replace(FLEET.hosts["fenrir-cpp"], key="file:/k")
    watch.follow(Settings(), targets_of(replace(FLEET, hosts={**FLEET.hosts, "fenrir-cpp": host})))
    assert watch.hosts["fenrir"] is before
    assert "file:/k" in {source.key for source in watch.sources()}


def test_an_exporter_that_two_hosts_have_is_asked_once() -> None:
    text = """
hosts:
  a: {url: 'http://m:1', api: ollama, gpu: {device: 0}}
  b: {url: 'http://m:2', api: ollama, gpu: {device: 1}}
"""
    watch = Watch(Settings(), targets_of(parse_fleet(text, "hosts.yaml")))
    assert [source.url for source in watch.sources()] == ["http://m:9836/metrics"]
