"""What one client may take of the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiohttp import web


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Times are in seconds."""

    body_bytes: int = 16 * 1024 * 1024
    #: For a whole body to come.
    body_seconds: float = 30.0
    #: Of a request's first line.
    line_bytes: int = 8190
    #: Of one header; another number than the line's, by which the parser's error is told apart.
    header_bytes: int = 8192
    headers: int = 64
    #: From a connection's beginning to the end of its first request's head.
    head_seconds: float = 15.0
    #: Between two requests, and for a finished answer to be taken.
    idle_seconds: float = 75.0
    #: For what waits to be sent to be taken, while its answer goes on (an event stream).
    take_seconds: float = 60.0
    #: At once; one more is told to come back later.
    connections: int = 512
    #: Of these, kept for loopback and the Unix socket: strangers don't lock the owner out.
    connections_kept: int = 64
    #: Of those again, kept for the Unix socket alone where there is one: any user of this machine
    #: can take all of loopback's.
    connections_of_socket: int = 16
    #: How often connections are looked at.
    sweep_seconds: float = 1.0
    #: For the end of a run that is being cancelled to be written.
    cancel_seconds: float = 20.0
    #: Streams of events at once.
    streams: int = 256
    #: After so much silence a stream of events gives a sign of life.
    heartbeat_seconds: float = 15.0
    #: For the store to answer what /metrics and /v1/status ask of it; then they do without.
    look_seconds: float = 2.0


LIMITS: Final = web.AppKey("limits", Limits)
