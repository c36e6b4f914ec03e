"""`/v1/tasks`: submit, list, show."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from litestar import Controller, Request, Response, delete, get, post, route
from litestar.exceptions import InternalServerException
from litestar.params import FromPath
from pydantic import ValidationError

from tasker_host.api.bodies import PER_PAGE, TaskBody, TaskListBody, TaskQuery, task_body
from tasker_host.api.docs import TaskListOperation, TaskRequestOperation, described, problems
from tasker_host.api.examples import TASK, TASKS
from tasker_host.api.operation_bodies import ACTOR
from tasker_host.api.problems import body, host_of, not_json, once_started
from tasker_host.api.reading import task_of, uuid_of
from tasker_host.db.queries import tasks_list
from tasker_host.domain.faults import faults
from tasker_host.domain.json import loads
from tasker_host.domain.request import request_from_data
from tasker_host.errors import InvalidRequest, JsonError, Problem

if TYPE_CHECKING:
    pass

_REPEATABLE = "status"


class TaskController(Controller):
    path = "/v1/tasks"
    tags = ["tasks"]  # noqa: RUF012 - as the framework declares it
    before_request = staticmethod(once_started)

    @route("/", http_method=["OPTIONS"], include_in_schema=False)
    async def options(self) -> Response[None]:
        # The framework's own answer knows only the first of our methods.
        return Response(None, status_code=HTTPStatus.NO_CONTENT, headers={"Allow": "GET, HEAD, OPTIONS, POST"})

    @post(
        "/",
        operation_class=TaskRequestOperation,
        responses={
            **described(TaskBody, TASK, status=HTTPStatus.CREATED, description="Created."),
            **problems(400, 404, 409, 413, 415, 503),
        },
        summary="Submit a task",
    )
    async def submit(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """Create a task of a template. It is durable when this answers.

        400: the request or its context does not hold, with every problem. 404: no such template. 409: the identity is
        taken, or the template's handlers are not there. 413: the body is too large.
        """
        host = host_of(request)
        if (refused := not_json(request)) is not None:
            return refused
        try:
            data = loads(await request.body())
        except InternalServerException:
            # The framework's word for a client that went away before its body had ended.
            raise InvalidRequest("the body ended too early") from None
        except JsonError as error:
            raise InvalidRequest("the body cannot be read", [Problem("", str(error))]) from None
        task_uuid = await host.submissions.submit(request_from_data(data))
        row = await task_of(host, task_uuid)
        return body(task_body(row), status=HTTPStatus.CREATED, headers={"Location": f"/v1/tasks/{task_uuid}"})

    @get(
        "/",
        operation_class=TaskListOperation,
        responses={**described(TaskListBody, TASKS, description="A page."), **problems(400, 503)},
        summary="List tasks",
    )
    async def list_tasks(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """A page of tasks, newest first, without their contexts and steps."""
        host = host_of(request)
        most = host.config.settings.limits.page_size_max
        query = _query(request, most)
        page, per_page = query.page, query.per_page or min(PER_PAGE, most)
        rows, total = await tasks_list(host.database, query.filter(), limit=per_page, offset=(page - 1) * per_page)
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

    @get(
        "/{task_uuid:str}",
        responses={**described(TaskBody, TASK, description="It."), **problems(400, 404, 503)},
        summary="Show a task",
    )
    async def show(self, request: Request[Any, Any, Any], task_uuid: FromPath[str]) -> Response[bytes]:
        """A task with its steps, in the order they were created."""
        return body(task_body(await task_of(host_of(request), uuid_of(task_uuid, "task_uuid"))))

    @delete(
        "/{task_uuid:str}",
        responses={**described(TaskBody, TASK, description="It, cancelled."), **problems(400, 404, 409, 503)},
        status_code=HTTPStatus.OK,
        summary="Cancel a task, without a body",
    )
    async def cancel(self, request: Request[Any, Any, Any], task_uuid: FromPath[str]) -> Response[bytes]:
        """Nothing of it starts any more; running steps end on their own. 409 when it is over."""
        host, task = host_of(request), uuid_of(task_uuid, "task_uuid")
        await host.operations.cancel(task, reason="deleted over HTTP", actor=ACTOR)
        return body(task_body(await task_of(host, task)))


def _query(request: Request[Any, Any, Any], page_size_max: int) -> TaskQuery:
    """The query of a list. Raises InvalidRequest with everything that is wrong with it."""
    given: dict[str, list[str]] = {}
    for key, value in request.query_params.multi_items():
        given.setdefault(key, []).append(value)
    wrong = [
        Problem(key, f"given {len(values)} times; give it once")
        for key, values in given.items()
        if key != _REPEATABLE and len(values) > 1
    ]
    data = {key: values if key == _REPEATABLE else values[-1] for key, values in given.items()}
    try:
        query = TaskQuery.model_validate(data, context={"page_size_max": page_size_max})
    except ValidationError as error:
        wrong += [Problem(str(fault.path[0]), fault.message) for fault in faults(error, TaskQuery)]
    if wrong:
        raise InvalidRequest("the query is not valid", wrong)
    return query
