"""An answer is whole or not there, and once `write` has returned it stays."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import resource
import signal
import stat
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import TypeVar

import pytest

from ygg.artifacts import ArtifactError, Artifacts, NoArtifact
from ygg.atomic import Disk, encoded

T = TypeVar("T")

DAY = date(2026, 11, 24)
ID = "01hq3k8v9x2m4n6p7r"
OTHER_ID = "01hq3k8v9x2m4n6p7s"
PATH = f"2026-11-24/{ID}.md"
OLD, NEW = "an old answer\n" * 50, "a new answer\n" * 70


def with_artifacts(
    folder: Path, story: Callable[[Artifacts], Coroutine[None, None, T]], disk: Disk | None = None
) -> T:
    async def run() -> T:
        artifacts = Artifacts(folder, disk=disk)
        try:
            return await story(artifacts)
        finally:
            await artifacts.close()

    return asyncio.run(run())


class NamedOnly(Disk):
    """A file system that knows no files without names; a network's may not."""

    def create_unnamed(self, folder: int) -> int:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


def names(folder: Path) -> set[str]:
    """All files below, temporary ones too."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


# What is written, and where


def test_an_answer_comes_back_as_it_was_and_its_thinking_lies_beside_it(tmp_path: Path) -> None:
    async def story(artifacts: Artifacts) -> None:
        assert await artifacts.write(ID, "42\r\n\n", "hm", DAY) == PATH
        assert await artifacts.read(PATH) == "42\r\n\n"
        assert await artifacts.read(f"2026-11-24/{ID}.thinking.md") == "hm"
        with artifacts.open(PATH) as file:
            assert file.read() == b"42\r\n\n"

    with_artifacts(tmp_path / "state" / "artifacts", story)
    assert names(tmp_path) == {
        f"state/artifacts/{PATH}",
        f"state/artifacts/2026-11-24/{ID}.thinking.md",
    }


def test_others_may_not_read_answers(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with_artifacts(tmp_path / "a", lambda a: a.write(ID, "text", "", DAY))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a" / PATH).stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "a" / "2026-11-24").stat().st_mode) == 0o750
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o750


@pytest.mark.parametrize("disk", [Disk(), NamedOnly()], ids=["unnamed", "named"])
def test_a_rerun_replaces_the_answer_and_takes_old_thinking_away(
    tmp_path: Path, disk: Disk
) -> None:
    async def story(artifacts: Artifacts) -> None:
        await artifacts.write(ID, OLD, "old thinking", DAY)
        await artifacts.write(ID, NEW, "", DAY)
        assert await artifacts.read(PATH) == NEW

    with_artifacts(tmp_path, story, disk)
    assert names(tmp_path) == {PATH}


def test_without_proc_files_have_temporary_names(tmp_path: Path) -> None:
    class NoProc(Disk):
        def has_unnamed(self) -> bool:
            return False

        def create_unnamed(self, folder: int) -> int:
            raise AssertionError("it could never be named")

    with_artifacts(tmp_path, lambda a: a.write(ID, NEW, "", DAY), NoProc())
    assert names(tmp_path) == {PATH}


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    async def story(artifacts: Artifacts) -> None:
        before = open_descriptors()
        for text in (OLD, NEW):  # the second replaces the first
            await artifacts.write(ID, text, "hm", DAY)
        await artifacts.probe()
        assert open_descriptors() == before

    with_artifacts(tmp_path, story)


@pytest.mark.parametrize("size", [1, 4096, 65_537, 8 * 1024 * 1024])
def test_answers_of_all_sizes_come_back(tmp_path: Path, size: int) -> None:
    async def story(artifacts: Artifacts) -> str:
        return await artifacts.read(await artifacts.write(ID, "x" * size, "", DAY))

    assert with_artifacts(tmp_path, story) == "x" * size


class Trickle(Disk):
    """Takes seven bytes at a time."""

    def write(self, file: int, data: memoryview) -> int:
        return super().write(file, data[:7])


def test_short_writes_lose_nothing(tmp_path: Path) -> None:
    with_artifacts(tmp_path, lambda a: a.write(ID, NEW, "", DAY), Trickle())
    assert (tmp_path / PATH).read_text() == NEW


@pytest.mark.pure
@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("Grüße 🎉", "Grüße 🎉".encode()),
        ("half \ud83c only", "half \ufffd only".encode()),
        ("\udf89", "\ufffd".encode()),
        ("a pair in two halves: \ud83c\udf89", "a pair in two halves: 🎉".encode()),
    ],
)
def test_halves_of_surrogate_pairs_are_joined_or_replaced(text: str, data: bytes) -> None:
    assert encoded(text) == data


def test_an_answer_with_half_a_surrogate_pair_is_kept_as_utf8(tmp_path: Path) -> None:
    with_artifacts(tmp_path, lambda a: a.write(ID, "a\ud83cb", "\udf89", DAY))
    assert (tmp_path / PATH).read_bytes() == "a\ufffdb".encode()


@pytest.mark.parametrize("task_id", ["", "short", "../../../../etc/pass", ID.upper(), ID + "\n"])
def test_what_is_no_task_id_is_never_part_of_a_path(tmp_path: Path, task_id: str) -> None:
    with pytest.raises(ValueError, match="no task id"):
        with_artifacts(tmp_path, lambda a: a.write(task_id, "text", "", DAY))
    assert names(tmp_path) == set()


# Crashes


class DiesAt(Disk):
    """The process dies before its k-th call takes effect; a write takes half of it before."""

    def __init__(self, k: int) -> None:
        self._left = k

    def _step(self) -> bool:
        self._left -= 1
        return self._left == 0

    def _die(self) -> None:
        os._exit(9)

    def make_folder(self, path: Path) -> None:
        if self._step():
            self._die()
        super().make_folder(path)

    def open_folder(self, path: Path, *, follow: bool = False) -> int:
        if self._step():
            self._die()
        return super().open_folder(path, follow=follow)

    def create(self, name: str, folder: int) -> int:
        if self._step():
            self._die()
        return super().create(name, folder)

    def create_unnamed(self, folder: int) -> int:
        if self._step():
            self._die()
        return super().create_unnamed(folder)

    def link(self, file: int, name: str, folder: int) -> None:
        if self._step():
            self._die()
        super().link(file, name, folder)

    def write(self, file: int, data: memoryview) -> int:
        if self._step():
            super().write(file, data[: len(data) // 2])
            self._die()
        return super().write(file, data)

    def sync(self, file: int) -> None:
        if self._step():
            self._die()
        super().sync(file)

    def close(self, file: int) -> None:
        if self._step():
            self._die()
        super().close(file)

    def rename(self, old: str, new: str, folder: int) -> None:
        if self._step():
            self._die()
        super().rename(old, new, folder)

    def remove(self, name: str, folder: int) -> None:
        if self._step():
            self._die()
        super().remove(name, folder)


class DiesAtNamed(DiesAt, NamedOnly):
    pass


def in_child(work: Callable[[], None]) -> int:
    """The exit code of a child process that does the work."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - the child must never return into the test
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.system
@pytest.mark.parametrize("rerun", [False, True], ids=["first", "rerun"])
@pytest.mark.parametrize("dies", [DiesAt, DiesAtNamed], ids=["unnamed", "named"])
def test_a_crash_between_any_two_steps_leaves_whole_answers_only(
    tmp_path: Path, dies: type[DiesAt], *, rerun: bool
) -> None:
    whole = {OLD, NEW} if rerun else {NEW}
    died = 0
    for k in range(1, 100):
        folder = tmp_path / str(k) / "artifacts"
        if rerun:
            with_artifacts(folder, lambda a: a.write(ID, OLD, OLD, DAY))

        def work(folder: Path = folder, k: int = k) -> None:
            with_artifacts(folder, lambda a: a.write(ID, NEW, NEW, DAY), dies(k))

        code = in_child(work)
        if folder.exists():
            for name in (PATH, f"2026-11-24/{ID}.thinking.md"):
                with suppress(FileNotFoundError):
                    assert (folder / name).read_text() in whole, f"half-written at call {k}"
        if code == 0:
            break
        assert code == 9, f"the child failed at call {k}"
        died += 1

        async def story(artifacts: Artifacts) -> None:
            await artifacts.sweep()
            if rerun:
                assert await artifacts.read(PATH) in whole
            await artifacts.write(ID, NEW, "", DAY)

        with_artifacts(folder, story)
        assert names(folder) == {PATH}, f"something was left after the crash at call {k}"
    assert died > 12, f"only {died} steps were seen"
    assert (folder / PATH).read_text() == NEW


