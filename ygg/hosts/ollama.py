"""Ollama's native dialect: /api/chat, one JSON object a line.

The native API rather than Ollama's OpenAI surface, because only here it says how long a request
waited inside it, and takes num_ctx and keep_alive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import aiohttp
import msgspec

from ygg.hosts.base import Answer, Loaded, Progress, Request
from ygg.hosts.chat import Dialect, chat
from ygg.hosts.http import Client
from ygg.hosts.reply import Reply
from ygg.tasks import Json

#: Options that Ollama takes beside `options`, not in it.
_BESIDE: Final = ("format", "keep_alive", "shift", "think", "truncate")


class _Message(msgspec.Struct, gc=False):
    content: str | None = None
    thinking: str | None = None


class _Line(msgspec.Struct, gc=False):
    message: _Message | None = None
    done: bool = False
    done_reason: str | None = None
    # Nanoseconds. A zero is left out. Not checked here: what is none of them costs no answer.
    total_duration: object = 0
    load_duration: object = 0
    prompt_eval_duration: object = 0
    eval_duration: object = 0
    prompt_eval_count: object = 0
    eval_count: object = 0
    error: object = None


class _Version(msgspec.Struct):
    version: str


class _Tag(msgspec.Struct):
    name: str


class _Tags(msgspec.Struct):
    models: list[_Tag]


class _Running(msgspec.Struct):
    name: str
    size: int = 0
    size_vram: int = 0


class _RunningList(msgspec.Struct):
    models: list[_Running]


_LINE: Final = msgspec.json.Decoder(_Line)
VERSION: Final = msgspec.json.Decoder(_Version)
_TAGS: Final = msgspec.json.Decoder(_Tags)
_RUNNING: Final = msgspec.json.Decoder(_RunningList)


def read_line(line: bytes, reply: Reply) -> None:
    """Take in one line of an answer. Raises Failure."""
    try:
        said = _LINE.decode(line)
    except (ValueError, RecursionError) as error:
        raise reply.malformed(line, error) from None
    if said.error is not None:
        reply.fail_with(said.error)
    if (message := said.message) is not None:
        reply.add(message.content, message.thinking)
    elif not said.done:
        raise reply.malformed(line, "neither a message nor an end")
    if said.done:
        reply.finish = said.done_reason or "stop"
        reply.ended = True
        reply.count(said.prompt_eval_count, said.eval_count)
        # What is left of its time is the wait on its semaphore, which no path of it shows.
        reply.wait(
            said.total_duration, said.load_duration, said.prompt_eval_duration, said.eval_duration
        )


def chat_body(request: Request) -> bytes:
    """The request in Ollama's words. A prompt is never cut silently: `truncate` is false."""
    body: dict[str, object] = {
        "model": request.model,
        "messages": request.messages,
        "stream": True,
        "truncate": False,
    }
    if request.keep_alive is not None:
        body["keep_alive"] = request.keep_alive
    options: dict[str, Json] = {}
    for name, value in request.options.items():
        (body if name in _BESIDE else options)[name] = value
    if isinstance(keep := body.get("keep_alive"), str) and keep.removeprefix("-").isdecimal():
        body["keep_alive"] = int(keep)  # a number in quotes it takes for a duration without a unit
    if options:
        body["options"] = options
    return msgspec.json.encode(body)


def has_name(names: Sequence[str], model: str) -> bool:
    """Whether a model is in the list: a name without a tag means `:latest`."""
    tagged = ":" in model.rpartition("/")[2]
    return model in names or (not tagged and f"{model}:latest" in names)


_DIALECT: Final = Dialect(path="/api/chat", write=chat_body, read=read_line)


class OllamaServer:
    """A ModelServer that speaks Ollama's native API."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, *, api_key: str | None = None
    ) -> None:
        self._client = Client(session, url, api_key=api_key)

    async def generate(self, request: Request, progress: Progress) -> Answer:
        return await chat(self._client, _DIALECT, request, progress)

    async def probe(self) -> None:
        await self._client.get("/api/version", VERSION)

    async def models(self) -> Sequence[str]:
        return [tag.name for tag in (await self._client.get("/api/tags", _TAGS)).models]

    async def has_model(self, model: str) -> bool:
        return has_name(await self.models(), model)

    async def parallelism(self) -> int | None:
        """None: OLLAMA_NUM_PARALLEL can't be read over HTTP. It is 1 unless somebody set it."""
        return None

    async def loaded(self) -> Sequence[Loaded]:
        running = await self._client.get("/api/ps", _RUNNING)
        return [Loaded(model.name, model.size, model.size_vram) for model in running.models]
