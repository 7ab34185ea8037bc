"""What the dispatcher's answers look like over HTTP, as types: sent, described and read by these.

Only values, light enough for `ygg status`; how they come about is left to the interface's views.
A reader leaves out fields that it does not know, so that old clients read newer answers; and a
field that came later has a default, so that new clients read older ones. It is sent all the same
(`SENT_WHOLE`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from ygg.health import Mode
from ygg.resizes import DecisionAction, DecisionReason, Effect
from ygg.tasks import Held, Outcome, Status

# -- tasks ---------------------------------------------------------------------------------------


class AnswerView(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an answer beside its text."""

    #: "stop", or "length": cut at the token limit.
    finish: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    #: How long the model server took.
    seconds: float | None = None
    #: That the task spent queued inside the model server, if it says so.
    server_wait_seconds: float | None = None
    #: Whether the model showed its thinking, which is kept apart.
    thinking: bool = False


class TaskView(msgspec.Struct, frozen=True, kw_only=True):
    """A task, and what became of it. Times are RFC 3339, as 2026-11-24T03:20:00.000Z.

    A damaged row may hold a time that no calendar has: then it is the number of seconds, as a text.
    """

    id: str
    title: str
    description: str
    labels: tuple[str, ...]
    type: str
    #: 0 critical .. 4 backlog; lower runs first.
    priority: int
    created_at: str
    status: Status
    #: Of closed tasks.
    outcome: Outcome | None
    error: str | None
    host: str | None
    #: How often it was started.
    attempt: int
    #: Attempts that may have hurt; a few of them block it.
    strikes: int
    started_at: str | None
    ended_at: str | None
    #: Path of the answer below the artifacts folder.
    artifact: str | None
    key: str | None
    #: As it came.
    metadata: Any
    #: A person said that it runs next.
    run_next: bool
    not_before: str | None
    #: Why it is held back; null: it is not.
    held: Held | None
    submitter: str
    source: str | None
    source_id: str | None
    #: That it asks for; empty: any of its route.
    model: str
    system: str | None
    options: Mapping[str, Any]
    #: Seconds that a run may take; null: as its type says.
    timeout: float | None
    answer: AnswerView | None

    @property
    def has_ended(self) -> bool:
        """Nothing more happens to it unless a person acts."""
        return self.status in (Status.CLOSED, Status.BLOCKED)


class AnswerText(msgspec.Struct, frozen=True, kw_only=True):
    """The text of an answer, as `ygg answer ID --json` prints it."""

    #: Of the task.
    id: str
    #: It is the model's thinking, not its answer.
    thinking: bool
    text: str
    #: "stop", or "length": cut at the token limit; null: the server did not say.
    finish: str | None


