"""What the API says and hears: tasks as JSON objects, queries, and the schemas that describe them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo
from pydantic import field_validator as validates

from tasker_host.db.queries import Row, TaskFilter
from tasker_host.domain.readiness import percentage
from tasker_host.domain.request import TaskRequest
from tasker_host.domain.states import TaskState
from tasker_host.domain.text import StorableText

PER_PAGE = 25
"""Tasks on a page when the query does not say; fewer where `limits.page_size_max` is."""


class TaskQuery(BaseModel):
    """Which page of which tasks. Validated with the context `{"page_size_max": …}`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    page: int = Field(default=1, ge=1, le=1_000_000, description="Which page.")
    per_page: int | None = Field(
        default=None, ge=1, description=f"Tasks on a page, at most `limits.page_size_max`; {PER_PAGE} when not given."
    )
    namespace: StorableText | None = Field(default=None, description="Only of this namespace.")
    name: StorableText | None = Field(default=None, description="Only of templates of this name.")
    version: StorableText | None = Field(default=None, description="Only of templates of this version.")
    status: list[TaskState] | None = Field(
        default=None, description="Only in this state. May be given more than once: in one of these."
    )
    initiator: StorableText | None = Field(default=None, description="Only of this initiator.")
    source_system: StorableText | None = Field(default=None, description="Only of this source system.")

    @validates("per_page")
    @classmethod
    def _within_limits(cls, per_page: int | None, info: ValidationInfo) -> int | None:
        assert info.context is not None
        most = info.context["page_size_max"]
        if per_page is not None and per_page > most:
            raise ValueError(f"must be at most {most} (limits.page_size_max)")
        return per_page

    def filter(self) -> TaskFilter:
        return TaskFilter(
            self.namespace, self.name, self.version, self.status or None, self.initiator, self.source_system
        )


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
    completed_parents: int
    retry_eligible: bool
    ready_for_execution: bool
    optional: bool
    priority: int | None
    tags: list[str]
    waits_for_limit: str | None
    worker: str | None
    next_retry_at: datetime | None
    took_ms: float | None
    checkpoint: dict[str, Any] | None
    result: Any
    error: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class TaskSummaryBody:
    """A task as it is in a list.

    `active_steps` are queued or running, `retrying_steps` wait for their backoff, `forgiven_steps` failed but count as
    done. `completion_percentage` counts steps.
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
    forgiven_steps: int
    completion_percentage: float


@dataclass(frozen=True, slots=True)
class TaskBody(TaskSummaryBody):
    """A task with all that is known of it. `error` says why the task as a whole ended, where no step does."""

    deadline_at: datetime | None
    on_failure: str
    execution_status: str
    recommended_action: str
    health_status: str
    ready_steps: int
    because: dict[str, Any] | None
    error: dict[str, Any] | None
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

    tasks: list[TaskSummaryBody]
    pagination: PaginationBody


@dataclass(frozen=True, slots=True)
class CheckBody:
    """`critical`: while it is unhealthy, so is the host; other checks make it degraded."""

    name: str
    status: str
    message: str
    took_ms: float
    critical: bool


@dataclass(frozen=True, slots=True)
class HealthBody:
    """`status` is healthy, degraded or unhealthy: the worst of the critical checks.

    `phase` is starting, ready or stopping.
    """

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
    body["completion_percentage"] = (
        percentage(row["completed_steps"] + row["forgiven_steps"], total) if total else 100.0
    )
    return body


REQUEST_SCHEMA: dict[str, Any] = TaskRequest.model_json_schema()

QUERY_SCHEMA: dict[str, Any] = TaskQuery.model_json_schema()
