"""What the API says and hears: tasks as JSON objects, and the schemas that describe them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from tasker_host.db.queries import Row
from tasker_host.domain.request import TaskRequest


@dataclass(frozen=True, slots=True)
class StepBody:
    """A step of a task. `result` is the value its handler returned; `error` the failure of its last attempt."""

    step_uuid: UUID
    name: str
    current_state: str
    state_since: datetime
    attempts: int
    max_attempts: int
    dependencies: list[str]
    dependencies_satisfied: bool
    total_parents: int
    worker: str | None
    next_retry_at: datetime | None
    took_ms: float | None
    result: Any
    error: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class TaskBody:
    """A task; in a list without `context` and `steps`.

    `active_steps` are queued or running, `retrying_steps` wait for their backoff. `completion_percentage` counts steps.
    """

    task_uuid: UUID
    namespace: str
    name: str
    version: str
    status: str
    created_at: datetime
    updated_at: datetime
    start_at: datetime | None
    completed_at: datetime | None
    priority: int
    tags: list[str]
    initiator: str
    source_system: str
    reason: str
    correlation_id: UUID
    parent_correlation_id: UUID | None
    total_steps: int
    completed_steps: int
    failed_steps: int
    active_steps: int
    retrying_steps: int
    completion_percentage: float
    context: dict[str, Any]
    steps: list[StepBody]


@dataclass(frozen=True, slots=True)
class PaginationBody:
    page: int
    per_page: int
    total_count: int
    total_pages: int
    has_next: bool
    has_previous: bool


@dataclass(frozen=True, slots=True)
class TaskListBody:
    """A page of tasks, newest first."""

    tasks: list[TaskBody]
    pagination: PaginationBody


@dataclass(frozen=True, slots=True)
class CheckBody:
    name: str
    status: str
    message: str
    took_ms: float


@dataclass(frozen=True, slots=True)
class HealthBody:
    """`status` is healthy, degraded or unhealthy: the worst of the checks. `phase` is starting, ready or stopping."""

    status: str
    phase: str
    timestamp: datetime
    checks: list[CheckBody]
    info: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AliveBody:
    status: str
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class WrongBody:
    where: str
    message: str


@dataclass(frozen=True, slots=True)
class ProblemBody:
    """RFC 9457, with our stable `code` and everything that was found wrong."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    problems: list[WrongBody]


def task_body(row: Row) -> Row:
    """The JSON object of a task as `db.queries` reads it."""
    body = dict(row)
    body["updated_at"] = body.pop("state_since")
    total = row["total_steps"]
    body["completion_percentage"] = round(100 * row["completed_steps"] / total, 2) if total else 100.0
    return body


REQUEST_SCHEMA: dict[str, Any] = TaskRequest.model_json_schema()
