"""What is printed of a comparison: text, JSON, picture, and the command around them."""

from __future__ import annotations

import json
import signal
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.compare.rows import Rows, comparison, outcome, report
from ygg.cli import main
from ygg.compare import picture
from ygg.compare.recording import read_recording
from ygg.compare.report import Cost, as_json, improvements, lines
from ygg.compare.usage import usage_of
from ygg.findings import FindingKind

pytestmark = pytest.mark.pure


class TestText:
    def test_the_servers_are_said_before_any_figure(self) -> None:
        text = lines(comparison())
        assert text[1] == "Servers: SIMULATED: made up."
        assert text[0].startswith("4 tasks (a test), the same through both dispatchers")

    def test_each_figure_stands_beside_its_twin(self) -> None:
        rows = {r.split("  ")[0]: r.split() for r in "\n".join(lines(comparison())).splitlines()}
        assert rows["makespan"][-4:] == ["8.0", "s", "4.0", "s"]
        assert rows["tasks at once, at most"][-2:] == ["1", "2"]
        assert rows["wait, 0 critical: median, p95"][-8:] == (
            ["6.0", "s,", "6.0", "s", "0.00", "s,", "0.00", "s"]
        )
        assert rows["fenrir: slots in use"][-4:] == ["33", "%", "67", "%"]
        assert rows["order inversions"][-8:] == ["3", "in", "4", "starts", "0", "in", "4", "starts"]
        assert rows["dispatcher's CPU"][-4:] == ["1.2", "s", "1.2", "s"]
        assert rows["its memory, at most"][-4:] == ["50", "MB", "50", "MB"]

    def test_every_row_of_the_originals_table_has_its_claim_and_its_figure(self) -> None:
        rows = improvements(comparison())
        assert [row.aspect for row in rows] == [
            "Max concurrent tasks", "Task ordering", "GPU idle time", "CPU overhead", "Scalability",
        ]  # fmt: skip
        assert (rows[0].threads, rows[0].with_async) == ("1", "2")
        assert (rows[2].threads, rows[2].with_async) == (
            "slots idle 86 % of the time", "slots idle 71 % of the time",
        )  # fmt: skip
        text = "\n".join(lines(comparison()))
        for row in rows:
            assert all(part in text for part in row)

    def test_what_can_not_be_measured_is_a_dash(self) -> None:
        unknown = Cost(cpu_seconds=None, context_switches=None, memory_bytes=None)
        compared = comparison()
        text = lines(replace(compared, threads=replace(compared.threads, cost=unknown)))
        (row,) = [r for r in "\n".join(text).splitlines() if r.startswith("its context switches")]
        assert row.split()[-2:] == ["-", "7,000"]

    def test_figures_that_can_not_be_trusted_say_so(self) -> None:
        rows = Rows()
        rows.accept()
        rows.accept()
        rows.ran("t0", "surtr", 0.0, 1.0)
        compared = comparison()
        broken = replace(compared.with_async, report=report(4, {FindingKind.LIMIT_BREAK: 2}))
        wrong = replace(compared, threads=outcome(rows), with_async=broken)
        assert wrong.problems() == [
            "threads: 1 of 2 tasks were not closed",
            "async: the checker found more than inversions: 2 limit_break",
        ]
        assert lines(wrong)[-2:] == [f"NOT TO BE TRUSTED: {p}" for p in wrong.problems()]
        assert as_json(wrong)["trusted"] is False

    def test_an_inversion_of_the_real_dispatcher_is_a_problem_one_of_the_threads_is_not(
        self,
    ) -> None:
        compared = comparison()
        assert compared.problems() == []
        swapped = replace(compared, with_async=compared.threads)
        assert swapped.problems() == ["async: the checker found 3 inversions"]


def test_json_has_every_run_of_both() -> None:
    whole = json.loads(json.dumps(as_json(comparison())))
    assert (whole["servers"], whole["trusted"]) == ("simulated", True)
    assert whole["async"]["wait_seconds"]["0"] == {"count": 1, "median": 0.0, "p95": 0.0}
    assert whole["threads"]["runs"][3] == {
        "task": "t3", "type": "general", "priority": 0, "host": "fenrir", "slot": 0, "ready": 0.0,
        "started": 6.0, "ended": 8.0, "outcome": "closed",
    }  # fmt: skip


