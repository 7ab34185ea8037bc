"""What the pages say by the way is true too: commands, messages, modules, dependencies."""

from __future__ import annotations

import ast
import configparser
import contextlib
import io
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.test_links import links, pages, prose
from ygg.cli import make_parser
from ygg.fleet import DispatcherSettings
from ygg.hostsfile import parse_fleet
from ygg.places import find_places

pytestmark = pytest.mark.pure

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
#: Where the pages' own examples are rightly wrong.
_PLACEHOLDERS = {"N": "3", "N|auto": "3", "TYPE": "reasoning", "TIME": "2h"}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def leads_to(page: Path) -> set[Path]:
    targets = {target.partition("#")[0] for target in links(prose(page.read_text("utf-8")))}
    return {(page.parent / target).resolve() for target in targets if target.endswith(".md")}


def test_every_page_is_found_from_the_index() -> None:
    index = leads_to(DOCS / "README.md")
    missing = {page for page in DOCS.rglob("*.md") if page != DOCS / "README.md"} - index
    assert not missing, f"docs/README.md does not name {sorted(map(name_of, missing))}"
    assert DOCS / "README.md" in leads_to(ROOT / "README.md")


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_no_page_tells_the_folders_of_the_machine_that_it_was_made_on(page: Path) -> None:
    found = re.findall(r"(?<![\w.~$}])/(?:tmp|home|root|work|Users)/\S*", page.read_text("utf-8"))
    assert found == []


# -- commands -------------------------------------------------------------------------------------


