"""A request for a task, and what its context must hold to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, Strict, ValidationError
from pydantic import field_validator as validates

from tasker_host.domain.faults import faults, path_text
from tasker_host.domain.json import SCALARS, child_path, dumps, is_plain, plain
from tasker_host.domain.text import without_nul
from tasker_host.errors import InvalidRequest, JsonError, Problem

MOST_PROBLEMS = 20
"""Told of one context; more of them help nobody."""


def _reachable(time: datetime) -> datetime:
    # What a database takes for a time, also in its own zone: asyncpg reads the first and the last moment as infinite.
    if not 1 < time.year < 9999:
        raise ValueError("must be of a year from 2 to 9998")
    return time


_Name = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(without_nul)]
_Version = Annotated[str, Field(min_length=1, max_length=50), AfterValidator(without_nul)]
_Reason = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(without_nul)]
_Tag = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(without_nul)]


class TaskRequest(BaseModel):
    """A task to be made of the template `namespace`/`name`; without `version`, of its latest one.

    `context` may also be given as a pydantic model or dataclass, and hold what `domain.json.dumps` takes. Without
    `priority` the template's counts. `start_at` needs a time zone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Name
    namespace: _Name = "default"
    version: _Version | None = None
    context: dict[str, Any] = Field(default_factory=dict)
    initiator: _Name = "system"
    source_system: _Name = "tasker-host"
    reason: _Reason = "Task requested"
    tags: list[_Tag] = Field(default_factory=list, max_length=100)
    priority: Annotated[int, Strict(), Field(ge=-100, le=100)] | None = None
    correlation_id: UUID | None = None
    parent_correlation_id: UUID | None = None
    idempotency_key: _Name | None = None
    start_at: Annotated[AwareDatetime, AfterValidator(_reachable)] | None = None

    @validates("context", mode="before")
    @classmethod
    def _as_plain_data(cls, context: Any) -> Any:
        if is_plain(context):
            return context
        try:
            return plain(context)
        except JsonError:
            return context  # told by check_context, with all its problems


def request_from_data(data: Any) -> TaskRequest:
    """The request that plain data means. Raises InvalidRequest with every problem and its key path."""
    try:
        return TaskRequest.model_validate(data)
    except ValidationError as error:
        found = faults(error, TaskRequest, mapping="an object")
        problems = [Problem(path_text(fault.path), fault.message) for fault in found]
        raise InvalidRequest("the request is not valid", problems) from None


def check_context(context: Any, *, max_bytes: int, max_depth: int) -> list[Problem]:
    """What keeps `context` from being a task's: it must be an object that JSON can say, within size and depth.

    The object itself is the first level of depth. `max_bytes` counts UTF-8 of the compact text.
    """
    if not isinstance(context, Mapping):
        return [Problem("context", f"must be an object (got {type(context).__name__})")]
    try:
        size = len(dumps(context).encode())
    except JsonError:
        return list(islice(_problems(context, "context", max_depth), MOST_PROBLEMS))
    if size > max_bytes:
        return [Problem("context", f"{size:,} bytes are more than the {max_bytes:,} allowed; pass a reference instead")]
    if _is_deeper(context, max_depth):
        return list(islice(_problems(context, "context", max_depth), MOST_PROBLEMS))
    return []


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether arrays and objects are nested more than `levels` deep."""
    items: Any
    if isinstance(value, dict):  # asked first: Mapping is an abstract class and slow to ask
        items = value.values()
    elif isinstance(value, list | tuple):
        items = value
    elif isinstance(value, Mapping):
        items = value.values()
    else:
        return False
    return levels < 1 or any(_is_deeper(item, levels - 1) for item in items if type(item) not in SCALARS)


def _problems(value: Any, path: str, levels: int) -> Iterator[Problem]:
    if isinstance(value, Mapping | list | tuple) and levels < 1:
        yield Problem(path, "nested too deeply")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            fault = _fault({key: None}, path)
            if fault is not None:
                yield fault
            else:
                yield from _problems(item, child_path(path, key), levels - 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _problems(item, f"{path}[{index}]", levels - 1)
    else:
        fault = _fault(value, path)
        if fault is not None:
            yield fault


def _fault(value: Any, path: str) -> Problem | None:
    try:
        plain(value, path)
    except JsonError as error:
        return Problem(error.path or path, error.message)
    return None
