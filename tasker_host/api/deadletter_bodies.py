"""What the API says and hears of dead letters."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from tasker_host.domain.deadletter import DeadLetterReason, Resolution, word
from tasker_host.domain.text import StorableText

MOST_ROWS = 1_000
"""In one answer."""


def _resolution(value: Any) -> Any:
    return word(Resolution, value) if isinstance(value, str) else value


def _reason(value: Any) -> Any:
    return word(DeadLetterReason, value) if isinstance(value, str) else value


def _words(kind: type[Resolution] | type[DeadLetterReason]) -> dict[str, Any]:
    return {"type": "string", "enum": [member.value for member in kind]}


_Status = Annotated[Resolution, BeforeValidator(_resolution), WithJsonSchema(_words(Resolution))]
_Reason = Annotated[DeadLetterReason, BeforeValidator(_reason), WithJsonSchema(_words(DeadLetterReason))]
Limit = Annotated[int, Field(ge=1, le=MOST_ROWS, description=f"How many, at most {MOST_ROWS}.")]


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DeadLetterQuery(_Given):
    resolution_status: _Status | None = Field(default=None, description="Only with this status.")
    reason: _Reason | None = Field(default=None, description="Only for this reason.")
    limit: Limit = 50
    offset: Annotated[int, Field(ge=0, le=2**31, description="How many to skip.")] = 0


class LimitQuery(_Given):
    limit: Limit = 100


class DeadLetterChange(_Given):
    """What is left out stays as it is."""

    resolution_status: _Status | None = Field(default=None, description="How the investigation ended.")
    resolution_notes: StorableText | None = Field(
        default=None, max_length=10_000, description="What was found and done."
    )
    resolved_by: StorableText | None = Field(default=None, min_length=1, max_length=255, description="By whom.")
    metadata: dict[str, Any] | None = Field(default=None, description="Takes the place of what was there.")


class DeadLetterRequest(_Given):
    """An investigation that is opened by hand."""

    task_uuid: UUID = Field(description="Of the task that it is about.")
    notes: StorableText | None = Field(default=None, max_length=10_000, description="Why.")
    metadata: dict[str, Any] | None = Field(default=None, description="Whatever belongs to it.")


@dataclass(frozen=True, slots=True)
class DeadLetterBody:
    """An investigation. `current_state` is that of its task now, null when that is gone."""

    dlq_entry_uuid: UUID
    task_uuid: UUID
    namespace: str
    task_name: str | None
    original_state: str
    current_state: str | None
    dlq_reason: str
    dlq_timestamp: datetime
    resolution_status: str
    resolution_timestamp: datetime | None
    resolution_notes: str | None
    resolved_by: str | None
    task_snapshot: dict[str, Any]
    metadata: dict[str, Any] | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class DeadLetterChangedBody:
    success: bool
    message: str
    dlq_entry_uuid: UUID


@dataclass(frozen=True, slots=True)
class DeadLetterStatsBody:
    """Of one reason."""

    dlq_reason: str
    total_entries: int
    pending: int
    manually_resolved: int
    permanent_failures: int
    cancelled: int
    oldest_entry: datetime
    newest_entry: datetime
    avg_resolution_time_minutes: float | None


@dataclass(frozen=True, slots=True)
class InvestigationBody:
    """A pending investigation; `priority_score` is the weight of its reason and its minutes in the queue."""

    dlq_entry_uuid: UUID
    task_uuid: UUID
    namespace: str
    task_name: str | None
    original_state: str
    current_state: str | None
    dlq_reason: str
    dlq_timestamp: datetime
    minutes_in_dlq: float
    time_in_state_minutes: float | None
    priority_score: float


@dataclass(frozen=True, slots=True)
class StalenessBody:
    """A task that waits or works; `health_status` is healthy, warning (from 80 % of its threshold on) or stale."""

    task_uuid: UUID
    namespace: str
    task_name: str
    version: str
    current_state: str
    time_in_state_minutes: float
    staleness_threshold_minutes: int
    stale_at: datetime
    health_status: str


_ENTRY = "0192f0c8-1a00-7c3e-9f51-2a6b7c8d9e0f"
_TASK = "0192f0c4-5d00-7c7e-8a51-6f3d2b1c0e9a"

DEAD_LETTER: dict[str, Any] = {
    "dlq_entry_uuid": _ENTRY,
    "task_uuid": _TASK,
    "namespace": "payments",
    "task_name": "charge_order",
    "original_state": "blocked_by_failures",
    "current_state": "blocked_by_failures",
    "dlq_reason": "max_retries_exceeded",
    "dlq_timestamp": "2026-11-20T09:34:00.120451+00:00",
    "resolution_status": "pending",
    "resolution_timestamp": None,
    "resolution_notes": None,
    "resolved_by": None,
    "task_snapshot": {"task_name": "charge_order", "steps": [{"name": "charge_card", "state": "error", "attempts": 3}]},
    "metadata": None,
    "updated_at": "2026-11-20T09:34:00.120451+00:00",
}

CHANGE: dict[str, Any] = {
    "resolution_status": "manually_resolved",
    "resolution_notes": "the gateway was down; the step was reset",
    "resolved_by": "ann",
}

CHANGED: dict[str, Any] = {"success": True, "message": "updated", "dlq_entry_uuid": _ENTRY}

REQUEST: dict[str, Any] = {"task_uuid": _TASK, "notes": "the customer asks"}

STATS: dict[str, Any] = {
    "dlq_reason": "max_retries_exceeded",
    "total_entries": 3,
    "pending": 1,
    "manually_resolved": 2,
    "permanent_failures": 0,
    "cancelled": 0,
    "oldest_entry": "2026-11-18T14:02:11.000000+00:00",
    "newest_entry": "2026-11-20T09:34:00.120451+00:00",
    "avg_resolution_time_minutes": 42.5,
}

INVESTIGATION: dict[str, Any] = {
    **{key: DEAD_LETTER[key] for key in list(DEAD_LETTER)[:8]},
    "minutes_in_dlq": 12.0,
    "time_in_state_minutes": 13.0,
    "priority_score": 512.0,
}

STALENESS: dict[str, Any] = {
    "task_uuid": _TASK,
    "namespace": "payments",
    "task_name": "charge_order",
    "version": "1.0.0",
    "current_state": "waiting_for_retry",
    "time_in_state_minutes": 25.0,
    "staleness_threshold_minutes": 30,
    "stale_at": "2026-11-20T09:35:00.120451+00:00",
    "health_status": "warning",
}
