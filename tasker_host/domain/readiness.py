"""How far a task is and what can be done about it, from the states of its steps. Pure; the API shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum

from tasker_host.domain.states import STEP_SATISFIED, StepState


class ExecutionStatus(StrEnum):
    """Where a task stands; the first that applies."""

    ALL_COMPLETE = "all_complete"
    HAS_READY_STEPS = "has_ready_steps"
    PROCESSING = "processing"
    BLOCKED_BY_FAILURES = "blocked_by_failures"
    WAITING_FOR_DEPENDENCIES = "waiting_for_dependencies"


ACTIONS: Mapping[ExecutionStatus, str] = {
    ExecutionStatus.ALL_COMPLETE: "finalize_task",
    ExecutionStatus.HAS_READY_STEPS: "execute_ready_steps",
    ExecutionStatus.PROCESSING: "wait_for_completion",
    ExecutionStatus.BLOCKED_BY_FAILURES: "handle_failures",
    ExecutionStatus.WAITING_FOR_DEPENDENCIES: "wait_for_dependencies",
}

PIPELINE = frozenset(
    {
        StepState.ENQUEUED,
        StepState.IN_PROGRESS,
        StepState.ENQUEUED_FOR_ORCHESTRATION,
        StepState.ENQUEUED_AS_ERROR_FOR_ORCHESTRATION,
    }
)
"""Queued, running, or handed back while the task is paused."""


@dataclass(frozen=True, slots=True)
class StepFacts:
    """What is known of a step; `forgiven`: its permanent failure counts as done."""

    state: StepState
    total_parents: int = 0
    completed_parents: int = 0
    attempts: int = 0
    max_attempts: int = 3
    retryable: bool = True
    next_retry_at: datetime | None = None
    forgiven: bool = False

    @property
    def is_satisfied(self) -> bool:
        """Whether it no longer holds its children back."""
        return self.state in STEP_SATISFIED or (self.state is StepState.ERROR and self.forgiven)

    @property
    def dependencies_satisfied(self) -> bool:
        return self.completed_parents == self.total_parents

    @property
    def retry_eligible(self) -> bool:
        """Whether another execution is allowed: the first one always is."""
        return self.attempts == 0 or (self.retryable and self.attempts < self.max_attempts)

    def is_ready(self, now: datetime) -> bool:
        """Whether it could be queued at `now`. The kernel queues what is ready in the commit that makes it so."""
        return (
            self.state in (StepState.PENDING, StepState.WAITING_FOR_RETRY)
            and self.dependencies_satisfied
            and self.retry_eligible
            and (self.next_retry_at is None or self.next_retry_at <= now)
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """A task as a whole. `completion_percentage` counts steps, to two decimals."""

    status: ExecutionStatus
    recommended_action: str
    health_status: str
    ready_steps: int
    completion_percentage: float


def progress(steps: Sequence[StepFacts], now: datetime) -> Progress:
    """Blocked is a task of which nothing can run any more: independent branches run to their end first."""
    ready = sum(step.is_ready(now) for step in steps)
    done = sum(step.is_satisfied for step in steps)
    failed = any(step.state is StepState.ERROR and not step.is_satisfied for step in steps)
    retrying = any(step.state is StepState.WAITING_FOR_RETRY for step in steps)
    if steps and done == len(steps):
        status = ExecutionStatus.ALL_COMPLETE
    elif ready:
        status = ExecutionStatus.HAS_READY_STEPS
    elif any(step.state in PIPELINE for step in steps):
        status = ExecutionStatus.PROCESSING
    elif failed and not retrying:
        status = ExecutionStatus.BLOCKED_BY_FAILURES
    else:
        status = ExecutionStatus.WAITING_FOR_DEPENDENCIES
    blocked = status is ExecutionStatus.BLOCKED_BY_FAILURES
    return Progress(
        status,
        ACTIONS[status],
        "blocked" if blocked else "recovering" if failed or retrying else "healthy",
        ready,
        percentage(done, len(steps)),
    )


def percentage(done: int, total: int) -> float:
    """Of 100, to two decimals, halves upwards; 0 of nothing."""
    if not total:
        return 0.0
    return float((Decimal(100 * done) / total).quantize(Decimal("0.01"), ROUND_HALF_UP))
