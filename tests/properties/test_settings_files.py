"""For all files: hosts.yaml is a fleet, or a list of problems at lines that exist."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ygg.fleet import BUILT_IN_TYPES, Fleet
from ygg.hostsfile import HostsFileError, parse_fleet, read_fleet

pytestmark = pytest.mark.pure

_EXAMPLE: Final = (Path(__file__).parents[2] / "hosts.yaml").read_text("utf-8")
#: The example with every key that is commented out taken in, and without what explains it.
FULL: Final = re.sub(
    r"^(.*?)\s+#.*\n",
    r"\1\n",
    re.sub(
        r"^  # (  |translation:|ocr:|triage:)",
        r"  \1",
        re.sub(r"^# (dispatcher:|beads:|autoscaler:|  \w)", r"\1", _EXAMPLE, flags=re.MULTILINE),
        flags=re.MULTILINE,
    ),
    flags=re.MULTILINE,
).partition("defaults:")[2]
GOOD: Final = "defaults:" + FULL
PIECES: Final = (
    *":-#&*!|>'\"%@`{}[],?~<=\\\t\r\n ", "\n  ", "",
    "no", "on", "off", "null", "true", "1:30", "010", "0x1F", "1e999", ".inf", ".nan", "-1", "0",
    "1_000", "2026-01-01", "<<", "<<: *a", "&a ", "*a", "!!str ", "!x ", "---\n", "...\n",
    "%YAML 1.1\n", "\ufeff", "\x85", "\u2028", "\x00", "\x1b", "\U0001f600", '"\\ud800"',
    '"\\U00110000"', "? ", "- a", "{}", "[]", "[[", "{a: {a: ", "''", "9" * 50, "x" * 100,
    "http://[::1", "http://u:p@h", "run: []", "shares: fenrir-cpp", "shares: surtr-reasoning",
    "slots: {min: 9}", "pin: 99", "key: env:A", "command: [a]", "python: a:b", "url: http://x",
)  # fmt: skip


def check(text: str) -> Fleet | None:
    """The fleet, which must hang together; None: problems, each at a line that exists."""
    try:
        fleet = parse_fleet(text, "hosts.yaml")
    except HostsFileError as error:
        check_problems(error.problems, "hosts.yaml", len(text.splitlines()))
        return None
    check_fleet(fleet)
    return fleet


def check_problems(problems: list[str], file: str, lines: int) -> None:
    assert problems
    for problem in problems:
        match = re.fullmatch(re.escape(file) + r":(\d+): .+; .+", problem)
        assert match is not None, problem
        assert 1 <= int(match[1]) <= max(1, lines), (problem, lines)
        assert problem.isprintable()
        assert len(problem) < 2000


def check_fleet(fleet: Fleet) -> None:
    assert fleet.hosts
    assert set(fleet.types) >= set(BUILT_IN_TYPES)
    for name, host in fleet.hosts.items():
        assert host.name == name
        assert host.url.startswith(("http://", "https://"))
        assert not host.url.endswith(("/", "/v1"))
        assert fleet.hosts[host.semaphore].shares is None
        slots = host.slots
        assert 1 <= slots.min <= slots.start
        for limit in (slots.start, slots.pin or slots.min):
            assert slots.min <= limit <= (slots.max or limit)
    claimed = [text for t in fleet.types.values() for text in {*t.labels, t.name}]
    assert len(set(claimed)) == len(claimed), "a label of two types"
    words = [text for t in fleet.types.values() for text in t.words]
    assert len(set(words)) == len(words), "a word of two types"
    for name, settings_ in fleet.types.items():
        assert settings_.name == name
        assert len(set(settings_.run)) == len(settings_.run)
        assert {option.host for option in settings_.run} <= set(fleet.hosts)
        assert not (settings_.command and settings_.python)


def test_the_good_file_is_good_and_uses_every_section() -> None:
    fleet = check(GOOD)
    assert fleet is not None
    assert "ocr" in fleet.types
    assert fleet.autoscaler
    assert fleet.dispatcher.state is not None
    assert fleet.beads.actor is not None


@st.composite
def mutations(draw: st.DrawFn) -> str:
    """The good file with a few places cut out, doubled, moved or written over."""
    text = GOOD
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        piece = draw(st.sampled_from(PIECES) | st.text(max_size=4) | st.just(text[start:end] * 2))
        text = text[:start] + piece + text[end:]
    return text


@given(mutations())
@settings(max_examples=150, deadline=None)
def test_a_mutation_of_a_good_file_is_a_fleet_or_problems(text: str) -> None:
    check(text)


@st.composite
def swapped_values(draw: st.DrawFn) -> str:
    """The good file with a value, or a whole line, exchanged for another of its own or a trap."""
    lines = GOOD.split("\n")
    for _ in range(draw(st.integers(1, 3))):
        index = draw(st.integers(0, len(lines) - 1))
        key, colon, value = lines[index].partition(": ")
        other = draw(st.sampled_from(lines))
        how = draw(st.sampled_from(["value", "piece", "line", "double"]))
        if how == "value" and colon:
            lines[index] = f"{key}: {other.partition(': ')[2]}"
        elif how == "piece" and colon:
            lines[index] = f"{key}: {draw(st.sampled_from(PIECES))}"
        elif how == "line":
            lines[index] = other
        else:
            lines.insert(index, f"{key}{colon}{value}")
    return "\n".join(lines)


@given(swapped_values())
@settings(max_examples=150, deadline=None)
def test_values_in_the_wrong_place_are_a_fleet_or_problems(text: str) -> None:
    check(text)


@given(st.lists(st.sampled_from((*PIECES, "a", "hosts", "types", "\n", ": ", "  "))).map("".join))
@settings(max_examples=200, deadline=None)
@example("hosts: {a: {url: http://a}}\nx: \u2028\ny: \x85")
@example('? "\\U00110000"')
def test_any_text_is_a_fleet_or_problems(text: str) -> None:
    check(text)


@given(st.binary(max_size=200) | st.builds(lambda a, b: a + GOOD.encode() + b, *[st.binary()] * 2))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_a_fleet_or_problems(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            check_fleet(read_fleet(Path(file.name)))
        except HostsFileError as error:
            lines = len(data.decode(errors="replace").splitlines())
            check_problems(error.problems, file.name, lines)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12), st.integers(1, 12))
def test_slots_are_taken_just_if_they_are_in_order(
    least: int, start: int, most: int, pin: int
) -> None:
    slots = f"{{min: {least}, start: {start}, max: {most}, pin: {pin}}}"
    fleet = check(f"hosts: {{a: {{url: http://a:1, slots: {slots}}}}}")
    assert (fleet is not None) == (least <= start <= most and least <= pin <= most)


@given(st.floats(0.001, 2_600_000), st.sampled_from([("s", 1), ("m", 60), ("h", 3600)]))
def test_a_duration_is_its_number_times_its_unit(amount: float, unit: tuple[str, int]) -> None:
    name, size = unit
    text = f"{amount:.3f}"
    file = f"hosts: {{a: {{url: http://a:1}}}}\ntypes: {{general: {{timeout: {text}{name}}}}}"
    fleet = check(file)
    seconds = float(text) * size
    assert (fleet is not None) == (0.001 <= seconds <= 31 * 86400)
    if fleet is not None:
        assert fleet.types["general"].timeout == seconds
