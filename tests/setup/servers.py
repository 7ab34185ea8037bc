"""Servers as `ygg init` learns of them, for its tests: well-known ones, and any at all."""

from __future__ import annotations

from hypothesis import strategies as st

from ygg.exporters import Card
from ygg.hosts.base import Api, Identity, Product
from ygg.setup.proposal import Model, Server, Wish

OLLAMA = Identity(api="ollama", product=Product.OLLAMA, version="0.13.5")


def ollama(url: str, *models: str, loaded: str = "", **more: object) -> Server:
    return Server(
        url=url,
        identity=OLLAMA,
        models=[Model(name, name == loaded) for name in models],
        **more,  # type: ignore[arg-type]  # a test's own keywords
    )


def llama_cpp(url: str, model: str, slots: int) -> Server:
    identity = Identity(api="openai", product=Product.LLAMA_CPP, version="b6", slots=slots)
    return Server(url=url, identity=identity, models=[Model(model)])


def vllm(url: str, model: str) -> Server:
    identity = Identity(api="openai", product=Product.VLLM, version="0.33.0")
    return Server(url=url, identity=identity, models=[Model(model)])


#: What servers may call things: anything that JSON can carry, and what YAML reads as other things.
NAMES = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["qwen2.5:7b", "deepseek-r1:8b", "qwen2.5-coder:3b", "nomic-embed-text", "org/model",
         "on", "no", "null", "~", "1e3", "0x1F", "1:30", "2026-01-01", "a: b", "a #b", "- a",
         "{a}", "[a]", "*a", "&a", "!a", "%a", "@a", "`a`", "'", '"', "'a'", "a,b", " a", "a ",
         "a\nb", "\ufeff", "\x00", "\u2028", "x" * 300, "/models/a.gguf", "a:", ":a", "a::b"]
    ),
)  # fmt: skip
_RATIOS = st.none() | st.floats(0, 1)
CARDS = st.builds(
    Card, label=st.text(max_size=10), utilization_ratio=_RATIOS, memory_used_ratio=_RATIOS,
    memory_total_bytes=st.none() | st.floats(1, 1e12),
)  # fmt: skip
IDENTITIES = st.builds(
    Identity, api=st.sampled_from([Api.__args__[0], Api.__args__[1]]),  # type: ignore[attr-defined]
    product=st.sampled_from(Product), version=st.text(max_size=10),
    slots=st.none() | st.integers(1, 64),
)  # fmt: skip
_HOSTS = st.sampled_from(["fenrir", "surtr", "10.0.0.7", "[fd00::7]", "a-b.local", "localhost"])
URLS = st.builds("http://{}:{}".format, _HOSTS, st.integers(1, 79) | st.integers(81, 65535))
SERVERS = st.lists(
    st.builds(
        Server, url=URLS, identity=st.none() | IDENTITIES,
        models=st.lists(st.builds(Model, NAMES, st.booleans()), max_size=4),
        needs_key=st.booleans(), exporter=st.none() | st.just("http://fenrir:9400/metrics"),
        exporter_is_usual=st.booleans(), cards=st.lists(CARDS, max_size=2),
    ),
    min_size=1, max_size=4, unique_by=lambda server: server.url,
)  # fmt: skip
_TYPES = st.sampled_from(["code-generation", "reasoning", "general", "ocr", "10", "on"])
WISHES = st.builds(
    Wish, model=st.none() | st.sampled_from(["mine", "org/mine:7b"]),
    types=st.none() | st.lists(_TYPES, max_size=3, unique=True).map(tuple),
    slots=st.none() | st.integers(1, 9), key=st.sampled_from([None, "env:K", "file:/a b/k"]),
)  # fmt: skip
