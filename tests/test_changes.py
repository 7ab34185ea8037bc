"""What another hosts.yaml changes is said: all of it, nothing else, and what it would strand."""

from __future__ import annotations

from dataclasses import fields, replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import fleets as drawn
from tests.fleets import fleets
from ygg.board import configuration_detail
from ygg.changes import (
    AT_START,
    AUTOSCALER_AT_START,
    BEADS_AT_START,
    Work,
    changes,
    compare,
    taken_over,
)
from ygg.fleet import BeadsSettings, DispatcherSettings, Fleet, HostSettings, TypeSettings
from ygg.fleetjson import (
    UNTOLD,
    BeadsView,
    DispatcherView,
    NotAFleet,
    TypeView,
    config_of,
    read_config,
    untold,
)
from ygg.hostsfile import parse_fleet
from ygg.journal import Event, Kind
from ygg.printing import clean
from ygg.running import fleet_of_row
from ygg.stores.base import HostRow
from ygg.tasks import Lane

pytestmark = pytest.mark.pure

AT_STARTS = (
    ("dispatcher", AT_START), ("beads", BEADS_AT_START), ("autoscaler", AUTOSCALER_AT_START)
)  # fmt: skip
BASE = """
hosts:
  surtr: {url: http://surtr:11434, model: deepseek-r1:8b, slots: {start: 2, max: 4}}
  fenrir: {url: http://fenrir:11434, model: qwen2.5:7b, slots: {start: 3, max: 6}}
types:
  reasoning: {run: [surtr]}
  general: {run: [surtr]}
  text-processing: {run: [fenrir]}
  code-generation: {run: [fenrir]}
"""


def fleet(text: str = BASE, **swaps: str) -> Fleet:
    return parse_fleet(text, "hosts.yaml")


def edited(old: str, new: str) -> Fleet:
    assert old in BASE
    return fleet(BASE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("start: 2", "start: 3", ["host surtr: slots start 2 -> 3: its limit is 3 at once"]),
        ("max: 4", "max: 8", ["host surtr: slots max 4 -> 8"]),
        (", max: 4", "", ["host surtr: slots max 4 -> what its server runs at once"]),
        ("max: 4", "max: 4, min: 2", ["host surtr: slots min 1 -> 2"]),
        (
            "max: 4",
            "max: 4, pin: 3",
            ["host surtr: pinned at 3: the autoscaler leaves it alone"],
        ),
        ("deepseek-r1:8b", "qwq:32b", [
            "host surtr: model deepseek-r1:8b -> qwq:32b",
            "type reasoning: runs on surtr/qwq:32b, until now on surtr/deepseek-r1:8b",
            "type general: runs on surtr/qwq:32b, until now on surtr/deepseek-r1:8b",
        ]),
        ("http://surtr", "http://loki", [
            "host surtr: url http://surtr:11434 -> http://loki:11434"
        ]),
        ("general: {run: [surtr]}", "general: {run: [fenrir, surtr]}", [
            "type general: runs on fenrir/qwen2.5:7b > surtr/deepseek-r1:8b, until now on surtr/deepseek-r1:8b"
        ]),
        ("{run: [fenrir]}", "{run: [fenrir], timeout: 2h}", [
            "type text-processing: timeout 3600 s -> 7200 s",
            "type code-generation: timeout 3600 s -> 7200 s",
        ]),
        ("types:", "  skadi: {url: 'http://skadi:8080'}\ntypes:", [
            "host skadi is added: http://skadi:8080, 1 slot (1 to what its server runs at once)"
        ]),
        ("types:", "  cpp: {url: 'http://fenrir:8080', shares: fenrir}\ntypes:", [
            "host cpp is added: http://fenrir:8080, sharing the slots of fenrir"
        ]),
        ("max: 6}", "max: 6}, key: 'env:THE_KEY'", ["host fenrir: a key is given"]),
        ("types:", "types:\n  ocr: {run: [fenrir], command: [ocr]}", [
            "type ocr is new: it runs on fenrir/qwen2.5:7b"
        ]),
        ("types:", "dispatcher: {listen: 127.0.0.1:9000, drain_seconds: 90}\ntypes:", [
            "dispatcher: listen 127.0.0.1:8765 -> 127.0.0.1:9000 (only at a restart, unless --listen says otherwise)",
            "dispatcher: drain_seconds 60 s -> 90 s",
        ]),
        ("types:", "dispatcher: {retention: {closed: forever, journal: 1d}}\ntypes:", [
            "dispatcher: retention of closed 7776000 s -> forever",
            "dispatcher: retention of journal 7776000 s -> 86400 s",
        ]),
        ("types:", "autoscaler: {decide_seconds: 30}\ntypes:", [
            "autoscaler: decide_seconds its default -> 30"
        ]),
        ("types:", "beads: {path: /srv/p, labels: [a, b], take: labelled, timeout: 2m}\ntypes:", [
            "beads: path its default -> /srv/p (only at a restart, unless --beads says otherwise)",
            "beads: labels none -> a, b",
            "beads: timeout 60 s -> 120 s (only at a restart)",
        ]),
        ("types:", "beads: {actor: me, take: all, done: review}\ntypes:", [
            "beads: actor its default -> me (only at a restart)",
            "beads: take labelled -> all",
            "beads: done close -> review",
        ]),
        ("reasoning: {run: [surtr]}", "reasoning: {run: [surtr], done: review}", [
            "type reasoning: done as beads says -> review"
        ]),
    ],
)  # fmt: skip
def test_a_change_is_told_in_words(old: str, new: str, said: list[str]) -> None:
    assert changes(fleet(), edited(old, new)) == said