class Recorder(Disk):
    """Notes each call that changes the disk, for a power loss to be replayed after any of them."""

    def __init__(self) -> None:
        self.log: list[tuple[str, ...]] = []
        self.data: list[bytes] = []
        #: Path of each open descriptor.
        self._open: dict[int, str] = {}
        self._unnamed = itertools.count()

    def make_folder(self, path: Path) -> None:
        super().make_folder(path)
        self.log.append(("entry", str(path.parent), path.name, str(path)))

    def open_folder(self, path: Path, *, follow: bool = False) -> int:
        folder = super().open_folder(path, follow=follow)
        self._open[folder] = str(path)
        return folder

    def create(self, name: str, folder: int) -> int:
        file = super().create(name, folder)
        # A file is known by the name it was born with: temporary names are never used again.
        self._open[file] = f"{self._open[folder]}/{name}"
        self.log.append(("entry", self._open[folder], name, self._open[file]))
        return file

    def create_unnamed(self, folder: int) -> int:
        file = super().create_unnamed(folder)
        self._open[file] = f"{self._open[folder]}/without a name {next(self._unnamed)}.tmp"
        return file

    def link(self, file: int, name: str, folder: int) -> None:
        super().link(file, name, folder)
        self.log.append(("entry", self._open[folder], name, self._open[file]))

    def write(self, file: int, data: memoryview) -> int:
        count = super().write(file, data)
        self.data.append(bytes(data[:count]))
        self.log.append(("write", self._open[file], str(len(self.data) - 1)))
        return count

    def sync(self, file: int) -> None:
        super().sync(file)
        self.log.append(("sync", self._open[file]))

    def sync_all(self, folder: int) -> None:
        super().sync_all(folder)
        written = dict.fromkeys(path for kind, path, *_ in self.log if kind == "write")
        self.log.extend(("sync", path) for path in written)

    def rename(self, old: str, new: str, folder: int) -> None:
        super().rename(old, new, folder)
        self.log.append(("rename", self._open[folder], old, new))

    def remove(self, name: str, folder: int) -> None:
        super().remove(name, folder)
        self.log.append(("remove", self._open[folder], name))


