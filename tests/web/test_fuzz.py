"""Requests made out of /openapi.json, good ones and bad ones: what comes back fits it too.

The checks are schemathesis's: no error of the server's, no status, header or body that the document
does not tell of, nothing bad taken, nothing good refused. What a schema can't say is said here.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.openapi.checks import RejectedPositiveData

from tests.web.serving import served_beside, the_routes
from ygg.version import VERSION
from ygg.web.openapi import document

#: Fields of which the type says less than the route checks: a time must exist and be to come, and
#: what is any JSON must be small and have no NUL in it.
BEYOND_SCHEMAS = {"until", "not_before", "options", "metadata", "evidence"}
CONFIG = SchemathesisConfig.from_dict(
    {
        "generation": {"mode": "all"},
        # 422: no host of this fleet would run it; outside the bounds of this host.
        "checks": {
            "positive_data_acceptance": {
                "expected-statuses": ["2xx", "401", "403", "404", "409", "422", "5xx"]
            }
        },
    }
)
DOCUMENT = msgspec.json.decode(msgspec.json.encode(document(the_routes(), version=VERSION)))
# A stream has no end to wait for; its parameters are looked at in test_events.py.
schema = schemathesis.openapi.from_dict(DOCUMENT, config=CONFIG).exclude(path="/v1/events")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with served_beside(tmp_path_factory.mktemp("served")) as found:
        yield found


@pytest.fixture(scope="module")
def task_id(port: int) -> str:
    """Of a task that is held back, so that it stays."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    body = json.dumps({"title": "here to stay", "not_before": "2999-01-01T00:00:00Z"})
    connection.request("POST", "/v1/tasks", body, {"Content-Type": "application/json"})
    found = json.loads(connection.getresponse().read())["id"]
    connection.close()
    assert isinstance(found, str)
    return found


@schema.parametrize()
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_comes_back_fits_the_document(case: Any, port: int, task_id: str) -> None:
    there = {"id": task_id, "name": "h"}
    for name, value in (case.path_parameters or {}).items():
        if name in there and re.fullmatch("[0-9a-z]*[02468acegikmoqsuwy]", str(value)):
            case.path_parameters[name] = there[name]  # half of the good ones are one that is there
    response = case.call(base_url=f"http://127.0.0.1:{port}", timeout=20)
    try:
        case.validate_response(response)
    except FailureGroup as group:
        if not all(rightly_refused(case, failure, response) for failure in group.exceptions):
            raise


def rightly_refused(case: Any, failure: Exception, response: Any) -> bool:
    """It was refused only for what no schema says, or it was not that good."""
    if not isinstance(failure, RejectedPositiveData):
        return False
    errors = response.json().get("errors", ())
    return not fits(case) or (bool(errors) and all(map(beyond, errors)))


def fits(case: Any) -> bool:
    """Some of its requests that are called good are not: it sees no further than one field."""
    operation = DOCUMENT["paths"][case.operation.path][case.operation.method.lower()]
    shape = operation["requestBody"]["content"]["application/json"]["schema"]
    whole = {**shape, "components": DOCUMENT["components"]}
    return bool(jsonschema_rs.is_valid(whole, case.body))


def beyond(error: dict[str, str]) -> bool:
    """What a schema can't say."""
    fields = set(error["pointer"].split("/"))
    # JSON Schema takes 4.0 for an integer; whoever sends it has mixed up two fields.
    is_whole = re.search(r", got -?[0-9.e+]+\.0$", error["detail"]) is not None
    # Header and body have to agree.
    is_apart = re.search("differs from the Idem|Key is for one task", error["detail"]) is not None
    return bool(fields & BEYOND_SCHEMAS) or is_whole or is_apart
