"""Findings and what they rest on: how many ran at once, what a host's answers mean."""

from __future__ import annotations

import heapq
import re
import shlex
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.values import a_status
from tests.fleets import fleets
from ygg.doctor import judging
from ygg.doctor.dispatcher import Answer, judge
from ygg.doctor.findings import Finding, Report, State, is_well, ok, summary, warning, wrong
from ygg.doctor.judging import Wanted, wanted_of
from ygg.doctor.parallel import Stretch, at_once
from ygg.fleet import Fleet, HostSettings, SlotSettings, TypeSettings
from ygg.hosts.base import Identity, Loaded, Product
from ygg.hostsfile import parse_fleet
from ygg.printing import Paper

pytestmark = pytest.mark.pure

OLLAMA = Identity(api="ollama", product=Product.OLLAMA, version="0.13.5")
LLAMA = Identity(api="openai", product=Product.LLAMA_CPP, slots=2)
ROUTER = Identity(api="openai", product=Product.LLAMA_CPP)
VLLM = Identity(api="openai", product=Product.VLLM)


# -- findings ----------------------------------------------------------------------------------


def test_whatever_is_not_well_has_a_remedy_and_nothing_else_has() -> None:
    for state in State:
        is_ok = state is State.OK
        Finding(state=state, what="x", remedy="" if is_ok else "do y")
        with pytest.raises(AssertionError):
            Finding(state=state, what="x", remedy="do y" if is_ok else "")


def test_a_report_is_read_from_left_to_right() -> None:
    report = Report(part="host", name="surtr", findings=[ok("it answers"), wrong("no m", "get m")])
    assert report.lines() == [
        "host surtr",
        "  ok       it answers",
        "  wrong    no m",
        "           -> get m",
    ]
    assert report.as_json() == [
        {"part": "host", "name": "surtr", "state": "ok", "what": "it answers", "remedy": None},
        {"part": "host", "name": "surtr", "state": "wrong", "what": "no m", "remedy": "get m"},
    ]
    assert not is_well([report])
    assert is_well([Report(part="store", name="", findings=[warning("x", "y")])])
    assert summary([report]) == "1 wrong, 0 to look at, 1 well"


def test_a_report_fits_a_narrow_terminal() -> None:
    report = Report(part="store", name="", findings=[wrong("it is full " * 4, "make room " * 4)])
    assert report.lines(Paper(30)) == [
        "store",
        "  wrong    it is full it is",
        "           full it is full it",
        "           is full",
        "           -> make room make",
        "              room make room",
        "              make room",
    ]


def test_what_a_server_said_can_not_act_on_the_terminal() -> None:
    report = Report(part="host", name="h", findings=[wrong("said \x1b[2J", "see\nthere")])
    assert "".join(report.lines()).isprintable()


# -- how many at once --------------------------------------------------------------------------


def served(slots: int, lengths: Sequence[float]) -> list[Stretch]:
    """When the tokens of requests came that a server of so many slots got at the same time."""
    free = [0.0] * slots
    stretches = []
    for length in lengths:
        began = heapq.heappop(free)
        heapq.heappush(free, began + length)
        stretches.append(Stretch(began, began + length, 64))
    return stretches


LENGTHS = st.lists(st.floats(0.06, 60), min_size=1, max_size=8)


@given(st.integers(1, 8), LENGTHS)
def test_never_more_are_seen_than_ran(slots: int, lengths: list[float]) -> None:
    found = at_once(served(slots, lengths))
    assert found is not None
    assert 1 <= found <= min(slots, len(lengths))


@given(st.integers(1, 8), st.integers(1, 8), st.floats(0.06, 60), st.data())
def test_answers_alike_in_length_show_all_that_ran(
    slots: int, count: int, length: float, data: st.DataObject
) -> None:
    some = [length * data.draw(st.floats(1.0, 1.2)) for _ in range(count)]
    assert at_once(served(slots, some)) == min(slots, count)


@pytest.mark.parametrize(
    "stretches",
    [[], [Stretch(0, 9, 3)], [Stretch(0, 9, 64), Stretch(0, 0.01, 64)]],
)
def test_too_little_tells_nothing(stretches: list[Stretch]) -> None:
    assert at_once(stretches) is None


def test_an_answer_read_late_does_not_look_as_if_two_ran() -> None:
    assert at_once([Stretch(0, 2.1, 64), Stretch(2.0, 4, 64)]) == 1


# -- what answers mean -------------------------------------------------------------------------


def wanted(
    *models: str, slots: SlotSettings | None = None, shares: str | None = None, model: str = "m"
) -> Wanted:
    host = HostSettings(
        name="h", url="http://h:1", model=model, shares=shares, slots=slots or SlotSettings()
    )
    types = {one: TypeSettings(name="general") for one in models or ("m",)}
    return Wanted(host=host, models=types, place="hosts.yaml:7")


