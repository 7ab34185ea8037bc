"""/openapi.json: the table of routes, and the very types that validate, as OpenAPI 3.1. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec

from ygg.shapes import SENT_WHOLE
from ygg.sources.base import ID as ISSUE_ID
from ygg.web.problems import Kind, ProblemDocument
from ygg.web.routes import Answer, Route

Schema = dict[str, Any]

_REF: Final = "#/components/schemas/{name}"
_IN_PATH: Final = re.compile(r"\{(\w+)\}")
#: What a step of a path may be.
_STEPS: Final[Mapping[str, Any]] = {
    "id": Annotated[
        str,
        msgspec.Meta(
            pattern=f"^{ISSUE_ID.pattern}$",
            title="Of a task, or of its issue.",
            examples=["0" * 18],
        ),
    ],
    "name": Annotated[str, msgspec.Meta(min_length=1, title="Of a host, as in hosts.yaml.")],
}
#: What may be wrong with any request.
_ALWAYS: Final = (
    Kind.BAD_REQUEST, Kind.UNAUTHORIZED, Kind.FOREIGN_ORIGIN, Kind.LONG_ADDRESS, Kind.WRONG_HOST,
    Kind.EXPECTATION, Kind.LARGE_HEADERS, Kind.INTERNAL,
)  # fmt: skip
_OF_PARAMETERS: Final = (Kind.BAD_PARAMETERS,)
_OF_WRITES: Final = (Kind.TOO_SLOW, Kind.TOO_LARGE, Kind.NOT_JSON, Kind.ENCODED)
_OF_BODIES: Final = (Kind.BAD_JSON, Kind.BAD_FIELDS)


def document(routes: Sequence[Route], *, version: str) -> Schema:
    """The whole document."""
    schemas = _Schemas(routes)
    paths: dict[str, Schema] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ygg",
            "version": version,
            "description": "The dispatcher in front of the GPU machines you own.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Not needed on loopback, unless hosts.yaml says so.",
                }
            },
        },
        "security": [{}, {"token": []}],
    }


class _Schemas:
    """Of all types that the routes speak of, made in one go: names are shared."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._hints = [ProblemDocument, *_STEPS.values(), *_hints(routes)]
        self._made, self.components = msgspec.json.schema_components(self._hints, ref_template=_REF)
        for route in routes:
            if route.body is not None:
                self.components[route.body.kind.__name__] |= route.body.besides
        for kind in SENT_WHOLE:
            if kind.__name__ in self.components:
                self._has_all_fields(self.components[kind.__name__])

    @staticmethod
    def _has_all_fields(component: Schema) -> None:
        """Its defaults are for who reads it, not for what is sent."""
        component["required"] = list(component["properties"])
        for field in component["properties"].values():
            field.pop("default", None)

    def of(self, hint: Any) -> Schema:
        """The same hint, the very object, as when they were collected."""
        return next(s for h, s in zip(self._hints, self._made, strict=True) if h is hint)


def _hints(routes: Iterable[Route]) -> Iterator[Any]:
    for route in routes:
        for answer in route.answers.values():
            yield from answer.kinds
        yield from (header.kind for header in route.headers)
        if route.query is not None:
            yield from (parameter.hint for parameter in route.query.parameters.values())
        if route.body is not None:
            yield route.body.whole


def _operation(route: Route, schemas: _Schemas) -> Schema:
    operation: Schema = {"operationId": route.name, "summary": route.summary}
    if route.about:
        operation["description"] = route.about
    parameters = [*_path_parameters(route, schemas), *_query_parameters(route, schemas)]
    parameters += [
        {
            "name": header.name,
            "in": "header",
            "description": header.about,
            "schema": schemas.of(header.kind),
        }
        for header in route.headers
    ]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {
            "required": not route.body_optional,
            "content": {"application/json": {"schema": schemas.of(route.body.whole)}},
        }
    responses = {str(status): _answer(answer, schemas) for status, answer in route.answers.items()}
    operation["responses"] = responses | _problems(route, schemas)
    return operation


def _path_parameters(route: Route, schemas: _Schemas) -> Iterator[Schema]:
    for name in _IN_PATH.findall(route.path):
        schema = dict(schemas.of(_STEPS[name]))
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": schema.pop("title"),
            "schema": schema,
        }


def _query_parameters(route: Route, schemas: _Schemas) -> Iterator[Schema]:
    if route.query is None:
        return
    for parameter in route.query.parameters.values():
        schema = dict(schemas.of(parameter.hint))
        found: Schema = {"name": parameter.name, "in": "query", "schema": schema}
        if "title" in schema:
            found["description"] = schema.pop("title")
        if parameter.is_list:
            found |= {"style": "form", "explode": False}
        yield found


def _answer(answer: Answer, schemas: _Schemas) -> Schema:
    shapes = [schemas.of(kind) for kind in answer.kinds] or [{"type": "string"}]
    schema = shapes[0] if len(shapes) == 1 else {"anyOf": shapes}
    response: Schema = {
        "description": answer.about,
        "content": {answer.media: {"schema": schema}},
    }
    if answer.headers:
        response["headers"] = {
            name: {"description": about, "schema": {"type": "string"}}
            for name, about in answer.headers.items()
        }
    return response


def _problems(route: Route, schemas: _Schemas) -> dict[str, Schema]:
    by_status: dict[int, list[Kind]] = {}
    for kind in dict.fromkeys(problems_of(route)):
        by_status.setdefault(kind.status, []).append(kind)
    return {
        str(status): {
            "description": f"{HTTPStatus(status).phrase}: "
            + "; ".join(f"{kind.title} ({kind.urn})" for kind in kinds),
            "content": {"application/problem+json": {"schema": schemas.of(ProblemDocument)}},
        }
        for status, kinds in sorted(by_status.items())
    }


def problems_of(route: Route) -> Iterator[Kind]:
    """All that may be wrong with a request for a route."""
    yield from _ALWAYS
    if route.query is not None:
        yield from _OF_PARAMETERS
    if route.method != "GET":
        yield from _OF_WRITES
    if route.body is not None:
        yield from _OF_BODIES
    yield from route.problems
