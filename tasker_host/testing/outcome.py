"""What became of a task, as a test looks at it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from tasker_host.db.database import Database
from tasker_host.db.queries import task_history, tasks_get
from tasker_host.domain.event import DomainEvent
from tasker_host.domain.json import dumps
from tasker_host.errors import TaskNotFound


@dataclass(frozen=True, slots=True)
class StepRun:
    """One step. `value` is what its handler returned, `error` why its last attempt failed; so many `attempts` began."""

    name: str
    state: str
    value: Any = None
    error: Mapping[str, Any] | None = None
    attempts: int = 0
    checkpoint: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        again = f" after {self.attempts} attempts" if self.attempts > 1 else ""
        if self.state == "complete":
            return f"{self.name}: complete{again}, {_short(self.value)}"
        why = f", {self.error.get('error_type')}: {self.error.get('message')}" if self.error else ""
        return f"{self.name}: {self.state}{again}{why}"


@dataclass(frozen=True, slots=True, repr=False)
class TaskRun:
    """A task that came to rest.

    `steps` are in the order in which they were made. `took` is by the task's own clock, in which waiting counts.
    `history` has every move of the task and its steps, in order; `effects` what was asked for with `effects=`; `events`
    are those that were published, fast and durable, in the order in which they became true.
    """

    task_uuid: UUID
    template: str
    state: str
    steps: Mapping[str, StepRun]
    took: timedelta
    history: Sequence[Mapping[str, Any]] = ()
    effects: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    events: Sequence[DomainEvent] = ()

    @property
    def is_complete(self) -> bool:
        return self.state == "complete"

    @property
    def states(self) -> dict[str, str]:
        """Step name → state."""
        return {name: step.state for name, step in self.steps.items()}

    @property
    def values(self) -> dict[str, Any]:
        """Step name → value, of the steps that are complete."""
        return {name: step.value for name, step in self.steps.items() if step.state == "complete"}

    @property
    def attempts(self) -> dict[str, int]:
        """Step name → executions that began."""
        return {name: step.attempts for name, step in self.steps.items()}

    @property
    def errors(self) -> dict[str, Mapping[str, Any]]:
        """Step name → error of its last failed attempt, of the steps that are not complete."""
        return {name: step.error for name, step in self.steps.items() if step.error and step.state != "complete"}

    def __repr__(self) -> str:
        """What pytest shows of a run that is not as expected."""
        why = f", {self.error}" if self.error else ""
        lines = [f"{self.template} is {self.state} after {_span(self.took)}{why}"]
        return "\n".join([*lines, *(f"  {step}" for step in self.steps.values())])


async def run_of(
    database: Database, task: UUID, effects: Mapping[str, Any] | None = None, events: Iterable[DomainEvent] = ()
) -> TaskRun:
    """What became of `task`, as far as it has come. Raises TaskNotFound."""
    rows = await tasks_get(database, [task])
    if not rows:
        raise TaskNotFound(f"there is no task {task} in the database of this test")
    row = rows[0]
    history = await task_history(database, task)
    ended = max((entry["at"] for entry in history), default=row["created_at"])
    return TaskRun(
        task_uuid=task,
        template=f"{row['namespace']}/{row['name']} {row['version']}",
        state=row["status"],
        steps={step["name"]: _step(step) for step in row["steps"]},
        took=max(ended - row["created_at"], timedelta()),
        history=tuple(history),
        effects=dict(effects or {}),
        error=row["error"],
        events=tuple(event for event in events if event.metadata.get("task_uuid") == str(task)),
    )


def _step(row: Mapping[str, Any]) -> StepRun:
    return StepRun(
        row["name"], row["current_state"], row["result"], row["error"], row["attempts"], checkpoint=row["checkpoint"]
    )


def _short(value: Any) -> str:
    text = dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _span(span: timedelta) -> str:
    seconds = span.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))