class TestPicture:
    def test_it_has_a_row_for_each_slot_used_or_not(self) -> None:
        rows = Rows({"a": 1, "b": 2})
        rows.accept()
        rows.ran("t0", "b", 0.0, 1.0)
        assert picture.lanes(read_recording(rows.rows)) == [("a", 0), ("b", 0), ("b", 1)]

    def test_a_png_and_an_svg_can_be_drawn(self, tmp_path: Path) -> None:
        picture.draw(comparison(), tmp_path / "c.png")
        assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG\r\n")
        picture.draw(comparison(), tmp_path / "c.svg")
        assert ET.parse(tmp_path / "c.svg").getroot().tag.endswith("svg")

    def test_the_same_comparison_is_the_same_svg(self, tmp_path: Path) -> None:
        for name in ("1.svg", "2.svg"):
            picture.draw(comparison(), tmp_path / name)
        assert (tmp_path / "1.svg").read_bytes() == (tmp_path / "2.svg").read_bytes()

    def test_a_comparison_in_which_nothing_ran_can_be_drawn(self, tmp_path: Path) -> None:
        nothing = replace(comparison(), threads=outcome(Rows()), with_async=outcome(Rows()))
        picture.draw(nothing, tmp_path / "c.png")

    def test_fills_are_apart_in_grey_from_what_stands_on_them(self) -> None:
        for fill, ink in picture._COLOURS.values():
            light = 1.0 if ink == "white" else 0.0
            assert _contrast(_luminance(fill), light) >= 4.5, fill


def _luminance(colour: str) -> float:
    """Relative luminance of WCAG 2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(a: float, b: float) -> float:
    return (max(a, b) + 0.05) / (min(a, b) + 0.05)


class TestUsage:
    def test_a_process_is_read_with_all_its_threads_whatever_its_name(self, tmp_path: Path) -> None:
        process = tmp_path / "7"
        for thread, switches in (("7", 10), ("8", 32)):
            (process / "task" / thread).mkdir(parents=True)
            (process / "task" / thread / "status").write_text(
                f"Name:\tx\nvoluntary_ctxt_switches:\t{switches}\nnonvoluntary_ctxt_switches:\t1\n"
            )
        (process / "stat").write_text("7 (a) b (c) S " + " ".join(["0"] * 10 + ["300", "200"]))
        (process / "status").write_text("Name:\tx\nVmHWM:\t    2048 kB\n")
        usage = usage_of(7, tmp_path)
        assert usage is not None
        assert (usage.context_switches, usage.memory_bytes) == (44, 2048 * 1024)
        assert usage.cpu_seconds > 0

    def test_where_there_is_no_such_folder_nothing_is_known(self, tmp_path: Path) -> None:
        assert usage_of(7, tmp_path) is None


# -- the command, without the minute that it takes ---------------------------------------------


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Measuring is replaced by what was measured once."""
    monkeypatch.setattr("ygg.compare.run.compare", lambda *_, **__: comparison())
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("compared")
class TestCommand:
    def test_without_an_output_it_says_how_to_get_a_picture(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["compare"]) == 0
        assert capsys.readouterr().out.endswith("As a picture: ygg compare --output compare.png\n")

    def test_with_one_it_draws(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        assert main(["compare", "--output", str(tmp_path / "c.svg")]) == 0
        assert (tmp_path / "c.svg").exists()
        assert f"The picture: {tmp_path / 'c.svg'}" in capsys.readouterr().err

    def test_without_matplotlib_the_table_is_printed_and_one_line_says_how_to_get_the_picture(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        assert main(["compare", "--output", str(tmp_path / "c.png")]) == 1
        said = capsys.readouterr()
        assert "tasks at once, at most" in said.out
        assert said.err == (
            f"ygg: {tmp_path / 'c.png'} will not be drawn: it needs matplotlib: "
            "pip install 'ygg-dispatcher[picture]'\n"
        )
        assert main(["compare"]) == 0
        assert "As a picture: pip install 'ygg-dispatcher[picture]', then ygg" in (
            capsys.readouterr().out
        )

    def test_json_is_all_that_goes_to_standard_output(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["compare", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["workload"] == "a test"

    def test_figures_that_can_not_be_trusted_are_a_failure(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        swapped = replace(comparison(), with_async=comparison().threads)
        monkeypatch.setattr("ygg.compare.run.compare", lambda *_, **__: swapped)
        assert main(["compare"]) == 1

    @pytest.mark.parametrize(
        ("output", "said"),
        [
            ("c.gif", "pictures are .png or .svg: name it compare.png"),
            ("none/c.png", "there is no folder"),
        ],
    )
    def test_an_output_that_can_not_be_is_told_before_the_work(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path, output: str, said: str
    ) -> None:
        assert main(["compare", "--output", str(tmp_path / output)]) == 2
        captured = capsys.readouterr()
        assert said in captured.err
        assert captured.out == ""

    def test_a_folder_with_something_in_it_is_left_alone(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        (tmp_path / "mine").write_text("keep")
        assert main(["compare", "--state", str(tmp_path)]) == 2
        assert "name a new folder" in capsys.readouterr().err

    def test_a_bad_workload_is_wrong_use(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        (tmp_path / "w.jsonl").write_text('{"at": 0}\n')
        assert main(["compare", "--workload", str(tmp_path / "w.jsonl")]) == 2
        assert f"{tmp_path / 'w.jsonl'}:1: " in capsys.readouterr().err
