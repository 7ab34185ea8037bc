"""/openapi.json is the table of routes and the types that validate: it can't say anything else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from aiohttp import web
from schemathesis.specs.openapi.definitions import OPENAPI_31

from tests.web.serving import Served, run, served
from ygg.shapes import SENT_WHOLE
from ygg.version import VERSION
from ygg.web.api import ROUTES
from ygg.web.openapi import document, problems_of
from ygg.web.problems import Kind


async def the_document(w: Served) -> dict[str, Any]:
    reply = await w.ask("GET", "/openapi.json")
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("application/json")
    found: dict[str, Any] = reply.json
    return found


def operations(found: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in found["paths"].items():
        for method, operation in item.items():
            yield method.upper(), path, operation


def everything(value: Any) -> Iterator[Any]:
    yield value
    for inner in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        yield from everything(inner)


def test_every_route_of_the_server_is_in_the_document_and_no_other(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            served_here = {
                (route.method, route.resource.canonical)
                for route in w.new_app().router.routes()
                if route.resource is not None and route.method != "HEAD"
            }
            found = await the_document(w)
            assert {(method, path) for method, path, _ in operations(found)} == served_here
            assert found["info"]["version"] == VERSION

    run(story())


def test_what_is_always_sent_is_required(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            schemas = (await the_document(w))["components"]["schemas"]
            for kind in SENT_WHOLE:
                schema = schemas[kind.__name__]
                assert schema["required"] == list(schema["properties"])
                assert not any("default" in field for field in schema["properties"].values())

    run(story())


def test_it_is_openapi_3_1(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            found = await the_document(w)
            assert found["openapi"] == "3.1.0"
            jsonschema_rs.validate(OPENAPI_31, found)
            for schema in found["components"]["schemas"].values():
                jsonschema_rs.meta.validate(
                    {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
                )

    run(story())


def test_every_reference_leads_somewhere_and_every_schema_is_led_to(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            found = await the_document(w)
            names = {
                value["$ref"].removeprefix("#/components/schemas/")
                for value in everything(found)
                if isinstance(value, dict) and isinstance(value.get("$ref"), str)
            }
            assert names == set(found["components"]["schemas"])
            # Types of one name would be told apart by their modules, which are nobody's concern.
            assert not [name for name in names if "." in name]

    run(story())


def test_operations_have_names_of_their_own_and_all_steps_of_their_paths(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            every = list(operations(await the_document(w)))
            names = [operation["operationId"] for _, _, operation in every]
            assert len(set(names)) == len(names)
            for _, path, operation in every:
                steps = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"]
                assert steps == re.findall(r"\{(\w+)\}", path)
                assert operation["summary"]
                assert {"421", "500", "401"} <= set(operation["responses"])

    run(story())


def test_every_problem_is_told_of_some_route(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            routes = w.new_app()[ROUTES]
            assert {kind for route in routes for kind in problems_of(route)} == set(Kind)

    run(story())


def test_what_a_body_may_be_is_what_is_validated(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            found = await the_document(w)
            schemas = found["components"]["schemas"]
            assert schemas["Submission"]["additionalProperties"] is False
            priority = schemas["Submission"]["properties"]["priority"]
            assert {"type": "integer", "minimum": 0, "maximum": 4}.items() <= priority["anyOf"][
                0
            ].items()
            body = found["paths"]["/v1/tasks"]["post"]["requestBody"]
            one_or_several = body["content"]["application/json"]["schema"]["anyOf"]
            (several,) = (schema for schema in one_or_several if schema.get("type") == "array")
            assert (several["minItems"], several["maxItems"]) == (1, 1000)
            (limit,) = (
                p for p in found["paths"]["/v1/tasks"]["get"]["parameters"] if p["name"] == "limit"
            )
            assert (limit["schema"]["minimum"], limit["schema"]["maximum"]) == (1, 1000)

    run(story())


@pytest.mark.parametrize(
    "path", ["/v1/hosts", "/v1/status", "/openapi.json", f"/v1/tasks/{'0' * 18}"]
)
def test_a_parameter_that_would_have_no_effect_is_refused(tmp_path: Path, path: str) -> None:
    async def story() -> None:
        async with served(tmp_path) as w:
            reply = await w.ask("GET", f"{path}?dry_run=1")
            assert (reply.status, reply.json["type"]) == (400, "urn:ygg:problem:bad-parameters")
            assert "known: none" in reply.json["detail"]
            assert (await w.ask("GET", "/livez?at=now")).status == 200

    run(story())


def test_a_route_that_is_not_in_the_table_is_found(tmp_path: Path) -> None:
    """The first test above would see it."""

    async def story() -> None:
        async with served(tmp_path) as w:
            app = w.new_app()

            async def hidden(_: web.Request) -> web.Response:
                return web.Response()

            app.router.add_get("/hidden", hidden)
            paths = {r.resource.canonical for r in app.router.routes() if r.resource is not None}
            assert paths - set(document(app[ROUTES], version=VERSION)["paths"]) == {"/hidden"}

    run(story())
