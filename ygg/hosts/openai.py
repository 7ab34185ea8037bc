"""The OpenAI dialect: /v1/chat/completions as server-sent events.

llama.cpp, vLLM, SGLang and LM Studio, each with its own idea of errors and reasoning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import aiohttp
import msgspec

from ygg.faults import Cause, Failure
from ygg.hosts.base import Answer, Loaded, Progress, Request
from ygg.hosts.chat import Dialect, chat
from ygg.hosts.http import Client
from ygg.hosts.ollama import has_name
from ygg.hosts.reply import Reply
from ygg.tasks import Json

#: Options that are Ollama's alone: how a model is loaded. These servers fix that at their start.
_OLLAMA_ONLY: Final = frozenset(
    {"keep_alive", "num_batch", "num_ctx", "num_gpu", "num_thread", "shift", "truncate"}
)
#: Lines that carry nothing. One that begins with a colon is a comment: servers send them as
#: pings, which say that the connection lives and not that the work goes on.
_NOTHING: Final = (b":", b"event:", b"id:", b"retry:")


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct, gc=False):
    # Not checked here: what is no number costs no answer.
    prompt_tokens: object = None
    completion_tokens: object = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: object = None


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


class _Props(msgspec.Struct):
    """llama.cpp's /props. In router mode it has a role, and no slots of its own."""

    total_slots: int | None = None
    role: str | None = None


class _ServerInfo(msgspec.Struct):
    """SGLang's /server_info. LM Studio answers any path with 200 and an error."""

    model_path: str


_CHUNK: Final = msgspec.json.Decoder(_Chunk)
_ANYTHING: Final = msgspec.json.Decoder()
MODELS: Final = msgspec.json.Decoder(_Models)
_PROPS: Final = msgspec.json.Decoder(_Props)
SERVER_INFO: Final = msgspec.json.Decoder(_ServerInfo)


def read_line(line: bytes, reply: Reply) -> None:
    """Take in one line of an answer. Raises Failure.

    Every server sends an event in one `data:` line, so events need no putting together.
    """
    if line.startswith(b"data:"):
        line = line[5:].strip()
        if line == b"[DONE]":
            reply.ended = True
            return
    elif line.startswith(_NOTHING):
        return
    try:
        chunk = _CHUNK.decode(line)
        # SGLang's errors have their message at the top: an object without choices is looked over.
        whole = _ANYTHING.decode(line) if chunk.choices is None else None
    except (ValueError, RecursionError) as error:
        raise reply.malformed(line, error) from None
    if chunk.error is not None:
        reply.fail_with(chunk.error)
    if isinstance(whole, dict) and whole.get("object") == "error":
        reply.fail_with(whole)
    if chunk.choices is None and chunk.usage is None:
        raise reply.malformed(line, "neither choices nor usage")
    for choice in chunk.choices or ():
        if (delta := choice.delta) is not None:
            # vLLM has sent the same text under both names: one of them is enough.
            reply.add(delta.content, delta.reasoning_content or delta.reasoning)
            if delta.refusal:
                said = reply.where.quote(delta.refusal)
                raise reply.failure(Cause.REFUSED_ANSWER, f"the model declined: {said}")
        if choice.finish_reason:
            reply.finish = choice.finish_reason
    if (usage := chunk.usage) is not None:
        # Totals: where every chunk has them, the last one counts.
        reply.count(usage.prompt_tokens, usage.completion_tokens)


def chat_body(request: Request) -> bytes:
    """The request in OpenAI's words.

    `num_predict` becomes max_tokens (a negative one means no limit), `format` response_format.
    `think` is for the model's template: true and false as enable_thinking, as llama.cpp, vLLM
    and SGLang pass it on; "low", "medium", "high" also as reasoning_effort. `num_ctx` and what
    else only matters when a model is loaded is not sent. Names that are not known here go as
    they are. Nothing in the options can change model, messages or streaming.
    """
    body: dict[str, object] = {}
    template: dict[str, Json] = {}
    for name, value in request.options.items():
        if name in _OLLAMA_ONLY or value is None:
            continue
        match name, value:
            case "num_predict", int():
                if value >= 0:
                    body["max_tokens"] = value
            case "format", "json":
                body["response_format"] = {"type": "json_object"}
            case "format", Mapping():
                schema = {"name": "answer", "schema": value, "strict": True}
                body["response_format"] = {"type": "json_schema", "json_schema": schema}
            case "think", bool():
                template["enable_thinking"] = value
            case "think", str():
                body["reasoning_effort"] = template["reasoning_effort"] = value
            case "chat_template_kwargs", Mapping():
                template.update(value)
            case _:
                body[name] = value
    if template:
        body["chat_template_kwargs"] = template
    if request.model:
        body["model"] = request.model
    body["messages"] = request.messages
    body["stream"] = True
    body["stream_options"] = {"include_usage": True}
    return msgspec.json.encode(body)


_DIALECT: Final = Dialect(path="/v1/chat/completions", write=chat_body, read=read_line)
_NO_HEALTH_PATH: Final = frozenset({Cause.NO_MODEL, Cause.UNSUPPORTED, Cause.BAD_REQUEST})


class OpenAIServer:
    """A ModelServer that speaks the OpenAI dialect."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, *, api_key: str | None = None
    ) -> None:
        self._client = Client(session, url, api_key=api_key)
        #: Found at the first probe; forgotten when one fails, for what listens there may change.
        self._health_path: str | None = None

    async def generate(self, request: Request, progress: Progress) -> Answer:
        return await chat(self._client, _DIALECT, request, progress)

    async def probe(self) -> None:
        path, self._health_path = self._health_path, None
        if path is None:
            path = await self._find_health_path()
        await self._client.fetch(path)
        self._health_path = path

    async def _find_health_path(self) -> str:
        """The health path, unless there is none, or asking it costs a token (SGLang)."""
        if await self._client.get_if_there("/server_info", SERVER_INFO) is not None:
            return "/v1/models"
        try:
            await self._client.fetch("/health")
        except Failure as failure:
            if failure.cause in _NO_HEALTH_PATH:
                return "/v1/models"
            raise
        return "/health"

    async def models(self) -> Sequence[str]:
        return [model.id for model in (await self._client.get("/v1/models", MODELS)).data]

    async def has_model(self, model: str) -> bool:
        """Asks /props too: llama.cpp with one model takes any name, and only there wants its key."""
        models = await self.models()
        takes_any_name = await self._slots() is not None
        return takes_any_name or has_name(models, model)

    async def parallelism(self) -> int | None:
        return await self._slots()

    async def _slots(self) -> int | None:
        """Slots of a llama.cpp server with one model; a router of several has none itself."""
        props = await self._client.get_if_there("/props", _PROPS)
        if props is None or props.role == "router" or not props.total_slots:
            return None
        return max(1, props.total_slots)

    async def loaded(self) -> Sequence[Loaded]:
        return []