def after_power_loss(
    recorder: Recorder, root: Path, log: list[tuple[str, ...]], *, entries: bool, part: float
) -> dict[str, bytes]:
    """The files below root when the power fails after `log`.

    Args:
        recorder: has the data of the writes.
        root: was there before, and durable.
        log: what was done.
        entries: whether what was done to folders since their last fsync is kept.
        part: how much of what was written to files since their last fsync is kept.
    """
    synced: dict[str, int] = {}
    for index, (kind, path, *_) in enumerate(log):
        if kind == "sync":
            synced[path] = index
    data: dict[str, bytes] = {}
    folders: dict[str, dict[str, str]] = {str(root): {}}
    for index, (kind, path, *rest) in enumerate(log):
        kept = index < synced.get(path, -1)
        if kind == "write":
            piece = recorder.data[int(rest[0])]
            data[path] = data.get(path, b"") + (piece if kept else piece[: int(len(piece) * part)])
        elif kind != "sync" and (kept or entries):
            here = folders.setdefault(path, {})
            if kind == "entry":
                here[rest[0]] = rest[1]
            elif kind == "rename":
                here[rest[1]] = here.pop(rest[0])
            elif kind == "remove":
                here.pop(rest[0], None)

    def walk(folder: str, prefix: str) -> Iterator[tuple[str, bytes]]:
        for name, path in folders.get(folder, {}).items():
            if any(path == p for k, p, *_ in log if k == "write"):
                yield prefix + name, data[path]
            else:
                yield from walk(path, f"{prefix}{name}/")

    return dict(walk(str(root), ""))


def lost_or_half(recorder: Recorder, root: Path) -> set[str]:
    """What a power loss at any moment can do to the writes that were recorded."""
    found = set[str]()
    for length in range(len(recorder.log) + 1):
        log = recorder.log[:length]
        acknowledged = {entry[2]: entry[3] for entry in log if entry[0] == "acknowledged"}
        done = [entry for entry in log if entry[0] != "acknowledged"]
        for entries in (False, True):
            for part in (0.0, 0.5, 1.0):
                disk = after_power_loss(recorder, root, done, entries=entries, part=part)
                for path, content in disk.items():
                    if path.endswith(".md") and content.decode() not in (OLD, NEW):
                        found.add("half-written")
                for path, text in acknowledged.items():
                    there = disk.get(f"artifacts/{path}")
                    if there is None or (text == NEW and there.decode() == OLD):
                        found.add("lost")
    return found


