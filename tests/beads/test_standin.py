"""The stand-in answers as bd 1.0.3 was recorded, call by call, and fails as it is told to."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.beads.project import LOCKED, Project
from tests.sources.recorded import recorded

pytestmark = pytest.mark.system

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{9})?Z")
NAME = re.compile(r"\bygg-(?!nope)[a-z0-9]+\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")

START = 1_795_466_000  # in November 2026


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


class Names:
    """Which of the stand-in's ids is which of the recording's."""

    def __init__(self) -> None:
        self.ours: dict[str, str] = {}

    def learn(self, theirs: object, ours: object) -> None:
        """Ids that a call has given, where both answers have one."""
        pairs = zip(_ids(theirs), _ids(ours), strict=False)
        for old, new in pairs:
            self.ours.setdefault(old, new)

    def put(self, text: str) -> str:
        return NAME.sub(lambda found: self.ours.get(found[0], found[0]), text)


def _ids(value: object) -> Iterator[str]:
    if isinstance(value, dict) and "id" in value:
        yield value["id"]


def plain(value: Any) -> Any:
    """An answer without its times: their form stays."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, str) and (found := TIME.fullmatch(value)):
        return "a time with fractions" if found[1] else "a time"
    return value


def read(text: str) -> Any:
    """JSON as a value, what is none as text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def test_every_recorded_call_is_answered_as_recorded(project: Project, tmp_path: Path) -> None:
    names = Names()
    calls = recorded()
    for place, call in enumerate(calls):
        cwd = None
        if call.note.startswith("outside any project"):
            cwd = tmp_path
        if call.note.startswith("the database folder is missing"):
            shutil.rmtree(project.beads / "embeddeddolt")
        # A call a second, as it was: what is made in one second is told by id.
        project.break_calls({"at": (START + place) * 10**9 + 1})
        argv = [names.put(word) for word in call.argv[1:]]
        done = project.run(*argv, actor=call.actor, cwd=cwd)
        names.learn(read(call.stdout), read(done.stdout))
        told = (done.returncode, plain(read(done.stdout)), read(done.stderr))
        expected = (call.rc, plain(read(names.put(call.stdout))), read(names.put(call.stderr)))
        assert told == expected, f"call {place}: {call.words} ({call.note})"
    assert len(calls) == 45


def test_times_that_lists_tell_are_whole_seconds_and_rounded(project: Project) -> None:
    made = json.loads(project.bd("create", "t"))
    second = int(made["created_at"][17:19]) + (made["created_at"][20] >= "5")
    assert f"{second % 60:02d}Z" == json.loads(project.bd("show", made["id"]))[0]["created_at"][17:]


def test_one_of_many_claims_wins(project: Project) -> None:
    one = project.new("t")
    codes: list[int] = []

    def claim(actor: str) -> None:
        codes.append(project.run("update", one, "--claim", actor=actor).returncode)

    threads = [threading.Thread(target=claim, args=(f"a{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [0, 1, 1, 1, 1, 1]


def test_the_open_issue_of_the_same_actor_can_be_claimed_again(project: Project) -> None:
    one = project.new("t")
    project.bd("update", one, "--claim")
    project.bd("update", one, "--status=open")
    project.bd("update", one, "--claim")
    assert project.issue(one).status == "in_progress"


def test_several_ids_are_changed_in_one_call_and_the_unknown_are_told(project: Project) -> None:
    one, two = project.new("t"), project.new("t")
    done = project.run("close", one, "ygg-nope", two, "--reason=done", "--json")
    assert [found["status"] for found in json.loads(done.stdout)] == ["closed", "closed"]
    assert 'no issue found matching "ygg-nope"' in done.stderr


def test_ready_stops_at_a_hundred_unless_told_not_to(project: Project) -> None:
    one = project.new("t")
    state = project.beads / "embeddeddolt" / "project.json"
    found = json.loads(state.read_text())
    found["issues"] = {f"ygg-{n}": found["issues"][one] | {"id": f"ygg-{n}"} for n in range(130)}
    state.write_text(json.dumps(found))
    assert len(json.loads(project.bd("ready"))) == 100
    assert len(json.loads(project.bd("ready", "-n", "0"))) == 130
    assert len(json.loads(project.bd("ready", "--limit=7"))) == 7


def test_labels_come_and_go(project: Project) -> None:
    one = project.new("t", "-l", "b,a")
    project.bd("update", one, "--add-label=c", "--remove-label=a")
    assert project.issue(one).labels == ("b", "c")


def test_a_comment_may_come_from_a_file_and_from_standard_input(project: Project) -> None:
    one = project.new("t")
    (project.folder / "text").write_text("-- of a file ✓")
    project.bd("comments", "add", one, "-f", "text")
    done = project.run("comments", "add", one, "--file=/dev/stdin", input="--json\nof input")
    assert done.returncode == 0
    assert [c["text"] for c in json.loads(project.bd("comments", one))] == [
        "-- of a file ✓",
        "--json\nof input",
    ]


def test_a_deleted_issue_is_gone(project: Project) -> None:
    one = project.new("t")
    project.bd("delete", one, "--force")
    assert project.run("show", one, "--json").returncode == 1


@pytest.mark.parametrize("flag", ["--nonsense", "-x"])
def test_an_unknown_flag_is_refused(project: Project, flag: str) -> None:
    done = project.run("ready", flag)
    assert (done.returncode, "unknown" in done.stderr) == (1, True)


def test_the_project_is_found_upwards_and_where_the_environment_says(
    project: Project, tmp_path: Path
) -> None:
    one = project.new("t")
    below = project.folder / "a" / "b"
    below.mkdir(parents=True)
    assert one in project.run("ready", cwd=below).stdout
    done = subprocess.run(
        [project.program, "ready"],
        cwd=tmp_path,
        check=False,
        env={"BEADS_DIR": str(project.beads)},
        capture_output=True,
        text=True,
    )
    assert one in done.stdout


@pytest.mark.parametrize("words", ["show", "update --status=blocked", "close", "comments add"])
def test_a_part_of_an_id_does_where_one_issue_fits_and_the_whole_goes_before(
    project: Project, words: str
) -> None:
    for one in ("ygg-x", "ygg-x.1", "ygg-x.2"):
        project.new("t", "--id", one)
    more = ["text"] if words.startswith("comments") else []

    def said(one: str) -> tuple[int, set[str], str]:
        done = project.run(*words.split(), "--json", "--", one, *more)
        return done.returncode, set(re.findall(r'"(ygg-x[.12]*)"', done.stdout)), done.stderr

    assert said("ygg-x") == (0, {"ygg-x"}, "")
    assert said("x.2") == (0, {"ygg-x.2"}, "")
    project.bd("delete", "ygg-x", "--force")
    code, ids, err = said("ygg-x")
    assert (code, ids) == (1, set())
    assert 'ambiguous ID "ygg-x" matches 2 issues: [ygg-x.1 ygg-x.2]\nUse more' in err
    project.bd("delete", "ygg-x.2", "--force")
    assert said("ygg-x") == (0, {"ygg-x.1"}, "")


# -- faults -----------------------------------------------------------------------------------


def test_a_fault_holds_for_the_calls_it_names_as_often_as_it_says(project: Project) -> None:
    project.break_calls({"call": "ready", "times": 2, **LOCKED})
    assert [project.run(w).returncode for w in ("ready", "list", "ready", "ready")] == [1, 0, 1, 0]


def test_a_call_can_take_effect_and_report_failure(project: Project) -> None:
    one = project.new("t")
    project.break_calls({"call": "close", "code": 1, "out": "", "err": "Error: lost\n"})
    assert project.run("close", one).returncode == 1
    assert project.issue(one).status == "closed"


@pytest.mark.parametrize(
    ("die", "status"), [("before", "open"), ("middle", "open"), ("after", "closed")]
)
def test_a_call_that_is_killed_did_all_or_nothing(project: Project, die: str, status: str) -> None:
    one = project.new("t")
    project.break_calls({"call": "close", "die": die})
    assert project.run("close", one).returncode == -9
    assert project.issue(one).status == status


def test_an_answer_can_be_cut_repeated_and_replaced(project: Project) -> None:
    one = project.new("t")
    whole = project.run("show", one).stdout
    project.break_calls({"cut": 0.5, "times": 1}, {"repeat": 3, "times": 1}, {"out": "rubbish"})
    assert project.run("show", one).stdout == whole[: len(whole) // 2]
    assert project.run("show", one).stdout == whole * 3
    assert project.run("show", one).stdout == "rubbish"


def test_a_claim_can_be_told_to_the_wrong_one(project: Project) -> None:
    one = project.new("t")
    project.break_calls({"call": "update", "steal": "thief"})
    assert json.loads(project.bd("update", one, "--claim"))[0]["assignee"] == "person"
    assert project.issue(one).assignee == "thief"


def test_a_write_can_stay_unseen_for_some_reads(project: Project) -> None:
    one = project.new("t")
    project.break_calls({"call": "close", "delay_reads": 2})
    project.bd("close", one)
    assert [project.issue(one).status for _ in range(3)] == ["open", "open", "closed"]


def test_every_call_is_counted_with_its_actor(project: Project) -> None:
    project.run("ready", "-n", "0", actor="a")
    assert [(c.words, c.actor) for c in project.calls] == [("init", "person"), ("ready -n 0", "a")]
