"""Requests byte by byte, over whatever door."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import TypeAlias

BODY = b'{"title":"a"}'
JSON = ("Content-Type: application/json", f"Content-Length: {len(BODY)}")
#: A port of 127.0.0.1, a host and a port, or a Unix socket.
Where: TypeAlias = int | tuple[str, int] | Path


async def connect(
    where: Where, *, takes_little: bool = False
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """`takes_little`: its system has no room for an answer that is not read."""
    if isinstance(where, Path):
        opened = socket.socket(socket.AF_UNIX)
    else:
        opened = socket.socket(socket.AF_INET)
    opened.setblocking(False)
    if takes_little:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    address = ("127.0.0.1", where) if isinstance(where, int) else where
    await asyncio.get_running_loop().sock_connect(
        opened, str(address) if isinstance(address, Path) else address
    )
    return await asyncio.open_connection(sock=opened, limit=1024 if takes_little else 1 << 16)


async def raw(where: Where, request: bytes) -> bytes:
    """Send it as it is and read until the other side hangs up."""
    reader, writer = await connect(where)
    try:
        writer.write(request)
        async with asyncio.timeout(20):
            return await reader.read()
    except (ConnectionResetError, BrokenPipeError):
        return b""
    finally:
        writer.close()


async def top_of(where: Where, request: bytes) -> bytes:
    """The head of the answer, for what may go on for ever."""
    reader, writer = await connect(where)
    try:
        writer.write(request)
        async with asyncio.timeout(20):
            return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()


def head(*lines: str, method: str = "POST", path: str = "/v1/tasks") -> bytes:
    lines = (f"{method} {path} HTTP/1.1", *lines, "Connection: close", "", "")
    return "\r\n".join(lines).encode()


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])
