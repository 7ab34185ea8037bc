"""Asks servers what they are and what they have, all at once; spends no token.

What comes of the answers is proposal.py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from ygg import exporters
from ygg.faults import Cause, Failure
from ygg.fleet import HostSettings
from ygg.hosts.blame import apart
from ygg.hosts.detect import make_server
from ygg.hosts.http import Client, open_session
from ygg.hosts.identity import identify
from ygg.setup.proposal import Model, Server

#: For all questions to one server together.
_SERVER_SECONDS: Final = 20.0
#: An exporter answers at once or is not there.
_EXPORTER_SECONDS: Final = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    url: str
    #: The key itself, for this process's eyes only.
    api_key: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Silent:
    """A server that did not answer, or not as one."""

    url: str
    why: str
    #: Nobody listens there at all.
    is_absent: bool


async def ask_all(questions: Sequence[Question]) -> list[Server | Silent]:
    """What each says, in the order of the questions; never raises Failure."""
    async with open_session() as session:
        return list(await asyncio.gather(*(_ask(session, question) for question in questions)))


async def _ask(session: aiohttp.ClientSession, question: Question) -> Server | Silent:
    url = question.url
    try:
        async with asyncio.timeout(_SERVER_SECONDS):
            found = await _ask_server(session, question)
    except TimeoutError:
        why = f"{url}: did not answer all questions within {_SERVER_SECONDS:g} s"
        return Silent(url=url, why=why, is_absent=False)
    except Failure as failure:
        # What to do about it is told once for all of them.
        return Silent(url=url, why=apart(failure)[0], is_absent=failure.cause is Cause.REFUSED)
    exporter = await find_exporter(session, url)
    return found if exporter is None else _with(found, *exporter)


async def _ask_server(session: aiohttp.ClientSession, question: Question) -> Server:
    """Raises Failure."""
    url, key = question.url, question.api_key
    try:
        identity = await identify(session, url, api_key=key)
        host = HostSettings(name=url, url=url, api=identity.api)
        server = await make_server(host, session, api_key=key)
        names = await server.models()
        loaded = {one.model for one in await server.loaded()}
    except Failure as failure:
        if failure.cause is Cause.UNAUTHORISED and key is None:
            return Server(url=url, needs_key=True)
        raise
    models = [Model(name, name in loaded) for name in names]
    return Server(url=url, identity=identity, models=models, needs_key=key is not None)


def _with(server: Server, url: str, page: exporters.Page) -> Server:
    usual = urlsplit(url).port == exporters.USUAL_PORTS[0]
    return replace(server, exporter=url, exporter_is_usual=usual, cards=page.cards)


async def find_exporter(
    session: aiohttp.ClientSession, server: str
) -> tuple[str, exporters.Page] | None:
    """The GPU exporter on a server's machine and its page, by what it says and not by its port."""
    machine = urlsplit(server).hostname or ""
    name = f"[{machine}]" if ":" in machine else machine
    urls = [f"http://{name}:{port}" for port in exporters.USUAL_PORTS]
    pages = await asyncio.gather(*(_exporter_page(session, url) for url in urls))
    for url, page in zip(urls, pages, strict=True):
        if page is not None:
            return f"{url}/metrics", page
    return None


async def _exporter_page(session: aiohttp.ClientSession, url: str) -> exporters.Page | None:
    try:
        async with asyncio.timeout(_EXPORTER_SECONDS):
            body = await Client(session, url).fetch("/metrics")
    except (Failure, TimeoutError):
        return None  # most machines have none of them: it was only a try
    page = exporters.read_page(body.decode(errors="replace"))
    return page if page.dialect is not None and page.cards else None
