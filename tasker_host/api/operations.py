"""`/v1/tasks/{task_uuid}/…` and `/v1/limits`: what operators do. Each answers with what it acted on, as it is then."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from litestar import Controller, Request, Response, delete, get, patch, post, put
from litestar.openapi.spec import Operation
from litestar.params import FromPath

from tasker_host.api import operation_bodies as bodies
from tasker_host.api.bodies import StepBody, TaskBody, task_body
from tasker_host.api.docs import described, problems, request_body
from tasker_host.api.examples import STEP, TASK
from tasker_host.api.problems import body, host_of, not_json, once_started
from tasker_host.api.reading import body_of, task_of, uuid_of
from tasker_host.db.queries import Row, limits_list, task_history
from tasker_host.domain.suggest import did_you_mean
from tasker_host.errors import InvalidRequest, Problem, StepNotFound

if TYPE_CHECKING:
    from tasker_host.host import Host

_STEPS = "/workflow_steps"


@dataclass
class _Action(Operation):
    def __post_init__(self) -> None:
        self.request_body = request_body(bodies.ActionRequest, bodies.ACTION)


@dataclass
class _Cancel(Operation):
    def __post_init__(self) -> None:
        self.request_body = request_body(bodies.CancelRequest, bodies.CANCEL)


@dataclass
class _Rerun(Operation):
    def __post_init__(self) -> None:
        self.request_body = request_body(bodies.RerunRequest, bodies.RERUN)


@dataclass
class _StepAction(Operation):
    def __post_init__(self) -> None:
        self.request_body = request_body(bodies.StepActionRequest, bodies.STEP_ACTION)


@dataclass
class _Limit(Operation):
    def __post_init__(self) -> None:
        self.request_body = request_body(bodies.LimitRequest, bodies.LIMIT_REQUEST)


_TASK = {**described(TaskBody, TASK, description="The task as it is now."), **problems(400, 404, 409, 415, 503)}
_STEP = {**described(StepBody, STEP, description="The step as it is now."), **problems(400, 404, 409, 415, 503)}
_LIMIT = {
    **described(bodies.LimitBody, bodies.LIMIT, description="The limit as it is now."),
    **problems(400, 415, 503),
}


class OperationController(Controller):
    path = "/v1/tasks/{task_uuid:str}"
    tags = ["operations"]  # noqa: RUF012 - as the framework declares it
    before_request = staticmethod(once_started)

    @post("/cancel", operation_class=_Cancel, responses=_TASK, status_code=HTTPStatus.OK, summary="Cancel a task")
    async def cancel(self, request: Request[Any, Any, Any], task_uuid: FromPath[str]) -> Response[bytes]:
        """Nothing of it starts any more. 409 when it is over."""
        if (refused := not_json(request)) is not None:
            return refused
        host, task = host_of(request), uuid_of(task_uuid, "task_uuid")
        asked = await body_of(request, bodies.CancelRequest)
        await host.operations.cancel(task, reason=asked.reason, actor=asked.actor, running=asked.running)
        return body(task_body(await task_of(host, task)))

    @post("/pause", operation_class=_Action, responses=_TASK, status_code=HTTPStatus.OK, summary="Pause a task")
    async def pause(self, request: Request[Any, Any, Any], task_uuid: FromPath[str]) -> Response[bytes]:
        """Running steps end, nothing new starts. 409 when it is over or paused."""
        return await _act(request, task_uuid, "pause")

    @post("/resume", operation_class=_Action, responses=_TASK, status_code=HTTPStatus.OK, summary="Resume a task")
    async def resume(self, request: Request[Any, Any, Any], task_uuid: FromPath[str]) -> Response[bytes]:
        """It goes on where it was. 409 unless it is paused."""
        return await _act(request, task_uuid, "resume")

    @post("/resolve", operation_class=_Action, responses=_TASK, status_code=HTTPStatus.OK, summary="Resolve a task")
    async def resolve(self, request: Request[Any, Any, Any], task_uuid: FromPath[str]) -> Response[bytes]:
        """It is settled by hand and ends as resolved_manually; running steps are stopped."""
        return await _act(request, task_uuid, "resolve")

    @post("/rerun", operation_class=_Rerun, responses=_TASK, status_code=HTTPStatus.OK, summary="Run a task again")
    async def rerun(self, request: Request[Any, Any, Any], task_uuid: FromPath[str]) -> Response[bytes]:
        """Steps and all below them begin anew; the values of earlier ones are kept. 409 while these run."""
        if (refused := not_json(request)) is not None:
            return refused
        host, task = host_of(request), uuid_of(task_uuid, "task_uuid")
        asked = await body_of(request, bodies.RerunRequest)
        await host.operations.rerun(task, reason=asked.reason, actor=asked.actor, from_steps=asked.from_steps)
        return body(task_body(await task_of(host, task)))

    @get(
        "/history",
        responses={**described(list[bodies.MoveBody], [bodies.MOVE], description="It."), **problems(400, 404, 503)},
        summary="History of a task",
    )
    async def history(self, request: Request[Any, Any, Any], task_uuid: FromPath[str]) -> Response[bytes]:
        """Everything that happened to a task and its steps, in order."""
        host, task = host_of(request), uuid_of(task_uuid, "task_uuid")
        await task_of(host, task)
        return body(await task_history(host.database, task))

    @get(
        _STEPS,
        responses={**described(list[StepBody], [STEP], description="They."), **problems(400, 404, 503)},
        summary="Steps of a task",
    )
    async def steps(self, request: Request[Any, Any, Any], task_uuid: FromPath[str]) -> Response[bytes]:
        """In the order they were created."""
        return body((await task_of(host_of(request), uuid_of(task_uuid, "task_uuid")))["steps"])

    @get(
        _STEPS + "/{step:str}",
        responses={**described(StepBody, STEP, description="It."), **problems(400, 404, 503)},
        summary="Show a step",
    )
    async def step(
        self, request: Request[Any, Any, Any], task_uuid: FromPath[str], step: FromPath[str]
    ) -> Response[bytes]:
        """By its uuid or its name."""
        return body(await _step(host_of(request), task_uuid, step))

    @patch(_STEPS + "/{step:str}", operation_class=_StepAction, responses=_STEP, summary="Repair a step")
    async def operate(
        self, request: Request[Any, Any, Any], task_uuid: FromPath[str], step: FromPath[str]
    ) -> Response[bytes]:
        """Reset a step in error for another try, or settle one by hand; the task goes on by itself."""
        if (refused := not_json(request)) is not None:
            return refused
        host = host_of(request)
        asked = await body_of(request, bodies.StepActionRequest)
        if (asked.completion_data is None) == (asked.action_type == "complete_manually"):
            wanted = "is required" if asked.completion_data is None else "is for complete_manually only"
            raise InvalidRequest("the request is not valid", [Problem("completion_data", wanted)])
        found = (await _step(host, task_uuid, step))["step_uuid"]
        if asked.completion_data is not None:
            await host.operations.complete_step(
                found, asked.completion_data["result"], reason=asked.reason, actor=asked.actor
            )
        elif asked.action_type == "reset_for_retry":
            await host.operations.reset_step(found, reason=asked.reason, actor=asked.actor)
        else:
            await host.operations.resolve_step(found, reason=asked.reason, actor=asked.actor)
        return body(await _step(host, task_uuid, step))

    @get(
        _STEPS + "/{step:str}/audit",
        responses={**described(list[bodies.MoveBody], [bodies.MOVE], description="It."), **problems(400, 404, 503)},
        summary="History of a step",
    )
    async def audit(
        self, request: Request[Any, Any, Any], task_uuid: FromPath[str], step: FromPath[str]
    ) -> Response[bytes]:
        """Everything that happened to a step, newest first."""
        host = host_of(request)
        found = (await _step(host, task_uuid, step))["step_uuid"]
        moves = await task_history(host.database, uuid_of(task_uuid, "task_uuid"))
        return body([move for move in reversed(moves) if move["step_uuid"] == found])


class LimitController(Controller):
    path = "/v1"
    tags = ["limits"]  # noqa: RUF012 - as the framework declares it
    before_request = staticmethod(once_started)

    @get(
        "/limits",
        responses={**described(list[bodies.LimitBody], [bodies.LIMIT], description="They."), **problems(503)},
        summary="List limits",
    )
    async def list_limits(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """Limits that are set, and business keys under which something runs or waits."""
        return body(await limits_list(host_of(request).database))

    @put("/limits/{key:path}", operation_class=_Limit, responses=_LIMIT, summary="Set a limit")
    async def set_limit(self, request: Request[Any, Any, Any], key: FromPath[Path]) -> Response[bytes]:
        """Of `namespace:{name}`, `handler:{callable}` or `key:{namespace}:{value}`; at once, for every host."""
        if (refused := not_json(request)) is not None:
            return refused
        asked = await body_of(request, bodies.LimitRequest)
        return body(await _limit(host_of(request), _limit_key(request, key), asked))

    @delete("/limits/{key:path}", responses=_LIMIT, status_code=HTTPStatus.OK, summary="Remove a limit")
    async def remove_limit(self, request: Request[Any, Any, Any], key: FromPath[Path]) -> Response[bytes]:
        """What waited for room goes on."""
        asked = bodies.LimitRequest(reason="removed over HTTP")
        return body(await _limit(host_of(request), _limit_key(request, key), asked))

    @post("/namespaces/{name:str}/{action:str}", operation_class=_Action, responses=_LIMIT, status_code=HTTPStatus.OK,
          summary="Pause or resume a namespace")  # fmt: skip
    async def namespace(
        self, request: Request[Any, Any, Any], name: FromPath[str], action: FromPath[str]
    ) -> Response[bytes]:
        """`pause` or `resume`: of all its tasks nothing starts; what runs goes on."""
        return await _pause(request, f"namespace:{name}", action)

    @post("/handlers/{name:str}/{action:str}", operation_class=_Action, responses=_LIMIT, status_code=HTTPStatus.OK,
          summary="Pause or resume a handler")  # fmt: skip
    async def handler(
        self, request: Request[Any, Any, Any], name: FromPath[str], action: FromPath[str]
    ) -> Response[bytes]:
        """`pause` or `resume`: no step of it starts; what runs goes on."""
        return await _pause(request, f"handler:{name}", action)


async def _act(request: Request[Any, Any, Any], task_uuid: str, action: str) -> Response[bytes]:
    if (refused := not_json(request)) is not None:
        return refused
    host, task = host_of(request), uuid_of(task_uuid, "task_uuid")
    asked = await body_of(request, bodies.ActionRequest)
    operations = host.operations
    act = {"pause": operations.pause, "resume": operations.resume, "resolve": operations.resolve}[action]
    await act(task, reason=asked.reason, actor=asked.actor)
    return body(task_body(await task_of(host, task)))


async def _pause(request: Request[Any, Any, Any], key: str, action: str) -> Response[bytes]:
    if (refused := not_json(request)) is not None:
        return refused
    if action not in ("pause", "resume"):
        raise InvalidRequest(
            "the address is not valid", [Problem("action", f"must be pause or resume (got {action:.80})")]
        )
    host = host_of(request)
    asked = await body_of(request, bodies.ActionRequest)
    await host.operations.pause_key(key, paused=action == "pause", reason=asked.reason, actor=asked.actor)
    return body(await _limit_row(host, key))


def _limit_key(request: Request[Any, Any, Any], key: Path) -> str:
    # As it was sent: the framework takes `//` and a last `/` out of a path, which a key may have.
    sent = request.scope.get("raw_path")
    return unquote(sent).partition("/limits/")[2] if sent else str(key).removeprefix("/")


async def _limit(host: Host, key: str, asked: bodies.LimitRequest) -> Row:
    await host.operations.limit(
        key,
        reason=asked.reason,
        actor=asked.actor,
        max_running=asked.max_running,
        per_second=asked.per_second,
        burst=asked.burst,
        paused=asked.paused,
    )
    return await _limit_row(host, key)


async def _limit_row(host: Host, key: str) -> Row:
    found = await limits_list(host.database, key)
    nothing = {"max_running": None, "per_second": None, "burst": 1, "paused": False, "running": 0, "waiting": 0}
    return found[0] if found else {"key": key, "is_fixed": False, **nothing}


async def _step(host: Host, task_uuid: str, step: str) -> Row:
    steps = (await task_of(host, uuid_of(task_uuid, "task_uuid")))["steps"]
    for row in steps:
        if step in (row["name"], str(row["step_uuid"])):
            return dict(row)
    raise StepNotFound(f"task {task_uuid} has no step {step!r}{did_you_mean(step, [row['name'] for row in steps])}")
