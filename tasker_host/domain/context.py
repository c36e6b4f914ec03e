"""What a handler is given about the step it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tasker_host.domain.batches import BatchWorkerContext, WithCheckpoint
from tasker_host.domain.template import StepDefinition

Transactions = Callable[[], AbstractAsyncContextManager[Any]]


@dataclass(slots=True)
class StepContext(WithCheckpoint):
    """One attempt at one step.

    `input` is the task's context exactly as submitted; `dependencies` maps the names of earlier steps (all ancestors
    up to 64, else the direct parents) to the values their handlers returned, in their own shape. `attempt` counts
    executions, 1 for the first. `config` is `handler.initialization` of the template; `step_inputs` is what a batch
    analyzer wrote for this worker, else empty. `definition` is the step as the template says it.
    """

    task_uuid: UUID
    step_uuid: UUID
    correlation_id: UUID
    namespace: str
    template_name: str
    template_version: str
    step_name: str
    handler_name: str
    attempt: int = 1
    max_attempts: int = 3
    input: Mapping[str, Any] = field(default_factory=dict)
    dependencies: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    step_inputs: Mapping[str, Any] = field(default_factory=dict)
    checkpoint: Mapping[str, Any] | None = None
    definition: StepDefinition | None = field(default=None, repr=False, compare=False)
    _transactions: Callable[[], AbstractAsyncContextManager[Any]] | None = field(
        default=None, repr=False, compare=False
    )

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """An asyncpg connection whose commit is the completion of this step.

        `async with context.transaction() as connection:` — what is written through it is committed when the handler has
        returned and its value is stored, in the same transaction; if the step fails, loses its lease or the process
        dies, nothing of it remains. Only for handlers that run on the event loop; each holds a connection of the pool
        (`database.pool_size`) until it ends.
        """
        if self._transactions is None:
            raise RuntimeError("context.transaction() is for async handlers that a worker runs")
        return self._transactions()

    def get_input(self, key: str) -> Any:
        """The field `key` of the task's context; None when absent."""
        return self.input.get(key)

    def get_input_or(self, key: str, default: Any = None) -> Any:
        """The field `key` of the task's context; `default` when it is absent or null."""
        value = self.input.get(key)
        return default if value is None else value

    def has_input(self, key: str) -> bool:
        """Whether the task's context has the field `key`, be it null."""
        return key in self.input

    def get_config(self, key: str) -> Any:
        """The field `key` of `handler.initialization`; None when absent."""
        return self.config.get(key)

    def get_dependency_result(self, step_name: str) -> Any:
        """The value of an earlier step, as its handler returned it; None when there is no such step."""
        return self.dependencies.get(step_name)

    def get_dependency_field(self, step_name: str, *path: str) -> Any:
        """A nested field of an earlier step's value; None on any miss."""
        value = self.dependencies.get(step_name)
        for key in path:
            if not isinstance(value, Mapping):
                return None
            value = value.get(key)
        return value

    def has_dependency_result(self, step_name: str) -> bool:
        """Whether there is a value of that step, be it null: it is above this one, and was run."""
        return step_name in self.dependencies

    def get_dependency_result_keys(self) -> list[str]:
        """Names of the earlier steps whose values are at hand."""
        return list(self.dependencies)

    def get_all_dependency_results(self, prefix: str) -> list[Any]:
        """Values other than None of the earlier steps whose name starts with `prefix`, ordered by name."""
        return [
            value for name, value in sorted(self.dependencies.items()) if name.startswith(prefix) and value is not None
        ]

    def get_task_field(self, name: str) -> Any:
        """Of the task: `task_uuid`, `correlation_id`, `namespace_name`, `task_name`, `task_version`, `context`; None of
        another name."""
        return {
            "task_uuid": self.task_uuid,
            "correlation_id": self.correlation_id,
            "namespace_name": self.namespace,
            "task_name": self.template_name,
            "task_version": self.template_version,
            "context": self.input,
        }.get(name)

    @property
    def retry_count(self) -> int:
        """Executions before this one: 0 on the first."""
        return self.attempt - 1

    @property
    def max_retries(self) -> int:
        """`retry.max_attempts` of the step."""
        return self.max_attempts

    def is_retry(self) -> bool:
        return self.attempt > 1

    def is_last_retry(self) -> bool:
        return self.attempt >= self.max_attempts

    @property
    def batch(self) -> BatchWorkerContext | None:
        """The batch that this step is to do; None when it is not the worker of one."""
        return BatchWorkerContext.of(self.step_inputs, self.checkpoint)
