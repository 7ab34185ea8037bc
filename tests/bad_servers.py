"""Model servers for tests: well-behaved fakes of both dialects, and every way to be bad.

Raw sockets, for a library's server could not misbehave like this. The good answers are written
against what was recorded of the real ones in November 2026: Ollama by its source (August 2026),
llama.cpp by its answers on the wire (October 2026), vLLM 0.33 and SGLang 0.5 by their source,
LM Studio by its documentation. Nothing here proves what a server really does: tests with a real
one are in tests/system.

    async with FakeServer("ollama", models=["m:latest"]) as server:
        server.hold()                       # answers wait ...
        server.fail_next(status(500))       # ... but this one: the next request gets a 500
        ...                                 # talk to server.url
        await server.until(lambda: server.running == 2)
        server.let(1)                       # ... until they are let go, one here
        assert [r.prompt for r in server.requests] == ["first", "second", "third"]
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import struct
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

Api = Literal["ollama", "openai"]

CHAT = {"ollama": "/api/chat", "openai": "/v1/chat/completions"}


@dataclass(frozen=True)
class Received:
    """A request, as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def prompt(self) -> str:
        """What the last message says."""
        said: str = self.json["messages"][-1]["content"]
        return said


@dataclass
class Peer:
    """The other end of a connection, with a request of it to answer, well or badly."""

    api: Api
    received: Received
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    #: Whether the connection may carry another request after this answer.
    keep: bool = False

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, status: int = 200, length: int | None = None, **headers: str) -> None:
        """The head of an answer: one that streams unless its length is given.

        Keyword `Retry_After` is header Retry-After.
        """
        kind = "application/x-ndjson" if self.api == "ollama" else "text/event-stream"
        lines = {"Content-Type": kind}
        if length is None:
            lines["Transfer-Encoding"] = "chunked"
        else:
            lines["Content-Length"] = str(length)
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        text = f"HTTP/1.1 {status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
        await self.send(text.encode() + b"\r\n")

    async def piece(self, data: bytes) -> None:
        """A piece of a streamed body."""
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        """The end of a streamed body, in good form."""
        await self.send(b"0\r\n\r\n")
        self.keep = True

    async def whole(self, status: int, body: bytes, **headers: str) -> None:
        """An answer in one go."""
        await self.head(status, len(body), **headers)
        await self.send(body)
        self.keep = True

    async def tokens(self, *texts: str) -> None:
        for text in texts:
            await self.piece(token(self.api, text))

    async def gone(self) -> None:
        """Wait until the client goes away."""
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass

    def reset(self) -> None:
        """Close with a RST, as a process that died with unread data does."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Fault = Callable[[Peer], Awaitable[None]]

_BOMB = zlib.compress(b"\n" * 2**24, wbits=31)

# -- what the two dialects look like ---------------------------------------------------------------


def line(api: Api, value: object) -> bytes:
    """An object as a line of a stream."""
    text = json.dumps(value, ensure_ascii=False).encode()
    return text + b"\n" if api == "ollama" else b"data: " + text + b"\n\n"


def token(api: Api, text: str, thinking: str = "") -> bytes:
    if api == "ollama":
        message = {"role": "assistant", "content": text} | (
            {"thinking": thinking} if thinking else {}
        )
        return line(api, {"model": "m", "created_at": "x", "message": message, "done": False})
    delta = {"reasoning_content": thinking} if thinking else {"content": text}
    return line(api, chunk([{"finish_reason": None, "index": 0, "delta": delta}]))


def chunk(choices: Sequence[object], **more: object) -> dict[str, object]:
    return {
        "choices": choices, "created": 1795476188, "id": "chatcmpl-cy5L", "model": "m",
        "system_fingerprint": "b0-unknown", "object": "chat.completion.chunk", **more,
    }  # fmt: skip


def hello(api: Api) -> bytes:
    """What llama.cpp says before the first token: a role, and null for content."""
    if api == "ollama":
        return b""
    delta = {"role": "assistant", "content": None}
    return line(api, chunk([{"finish_reason": None, "index": 0, "delta": delta}]))


def final(api: Api, *, finish: str = "stop", prompt: int = 26, completion: int = 2) -> bytes:
    """The end of an answer, with the server's counts."""
    if api == "ollama":
        return line(api, {
            "model": "m", "created_at": "x", "message": {"role": "assistant", "content": ""},
            "done": True, "done_reason": finish, "total_duration": 4_883_583_458,
            "load_duration": 1_334_875, "prompt_eval_count": prompt,
            "prompt_eval_duration": 342_546_000, "eval_count": completion,
            "eval_duration": 4_039_702_583,
        })  # fmt: skip
    usage = {
        "completion_tokens": completion, "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
    }  # fmt: skip
    ending = chunk([{"finish_reason": finish, "index": 0, "delta": {}}])
    return line(api, ending) + line(api, chunk([], usage=usage)) + b"data: [DONE]\n\n"


