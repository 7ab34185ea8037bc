"""A Beads project as a source, with real processes: what is asked, and every way it goes wrong."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.beads.project import LOCKED, Project
from ygg.sources.base import (
    Call,
    Change,
    Close,
    Died,
    End,
    Garbage,
    Issue,
    Locked,
    Missing,
    NoProject,
    Refused,
    Report,
    Say,
    SourceError,
    TaskSource,
    TimedOut,
    WrongVersion,
)
from ygg.sources.bd import Bd
from ygg.sources.beads import Beads, found_upwards
from ygg.sources.watch import Watch

pytestmark = pytest.mark.system

ME = "ygg@testhost"
T = TypeVar("T")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


class Wired:
    """A source on a project; what is told is what a test says."""

    def __init__(self, project: Project, **settings: Any) -> None:
        self.calls: Sequence[Call] = ()
        self.seen: list[Issue | None] = []
        watch = Watch(project.beads, poll_seconds=60)
        made: dict[str, Any] = {
            "folder": project.folder,
            "actor": ME,
            "environ": {**os.environ, "PATH": project.path, "BD_JSON_ENVELOPE": "1"},
            "around": watch,
        }
        self.bd = Bd(**(made | settings))
        self.source = Beads(self.bd, watch, telling=self._telling)

    def _telling(self, report: Report, issue: Issue | None) -> Sequence[Call]:
        self.seen.append(issue)
        return self.calls

    def tell(self, one: str, *calls: Call) -> None:
        self.calls = calls
        report = Report(issue_id=one, task_id="t1", attempt=1, end=End.DONE)
        self.run(lambda source: source.tell(report))

    def run(self, story: Callable[[TaskSource], Awaitable[T]]) -> T:
        async def whole() -> T:
            return await story(self.source)

        return asyncio.run(whole())


def ids(found: Sequence[Issue]) -> list[str]:
    return [issue.id for issue in found]


# -- what is asked -----------------------------------------------------------------------------


def test_all_that_is_ready_is_read_in_the_order_of_bd_and_without_epics(project: Project) -> None:
    late, soon = project.new("late", "-p", "3"), project.new("soon", "-p", "0")
    project.new("epic", "-t", "epic")
    blocked = project.new("blocked")
    project.bd("dep", "add", blocked, late)
    assert ids(Wired(project).run(lambda s: s.ready())) == [soon, late]


def test_more_than_a_hundred_are_ready(project: Project) -> None:
    for _ in range(2):
        project.new("t")
    whole = project.run("ready", "--json").stdout
    one = whole[whole.index("{") : whole.index("}") + 1]
    many = "[" + ",".join([one] * 150) + "]"
    project.break_calls({"call": "ready", "with": "-n 0", "out": many})
    assert len(Wired(project).run(lambda s: s.ready())) == 150


def test_mine_is_what_is_in_progress_in_our_name(project: Project) -> None:
    ours, theirs = project.new("a"), project.new("b")
    project.new("open", "--assignee", ME)
    project.bd("update", ours, "--claim", actor=ME)
    project.bd("update", theirs, "--claim", actor="someone")
    assert ids(Wired(project).run(lambda s: s.mine())) == [ours]


def test_what_is_not_shown_is_gone_and_the_others_are_shown(project: Project) -> None:
    one, two = project.new("a"), project.new("b")
    shown = Wired(project).run(lambda s: s.show([one, "ygg-nope", two]))
    assert sorted(shown) == sorted([one, two])
    assert Wired(project).run(lambda s: s.show(["ygg-nope"])) == {}
    assert Wired(project).run(lambda s: s.show([])) == {}


def test_many_ids_are_asked_for_in_few_calls(project: Project) -> None:
    one = project.new("a")
    asked = [*(f"ygg-{n}xxxx" for n in range(150)), one]
    assert list(Wired(project).run(lambda s: s.show(asked))) == [one]
    assert sum(c.argv[0] == "show" for c in project.calls) == 2


@pytest.mark.parametrize("children", [["ygg-x.1"], ["ygg-x.1", "ygg-x.2"]], ids=len)
def test_what_was_deleted_is_gone_though_bd_finds_its_children(
    project: Project, children: list[str]
) -> None:
    for one in ("ygg-x", *children):
        project.new("a", "--id", one)
    project.bd("delete", "ygg-x", "--force")
    wired = Wired(project)
    assert wired.run(lambda s: s.show(["ygg-x"])) == {}
    assert list(wired.run(lambda s: s.show(["ygg-x", *children]))) == children
    assert wired.run(lambda s: s.claim(["ygg-x"])) == {"ygg-x": "it is gone"}
    assert {project.issue(one).status for one in children} == {"open"}
    claimed = wired.run(lambda s: s.claim(["ygg-x", *children]))
    assert claimed == {"ygg-x": "it is gone"} | dict.fromkeys(children)
    wired.run(lambda s: s.hand_back(["ygg-x"]))
    wired.tell("ygg-x", Say(text="the answer"), Close(reason="r"))
    assert wired.seen == [None]
    assert all(project.issue(one).status == "in_progress" for one in children)
    assert not any(project.issue(one).comments for one in children)


WRITES: dict[str, Callable[[Wired], object]] = {
    "say": lambda wired: wired.tell("ygg-x", Say(text="t")),
    "change": lambda wired: wired.tell("ygg-x", Change(status="blocked")),
    "close": lambda wired: wired.tell("ygg-x", Close(reason="r"), Change(status="blocked")),
    "hand_back": lambda wired: wired.run(lambda s: s.hand_back(["ygg-x"])),
    "claim": lambda wired: wired.run(lambda s: s.claim(["ygg-x"])),
}


@pytest.mark.parametrize("write", WRITES)
def test_what_was_written_to_another_issue_is_an_error_with_both_ids(
    project: Project, caplog: pytest.LogCaptureFixture, write: str
) -> None:
    """The issue is deleted between the look and the write: nobody can be faster than that."""
    for one in ("ygg-x", "ygg-x.1"):
        project.new("a", "--id", one)
    if write != "claim":
        project.bd("update", "ygg-x", "--claim", actor=ME)
    looked = project.run("show", "ygg-x", "--json").stdout
    project.bd("delete", "ygg-x", "--force")
    project.break_calls({"call": "show", "times": 1, "out": looked, "err": "", "code": 0})
    before = len(project.calls)
    with suppress(Refused):
        WRITES[write](Wired(project))
    assert "asked=ygg-x written=ygg-x.1" in caplog.text
    writes = [c for c in project.calls[before:] if c.argv[0] in ("update", "close", "comments")]
    assert len(writes) == 1, "nothing more is written"


def test_a_claim_is_ours_when_the_issue_shows_it(project: Project) -> None:
    one, two = project.new("a"), project.new("b")
    assert Wired(project).run(lambda s: s.claim([one, two])) == {one: None, two: None}
    assert project.issue(one).assignee == ME
    # Several ids in one call, and one look at them all, before and after.
    words = [c.argv[0] for c in project.calls if c.actor == ME]
    assert words == ["version", "show", "update", "show"]


def test_a_claim_again_is_ours_still(project: Project) -> None:
    one = project.new("a")
    wired = Wired(project)
    for _ in range(2):
        assert wired.run(lambda s: s.claim([one])) == {one: None}


def test_a_claim_tells_why_not(project: Project) -> None:
    mine, theirs, closed = project.new("a"), project.new("b"), project.new("c")
    project.bd("update", theirs, "--claim", actor="someone")
    project.bd("close", closed)
    told = Wired(project).run(lambda s: s.claim([theirs, mine, closed, "ygg-nope"]))
    assert told == {
        theirs: "someone has it",
        mine: None,
        closed: "it is closed",
        "ygg-nope": "it is gone",
    }


def test_what_is_handed_back_is_open_and_nobodys(project: Project) -> None:
    one = project.new("a")
    wired = Wired(project)
    wired.run(lambda s: s.claim([one]))
    wired.run(lambda s: s.hand_back([one, "ygg-nope"]))
    assert (project.issue(one).status, project.issue(one).assignee) == ("open", "")


def test_what_a_person_took_or_closed_is_not_handed_back(project: Project) -> None:
    taken, closed = project.new("a"), project.new("b")
    wired = Wired(project)
    wired.run(lambda s: s.claim([taken, closed]))
    project.bd("update", taken, "--assignee=person")
    project.bd("close", closed)
    wired.run(lambda s: s.hand_back([taken, closed]))
    assert (project.issue(taken).status, project.issue(taken).assignee) == ("in_progress", "person")
    assert project.issue(closed).status == "closed"


def test_what_could_not_be_handed_back_is_an_error(project: Project) -> None:
    one = project.new("a")
    wired = Wired(project)
    wired.run(lambda s: s.claim([one]))
    project.break_calls({"call": "update", **LOCKED})
    with pytest.raises(Locked):
        wired.run(lambda s: s.hand_back([one]))


def test_what_was_taken_while_it_was_handed_back_is_no_error(project: Project) -> None:
    one = project.new("a")
    wired = Wired(project)
    wired.run(lambda s: s.claim([one]))
    refused = {"code": 1, "out": "", "err": f"Error updating {one}: no\n", "steal": "person"}
    project.break_calls({"call": "update", **refused})
    wired.run(lambda s: s.hand_back([one]))
    assert project.issue(one).assignee == "person"


def test_a_report_is_told_in_the_calls_that_fit_the_issue(project: Project) -> None:
    one = project.new("a", "-l", "x")
    wired = Wired(project)
    change = Change(
        status="blocked",
        assignee="",
        append_notes="first\nline",
        metadata={"ygg.host": "h=1", "ygg.tokens": "7"},
        add_labels=("ygg-answered",),
        remove_labels=("x",),
    )
    wired.tell(one, Say(text="the answer"), change, Close(reason="Done on h"))
    (seen,) = wired.seen
    assert seen is not None
    assert seen.id == one
    told = project.issue(one)
    assert [(c.author, c.text) for c in told.comments] == [(ME, "the answer")]
    assert (told.status, told.assignee, told.notes) == ("closed", "", "first\nline")
    assert told.metadata == {"ygg.host": "h=1", "ygg.tokens": "7"}
    assert told.labels == ("ygg-answered",)


def test_a_report_on_an_issue_that_is_gone_finds_it_gone(project: Project) -> None:
    wired = Wired(project)
    wired.tell("ygg-nope")
    assert wired.seen == [None]


# -- texts and ids of others -------------------------------------------------------------------

TEXTS = [
    "--reason=mine",
    "-x",
    "--",
    "",
    "@/etc/passwd",
    "$(touch x); `touch x`",
    "Ünïcode ✓ 🦊 \u202e",
    "two\nlines\r\n\ttab",
    "quotes \"' and \\",
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_a_text_is_never_taken_for_an_option(project: Project, text: str) -> None:
    one = project.new("a")
    wired = Wired(project)
    calls: list[Call] = [Say(text=text)] if text else []
    wired.tell(one, *calls, Change(append_notes=text, metadata={"k": text}), Close(reason=text))
    told = project.issue(one)
    assert [c.text for c in told.comments] == [text][: len(calls)]
    assert (told.notes, told.metadata, told.status) == (text, {"k": text}, "closed")


def test_a_text_with_what_no_argument_can_have_is_told_without_it(project: Project) -> None:
    one = project.new("a")
    Wired(project).tell(one, Change(append_notes="a\0b\ud800c"))
    assert project.issue(one).notes == "a\ufffdb?c"


def test_a_long_text_goes_by_standard_input(project: Project) -> None:
    one, text = project.new("a"), "✓ long " * 25_000
    Wired(project).tell(one, Say(text=text))
    assert project.issue(one).comments[0].text == text


def test_notes_that_are_longer_than_a_command_line_are_refused_and_nothing_is_run(
    project: Project,
) -> None:
    one = project.new("a")
    with pytest.raises(Refused, match="200000 bytes"):
        Wired(project).tell(one, Change(append_notes="n" * 199_985))
    assert project.issue(one).notes == ""


@pytest.mark.parametrize("one", ["-x", "--json", "", "a b", "a;b", "ä", "x" * 129, "a\n", "a=b"])
def test_what_is_no_id_is_never_put_on_a_command_line(project: Project, one: str) -> None:
    wired = Wired(project)
    made = len(project.calls)
    report = Report(issue_id=one, task_id="t1", attempt=1, end=End.DONE)
    stories: list[Callable[[TaskSource], Awaitable[object]]] = [
        lambda s: s.show([one]),
        lambda s: s.claim([one]),
        lambda s: s.hand_back([one]),
        lambda s: s.tell(report),
    ]
    for story in stories:
        with pytest.raises(Refused, match="no id"):
            wired.run(story)
    assert len(project.calls) == made


def test_bd_sees_an_allow_list_of_the_environment(project: Project) -> None:
    Wired(project).run(lambda s: s.ready())
    seen = set(project.calls[-1].environment)
    assert {"PATH", "BD_ACTOR", "BEADS_ACTOR", "BEADS_DIR"} <= seen
    assert not seen & {"BD_JSON_ENVELOPE", "PYTEST_CURRENT_TEST"}


def test_calls_run_one_at_a_time(project: Project) -> None:
    project.break_calls({"call": "ready", "wait": 0.3})
    wired = Wired(project)
    running, most = 0, 0

    class Counting:
        async def before(self) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)

        async def after(self, *, wrote: bool) -> None:
            nonlocal running
            running -= 1

    wired.bd._around = Counting()

    async def story(source: TaskSource) -> None:
        await asyncio.gather(source.ready(), source.mine(), source.ready())

    wired.run(story)
    assert (running, most) == (0, 1)


# -- everything that goes wrong ----------------------------------------------------------------


def fails(wired: Wired, kind: type[SourceError]) -> str:
    with pytest.raises(SourceError) as caught:
        wired.run(lambda s: s.ready())
    assert type(caught.value) is kind
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize("command", ["bd-that-nobody-has", "/nowhere/bd"])
def test_a_missing_program_is_told_with_the_way_out(project: Project, command: str) -> None:
    said = fails(Wired(project, command=command), Missing)
    assert command in said
    assert "beads: {command: ...}" in said


def test_a_program_that_may_not_be_run_is_told(project: Project) -> None:
    other = project.folder / "bd"
    other.write_text("no program")
    other.chmod(0o755)
    fails(Wired(project, command=str(other)), Missing)


def test_another_version_is_told_before_anything_is_asked_of_it(project: Project) -> None:
    project.break_calls({"call": "version", "out": '{"version": "0.62.0"}'})
    assert "0.62.0" in fails(Wired(project), WrongVersion)
    assert [c.argv[0] for c in project.calls] == ["init", "version"]


def test_a_version_is_asked_for_once_and_again_after_an_answer_without_sense(
    project: Project,
) -> None:
    wired = Wired(project)
    wired.run(lambda s: s.ready())
    wired.run(lambda s: s.ready())
    project.break_calls({"call": "ready", "out": "rubbish", "times": 1})
    fails(wired, Garbage)
    wired.run(lambda s: s.ready())
    words = [c.argv[0] for c in project.calls]
    assert words == ["init", "version", "ready", "ready", "ready", "version", "ready"]


def test_another_program_of_that_name_is_told(project: Project) -> None:
    project.break_calls({"out": "usage: bd [file]"})
    fails(Wired(project), Garbage)


def test_a_call_that_bd_does_not_know_is_its_version(project: Project) -> None:
    project.break_calls({"call": "ready", "code": 1, "err": "Error: unknown flag: --x\n"})
    fails(Wired(project), WrongVersion)


@pytest.mark.parametrize("gone", ["folder", "beads", "database"])
def test_no_project_is_told_with_its_place(project: Project, tmp_path: Path, gone: str) -> None:
    places = {
        "folder": project.folder,
        "beads": project.beads,
        "database": project.beads / "embeddeddolt",
    }
    places[gone].rename(tmp_path / "gone")
    assert str(project.folder) in fails(Wired(project), NoProject)


def test_a_project_above_is_not_taken_for_the_one_that_was_named(project: Project) -> None:
    below = project.folder / "below"
    below.mkdir()
    fails(Wired(project, folder=below), NoProject)


def test_a_locked_database_is_told_apart(project: Project) -> None:
    project.break_calls({"call": "ready", **LOCKED})
    assert "database is locked" in fails(Wired(project), Locked)


def test_what_bd_says_no_to_is_told_in_its_words(project: Project) -> None:
    one = project.new("a")
    with pytest.raises(Refused, match='invalid status "nonsense"'):
        Wired(project).tell(one, Change(status="nonsense"))


@pytest.mark.parametrize(
    "fault",
    [{"out": "rubbish"}, {"out": ""}, {"cut": 0.5}, {"out": "null"}, {"out": "[1]"}],
    ids=["rubbish", "nothing", "half", "null", "numbers"],
)
@pytest.mark.parametrize("call", ["ready", "list", "show"])
def test_an_answer_without_sense_is_garbage(
    project: Project, call: str, fault: dict[str, Any]
) -> None:
    one = project.new("a")
    project.bd("update", one, "--claim", actor=ME)
    project.new("b")
    project.break_calls({"call": call, **fault})
    stories: dict[str, Callable[[TaskSource], Awaitable[object]]] = {
        "ready": lambda s: s.ready(),
        "list": lambda s: s.mine(),
        "show": lambda s: s.show([one]),
    }
    with pytest.raises(Garbage):
        Wired(project).run(stories[call])


def test_one_bad_issue_hides_no_other(project: Project) -> None:
    bad, good = project.new("bad"), project.new("good")
    project.rewrite(bad, priority=9)
    beads = Wired(project)
    assert [(i.id, bool(i.fault)) for i in beads.run(lambda s: s.ready())] == [
        (good, False),
        (bad, True),
    ]
    shown = beads.run(lambda s: s.show([bad, good]))
    assert (shown[bad].fault, shown[good].fault) == ("priority: Expected `int` <= 4 in 9", "")
    told = beads.run(lambda s: s.claim([bad, good]))
    assert told == {bad: f"it can't be read: {shown[bad].fault}", good: None}
    with pytest.raises(Garbage, match=f"{bad} can't be read: priority"):
        beads.tell(bad)


def test_an_answer_without_an_id_is_of_whom_was_asked_for(project: Project) -> None:
    one, two = project.new("a"), project.new("b")
    project.break_calls({"call": "show", "replace": [f'"id": "{one}"', '"id": 7']})
    shown = Wired(project).run(lambda s: s.show([one, two]))
    assert {name: bool(issue.fault) for name, issue in shown.items()} == {one: True, two: False}


def test_an_answer_without_end_is_garbage_and_its_program_is_ended(project: Project) -> None:
    project.break_calls({"call": "ready", "out": "[" * 10_000, "repeat": 10**6})
    said = fails(Wired(project, output_max=1_000_000), Garbage)
    assert "longer than 1000000 bytes" in said
    assert not Path(f"/proc/{project.calls[-1].pid}").exists()


def test_a_call_that_hangs_and_ignores_sigterm_is_ended_in_time(project: Project) -> None:
    project.break_calls({"hang": "before"})
    said = fails(Wired(project, seconds_max=5.0), TimedOut)
    assert "no answer in 5 s" in said
    assert not Path(f"/proc/{project.calls[-1].pid}").exists()


def test_a_call_that_is_killed_is_told(project: Project) -> None:
    project.break_calls({"call": "ready", "die": "before"})
    assert "signal 9" in fails(Wired(project), Died)


def test_a_cancelled_call_leaves_no_process_and_the_next_one_runs(project: Project) -> None:
    project.break_calls({"call": "ready", "hang": "before", "times": 1})
    wired = Wired(project)

    async def story(source: TaskSource) -> None:
        asking = asyncio.ensure_future(source.ready())
        while not any(c.argv[0] == "ready" for c in project.calls):
            await asyncio.sleep(0.05)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await source.ready() == ()

    wired.run(story)
    (hung,) = [c.pid for c in project.calls if c.argv[0] == "ready"][:1]
    assert not Path(f"/proc/{hung}").exists()


# -- writes of which nobody knows whether they took effect ----------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        {"code": 1, "out": "", "err": "Error: failed to commit: connection lost\n"},
        {"out": "rubbish"},
        {"cut": 0.5},
        {"die": "after"},
        {"code": 1, "out": "", "err": "Error: database is locked\n"},
    ],
    ids=["refused", "rubbish", "half", "killed", "locked"],
)
def test_a_claim_that_took_effect_is_ours_whatever_was_said_of_it(
    project: Project, fault: dict[str, Any]
) -> None:
    one = project.new("a")
    project.break_calls({"call": "update", **fault})
    assert Wired(project).run(lambda s: s.claim([one])) == {one: None}


@pytest.mark.parametrize("fault", [{"die": "before"}, {"die": "middle"}, LOCKED], ids=range(3))
def test_a_claim_without_effect_tells_what_went_wrong(
    project: Project, fault: dict[str, Any]
) -> None:
    one = project.new("a")
    project.break_calls({"call": "update", **fault})
    told = Wired(project).run(lambda s: s.claim([one]))
    why = told[one]
    assert why is not None
    assert "signal 9" in why or "locked" in why


def test_a_claim_that_another_one_won_too_is_his_that_the_issue_shows(project: Project) -> None:
    one = project.new("a")
    project.break_calls({"call": "update", "steal": "thief"})
    assert Wired(project).run(lambda s: s.claim([one])) == {one: "thief has it"}


def test_a_claim_that_is_not_shown_yet_is_not_ours_yet(project: Project) -> None:
    one = project.new("a")
    project.break_calls({"call": "update", "delay_reads": 1, "times": 1})
    wired = Wired(project)
    told = wired.run(lambda s: s.claim([one]))
    assert told == {one: "bd does not show the claim yet"}
    assert wired.run(lambda s: s.claim([one])) == {one: None}


def test_a_claim_whose_look_fails_is_an_error(project: Project) -> None:
    one = project.new("a")
    project.break_calls({"call": "show", **LOCKED})
    with pytest.raises(Locked):
        Wired(project).run(lambda s: s.claim([one]))


@pytest.mark.parametrize("fault", [{"cut": 0.5}, {"out": "[]"}, {"out": "rubbish"}], ids=range(3))
@pytest.mark.parametrize(
    "call",
    [Change(status="blocked"), Close(reason="r"), Say(text="t")],
    ids=["change", "close", "say"],
)
def test_a_write_that_is_not_confirmed_is_an_error(
    project: Project, call: Call, fault: dict[str, Any]
) -> None:
    one = project.new("a")
    project.break_calls(*({"call": word, **fault} for word in ("update", "close", "comments")))
    with pytest.raises(SourceError):
        Wired(project).tell(one, call)


def test_an_issue_that_was_deleted_while_it_is_told_is_refused(project: Project) -> None:
    one = project.new("a")
    whole = project.run("show", one, "--json").stdout
    project.bd("delete", one, "--force")
    project.break_calls({"call": "show", "out": whole, "err": "", "code": 0})
    with pytest.raises(Refused, match="no issue found"):
        Wired(project).tell(one, Close(reason="r"))


def test_a_part_of_an_answer_is_no_news_of_the_rest(project: Project) -> None:
    one, two = project.new("a"), project.new("b")
    first = project.run("show", one, "--json").stdout
    both = {"call": "show", "with": f"{one} {two}", "out": first}
    project.break_calls(both)
    wired = Wired(project)
    assert list(wired.run(lambda s: s.show([one, two]))) == [one, two]
    project.break_calls(both, {"call": "show", "out": "[]"})
    assert "says nothing of it" in wired.run(lambda s: s.show([one, two]))[two].fault
    locked = f"Error fetching {two}: database is locked\n"
    project.break_calls({"call": "show", "out": first, "code": 1, "err": locked})
    with pytest.raises(Locked):
        wired.run(lambda s: s.show([one, two]))


@pytest.mark.parametrize(
    "words", ["Error fetching {}: it is broken\n", "Error: it is broken\n"], ids=["named", "not"]
)
def test_one_that_bd_does_not_show_holds_up_no_other(project: Project, words: str) -> None:
    good, bad = project.new("good"), project.new("bad")
    broken = {"code": 1, "out": "", "err": words.format(bad)}
    project.break_calls(
        {"call": "show", "with": f"{good} {bad}", "only": 1, "err": broken["err"], "code": 1},
        {"call": "show", "with": bad, **broken},
    )
    wired = Wired(project)
    shown = wired.run(lambda s: s.show([good, bad]))
    assert (shown[good].fault, "it is broken" in shown[bad].fault) == ("", True)
    told = wired.run(lambda s: s.claim([good, bad]))
    assert (told[good], "it is broken" in str(told[bad])) == (None, True)


def test_what_bd_says_no_to_whoever_is_asked_for_is_an_error(project: Project) -> None:
    one, two = project.new("a"), project.new("b")
    project.break_calls({"call": "show", "code": 1, "out": "", "err": "Error: it is broken\n"})
    wired = Wired(project)
    with pytest.raises(Refused, match="it is broken"):
        wired.run(lambda s: s.show([one]))
    with pytest.raises(Refused, match="it is broken"):
        wired.run(lambda s: s.show([one, two]))


def test_one_that_is_refused_as_json_is_about_whom_was_asked_for(project: Project) -> None:
    one = project.new("a")
    said = '{"error": "ambiguous ID \\"%s\\" matches 2 issues: [a b]"}'
    project.break_calls({"call": "show", "code": 1, "err": "", "out": said % one})
    assert Wired(project).run(lambda s: s.show([one])) == {}


def test_a_bd_that_takes_one_id_at_a_time_is_asked_one_by_one(project: Project) -> None:
    some = [project.new(n) for n in "abc"]
    wired = Wired(project)
    for call in ("show", "update"):
        project.break_calls({"call": call, "only": 1})
        assert wired.run(lambda s: s.claim(some)) == dict.fromkeys(some)
        assert list(wired.run(lambda s: s.show(some))) == some
        wired.run(lambda s: s.hand_back(some))
        assert {project.issue(one).status for one in some} == {"open"}


def test_many_are_claimed_and_handed_back_in_one_call_each(project: Project) -> None:
    some = [project.new(n) for n in "abc"]
    before = len(project.calls)
    wired = Wired(project)
    wired.run(lambda s: s.claim(some))
    wired.run(lambda s: s.hand_back(some))
    words = [c.argv[0] for c in project.calls[before:]]
    assert words == ["version", "show", "update", "show", "show", "update"]


# -- the folder --------------------------------------------------------------------------------


def test_the_project_is_found_upwards(project: Project, tmp_path: Path) -> None:
    below = project.folder / "a" / "b"
    below.mkdir(parents=True)
    assert found_upwards(below) == project.folder
    assert found_upwards(project.folder) == project.folder
    assert found_upwards(tmp_path) is None


def test_a_change_by_another_hand_is_seen_and_our_own_are_not(project: Project) -> None:
    one = project.new("a")
    wired = Wired(project)

    async def story(source: TaskSource) -> None:
        await source.ready()
        await source.claim([one])
        waiting = asyncio.ensure_future(source.changed())
        await source.hand_back([one])
        await source.mine()
        done, _ = await asyncio.wait([waiting], timeout=3)
        assert not done
        await asyncio.to_thread(project.new, "b")
        async with asyncio.timeout(50):
            await waiting

    wired.run(story)
