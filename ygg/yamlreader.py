"""Read YAML, and say of every mistake at which line it is and what to do.

Walks nodes, because only nodes know their lines. It collects problems and raises none, so that a
person sees all of them at once. Numbers, words and durations are left to yamlvalues.py; what keys
there are, and what they mean, to hostskeys.py; how they are read, to hostsfile.py.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar, cast

import yaml

T = TypeVar("T")
D = TypeVar("D")

#: Larger files are refused: a fleet of a thousand hosts is about a tenth of this.
CHARACTERS_MAX: Final = 1 << 20
#: Deeper nesting is refused: PyYAML reads it by recursion.
DEPTH_MAX: Final = 32
#: Looking for the nearest name costs time; after so many problems nobody reads the rest of them.
_SUGGESTIONS_MAX: Final = 100
#: Known names that a message lists when none is near.
_NAMED_MAX: Final = 14
#: Characters of a text of the file that a message shows.
_SHOWN_MAX: Final = 60

#: The tag of a node that was complained of already: nobody complains of it again.
REFUSED: Final = "!refused"
TAG: Final = "tag:yaml.org,2002:"
#: PyYAML's words for common slips, the slip in ours, and the way out. It may quote the file, and
#: the file may hold a secret where none belongs: its own words are never shown.
_SLIPS: Final = (
    (r"'\\t' that cannot start", "a tab where YAML wants spaces", "indent with spaces"),
    (
        "mapping values are not allowed|expected ':'",
        "this is not a `key: value` line, or is indented more than its neighbours",
        "line up the keys of a section; quote a text that contains `: `",
    ),
    (
        "expected <block end>, but found '<scalar>'",
        "something follows a closing quote or bracket",
        "quote the whole value",
    ),
    (
        "expected <block end>",
        "this line's indentation fits no section above it",
        "line up the keys of a section, with spaces",
    ),
    ("expected ',' or", "a `[` or `{` is not closed", "close it, and put commas between the parts"),
    ("expected the node content", "a value is missing or begins oddly", "quote it: 'text'"),
    ("end of stream", "a quote is opened and never closed", "close it"),
    ("another document", "a second document (`---`) in one file", "keep one of them"),
    ("that cannot start any token", "a text begins with a character of YAML's own", "quote it"),
    ("escape character", "an unknown escape in a quoted text", "use single quotes: 'a\\b'"),
)


def short(text: str) -> str:
    """A text of the file as it may stand in a message: short, all of it printable."""
    cut = _cut(text)
    return cut if cut.isprintable() else repr(cut)


def shown(text: str) -> str:
    """The same in quotes."""
    return repr(_cut(text))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 3] + "..."


def near(name: str, known: Collection[str]) -> str:
    """Where an unknown name was given: the way out."""
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {shown(close[0])}?"
    first = [short(one) for one in list(known)[:_NAMED_MAX]]
    more = f" and {len(known) - len(first)} more" if len(known) > len(first) else ""
    return f"known here: {', '.join(first)}{more}" if first else "none are known here"


class Reader:
    """One file: its nodes, and the problems found in it so far.

    Args:
        file: its name, for messages.
        text: what stands in it.
        homes: of each key, the section it belongs to, for those who look for it elsewhere.
    """

    def __init__(self, file: str, text: str, homes: Mapping[str, str]) -> None:
        self.file = file
        self.homes = homes
        self._text = text
        self._last_line = max(1, len(text.splitlines()))
        self._problems: list[tuple[int, str]] = []

    @property
    def problems(self) -> list[str]:
        """All of them, in the order of lines, none twice."""
        ordered = sorted(self._problems, key=lambda problem: problem[0])
        return list(dict.fromkeys(f"{self.file}:{line}: {what}" for line, what in ordered))

    @property
    def failed(self) -> bool:
        return bool(self._problems)

    def complain(self, line: int, what: str, remedy: str) -> None:
        # YAML puts an end that never came on the line behind the last one.
        self._problems.append((min(line, self._last_line), f"{what}; {remedy}"))

    def nearest(self, name: str, known: Collection[str]) -> str:
        if len(self._problems) > _SUGGESTIONS_MAX:
            return "see the first problems"
        return near(name, known)

    def root(self) -> Value | None:
        """The file's one value; None when there is none that can be read, or nothing in it."""
        text = self._text
        if len(text) > CHARACTERS_MAX:
            self.complain(1, f"the file has {len(text)} characters", "settings end at 1 MiB")
            return None
        try:
            loader = _Loader(text, self)
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            self.complain(
                line, f"the character U+{error.character:04X}", "delete it: it is no text"
            )
            return None
        try:
            node = loader.get_single_node()
        except _TooDeep as error:
            self.complain(error.line, f"nested deeper than {DEPTH_MAX} levels", "flatten it")
        except yaml.MarkedYAMLError as error:
            self._slip(error)
        except (ValueError, OverflowError):
            # "\UFFFFFFFF": PyYAML makes a character of it without a look.
            self.complain(loader.line + 1, "an escape that is no character", "write the character")
        else:
            return None if node is None else Value(self, "", node)
        finally:
            loader.dispose()
        return None

    def _slip(self, error: yaml.MarkedYAMLError) -> None:
        problem = error.problem or ""
        mark = error.problem_mark or error.context_mark
        if "end of stream" in problem or "expected ',' or" in problem:
            mark = error.context_mark or mark  # where it was opened tells more than the end
        line = 1 if mark is None else mark.line + 1
        for pattern, what, remedy in _SLIPS:
            if re.search(pattern, problem):
                self.complain(line, what, remedy)
                return
        self.complain(line, "this is not YAML", "look for stray quotes, brackets, `%`, `!` and `&`")


