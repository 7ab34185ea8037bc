"""What is proposed for which servers, and that every proposal is a hosts.yaml that says just that."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties.test_settings_files import check_fleet
from tests.setup.servers import SERVERS, WISHES, llama_cpp, ollama, vllm
from ygg.cli.printed import Proposal
from ygg.exporters import Card
from ygg.fleet import Fleet, Option, SlotSettings
from ygg.hostsfile import parse_fleet
from ygg.setup.proposal import Plan, Server, Wish, propose
from ygg.setup.telling import plan_json, plan_lines
from ygg.setup.writing import hosts_yaml, scalar

pytestmark = pytest.mark.pure

SURTR = ollama("http://surtr:11434", "deepseek-r1:8b")
FENRIR = ollama("http://fenrir:11434", "qwen2.5:7b", "qwen2.5-coder:7b", "nomic-embed-text")
SKADI = llama_cpp("http://skadi:8080", "qwen2.5-coder:3b", 4)


def fleet_of(plan: Plan) -> Fleet:
    return parse_fleet(hosts_yaml(plan), "hosts.yaml")


def test_three_machines_become_the_fleet_of_the_example() -> None:
    plan = propose([SURTR, FENRIR, SKADI])
    assert [host.name for host in plan.hosts] == ["surtr-reasoning", "fenrir-chat", "skadi-code"]
    assert plan.routes == {
        "code-generation": [
            Option("fenrir-chat", "qwen2.5-coder:7b"), Option("skadi-code", "qwen2.5-coder:3b"),
        ],
        "text-processing": [Option("fenrir-chat", "qwen2.5:7b")],
        "reasoning": [Option("surtr-reasoning", "deepseek-r1:8b")],
        "general": [Option("surtr-reasoning", "deepseek-r1:8b")],
    }  # fmt: skip
    text = hosts_yaml(plan)
    assert "code-generation: {run: [fenrir-chat/qwen2.5-coder:7b, skadi-code]}" in text
    assert "general: {run: [surtr-reasoning]}" in text
    assert "nomic-embed-text" not in text, "it answers no prompts"


def test_slots_are_what_the_server_says_it_runs() -> None:
    (host,) = propose([SKADI]).hosts
    assert (host.slots, host.slots_max) == (4, 4)
    assert host.slots_reason == "it says that it runs 4"


def test_ollama_gets_one_slot_with_the_reason_unless_told() -> None:
    (host,) = propose([SURTR]).hosts
    assert (host.slots, host.slots_max) == (1, 1)
    assert "OLLAMA_NUM_PARALLEL" in host.slots_reason
    (told,) = propose([SURTR], [Wish(slots=3)]).hosts
    assert (told.slots, told.slots_max) == (3, 3)


def test_more_slots_than_the_server_runs_are_not_proposed() -> None:
    (host,) = propose([SKADI], [Wish(slots=9)]).hosts
    assert (host.slots, host.slots_max) == (4, 4)
    (fewer,) = propose([SKADI], [Wish(slots=2)]).hosts
    assert (fewer.slots, fewer.slots_max) == (2, 4)


def test_where_memory_is_taken_at_the_start_its_kv_cache_counts() -> None:
    plan = propose([vllm("http://fenrir:8000", "Qwen/Qwen2.5-7B-Instruct")])
    assert plan.hosts[0].gpu.memory == "kv"
    text = hosts_yaml(plan)
    assert "gpu: {memory: kv}" in text
    assert "# vLLM takes the card's memory whole at its start: how full its KV cache is" in text
    assert (plan.hosts[0].slots, plan.hosts[0].slots_max) == (4, 32)


@pytest.mark.parametrize(
    ("used", "busy", "memory"),
    [(0.93, 0.0, "off"), (0.93, 0.6, None), (0.5, 0.0, None), (0.93, None, None), (None, 0, None)],
)
def test_memory_that_is_full_at_rest_is_left_out_of_account(
    used: float | None, busy: float | None, memory: str | None
) -> None:
    card = Card(label="0 (L4)", memory_used_ratio=used, utilization_ratio=busy)
    plan = propose([ollama("http://surtr:11434", "m:70b", cards=[card])])
    assert plan.hosts[0].gpu.memory == memory
    text = hosts_yaml(plan)
    assert ("gpu: {memory: off}" in text) == (memory == "off")
    assert ("GPU 0 (L4): 0% busy, memory 93%" in text) == (memory == "off"), "with the reason"
    assert fleet_of(plan).hosts["surtr-chat"].gpu.memory == memory


def test_an_exporter_elsewhere_than_usual_is_named() -> None:
    usual, other = (
        ollama(f"http://{name}:11434", "m", exporter="http://x:9400/metrics",
               exporter_is_usual=is_usual)
        for name, is_usual in (("a", True), ("b", False))
    )  # fmt: skip
    hosts = fleet_of(propose([usual, other])).hosts
    assert (hosts["a-chat"].gpu.exporter, hosts["a-chat"].gpu.port) == (None, 9836)
    assert hosts["b-chat"].gpu.exporter == "http://x:9400/metrics"


def test_two_servers_of_one_machine_may_share_its_card() -> None:
    plan = propose([FENRIR, llama_cpp("http://fenrir:8080", "m:70b", 2)])
    assert [host.name for host in plan.hosts] == ["fenrir-chat", "fenrir-chat-2"]
    text = hosts_yaml(plan)
    assert "# shares: fenrir-chat" in text
    assert fleet_of(plan).hosts["fenrir-chat-2"].shares is None, "only a hint"


def test_a_server_that_wants_a_key_is_told_where_to_look_for_it() -> None:
    plan = propose([Server(url="http://fenrir:8000", needs_key=True), SURTR])
    host = fleet_of(plan).hosts["fenrir"]
    assert (host.key, host.model, host.api) == ("env:FENRIR_KEY", None, None)
    assert "hunter" not in hosts_yaml(plan)
    path = Path("other.yaml")
    told = plan_lines(plan, path, {"PATH"})
    assert "  export FENRIR_KEY=...  # the key of fenrir" in told
    assert f"  # write `model:` of fenrir into {path} once it has one" in told
    assert told[-2:] == ["  ygg doctor --hosts other.yaml", "  ygg loop --async --hosts other.yaml"]
    assert not any("export" in line for line in plan_lines(plan, path, {"FENRIR_KEY"}))


def test_a_type_that_nobody_has_is_told_of_with_what_may_have_been_meant() -> None:
    plan = propose([SURTR], [Wish(types=("genral", "reasoning"))])
    assert (
        "  # genral is a type of your own, given with --type genral or a label; "
        "did you mean 'general'?"
    ) in plan_lines(plan, Path("hosts.yaml"), ())
    assert "of your own" not in "\n".join(plan_lines(propose([SURTR]), Path("hosts.yaml"), ()))


def test_what_is_loaded_is_the_default_model() -> None:
    (host,) = propose([ollama("http://a:1", "x:7b", "y:7b", loaded="y:7b")]).hosts
    assert host.model == "y:7b"
    assert host.others == ["x:7b"]


def test_a_server_without_models_is_written_all_the_same() -> None:
    plan = propose([ollama("http://a:1")])
    assert fleet_of(plan).hosts["a"].model is None
    assert "# It names no model: write `model: NAME` once it has one." in hosts_yaml(plan)
    assert set(plan.routes["general"]) == {Option("a", "")}


def test_a_person_may_say_otherwise() -> None:
    wish = Wish(name="big", model="qwen2.5-coder:7b", types=("ocr", "general"), key="env:K")
    plan = propose([FENRIR, SURTR], [wish])
    fleet = fleet_of(plan)
    assert fleet.hosts["big"].model == "qwen2.5-coder:7b"
    assert fleet.hosts["big"].key == "env:K"
    assert fleet.routes["ocr"] == (Option("big", "qwen2.5-coder:7b"),)
    assert fleet.routes["general"] == (Option("big", "qwen2.5-coder:7b"),)


def test_a_name_that_was_wished_for_is_nobody_elses() -> None:
    plan = propose(
        [SURTR, ollama("http://surtr:1", "r1:8b")], [Wish(), Wish(name="surtr-reasoning")]
    )
    assert [host.name for host in plan.hosts] == ["surtr-reasoning-2", "surtr-reasoning"]


# -- for all -----------------------------------------------------------------------------------


@given(SERVERS, st.lists(WISHES, max_size=4))
def test_every_proposal_is_a_file_that_says_just_that(
    servers: list[Server], wishes: list[Wish]
) -> None:
    plan = propose(servers, wishes)
    text = hosts_yaml(plan)
    assert all(len(line) <= 100 or "'" in line or "run: [" in line for line in text.splitlines())
    fleet = parse_fleet(text, "hosts.yaml")
    check_fleet(fleet)
    assert list(fleet.hosts) == [host.name for host in plan.hosts]
    for host, server in zip(plan.hosts, servers, strict=True):
        read = fleet.hosts[host.name]
        assert (read.url, read.api, read.model) == (host.url, host.api, host.model)
        assert read.key == host.key
        assert read.slots == SlotSettings(start=host.slots, max=host.slots_max)
        assert (read.gpu.memory, read.gpu.exporter) == (host.gpu.memory, host.gpu.exporter)
        said = None if server.identity is None else server.identity.slots
        assert said is None or host.slots_max <= said, "never more than the server says"
    assert {name: list(run) for name, run in plan.routes.items()} == {
        name: list(fleet.routes[name]) for name in plan.routes
    }
    printed = {"file": None, **plan_json(plan), "yaml": ""}
    assert msgspec.to_builtins(msgspec.convert(printed, Proposal)) == printed


@given(st.text())
def test_any_text_is_read_back_as_itself(text: str) -> None:
    if text.isprintable() and text == text.strip() != "":
        fleet = parse_fleet(f"hosts: {{h: {{url: 'http://h', model: {scalar(text)}}}}}", "f")
        assert fleet.hosts["h"].model == text
