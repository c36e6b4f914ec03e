"""`/v1/tasks`: submit, list, show."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from litestar import Controller, Request, Response, get, post
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, FromQuery, QueryParameter

from tasker_host.api.bodies import ProblemBody, TaskBody, TaskListBody, task_body
from tasker_host.api.docs import TaskRequestOperation
from tasker_host.api.problems import body, host_of, problem
from tasker_host.db.queries import Row, TaskFilter, tasks_get, tasks_list
from tasker_host.domain.json import loads
from tasker_host.domain.request import request_from_data
from tasker_host.domain.states import TaskState
from tasker_host.domain.suggest import did_you_mean
from tasker_host.errors import InvalidRequest, JsonError, Problem, TaskNotFound

if TYPE_CHECKING:
    from tasker_host.host import Host

_PAGE = 25
_STATES = [state.value for state in TaskState]
_FILTERS = ("page", "per_page", "namespace", "name", "version", "status", "initiator", "source_system")


def _answers(container: Any, status: int, *problems: int) -> dict[int, ResponseSpec]:
    specs = {status: ResponseSpec(data_container=container, description="Done.", generate_examples=False)}
    for code in problems:
        description = HTTPStatus(code).phrase
        specs[code] = ResponseSpec(data_container=ProblemBody, description=description, generate_examples=False)
    return specs


class TaskController(Controller):
    path = "/v1/tasks"
    tags = ["tasks"]  # noqa: RUF012 - as the framework declares it

    @post(
        "/",
        operation_class=TaskRequestOperation,
        responses=_answers(TaskBody, 201, 400, 404, 409, 413, 415, 503),
        summary="Submit a task",
    )
    async def submit(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """Create a task of a template. It is durable when this answers.

        400: the request or its context does not hold, with every problem. 404: no such template. 409: the identity is
        taken, or the template's handlers are not there. 413: the body is too large.
        """
        host = host_of(request)
        if request.content_type[0] != "application/json":
            # What a page of another site can send without asking is never JSON by name.
            given = request.headers.get("content-type", "none")
            detail = f"the body must be JSON, with Content-Type: application/json (got {given})"
            return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "NOT_JSON", detail)
        try:
            data = loads(await request.body())
        except JsonError as error:
            raise InvalidRequest("the body cannot be read", [Problem("", str(error))]) from None
        task_uuid = await host.submissions.submit(request_from_data(data))
        row = await _task(host, task_uuid)
        return body(task_body(row), status=HTTPStatus.CREATED, headers={"Location": f"/v1/tasks/{task_uuid}"})

    @get("/", responses=_answers(TaskListBody, 200, 400, 503), summary="List tasks")
    async def list_tasks(  # noqa: PLR0917 - one parameter a filter
        self,
        request: Request[Any, Any, Any],
        page: Annotated[int, QueryParameter(ge=1, le=1_000_000)] = 1,
        per_page: Annotated[int, QueryParameter(ge=1, description="At most `limits.page_size_max`.")] = _PAGE,
        namespace: FromQuery[str | None] = None,
        name: FromQuery[str | None] = None,
        version: FromQuery[str | None] = None,
        status: Annotated[list[str] | None, QueryParameter(description="May be given more than once.")] = None,
        initiator: FromQuery[str | None] = None,
        source_system: FromQuery[str | None] = None,
    ) -> Response[bytes]:
        """A page of tasks, newest first, without their contexts and steps."""
        host = host_of(request)
        _check_parameters(request, per_page, host.config.settings.limits.page_size_max, status or [])
        wanted = TaskFilter(namespace, name, version, status or None, initiator, source_system)
        rows, total = await tasks_list(host.database, wanted, limit=per_page, offset=(page - 1) * per_page)
        pages = -(-total // per_page)
        pagination = {
            "page": page,
            "per_page": per_page,
            "total_count": total,
            "total_pages": pages,
            "has_next": page < pages,
            "has_previous": page > 1,
        }
        return body({"tasks": [task_body(row) for row in rows], "pagination": pagination})

    @get("/{task_uuid:str}", responses=_answers(TaskBody, 200, 400, 404, 503), summary="Show a task")
    async def show(self, request: Request[Any, Any, Any], task_uuid: FromPath[str]) -> Response[bytes]:
        """A task with its steps, in the order they were created."""
        try:
            wanted = UUID(task_uuid)
        except ValueError:
            wrong = Problem("task_uuid", f"not a uuid: {task_uuid}")
            raise InvalidRequest("the address is not valid", [wrong]) from None
        return body(task_body(await _task(host_of(request), wanted)))


async def _task(host: Host, task_uuid: UUID) -> Row:
    rows = await tasks_get(host.database, [task_uuid])
    if not rows:
        raise TaskNotFound(f"no task {task_uuid}")
    return rows[0]


def _check_parameters(request: Request[Any, Any, Any], per_page: int, most: int, states: list[str]) -> None:
    problems = [
        Problem(key, f"unknown parameter{did_you_mean(key, _FILTERS)}")
        for key in request.query_params
        if key not in _FILTERS
    ]
    problems += [
        Problem("status", f"no task state {state!r}{did_you_mean(state, _STATES)}; there are: {', '.join(_STATES)}")
        for state in states
        if state not in _STATES
    ]
    if per_page > most:
        problems.append(Problem("per_page", f"at most {most} (limits.page_size_max), got {per_page}"))
    if problems:
        raise InvalidRequest("the query is not valid", problems)
