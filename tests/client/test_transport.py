"""How calls get to a dispatcher and back, over connections that break in every way."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.client.scripted import (
    PATIENT,
    Step,
    a_task,
    answer,
    cut,
    hang_up,
    never,
    raw,
    scripted,
)
from ygg.client import Client, Limits, NewTask, Problem, Unreachable, WrongSettings

RETRIED = {"count": 0, "tasks": []}


def client_of(url: str, limits: Limits = PATIENT, **environ: str) -> Client:
    return Client(url, limits=limits, environ=environ)


def run(story: Coroutine[None, None, None]) -> None:
    asyncio.run(story)


def test_calls_one_after_another_share_a_connection() -> None:
    async def story() -> None:
        async with scripted(answer(a_task())) as server, client_of(server.url) as client:
            for _ in range(3):
                await client.task("t1")
            assert [asked.connection for asked in server.asked] == [1, 1, 1]

    run(story())


def test_calls_at_once_have_connections_of_their_own_up_to_the_limit() -> None:
    async def story() -> None:
        limits = Limits(connections=2, call_seconds=60.0)
        came, go_on = asyncio.Semaphore(0), asyncio.Event()

        async def wait(writer: asyncio.StreamWriter) -> bool:
            came.release()
            await go_on.wait()
            return await answer(a_task())(writer)

        async with scripted(wait) as server, client_of(server.url, limits) as client:
            async with asyncio.TaskGroup() as group:
                for _ in range(5):
                    group.create_task(client.task("t1"))
                await came.acquire()
                await came.acquire()
                assert len(server.asked) == 2
                go_on.set()
            assert server.connections == 2
            assert len(server.asked) == 5

    run(story())


def test_a_connection_that_ended_between_two_calls_is_no_failure() -> None:
    async def story() -> None:
        async with (
            scripted(answer(RETRIED), answer(a_task())) as server,
            client_of(server.url) as client,
        ):
            await client.retry_many(drained=True, dry_run=True)
            for writer in server.open:
                writer.close()
            await asyncio.sleep(0.05)  # the end may be known by now or not: either is fine
            await client.task("t1")
            assert server.connections == 2

    run(story())


@pytest.mark.parametrize("broken", [hang_up(), cut(a_task()), raw(b"HTTP/1.1 2", goes_on=False)])
def test_a_lost_submit_is_sent_again_with_the_same_key(broken: Step) -> None:
    async def story() -> None:
        async with (
            scripted(broken, broken, answer(a_task(), 201)) as server,
            client_of(server.url) as client,
        ):
            assert (await client.submit(title="T")).id == "t1"
            first, second, third = (asked.json for asked in server.asked)
            assert first == second == third
            assert first["key"]

    run(story())


def test_a_key_of_ones_own_is_kept() -> None:
    async def story() -> None:
        async with scripted(answer(a_task(), 201)) as server, client_of(server.url) as client:
            await client.submit(title="T", key="mine")
            await client.submit(title="T")
            await client.submit(title="T")
            keys = [asked.json["key"] for asked in server.asked]
            assert keys[0] == "mine"
            assert len(set(keys)) == 3

    run(story())


def test_a_lost_call_that_may_not_be_repeated_says_that_it_may_have_been_done() -> None:
    async def story() -> None:
        async with scripted(hang_up()) as server, client_of(server.url) as client:
            with pytest.raises(Unreachable, match="whether it was done is not known"):
                await client.retry("t1")
            assert len(server.asked) == 1

    run(story())


def test_what_breaks_off_every_time_is_unreachable_in_the_end() -> None:
    async def story() -> None:
        async with scripted(hang_up()) as server, client_of(server.url) as client:
            with pytest.raises(Unreachable, match="ended before the whole answer had come"):
                await client.status()
            assert len(server.asked) == 4

    run(story())


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (raw(b"SSH-2.0-OpenSSH_9.2p1\r\n", goes_on=False), "does not speak HTTP"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"), "no dispatcher of this version"),
        (answer({"hosts": "none"}), "no dispatcher of this version"),
        (raw(b"HTTP/1.1 101 Switching\r\n\r\n"), "does not speak HTTP"),
    ],
)
def test_what_is_no_dispatcher_is_told(step: Step, said: str) -> None:
    async def story() -> None:
        limits = PATIENT
        async with scripted(step) as server, client_of(server.url, limits) as client:
            with pytest.raises(Unreachable, match=said) as told:
                await client.hosts()
            assert "--url" in str(told.value)

    run(story())


def test_nobody_there_is_told_at_once_with_the_way_out() -> None:
    async def story() -> None:
        async with client_of("http://127.0.0.1:1") as client:
            with pytest.raises(Unreachable, match="ygg loop --async"):
                await client.status()

    run(story())


def test_a_passing_503_does_not_end_a_wait() -> None:
    async def story() -> None:
        gone = answer({"title": "ending", "status": 503}, 503)
        waits, done = (answer(a_task(status=status)) for status in ("open", "closed"))
        # The second one is asked for a stream of events.
        async with (
            scripted(waits, gone, gone, done) as server,
            client_of(server.url, PATIENT) as client,
        ):
            assert (await client.wait("t1")).status == "closed"
            assert len(server.asked) == 4

    run(story())


def test_an_answer_that_does_not_come_is_waited_for_so_long_and_no_longer() -> None:
    async def story() -> None:
        limits = Limits(call_seconds=0.2)
        async with scripted(never) as server, client_of(server.url, limits) as client:
            with pytest.raises(Unreachable, match=r"gave no answer within 0.2 s"):
                await client.status()
            assert len(server.asked) == 1
            with pytest.raises(Unreachable, match="whether it was done is not known"):
                await client.retry("t1")

    run(story())


def test_after_a_call_that_was_given_up_its_late_answer_is_nobodys() -> None:
    async def story() -> None:
        limits = Limits(call_seconds=0.2)
        async with (
            scripted(never, answer(a_task("second"))) as server,
            client_of(server.url, limits) as client,
        ):
            with pytest.raises(Unreachable):
                await client.task("first")
            patient = client_of(server.url)
            assert (await patient.task("second")).id == "second"
            await patient.close()
            assert server.connections == 2

    run(story())


def test_an_answer_that_is_too_long_is_not_taken() -> None:
    async def story() -> None:
        limits = Limits(answer_bytes=1000)
        long = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000)
        async with scripted(long) as server, client_of(server.url, limits) as client:
            with pytest.raises(Problem, match="more than 1000 bytes"):
                await client.answer("t1")
            assert len(server.asked) == 1

    run(story())


def test_a_problem_tells_what_was_wrong_once_and_what_else_was() -> None:
    document = {
        "type": "urn:ygg:problem:bad-fields",
        "title": "The body's fields are not right",
        "status": 400,
        "detail": "/priority: expected an integer (and 1 more)",
        "errors": [
            {"pointer": "/priority", "detail": "expected an integer"},
            {"pointer": "/labels", "detail": "expected an array"},
        ],
    }

    async def story() -> None:
        async with (
            scripted(answer(document, 400, Retry_After="7")) as server,
            client_of(server.url) as client,
        ):
            with pytest.raises(Problem) as told:
                await client.submit(title="T")
            problem = told.value
            assert (problem.status, problem.kind, problem.retry_after) == (400, "bad-fields", 7.0)
            assert str(problem) == (
                "/priority: expected an integer (and 1 more); /labels: expected an array"
            )
            assert problem.errors[1] == ("/labels", "expected an array")
            assert len(server.asked) == 1, "it was said, so it is not asked again"

    run(story())


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (raw(b"HTTP/1.1 502 Bad\r\nContent-Length: 9\r\n\r\n<p>no</p>"), "<p>no</p>"),
        (raw(b"HTTP/1.1 500 Bad\r\nContent-Length: 0\r\n\r\n"), "HTTP status 500"),
        (answer(["no"], 418), r'\["no"\]'),
        (answer({"errors": "none"}, 418), "HTTP status 418"),
        (raw(b"HTTP/1.1 302 Elsewhere\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"), "302"),
    ],
)
def test_other_servers_errors_are_told_as_they_are(step: Step, said: str) -> None:
    async def story() -> None:
        async with scripted(step) as server, client_of(server.url) as client:
            with pytest.raises(Problem, match=said):
                await client.status()

    run(story())


def test_a_refusal_that_comes_before_the_body_was_taken_is_read() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        document = b'{"detail": "too long"}'
        writer.write(b"HTTP/1.1 413 Long\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
                     % (len(document), document))  # fmt: skip
        await writer.drain()
        try:
            while await reader.read(1 << 16):  # as servers do, so that the answer can be read
                pass
        except ConnectionError:
            pass  # the client has read it, and left
        finally:
            writer.close()

    async def story() -> None:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with client_of(f"http://127.0.0.1:{port}") as client:
            with pytest.raises(Problem, match="too long"):
                await client.submit(title="T", description="x" * (8 << 20))
        server.close()
        await server.wait_closed()

    run(story())


@pytest.mark.parametrize("form", ["unix:{}", "unix://{}"])
def test_a_unix_socket_is_a_door_too(tmp_path: Path, form: str) -> None:
    async def story() -> None:
        path = str(tmp_path / "ygg.sock")
        async with (
            scripted(answer(a_task()), at=path) as server,
            client_of(form.format(path)) as client,
        ):
            await client.task("t1")
            assert server.asked[0].headers["host"] == "localhost"

    run(story())


def test_a_prefix_of_the_url_comes_before_every_path() -> None:
    async def story() -> None:
        async with (
            scripted(answer(a_task())) as server,
            client_of(f"{server.url}/behind/a/proxy/") as client,
        ):
            await client.task("t1")
            assert server.asked[0].target == "/behind/a/proxy/v1/tasks/t1"

    run(story())


def test_an_id_can_lead_nowhere_else() -> None:
    async def story() -> None:
        async with scripted(answer(a_task())) as server, client_of(server.url) as client:
            await client.task("../hosts?a=b#c d\r\nX: y")
            assert server.asked[0].target == "/v1/tasks/..%2Fhosts%3Fa%3Db%23c%20d%0D%0AX%3A%20y"

    run(story())


# -- tokens --------------------------------------------------------------------------------------


def secret_file(folder: Path, text: str, mode: int = 0o600) -> str:
    path = folder / "token"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    ("given", "environ", "shown"),
    [
        (None, {}, None),
        ("a", {}, "a"),
        ("a", {"YGG_TOKEN": "b"}, "a"),
        (None, {"YGG_TOKEN": "b", "YGG_TOKEN_FILE": "/nowhere"}, "b"),
        (None, {"YGG_TOKEN_FILE": "FILE"}, "from-the-file"),
        (None, {"YGG_TOKEN": "", "YGG_TOKEN_FILE": ""}, None),
    ],
)
def test_a_token_is_shown_argument_before_environment_before_file(
    tmp_path: Path, given: str | None, environ: dict[str, str], shown: str | None
) -> None:
    file = secret_file(tmp_path, "from-the-file\n")
    environ = {name: value.replace("FILE", file) for name, value in environ.items()}

    async def story() -> None:
        async with (
            scripted(answer(a_task())) as server,
            Client(server.url, token=given, environ=environ) as client,
        ):
            await client.task("t1")
            expected = None if shown is None else f"Bearer {shown}"
            assert server.asked[0].headers.get("authorization") == expected

    run(story())


@pytest.mark.parametrize("token", ["", "two words", "line\nline", "ümlaut", "tab\t"])
def test_what_can_be_no_token_is_refused_and_never_shown(token: str) -> None:
    with pytest.raises(WrongSettings, match="token") as told:
        Client(token=token, environ={})
    assert not token or token not in str(told.value)


def test_a_token_file_that_is_not_good_is_named(tmp_path: Path) -> None:
    with pytest.raises(WrongSettings, match="nowhere"):
        Client(environ={"YGG_TOKEN_FILE": str(tmp_path / "nowhere")})
    with pytest.raises(WrongSettings, match="chmod 600"):
        Client(environ={"YGG_TOKEN_FILE": secret_file(tmp_path, "open", 0o644)})


# -- streams -------------------------------------------------------------------------------------


def row(position: int, kind: str = "accepted") -> bytes:
    data = (
        f'{{"position": {position}, "at": "2026-11-24T03:20:00.000Z", "kind": "{kind}", '
        '"task": "t1", "host": null, "model": null, "attempt": null, "seen": null, '
        '"reason": null, "detail": {}}'
    )
    return f"id: {position}\nevent: {kind}\ndata: {data}\n\n".encode()


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


async def first(client: Client, number: int, after: int | None = None) -> list[int]:
    rows = client.events(after=after)
    try:
        return [(await anext(rows)).position for _ in range(number)]
    finally:
        await rows.aclose()


def test_events_go_on_where_a_lost_connection_left_them() -> None:
    async def story() -> None:
        async with (
            scripted(
                raw(STREAM + row(3) + row(4)[:-9], goes_on=False),
                raw(STREAM + row(4) + row(5), goes_on=False),
                raw(STREAM + b": still there\n\n" + row(7), goes_on=False),
            ) as server,
            client_of(server.url) as client,
        ):
            assert await first(client, 4, after=2) == [3, 4, 5, 7]
            ids = [asked.headers.get("last-event-id") for asked in server.asked]
            assert ids == [None, "3", "5"]
            assert {asked.target for asked in server.asked} == {"/v1/events?after=2"}

    run(story())


def test_a_stream_that_falls_silent_is_begun_anew() -> None:
    async def silent(writer: asyncio.StreamWriter) -> bool:
        await raw(STREAM + row(1))(writer)
        return await never(writer)

    async def story() -> None:
        limits = Limits(silence_seconds=0.1)
        async with (
            scripted(silent, raw(STREAM + row(2))) as server,
            client_of(server.url, limits) as client,
        ):
            assert await first(client, 2) == [1, 2]

    run(story())


@pytest.mark.parametrize("step", [answer({"detail": "no such path"}, 404), answer({}, 401)])
def test_a_refused_stream_is_told_and_not_asked_for_again(step: Step) -> None:
    async def story() -> None:
        async with scripted(step) as server, client_of(server.url) as client:
            with pytest.raises(Problem):
                await first(client, 1)
            assert len(server.asked) == 1

    run(story())


def test_a_dispatcher_that_stays_away_ends_the_stream() -> None:
    async def story() -> None:
        limits = replace(PATIENT, away_seconds=0.1)
        async with scripted(raw(STREAM + row(1), goes_on=False)) as server:
            rows = client_of(server.url, limits).events()
            assert (await anext(rows)).position == 1
        with pytest.raises(Unreachable):
            await anext(rows)

    run(story())


def test_waiting_outlives_a_restart_and_ends_when_the_task_does() -> None:
    steps = [answer(a_task()), *[hang_up()] * 6, answer(a_task(status="closed", outcome="done"))]

    async def story() -> None:
        async with scripted(*steps) as server, client_of(server.url) as client:
            assert (await client.wait("t1")).outcome == "done"

    run(story())


def test_waiting_for_a_dispatcher_that_stays_away_ends() -> None:
    async def story() -> None:
        limits = replace(PATIENT, away_seconds=0.1)
        async with (
            scripted(answer(a_task()), hang_up()) as server,
            client_of(server.url, limits) as client,
        ):
            with pytest.raises(Unreachable):
                await client.wait("t1")

    run(story())


def test_submits_of_many_go_in_batches_and_read_no_further_than_they_must() -> None:
    taken = list[int]()

    def tasks() -> Iterator[NewTask]:
        for number in range(2500):
            taken.append(number)
            yield {"title": f"t{number}"}

    async def story() -> None:
        async def accept(writer: asyncio.StreamWriter) -> bool:
            batch = server.asked[-1].json
            return await answer({"tasks": [a_task(task["key"]) for task in batch]}, 201)(writer)

        async with scripted(accept) as server, client_of(server.url) as client:
            got = list[str]()
            async for task in client.submit_many(tasks(), key_prefix="p"):
                got.append(task.id)
                assert len(taken) <= len(got) + 1001
            assert got == [f"p-{place}" for place in range(1, 2501)]
            assert [len(asked.json) for asked in server.asked] == [1000, 1000, 500]

    run(story())


def test_a_refused_batch_ends_the_row_and_leaves_what_was_accepted() -> None:
    async def story() -> None:
        steps = [answer({"tasks": [a_task("a")]}, 201), answer({"detail": "/3/title: bad"}, 400)]
        async with scripted(*steps) as server, client_of(server.url) as client:
            rows = client.submit_many({"title": str(number)} for number in range(1500))
            assert (await anext(rows)).id == "a"
            with pytest.raises(Problem, match="/3/title"):
                await anext(rows)

    run(story())
