"""Where the daily commands find the dispatcher that neither --url nor YGG_URL names: in hosts.yaml.

Of the file only `dispatcher: listen:` is read, and YAML only where such a line is: `ygg status` is
to be there at once. Whether the rest of the file is good is `ygg check`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ygg.cli.base import Wrong, say
from ygg.client.address import DEFAULT_URL, url_of
from ygg.places import NoHostsFile, find_hosts_file

if TYPE_CHECKING:
    from ygg.yamlreader import Value

#: A line that may say it, and is no comment.
_LISTEN: Final = re.compile(r"^(?![ \t]*#).*\blisten\b", re.MULTILINE)
#: The section as nearly everybody writes it: from the first column to the next key there.
_SECTION: Final = re.compile(r"^dispatcher:.*\n?(?:(?:[ \t#{}\[\]].*)?\n)*", re.MULTILINE)


class Unclear(Exception):
    """hosts.yaml does not let its `dispatcher: listen:` be read; the message says why."""


def find_url(
    url: str | None, hosts: str | None, *, environ: Mapping[str, str], folder: Path
) -> str:
    """The flag before YGG_URL before the file before the usual. Raises Wrong.

    A file that was named must say it well; one that only lies there must not stop anybody.
    """
    named = url or environ.get("YGG_URL")
    if named:
        return named
    try:
        path = find_hosts_file(hosts, environ, folder)
    except NoHostsFile:
        return DEFAULT_URL
    try:
        return _of_file(path)
    except Unclear as unclear:
        if hosts is not None or environ.get("YGG_HOSTS"):
            raise Wrong(f"{unclear}; or say where the dispatcher is with --url URL") from unclear
        say(f"{unclear}; so {DEFAULT_URL} is asked (--url or YGG_URL says otherwise)")
        return DEFAULT_URL


def _of_file(path: Path) -> str:
    """Raises Unclear."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise Unclear(f"{path} can't be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise Unclear(f"{path} is no text in UTF-8 (byte {error.start + 1})") from error
    listen = doors(text, path)
    return url_of(listen) if listen else DEFAULT_URL


def doors(text: str, path: Path) -> Sequence[str]:
    """The addresses that a hosts.yaml says; none: it says none. Raises Unclear."""
    if not _LISTEN.search(text):
        return ()
    section = _SECTION.search(text)
    if section is not None:
        # Empty lines before it, so that its own have their numbers.
        lines = "\n" * text.count("\n", 0, section.start())
        try:
            if found := _read(lines + section[0], path):
                return found
        except Unclear:
            pass  # it may be written in another way: the whole file has the last word
    return _read(text, path)


def _read(text: str, path: Path) -> Sequence[str]:
    """Raises Unclear."""
    from ygg.dispatcherfile import read_listen
    from ygg.yamlreader import Reader

    reader = Reader(str(path), text, {})
    found: Sequence[str] = ()
    root = reader.root()
    for section in _named("dispatcher", root):
        for value in _named("listen", section):
            found = read_listen(value, path.parent) or ()
    if reader.problems:
        raise Unclear(reader.problems[0])
    return found


def _named(name: str, value: Value | None) -> Iterator[Value]:
    """The part of that name, where there is one."""
    if value is not None:
        yield from (part for key, part in value.entries() if key.plain == name)
