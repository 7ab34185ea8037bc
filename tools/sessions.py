"""What is recorded in docs/sessions/: commands that are run, and what is said between them.

Each session goes well first, then badly, with the message that names the cure. In the commands
stand $SURTR, $FENRIR and $SKADI for the addresses of the demo's three servers, and $SURTR_PID and
so on for their processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias


@dataclass(frozen=True, slots=True)
class Say:
    """Words between the commands."""

    text: str


@dataclass(frozen=True, slots=True)
class Show:
    """A command that is shown with all it prints."""

    command: str
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class Quietly:
    """A command that only sets the scene."""

    command: str
    #: In the background, to the end of the session.
    goes_on: bool = False


Step: TypeAlias = Say | Show | Quietly


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    #: Of the page.
    name: str
    title: str
    steps: Sequence[Step]


_INIT: Final = Session(
    name="init",
    title="A recorded session: `ygg init`",
    steps=(
        Say(
            "Three model servers run, each at a port of its own. `--yes` takes what is proposed; "
            "at a terminal `ygg init` shows it and asks."
        ),
        Show("ygg init --yes $SURTR $FENRIR $SKADI --name surtr --name fenrir --name skadi"),
        Say("It wrote a file with its reasons in it:"),
        Show("cat hosts.yaml"),
        Say("ygg takes it as it is:"),
        Show("ygg check"),
        Say("## When it does not go well\n\nIt never writes over a file:"),
        Show("ygg init --yes $SURTR", exit_code=2),
        Say("A server that was named must answer; nothing is written until all do:"),
        Quietly("kill $SKADI_PID"),
        Show("ygg init --yes $SURTR $SKADI -o other.yaml", exit_code=1),
        Say("What can't be is said with what can:"),
        Show("ygg init --yes $SURTR --slots many -o other.yaml", exit_code=2),
    ),
)
_DOCTOR: Final = Session(
    name="doctor",
    title="A recorded session: `ygg doctor`",
    steps=(
        Say("A fleet of three servers, as `ygg init` wrote it, and a dispatcher that runs:"),
        Quietly("ygg init --yes $SURTR $FENRIR $SKADI --name surtr --name fenrir --name skadi"),
        Quietly("ygg loop --async", goes_on=True),
        Quietly("until ygg status | grep -q up; do sleep 0.2; done"),
        Show("ygg doctor"),
        Say(
            "`--deep` has every model make one token, `--measure` sends several requests at once "
            "and sees how many the server really runs together:"
        ),
        Show("ygg doctor surtr --deep --measure"),
        Say(
            "## When it does not go well\n\nThe server of skadi was killed, fenrir has not the model "
            "that is named, and somebody gave surtr more slots than its server runs:"
        ),
        Quietly("kill $SKADI_PID"),
        Quietly("sed -i '/surtr:/,/slots/s/{start: 2, max: 2}/{start: 4, max: 4}/' hosts.yaml"),
        Quietly("sed -i '/fenrir:/,/slots/s/model: .*/model: qwen2.5:7b/' hosts.yaml"),
        Show("ygg doctor", exit_code=1),
        Say("Each line that is not well names what mends it, and the exit code is 1."),
    ),
)
_FLEET: Final = """\
cat > hosts.yaml <<END
hosts:
  surtr: {url: "$SURTR", slots: {start: 2}}
  fenrir: {url: "$FENRIR", slots: {start: 3}}
  skadi: {url: "$SKADI", slots: {start: 2}}
types:
  code-generation: {run: [skadi, fenrir], options: {max_tokens: 400}}
  text-processing: {run: [fenrir]}
END
"""
#: Every line but the first two is wrong.
_WRONG: Final = """\
cat > wrong.yaml <<END
hosts:
  surtr:
    url: surtr:11434
    slot: {start: 2}
  fenrir: {url: "http://fenrir:11434", slots: {start: 5, max: 3}}
types:
  reasoning: {run: [surt]}
  text-processing: {run: [fenrir], timeout: soon}
