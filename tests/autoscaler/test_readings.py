"""Pages of other programs become the rule's numbers, with units brought together."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.readings import (
    QUEUE_NAMES,
    NoReading,
    read_engine,
    read_gpu,
    read_hosts,
    read_queue,
)
from tests.autoscaler import pages

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("page", "dialect", "util", "memory"),
    [
        ("dcgm", "NVIDIA dcgm-exporter", 0.87, 1 - 15342 / (15342 + 7178)),
        ("nvidia_gpu_exporter", "nvidia_gpu_exporter", 0.07, 1 - 15172894720 / 17173577728),
        ("mindprince", "nvidia_gpu_prometheus_exporter", 0.42, None),
        ("nvitop", "nvitop-exporter", 0.97, None),
        ("rocm", "ROCm device-metrics-exporter", 0.63, 12873 / 196592),
    ],
)
def test_a_recorded_page_is_recognised_and_its_units_are_brought_together(
    page: str, dialect: str, util: float, memory: float | None
) -> None:
    device = 0 if page == "dcgm" else None
    read = read_gpu(pages.exporter(page), device)
    assert read.dialect == dialect
    assert read.util == pytest.approx(util)
    assert read.memory == (None if memory is None else pytest.approx(memory))


def test_of_several_cards_the_fullest_and_the_busiest_count() -> None:
    page = pages.ours(0.2, 6e9) + pages.ours(0.7, 2e9, gpu="1")
    assert (read_gpu(page).util, read_gpu(page).memory) == (0.7, 0.75)


def test_memory_is_unknown_where_one_of_the_cards_does_not_say() -> None:
    silent = re.sub(r"ygg_gpu_memory.*\n", "", pages.ours(0.7, gpu="1"))
    read = read_gpu(pages.ours(0.2, 2e9) + silent)
    assert (read.util, read.memory, read.measured) == (0.7, None, 1)


def test_a_device_is_one_of_the_cards() -> None:
    page = pages.ours(0.2, 6e9) + pages.ours(0.7, 2e9, gpu="1")
    assert (read_gpu(page, 1).util, read_gpu(page, 1).memory) == (0.7, 0.25)
    with pytest.raises(NoReading, match=r"does not show device 2, but 0 .NVIDIA L4., 1"):
        read_gpu(page, 2)


def test_a_card_that_is_known_by_its_uuid_has_its_number_from_the_info() -> None:
    page = pages.exporter("nvidia_gpu_exporter")
    assert read_gpu(page, 0).util == 0.07
    with pytest.raises(NoReading, match="device 1"):
        read_gpu(page, 1)


def test_where_numbers_are_not_told_the_only_card_is_the_one_that_is_meant() -> None:
    lines = pages.exporter("nvidia_gpu_exporter").splitlines()
    page = "\n".join(line for line in lines if "gpu_info" not in line)
    assert read_gpu(page, 3).util == 0.07


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ("", "no exporter that ygg knows"),
        ("node_cpu_seconds_total 3\n", "no exporter that ygg knows"),
        ("ygg_gpu_up 0.0\n", "can't read the cards now"),
        ("nvidia_smi_last_collect_success 0\n" + pages.exporter("nvidia_gpu_exporter"), "can't"),
        ("ygg_gpu_up 1.0\n", "shows no GPU"),
        (pages.ours(used=9e9), "what can't be"),
        (pages.ours(util=-0.1), "what can't be: .*utilization_ratio is -0.1"),
        (pages.ours(util=1.7), "what can't be"),
    ],
)
def test_a_page_that_can_not_be_believed_is_no_reading(page: str, why: str) -> None:
    if page.startswith("nvidia_smi_last_collect_success 0"):
        page = page.replace("nvidia_smi_last_collect_success 1\n", "")
    with pytest.raises(NoReading, match=why):
        read_gpu(page)


def test_what_a_driver_does_not_say_is_not_said() -> None:
    page = re.sub(r"ygg_gpu_memory.*\n", "", pages.ours())
    assert (read_gpu(page).util, read_gpu(page).memory) == (0.4, None)
    nan = re.sub(r"(Percentage\{.*index=\"0\".*\}) 97.0", r"\1 NaN", pages.exporter("nvitop"))
    assert read_gpu(nan).util is None


def test_the_digits_are_those_of_the_cards_and_not_of_counters() -> None:
    page = pages.ours()
    assert read_gpu(page).digits == read_gpu(page.replace("total 3.0", "total 4.0")).digits
    assert read_gpu(page).digits != read_gpu(pages.ours(used=6.1e9)).digits


def test_cards_that_only_a_uuid_tells_apart_are_several() -> None:
    page = "".join(
        f'nvidia_smi_utilization_gpu_ratio{{uuid="{uuid}"}} 0.3\n' for uuid in ("aaaa", "bbbb")
    )
    one = 'nvidia_smi_memory_used_bytes{{uuid="{0}"}} 1e9\nnvidia_smi_memory_total_bytes{{uuid="{0}"}} 8e9\n'
    assert read_gpu(page + one.format("aaaa")).memory is None, "the other may be the fullest"
    assert read_gpu(page + one.format("aaaa") + one.format("bbbb")).memory == 0.125


# -- model servers -------------------------------------------------------------------------------


def test_vllm_says_how_full_its_cache_is_and_who_waits() -> None:
    read = read_engine(pages.server("vllm"))
    assert (read.name, read.preallocates) == ("vLLM", True)
    assert (read.running, read.waiting, read.kv) == (8, 3, 0.4713)


def test_several_engines_of_one_server_are_added_and_the_fullest_cache_counts() -> None:
    one = pages.server("vllm")
    other = one.replace('engine="0"', 'engine="1"').replace("0.4713", "0.9")
    read = read_engine(one + other)
    assert (read.running, read.waiting, read.kv) == (16, 6, 0.9)


def test_requests_that_were_put_off_are_counted_over_all_engines() -> None:
    page = pages.server("vllm").replace('B-Instruct"} 0.0', 'B-Instruct"} 7.0')
    assert read_engine(pages.server("vllm")).preemptions == 0
    assert read_engine(page + page.replace('engine="0"', 'engine="1"')).preemptions == 14
    with pytest.raises(NoReading, match="put off nan requests"):
        read_engine(page.replace("} 7.0", "} NaN"))


def test_the_old_name_of_vllms_cache_is_known() -> None:
    old = pages.server("vllm").replace("kv_cache_usage_perc", "gpu_cache_usage_perc")
    assert read_engine(old).kv == 0.4713


def test_llama_cpp_says_who_waits_and_nothing_of_its_cache() -> None:
    read = read_engine(pages.server("llamacpp"))
    assert (read.name, read.preallocates) == ("llama.cpp", False)
    assert (read.running, read.waiting, read.kv) == (2, 2, None)


@pytest.mark.parametrize(
    "page",
    ["", pages.exporter("dcgm"), pages.server("vllm").replace("8.0", "NaN"),
     pages.server("vllm").replace("0.4713", "47.13"), pages.server("vllm").replace("3.0", "-1")],
)  # fmt: skip
def test_what_no_server_can_mean_is_no_reading(page: str) -> None:
    with pytest.raises(NoReading):
        read_engine(page)


# -- the dispatcher ------------------------------------------------------------------------------


def test_a_hosts_lines_are_taken_together() -> None:
    page = pages.dispatcher() + (
        'ygg_tokens_total{direction="completion",host="h"} 500.0\n'
        'ygg_tokens_total{direction="prompt",host="h"} 900.0\n'
        'ygg_host_failures_total{host="h",reason="reset"} 2.0\n'
        'ygg_host_failures_total{host="h",reason="stall"} 1.0\n'
        'ygg_host_model_memory_bytes{host="h"} 5e9\n'
    )
    read = read_queue(read_hosts(page), ("h",))
    assert (read.limit, read.min, read.max, read.is_pinned) == (2, 1, 4, False)
    assert (read.up, read.paused, read.active) == (True, False, 2)
    assert (read.waiting, read.oldest_wait) == (3, 70.5)
    assert (read.tokens_total, read.failures_total) == (500, 3)
    assert (read.model_memory, read.server_wait_seconds_total) == (5e9, None)


def test_hosts_that_share_slots_are_one() -> None:
    page = pages.dispatcher("a", slots_active=1, demand_tasks=2, up=0) + pages.dispatcher(
        "b", slots_active=2, demand_tasks=5, oldest_wait_seconds=9
    )
    read = read_queue(read_hosts(page), ("a", "b"))
    assert (read.active, read.waiting, read.oldest_wait, read.up) == (3, 5, 70.5, True)


def test_paused_are_those_of_which_none_may_take_work() -> None:
    def paused(**which: float) -> bool:
        page = "".join(pages.dispatcher(name, paused=value) for name, value in which.items())
        return read_queue(read_hosts(page), tuple(which)).paused

    assert paused(a=1, b=1)
    assert not paused(a=1, b=0)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), 2.5])
def test_a_limit_that_can_not_be_is_no_reading(value: float) -> None:
    page = pages.dispatcher(slots_limit=value)
    with pytest.raises(NoReading, match="ygg_host_slots_limit is"):
        read_queue(read_hosts(page), ("h",))


def test_a_host_that_the_dispatcher_does_not_have_is_no_reading() -> None:
    with pytest.raises(NoReading, match="no such host"):
        read_queue(read_hosts(pages.dispatcher("other")), ("h",))


@pytest.mark.parametrize("page", ["", "<html>", pages.exporter("dcgm")])
def test_a_page_of_something_else_is_no_dispatchers(page: str) -> None:
    with pytest.raises(NoReading, match="no page of ygg's dispatcher"):
        read_hosts(page)


@given(st.text() | st.lists(st.sampled_from(sorted(QUEUE_NAMES))).map(
    lambda names: "".join(f'{name}{{host="h"}} 1\n' for name in names)
))  # fmt: skip
def test_no_page_at_all_can_do_more_than_be_no_reading(text: str) -> None:
    for read in (read_gpu, read_engine, lambda page: read_queue(read_hosts(page), ("h",))):
        with suppress(NoReading):
            read(text)
