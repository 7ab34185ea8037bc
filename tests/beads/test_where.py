"""Which project is meant, and where its files are, as bd decides it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ygg.fleet import BeadsSettings
from ygg.sources.base import NoProject
from ygg.sources.where import Project, Wanted, find_project, poll_seconds, project_at

NOTHING = BeadsSettings()


def made(folder: Path, redirect: str | None = None) -> Path:
    """A `.beads` in it, with a database or a redirect."""
    beads = folder / ".beads"
    beads.mkdir(parents=True)
    if redirect is None:
        (beads / "metadata.json").write_text("{}")
    else:
        (beads / "redirect").write_text(redirect)
    return beads


def found(folder: Path, *, path: str | None = None, settings: BeadsSettings = NOTHING,
          **environ: str) -> Project | None:  # fmt: skip
    return find_project(Wanted(path=path), settings, folder, environ)


def test_what_was_said_goes_before_hosts_yaml_before_the_environment_before_what_is_near(
    tmp_path: Path,
) -> None:
    said, kept, told, near = (made(tmp_path / n) for n in ("said", "kept", "told", "near"))
    settings, below = BeadsSettings(path=kept.parent), near.parent / "a"
    below.mkdir()
    env = str(told)
    flag = str(said.parent)
    assert found(below, path=flag, settings=settings, BEADS_DIR=env) == project_at(said)
    assert found(below, settings=settings, BEADS_DIR=env) == project_at(kept)
    assert found(below, BEADS_DIR=env) == project_at(told)
    assert found(below, BEADS_DIR="") == found(below) == project_at(near)
    assert find_project(Wanted(off=True), settings, below, {"BEADS_DIR": env}) is None
    assert found(tmp_path) is None


def test_the_environment_may_name_a_folder_of_any_name_from_here_on(tmp_path: Path) -> None:
    (tmp_path / "issues").mkdir()
    project = found(tmp_path, BEADS_DIR="issues")
    assert project is not None
    assert (project.beads, project.folder) == (tmp_path / "issues", tmp_path)


def test_an_environment_that_names_nothing_is_an_error_and_no_other_project_is_taken(
    tmp_path: Path,
) -> None:
    made(tmp_path)
    with pytest.raises(NoProject, match="BEADS_DIR=/nowhere: there is no such folder; unset it"):
        found(tmp_path, BEADS_DIR="/nowhere")


@pytest.mark.parametrize(
    "text",
    [
        "../main/.beads",
        "# shared\n\n  ../main/.beads  \nrest",
        "{}/main/.beads\n",
        "\ufeff../main/.beads",
    ],
    ids=["relative", "comments", "absolute", "mark"],
)
def test_a_redirect_leads_from_the_projects_folder_to_its_files(tmp_path: Path, text: str) -> None:
    main = made(tmp_path / "main")
    tree = made(tmp_path / "tree", text.format(tmp_path))
    assert project_at(tree) == Project(beads=tree, files=main)
    assert project_at(tree).is_redirected


@pytest.mark.parametrize("text", ["", "# nothing\n", "a\0b"])
def test_a_redirect_without_a_path_is_none(tmp_path: Path, text: str) -> None:
    tree = made(tmp_path, text)
    assert project_at(tree) == Project(beads=tree, files=tree)


def test_a_redirect_to_nowhere_is_told_and_not_followed(tmp_path: Path) -> None:
    tree = made(tmp_path, "../gone/.beads")
    project = project_at(tree)
    assert (project.files, "bd does not follow it" in project.doubt) == (tree, True)


def test_where_versions_of_bd_differ_it_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    project = project_at(made(tmp_path / "tree", "../empty"))
    assert (project.files, "some versions of bd" in project.doubt) == (tmp_path / "empty", True)


def test_the_redirect_of_a_redirect_is_told_and_not_followed(tmp_path: Path) -> None:
    made(tmp_path / "last")
    middle = made(tmp_path / "middle")
    (middle / "redirect").write_text("../last/.beads")
    project = project_at(made(tmp_path / "tree", "../middle/.beads"))
    assert (project.files, "which has one too" in project.doubt) == (middle, True)


@pytest.mark.parametrize(
    ("metadata", "environ", "seconds"),
    [
        (None, {}, 60),
        ("{}", {}, 60),
        ('{"dolt_mode": "embedded"}', {"BEADS_DOLT_SERVER_MODE": "0"}, 60),
        ('{"dolt_mode": "server"}', {}, 10),
        ('{"dolt_mode": "Proxied-Server", "other": [1]}', {}, 10),
        (None, {"BEADS_DOLT_SERVER_MODE": "1"}, 10),
        ('{"dolt_mode": "embedded"}', {"BEADS_DOLT_SHARED_SERVER": "True"}, 10),
        ('{"dolt_mode": 7}', {}, 60),
        ('{"dolt_mo', {}, 60),
        (b'\xff{"dolt_mode": "server"}', {}, 60),
    ],
)
def test_a_project_whose_issues_are_on_a_server_is_looked_at_more_often(
    tmp_path: Path, metadata: str | bytes | None, environ: dict[str, str], seconds: float
) -> None:
    beads = made(tmp_path)
    (beads / "metadata.json").unlink()
    if metadata is not None:
        data = metadata if isinstance(metadata, bytes) else metadata.encode()
        (beads / "metadata.json").write_bytes(data)
    project = project_at(beads)
    assert poll_seconds(project, NOTHING, environ) == seconds
    assert poll_seconds(project, BeadsSettings(poll_seconds=33.0), environ) == 33.0
    (beads / "dolt").mkdir()  # then its files change here
    assert poll_seconds(project, NOTHING, environ) == 60


def test_of_a_redirected_project_the_files_say_where_its_issues_are(tmp_path: Path) -> None:
    files = made(tmp_path / "files")
    (files / "metadata.json").write_text('{"dolt_mode": "server"}')
    near = made(tmp_path / "near", f"{files}\n")
    assert poll_seconds(project_at(near), NOTHING, {}) == 10
