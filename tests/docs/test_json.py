"""docs/json.md tells of every command, and of every field that one prints."""

from __future__ import annotations

import msgspec
import pytest

from tools import commands_page, json_page
from ygg.cli import make_parser
from ygg.cli.printed import DoctorReport, JournalReport
from ygg.doctor.findings import Report, ok, wrong
from ygg.findings import FindingKind, Findings
from ygg.findings import Report as Proof

pytestmark = pytest.mark.pure


def test_every_command_that_prints_json_is_told_of_and_no_other() -> None:
    with_json = {
        name
        for name, (command, _) in commands_page.commands(make_parser())
        if any("--json" in action.option_strings for action in command._actions)
    }
    assert set(json_page.COMMANDS) == with_json


def test_every_field_is_on_the_page_by_the_name_that_is_printed() -> None:
    page = json_page.page()
    for kind in json_page.kinds():
        section = page.partition(f"\n## {kind.__name__}\n")[2].partition("\n## ")[0]
        for field in msgspec.structs.fields(kind):
            assert f"| `{field.encode_name}` |" in section, kind.__name__
    assert "| `from` |" in page, "PinStatus.whose goes by another name outside"


def test_what_a_field_means_is_what_stands_above_it() -> None:
    page = json_page.page()
    assert "| `priority` | whole number | 0 critical .. 4 backlog; lower runs first. |" in page
    # Inherited ones too.
    story = page.partition("\n## TaskStory\n")[2].partition("\n## ")[0]
    assert "| `strikes` | whole number | Attempts that may have hurt; a few of them" in story


def test_the_reports_print_just_the_fields_of_the_page() -> None:
    reports = [Report(part="host", name="h", findings=[ok("it answers"), wrong("no m", "get m")])]
    checks = [check for report in reports for check in report.as_json()]
    printed: object = {"ok": False, "checks": checks}
    assert msgspec.to_builtins(msgspec.convert(printed, DoctorReport)) == printed
    findings = Findings(first_checked=0)
    findings.add_of_store(FindingKind.LOSS, "t", "is gone")
    proof = Proof(rows=1, last=1, first_checked=0, accepted=1, starts=0,
                  counts=findings.counts, findings=findings.kept).as_json()  # fmt: skip
    assert msgspec.to_builtins(msgspec.convert(proof, JournalReport)) == proof
