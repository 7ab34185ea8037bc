"""What names suggest: types of models, names of hosts and of variables."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ygg import secrets
from ygg.setup.guessing import host_name, key_variable, kind_of, parameters_of
from ygg.typesfile import NAME

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("qwen2.5-coder:3b", "code-generation"),
        ("codellama:7b-instruct", "code-generation"),
        ("deepseek-coder-v2:16b", "code-generation"),
        ("starcoder2", "code-generation"),
        ("codestral:22b", "code-generation"),
        ("Qwen/Qwen3-Coder-30B-A3B-Instruct", "code-generation"),
        ("deepseek-r1:8b", "reasoning"),
        ("DeepSeek-R1-Distill-Qwen-32B", "reasoning"),
        ("qwq:32b", "reasoning"),
        ("phi4-mini-reasoning:3.8b", "reasoning"),
        ("qwen3:30b-thinking", "reasoning"),
        ("deepseek-r1-coder", "code-generation"),
        ("qwen2.5:7b", "text-processing"),
        ("qwen2.5:7b-instruct-q4_K_M", "text-processing"),
        ("smollm2-135m", "text-processing"),
        ("phi3:mini", "text-processing"),
        ("gemma3:1b-it", "text-processing"),
        ("llama3.3:70b", "general"),
        ("mistral-small:24b", "general"),
        ("mixtral:8x7b", "general"),
        ("mistral", "general"),
        ("encoder-free-llm:70b", "general"),
        ("nomic-embed-text:latest", None),
        ("mxbai-embed-large", None),
        ("bge-m3:567m", None),
        ("all-minilm:33m", None),
        ("BAAI/bge-reranker-v2-m3", None),
        ("whisper-large-v3", None),
        ("dr1ver:70b", "general"),
    ],
)
def test_a_models_name_suggests_its_type(model: str, kind: str | None) -> None:
    assert kind_of(model) == kind


@pytest.mark.parametrize(
    ("model", "parameters"),
    [("qwen2.5:7b", 7e9), ("qwen2.5:0.5b", 0.5e9), ("smollm2-135m", 135e6), ("x:8x7b", 56e9),
     ("mistral", None), ("q4_k_m", None), ("bge-m3", None), ("Qwen3-30B-A3B", 30e9)],
)  # fmt: skip
def test_parameters_are_read_out_of_a_name(model: str, parameters: float | None) -> None:
    assert parameters_of(model) == parameters


@pytest.mark.parametrize(
    ("url", "kind", "taken", "name"),
    [
        ("http://fenrir:11434", "text-processing", (), "fenrir-chat"),
        ("http://fenrir:11434", "general", (), "fenrir-chat"),
        ("http://skadi.local:11434", "code-generation", (), "skadi-code"),
        ("http://surtr:8080", "reasoning", ("surtr-reasoning",), "surtr-reasoning-2"),
        ("http://127.0.0.1:11434", None, (), "local"),
        ("http://localhost:8080", "general", ("local-chat", "local-chat-2"), "local-chat-3"),
        ("http://10.0.0.7:8000", "general", (), "10.0.0.7-chat"),
        ("http://[fd00::7]:8000", "general", (), "fd00-7-chat"),
    ],
)
def test_a_host_is_named_after_its_machine_and_its_role(
    url: str, kind: str | None, taken: tuple[str, ...], name: str
) -> None:
    assert host_name(url, kind, taken) == name


@given(
    st.from_regex(r"http://[a-z0-9_.-]{1,300}(:[0-9]{1,5})?", fullmatch=True),
    st.sampled_from(["general", "reasoning", "code-generation", "ocr", None]),
    st.sets(st.sampled_from(["local", "a-chat", "a-chat-2", "host"])),
)
def test_every_name_is_one_that_hosts_yaml_takes_and_nobody_has(
    url: str, kind: str | None, taken: set[str]
) -> None:
    name = host_name(url, kind, taken)
    assert re.fullmatch(NAME, name)
    assert name not in taken


@given(st.from_regex(NAME, fullmatch=True))
def test_every_host_has_a_variable_for_its_key(name: str) -> None:
    assert secrets.is_reference(f"env:{key_variable(name)}")


def test_the_variable_is_the_name_in_capitals() -> None:
    assert key_variable("fenrir-chat") == "FENRIR_CHAT_KEY"
    assert key_variable("10.0.0.7") == "HOST_10_0_0_7_KEY"
