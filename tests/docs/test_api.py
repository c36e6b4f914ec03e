"""docs/api.md has every route, parameter and field."""

from __future__ import annotations

import dataclasses
import re

import pytest
from litestar.routes import HTTPRoute

from tasker_host.api import bodies, deadletter_bodies
from tasker_host.api.plugins import FaultBody, PluginBody
from tasker_host.config import load
from tasker_host.domain.request import TaskRequest
from tasker_host.host import Host
from tasker_host.runtime.health import Phase, Status
from tasker_host.server import create_app
from tests.docs.pages import code, page


def routes() -> dict[str, HTTPRoute]:
    """`GET /v1/tasks` → its route; the pages of the description itself are left out."""
    app = create_app(Host(load(env="test", environ={})))
    return {
        f"{method} {route.path_format}": route
        for route in app.routes
        if isinstance(route, HTTPRoute) and not route.path.startswith("/api-docs")
        for method in route.methods
        if method != "OPTIONS"
    }


def test_every_route_has_a_section_and_no_other_has_one():
    assert {heading for heading in page("api").headings() if re.match(r"[A-Z]+ /", heading)} == set(routes())


def test_every_field_of_a_request_is_there_with_its_default():
    rows = page("api").table("POST /v1/tasks", "field")
    said = {code(row[0])[0]: row[2] for row in rows}
    assert said.keys() == TaskRequest.model_fields.keys()
    for name, field in TaskRequest.model_fields.items():
        if field.is_required():
            assert said[name] == "required"
        elif isinstance(field.default, str):
            assert said[name] == f"`{field.default}`"


def test_every_parameter_of_the_list_is_there():
    openapi = create_app(Host(load(env="test", environ={}))).openapi_schema.to_schema()
    parameters = {given["name"] for given in openapi["paths"]["/v1/tasks"]["get"]["parameters"]}
    assert {code(row[0])[0] for row in page("api").table("GET /v1/tasks", "parameter")} == parameters


@pytest.mark.parametrize(
    ("heading", "column", "model"),
    [
        ("GET /v1/dlq", "parameter", deadletter_bodies.DeadLetterQuery),
        ("POST /v1/dlq", "field", deadletter_bodies.DeadLetterRequest),
        ("PATCH /v1/dlq/entry/{dlq_entry_uuid}", "field", deadletter_bodies.DeadLetterChange),
    ],
)
def test_what_is_asked_of_dead_letters_is_there(heading, column, model):
    assert [code(row[0])[0] for row in page("api").table(heading, column)] == list(model.model_fields)


def test_every_status_of_a_submission_is_there():
    openapi = create_app(Host(load(env="test", environ={}))).openapi_schema.to_schema()
    statuses = set(openapi["paths"]["/v1/tasks"]["post"]["responses"])
    assert {row[0] for row in page("api").table("POST /v1/tasks", "status")} == statuses


def test_every_field_of_a_task_and_a_step_is_there():
    task, step = (rows[1:] for rows in page("api").tables("GET /v1/tasks/{task_uuid}"))
    for rows, body in ((task, bodies.TaskBody), (step, bodies.StepBody)):
        assert {name for row in rows for name in code(row[0])} == {field.name for field in dataclasses.fields(body)}


@pytest.mark.parametrize(
    ("heading", "body"),
    [
        ("GET /v1/dlq/task/{task_uuid}", deadletter_bodies.DeadLetterBody),
        ("PATCH /v1/dlq/entry/{dlq_entry_uuid}", deadletter_bodies.DeadLetterChangedBody),
        ("GET /v1/dlq/stats", deadletter_bodies.DeadLetterStatsBody),
        ("GET /v1/dlq/investigation-queue", deadletter_bodies.InvestigationBody),
        ("GET /v1/dlq/staleness", deadletter_bodies.StalenessBody),
        ("GET /v1/tasks", bodies.TaskListBody),
        ("GET /v1/tasks", bodies.PaginationBody),
        ("GET /v1/plugins", PluginBody),
        ("GET /v1/plugins", FaultBody),
        ("GET /health", bodies.HealthBody),
        ("GET /health", bodies.CheckBody),
        ("Errors", bodies.ProblemBody),
        ("Errors", bodies.WrongBody),
    ],
)
def test_every_field_of_other_bodies_is_there(heading, body):
    assert {field.name for field in dataclasses.fields(body)} <= set(code(page("api").section(heading)))


def test_every_status_and_phase_of_a_host_is_there():
    said = set(code(page("api").section("GET /health")))
    assert {status.value for status in Status} | {phase.value for phase in Phase if phase is not Phase.STOPPED} <= said


def test_every_check_is_there():
    checks = {name.removeprefix("_check_") for name in dir(Host) if name.startswith("_check_")}
    assert {code(row[0])[0] for row in page("api").table("GET /health", "check")} == checks
