"""The parts of docs/http.md that are made out of the code."""

from __future__ import annotations

from tools import markdown
from ygg.web.costs import VALUES_MAX
from ygg.web.limits import Limits
from ygg.web.problems import Kind


def page(text: str) -> str:
    text = markdown.with_part(text, "problems", _problems())
    return markdown.with_part(text, "limits", _limits(Limits()))


def _problems() -> str:
    rows = [(f"`{kind.urn.rpartition(':')[2]}`", str(kind.status), kind.title) for kind in Kind]
    return markdown.table(["`type` behind `urn:ygg:problem:`", "status", "means"], rows)


def _limits(limits: Limits) -> str:
    rows = [
        ("a request's first line", f"{limits.line_bytes} bytes"),
        ("headers", f"{limits.headers}, of {limits.header_bytes} bytes each"),
        ("a body", f"{limits.body_bytes >> 20} MiB, not compressed"),
        ("values in it, of all its tasks together", f"{VALUES_MAX}"),
        ("for the head of a connection's first request to come", f"{limits.head_seconds:g} s"),
        ("for a body to come whole", f"{limits.body_seconds:g} s"),
        ("between two requests, and for an answer to be taken", f"{limits.idle_seconds:g} s"),
        ("for what waits of an event stream to be taken", f"{limits.take_seconds:g} s"),
        ("connections at once", f"{limits.connections}"),
        ("of these, kept for this machine's own users", f"{limits.connections_kept}"),
        ("of those, kept for the Unix socket if there is one", f"{limits.connections_of_socket}"),
    ]
    return markdown.table(["what", "at most"], rows)
