"""Simulated model servers on loopback: they write so many tokens a second, and say nothing.

The dialect, the slots and the streaming are a llama.cpp server's; there is no model behind it. A
request takes its `max_tokens` at the stated speed, however many run beside it: a real card slows
down when it is shared, which these do not show.

    python -m ygg.compare.servers --tokens-per-second 40 surtr-reasoning=2 fenrir-chat=3
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Final

from aiohttp import web

MODEL: Final = "simulated"


class Simulated:
    """One server with so many slots; what is beyond them waits here, first come, first served."""

    def __init__(self, slots: int, tokens_per_second: float) -> None:
        self._slots = slots
        self._free = asyncio.Semaphore(slots)
        self._pause = 1 / tokens_per_second

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/health", self._health),
                web.get("/props", self._props),
                web.get("/v1/models", self._models),
                web.post("/v1/chat/completions", self._chat),
            ]
        )
        return app

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _props(self, _: web.Request) -> web.Response:
        return web.json_response({"total_slots": self._slots})

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": MODEL}]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        tokens = int((await request.json())["max_tokens"])
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        try:
            async with self._free:
                await self._write(answer, tokens)
        except ConnectionResetError:
            pass  # whoever asked hung up: the slot is free again
        return answer

    async def _write(self, answer: web.StreamResponse, tokens: int) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        for number in range(1, tokens + 1):
            # By the clock, not by pauses: what one is late, the next makes up for.
            await asyncio.sleep(began + number * self._pause - clock())
            await answer.write(_event({"choices": [{"delta": {"content": "word "}}]}))
        usage = {"prompt_tokens": 10, "completion_tokens": tokens}
        end = {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": usage}
        await answer.write(_event(end) + b"data: [DONE]\n\n")


def _event(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


async def serve(hosts: Mapping[str, int], tokens_per_second: float) -> None:
    """Serve all of them until the process is ended; a line with the address of each."""
    for name, slots in hosts.items():
        runner = web.AppRunner(Simulated(slots, tokens_per_second).app(), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        _, port = runner.addresses[0][:2]
        sys.stdout.write(f"listening {name} http://127.0.0.1:{port}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def _host(text: str) -> tuple[str, int]:
    name, _, slots = text.partition("=")
    return name, int(slots)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ygg.compare.servers", description=__doc__)
    parser.add_argument("--tokens-per-second", type=float, required=True)
    parser.add_argument("hosts", nargs="+", type=_host, metavar="NAME=SLOTS")
    args = parser.parse_args()
    asyncio.run(serve(dict(args.hosts), args.tokens_per_second))


if __name__ == "__main__":
    main()
