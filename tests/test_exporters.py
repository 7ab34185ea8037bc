"""Exporters are known by their names, and only what can be true of a card is told of it."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from autoscaler.readings import (
    ENGINE_NAMES,
    QUEUE_NAMES,
    NoReading,
    read_engine,
    read_gpu,
    read_hosts,
    read_queue,
)
from tests.autoscaler import pages
from ygg.exporters import DIALECTS, Card, read_page, samples

pytestmark = pytest.mark.pure

#: Pages as recorded or read in public sources in November 2026; the first is our own.
OURS = """\
ygg_gpu_utilization_ratio{gpu="0",uuid="GPU-1",name="NVIDIA L4"} 0.42
ygg_gpu_memory_used_bytes{gpu="0",uuid="GPU-1",name="NVIDIA L4"} 6.442450944e+09
ygg_gpu_memory_total_bytes{gpu="0",uuid="GPU-1",name="NVIDIA L4"} 2.5769803776e+10
"""
DCGM = """\
# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).
# TYPE DCGM_FI_DEV_GPU_UTIL gauge
DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-604ac76c",device="nvidia0",modelName="NVIDIA L4",Hostname="fenrir"} 87
DCGM_FI_DEV_FB_FREE{gpu="0",UUID="GPU-604ac76c",device="nvidia0",modelName="NVIDIA L4",Hostname="fenrir"} 15342
DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-604ac76c",device="nvidia0",modelName="NVIDIA L4",Hostname="fenrir"} 7178
"""
MIG = """\
DCGM_FI_DEV_GPU_UTIL{gpu="1",UUID="GPU-3a",modelName="NVIDIA H100",GPU_I_PROFILE="1g.10gb",GPU_I_ID="9"} 0
DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu="1",UUID="GPU-3a",modelName="NVIDIA H100",GPU_I_PROFILE="1g.10gb",GPU_I_ID="9"} 0.75
DCGM_FI_DEV_FB_USED{gpu="1",UUID="GPU-3a",modelName="NVIDIA H100",GPU_I_PROFILE="1g.10gb",GPU_I_ID="9"} 4120
DCGM_FI_DEV_FB_FREE{gpu="1",UUID="GPU-3a",modelName="NVIDIA H100",GPU_I_PROFILE="1g.10gb",GPU_I_ID="9"} 4120
"""
SMI = """\
nvidia_smi_gpu_info{index="0",name="NVIDIA GeForce RTX 4080 SUPER",uuid="df6e7a7c-7314"} 1
nvidia_smi_utilization_gpu_ratio{uuid="df6e7a7c-7314"} 0.07
nvidia_smi_memory_used_bytes{uuid="df6e7a7c-7314"} 1.545601024e+09
nvidia_smi_memory_free_bytes{uuid="df6e7a7c-7314"} 1.517289472e+10
nvidia_smi_memory_reserved_bytes{uuid="df6e7a7c-7314"} 4.55081984e+08
nvidia_smi_memory_total_bytes{uuid="df6e7a7c-7314"} 1.7171480576e+10
"""
MINDPRINCE = """\
nvidia_gpu_duty_cycle{minor_number="0",name="Tesla P4",uuid="GPU-2d9067e4"} 42
nvidia_gpu_memory_used_bytes{minor_number="0",name="Tesla P4",uuid="GPU-2d9067e4"} 4e+09
nvidia_gpu_memory_total_bytes{minor_number="0",name="Tesla P4",uuid="GPU-2d9067e4"} 8e+09
"""
NVITOP = """\
gpu_utilization_Percentage{devicename="NVIDIA H100",hostname="10.0.0.7",index="0",uuid="GPU-7e"} 97.0
gpu_memory_used_MiB{devicename="NVIDIA H100",hostname="10.0.0.7",index="0",uuid="GPU-7e"} 7301.8125
gpu_memory_free_MiB{devicename="NVIDIA H100",hostname="10.0.0.7",index="0",uuid="GPU-7e"} 17274.1875
gpu_fan_speed_Percentage{devicename="NVIDIA H100",hostname="10.0.0.7",index="1",uuid="GPU-11"} NaN
gpu_utilization_Percentage{devicename="NVIDIA H100",hostname="10.0.0.7",index="1",uuid="GPU-11"} NaN
"""
ROCM = """\
gpu_gfx_activity{card_model="102-G30211-00",gpu_id="0",hostname="skadi",serial_number="69"} 63
gpu_used_vram{card_model="102-G30211-00",gpu_id="0",hostname="skadi",serial_number="69"} 12288
gpu_total_vram{card_model="102-G30211-00",gpu_id="0",hostname="skadi",serial_number="69"} 196608
"""
ROCM_SMI = """\
rocm_smi_gpu_usage{device_id="0",device_name="Instinct"} 12
rocm_smi_gpu_vram_allocation{device_id="0",device_name="Instinct"} 33
"""
AMD_SMI = 'amd_gpu_Usage{gpu="0"} 55\n'


@pytest.mark.parametrize(
    ("page", "dialect", "label", "busy", "memory"),
    [
        (OURS, "ygg-gpu-exporter", "0 (NVIDIA L4)", 0.42, 0.25),
        (DCGM, "NVIDIA dcgm-exporter", "0 (NVIDIA L4)", 0.87, 7178 / 22520),
        (MIG, "NVIDIA dcgm-exporter", "1 (NVIDIA H100), part 9", 0.75, 0.5),
        (SMI, "nvidia_gpu_exporter", "0 (NVIDIA GeForce RTX 4080 SUPER)", 0.07, 0.11639),
        (MINDPRINCE, "nvidia_gpu_prometheus_exporter", "0 (Tesla P4)", 0.42, 0.5),
        (ROCM, "ROCm device-metrics-exporter", "0 (102-G30211-00)", 0.63, 0.0625),
        (ROCM_SMI, "rocm-smi-exporter", "0", 0.12, 0.33),
        (AMD_SMI, "amd_smi_exporter", "0", 0.55, None),
    ],
)
def test_each_dialect_is_known_by_its_names(
    page: str, dialect: str, label: str, busy: float, memory: float | None
) -> None:
    read = read_page(page)
    assert read.dialect is not None
    assert (read.dialect.name, read.absurd) == (dialect, ())
    (card,) = read.cards
    assert card.label == label
    assert card.utilization_ratio == pytest.approx(busy)
    assert card.memory_used_ratio == (memory and pytest.approx(memory, rel=1e-3))


def test_what_an_exporter_can_not_say_is_not_said() -> None:
    first, second = sorted(read_page(NVITOP).cards, key=lambda card: card.label)
    assert first.utilization_ratio == pytest.approx(0.97)
    assert first.memory_used_ratio == pytest.approx(7301.8125 / 24576)
    assert str(first) == "GPU 0 (NVIDIA H100): 97% busy, memory 30% of 24.0 GiB"
    assert (second.utilization_ratio, second.memory_used_ratio) == (None, None)
    assert str(second) == "GPU 1 (NVIDIA H100): unknown busy, memory unknown"


@pytest.mark.parametrize(
    "page",
    ["", "<html>", "vllm:num_requests_running 1\n", "node_memory_MemFree_bytes 1\n",
     # These only look right.
     'gpu_utilization_percentage_Hz{nvidia_gpu="freq"} 9e8\n', 'gpu_utilization{gpu="0"} 50\n'],
)  # fmt: skip
def test_no_other_page_is_taken_for_one(page: str) -> None:
    read = read_page(page)
    assert (read.dialect, read.cards) == (None, ())


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ('DCGM_FI_DEV_GPU_UTIL{gpu="0"} 250\n', "GPU 0: DCGM_FI_DEV_GPU_UTIL is 250"),
        ('DCGM_FI_DEV_GPU_UTIL{gpu="0"} -1\n', "GPU 0: DCGM_FI_DEV_GPU_UTIL is -1"),
        ('DCGM_FI_DEV_FB_USED{gpu="0"} 9.22e18\n', "GPU 0: DCGM_FI_DEV_FB_USED is 9.22e+18"),
        ('nvidia_gpu_duty_cycle{uuid="u"} +Inf\n', "GPU u: nvidia_gpu_duty_cycle is inf"),
        (
            'ygg_gpu_memory_used_bytes{gpu="0"} 9\nygg_gpu_memory_total_bytes{gpu="0"} 4\n',
            "GPU 0: 9 of 4 used",
        ),
    ],
)
def test_a_value_that_can_not_be_is_no_reading_and_is_named(page: str, said: str) -> None:
    read = read_page(page)
    assert read.absurd == (said,)
    (card,) = read.cards
    assert card.utilization_ratio is None
    assert card.memory_used_ratio is None


def test_one_malformed_line_loses_nothing_else() -> None:
    broken = DCGM + 'DCGM_FI_DEV_GPU_UTIL{gpu="1" 12\n'
    assert read_page(broken).cards == read_page(DCGM).cards


def test_several_cards_are_told_apart() -> None:
    second = DCGM.replace('gpu="0"', 'gpu="1"').replace("604ac76c", "aaaa")
    assert [card.label for card in read_page(DCGM + second).cards] == [
        "0 (NVIDIA L4)",
        "1 (NVIDIA L4)",
    ]


_LINES = st.builds(
    "{}{{{}}} {}".format,
    st.sampled_from(sorted({name for dialect in DIALECTS for name in dialect.names})),
    st.sampled_from(['gpu="0"', 'uuid="GPU-x"', "", 'gpu="a\\"b}"', "gpu=0"]),
    st.floats().map(str) | st.text(max_size=5),
)


@given(st.lists(_LINES | st.text(max_size=30), max_size=12).map("\n".join))
def test_whatever_the_page_a_card_is_within_bounds(page: str) -> None:
    for card in read_page(page).cards:
        check_bounds(card)


def test_a_line_that_the_librarys_parser_falls_over_is_left_out() -> None:
    page = pages.ours() + 'ygg_gpu_up{gpu="0",  ="x"} 1\n'
    assert read_page(page).cards == read_page(pages.ours()).cards


def telling(page: str) -> list[str]:
    """The lines of a page that are read, with their labels."""
    names = {*ENGINE_NAMES, *QUEUE_NAMES, *(name for one in DIALECTS for name in one.names)}
    return [line for line in page.splitlines() if "{" in line and line.partition("{")[0] in names]


REAL = [
    telling(page)
    for page in (
        pages.ours(), pages.dispatcher(), pages.server("vllm"),
        *map(pages.exporter, ("dcgm", "nvidia_gpu_exporter", "mindprince", "nvitop", "rocm")),
    )
]  # fmt: skip
#: What the form of a line rests on, and what may stand there in its place.
FORM = re.compile(r'[{}=,"]|(?<=} )')
DAMAGE = [*'{}"\\,= #\t019eE+-.NaI:_a\0\r\x0b\x85\u2028é', '# {a="b"} 1 2', ',  ="x"', '{"a"}', ""]


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """Some lines of a real page, with a few places of each written over."""
    lines = []
    for line in draw(
        st.lists(st.sampled_from(draw(st.sampled_from(REAL))), min_size=1, max_size=3)
    ):
        for _ in range(draw(st.integers(1, 3))):
            places = [found.start() for found in FORM.finditer(line)] or [0]
            at = draw(st.sampled_from(places)) + draw(st.integers(0, 1))
            end = at + draw(st.sampled_from([0, 0, 1, 3, 10]))
            line = line[:at] + draw(st.sampled_from(DAMAGE)) + line[end:]  # noqa: PLW2901
        lines.append(line)
    return "\n".join(lines)


@given(damaged())
def test_no_page_is_too_broken_to_be_looked_at(page: str) -> None:
    for card in read_page(page).cards:
        check_bounds(card)
    for read in (read_gpu, read_engine, lambda text: read_queue(read_hosts(text), ("h",))):
        with suppress(NoReading):
            read(page)


def check_bounds(card: Card) -> None:
    for ratio in (card.utilization_ratio, card.memory_used_ratio):
        assert ratio is None or 0 <= ratio <= 1
    assert card.memory_total_bytes is None or card.memory_total_bytes > 0
    assert str(card)


_VALUES = st.floats().map(repr) | st.sampled_from(
    ["NaN", "+Inf", "-Inf", "1e+09", "0x1", "1_0", "", "-"]
)
_LABEL_TEXTS = st.text(st.sampled_from('ab"\\\\,{}= \n#'), max_size=8)


@given(
    st.dictionaries(st.sampled_from(["gpu", "name", "uuid"]), _LABEL_TEXTS), _VALUES,
    st.sampled_from(["", " 1700000000000", " ", " x"]), st.sampled_from(["", ","]), st.booleans(),
)  # fmt: skip
def test_lines_are_read_as_the_library_reads_them(
    labels: dict[str, str], value: str, stamp: str, comma: str, is_escaped: bool
) -> None:
    def shown(text: str) -> str:
        if not is_escaped:
            return text
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    inside = ",".join(f'{key}="{shown(text)}"' for key, text in labels.items())
    line = f"a_name{{{inside}{comma if inside else ''}}} {value}{stamp}"
    if "\n" in line:
        return
    try:
        expected = [
            (sample.name, dict(sample.labels), repr(float(sample.value)))
            for family in text_string_to_metric_families(line + "\n")
            for sample in family.samples
        ]
    except ValueError:
        expected = []
    found = [(n, dict(ls), repr(v)) for n, ls, v in samples(line, frozenset({"a_name"}))]
    assert found == expected