def error_body(api: Api, status: int, text: str) -> bytes:
    """How an error reads: Ollama's is a string, llama.cpp's an object with its status."""
    error = text if api == "ollama" else {"code": status, "message": text, "type": "an_error"}
    return json.dumps({"error": error}).encode()


def good(text: str = "The answer.", **ending: Any) -> Fault:
    """Not a fault: an answer, word by word."""

    async def answer(peer: Peer) -> None:
        await peer.head()
        if peer.api == "openai":
            await peer.piece(hello(peer.api))
        words = text.split(" ")
        pieces = [*(f"{word} " for word in words[:-1]), words[-1]]
        await peer.tokens(*pieces)
        await peer.piece(final(peer.api, **{"completion": len(pieces)} | ending))
        await peer.end()

    return answer


# -- faults: each takes the connection of one request ----------------------------------------------


def status(code: int, text: str = "something is wrong", **headers: str) -> Fault:
    async def answer(peer: Peer) -> None:
        await peer.whole(
            code, error_body(peer.api, code, text), Content_Type="application/json", **headers
        )

    return answer


def raw(code: int, body: bytes, **headers: str) -> Fault:
    """An answer that is not of the dialect at all."""

    async def answer(peer: Peer) -> None:
        await peer.whole(code, body, **headers)

    return answer


def redirect(location: str) -> Fault:
    return raw(307, b"", Location=location)


async def reset_before(peer: Peer) -> None:
    """RST instead of an answer."""
    peer.reset()


async def close_before(peer: Peer) -> None:
    """FIN instead of an answer."""


async def silence(peer: Peer) -> None:
    """Takes the request, and says nothing."""
    await peer.gone()


async def head_then_silence(peer: Peer) -> None:
    await peer.head()
    await peer.gone()


def stall_after(*texts: str) -> Fault:
    """Some tokens, then nothing."""

    async def answer(peer: Peer) -> None:
        await peer.head()
        await peer.tokens(*texts)
        await peer.gone()

    return answer


def reset_after(*texts: str) -> Fault:
    """Some tokens, then RST."""

    async def answer(peer: Peer) -> None:
        await peer.head()
        await peer.tokens(*texts)
        peer.reset()

    return answer


def cut_after(*texts: str) -> Fault:
    """Some tokens, then FIN in the middle of the body."""

    async def answer(peer: Peer) -> None:
        await peer.head()
        await peer.tokens(*texts)

    return answer


def no_final(*texts: str) -> Fault:
    """Some tokens, then an end in good form, but not the final object."""

    async def answer(peer: Peer) -> None:
        await peer.head()
        await peer.tokens(*texts)
        await peer.end()

    return answer


def saying(*lines: bytes) -> Fault:
    """Status 200, these pieces, and an end in good form."""

    async def answer(peer: Peer) -> None:
        await peer.head()
        for text in lines:
            await peer.piece(text)
        await peer.end()

    return answer


def error_inside(error: object, *texts: str) -> Fault:
    """Some tokens, then an error, long after status 200 went out."""

    async def answer(peer: Peer) -> None:
        await peer.head()
        await peer.tokens(*texts)
        await peer.piece(line(peer.api, {"error": error}))
        await peer.end()

    return answer