def record(root: Path, recorder: Recorder, *, together: bool) -> None:
    async def story(artifacts: Artifacts) -> None:
        for task_id, text in ((ID, OLD), (OTHER_ID, OLD), (ID, NEW)):
            path = await artifacts.write(task_id, text, text, DAY)
            recorder.log.append(("acknowledged", "", path, text))
        if together:
            await write_together(artifacts)

    async def write_together(artifacts: Artifacts) -> None:
        """A round of many: they wait while the thread is kept busy."""
        go = threading.Event()
        busy = asyncio.ensure_future(artifacts._writer.in_turn(go.wait))
        ids = [f"{number:018d}" for number in range(6)]
        writes = [asyncio.ensure_future(artifacts.write(task_id, NEW, "", DAY)) for task_id in ids]
        await asyncio.sleep(0)  # each has its place in the queue now
        go.set()
        for path in await asyncio.gather(*writes):
            recorder.log.append(("acknowledged", "", path, NEW))
        await busy

    with_artifacts(root / "artifacts", story, recorder)


class RecorderNamed(Recorder, NamedOnly):
    pass


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("kind", [Recorder, RecorderNamed], ids=["unnamed", "named"])
def test_no_power_loss_at_any_moment_loses_or_halves_an_answer(
    tmp_path: Path, kind: type[Recorder], *, together: bool
) -> None:
    recorder = kind()
    record(tmp_path, recorder, together=together)
    assert lost_or_half(recorder, tmp_path) == set()


class Forgetful(Recorder):
    """Leaves out one kind of fsync."""

    def __init__(self, forgets: Callable[[str], bool]) -> None:
        super().__init__()
        self._forgets = forgets

    def sync(self, file: int) -> None:
        if not self._forgets(self._open[file]):
            super().sync(file)

    def sync_all(self, folder: int) -> None:
        if not self._forgets("a file.tmp"):
            super().sync_all(folder)


class ForgetfulNamed(Forgetful, NamedOnly):
    pass


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("kind", [Forgetful, ForgetfulNamed], ids=["unnamed", "named"])
@pytest.mark.parametrize(
    ("forgets", "harm"),
    [
        (lambda path: path.endswith(".tmp"), "half-written"),
        (lambda path: path.endswith("2026-11-24"), "lost"),
        (lambda path: path.endswith("artifacts"), "lost"),
        (lambda path: not path.endswith((".tmp", "2026-11-24", "artifacts")), "lost"),
    ],
    ids=["files", "day", "artifacts", "parent"],
)
def test_the_power_loss_test_sees_each_fsync_that_is_left_out(
    tmp_path: Path,
    forgets: Callable[[str], bool],
    harm: str,
    kind: type[Forgetful],
    *,
    together: bool,
) -> None:
    recorder = kind(forgets)
    record(tmp_path, recorder, together=together)
    assert harm in lost_or_half(recorder, tmp_path)


