"""Which program serves models at a URL, in which version, and how much it says to run at once.

Spends no token and loads no model. Which dialect it speaks is detect.py's.
"""

from __future__ import annotations

from typing import Final

import aiohttp
import msgspec

from ygg.faults import Cause, Failure
from ygg.hosts.base import Api, Identity, Product
from ygg.hosts.detect import detect_api
from ygg.hosts.http import Client
from ygg.hosts.ollama import VERSION

#: What a version may look like: others are left out, whoever answers.
_VERSION_CHARACTERS: Final = 40


class _ServerInfo(msgspec.Struct):
    """SGLang's, as far as it matters."""

    model_path: str
    version: str | None = None
    max_running_requests: int | None = None


class _Props(msgspec.Struct):
    """llama.cpp's. A router of several models has a role, and no slots of its own."""

    total_slots: int | None = None
    role: str | None = None
    build_info: str | None = None


_SERVER_INFO: Final = msgspec.json.Decoder(_ServerInfo)
_PROPS: Final = msgspec.json.Decoder(_Props)


async def identify(
    session: aiohttp.ClientSession, url: str, *, api: Api | None = None, api_key: str | None = None
) -> Identity:
    """Ask a server what it is. `api`: what hosts.yaml says it speaks. Raises Failure."""
    client = Client(session, url, api_key=api_key)
    match api or await detect_api(session, url, api_key=api_key):
        case "ollama":
            said = await client.get("/api/version", VERSION)
            return Identity(api="ollama", product=Product.OLLAMA, version=_version(said.version))
        case "openai":
            return await _openai(client)


async def _openai(client: Client) -> Identity:
    info = await client.get_if_there("/server_info", _SERVER_INFO)
    if info is not None:
        return Identity(
            api="openai",
            product=Product.SGLANG,
            version=_version(info.version),
            slots=info.max_running_requests or None,
        )
    props = await client.get_if_there("/props", _PROPS)
    if props is not None and (props.total_slots is not None or props.role is not None):
        slots = None if props.role == "router" or not props.total_slots else props.total_slots
        version = _version(props.build_info)
        return Identity(api="openai", product=Product.LLAMA_CPP, version=version, slots=slots)
    if await _has_metrics(client, b"vllm:"):
        said = await client.get_if_there("/version", VERSION)
        version = "" if said is None else _version(said.version)
        return Identity(api="openai", product=Product.VLLM, version=version)
    return Identity(api="openai", product=Product.OTHER)


async def _has_metrics(client: Client, prefix: bytes) -> bool:
    """Whether its own metrics page has names that begin so. They name the engine without doubt."""
    try:
        page = await client.fetch("/metrics")
    except Failure as failure:
        if failure.cause in (Cause.NO_MODEL, Cause.UNSUPPORTED, Cause.BAD_REQUEST,
                             Cause.SERVER_ERROR, Cause.MALFORMED, Cause.UNAUTHORISED):  # fmt: skip
            return False  # it has no such page, or not for us
        raise
    return any(line.startswith(prefix) for line in page.splitlines())


def _version(said: str | None) -> str:
    fits = said is not None and said.isprintable() and len(said) <= _VERSION_CHARACTERS
    return said.strip() if said is not None and fits else ""