def test_a_host_that_goes_strands_what_only_it_served() -> None:
    new = fleet(
        "hosts: {fenrir: {url: 'http://fenrir:11434', model: qwen2.5:7b, slots: {start: 3, max: 6}}}"
        "\ntypes: {reasoning: {run: [fenrir]}, general: {run: [fenrir]}}"
    )
    work = Work(
        waiting={
            Lane("reasoning", ""): 4,
            Lane("reasoning", "deepseek-r1:8b"): 3,
            Lane("general", "deepseek-r1:8b"): 1,
        },
        running={"surtr": 2},
    )
    found = changes(fleet(), new, work)
    assert "host surtr goes: nothing starts there any more; 2 tasks there may end first" in found
    stranded = [text for text in found if "stranded" in text]
    assert stranded == [
        "1 task of type general with the model deepseek-r1:8b that waits would be stranded: no host is left for it (no_host) until one returns",
        "3 tasks of type reasoning with the model deepseek-r1:8b that wait would be stranded: no host is left for them (no_host) until one returns",
    ]
    back = [text for text in changes(new, fleet(), work) if "get" in text]
    assert back[0] == (
        "1 task of type general with the model deepseek-r1:8b that waits for a host gets one"
    )


def test_a_type_that_goes_strands_its_tasks() -> None:
    old = edited("types:", "types:\n  ocr: {run: [fenrir]}")
    found = changes(old, fleet(), Work(waiting={Lane("ocr", ""): 2, Lane("general", ""): 9}))
    assert "type ocr goes: new tasks that ask for it are refused" in found
    assert [text for text in found if "stranded" in text] == [
        "2 tasks of type ocr that wait would be stranded: no host is left for them (no_host) until one returns"
    ]


def test_only_what_is_taken_up_at_the_start_needs_a_restart() -> None:
    text = "dispatcher: {listen: '127.0.0.1:1', store: 'sqlite:x', state: y, artifacts: z,\n"
    new = edited("types:", text + "  poll_seconds: 9, max_strikes: 9}\ntypes:")
    needing = [change.text.split()[1] for change in compare(fleet(), new) if change.needs_restart]
    assert needing == ["listen", "store", "state", "artifacts"]
    assert len(compare(fleet(), new)) == 6


def test_no_secret_and_no_name_of_one_is_told() -> None:
    old, new = (edited("max: 4}", f"max: 4}}, key: 'env:{name}'") for name in ("OLD", "NEW"))
    assert changes(old, new) == ["host surtr: another key"]
    assert changes(old, fleet()) == ["host surtr: no key any more"]


# -- for all -----------------------------------------------------------------------------------


def moved(fleet: Fleet) -> Fleet:
    """The same fleet in another file, at other lines."""
    return replace(
        fleet,
        file="elsewhere.yaml",
        hosts={name: replace(host, line=host.line + 1) for name, host in fleet.hosts.items()},
        types={name: replace(type_, line=type_.line + 1) for name, type_ in fleet.types.items()},
    )


@given(fleets())
def test_the_same_fleet_changes_nothing_wherever_its_lines_are(fleet: Fleet) -> None:
    assert changes(fleet, moved(fleet)) == []


@given(fleets(), fleets())
def test_what_is_said_fits_a_line_each(old: Fleet, new: Fleet) -> None:
    for change in compare(old, new):
        assert change.text == clean(change.text), "no control character, no second line"
        assert change.needs_restart == change.text.startswith(
            tuple(f"{section}: {name} " for section, names in AT_STARTS for name in names)
        )


@given(fleets(), fleets())
def test_a_reload_takes_over_all_that_takes_no_restart_and_nothing_else(
    old: Fleet, new: Fleet
) -> None:
    running = taken_over(old, new)
    own = {"autoscaler"}  # its process keeps its address itself
    left = [c for c in compare(running, new) if c.text.partition(":")[0] not in own]
    assert all(change.needs_restart for change in left)
    done = [c for c in compare(old, running) if c.text.partition(":")[0] not in own]
    assert not any(change.needs_restart for change in done)
    assert (running.hosts, running.types) == (new.hosts, new.types)
    assert taken_over(running, new) == running