END
"""
_CHECK: Final = Session(
    name="check",
    title="A recorded session: `ygg check`",
    steps=(
        Say("Three hosts, and a dispatcher that runs with this file:"),
        Quietly(_FLEET),
        Show("cat hosts.yaml"),
        Quietly("ygg loop --async", goes_on=True),
        Quietly("until [ $(ygg status | grep -c ' up ') = 3 ]; do sleep 0.2; done"),
        Show("ygg check"),
        Say("An edit of a copy, and what it would change:"),
        Show(
            "sed '/skadi:/s/start: 2/start: 4/; s/run: .fenrir.}/run: [fenrir, surtr]}/' hosts.yaml "
            "> new.yaml"
        ),
        Show("ygg check --hosts new.yaml"),
        Say("It is good, so it takes the place of the one that the dispatcher reads:"),
        Show("mv new.yaml hosts.yaml"),
        Quietly("until ygg check | grep -q 'would change nothing'; do sleep 0.2; done"),
        Show("ygg check"),
        Say(
            "## When it does not go well\n\nEvery mistake is told at once, with its line and the way "
            "out. The dispatcher that runs keeps its settings:"
        ),
        Quietly(_WRONG),
        Show("cat -n wrong.yaml"),
        Show("ygg check --hosts wrong.yaml", exit_code=1),
        Say(
            "A good file may still ask for what is not there. `--ask` asks the hosts: skadi's server "
            "was killed, surtr has not the model that is named:"
        ),
        Quietly("kill $SKADI_PID"),
        Quietly("sed '/surtr:/s/slots/model: deepseek-r1:8b, slots/' hosts.yaml > new.yaml"),
        Show("ygg check --ask --hosts new.yaml"),
    ),
)
_SHOW: Final = Session(
    name="show",
    title="A recorded session: `ygg show`",
    steps=(
        Say("Three hosts, and a dispatcher that runs. A task that went well:"),
        Quietly(_FLEET),
        Quietly("ygg loop --async", goes_on=True),
        Quietly("until [ $(ygg status | grep -c ' up ') = 3 ]; do sleep 0.2; done"),
        Show('ID=$(ygg submit "Name three planets" --json | jq -r .id)'),
        Quietly("until ygg list --status closed | grep -q $ID; do sleep 0.2; done"),
        Show("ygg show $ID"),
        Show("ygg answer $ID"),
        Say(
            "## When it does not go well\n\nThe server of skadi is killed while it answers. The "
            "task goes back to its place, with a strike against it, and runs where its route says "
            "next:"
        ),
        Show('ID=$(ygg submit "Write a Python class for a chess board" --json | jq -r .id)'),
        Quietly("until ygg list --status in_progress | grep -q $ID; do sleep 0.05; done; sleep 1"),
        Show("kill $SKADI_PID"),
        Quietly("until ygg list --status closed | grep -q $ID; do sleep 0.2; done"),
        Show("ygg show $ID"),
        Say("A prompt that is too long for its server is the task's own fault. It is blocked:"),
        Show('ID=$(seq 3000 | ygg submit "Summarise these numbers" -d - --json | jq -r .id)'),
        Quietly("until ygg list --status blocked | grep -q $ID; do sleep 0.2; done"),
        Show("ygg show $ID"),
        Say("A task that waits says for what:"),
        Show("ygg pause fenrir --for 2h --reason 'new fan'"),
        Show('ID=$(ygg submit "Summarise the day" --json | jq -r .id)'),
        Show("ygg why $ID"),
        Say("And one that is not there:"),
        Show("ygg show 01kb2x7a5w2m9qfz4r", exit_code=1),
    ),
)
_COMPARE: Final = Session(
    name="compare",
    title="A recorded session: `ygg compare`",
    steps=(
        Say(
            "One workload goes through the legacy dispatcher, then through the real one, against "
            "three real llama.cpp servers that share this machine's CPU. What the figures mean "
            "is [told on a page of its own](../compare.md)."
        ),
        Show("ygg compare --servers demo"),
        Say("## When it does not go well\n\nA workload that can't be is named with its line:"),
        Quietly(
            """echo '{"at": 0.5, "type": "reasoning", "priority": 2, "title": "Why?", "tokens": 60}
{"at": 1, "type": "resoning", "priority": 2, "title": "Why?", "tokens": 60}' > monday.jsonl"""
        ),
        Show("ygg compare --workload monday.jsonl", exit_code=2),
        Say("Stores and logs are kept in a new folder only:"),
        Quietly("mkdir kept; touch kept/notes"),
        Show("ygg compare --state kept", exit_code=2),
    ),
)

SESSIONS: Final[Sequence[Session]] = (_INIT, _CHECK, _DOCTOR, _SHOW, _COMPARE)