class _TooDeep(Exception):
    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


class _Loader(yaml.SafeLoader):
    """Composes nodes without aliases (ten lines of them can stand for a billion values) or tags."""

    def __init__(self, text: str, reader: Reader) -> None:
        super().__init__(text)
        self._reader = reader
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # in its stubs
        assert event is not None, "compose_node at the end of the stream"
        assert event.start_mark is not None, event
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            self.get_event()  # type: ignore[no-untyped-call]  # in its stubs
            self._reader.complain(line, "aliases (`*name`) are not read", "write the value out")
            mark = cast("yaml.Mark", event.start_mark)
            return yaml.ScalarNode(REFUSED, "", mark, mark)
        assert isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent), event
        if event.anchor is not None:
            self._reader.complain(line, "anchors (`&name`) are not read", "delete the anchor")
            event.anchor = None
        tagged = event.tag is not None
        if self._depth >= DEPTH_MAX:
            raise _TooDeep(line)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if tagged and node is not None:
            self._reader.complain(line, "tags (`!name`) are not read", "delete it, or quote a text")
            node.tag = REFUSED
        return node


@dataclass(frozen=True, slots=True)
class Value:
    """A node, and its name for messages: `hosts.fenrir.slots.start`."""

    reader: Reader
    path: str
    node: yaml.Node

    @property
    def line(self) -> int:
        return cast("int", self.node.start_mark.line) + 1

    @property
    def is_null(self) -> bool:
        return self.node.tag == f"{TAG}null"

    @property
    def is_empty(self) -> bool:
        """Nothing stands here, or a section without a key."""
        return self.is_null or (isinstance(self.node, yaml.MappingNode) and not self.node.value)

    @property
    def plain(self) -> str:
        """A scalar's text as it stands in the file, whatever YAML takes it for; else ""."""
        return self.node.value if isinstance(self.node, yaml.ScalarNode) else ""

    def complain(self, what: str, remedy: str) -> None:
        """`what` follows on this value's name."""
        name = f"`{self.path}` " if self.path else "the file "
        self.reader.complain(self.line, name + what, remedy)

    def is_scalar(self, example: str) -> bool:
        """Whether one value stands here, of whatever kind. Complains if not."""
        if self.node.tag == REFUSED:
            return False
        if not isinstance(self.node, yaml.ScalarNode):
            kind = "a list" if isinstance(self.node, yaml.SequenceNode) else "a section"
            self.complain(f"is {kind}", f"write one value, such as {example}")
            return False
        if self.is_null:
            self.complain("has no value", f"write one, such as {example}, or delete the line")
            return False
        return True

    def items(self) -> list[Value] | None:
        """The parts of a list. Complains of anything else."""
        if self.node.tag == REFUSED:
            return None
        if not isinstance(self.node, yaml.SequenceNode):
            remedy = "delete the line"
            if isinstance(self.node, yaml.ScalarNode) and not self.is_null:
                remedy = "write it in brackets, with commas between the parts: [a, b]"
            self.complain("is not a list", remedy)
            return None
        return [Value(self.reader, f"{self.path}[{i}]", n) for i, n in enumerate(self.node.value)]

    def entries(self) -> Iterator[tuple[Value, Value]]:
        """Keys, each a text and given once, and their values. Complains of anything else."""
        if self.node.tag == REFUSED or self.is_null:
            return  # a section whose lines were all commented out
        if not isinstance(self.node, yaml.MappingNode):
            self.complain("is not a section", "write `key: value` lines below it")
            return
        first: dict[str, int] = {}
        for key_node, node in self.node.value:
            key = Value(self.reader, self.path, key_node)
            if key_node.tag == REFUSED:
                continue
            if key_node.tag != f"{TAG}str":
                what = reading(key) if key.plain else "something without a text"
                key.complain(f"has as a key {what}", "write a name, quoted where YAML misreads it")
            elif key.plain in first:
                what = f"has {shown(key.plain)} twice, first in line {first[key.plain]}"
                key.complain(what, "keep one of the two")
            else:
                first[key.plain] = key.line
                name = short(key.plain)
                path = f"{self.path}.{name}" if self.path else name
                yield key, Value(self.reader, path, node)

    def section(self, known: Collection[str]) -> Section:
        """What is given of the known keys. Complains of any other."""
        found = Section()
        for key, value in self.entries():
            if key.plain in known:
                found[key.plain] = value
                continue
            home = self.reader.homes.get(key.plain)
            remedy = f"it belongs to {home}" if home else self.reader.nearest(key.plain, known)
            key.complain(f"has an unknown key {shown(key.plain)}", remedy)
        return found


class Section(dict[str, Value]):
    """The values of a section that were given, by key."""

    def read(self, key: str, how: Callable[[Value], T | None], default: D) -> T | D:
        """A value, or the default when it is not given, or wrong: then it was complained of."""
        found = how(self[key]) if key in self else None
        return default if found is None else found


def reading(value: Value) -> str:
    """What YAML 1.1 takes a scalar for that was meant otherwise."""
    text, tag = value.plain, value.node.tag.removeprefix(TAG)
    if tag in ("int", "float") and ":" in text:
        return f"{shown(text)}, to YAML a number in base 60"
    if tag == "int" and re.fullmatch(r"[-+]?0[0-9_]+", text):
        return f"{shown(text)}, to YAML a number in base 8"
    kinds = {"int": "a number", "float": "a number", "bool": "a yes or no", "timestamp": "a date"}
    if tag in kinds:
        return f"{shown(text)}, to YAML {kinds[tag]}"
    return shown(text) if tag == "str" else f"{shown(text)}, to YAML a word of its own"
