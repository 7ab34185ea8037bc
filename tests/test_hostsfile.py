"""hosts.yaml: what it means, and what is said of each mistake."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from ygg.autoscalerfile import AUTOSCALER_KEYS
from ygg.fleet import (
    BUILT_IN_TYPES,
    BeadsSettings,
    DispatcherSettings,
    Fleet,
    GpuSettings,
    HostSettings,
    Option,
    Retention,
    SlotSettings,
    TypeSettings,
)
from ygg.hostsfile import HostsFileError, parse_fleet, read_fleet
from ygg.hostskeys import BEADS_KEYS, DISPATCHER_KEYS, TYPE_KEYS
from ygg.routing import detect_type

EXAMPLE = Path(__file__).parents[1] / "hosts.yaml"
HOST = "hosts: {a: {url: http://a:1}}\n"
TWO = "hosts: {a: {url: http://a:1, model: m}, b: {url: http://b:1}}\n"


def problems(text: str) -> list[str]:
    with pytest.raises(HostsFileError) as caught:
        parse_fleet(text, "hosts.yaml")
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def host(text: str) -> HostSettings:
    """The one host of a file, with this in its braces."""
    return parse_fleet(f"hosts: {{a: {{url: http://a:1, {text}}}}}", "hosts.yaml").hosts["a"]


# -- what it means ---------------------------------------------------------------------------


def line_of(text: str) -> int:
    return EXAMPLE.read_text("utf-8").split("\n").index(text) + 1


@pytest.mark.pure
def test_a_route_may_be_empty_and_is_no_missing_one() -> None:
    fleet = parse_fleet("hosts: {a: {url: http://a:1}}\ntypes: {reasoning: {run: []}}", "h.yaml")
    assert fleet.types["reasoning"].run == ()
    assert fleet.types["general"].run == (), "it runs where reasoning runs"
    assert [option.host for option in fleet.types["code-generation"].run] == ["a"]


def test_the_example_is_the_fleet_of_the_design() -> None:
    def a_type(name: str, line: str, *run: Option) -> TypeSettings:
        words = BUILT_IN_TYPES[name]
        return TypeSettings(name=name, run=run, words=words, line=line_of(line))

    surtr = Option("surtr-reasoning", "deepseek-r1:8b")
    chat = Option("fenrir-chat", "qwen2.5:7b")
    code_line = (
        "  code-generation: "
        "{run: [skadi-code, fenrir-chat/qwen2.5-coder:7b], options: {num_ctx: 8192}}"
    )
    expected = Fleet(
        file=str(EXAMPLE),
        hosts={
            "surtr-reasoning": HostSettings(
                name="surtr-reasoning",
                url="http://surtr:11434",
                api="ollama",
                model="deepseek-r1:8b",
                slots=SlotSettings(start=2, min=1, max=4),
                keep_alive="30m",
                gpu=GpuSettings(port=9836),
                line=line_of("  surtr-reasoning:"),
            ),
            "fenrir-chat": HostSettings(
                name="fenrir-chat",
                url="http://fenrir:11434",
                model="qwen2.5:7b",
                slots=SlotSettings(start=3, min=1, max=6),
                key="env:FENRIR_KEY",
                keep_alive="30m",
                gpu=GpuSettings(port=9836),
                line=line_of("  fenrir-chat:"),
            ),
            "fenrir-cpp": HostSettings(
                name="fenrir-cpp",
                url="http://fenrir:8080",
                api="openai",
                shares="fenrir-chat",
                keep_alive="30m",
                gpu=GpuSettings(port=9836),
                line=line_of("  fenrir-cpp:"),
            ),
            "skadi-code": HostSettings(
                name="skadi-code",
                url="http://skadi:11434",
                model="qwen2.5-coder:3b",
                slots=SlotSettings(start=2, min=1, max=4),
                keep_alive="30m",
                gpu=GpuSettings(exporter="http://skadi:9400/metrics", device=0, memory="nvml"),
                line=line_of("  skadi-code:"),
            ),
        },
        types={
            "code-generation": TypeSettings(
                name="code-generation",
                run=(
                    Option("skadi-code", "qwen2.5-coder:3b"),
                    Option("fenrir-chat", "qwen2.5-coder:7b"),
                ),
                words=BUILT_IN_TYPES["code-generation"],
                options={"num_ctx": 8192},
                line=line_of(code_line),
            ),
            "text-processing": a_type(
                "text-processing",
                "  text-processing: {run: [fenrir-chat, fenrir-cpp]}",
                chat,
                Option("fenrir-cpp"),
            ),
            "reasoning": a_type(
                "reasoning", "  reasoning: {run: [surtr-reasoning], timeout: 1h}", surtr
            ),
            "general": a_type("general", "  general: {run: [surtr-reasoning]}", surtr),
        },
        dispatcher=DispatcherSettings(),
        beads=BeadsSettings(),
        autoscaler={},
    )
    fleet = read_fleet(EXAMPLE)
    assert fleet == expected
    assert list(fleet.hosts) == list(expected.hosts), "the order of the file is the preference"
    assert list(fleet.types) == list(expected.types)


def uncommented(section: str) -> str:
    """The example with one of its sections that are commented out taken in."""
    before, found, after = EXAMPLE.read_text("utf-8").partition(f"\n# {section}:\n")
    assert found, section
    block = re.match(r"(?:#   .*\n)+", after)
    assert block is not None
    return before + f"\n{section}:\n" + re.sub(r"^# ", "", block[0], flags=re.MULTILINE)


@pytest.mark.pure
def test_what_the_example_shows_as_the_dispatchers_defaults_are_they() -> None:
    text = uncommented("dispatcher")
    settings = parse_fleet(text, "/x/hosts.yaml").dispatcher
    assert all(f"\n  {key}: " in text for key in DISPATCHER_KEYS)
    assert settings == DispatcherSettings(
        store="sqlite:/x/.ygg/ygg.db", state=Path("/x/.ygg"), artifacts=Path("/x/.ygg/artifacts"),
        token_from="file:/etc/ygg/tokens",
    )  # fmt: skip


@pytest.mark.pure
def test_what_the_example_shows_as_the_defaults_of_beads_are_they() -> None:
    text = uncommented("beads")
    settings = parse_fleet(text, "/x/hosts.yaml").beads
    assert all(f"\n  {key}: " in text for key in BEADS_KEYS)
    assert settings == BeadsSettings(path=Path("/x"), actor="ygg@skadi", poll_seconds=60.0)


@pytest.mark.pure
def test_the_example_shows_every_constant_of_the_autoscaler() -> None:
    found = parse_fleet(uncommented("autoscaler"), "hosts.yaml").autoscaler
    assert list(found) == list(AUTOSCALER_KEYS)
    assert found["memory_high_ratio"] == 0.9
    assert found["memory_forget_seconds"] == 900.0
    assert found["dry_run"] is False


@pytest.mark.pure
def test_the_example_shows_every_key_of_a_type_and_they_can_be_used() -> None:
    text = EXAMPLE.read_text("utf-8")
    own = re.sub(r"^  # (  |translation:|ocr:|triage:)", r"  \1", text, flags=re.MULTILINE)
    types = parse_fleet(own, "/x/hosts.yaml").types
    assert set(types) == {*BUILT_IN_TYPES, "translation", "ocr", "triage"}
    assert all(re.search(rf"[ {{]{key}: ", own) for key in TYPE_KEYS)
    assert types["ocr"] == TypeSettings(
        name="ocr",
        run=(Option("skadi-code", "qwen2.5-coder:3b"),),
        command=("/usr/local/bin/ocr", "--fast"),
        cwd="/x/work",
        environment=("OCR_LANGUAGE",),
        line=types["ocr"].line,
    )
    assert types["triage"].python == "mytasks.triage:run"
    usual = TypeSettings(name="translation")
    assert types["translation"].first_token == usual.first_token
    assert types["translation"].stall == usual.stall
    assert types["translation"].timeout == usual.timeout
    assert types["translation"].repeat is usual.repeat


@pytest.mark.pure
def test_a_url_is_enough() -> None:
    fleet = parse_fleet("hosts: {b: {url: http://b:1}, a: {url: http://a:1}}", "hosts.yaml")
    assert fleet.hosts["b"] == HostSettings(
        name="b", url="http://b:1", gpu=GpuSettings(port=9836), line=1
    )
    assert fleet.routes == dict.fromkeys(BUILT_IN_TYPES, (Option("b"), Option("a")))
    assert {name: t.words for name, t in fleet.types.items()} == BUILT_IN_TYPES
    assert fleet.dispatcher == DispatcherSettings()


@pytest.mark.pure
def test_general_runs_where_reasoning_does_unless_it_says_where() -> None:
    types = "types: {reasoning: {run: [b]}, general: {timeout: 5m}}"
    assert parse_fleet(TWO + types, "f").routes["general"] == (Option("b"),)
    types = "types: {reasoning: {run: [b]}, general: {run: [a]}}"
    assert parse_fleet(TWO + types, "f").routes["general"] == (Option("a", "m"),)
    types = "types: {reasoning: {timeout: 5m}}"
    assert parse_fleet(TWO + types, "f").routes["general"] == (Option("a", "m"), Option("b"))


@pytest.mark.pure
def test_types_of_the_file_come_first_and_take_their_words_from_the_built_in_ones() -> None:
    text = HOST + "types: {reasoning: , mine: {words: [SQL, Plan], labels: [db]}}"
    types = parse_fleet(text, "f").types
    assert list(types) == ["reasoning", "mine", "code-generation", "text-processing", "general"]
    assert types["mine"].words == ("sql", "plan")
    assert "plan" not in types["reasoning"].words
    assert "sql" not in types["code-generation"].words
    assert detect_type([], "Plan the week", types) == "mine"
    assert detect_type(["db"], "Prove it", types) == "mine"


@pytest.mark.pure
def test_a_model_may_hold_slashes_and_colons() -> None:
    text = TWO + "types: {general: {run: [b/hf.co/x/y:Q4_K_M, a, 'a/z']}}"
    route = parse_fleet(text, "f").routes["general"]
    assert route == (Option("b", "hf.co/x/y:Q4_K_M"), Option("a", "m"), Option("a", "z"))


@pytest.mark.pure
@pytest.mark.parametrize(
    ("slots", "expected"),
    [
        ("{start: 2, min: 1, max: 4}", SlotSettings(start=2, min=1, max=4)),
        ("{min: 3}", SlotSettings(start=3, min=3)),
        ("{pin: 2}", SlotSettings(start=2, pin=2)),
        ("{start: 1, max: 4, pin: 3}", SlotSettings(start=1, max=4, pin=3)),
        ("{start: 2, pin: 9}", SlotSettings(start=2, pin=9)),
        ("", SlotSettings()),
    ],
)
def test_slots(slots: str, expected: SlotSettings) -> None:
    assert host(f"slots: {slots}").slots == expected


@pytest.mark.pure
def test_a_pin_knows_its_line_in_the_file() -> None:
    text = """