def forever(data: bytes, *, pause: float | None = None) -> Fault:
    """The same piece again and again, until the client goes away."""

    async def answer(peer: Peer) -> None:
        await peer.head()
        with suppress(ConnectionError):
            while not peer.writer.is_closing() and not peer.reader.at_eof():
                await peer.piece(data)
                await asyncio.sleep(pause or 0)

    return answer


def endless_tokens(peer: Peer) -> Awaitable[None]:
    """A model that can't stop, fast."""
    return forever(token(peer.api, "x" * 100_000))(peer)


def slow_tokens(peer: Peer) -> Awaitable[None]:
    """A model that can't stop, at the pace of one."""
    return forever(token(peer.api, "on and "), pause=0.002)(peer)


def endless_line(peer: Peer) -> Awaitable[None]:
    return forever(b"x" * 100_000)(peer)


def drip(peer: Peer) -> Awaitable[None]:
    """One byte at a time: the connection is never idle, and nothing ever comes of it."""
    return forever(b"{", pause=0.002)(peer)


async def not_http(peer: Peer) -> None:
    await peer.send(b"220 mail.example ESMTP\r\n\r\n")


async def endless_head(peer: Peer) -> None:
    with suppress(ConnectionError):
        await peer.send(b"HTTP/1.1 200 OK\r\nX: ")
        while not peer.writer.is_closing() and not peer.reader.at_eof():
            await peer.send(b"x" * 4096)
            await asyncio.sleep(0)


async def broken_chunks(peer: Peer) -> None:
    """A body that says it is chunked, and is not."""
    await peer.head()
    await peer.send(token(peer.api, "hello"))
    await peer.gone()


async def gzip_bomb(peer: Peer) -> None:
    """Compressed, though nobody asked for it: 16 MiB in some kB."""
    await peer.whole(200, _BOMB, Content_Encoding="gzip")


# -- the server ------------------------------------------------------------------------------------


