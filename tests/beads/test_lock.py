"""One dispatcher a project, also when the project's files are put back from a copy."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.beads.project import Project
from ygg.fleet import BeadsSettings
from ygg.sources.base import End, NoProject, Report, TaskSource
from ygg.sources.beads import Beads
from ygg.sources.project import InUse, Lock, beads, taken
from ygg.sources.where import project_at

pytestmark = pytest.mark.system

REPORT = Report(issue_id="ygg-x", task_id="t1", attempt=1, end=End.DONE)
CALLS: dict[str, Callable[[TaskSource], Awaitable[object]]] = {
    "ready": lambda source: source.ready(),
    "mine": lambda source: source.mine(),
    "show": lambda source: source.show(["ygg-x"]),
    "claim": lambda source: source.claim(["ygg-x"]),
    "hand_back": lambda source: source.hand_back(["ygg-x"]),
    "tell": lambda source: source.tell(REPORT),
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def lock(project: Project) -> Iterator[Lock]:
    with taken(project_at(project.beads), "first:1") as held:
        yield held


def fed(project: Project, lock: Lock) -> Beads:
    environ = {**os.environ, "PATH": project.path}
    return beads(
        project_at(project.beads), BeadsSettings(), telling=lambda _report, _issue: (),
        lock=lock, environ=environ,
    )  # fmt: skip


def run(source: Beads, name: str) -> None:
    async def whole() -> None:
        await CALLS[name](source)

    asyncio.run(whole())


def others(project: Project) -> str:
    """What a second dispatcher is told; "": it starts."""
    try:
        with taken(project_at(project.beads), "second:2"):
            return ""
    except InUse as error:
        return str(error)


def put_back(project: Project) -> None:
    copy = project.folder / "copy"
    shutil.copytree(project.beads, copy)
    shutil.rmtree(project.beads)
    copy.rename(project.beads)


def clean(project: Project) -> None:
    (project.beads / "ygg.lock").unlink()


def test_a_second_dispatcher_is_told_who_has_it_until_that_one_ends(project: Project) -> None:
    with taken(project_at(project.beads), "first:1"):
        assert "the dispatcher first:1 feeds from this project" in others(project)
    assert others(project) == ""


@pytest.mark.parametrize("replaced", [put_back, clean])
def test_a_lock_that_was_replaced_is_held_again_from_the_next_call_on(
    project: Project, lock: Lock, replaced: Callable[[Project], None],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    source = fed(project, lock)
    run(source, "ready")
    assert "event=lock_replaced" not in caplog.text
    replaced(project)
    run(source, "ready")
    assert "first:1 feeds from this project" in others(project)
    assert caplog.text.count("event=lock_replaced") == 1


@pytest.mark.parametrize("name", CALLS)
def test_who_lost_the_lock_to_another_one_calls_nothing_until_it_is_free(
    project: Project, lock: Lock, name: str
) -> None:
    project.new("a", "--id", "ygg-x")
    source = fed(project, lock)
    run(source, "ready")
    put_back(project)
    before = len(project.calls)
    with taken(project_at(project.beads), "second:2"):
        for _ in range(2):
            with pytest.raises(InUse, match="the dispatcher second:2 feeds from this project"):
                run(source, name)
    assert len(project.calls) == before
    run(source, name)
    assert "first:1 feeds" in others(project)


def test_a_project_that_is_away_is_told_and_locked_when_it_is_back(
    project: Project, lock: Lock
) -> None:
    source = fed(project, lock)
    away = project.beads.rename(project.folder / "away")
    with pytest.raises(NoProject, match=r"\.beads: there is no such folder any more; put it back"):
        run(source, "ready")
    away.rename(project.beads)
    run(source, "ready")
    assert "first:1 feeds" in others(project)


def test_a_lock_that_can_not_be_written_is_told(
    project: Project, lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    source = fed(project, lock)
    put_back(project)
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(NoProject, match="No space left"):
            run(source, "ready")
    run(source, "ready")
    assert "first:1 feeds" in others(project)