def commands(text: str) -> Iterator[str]:
    """Every call of ygg that a page shows: in its blocks, and between backticks."""
    for match in re.finditer(r"^```(sh|console)[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for line in match[2].splitlines():
            if match[1] == "sh" or line.startswith("$ "):
                yield from calls(line.removeprefix("$ "))
    for code in re.findall(
        r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    ):
        if code.startswith("ygg "):
            yield from calls(code)


def calls(line: str) -> Iterator[str]:
    """The calls of a line of a shell, without what stands around them."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&`")
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:
        return  # the first line of a text of several
    call: list[str] = []
    for word in [*words, ";"]:
        if set(word) <= set("();<>|&`"):
            if call:
                # The number of what is sent elsewhere, as in `2> log`, is no word of the call.
                yield shlex.join(call[:-1] if call[-1] == "2" and word[0] == ">" else call)
            call = []
        elif call or word == "ygg" or word.endswith(("(ygg", "$(ygg")):
            call.append(word.rpartition("(")[2] if not call else word)


def mistake(call: str) -> str | None:
    """What the command line would say to a call; None: it takes it."""
    words = [_PLACEHOLDERS.get(word, word) for word in shlex.split(call)[1:] if word != "..."]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            args, rest = make_parser().parse_known_args(words)
    except SystemExit as end:
        return said.getvalue() if end.code else None
    return f"unknown: {rest}" if rest and args.command != "demo" else None


def test_calls_are_found_in_lines_of_a_shell() -> None:
    line = "ID=$(ygg submit 'a; b' -p 0 | cut -f 1) && YGG_TOKEN=x ygg list 2> page; ygg why $ID"
    assert list(calls(line)) == ["ygg submit 'a; b' -p 0", "ygg list", "ygg why '$ID'"]
    text = "Say `ygg status` or\n```sh\nygg list  # all\n```\n```text\nygg 0.1 at x\n```\n"
    assert list(commands(text)) == ["ygg list", "ygg status"]
    assert mistake("ygg statsu") is not None
    assert mistake("ygg list --stats open") is not None
    assert mistake("ygg limit HOST N --for 2h") is None


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_that_a_page_shows_is_one(page: Path) -> None:
    # A name alone is talked about, not shown to be typed.
    shown = {call for call in commands(page.read_text("utf-8")) if len(call.split()) > 2}
    wrong = {call: said for call in sorted(shown) if (said := mistake(call)) is not None}
    assert wrong == {}


def test_every_command_is_told_in_the_readme_or_by_a_page_that_is_run() -> None:
    told = "".join(
        (ROOT / name).read_text("utf-8")
        for name in ("README.md", "docs/first-task.md", "docs/troubleshooting.md")
    )
    known = set(re.findall(r"ygg ([a-z-]+)", told))
    parser = make_parser()
    action = next(action for action in parser._actions if action.dest == "command")
    assert action.choices is not None
    assert set(action.choices) - known == set()


# -- messages -------------------------------------------------------------------------------------


def texts_of_the_code() -> str:
    """Every text of ygg's code, one a line, with \\0 for what is put into it."""
    found = []
    for path in (ROOT / "ygg").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                pieces = [p.value if isinstance(p, ast.Constant) else "\0" for p in node.values]
                found.append("".join(map(str, pieces)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def test_every_message_of_the_table_is_one_that_the_code_says() -> None:
    page = (DOCS / "troubleshooting.md").read_text("utf-8")
    _, _, table = page.partition("\n### Others\n")
    messages = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    assert len(messages) > 10
    texts = texts_of_the_code()
    missing = [
        message
        for message in messages
        if any(piece.strip() not in texts for piece in message.split("..."))
    ]
    assert missing == []


def test_every_metric_that_a_page_names_is_one() -> None:
    there = set(
        re.findall(r"^\| `(ygg_\w+)`", (DOCS / "metrics.md").read_text("utf-8"), re.MULTILINE)
    )
    for page in PAGES:
        # After a colon it is part of a recorded name: tests/prometheus looks after those.
        named = set(re.findall(r"(?<!:)\bygg_[a-z]+_\w+", page.read_text("utf-8")))
        assert {name for name in named if not re.search(r"[A-Z0-9]", name)} - there == set(), page


# -- ARCHITECTURE.md ------------------------------------------------------------------------------


def test_the_architecture_has_a_line_for_every_module() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    _, _, modules = text.partition("\n## Modules\n")
    named = set(re.findall(r"`([\w/]+?)/?`", modules.partition("\n## ")[0]))
    hidden = {"__init__", "__pycache__", "version"}
    for package in ("ygg", "autoscaler"):
        there = {
            path.stem
            for path in (ROOT / package).iterdir()
            if path.is_dir() or path.suffix == ".py"
        }
        assert there - hidden - named == set(), package


def test_every_dependency_is_justified() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"]]
    wanted += [name for extra in project["optional-dependencies"].values() for name in extra]
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    told = re.findall(r"^\| ([\w-]+)[^|]*\|", text.partition("\n## Dependencies")[2], re.MULTILINE)
    assert set(told) - {"package", "---"} == {re.split(r"[^\w-]", name)[0] for name in wanted}


# -- the service ----------------------------------------------------------------------------------


def test_the_service_of_the_first_task_keeps_what_it_is_to_keep() -> None:
    page = (DOCS / "first-task.md").read_text("utf-8")
    unit = configparser.ConfigParser(comment_prefixes="#")
    unit.read_string(page.partition("```ini\n")[2].partition("```")[0])
    service = dict(unit["Service"])
    drain = parse_fleet("hosts: {a: {url: 'http://a:1'}}", "f").dispatcher.drain_seconds
    # Else systemd would kill what is still being written down, and commands before they end.
    assert int(service["timeoutstopsec"]) > drain
    assert service["killmode"] == "mixed"
    places = find_places(
        DispatcherSettings(),
        state=None,
        store=None,
        environ={
            "STATE_DIRECTORY": f"/var/lib/{service['statedirectory']}",
            "LOGS_DIRECTORY": f"/var/log/{service['logsdirectory']}",
        },
        folder=Path("/"),
    )
    assert f"`{places.state}`" in page
    assert f"`{places.logs}`" in page
    assert mistake(service["execstart"]) is None
