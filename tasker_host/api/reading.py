"""What a request says: its query, its body and the uuids in its address, each checked with everything that is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from litestar import Request
from pydantic import BaseModel, ValidationError

from tasker_host.db.queries import Row, tasks_get
from tasker_host.domain.faults import faults, path_text
from tasker_host.domain.json import loads
from tasker_host.errors import InvalidRequest, JsonError, Problem, TaskNotFound

if TYPE_CHECKING:
    from tasker_host.host import Host

Model = TypeVar("Model", bound=BaseModel)


def query_of(request: Request[Any, Any, Any], model: type[Model]) -> Model:
    """Raises InvalidRequest with everything that is wrong with the query."""
    given = request.query_params.dict()
    wrong = [
        Problem(key, f"given {len(values)} times; give it once") for key, values in given.items() if len(values) > 1
    ]
    return _checked(model, {key: values[-1] for key, values in given.items()}, "the query is not valid", wrong)


async def body_of(request: Request[Any, Any, Any], model: type[Model]) -> Model:
    """Raises InvalidRequest with everything that is wrong with the body."""
    try:
        data = loads(await request.body())
    except JsonError as error:
        raise InvalidRequest("the body cannot be read", [Problem("", str(error))]) from None
    return _checked(model, data, "the request is not valid", [])


def uuid_of(text: str, where: str) -> UUID:
    """A uuid of the address. Raises InvalidRequest."""
    try:
        return UUID(text)
    except ValueError:
        raise InvalidRequest("the address is not valid", [Problem(where, f"not a uuid: {text:.80}")]) from None


def _checked(model: type[Model], data: Any, summary: str, wrong: list[Problem]) -> Model:
    try:
        checked = model.model_validate(data)
    except ValidationError as error:
        wrong += [Problem(path_text(fault.path), fault.message) for fault in faults(error, model)]
    if wrong:
        raise InvalidRequest(summary, wrong)
    return checked


async def task_of(host: Host, task: UUID) -> Row:
    """The task with its steps. Raises TaskNotFound."""
    rows = await tasks_get(host.database, [task])
    if not rows:
        raise TaskNotFound(f"no task {task}")
    return rows[0]
