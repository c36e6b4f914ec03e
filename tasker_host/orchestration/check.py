"""What a request is checked against, and the task it means."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tasker_host.config.settings import Settings
from tasker_host.db.kernel import NewTask
from tasker_host.domain.concurrency import concurrency_keys
from tasker_host.domain.identity import identity_key
from tasker_host.domain.ids import uuid7
from tasker_host.domain.json import dumps
from tasker_host.domain.request import TaskRequest, check_context
from tasker_host.domain.schema import InvalidSchema, SchemaCheck, schema_check
from tasker_host.domain.template import TaskTemplate
from tasker_host.errors import InvalidRequest, Problem, TaskExists
from tasker_host.orchestration.catalog import Entry


@dataclass(frozen=True, slots=True)
class SubmitOptions:
    """Limits and the aging of priorities; the defaults live in `config/base/`."""

    context_max_bytes: int
    context_max_depth: int
    aging_interval: timedelta


def submit_options(settings: Settings) -> SubmitOptions:
    return SubmitOptions(
        context_max_bytes=settings.limits.context_max_bytes,
        context_max_depth=settings.limits.context_max_depth,
        aging_interval=timedelta(seconds=settings.worker.aging_interval_seconds),
    )


def exists(template: TaskTemplate, idempotency_key: str | None) -> TaskExists:
    """Said of a request with this key, or none: what would make it another task."""
    match template.unique_for:
        case "forever":
            again = ""
        case "running":
            again = "wait until that task is over, "
        case seconds:
            again = f"wait until that task is {seconds:g} seconds old, "
    if idempotency_key is not None:
        ways = f"{again}{'or ' if again else ''}give another idempotency_key"
    else:
        ways = (
            f"{again}change the context, give an idempotency_key,"
            " or set identity_strategy: always_unique in the template"
        )
    return TaskExists(f"a task of {template.label} with this identity already exists: {ways}")


class Checks:
    """Compiles each template's `input_schema` once."""

    def __init__(self, options: SubmitOptions) -> None:
        self.options = options
        self._schemas: dict[int, SchemaCheck | None] = {}

    def task(self, entry: Entry, request: TaskRequest) -> NewTask:
        """The task that `request` means. Raises InvalidRequest with everything that is wrong."""
        template = entry.template
        keys, problems = self.context(entry, request.context)
        if problems:
            raise InvalidRequest(f"the context does not fit template {template.label}", problems)
        return NewTask(
            task_uuid=uuid7(),
            template_id=entry.template_id,
            context=dumps(request.context),
            priority=template.priority if request.priority is None else request.priority,
            identity_key=identity_key(template, request.context, request.idempotency_key),
            tags=dumps([*template.tags, *request.tags]) if request.tags or template.tags else None,
            correlation_id=request.correlation_id or uuid7(),
            parent_correlation_id=request.parent_correlation_id,
            initiator=request.initiator,
            source_system=request.source_system,
            reason=request.reason,
            start_at=request.start_at,
            limit_keys=dumps(keys) if keys else None,
        )

    def context(self, entry: Entry, context: dict[str, Any]) -> tuple[dict[str, str], list[Problem]]:
        """The business keys that a task with this context has, and what is wrong with it."""
        problems = check_context(
            context, max_bytes=self.options.context_max_bytes, max_depth=self.options.context_max_depth
        )
        if not problems:
            problems = self._schema_problems(entry, context)
        return ({}, problems) if problems else concurrency_keys(entry.template, context)

    def _schema_problems(self, entry: Entry, context: dict[str, Any]) -> list[Problem]:
        if entry.template_id not in self._schemas:
            schema = entry.template.input_schema
            try:
                self._schemas[entry.template_id] = None if schema is None else schema_check(schema, subject="context")
            except InvalidSchema as error:
                raise InvalidRequest(
                    f"the input_schema of template {entry.template.label} is itself not valid: {error}"
                ) from error
        check = self._schemas[entry.template_id]
        return [] if check is None else check(context)
