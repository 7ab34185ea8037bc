"""What a source is told of a task's end: which calls, given the issue as it is now. Pure.

A call may fail after it took effect, and a crash may come between two calls: so each is planned by
what the issue shows already, and once all are made there are none. Each call also leaves the issue
such that the next look takes it for what it is: what is to stay untaken is marked so before it is
let go. The metadata come with the last call: once they are there, all was told, and an issue that
is open all the same was opened by a person since.

A person has the last word. An issue that they closed, gave to somebody, deferred or blocked while
its task ran keeps status and notes: it gets a comment and the metadata. One that is just open again
is told as if it were still ours, for it would be run again otherwise, and again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ygg.fleet import ANSWERED
from ygg.lines import plain
from ygg.sources.base import Call, Change, Close, End, Issue, Report, Say
from ygg.sources.marks import (
    Mark,
    in_comments,
    in_metadata,
    mark_of,
    mentions,
    settled,
    shows,
)
from ygg.tasks import Json, Outcome, Status, Task

#: Bytes of a comment, its first and last line included.
COMMENT_BYTES_MAX: Final = 16 * 1024
#: Characters of a value in the metadata: names and paths.
VALUE_MAX: Final = 500
_OURS_TO_BLOCK: Final = ("open", "in_progress", "blocked")
_LET_GO: Final = Change(status="open", assignee="")


def report_of(task: Task, answer: str, *, model: str, review: bool) -> Report | None:
    """What is to be told of a task as it is now; None: it runs, and there is nothing to tell.

    Args:
        task: one of a source.
        answer: its text, where it has one.
        model: the one that answered; "" where none did.
        review: a person is to look at the answer.
    """
    assert task.source_id is not None, f"task {task.id} has no source"
    if task.status is Status.IN_PROGRESS:
        return None
    about = task.answer or {}
    end = end_of(task.status, task.outcome)
    return Report(
        issue_id=task.source_id,
        task_id=task.id,
        attempt=task.attempt,
        end=end,
        answer=answer if end is End.DONE else "",
        artifact=task.artifact,
        error=task.error or "",
        host=task.host or "",
        model=model,
        tokens=_tokens(about.get("prompt_tokens"), about.get("completion_tokens")),
        seconds=_seconds(about.get("seconds")),
        review=review and end is End.DONE,
    )


def calls(report: Report, issue: Issue | None, *, actor: str) -> tuple[Call, ...]:
    """What is still to be called, in this order; nothing once all of it took effect.

    Args:
        report: what is to be told.
        issue: as it is now, with its comments; None: there is no such issue any more.
        actor: in whose name issues are claimed.
    """
    if issue is None:
        return ()
    mark = mark_of(report)
    if report.end is End.RETRIED:
        is_ours = issue.assignee in ("", actor)
        return () if settled(issue, mark, actor) or not is_ours else (_LET_GO,)
    if report.end is End.DONE:
        return _answered(report, mark, issue, actor)
    return _stopped(report, mark, issue, actor)


def _answered(report: Report, mark: Mark, issue: Issue, actor: str) -> tuple[Call, ...]:
    told: list[Call] = []
    if not in_comments(issue, mark):
        told.append(Say(text=comment(report)))
    values = {} if in_metadata(issue, mark) else _metadata(report, mark)
    last = Change(metadata=values)
    if _is_to_end(issue, mark, actor):
        if not report.review:
            told.append(Close(reason=_reason(report)))
        else:
            # First the label, then the release: between the two it is not taken again.
            if ANSWERED not in issue.labels:
                told.append(Change(add_labels=(ANSWERED,)))
            if issue.status != "open" or issue.assignee:
                last = replace(_LET_GO, metadata=values)
    return tuple(told) if last == Change() else (*told, last)


def _is_to_end(issue: Issue, mark: Mark, actor: str) -> bool:
    """Whether its status is ours to change: nobody took the issue, or ended it, in between."""
    if issue.assignee not in ("", actor):
        return False
    if issue.status == "in_progress":
        return True
    if in_metadata(issue, mark):
        return False  # it was told in full, and a person changed it since
    # A block that tells of an earlier attempt of this very task is our own.
    is_own_block = issue.status == "blocked" and mentions(issue, mark.task_id)
    return issue.status == "open" or is_own_block


def _stopped(report: Report, mark: Mark, issue: Issue, actor: str) -> tuple[Call, ...]:
    """Blocked, with the reason: what depends on it goes on waiting."""
    is_told, line = shows(issue, mark), mark.line(_why(report))
    values = {} if in_metadata(issue, mark) else _metadata(report, mark)
    if issue.assignee in ("", actor) and issue.status in _OURS_TO_BLOCK:
        if is_told and issue.status != "in_progress":
            return ()  # whoever opened it since wants it run again
        notes = None if is_told or in_comments(issue, mark) else line
        # All in one call: half of it would be taken for a person's doing.
        return (Change(status="blocked", append_notes=notes, metadata=values),)
    told: list[Call] = []
    if not is_told and not in_comments(issue, mark):
        told.append(Say(text=line))
    if values:
        told.append(Change(metadata=values))
    return tuple(told)


def _why(report: Report) -> str:
    if report.end is End.CANCELLED:
        return "cancelled" + (f": {report.error}" if report.error else "")
    where = f"{report.host}: " if report.host and report.host not in report.error else ""
    return where + (report.error or "it failed, and nothing says why")


def cut_from(report: Report) -> int | None:
    """Of how many bytes an answer is that is told in part; None: it is told whole, or is none."""
    if report.end is not End.DONE:
        return None
    size = len(_answer(report).encode())
    return size if size > COMMENT_BYTES_MAX - len(_head(report).encode()) else None


def comment(report: Report) -> str:
    """The answer as a comment: a first line that names it, the text, and where all of it is."""
    head, text = _head(report), _answer(report)
    room = COMMENT_BYTES_MAX - len(head.encode())
    if (size := cut_from(report)) is None:
        return (head + text).rstrip()
    where = f" is in {_value(report.artifact)};" if report.artifact else ":"
    end = (
        f"\n\n[cut: these are the first of {size} bytes. The whole answer{where} "
        f"`ygg answer {report.task_id}` prints it]"
    )
    return head + _cut(text, room - len(end.encode())) + end


def _head(report: Report) -> str:
    return mark_of(report).line(", ".join(_facts(report)) or "answered") + "\n\n"


def _answer(report: Report) -> str:
    return plain(report.answer).lstrip("\n").rstrip()


def _cut(text: str, size: int) -> str:
    """As much of it as fits in so many bytes; never half a character."""
    return text.encode()[:size].decode(errors="ignore").rstrip()


def _facts(report: Report) -> list[str]:
    seconds = "" if report.seconds is None else f"{report.seconds:.1f} s"
    tokens = "" if report.tokens is None else f"{report.tokens} tokens"
    return [fact for fact in (report.host, report.model, seconds, tokens) if fact]


def _reason(report: Report) -> str:
    where = f" on {report.host}" if report.host else ""
    seconds = "" if report.seconds is None else f" in {report.seconds:.1f} s"
    return _value(f"Done{where}{seconds}")


def _metadata(report: Report, mark: Mark) -> dict[str, str]:
    given = {
        "ygg.host": report.host,
        "ygg.model": report.model,
        "ygg.tokens": "" if report.tokens is None else str(report.tokens),
        "ygg.seconds": "" if report.seconds is None else f"{report.seconds:.1f}",
        "ygg.artifact": report.artifact or "",
    }
    told = {name: value for name, text in given.items() if (value := _value(text))}
    return {**told, **mark.metadata}


def _value(text: str) -> str:
    return " ".join(plain(text).split())[:VALUE_MAX]


def end_of(status: Status, outcome: Outcome | None) -> End:
    """What is to be told of a task that is so; not of one that runs."""
    assert status is not Status.IN_PROGRESS, "a task that runs has no end"
    match status, outcome:
        case Status.CLOSED, Outcome.CANCELLED:
            return End.CANCELLED
        case Status.CLOSED, _:
            return End.DONE
        case Status.BLOCKED, _:
            return End.FAILED
    return End.RETRIED


def _tokens(prompt: Json, completion: Json) -> int | None:
    counts = [count for count in (prompt, completion) if isinstance(count, int)]
    return sum(counts) or None


def _seconds(value: Json) -> float | None:
    return float(value) if isinstance(value, int | float) else None