@dataclass
class FakeServer:
    """A model server on loopback, as good or bad as a test wants it. Use it with `async with`.

    It runs as many requests at once as come: `slots` is only what llama.cpp's /props says.
    """

    api: Api = "ollama"
    models: Sequence[str] = ("m",)
    #: What it answers; a function makes it from the request.
    answer: str | Callable[[Received], str] = "The answer."
    slots: int | None = None
    #: GET paths that it answers, beside or instead of its dialect's own: (status, body).
    paths: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    #: A fault of every GET, health path included; None: they work.
    get_fault: Fault | None = None

    #: Chat requests, in order of arrival; those that were met with a fault too.
    requests: list[Received] = field(default_factory=list, init=False)
    #: All paths asked for, in order.
    asked: list[str] = field(default_factory=list, init=False)
    #: Chat requests at work now, the most at once, and those whose client went away.
    running: int = field(default=0, init=False)
    running_max: int = field(default=0, init=False)
    abandoned: int = field(default=0, init=False)
    #: Connections ever made, and open now.
    connections: int = field(default=0, init=False)
    open: int = field(default=0, init=False)
    port: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._faults: deque[Fault] = deque()
        self._always: Fault | None = None
        self._gate: asyncio.Semaphore | None = None
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.up()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self.down()

    async def up(self) -> None:
        """Listen; again on the same port after `down`."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        """Refuse connections, and drop those there are."""
        if self._server is None:
            return
        self._server.close()
        for task in (tasks := list(self._tasks)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    def stop_listening(self) -> None:
        """Refuse connections from now on; those there are stay."""
        assert self._server is not None
        self._server.close()

    # -- what a test does with it --------------------------------------------------------------

    def hold(self) -> None:
        """From now on answers wait to be let go."""
        self._gate = asyncio.Semaphore(0)

    def let(self, count: int = 1) -> None:
        """Let so many answers go: those that waited longest."""
        assert self._gate is not None, "nothing is held"
        for _ in range(count):
            self._gate.release()

    def let_all(self) -> None:
        """Hold nothing any more."""
        gate, self._gate = self._gate, None
        if gate is not None:
            for _ in range(self.running):
                gate.release()

    def fail_next(self, fault: Fault, times: int = 1) -> None:
        """The next chat request that arrives meets this fault, at once, held or not."""
        self._faults.extend(itertools.repeat(fault, times))

    def fail_always(self, fault: Fault | None) -> None:
        """Every chat request does that has no fault of its own. None: no more."""
        self._always = fault

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is true of this server."""
        while not true():
            await self._changed.wait()

    async def arrived(self, count: int) -> None:
        """Wait until so many chat requests have arrived, ever."""
        await self.until(lambda: len(self.requests) >= count)

    # -- serving -------------------------------------------------------------------------------

    def _stir(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    peer = Peer(self.api, await _receive(reader), reader, writer)
                    await self._answer(peer)
                    if not peer.keep:
                        break
        except asyncio.CancelledError:
            writer.transport.abort()  # we go down: this end has no one who would hear of it
        finally:
            self._tasks.discard(task)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            self.open -= 1
            self._stir()

    async def _answer(self, peer: Peer) -> None:
        self.asked.append(peer.received.path)
        if peer.received.method == "POST" and peer.received.path == CHAT[self.api]:
            self.requests.append(peer.received)
            self.running += 1
            self.running_max = max(self.running_max, self.running)
            self._stir()
            try:
                await self._chat(peer)
            finally:
                self.running -= 1
                self._stir()
        elif self.get_fault is not None:
            await self.get_fault(peer)
        else:
            code, body = self.paths.get(peer.received.path) or self._get(peer.received.path)
            await peer.whole(code, body, Content_Type="application/json")

    async def _chat(self, peer: Peer) -> None:
        fault = self._faults.popleft() if self._faults else self._always
        if fault is None:
            if self._gate is not None and not await self._let_go(self._gate, peer):
                self.abandoned += 1
                return
            text = self.answer if isinstance(self.answer, str) else self.answer(peer.received)
            fault = good(text)
        await fault(peer)

    async def _let_go(self, gate: asyncio.Semaphore, peer: Peer) -> bool:
        """Wait for the gate; False when the client went away first, as real servers notice."""
        through = asyncio.ensure_future(gate.acquire())
        gone = asyncio.ensure_future(peer.gone())
        try:
            await asyncio.wait({through, gone}, return_when=asyncio.FIRST_COMPLETED)
            return through.done()
        finally:
            for future in (through, gone):
                future.cancel()
            await asyncio.gather(through, gone, return_exceptions=True)

    def _get(self, path: str) -> tuple[int, bytes]:
        known: dict[str, object]
        if self.api == "ollama":
            known = {
                "/api/version": {"version": "0.13.5"},
                "/api/tags": {"models": [{"name": m, "model": m, "size": 4} for m in self.models]},
                "/api/ps": {
                    "models": [
                        {"name": m, "model": m, "size": 3 * 2**30, "size_vram": 2 * 2**30}
                        for m in self.models
                    ]
                },
                "/v1/models": {"object": "list", "data": [{"id": m} for m in self.models]},
            }
            missing: bytes = b"404 page not found"
        else:
            known = {
                "/health": {"status": "ok"},
                "/v1/models": {
                    "object": "list",
                    "data": [{"id": m, "object": "model"} for m in self.models],
                },
            }
            if self.slots is not None:
                known["/props"] = {"total_slots": self.slots, "model_path": "tiny.gguf"}
            missing = error_body("openai", 404, "File Not Found")
        if path in known:
            return 200, json.dumps(known[path]).encode()
        return 404, missing


async def _receive(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *rest = head.split("\r\n")
    method, path, _ = first.split(" ")
    headers = {
        name.lower(): value.strip() for name, _, value in (h.partition(":") for h in rest if h)
    }
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(method, path, headers, body)


def closed_port() -> int:
    """A port on which nobody listens: one that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def full_backlog() -> Iterator[str]:
    """The URL of a listener that never accepts and whose queue is full: no connection is made."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
