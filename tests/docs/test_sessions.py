"""Recorded sessions: there, whole, and with a failure that names its cure."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.record import Unexpected, record
from tools.sessions import SESSIONS, Quietly, Say, Session, Show
from ygg.demo import server

PAGES = Path(__file__).parents[2] / "docs" / "sessions"


@pytest.mark.pure
@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session.name)
def test_a_session_is_recorded_as_it_is_written_down(session: Session) -> None:
    """What was printed differs from run to run; the words and the commands must be there."""
    page = (PAGES / f"{session.name}.md").read_text("utf-8")
    place = 0
    for step in session.steps:
        if isinstance(step, Quietly):
            continue
        text = f"$ {step.command}\n" if isinstance(step, Show) else f"\n{step.text}\n"
        pattern = re.sub(r"\\\$[A-Z_]+", r"\\S+", re.escape(text))
        found = re.compile(pattern).search(page, place)
        assert found, f"`make sessions` records it anew: {text}"
        place = found.end()
    assert page.count("(exit code ") == sum(
        isinstance(step, Show) and step.exit_code != 0 for step in session.steps
    )


@pytest.mark.pure
@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session.name)
def test_a_session_has_a_failing_case(session: Session) -> None:
    assert any(isinstance(step, Show) and step.exit_code for step in session.steps)


@pytest.mark.pure
def test_every_page_of_a_session_is_made_by_one() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == {session.name for session in SESSIONS}


def a_session(*steps: Say | Show | Quietly) -> Session:
    return Session(name="x", title="A try", steps=steps)


@pytest.mark.system
@pytest.mark.model
def test_what_real_servers_make_commands_print_is_kept() -> None:
    try:
        server.require()
    except server.Missing as error:
        pytest.skip(str(error))
    page = record(
        a_session(
            Say("Hello."),
            Quietly("mkdir deeper"),
            Show("cd deeper; pwd"),
            Show("ygg check --hosts none.yaml", exit_code=2),
            Say("So it is."),
            Show("curl -s $SURTR/health"),
        )
    )
    _, _, rest = page.partition("-->\n")
    address = r"http://127\.0\.0\.1:\d+"
    assert re.fullmatch(
        r"\nHello\.\n\n```console\n\$ cd deeper; pwd\n~/fleet/deeper\n\n"
        r"\$ ygg check --hosts none\.yaml\nnone\.yaml: .*\n\(exit code 2\)\n```\n\nSo it is\.\n\n"
        rf"```console\n\$ curl -s {address}/health\n.*ok.*\n```\n",
        rest,
    ), page
    with pytest.raises(Unexpected, match="exit code 1, not 0"):
        record(a_session(Show("false")))