def states(found: Sequence[Finding]) -> list[str]:
    return [finding.state.value for finding in found]


@pytest.mark.parametrize(
    ("models", "identity", "names", "state", "said", "remedy"),
    [
        (["m"], OLLAMA, ["m:latest", "x"], "ok", "it has m", ""),
        (["qwen2.5:8b"], OLLAMA, ["qwen2.5:7b", "x"], "wrong",
         "it has no model qwen2.5:8b (it has: qwen2.5:7b, x)",
         ("OLLAMA_HOST=http://h:1 ollama pull qwen2.5:8b, or correct the name at hosts.yaml:7; "
         "did you mean 'qwen2.5:7b'?")),
        (["m"], OLLAMA, [], "wrong", "it has no model at all",
         "OLLAMA_HOST=http://h:1 ollama pull MODEL, or correct the name at hosts.yaml:7"),
        (["m"], VLLM, ["x"], "wrong", "it has no model m (it has: x)",
         "start vLLM with m, or correct the name at hosts.yaml:7; known here: x"),
        (["m"], LLAMA, ["x"], "warning",
         "it answers with x, whatever the name, and the file says m",
         "write `model: x` at hosts.yaml:7, or start it with that model"),
        (["m"], ROUTER, ["x"], "wrong", "it has no model m (it has: x)",
         "start llama.cpp with m, or correct the name at hosts.yaml:7; known here: x"),
        ([""], OLLAMA, ["x"], "ok", "it has one model, x, for tasks that name none", ""),
        ([""], OLLAMA, ["x", "y"], "wrong",
         "it has 2 models, and the file does not say which is for tasks that name none",
         "write `model: x` or another of x, y at hosts.yaml:7"),
    ],
)  # fmt: skip
def test_models_that_are_wanted_are_there_or_named(
    models: list[str], identity: Identity, names: list[str], state: str, said: str, remedy: str
) -> None:
    (finding,) = judging.models(wanted(*models), identity, names)
    assert (finding.state.value, finding.what, finding.remedy) == (state, said, remedy)
    able = judging.able(wanted(*models), identity, names)
    assert bool(able) == (state != "wrong")


def test_of_many_models_only_some_are_named() -> None:
    (finding,) = judging.models(wanted("zzz"), OLLAMA, [f"model-{n}" for n in range(99)])
    assert "model-7, ..." in finding.what
    assert "model-8" not in finding.what


@pytest.mark.parametrize(
    ("slots", "identity", "state", "said", "remedy"),
    [
        (SlotSettings(start=2, max=2), LLAMA, "ok", "up to 2 at once, and it runs 2", ""),
        (SlotSettings(start=2, max=4), LLAMA, "wrong", "slots max 4, and it runs 2 at once",
         "write `max: 2` at hosts.yaml:7, or start llama-server with --parallel 4"),
        (SlotSettings(start=3), LLAMA, "wrong", "slots start 3, and it runs 2 at once",
         "write `start: 2` at hosts.yaml:7, or start llama-server with --parallel 3"),
        (SlotSettings(start=1, max=2, pin=4), LLAMA, "wrong", "slots pin 4, and it runs 2",
         "write `pin: 2` at hosts.yaml:7, or start llama-server with --parallel 4"),
        (SlotSettings(start=1, max=8, pin=2), LLAMA, "ok", "up to 2 at once, and it runs 2", ""),
        (SlotSettings(start=1, max=1), OLLAMA, "ok", "up to 1 at once; it does not say", ""),
        (SlotSettings(start=3), OLLAMA, "warning", "OLLAMA_NUM_PARALLEL is set where it runs",
         "ygg doctor --measure h"),
        (SlotSettings(start=30), VLLM, "ok", "up to 30 at once; it does not say", ""),
    ],
)  # fmt: skip
def test_no_more_is_sent_than_the_server_runs(
    slots: SlotSettings, identity: Identity, state: str, said: str, remedy: str
) -> None:
    (finding,) = judging.slots(wanted(slots=slots), identity)
    assert (finding.state.value, finding.remedy) == (state, remedy)
    assert said in finding.what


def test_what_is_measured_is_not_warned_of_as_unknown() -> None:
    (finding,) = judging.slots(wanted(slots=SlotSettings(start=3)), OLLAMA, measured=True)
    assert (finding.state, finding.what) == (
        State.OK,
        "up to 3 at once; it does not say how many it runs",
    )


def test_blocked_tasks_have_a_cure_that_names_them() -> None:
    error = "can't find 'm'\nand more"
    status = a_status(
        blocked=[{"error": error, "count": 2}], needs_person=[f"2 tasks blocked: {error}", "other"]
    )
    blocked, other = list(judge(Answer(url="http://h:1", status=status)))[-2:]
    told = shlex.quote("can't find 'm'")
    assert f"`ygg list --error {told}`" in blocked.remedy
    assert f"`ygg retry --error {told}`" in blocked.remedy
    assert other.remedy == "ygg status"