@given(fleets(), st.data())
def test_no_change_goes_unsaid(fleet: Fleet, data: st.DataObject) -> None:
    for name, host in fleet.hosts.items():
        other = data.draw(drawn.changed(host, drawn.HOST))
        if host.shares is not None and other.shares == host.shares:
            # Then it has no slots of its own: what stands there means nothing.
            other = replace(other, slots=host.slots)
        assert bool(changes(fleet, replace(fleet, hosts={**fleet.hosts, name: other}))) == (
            other != host
        )
    for name, type_ in fleet.types.items():
        another = data.draw(drawn.changed(type_, drawn.TYPE))
        assert changes(fleet, replace(fleet, types={**fleet.types, name: another}))
    settings = data.draw(drawn.changed(fleet.dispatcher, drawn.DISPATCHER))
    assert changes(fleet, replace(fleet, dispatcher=settings))
    beads = data.draw(drawn.changed(fleet.beads, drawn.BEADS))
    assert changes(fleet, replace(fleet, beads=beads))


def test_every_setting_is_drawn() -> None:
    """A new one must be added to tests/fleets.py, or no property here looks at it."""
    for kind, how, named in (
        (HostSettings, drawn.HOST, {"name"}),
        (TypeSettings, drawn.TYPE, {"name"}),
        (DispatcherSettings, drawn.DISPATCHER, set()),
        (BeadsSettings, drawn.BEADS, set()),
    ):
        assert {one.name for one in fields(kind)} == {*how, *named}, kind


# -- told over HTTP ----------------------------------------------------------------------------


@given(fleets(), st.dictionaries(st.builds(Lane, drawn.NAMES, drawn.MODELS), st.integers(1, 9)))
def test_a_fleet_that_was_told_is_the_same(fleet: Fleet, waiting: dict[Lane, int]) -> None:
    told = read_config(msgspec.json.encode(config_of(fleet, waiting)))
    assert changes(fleet, untold(told.fleet, fleet)) == []
    assert list(told.fleet.types) == list(fleet.types)
    assert told.waiting == waiting


def test_whether_a_setting_may_be_told_was_decided() -> None:
    named = {one.name for one in fields(DispatcherSettings)}
    assert named == {*DispatcherView.__struct_fields__, *UNTOLD}
    assert {one.name for one in fields(BeadsSettings)} == {*BeadsView.__struct_fields__}
    assert {one.name for one in fields(TypeSettings)} == {*TypeView.__struct_fields__, "line"}


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"file": 1}', "nonsense", '"' + "[" * 9999])
def test_what_is_no_fleet_is_refused(body: str) -> None:
    with pytest.raises(NotAFleet, match="not what a dispatcher tells"):
        read_config(body)


def test_a_newer_dispatcher_may_tell_more() -> None:
    told = msgspec.json.decode(msgspec.json.encode(config_of(fleet(), {})))
    told["moon"] = "full"
    assert changes(read_config(msgspec.json.encode(told)).fleet, fleet()) == []


# -- told by a store ---------------------------------------------------------------------------


def row_of(fleet: Fleet) -> Event:
    limits = {host.semaphore: 1 for host in fleet.hosts.values()}
    semaphores = {name: host.semaphore for name, host in fleet.hosts.items()}
    detail = configuration_detail(semaphores, limits, fleet.routes)
    through_disk = msgspec.json.decode(msgspec.json.encode(detail))
    return Event(position=1, at=0.0, kind=Kind.CONFIGURED, detail=through_disk)


def test_a_store_tells_hosts_starts_and_routes() -> None:
    rows = {name: HostRow(limit=1, start=h.slots.start) for name, h in fleet().hosts.items()}
    assert changes(fleet_of_row(row_of(fleet()), rows, fleet()), fleet()) == []
    command = edited("reasoning: {run: [surtr]}", "reasoning: {run: [surtr], command: [think]}")
    assert changes(fleet_of_row(row_of(command), rows, command), command) == []
    new = fleet(
        "hosts: {fenrir: {url: 'http://fenrir:11434', model: m, slots: {start: 2, max: 9}}}"
    )
    assert changes(fleet_of_row(row_of(fleet()), rows, new), new) == [
        "host surtr goes: nothing starts there any more",
        "host fenrir: slots start 3 -> 2: its limit is 2 at once",
        "type code-generation: runs on fenrir/m, until now on fenrir/qwen2.5:7b",
        "type text-processing: runs on fenrir/m, until now on fenrir/qwen2.5:7b",
        "type reasoning: runs on fenrir/m, until now on surtr/deepseek-r1:8b",
        "type general: runs on fenrir/m, until now on surtr/deepseek-r1:8b",
        "types are looked for in a title in another order: code-generation, text-processing, reasoning, general",
    ]