defaults:
  slots:
    pin: 2
hosts:
  a:
    url: http://a
  b:
    url: http://b
    slots:
      max: 4
      pin: 3
  c:
    url: http://c
    slots: {max: 5}
"""
    hosts = parse_fleet(text, "hosts.yaml").hosts
    assert {name: (h.slots.pin, h.slots.pin_line) for name, h in hosts.items()} == {
        "a": (2, 4),
        "b": (3, 12),
        "c": (2, 4),
    }


@pytest.mark.pure
def test_a_host_says_only_where_it_differs_from_the_defaults() -> None:
    text = """
defaults:
  api: openai
  model: m
  keep_alive: 5m
  slots: {start: 2, max: 8}
  gpu: {port: 1234, memory: kv}
hosts:
  a: {url: http://a:1}
  b: {url: http://b:1, api: ollama, model: n, keep_alive: 1h, slots: {max: 3}, gpu: {device: 1}}
  c: {url: http://c:1, shares: a, gpu: {exporter: 'http://c:9/m?x=y', memory: off}}
"""
    hosts = parse_fleet(text, "f").hosts
    a, b, c = hosts["a"], hosts["b"], hosts["c"]
    assert (a.api, a.model, a.keep_alive) == ("openai", "m", "5m")
    assert a.slots == SlotSettings(start=2, max=8)
    assert a.gpu == GpuSettings(port=1234, memory="kv")
    assert (b.api, b.model, b.keep_alive) == ("ollama", "n", "1h")
    assert b.slots == SlotSettings(start=2, max=3)
    assert b.gpu == GpuSettings(port=1234, device=1, memory="kv")
    assert (c.semaphore, c.slots) == ("a", SlotSettings())
    assert c.gpu == GpuSettings(exporter="http://c:9/m?x=y", memory="off")


def test_a_host_may_have_no_exporter_at_all() -> None:
    host = parse_fleet(_HOST + "gpu: {exporter: off}", "hosts.yaml").hosts["a"]
    assert (host.exporter, host.gpu) == (None, GpuSettings(port=None))


@pytest.mark.pure
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://surtr:11434", "http://surtr:11434"),
        ("http://surtr:11434/", "http://surtr:11434"),
        ("http://surtr:11434/v1", "http://surtr:11434"),
        ("HTTP://Surtr:11434/v1/", "http://surtr:11434"),
        ("https://example.com/ollama/v1", "https://example.com/ollama"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://10.0.0.1", "http://10.0.0.1"),
    ],
)
def test_a_url_is_kept_as_the_servers_root(given: str, expected: str) -> None:
    assert parse_fleet(f"hosts:\n  a: {{url: '{given}'}}", "f").hosts["a"].url == expected


@pytest.mark.pure
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("90", 90.0),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("90s", 90.0),
        ("10m", 600.0),
        ("1h", 3600.0),
        ("2d", 172800.0),
        ("1h30m", 5400.0),
        ("500ms", 0.5),
    ],
)
def test_durations(given: str, expected: float) -> None:
    text = HOST + f"types: {{general: {{timeout: {given}}}}}"
    assert parse_fleet(text, "f").types["general"].timeout == expected


@pytest.mark.pure
@pytest.mark.parametrize(
    ("given", "expected"),
    [("30m", "30m"), ("1h30m", "1h30m"), ("'0'", "0"), ("0", "0s"), ("300", "300s"), ("-1", "-1s")],
)
def test_keep_alive_is_as_ollama_takes_it(given: str, expected: str) -> None:
    assert host(f"keep_alive: {given}").keep_alive == expected


@pytest.mark.pure
def test_relative_paths_start_at_the_files_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    text = """
hosts: {a: {url: http://a:1, key: file:keys/a}, b: {url: http://b:1, key: file:/k}}
types: {general: {command: [./x], cwd: work}}
dispatcher: {state: state, store: sqlite:t.db, artifacts: ~/out, retention: {closed: forever}}
"""
    fleet = parse_fleet(text, "/etc/ygg/hosts.yaml")
    assert fleet.hosts["a"].key == "file:/etc/ygg/keys/a"
    assert fleet.hosts["b"].key == "file:/k"
    assert fleet.types["general"].cwd == "/etc/ygg/work"
    assert fleet.dispatcher == DispatcherSettings(
        state=Path("/etc/ygg/state"),
        store="sqlite:/etc/ygg/t.db",
        artifacts=Path("/home/me/out"),
        retention=Retention(closed=None),
    )


@pytest.mark.pure
def test_options_are_json() -> None:
    text = (
        HOST
        + """
types:
  general:
    options: {n: 8192, t: 1e-1, x: -1.5, think: false, format: null, stop: ['no', x, 'null', '1']}
"""
    )
    assert parse_fleet(text, "f").types["general"].options == {
        "n": 8192,
        "t": 0.1,
        "x": -1.5,
        "think": False,
        "format": None,
        "stop": ["no", "x", "null", "1"],
    }


@pytest.mark.pure
def test_sections_whose_lines_are_all_commented_out_are_empty() -> None:
    text = HOST + "types:\ndefaults:\ndispatcher:\nbeads:\nautoscaler:\n"
    assert parse_fleet(text, "f") == parse_fleet(HOST, "f")


TOKENS = "token_from: credential:tokens"


@pytest.mark.pure
@pytest.mark.parametrize(
    "address", ["0.0.0.0:0", "localhost:65535", "'[::1]:8765'", "a-b.c:1", "unix:/run/ygg.sock"]
)
def test_addresses_to_listen_on(address: str) -> None:
    text = HOST + f"dispatcher: {{listen: {address}, {TOKENS}}}"
    (found,) = parse_fleet(text, "f").dispatcher.listen
    assert found == address.strip("'")


@pytest.mark.pure
def test_several_addresses_to_listen_on() -> None:
    text = HOST + "dispatcher: {listen: [127.0.0.1:1, '[::1]:2', unix:run/ygg.sock]}"
    assert parse_fleet(text, "/x/hosts.yaml").dispatcher.listen == (
        "127.0.0.1:1",
        "[::1]:2",
        "unix:/x/run/ygg.sock",
    )


@pytest.mark.pure
def test_names_and_tokens() -> None:
    text = HOST + (
        "dispatcher: {names: [Ygg.example.org, 10.0.0.7, '[FD00:0::1]', ygg_1, ygg.example.org],"
        " token: always, token_from: file:tokens}"
    )
    found = parse_fleet(text, "/x/hosts.yaml").dispatcher
    assert found.names == ("ygg.example.org", "10.0.0.7", "[fd00::1]", "ygg_1")
    assert (found.token, found.token_from) == ("always", "file:/x/tokens")


@pytest.mark.pure
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("path: project", BeadsSettings(path=Path("/x/project"))),
        ("path: /srv/project/.beads", BeadsSettings(path=Path("/srv/project"))),
        ("path: .beads/", BeadsSettings(path=Path("/x"))),
        ("command: bd-next", BeadsSettings(command="bd-next")),
        ("command: bin/bd", BeadsSettings(command="/x/bin/bd")),
        ("command: /opt/my tools/bd", BeadsSettings(command="/opt/my tools/bd")),
        ("labels: [for ygg, l10n]", BeadsSettings(labels=("for ygg", "l10n"))),
        ("actor: ygg@skadi.example.org:1", BeadsSettings(actor="ygg@skadi.example.org:1")),
        ("timeout: 1h", BeadsSettings(timeout=3600.0)),
        ("", BeadsSettings()),
    ],
)
def test_settings_of_beads(text: str, expected: BeadsSettings) -> None:
    assert parse_fleet(f"{HOST}beads: {{{text}}}", "/x/hosts.yaml").beads == expected


@pytest.mark.pure
def test_what_becomes_of_an_answered_issue_is_said_by_its_type_or_for_all() -> None:
    types = "types: {x: {done: review}, y: {done: close}, z: {}}\n"
    plain, reviewed = (
        parse_fleet(HOST + types + beads, "f") for beads in ("", "beads: {done: review}")
    )
    assert [plain.done(name) for name in ("x", "y", "z", "gone")] == [
        "review", "close", "close", "close",
    ]  # fmt: skip
    assert [reviewed.done(name) for name in ("x", "y", "z", "gone")] == [
        "review", "close", "review", "review",
    ]  # fmt: skip


# -- what is said of mistakes ----------------------------------------------------------------

_ROUTE = TWO + "types:\n  general:\n    run: "
_TYPE = HOST + "types:\n  x:\n    "
_HOST = "hosts:\n  a:\n    url: http://a:1\n    "
_DISPATCHER = HOST + "dispatcher:\n  "
_BEADS = HOST + "beads:\n  "
_AUTOSCALER = HOST + "autoscaler:\n  "

#: The file, the line of its one problem, and words of it: what is wrong, and the way out.
MISTAKES = {
    # the file
    "empty": ("", 1, ["empty", "hosts: {NAME"]),
    "only comments": ("# x\n", 1, ["empty"]),
    "only a document mark": ("---\n", 1, ["empty"]),
    "a word": ("hello", 1, ["not a section", "key: value"]),
    "a list": ("- a\n- b\n", 1, ["not a section"]),
    "too large": ("#" * (1 << 20) + "\n", 1, ["characters", "1 MiB"]),
    "a control character": (HOST + "# \x07", 2, ["U+0007", "delete"]),
    "too deep": (HOST + "types: " + "[" * 40, 2, ["deeper than 32"]),
    "so deep that recursion ends": ("[" * 100_000, 1, ["deeper than 32"]),
    "two documents": (HOST + "---\na: 1\n", 2, ["second document", "keep one"]),
    "a tab": ("hosts:\n\ta: {url: http://a:1}\n", 2, ["tab", "spaces"]),
    "an open quote": (HOST + "types:\n  a: 'x\n", 3, ["quote", "close it"]),
    "an open bracket": (HOST + "types: {a: {run: [a}}\n", 2, ["not closed", "close it"]),
    "a crooked line": ("hosts:\n    a: {url: http://a:1}\n  b: {}\n", 3, ["indentation"]),
    "text behind a quote": (HOST + "x: 'a' b\n", 2, ["closing quote", "quote the whole"]),
    "no colon": (HOST + "types\ndispatcher: {}\n", 3, ["key: value"]),
    "a stray %": (HOST + "types: %x", 2, ["character of YAML's own", "quote"]),
    "an unknown escape": (HOST + 'x: "\\q"', 2, ["escape", "single quotes"]),
    "an escape that is no character": (HOST + 'x: "\\UFFFFFFFF"', 2, ["escape"]),
    "an anchor": (HOST + "types: &x {}", 2, ["anchors", "delete"]),
    "an alias": (HOST + "types: *x", 2, ["aliases", "write the value out"]),
    "nothing after its directive": ("%YAML 1.1\n", 1, ["this is not YAML"]),
    "a value with a tag": (_HOST + "model: !x 1", 4, ["tags", "quote"]),
    "a tag": (HOST + "types: !!python/none {}", 2, ["tags", "delete"]),
    # keys
    "no hosts": ("types: {}", 1, ["names no host", "hosts: {NAME"]),
    "empty hosts": ("\nhosts:\n", 2, ["names no host"]),
    "hosts without a host": ("hosts: {}", 1, ["`hosts` names no host"]),
    "hosts as a list": ("hosts:\n- a\n", 2, ["`hosts` is not a section"]),
    "an unknown section": (HOST + "dispacher: {}", 2, ["'dispacher'", "'dispatcher'?"]),
    "an unknown key": (_HOST + "modell: x", 4, ["`hosts.a`", "'modell'", "'model'?"]),
    "a key of elsewhere": (_HOST + "timeout: 1h", 4, ["'timeout'", "below `types:`"]),
    "a key twice": (_HOST + "url: http://b:1", 4, ["'url' twice", "line 3", "keep one"]),
    "a host twice": (_HOST + "api: ollama\n  a: {}", 5, ["'a' twice", "line 2"]),
    "a merge key": (HOST + "<<: {types: {}}", 2, ["'<<'", "a word of its own"]),
    "a list as a key": (HOST + "? [a]\n: b\n", 2, ["as a key"]),
    "a default key": (f"defaults: {{key: env:A}}\n{HOST}", 1, ["'key'", "a host below"]),
    # hosts
    "no url": ("hosts:\n  a: {api: ollama}", 2, ["no url for 'a'", "url: http://"]),
    "a bare host": ("hosts:\n  a:\n", 2, ["no url"]),
    "a host that YAML takes for a no": ("hosts:\n  a: {url: http://a:1}\n  no: {}", 3,
        ["'no'", "yes or no", "quoted"]),
    "a host that YAML takes for a number": (HOST[:-2] + ", 12: {}}", 1, ["'12'", "a number"]),
    "a host with a slash": ("hosts: {a/b: {url: http://a:1}}", 1, ["'a/b'", "letters, digits"]),
    "a host with a long name": (f"hosts: {{{'a' * 64}: {{url: http://a:1}}}}", 1, ["at most 63"]),
    "a url of another kind": ("hosts: {a: {url: ftp://a}}", 1, ["http://", "https://"]),
    "a url without its scheme": ("hosts: {a: {url: surtr:11434}}", 1, ["http://"]),
    "a url without a host": ("hosts: {a: {url: 'http://'}}", 1, ["names no host"]),
    "a url with a bad port": ("hosts: {a: {url: 'http://a:99999'}}", 1, ["port"]),
    "a url with a bad address": ("hosts: {a: {url: 'http://[::g]:1'}}", 1, ["address"]),
    "a url with a query": ("hosts: {a: {url: 'http://a:1/?t=1'}}", 1, ["`?`", "root"]),
    "a url with a blank": ("hosts: {a: {url: 'http://a:1/x y'}}", 1, ["blanks", "%XX"]),
    "a url as a list": ("hosts: {a: {url: [http://a:1]}}", 1, ["is a list", "one value"]),
    "a url without a value": ("hosts:\n  a:\n    url:\n", 3, ["no value"]),
    "another api": (_HOST + "api: vllm", 4, ["'vllm'", "ollama, openai"]),
    "a model that is a number": (_HOST + "model: 1.5", 4, ["'1.5'", "a number", "quote it"]),
    "a model that is a date": (_HOST + "model: 2026-01-01", 4, ["a date", "quote it"]),
    "an empty model": (_HOST + "model: ''", 4, ["empty"]),
    "an unprintable model": (_HOST + 'model: "a\\eb"', 4, ["unprintable"]),
    "half a surrogate pair": (_HOST + 'model: "\\ud800"', 4, ["unprintable"]),
    "a key": (_HOST + "key: hunter2", 4, ["where the secret is", "env:NAME"]),
    "a key that is a number": (_HOST + "key: 1234", 4, ["where the secret is"]),
    "bad keep_alive": (_HOST + "keep_alive: 2d", 4, ["'2d'", "24h"]),
    "slots as a number": (_HOST + "slots: 3", 4, ["not a section"]),
    "no slots": (_HOST + "slots: {min: 0}", 4, ["slots.min` is 0", "from 1"]),
    "slots in octal": (_HOST + "slots: {min: 010}", 4, ["'010'", "base 8", "whole number"]),
    "slots in quotes": (_HOST + "slots: {min: '2'}", 4, ["in quotes", "whole number"]),
    "slots in words": (_HOST + "slots: {min: two}", 4, ["'two'", "whole number"]),
    "half a slot": (_HOST + "slots: {min: 1.5}", 4, ["'1.5'", "whole number"]),
    "slots of base 60": (_HOST + "slots: {min: 1:30}", 4, ["base 60"]),
    "slots without end": (_HOST + "slots: {min: .inf}", 4, ["'.inf'"]),
    "slots past all digits": (_HOST + f"slots: {{min: {'9' * 5000}}}", 4, ["whole number"]),
    "start over max": (_HOST + "slots:\n      start: 5\n      max: 2", 5,
        ["start 5 over max 2", "min <= start <= max"]),
    "start under min": (_HOST + "slots: {start: 1, min: 2}", 4, ["start 1 under min 2"]),
    "pin over max": (_HOST + "slots:\n      max: 2\n      pin: 3", 6, ["pin 3 over max 2"]),
    "pin under min": (_HOST + "slots: {min: 2, start: 2, pin: 1}", 4, ["pin 1 under min 2"]),
    "min over the default max": (
        "defaults: {slots: {max: 2}}\n" + _HOST + "slots: {min: 3, start: 2}", 5,
        ["min 3 over max 2"]),
    "min over the default start": (
        "defaults: {slots: {start: 2}}\n" + _HOST + "slots: {min: 3}", 5,
        ["start 2 under min 3"]),
    "port and exporter": (_HOST + "gpu: {port: 1, exporter: http://a:2}", 4, ["both", "keep one"]),
    "another memory": (_HOST + "gpu: {memory: no}", 4, ["'no'", "nvml, kv, off"]),
    "port 0": (_HOST + "gpu: {port: 0}", 4, ["from 1 to 65535"]),
    "shares nobody": (TWO + "hosts:", 2, ["'hosts' twice"]),
    "shares an unknown host": (_HOST + "shares: b\n  bb: {url: http://b:1}", 4,
        ["'b'", "no host", "'bb'?"]),
    "shares with itself": (_HOST + "shares: a", 4, ["the host itself", "delete"]),
    "shares with one that shares": (
        _HOST + "shares: b\n  b: {url: http://b:1, shares: c}\n  c: {url: http://c:1}", 4,
        ["'b'", "shares slots itself", "'c'"]),
    "shares and slots": (_HOST + "shares: b\n    slots: {}\n  b: {url: http://b:1}", 5,
        ["slots of its own", "delete"]),
    "one server twice": (_HOST + "\n  b:\n    url: http://A:1/v1", 6,
        ["server of a, line 2", "`shares: a`"]),
    "one server with and without its port": (
        "hosts: {a: {url: http://x}, b: {url: 'http://x:80/'}}", 1, ["server of a", "`shares: a`"]),
    # types
    "a type with a blank": (HOST + "types: {a b: }", 2, ["'a b'", "letters"]),
    "an unknown host": (TWO + "types: {general: {run: [fenrir]}}", 2, ["'fenrir'", "known"]),
    "a host misspelt": ("hosts: {fenrir: {url: http://a:1}}\ntypes: {x: {run: [fenris/m]}}", 2,
        ["'fenris'", "'fenrir'?"]),
    "no model behind the slash": (_ROUTE + "[b/]", 4, ["behind the `/`", "b/MODEL"]),
    "an option twice": (_ROUTE + "[a,\n          a/m]", 5, ["'a/m' again", "delete"]),
    "a route without a value": (_ROUTE, 4, ["not a list"]),
    "a route as a word": (_ROUTE + "a", 4, ["not a list", "[a, b]"]),
    "a no in a route": (_ROUTE + "[a, no]", 4, ["run[1]", "yes or no", "quote it"]),
    "a label twice": (_TYPE + "labels: [l, l]", 4, ["'l' again"]),
    "a label of two types": (_TYPE + "labels: [l]\n  y: {labels: [l]}", 5,
        ["'l'", "means x (line 4)"]),
    "a label that is a type": (_TYPE + "labels: [reasoning]", 4, ["means reasoning (built in)"]),
    "a word of two types": (_TYPE + "words: [w]\n  y:\n    words: [W]", 6,
        ["'w'", "means x (line 4)"]),
    "two words in one": (_TYPE + "words: [a b]", 4, ["'a b'", "word by word"]),
    "a duration of base 60": (_TYPE + "timeout: 1:30", 4, ["'1:30'", "base 60", "90s"]),
    "a duration in quotes": (_TYPE + "timeout: '90'", 4, ["in quotes", "90s"]),
    "a duration without a unit we know": (_TYPE + "timeout: 1w", 4, ["'1w'", "2d"]),
    "a duration and more": (_TYPE + "timeout: 90s later", 4, ["'90s later'", "2d"]),
    "a duration with a sign": (_TYPE + "timeout: -90s", 4, ["'-90s'"]),
    "a timeout without end": (_TYPE + "timeout: 1e999", 4, ["'1e999'"]),
    "no time at all": (_TYPE + "timeout: 0", 4, ["1ms to 31d"]),
    "a command as a text": (_TYPE + "command: ls -l", 4, ["not a list", "[a, b]"]),
    "a command without a program": (_TYPE + "command: []", 4, ["names no program"]),
    "a number in a command": (_TYPE + "command: [a, 300]", 4, ["command[1]", "'300'", "quote it"]),
    "a NUL in a command": (_TYPE + 'command: [a, "\\0"]', 4, ["unprintable"]),
    "command and python": (_TYPE + "command: [a]\n    python: a:b", 5, ["beside a command"]),
    "command and system": (_TYPE + "command: [a]\n    system: a", 5, ["beside a command"]),
    "command and options": (_TYPE + "command: [a]\n    options: {}", 5, ["beside a command"]),
    "cwd without a command": (_TYPE + "cwd: a", 4, ["without a command"]),
    "environment without a command": (_TYPE + "environment: [A]", 4, ["without a command"]),
    "a variable that can't be": (_TYPE + "environment: [A-B]\n    command: [a]", 4,
        ["environment[0]", "name alone"]),
    "no function": (_TYPE + "python: package.module", 4, ["package.module:function"]),
    "neither yes nor no": (_TYPE + "repeat: maybe", 4, ["'maybe'", "true or false"]),
    "a no in options": (_TYPE + "options: {think: no}", 4, ["'no'", "true or false"]),
    "octal in options": (_TYPE + "options: {seed: 010}", 4, ["'010'", "base 8", "decimal"]),
    "a number without end in options": (_TYPE + "options: {x: 1e999}", 4, ["'1e999'", "decimal"]),
    "a number past all digits in options": (_TYPE + f"options: {{x: {'9' * 50}}}", 4, ["decimal"]),
    "a date in options": (_TYPE + "options: {x: 2026-01-01}", 4, ["a date", "quote it"]),
    "nothing in options": (_TYPE + "options: {x: }", 4, ["no value", "null"]),
    "an option twice in options": (_TYPE + "options: {x: 1, x: 2}", 4, ["'x' twice"]),
    "options as a list": (_TYPE + "options: [1]", 4, ["not a section"]),
    # dispatcher
    "only a port": (_DISPATCHER + "listen: 8765", 3, ["'8765'", "127.0.0.1:8765"]),
    "no address": (_DISPATCHER + "listen: ':8765'", 3, ["HOST:PORT"]),
    "a port past the last": (_DISPATCHER + "listen: a:65536", 3, ["HOST:PORT"]),
    "an address in brackets": (_DISPATCHER + "listen: ['::1']", 3, ["'[::1]:8765' in quotes"]),
    "an address with its port": (_DISPATCHER + "listen: [::1]:8765", 3, ["quote it"]),
    "an address that can't be": (_DISPATCHER + "listen: '[::1::]:1'", 3, ["HOST:PORT"]),
    "an address twice": (_DISPATCHER + "listen: [a:1, b:1, a:1]", 3, ["a:1 again", "delete"]),
    "no address at all": (_DISPATCHER + "listen: []", 3, ["no address", "127.0.0.1:8765"]),
    "a list in a list of addresses": (_DISPATCHER + "listen: [[a:1]]", 3, ["is a list"]),
    "a socket without a path": (_DISPATCHER + "listen: 'unix:'", 3, ["unix:/run/ygg/ygg.sock"]),
    "an abstract socket": (_DISPATCHER + "listen: 'unix:@ygg'", 3, ["unix:PATH"]),
    "a socket's path too long": (
        _DISPATCHER + f"listen: 'unix:{'x' * 108}'", 3, ["107 bytes", "shorter"]),
    "beyond loopback without a token": (
        _DISPATCHER + "listen: 0.0.0.0:8765", 3,
        ["0.0.0.0:8765, which other machines reach", "ygg token new", "token_from:"]),
    "one address beyond loopback": (
        _DISPATCHER + "listen: [127.0.0.1:1, '[::]:2']", 3, ["[::]:2, which", "127.0.0.1"]),
    "a token for everybody that is nowhere": (
        _DISPATCHER + "token: always", 3, ["there is none", "ygg token new"]),
    "a name of a proxy without a token": (
        _DISPATCHER + "names: [ygg.example.org]", 3, ["a proxy", "ygg token new"]),
    "where a token is instead of who needs it": (
        _DISPATCHER + "token: file:/etc/tokens", 3, ["remote or always", "`token_from:`"]),
    "a token itself": (
        _DISPATCHER + "token_from: ygg_hunter2", 3, ["where the secret is", "credential:NAME"]),
    "a name with a port": (
        _DISPATCHER + f"{TOKENS}\n  names: [ygg.example.org:443]", 4, ["without a port"]),
    "a name for all names": (_DISPATCHER + f"{TOKENS}\n  names: ['*']", 4, ["a name or an address"]),
    "a name that is no list": (_DISPATCHER + f"{TOKENS}\n  names: ygg.org", 4, ["[a, b]"]),
    "postgres": (_DISPATCHER + "store: postgresql://u:secret@h/d", 3, ["can't use yet", "sqlite:"]),
    "another store": (_DISPATCHER + "store: redis:x", 3, ["no store", "sqlite:PATH"]),
    "a store in memory": (_DISPATCHER + "store: 'sqlite::memory:'", 3, ["no file"]),
    "another end of a drain": (_DISPATCHER + "after_drain: blok", 3, ["block, reopen"]),
    "no strikes": (_DISPATCHER + "max_strikes: 0", 3, ["from 1"]),
    "retention of a second": (_DISPATCHER + "retention: {journal: 1}", 3, ["1m to 36500d"]),
    "a key of retention": (_DISPATCHER + "journal: 90d", 3, ["'journal'", "retention"]),
    # beads
    "an unknown key of beads": (_BEADS + "lables: [a]", 3, ["'lables'", "'labels'?"]),
    "a key of beads elsewhere": (_DISPATCHER + "actor: me", 3, ["'actor'", "`beads:`"]),
    "beads in a word": (HOST + "beads: all", 2, ["not a section", "key: value"]),
    "an actor with a blank": (_BEADS + "actor: my ygg", 3, ["'my ygg'", "letters, digits"]),
    "an actor that looks like an option": (_BEADS + "actor: -x", 3, ["a letter or digit first"]),
    "an endless actor": (_BEADS + f"actor: {'x' * 101}", 3, ["at most 100"]),
    "a label that is no list": (_BEADS + "labels: a", 3, ["[a, b]"]),
    "a label of beads twice": (_BEADS + "labels: [a, b, a]", 3, ["labels[2]", "'a' again", "delete"]),
    "the label of what is answered": (
        _BEADS + "labels: [ygg-answered]", 3, ["not taken", "another label"]),
    "labels beside all": (
        _BEADS + "take: all\n  labels: [a]", 4, ["whatever its labels", "delete one"]),
    "a yes for all": (_BEADS + "take: yes", 3, ["labelled, all"]),
    "another end of an issue": (_BEADS + "done: closed", 3, ["close, review"]),
    "another end of a type's issues": (_TYPE + "done: never", 4, ["close, review"]),
    "a look all the time": (_BEADS + "poll_seconds: 0", 3, ["1s to 1h"]),
    "no time for a call": (_BEADS + "timeout: 0.5", 3, ["1s to 1h"]),
    "a command with arguments": (_BEADS + "command: bd --json", 3, ["the program alone"]),
    "an option as a command": (_BEADS + "command: --json", 3, ["the program alone"]),
    "a command as a list": (_BEADS + "command: [bd]", 3, ["is a list", "one value"]),
    "an empty path": (_BEADS + "path: ''", 3, ["is empty"]),
    # autoscaler
    "an unknown constant": (_AUTOSCALER + "window_second: 1", 3, ["'window_seconds'?"]),
    "a ratio over 1": (_AUTOSCALER + "memory_high_ratio: 90", 3, ["from 0 to 1"]),
    "dry_run in words": (_AUTOSCALER + "dry_run: maybe", 3, ["true or false"]),
}  # fmt: skip


@pytest.mark.pure
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_its_line_and_the_way_out(name: str) -> None:
    text, line, words = MISTAKES[name]
    found = problems(text)
    assert len(found) == 1, found
    assert found[0].startswith(f"hosts.yaml:{line}: "), found
    assert "; " in found[0], "no way out"
    assert len(found[0]) < 400
    assert found[0].isprintable()
    for word in words:
        assert word in found[0], found


@pytest.mark.pure
def test_all_mistakes_are_told_at_once_in_the_order_of_lines() -> None:
    text = """\
hosts:
  a: {url: http://a:1, slots: {start: 0}}
  b: {url: http://b:1, shares: c}
types:
  x: {run: [c], timeout: soon}
dispatcher: {listen: 1, max_strike: 3}
colour: red
"""
    lines = [int(problem.split(":")[1]) for problem in problems(text)]
    assert lines == [2, 3, 5, 5, 6, 6, 7]


@pytest.mark.pure
def test_a_file_of_nothing_but_mistakes_is_answered_soon() -> None:
    # 8000 unknown names held against 2000 known ones would take minutes.
    hosts = "".join(f"  host-{i}: {{url: http://h{i}:1}}\n" for i in range(1000))
    route = ", ".join(f"hast-{i}" for i in range(4000))
    found = problems(f"hosts:\n{hosts}types: {{general: {{run: [{route}]}}}}\n")
    assert len(found) == 4000
    assert found[0].endswith("did you mean 'host-0'?")
    assert found[-1].endswith("see the first problems")


@pytest.mark.pure
def test_one_anchor_twice_is_two_problems() -> None:
    found = problems(HOST + "types: &x {}\ndispatcher: &x {}\n")
    assert [problem.split(";")[0] for problem in found] == [
        "hosts.yaml:2: anchors (`&name`) are not read",
        "hosts.yaml:3: anchors (`&name`) are not read",
    ]


@pytest.mark.pure
def test_no_message_moves_a_cursor_or_forges_a_line() -> None:
    evil = "a\\e[31m\\nb\\u2028"
    text = f"""
hosts:
  "{evil}": {{url: http://a:1, "{evil}": 1, slots: {{min: 0}}}}
  b: {{url: http://a:1, shares: "{evil}c"}}
  c: {{url: http://a:1, api: "{evil}"}}
types:
  "{evil}": {{run: ["{evil}/", "{evil}x"], labels: [l], python: "{evil}"}}
  x: {{labels: [l], options: {{"{evil}": no}}}}
"""
    found = problems(text)
    assert len(found) == 12, found
    assert all(problem.isprintable() for problem in found), found


SECRET = "hunter2-s3cr3t"


@pytest.mark.pure
@pytest.mark.parametrize(
    "line",
    [
        f"key: {SECRET}",
        f"key: '{SECRET}'",
        f"key: env:{SECRET}",
        f"key: [{SECRET}]",
        f"key: {{{SECRET}: 1}}",
        f"key: *{SECRET}",
        f"key: &{SECRET} x",
        f"key: !{SECRET} x",
        f"key: !{SECRET}!x y",
        f"key: x: {SECRET}",
        f'key: "{SECRET}\\q"',
        f"key: '{SECRET}' {SECRET}",
        f"key: '{SECRET}",
        f"key {SECRET}",
        f"key: |{SECRET}",
        f"gpu: {{exporter: 'http://u:{SECRET}@h/'}}",
        f"gpu: {{exporter: 'http://{SECRET}:x@h:99999/'}}",
    ],
)
def test_no_message_holds_what_may_be_a_secret(line: str) -> None:
    text = _HOST + line + "\ndispatcher: {listen: 1}\n"
    assert SECRET not in "\n".join(problems(text))


@pytest.mark.pure
@pytest.mark.parametrize("key", ["token", "token_from"])
@pytest.mark.parametrize("form", ["{}", "'{}'", "[{}]", "{{{}: 1}}", "file:{}\\\x01", "env:{}-"])
def test_no_message_holds_a_token(key: str, form: str) -> None:
    line = f"dispatcher: {{{key}: {form.format(SECRET)}}}"
    assert SECRET not in "\n".join(problems(HOST + line))


@pytest.mark.pure
def test_no_message_holds_a_password_of_a_url() -> None:
    for url in (f"http://u:{SECRET}@h", f"u:{SECRET}@h", f"http://h:x{SECRET}/", f"h?k={SECRET}"):
        assert SECRET not in "\n".join(problems(f"hosts: {{a: {{url: '{url}'}}}}"))
    store = f"dispatcher: {{store: 'postgres://u:{SECRET}@h/d'}}"
    assert SECRET not in "\n".join(problems(HOST + store))


# -- reading the file ------------------------------------------------------------------------


def why_not(path: Path) -> str:
    with pytest.raises(HostsFileError) as caught:
        read_fleet(path)
    (problem,) = caught.value.problems
    return problem


def test_a_missing_file(tmp_path: Path) -> None:
    problem = why_not(tmp_path / "hosts.yaml")
    assert "no such file; `ygg init` writes one" in problem
    assert str(tmp_path) in problem


def test_a_folder_and_a_name_that_cant_be(tmp_path: Path) -> None:
    assert "is a folder; name the file in it" in why_not(tmp_path)
    assert "can't be read: its name can't be one" in why_not(Path("a\0b"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yaml"
    path.write_text(HOST)
    path.chmod(0)
    assert "Permission denied; see that the user" in why_not(path)


def test_a_file_below_a_file_cant_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "can't be read: Not a directory; " in why_not(tmp_path / "file" / "hosts.yaml")


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yaml"
    path.write_bytes(b"#" * ((1 << 20) + 1))
    assert ":1: larger than 1 MiB; " in why_not(path)


def test_a_file_that_is_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yaml"
    path.write_bytes(HOST.encode() + b"# gr\xfc\xdfe\n")
    assert why_not(path) == f"{path}:2: not UTF-8; save the file as UTF-8"
    path.write_text(HOST, "utf-16")
    assert ":1: not UTF-8; " in why_not(path)


def test_a_file_with_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "hosts.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + TWO.replace("\n", "\r\n").encode() + b"types: {}\r\n")
    assert list(read_fleet(path).hosts) == ["a", "b"]