def test_of_a_shared_card_no_single_server_can_say() -> None:
    (finding,) = judging.slots(wanted(shares="other"), LLAMA)
    assert (finding.state, finding.what) == (State.OK, "it shares the slots of other")


@pytest.mark.parametrize(
    ("limit", "identity", "asked", "found", "state", "said", "remedy"),
    [
        (2, OLLAMA, 2, 2, "ok", "of 2 requests at once it ran at least 2 together; up to 2", ""),
        (1, OLLAMA, 2, 1, "ok", "of 2 requests at once it ran 1 together; up to 1 are sent", ""),
        (1, OLLAMA, 2, 2, "ok", "it ran at least 2 together; up to 1 are sent", ""),
        (3, OLLAMA, 3, 1, "wrong", "of 3 requests at once it ran 1 together, and up to 3 are sent",
         ("set OLLAMA_NUM_PARALLEL=3 where it runs, and restart it, or write "
         "`slots: {start: 1, max: 1}` at hosts.yaml:7")),
        (20, VLLM, 8, 8, "ok", "of 8 requests at once it ran at least 8 together", ""),
        (20, VLLM, 8, 6, "wrong", "it ran 6 together", ("start vLLM with --max-num-seqs 20 or more, "
         "or write `slots: {start: 6, max: 6}` at hosts.yaml:7")),
        (2, LLAMA, 2, None, "warning", "too fast, or too shortly", ("ygg doctor --measure h, once "
         "more or with a larger model")),
    ],
)  # fmt: skip
def test_a_limit_above_what_ran_is_wrong(
    limit: int, identity: Identity, asked: int, found: int | None, state: str, said: str,
    remedy: str,
) -> None:  # fmt: skip
    slots = SlotSettings(start=limit)
    finding = judging.measured(wanted(slots=slots), identity, asked, found)
    assert (finding.state.value, finding.remedy) == (state, remedy)
    assert said in finding.what


def test_a_model_that_is_half_on_the_processor_is_told() -> None:
    loaded = [Loaded("m", 100, 75), Loaded("whole", 100, 100), Loaded("on the CPU", 100, 0)]
    (finding,) = judging.memory(loaded)
    assert finding.what == "25% of m is not on the GPU: it is slow"


@pytest.mark.parametrize(
    ("skew", "said"),
    [(3.0, None), (-9.0, None), (60.0, "60 s ahead of"), (-60.4, "60 s behind")],
)
def test_a_clock_that_is_wrong_is_told(skew: float, said: str | None) -> None:
    found = [finding.what for finding in judging.clock(skew)]
    assert found == ([] if said is None else [f"its clock is {said} this machine's"])


def fleet(types: str) -> Fleet:
    return parse_fleet(
        "hosts:\n  a: {url: http://a, model: m}\n  b: {url: http://b, model: m}\n"
        f"types:\n  general: {types}\n",
        "hosts.yaml",
    )


def test_what_is_wanted_of_a_host_are_its_routes_models_and_its_own() -> None:
    found = wanted_of(fleet("{run: [a/x, b, a], options: {num_ctx: 8192}}"), "a")
    assert list(found.models) == ["x", "m"]
    assert found.models["x"].options == {"num_ctx": 8192}
    assert found.place == "hosts.yaml:2"


@pytest.mark.parametrize(
    ("types", "able", "is_homeless"),
    [
        ("{run: [a/x]}", {"a": ["m"], "b": ["m"]}, True),
        ("{run: [a/x, b/x]}", {"a": ["m"], "b": ["m"]}, True),
        ("{run: [a/x, b/x]}", {"a": ["m"], "b": ["x"]}, False),
        ("{run: [a/x, b/x]}", {"a": ["m"], "b": None}, False),
        ("{run: [a/x], command: [ocr]}", {"a": ["m"], "b": ["m"]}, False),
    ],
)
def test_a_type_whose_hosts_all_lack_its_model_is_told(
    types: str, able: dict[str, list[str] | None], is_homeless: bool
) -> None:
    found = [finding.what for finding in judging.homeless(fleet(types), able)]
    assert [bool(re.match("type general could run nowhere", what)) for what in found] == (
        [True] if is_homeless else []
    )


@given(fleets())
def test_every_host_of_every_fleet_can_be_looked_at(any_fleet: Fleet) -> None:
    for name in any_fleet.hosts:
        found = wanted_of(any_fleet, name)
        assert found.limit >= 1
        list(judging.models(found, OLLAMA, ["m"]))
        list(judging.slots(found, LLAMA))


def test_a_type_with_a_route_to_nowhere_is_told_of_by_that() -> None:
    (found,) = judging.homeless(fleet("{run: []}"), {})
    assert (
        found.what == "type general runs nowhere: its `run:` is empty, and its tasks wait (no_host)"
    )