def test_a_group_whose_sync_fails_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    class FailsToSync(Recorder):
        def sync_all(self, folder: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(ArtifactError, match="the disk failed"):
        record(tmp_path, FailsToSync(), together=True)
    assert not list(tmp_path.rglob("*.tmp"))
    assert not list(tmp_path.rglob(f"{3:018d}.md"))


# Failures of the disk


class Full(Disk):
    """Files whose number is given are on a full disk."""

    def __init__(self, *numbers: int) -> None:
        self._numbers = numbers
        self._created = 0

    def create(self, name: str, folder: int) -> int:
        return self._on_disk(super().create(name, folder))

    def create_unnamed(self, folder: int) -> int:
        return self._on_disk(super().create_unnamed(folder))

    def _on_disk(self, file: int) -> int:
        self._created += 1
        if self._created not in self._numbers:
            return file
        os.close(file)
        return os.open("/dev/full", os.O_WRONLY)


def test_a_full_disk_fails_one_answer_leaves_nothing_and_the_next_try_works(
    tmp_path: Path,
) -> None:
    async def story(artifacts: Artifacts) -> None:
        with pytest.raises(ArtifactError, match="disk is full: free space") as caught:
            await artifacts.write(ID, "text", "thinking", DAY)
        assert caught.value.errno == errno.ENOSPC
        assert str(tmp_path / PATH) in str(caught.value)
        assert names(tmp_path) == set()
        await artifacts.write(ID, "text", "", DAY)

    with_artifacts(tmp_path, story, Full(2))
    assert (tmp_path / PATH).read_text() == "text"


@pytest.mark.system
def test_a_limit_on_file_size_is_an_error_that_says_so(tmp_path: Path) -> None:
    async def story(artifacts: Artifacts) -> None:
        with pytest.raises(ArtifactError, match="LimitFSIZE") as caught:
            await artifacts.write(ID, "x" * 10_000, "", DAY)
        assert caught.value.errno == errno.EFBIG
        assert names(tmp_path) == set()
        await artifacts.write(OTHER_ID, "small", "", DAY)

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        with_artifacts(tmp_path, story)

    assert in_child(work) == 0
    assert names(tmp_path) == {f"2026-11-24/{OTHER_ID}.md"}


class BadSync(Disk):
    """The first fsync of a file, or of a folder, fails."""

    def __init__(self, *, of_folder: bool) -> None:
        self._of_folder = of_folder
        self._failed = False
        self.created: list[str] = []

    def create(self, name: str, folder: int) -> int:
        self.created.append(name)
        return super().create(name, folder)

    def create_unnamed(self, folder: int) -> int:
        self.created.append(f"without a name {len(self.created)}")
        return super().create_unnamed(folder)

    def sync(self, file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode) == self._of_folder and not self._failed:
            self._failed = True
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync(file)


@pytest.mark.parametrize("of_folder", [False, True], ids=["file", "folder"])
def test_after_a_failed_fsync_the_file_is_written_anew_as_another_file(
    tmp_path: Path, of_folder: bool
) -> None:
    disk = BadSync(of_folder=of_folder)

    async def story(artifacts: Artifacts) -> None:
        with pytest.raises(ArtifactError, match="kernel log") as caught:
            await artifacts.write(ID, "text", "", DAY)
        assert caught.value.errno == errno.EIO
        assert [name for name in names(tmp_path) if name.endswith(".tmp")] == []
        await artifacts.write(ID, "text", "", DAY)

    with_artifacts(tmp_path, story, disk)
    assert len(set(disk.created)) == 2
    assert names(tmp_path) == {PATH}


@pytest.mark.parametrize("stands", ["", "2026-11-24"], ids=["root", "day"])
def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path, stands: str) -> None:
    folder = tmp_path / "artifacts"
    if stands:
        folder.mkdir()
    (folder / stands).write_text("in the way")
    with pytest.raises(ArtifactError, match="move it away") as caught:
        with_artifacts(folder, lambda a: a.write(ID, "text", "", DAY))
    assert caught.value.errno == errno.ENOTDIR
    assert str(folder / PATH) in str(caught.value)


def test_a_folder_where_the_answer_should_be_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / PATH).mkdir(parents=True)
    with pytest.raises(ArtifactError, match="a folder stands in its place"):
        with_artifacts(tmp_path, lambda a: a.write(ID, "text", "", DAY))
    assert names(tmp_path) == set()


def test_a_day_folder_that_leads_elsewhere_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "2026-11-24").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="2026-11-24"):
        with_artifacts(tmp_path / "artifacts", lambda a: a.write(ID, "text", "", DAY))
    assert names(tmp_path) == set()


def test_a_day_folder_that_somebody_removed_is_made_again_and_durable(tmp_path: Path) -> None:
    recorder = Recorder()

    async def story(artifacts: Artifacts) -> None:
        await artifacts.write(ID, "text", "", DAY)
        (tmp_path / PATH).unlink()
        (tmp_path / "2026-11-24").rmdir()
        await artifacts.write(ID, "text", "", DAY)

    with_artifacts(tmp_path, story, recorder)
    assert names(tmp_path) == {PATH}
    assert recorder.log.count(("sync", str(tmp_path))) == 2


class Mistaken(Disk):
    def link(self, file: int, name: str, folder: int) -> None:
        raise LookupError("a mistake of ours")


def test_a_mistake_of_ours_reaches_those_who_wait(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="a mistake of ours"):
        with_artifacts(tmp_path, lambda a: a.write(ID, "text", "", DAY), Mistaken())


