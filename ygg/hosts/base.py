"""What the dispatcher asks of a model server, whatever dialect it speaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NamedTuple, Protocol

from ygg.tasks import Json

Api = Literal["ollama", "openai"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How long each part of an answer may take, in seconds."""

    #: From sending the request to the first token: load, the server's own queue, the prompt.
    first_token: float = 600.0
    #: Between two tokens. Pings are not tokens.
    stall: float = 120.0
    #: The whole run.
    timeout: float = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    messages: Sequence[Message]
    model: str
    #: In Ollama's words (num_ctx, num_predict, temperature, think, format, seed, stop, ...).
    options: Mapping[str, Json] = field(default_factory=dict)
    #: How long the server keeps the model loaded after the answer; None: as the server likes.
    keep_alive: str | None = None
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    text: str
    #: Reasoning text, apart from the answer.
    thinking: str = ""
    #: `length`: the answer was cut at a token limit.
    finish: Literal["stop", "length"] = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    #: From sending the request to its end.
    seconds: float = 0.0
    #: Spent queued inside the server; None where the server doesn't say.
    server_wait_seconds: float | None = None


class Loaded(NamedTuple):
    """A model in a server's memory, by the server's own estimate."""

    model: str
    memory_bytes: int
    #: The part on GPUs; less than `memory_bytes` means that the rest runs slowly on the CPU.
    gpu_memory_bytes: int


class Product(StrEnum):
    """The program behind an API, in words for people."""

    OLLAMA = "Ollama"
    LLAMA_CPP = "llama.cpp"
    VLLM = "vLLM"
    SGLANG = "SGLang"
    OTHER = "an OpenAI-compatible server"


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """What a server says of itself."""

    api: Api
    product: Product
    #: In its own words; empty where it does not say.
    version: str = ""
    #: How many requests it runs at once; None where it does not say.
    slots: int | None = None

    def __str__(self) -> str:
        return f"{self.product} {self.version}".strip()

    @property
    def preallocates(self) -> bool:
        """Whether it takes the GPU's memory whole at its start: how full that is says nothing."""
        return self.product in (Product.VLLM, Product.SGLANG)


class Progress(Protocol):
    """Hears of tokens while an answer streams."""

    def tokens(self, *, prompt: int = 0, completion: int = 0) -> None:
        """So many more tokens than at the last call."""


class ModelServer(Protocol):
    """One model server. `generate` raises `Failure` for all that the table in faults.py knows."""

    async def generate(self, request: Request, progress: Progress) -> Answer: ...

    async def probe(self) -> None:
        """Ask the health path: no model is loaded, no token spent. Raises Failure if unwell."""

    async def models(self) -> Sequence[str]:
        """The models the server says it has. Raises Failure."""

    async def has_model(self, model: str) -> bool:
        """Whether a request for `model` would be taken; spends no token. Raises Failure."""

    async def parallelism(self) -> int | None:
        """How many requests the server runs at once; None where it doesn't say. Raises Failure."""

    async def loaded(self) -> Sequence[Loaded]:
        """What is in the server's memory; empty where it doesn't say. Raises Failure."""
