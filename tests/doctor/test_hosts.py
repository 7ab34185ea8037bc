"""A host as doctor finds it: all that is asked, and of whatever goes wrong the cure."""

from __future__ import annotations

import json

import aiohttp
import pytest

from tests import bad_servers as bad
from tests.bad_servers import Api, FakeServer, closed_port
from tests.hosts.harness import label, run
from ygg.doctor.findings import Finding, State
from ygg.doctor.hosts import Depth, Seen, look_at
from ygg.doctor.judging import Wanted
from ygg.fleet import HostSettings, SlotSettings, TypeSettings

DEEP = Depth(deep=True, seconds=30.0)


def wanted(
    url: str, *models: str, api: Api | None = None, key: str | None = None, slots: int = 1
) -> Wanted:
    host = HostSettings(
        name="h", url=url, api=api, key=key, slots=SlotSettings(start=slots), keep_alive="5m"
    )
    types = {model: TypeSettings(name="t", options={"num_ctx": 8192, "temperature": 2})
             for model in models or ("m",)}  # fmt: skip
    return Wanted(host=host, models=types, place="hosts.yaml:7")


def see(server: FakeServer, depth: Depth = Depth(), **more: str) -> Seen:
    """What is found of a fake server, while it lives."""
    seen: list[Seen] = []

    async def story(session: aiohttp.ClientSession) -> None:
        async with server:
            seen.append(await look_at(session, wanted(server.url, **more), depth))  # type: ignore[arg-type]  # a test's own keywords

    run(story)
    return seen[0]


def told(findings: object) -> list[tuple[str, str]]:
    assert isinstance(findings, list)
    assert all(isinstance(finding, Finding) for finding in findings)
    return [(finding.state.value, finding.what) for finding in findings]


def worst(seen: Seen) -> Finding:
    """The one finding that is not well."""
    (finding,) = [finding for finding in seen.findings if finding.state is not State.OK]
    return finding


def test_a_good_host_is_told_step_by_step_and_no_token_is_spent() -> None:
    server = FakeServer("ollama", models=("m:latest",))
    server.paths["/api/ps"] = (200, b'{"models":[]}')
    seen = see(server)
    assert told(seen.findings) == [
        ("ok", f"Ollama 0.13.5 answers at {server.url}"),
        ("ok", "it has m"),
        ("ok", "up to 1 at once; it does not say how many it runs"),
    ]
    assert list(seen.able or ()) == ["m"]
    assert server.requests == []


def test_a_llama_cpp_that_runs_enough() -> None:
    seen = see(FakeServer("openai", slots=4))
    assert [finding.what for finding in seen.findings][1:] == [
        "it has m",
        "up to 1 at once, and it runs 4",
    ]


def test_a_model_half_on_the_processor_is_told() -> None:
    # As FakeServer has it: 2 of 3 GiB are on the GPU.
    assert worst(see(FakeServer("ollama"))).what == "33% of m is not on the GPU: it is slow"


def test_nobody_there() -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    found: list[Seen] = []

    async def story(session: aiohttp.ClientSession) -> None:
        found.append(await look_at(session, wanted(url), Depth()))

    run(story)
    finding = worst(found[0])
    assert finding.state is State.WRONG
    assert finding.what.startswith(f"{url}: no connection")
    assert finding.remedy == "start the server there, or correct `url:` at hosts.yaml:7"
    assert found[0].able is None, "nobody knows what it has"


@pytest.mark.parametrize(
    ("fault", "state", "remedy"),
    [
        (bad.status(401), "wrong", "set `key:` at hosts.yaml:7"),
        (bad.status(403), "wrong", "set `key:` at hosts.yaml:7"),
        (bad.status(503, "Loading model"), "warning", "wait until it has loaded its model"),
        (bad.status(500), "wrong", "look at the server's log"),
        (bad.reset_before, "wrong", "look at the server's log"),
        (bad.close_before, "wrong", "look at the server's log"),
        (bad.raw(200, b"<html>"), "wrong", "check that `url:` leads to a model server"),
        (bad.not_http, "wrong", "check that `url:` leads to a model server"),
    ],
    ids=label,
)
@pytest.mark.parametrize("api", ["ollama", None])
def test_whatever_it_does_instead_has_a_cure(
    fault: bad.Fault, state: str, remedy: str, api: Api | None
) -> None:
    seen = see(FakeServer("ollama", get_fault=fault), api=api)  # type: ignore[arg-type]  # None too
    finding = worst(seen)
    assert finding.state.value == state
    assert remedy in finding.remedy


def test_a_redirect_is_not_followed() -> None:
    finding = worst(
        see(FakeServer("ollama", get_fault=bad.redirect("http://elsewhere/")), api="ollama")
    )
    assert finding.what.endswith("answered /api/version with 307: go to elsewhere")
    assert finding.remedy == "ygg follows no redirects: put the right address into hosts.yaml"


