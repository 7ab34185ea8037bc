"""Which dialect a server speaks, and the ModelServer that fits it."""

from __future__ import annotations

from typing import assert_never

import aiohttp

from ygg.faults import Cause
from ygg.fleet import HostSettings
from ygg.hosts.base import Api, ModelServer
from ygg.hosts.http import Client
from ygg.hosts.ollama import VERSION, OllamaServer
from ygg.hosts.openai import MODELS, SERVER_INFO, OpenAIServer


async def detect_api(
    session: aiohttp.ClientSession, url: str, *, api_key: str | None = None
) -> Api:
    """Ask a server which dialect it speaks. Raises Failure: it may be down, or speak neither.

    Bodies decide, not statuses: LM Studio answers any path with 200. SGLang is asked for first,
    for it also plays Ollama; Ollama before OpenAI's paths, for it has them too.
    """
    client = Client(session, url, api_key=api_key)
    if await client.get_if_there("/server_info", SERVER_INFO) is not None:
        return "openai"
    if await client.get_if_there("/api/version", VERSION) is not None:
        return "ollama"
    if await client.get_if_there("/v1/models", MODELS) is not None:
        return "openai"
    what = "speaks neither Ollama's API nor OpenAI's (/api/version and /v1/models say nothing)"
    raise client.where().failure(Cause.MALFORMED, what, taken=False)


async def make_server(
    host: HostSettings, session: aiohttp.ClientSession, *, api_key: str | None = None
) -> ModelServer:
    """The server of a host of hosts.yaml; asks it for its API if the file doesn't say.

    Raises Failure only when it asks.
    """
    api: Api = host.api or await detect_api(session, host.url, api_key=api_key)
    match api:
        case "ollama":
            return OllamaServer(session, host.url, api_key=api_key)
        case "openai":
            return OpenAIServer(session, host.url, api_key=api_key)
        case _:
            assert_never(api)
