"""The generated pages are what their generator makes, and say what the code does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import commands_page, hosts_page, reference
from ygg.autoscalerfile import AUTOSCALER_KEYS
from ygg.cli import make_parser
from ygg.fleet import Fleet
from ygg.hostsfile import HostsFileError, parse_fleet
from ygg.hostskeys import (
    BEADS_KEYS,
    DISPATCHER_KEYS,
    GPU_KEYS,
    HOST_KEYS,
    RETENTION_KEYS,
    SHARED_KEYS,
    SLOT_KEYS,
    TOP_KEYS,
    TYPE_KEYS,
    Key,
    Keys,
)

ROOT = Path(__file__).parents[2]
_FLEET = (
    "hosts: {h: {url: http://h:1}, skadi-code: {url: http://s:1}, fenrir-chat: {url: http://f:1}"
)
#: Each table, and a file in which one of its keys stands at the `@`.
PLACES: dict[str, tuple[Keys, str]] = {
    "defaults": (SHARED_KEYS, f"defaults: {{@}}\n{_FLEET}}}"),
    "host": (HOST_KEYS, f"{_FLEET}, x: {{url: http://x:1, @}}}}"),
    "slots": (SLOT_KEYS, f"{_FLEET}, x: {{url: http://x:1, slots: {{@}}}}}}"),
    "gpu": (GPU_KEYS, f"{_FLEET}, x: {{url: http://x:1, gpu: {{@}}}}}}"),
    "type": (TYPE_KEYS, f"{_FLEET}}}\ntypes: {{t: {{@}}}}"),
    "dispatcher": (DISPATCHER_KEYS, f"{_FLEET}}}\ndispatcher: {{@}}"),
    "retention": (RETENTION_KEYS, f"{_FLEET}}}\ndispatcher: {{retention: {{@}}}}"),
    "beads": (BEADS_KEYS, f"{_FLEET}}}\nbeads: {{@}}"),
    "autoscaler": (AUTOSCALER_KEYS, f"{_FLEET}}}\nautoscaler: {{@}}"),
}
#: Keys that can't stand alone, with what they need.
COMPANY = {
    "cwd": "command: [x], ",
    "environment": "command: [x], ",
    "names": "token_from: env:TOKENS, ",
    "token": "token_from: env:TOKENS, ",
}


@pytest.fixture(autouse=True)
def _nothing_of_ours_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("YGG_URL", "YGG_HOSTS", "YGG_STATE", "YGG_LISTEN"):
        monkeypatch.delenv(name, raising=False)


def every_key() -> Iterator[tuple[str, str, Key]]:
    for place, (keys, _) in PLACES.items():
        for name, key in keys.items():
            yield place, name, key


ALL = list(every_key())
each_key = pytest.mark.parametrize(
    ("place", "name", "key"), ALL, ids=[f"{place}-{name}" for place, name, _ in ALL]
)


def fleet_with(place: str, name: str, value: str) -> Fleet:
    """The fleet of a file in which the key has this value, and no other key of its section."""
    before = COMPANY.get(name, "")
    text = PLACES[place][1].replace("@", f"{before}{name}: {value}")
    if name == "url":
        text = text.replace("url: http://x:1, ", "")
    return parse_fleet(text, "/x/hosts.yaml")


def fleet_without(place: str, name: str) -> Fleet:
    return parse_fleet(PLACES[place][1].replace("@", COMPANY.get(name, "")), "/x/hosts.yaml")


@pytest.mark.pure
def test_every_page_is_what_make_docs_makes_of_it() -> None:
    assert reference.stale(ROOT) == [], "run `make docs`, or python -m tools.reference"


@pytest.mark.pure
@each_key
def test_the_example_of_a_key_means_something(place: str, name: str, key: Key) -> None:
    assert fleet_with(place, name, key.example) != fleet_without(place, name)


@pytest.mark.pure
@each_key
def test_a_default_that_is_written_changes_nothing(place: str, name: str, key: Key) -> None:
    assert bool(key.default) != bool(key.without), "one of the two says what holds without it"
    if key.default and place != "autoscaler":
        assert fleet_with(place, name, key.default) == fleet_without(place, name)


@pytest.mark.pure
@pytest.mark.parametrize("key", TOP_KEYS.values(), ids=TOP_KEYS)
def test_a_section_of_the_file_has_an_example(key: Key) -> None:
    name = next(name for name, other in TOP_KEYS.items() if other is key)
    rest = "" if name == "hosts" else "hosts: {surtr: {url: http://x:1}}\n"
    assert parse_fleet(f"{rest}{name}: {key.example}", "f").hosts.keys() == {"surtr"}


@pytest.mark.pure
def test_defaults_of_the_autoscaler_are_those_of_the_commented_example() -> None:
    """The page tells what hosts.yaml shows: the autoscaler has the last word on both."""
    shown = dict(re.findall(r"^#   (\w+): (\S+)", (ROOT / "hosts.yaml").read_text(), re.MULTILINE))
    assert {name: shown.get(name) for name in AUTOSCALER_KEYS} == {
        name: key.default or key.example for name, key in AUTOSCALER_KEYS.items()
    }


def beyond(number: str) -> tuple[str, str]:
    """A little less and a little more than a bound, in its own unit."""
    digits = number.rstrip("smhd")
    unit = number.removeprefix(digits)
    step = 0.0001 if "." in digits else 1
    return f"{max(0.0, float(digits) - step):g}{unit}", f"{float(digits) + step:g}{unit}"


@pytest.mark.pure
@each_key
def test_the_bounds_of_a_key_are_as_told(place: str, name: str, key: Key) -> None:
    bounds = re.search(r"from ([0-9.]+[a-z]*) to ([0-9.]+[a-z]*)", key.form)
    if bounds is None:
        return
    least, most = bounds.groups()
    for good in (least, most):
        fleet_with(place, name, good)
    wrong = [beyond(most)[1]] + ([beyond(least)[0]] if float(least.rstrip("smhd")) > 0 else ["-1"])
    for bad in wrong:
        with pytest.raises(HostsFileError):
            fleet_with(place, name, bad)


@pytest.mark.pure
def test_the_page_has_every_key_and_the_words_of_the_built_in_types() -> None:
    page = hosts_page.page()
    for name in {name for _, name, _ in ALL} | set(TOP_KEYS):
        assert f"| `{name}` |" in page
    assert "unittest, regex, sql" in page


@pytest.mark.pure
def test_the_page_of_commands_has_every_command_flag_and_example() -> None:
    page = commands_page.page()
    helps = dict(commands_page.commands(make_parser()))
    assert len(helps) > 10
    for name, (command, _) in helps.items():
        _, _, section = page.partition(f"\n## ygg {name}\n")
        section = section.partition("\n## ")[0]
        assert section, name
        flags = {flag for action in command._actions for flag in action.option_strings}
        assert all(f"`{flag}" in section for flag in flags - {"-h", "--help"}), name
        example = (command.epilog or "").partition(":")[2].splitlines()
        assert any(example), name
        assert all(line.strip() in section for line in example), name