class TaskPage(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks, the latest first, and the cursor of the next page; null: there is none."""

    tasks: tuple[TaskView, ...]
    next: str | None


class RowView(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the journal: something that happened."""

    #: Rises from row to row.
    position: int
    at: str
    kind: str
    task: str | None
    #: Where the task waits, or waited: its type and priority.
    type: str | None = None
    priority: int | None = None
    host: str | None
    model: str | None
    attempt: int | None
    #: Of starts: the position up to which the decision had seen the journal.
    seen: int | None
    reason: str | None
    detail: Mapping[str, Any]


class TaskStory(TaskView, frozen=True, kw_only=True):
    """A task with all that happened to it, as `ygg show ID --json` prints it."""

    history: tuple[RowView, ...]


class History(msgspec.Struct, frozen=True, kw_only=True):
    """Rows, and the position after which the next ones come; null: these are all."""

    history: tuple[RowView, ...]
    next: str | None


class WhyOption(msgspec.Struct, frozen=True, kw_only=True):
    """A host, with a model, that may serve the task."""

    host: str
    model: str | None
    #: Why the task can't start there now, in a word of a closed list; null: it can.
    reason: str | None
    #: The same for people.
    detail: str


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """Why a task does not run."""

    id: str
    status: Status
    held: Held | None
    summary: str
    options: tuple[WhyOption, ...]


class Retried(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks that went back to their places, or would."""

    count: int
    tasks: tuple[str, ...]
    #: Of these, those that no host serves any more: they wait until hosts.yaml has one.
    unserved: tuple[str, ...] = ()


# -- hosts and the whole -------------------------------------------------------------------------


class RunningTask(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    title: str
    type: str
    priority: int
    #: Since the host was asked; null while the task is being claimed.
    running_seconds: float | None
    #: That the model has said so far.
    tokens: int
    #: The id of its issue; null: it has none, or the task is being claimed.
    source_id: str | None = None


class OptionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A model on a host, or a type's own handler there, that takes no starts or is on trial."""

    model: str
    #: The type whose own handler (a command, a function) it is; null: it is the model.
    type: str | None = None
    up: Mode
    reason: str


class PinStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A limit set by hand. The file's goes before the operator's."""

    limit: int
    whose: Literal["file", "operator"] = msgspec.field(name="from")
    #: Of the file's pin, file and line; empty where nobody said.
    by: str
    #: RFC 3339; null: until a person takes it away.
    until: str | None
    reason: str


class PauseStatus(msgspec.Struct, frozen=True, kw_only=True):
    """No new starts, until a time or until a person resumes the host."""

    reason: str
    by: str
    until: str | None


class DecisionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What an autoscaler last decided about a host, and what became of it."""

    #: RFC 3339.
    at: str
    action: DecisionAction
    reason: DecisionReason
    #: The limit that it wants; the host's own is the one that there is.
    limit: int
    #: It was only to be shown, not carried out.
    dry_run: bool
    effect: Effect
    #: In words, where it was not carried out as asked.
    detail: str
    #: The numbers behind it.
    evidence: Mapping[str, int | float | bool | str | None]


class AutoscalerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The autoscaler that was heard last. Limits change by it only while it is live."""

    holder: str
    #: silent: its lease ended without a call; left: it said that it ends.
    state: Literal["live", "silent", "left"]
    #: When it was heard last, RFC 3339.
    heard_at: str
    #: For how long it has been quiet.
    quiet_seconds: float


class HostStatus(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    #: Empty once it is no longer in hosts.yaml and only ends what it runs.
    url: str
    api: str | None
    model: str | None
    up: Mode
    reason: str
    #: RFC 3339; null unless it is down.
    down_since: str | None
    #: Why a person paused it; null: nobody did.
    paused: str | None
    pause: PauseStatus | None
    limit: int
    min: int
    max: int
    pinned: bool
    pin: PinStatus | None
    active: int
    #: Of its semaphore, which other hosts may share.
    available_slots: int
    #: The host whose slots it uses.
    shares: str | None
    options: Sequence[OptionStatus]
    tasks: Sequence[RunningTask]
    #: The autoscaler's last; null: there was none since the dispatcher began, or it uses the slots
    #: of another host.
    decision: DecisionStatus | None = None


class WaitingLane(msgspec.Struct, frozen=True, kw_only=True):
    """Waiting tasks of one type, model and priority."""

    type: str
    #: That they ask for; empty: any of their route.
    model: str
    priority: int
    count: int
    #: Null when the store can't say.
    oldest_wait_seconds: float | None


class WaitingStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks that wait for nothing but a slot."""

    total: int
    by_priority: Mapping[str, int]
    by_type: Mapping[str, int]
    #: Null when nothing waits, or the store can't say.
    oldest_wait_seconds: float | None
    #: The same in parts, the most urgent first; those in which nothing waits are left out.
    lanes: Sequence[WaitingLane] = ()


class BlockedError(msgspec.Struct, frozen=True, kw_only=True):
    error: str
    count: int


class CutAnswers(msgspec.Struct, frozen=True, kw_only=True):
    """Answers that ended at a token limit, since the dispatcher began."""

    count: int
    #: The task of the last one; null: there is none.
    last: str | None


class SourceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A tracker that feeds tasks."""

    #: Of which kind: beads.
    name: str
    #: Its project's folder.
    where: str
    #: In whose name issues are claimed.
    actor: str
    #: Why it can't be asked; null: it answers.
    trouble: str | None
    #: When it was last looked at; null: not yet.
    looked_at: str | None
    #: Tasks of which it must still be told how they ended; null: it could not be counted.
    untold: int | None
    #: Why issues could not be claimed, by their id, since the last look.
    unclaimed: Mapping[str, str]
    #: What of issues can't be read, by their id ("": that is missing), of a hundred at most: they
    #: are left as they are.
    unreadable: Mapping[str, str]
    #: Why ends could not be told though it answers, by the id of the issue, of a hundred at most.
    refused: Mapping[str, str] = msgspec.field(default_factory=dict)


class SettingsStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How it goes with hosts.yaml, which is read again as it changes."""

    file: str
    #: When it was last taken over, RFC 3339.
    taken_at: str
    #: Why what stands there now is not taken over, each with file and line; empty: it is.
    problems: Sequence[str]
    #: What it says otherwise than at the start, and only a restart can change.
    needs_restart: Sequence[str]


class DispatcherStatus(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    #: Who decides what starts: "threads" are the legacy ones of `ygg loop`, kept to compare.
    mode: Literal["async", "threads"] = "async"
    pid: int
    started_at: str
    draining: bool
    #: Why the store takes no writes; null: it does.
    store_trouble: str | None
    #: Why counts or oldest waits are missing; null: none is.
    count_trouble: str | None = None
    hosts: Sequence[HostStatus]
    waiting: WaitingStatus
    cut: CutAnswers = CutAnswers(count=0, last=None)
    #: Tasks by status; empty when they could not be counted, as are the next two.
    counts: Mapping[str, int]
    held: Mapping[str, int]
    blocked: Sequence[BlockedError]
    #: What nobody but a person can mend, in sentences.
    needs_person: Sequence[str]
    #: Null: none has called since the dispatcher began.
    autoscaler: AutoscalerStatus | None = None
    #: Empty: tasks come by the doors alone.
    sources: Sequence[SourceStatus] = ()
    #: Null: of a dispatcher that reads hosts.yaml at its start only.
    settings: SettingsStatus | None = None


class Hosts(msgspec.Struct, frozen=True, kw_only=True):
    hosts: Sequence[HostStatus]
    #: Null: none has called since the dispatcher began.
    autoscaler: AutoscalerStatus | None = None


#: Answers of which every field is sent, with a default or without.
SENT_WHOLE: Final = (RowView, OptionStatus, HostStatus, WaitingStatus, DispatcherStatus, Hosts)


# -- the autoscaler's call -----------------------------------------------------------------------


class DecisionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a decision about one host."""

    effect: Effect
    #: In words, where it was not carried out as asked.
    detail: str
    #: The host's as it is now; null: there is no such host.
    limit: int | None


class AutoscalerAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Of each host that was decided on."""

    hosts: Mapping[str, DecisionAnswer]
    #: For so long nobody else may resize; 0: it left.
    lease_seconds: float
