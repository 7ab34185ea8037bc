"""hosts.yaml read anew: what is handed on, what is told of it, and that a bad edit changes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ygg.filewatch import FileWatch
from ygg.fleet import FileStanding, Fleet
from ygg.hostsfile import read_fleet
from ygg.reloading import NotNow, Reloading

ONE = "hosts: {a: {url: 'http://a'}}\n"
TWO = "hosts: {a: {url: 'http://a'}, b: {url: 'http://b'}}\n"
BAD = "hosts:\n  a: {ulr: 'http://a'}\n"


class Scene:
    def __init__(self, folder: Path) -> None:
        self.file = folder / "hosts.yaml"
        self.file.write_text(ONE)
        self.taken: list[Fleet] = []
        self.told: list[FileStanding] = []
        self.draining = False
        self.now = 7.0
        self.reloading = Reloading(
            FileWatch(self.file), read_fleet(self.file), take=self.take, tell=self.told.append,
            wall=lambda: self.now,
        )  # fmt: skip

    async def take(self, fleet: Fleet) -> None:
        if self.draining:
            raise NotNow("it is ending")
        self.taken.append(fleet)

    async def edit(self, text: str, *, asked: bool = False) -> FileStanding:
        self.file.write_text(text)
        self.now += 1.0
        await self.reloading.once(asked=asked)
        return self.told[-1]


def run(folder: Path, story: Callable[[Scene], Awaitable[None]]) -> None:
    async def whole() -> None:
        await story(Scene(folder))

    asyncio.run(whole())


def lines(caplog: pytest.LogCaptureFixture, event: str) -> list[str]:
    return [r.getMessage() for r in caplog.records if f"event={event} " in r.getMessage()]


@pytest.fixture(autouse=True)
def all_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ygg.config")


def test_what_changed_is_handed_on_and_told_in_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(s: Scene) -> None:
        assert await s.edit(TWO) == FileStanding(taken_at=8.0)
        assert list(s.taken[0].hosts) == ["a", "b"]
        assert len(lines(caplog, "reloaded")) == 1
        (added, *routes) = lines(caplog, "reload_change")
        assert "host b is added: http://b" in added
        assert len(routes) == 4, "each of the four types runs there too"

    run(tmp_path, story)


def test_a_bad_edit_hands_nothing_on_and_says_why_once_for_each_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(s: Scene) -> None:
        standing = await s.edit(BAD)
        (known, missing) = standing.problems
        assert known.startswith(f"{s.file}:2: ")
        assert "did you mean 'url'?" in known + missing
        assert (s.taken, standing.taken_at) == ([], 7.0)
        assert len(lines(caplog, "reload_failed")) == 1
        assert len(lines(caplog, "reload_problem")) == 2
        assert f"{s.file}:2" in lines(caplog, "reload_problem")[0]
        await s.edit(BAD)
        assert len(lines(caplog, "reload_failed")) == 1, "the same text is not told of again"
        await s.edit(BAD + "# another\n")
        assert len(lines(caplog, "reload_failed")) == 2
        await s.edit(BAD + "# another\n", asked=True)
        assert len(lines(caplog, "reload_failed")) == 3, "who asks is answered"
        assert await s.edit(ONE) == FileStanding(taken_at=12.0)
        assert len(lines(caplog, "reloaded")) == 1, "it is well again"
        await s.edit(BAD)
        assert len(lines(caplog, "reload_failed")) == 4

    run(tmp_path, story)


def test_a_file_that_is_gone_or_no_text_changes_nothing(tmp_path: Path) -> None:
    async def story(s: Scene) -> None:
        s.file.unlink()
        await s.reloading.once()
        assert "there is no such file" in s.told[-1].problems[0]
        s.file.write_bytes(b"hosts:\n\xff")
        await s.reloading.once()
        assert s.told[-1].problems == (f"{s.file}:2: not UTF-8; save the file as UTF-8",)
        assert s.taken == []
        assert (await s.edit(TWO)).problems == ()

    run(tmp_path, story)


def test_what_takes_a_restart_is_told_until_the_file_says_again_what_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(s: Scene) -> None:
        listen = "dispatcher: {listen: '127.0.0.1:9', drain_seconds: 5}\n"
        standing = await s.edit(ONE + listen)
        assert standing.needs_restart == (
            (
                "dispatcher: listen 127.0.0.1:8765 -> 127.0.0.1:9 "
                "(only at a restart, unless --listen says otherwise)"
            ),
        )
        assert len(lines(caplog, "reload_needs_restart")) == 1
        assert (await s.edit(BAD)).needs_restart == standing.needs_restart
        assert (await s.edit(TWO + listen)).needs_restart == standing.needs_restart
        assert len(lines(caplog, "reload_needs_restart")) == 1, "told when it was changed"
        assert (await s.edit(TWO)).needs_restart == ()

    run(tmp_path, story)


def test_another_comment_is_taken_over_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(s: Scene) -> None:
        await s.edit("# mine\n" + ONE)
        assert (len(s.taken), lines(caplog, "reloaded")) == (1, [])
        await s.edit("# mine\n" + ONE, asked=True)
        assert len(lines(caplog, "reloaded")) == 1, "who asks is answered"

    run(tmp_path, story)


def test_a_bug_of_ours_in_it_ends_nothing_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(s: Scene) -> None:
        async def breaks(_: Fleet) -> None:
            raise KeyError("x")

        reloading = Reloading(
            FileWatch(s.file), read_fleet(s.file), take=breaks, tell=s.told.append,
            wall=lambda: s.now,
        )  # fmt: skip
        running = asyncio.ensure_future(reloading.run())
        s.file.write_text(TWO)
        async with asyncio.timeout(30.0):
            while not s.told:
                await asyncio.sleep(0.01)
        assert s.told[0].problems == (f"{s.file}: internal error: KeyError('x'); see the log",)
        assert not running.done()
        assert lines(caplog, "reload_broke")
        running.cancel()

    run(tmp_path, story)


def test_in_a_drain_nothing_is_taken_over_and_the_log_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(s: Scene) -> None:
        s.draining = True
        s.file.write_text(TWO)
        await s.reloading.once()
        assert (s.taken, s.told) == ([], [])
        assert "why='it is ending'" in lines(caplog, "reload_ignored")[0]

    run(tmp_path, story)