def test_a_probe_writes_and_leaves_nothing(tmp_path: Path) -> None:
    with_artifacts(tmp_path / "state" / "artifacts", lambda a: a.probe())
    assert list((tmp_path / "state" / "artifacts").iterdir()) == []


def test_a_probe_says_that_the_disk_is_full_until_it_is_not(tmp_path: Path) -> None:
    async def story(artifacts: Artifacts) -> None:
        with pytest.raises(ArtifactError, match="disk is full") as caught:
            await artifacts.probe()
        assert str(tmp_path) in str(caught.value)
        assert names(tmp_path) == set()
        await artifacts.probe()

    with_artifacts(tmp_path, story, Full(1))


# Grouping


class Gate(Disk):
    """Holds the first fsync of a file until it is told to go on; counts those of folders."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go = threading.Event()
        self.folder_syncs = 0

    def sync(self, file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            self.folder_syncs += 1
        elif not self.reached.is_set():
            self.reached.set()
            assert self.go.wait(60), "nobody opened the gate"
        super().sync(file)


@contextmanager
def going_on(gate: Gate) -> Iterator[None]:
    """Open the gate at the end, whatever happens: a thread waits at it."""
    try:
        yield
    finally:
        gate.go.set()


def test_answers_that_wait_share_one_fsync_of_their_folder(tmp_path: Path) -> None:
    gate = Gate()

    async def story(artifacts: Artifacts) -> None:
        async with asyncio.TaskGroup() as group:
            with going_on(gate):
                group.create_task(artifacts.write(ID, "text", "", DAY))
                await asyncio.to_thread(gate.reached.wait, 60)
                writes = [
                    group.create_task(artifacts.write(f"{n:018d}", str(n), "", DAY))
                    for n in range(50)
                ]
                await asyncio.sleep(0)  # each has its place in the queue now
        assert {write.result() for write in writes} == {
            f"2026-11-24/{n:018d}.md" for n in range(50)
        }

    with_artifacts(tmp_path, story, gate)
    assert len(names(tmp_path)) == 51
    # The first alone: its day, and once the day in the root and the root in its parent.
    # Then all the others: their day.
    assert gate.folder_syncs == 3 + 1


def test_one_bad_answer_of_a_round_does_not_fail_the_others(tmp_path: Path) -> None:
    class GateAndFull(Gate):
        def link(self, file: int, name: str, folder: int) -> None:
            if name == f"{1:018d}.md":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().link(file, name, folder)

    gate = GateAndFull()

    async def story(artifacts: Artifacts) -> list[str | BaseException]:
        first = asyncio.ensure_future(artifacts.write(ID, "text", "", DAY))
        with going_on(gate):
            await asyncio.to_thread(gate.reached.wait, 60)
            rest = asyncio.gather(
                *(artifacts.write(f"{n:018d}", "x", "", DAY) for n in range(3)),
                return_exceptions=True,
            )
            await asyncio.sleep(0)
        await first
        return await rest

    ended = with_artifacts(tmp_path, story, gate)
    assert [type(result) for result in ended] == [str, ArtifactError, str]
    assert names(tmp_path) == {PATH, f"2026-11-24/{0:018d}.md", f"2026-11-24/{2:018d}.md"}


def test_a_write_that_is_cancelled_while_it_waits_is_left_out(tmp_path: Path) -> None:
    gate = Gate()

    async def story(artifacts: Artifacts) -> None:
        first = asyncio.ensure_future(artifacts.write(ID, "text", "", DAY))
        with going_on(gate):
            await asyncio.to_thread(gate.reached.wait, 60)
            second = asyncio.ensure_future(artifacts.write(OTHER_ID, "text", "", DAY))
            await asyncio.sleep(0)
            second.cancel()
            with suppress(asyncio.CancelledError):
                await second
        await first
        assert second.cancelled()

    with_artifacts(tmp_path, story, gate)
    assert names(tmp_path) == {PATH}


# Reading


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../secret.md",
        f"../{PATH}",
        f"2026-11-24/../2026-11-24/{ID}.md",
        f"2026-11-24/../../{ID}.md",
        f"/{PATH}",
        f"{PATH}/",
        f"{PATH}\n",
        f"{PATH}\0",
        f"2026-11-24//{ID}.md",
        f"./{PATH}",
        f"..%2f{PATH}",
        f"2026-11-24\\{ID}.md",
        f"2026-11-24/.{ID}.md.0.0.tmp",
        "2026-11-24",
    ],
)
def test_only_paths_of_answers_are_looked_at(tmp_path: Path, path: str) -> None:
    async def story(artifacts: Artifacts) -> None:
        await artifacts.write(ID, "text", "", DAY)
        (tmp_path / "secret.md").write_text("secret")
        with pytest.raises(NoArtifact, match="no path of an answer"):
            await artifacts.read(path)

    with_artifacts(tmp_path / "artifacts", story)


@pytest.mark.parametrize("link", ["file", "folder"])
def test_symbolic_links_are_not_followed(tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / f"{ID}.md").write_text("secret")
    day = tmp_path / "artifacts" / "2026-11-24"
    if link == "folder":
        day.parent.mkdir()
        day.symlink_to(outside)
    else:
        day.mkdir(parents=True)
        (day / f"{ID}.md").symlink_to(outside / f"{ID}.md")
    with pytest.raises(ArtifactError) as caught:
        with_artifacts(tmp_path / "artifacts", lambda a: a.read(PATH))
    assert caught.value.errno in (errno.ELOOP, errno.ENOTDIR)


def test_an_answer_that_is_not_there_is_told_apart_from_a_broken_disk(tmp_path: Path) -> None:
    with pytest.raises(NoArtifact, match="its time was up"):
        with_artifacts(tmp_path, lambda a: a.read(PATH))


def test_an_answer_that_a_person_broke_is_still_shown(tmp_path: Path) -> None:
    async def story(artifacts: Artifacts) -> str:
        await artifacts.write(ID, "text", "", DAY)
        (tmp_path / PATH).write_bytes(b"a\xffb")
        return await artifacts.read(PATH)

    assert with_artifacts(tmp_path, story) == "a\ufffdb"


# Leftovers, and what is old


def test_sweeping_takes_leftovers_and_nothing_else(tmp_path: Path) -> None:
    async def story(artifacts: Artifacts) -> None:
        assert await artifacts.sweep() == 0
        await artifacts.write(ID, "text", "hm", DAY)
        left = tmp_path / "2026-11-24" / f".{OTHER_ID}.md.0a1b2c3d.7.tmp"
        left.write_text("ha")
        (tmp_path / "2026-11-24" / ".keep.tmp").touch()
        (tmp_path / ".probe.0a1b2c3d.0.tmp").touch()
        (tmp_path / "notes").mkdir()
        (tmp_path / "notes" / left.name).touch()
        assert await artifacts.sweep() == 2

    with_artifacts(tmp_path, story)
    assert names(tmp_path) == {
        PATH,
        f"2026-11-24/{ID}.thinking.md",
        "2026-11-24/.keep.tmp",
        f"notes/.{OTHER_ID}.md.0a1b2c3d.7.tmp",
    }


def test_pruning_takes_the_days_before_and_keeps_what_is_not_ours(tmp_path: Path) -> None:
    async def story(artifacts: Artifacts) -> None:
        for n, day in enumerate([date(2026, 1, 9), date(2026, 1, 10), DAY]):
            await artifacts.write(f"{n:018d}", "text", "hm", day)
        (tmp_path / "2026-01-08").mkdir()
        (tmp_path / "2026-01-08" / "note.txt").touch()
        (tmp_path / "2026-01-07").mkdir()
        assert await artifacts.prune(date(2026, 1, 10)) == 2
        assert await artifacts.prune(date(2026, 1, 10)) == 0
        await artifacts.write(ID, "late", "", date(2026, 1, 9))

    with_artifacts(tmp_path, story)
    assert {path.name for path in tmp_path.iterdir()} == {
        "2026-01-08",  # a person keeps something there
        "2026-01-09",
        "2026-01-10",
        "2026-11-24",
    }
    assert {path.name for path in (tmp_path / "2026-01-09").iterdir()} == {f"{ID}.md"}


def test_pruning_more_than_a_batch_takes_all(tmp_path: Path) -> None:
    day = tmp_path / "2026-01-09"
    day.mkdir()
    for n in range(1001):
        (day / f"{n:018d}.md").touch()
    assert with_artifacts(tmp_path, lambda a: a.prune(DAY)) == 1001
    assert not day.exists()