def test_a_server_of_another_api_is_told_what_to_write() -> None:
    server = FakeServer("openai", slots=1)
    finding = worst(see(server, api="ollama"))
    assert finding.what == f"{server.url} is llama.cpp, and the file says that its api is ollama"
    assert finding.remedy == "write `api: openai` at hosts.yaml:7"


def test_a_model_that_is_not_there_has_a_command() -> None:
    server = FakeServer("ollama", models=("qwen2.5:7b",))
    finding = worst(see_model(server, "qwen2.5:8b"))
    assert finding.what == "it has no model qwen2.5:8b (it has: qwen2.5:7b)"
    assert finding.remedy.startswith(f"OLLAMA_HOST={server.url} ollama pull qwen2.5:8b")


def see_model(server: FakeServer, *models: str, depth: Depth = Depth()) -> Seen:
    server.paths["/api/ps"] = (200, b'{"models":[]}')
    seen: list[Seen] = []

    async def story(session: aiohttp.ClientSession) -> None:
        async with server:
            seen.append(await look_at(session, wanted(server.url, *models), depth))

    run(story)
    return seen[0]


# -- keys --------------------------------------------------------------------------------------


def test_a_key_is_taken_from_where_the_file_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "hunter2")
    server = FakeServer("openai", slots=1)
    seen = see(server, key="env:A_KEY")
    assert told(seen.findings)[0] == ("ok", "its key is there")
    assert "hunter2" not in str(seen)


@pytest.mark.parametrize(
    ("key", "said", "remedy"),
    [
        ("env:NOT_SET_HERE", "NOT_SET_HERE is not set", "export NOT_SET_HERE=..."),
        ("file:/no/such/key", "/no/such/key can't be read: No such file", "chmod 600 /no/such/key"),
        ("credential:ollama", "credential ollama", "LoadCredential=ollama:PATH"),
    ],
)
def test_a_key_that_is_not_there_has_a_cure(
    monkeypatch: pytest.MonkeyPatch, key: str, said: str, remedy: str
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    server = FakeServer("openai")
    finding = worst(see(server, key=key))
    assert said in finding.what
    assert remedy in finding.remedy
    assert "hosts.yaml:7" in finding.remedy
    assert server.asked == [], "without its key it is not asked"


# -- deep --------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", ["ollama", "openai"])
def test_deep_has_every_model_make_one_token(api: Api) -> None:
    server = FakeServer(api, models=("m", "n"), answer="Yes")
    seen = see_model(server, "m", "n", depth=DEEP)
    assert [one.json["model"] for one in server.requests] == ["m", "n"]
    made = [finding.what for finding in seen.findings if "gave a token after" in finding.what]
    assert [what.split()[0] for what in made] == ["m", "n"]
    body = json.loads(server.requests[0].body)
    if api == "ollama":
        # As the type's tasks ask for it: with another num_ctx it would be loaded anew.
        assert body["options"] == {"num_ctx": 8192, "num_predict": 1, "temperature": 0}
        assert body["keep_alive"] == "5m"
    else:
        assert body["max_tokens"] == 1


def test_one_token_may_be_a_thought_or_a_blank() -> None:
    server = FakeServer("ollama")
    blank = bad.saying(bad.token("ollama", "\n"), bad.final("ollama", finish="length"))
    server.fail_always(blank)
    assert "gave a token after" in see_model(server, depth=DEEP).findings[-1].what


@pytest.mark.parametrize(
    "fault",
    [bad.status(500, "out of memory"), bad.no_final("a"), bad.cut_after("a"), bad.status(404)],
    ids=label,
)
def test_a_model_that_does_not_work_is_wrong_and_the_others_are_tried(fault: bad.Fault) -> None:
    server = FakeServer("ollama", models=("m", "n"))
    server.fail_next(fault)
    seen = see_model(server, "m", "n", depth=DEEP)
    finding = worst(seen)
    assert finding.state is State.WRONG
    assert "model m" in finding.what
    assert finding.remedy
    assert "n gave a token" in seen.findings[-1].what


def test_what_is_not_there_is_not_tried() -> None:
    server = FakeServer("ollama", models=("other",))
    see_model(server, "m", depth=DEEP)
    assert server.requests == []


def test_a_clock_that_is_wrong_there_is_told() -> None:
    server = FakeServer("ollama")
    server.paths["/api/ps"] = (200, b'{"models":[]}')

    async def late(peer: bad.Peer) -> None:
        code, body = server.paths.get(peer.received.path) or server._get(peer.received.path)
        await peer.whole(code, body, Date="Wed, 21 Oct 2015 07:28:00 GMT")

    server.get_fault = late
    finding = worst(see(server))
    assert "behind this machine's" in finding.what
    assert finding.remedy.startswith("timedatectl set-ntp true")
