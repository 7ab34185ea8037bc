"""A model server that answers at once: Ollama's dialect, fixed bytes, no model.

Run as `python -m bench.instant_server PORTS`; prints the ports it listens on, ends on SIGTERM or
when standard input closes.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

_ANSWER = (
    b'{"model":"m","created_at":"2026-11-20T10:15:24Z","message":{"role":"assistant",'
    b'"content":"Yes."},"done":false}\n'
    b'{"model":"m","created_at":"2026-11-20T10:15:24Z","message":{"role":"assistant",'
    b'"content":""},"done":true,"done_reason":"stop","total_duration":1000,"load_duration":1,'
    b'"prompt_eval_count":5,"prompt_eval_duration":1,"eval_count":1,"eval_duration":1}\n'
)
_CHAT = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
    b"Content-Length: %d\r\n\r\n" % len(_ANSWER)
) + _ANSWER


def _json(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


_ANSWERS = {
    b"/api/version": _json(b'{"version":"0.13.5"}'),
    b"/api/tags": _json(b'{"models":[{"name":"m:latest","model":"m:latest"}]}'),
    b"/api/ps": _json(b'{"models":[]}'),
}
_MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class Instant(asyncio.Protocol):
    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            length = 0
            for line in head.split(b"\r\n")[1:]:
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            path = head.split(b" ", 2)[1]
            answer = _CHAT if path == b"/api/chat" else _ANSWERS.get(path, _MISSING)
            self._transport.write(answer)


async def main(count: int) -> None:
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(Instant, "127.0.0.1", 0) for _ in range(count)]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
