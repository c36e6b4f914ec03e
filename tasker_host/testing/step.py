"""`run_step`: one attempt at one step, without a host and without a database."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import BaseModel

from tasker_host.db.kernel import Claimed, Outcome
from tasker_host.domain.backoff import BackoffPolicy
from tasker_host.domain.batches import BatchConfig, Batches, BatchWorkerContext, Cursor
from tasker_host.domain.context import StepContext
from tasker_host.domain.expansion import Expansion
from tasker_host.domain.ids import uuid7
from tasker_host.domain.json import dumps, loads
from tasker_host.domain.result import Checkpoint, Decision, Failed, StepResult, Succeeded
from tasker_host.domain.source import template_from_data
from tasker_host.events.build import EventOptions
from tasker_host.events.hub import Events
from tasker_host.handlers.bound import bind
from tasker_host.handlers.classify import failed
from tasker_host.hooks.records import Classifier, Middleware
from tasker_host.registry.compose import Defaults, Registry
from tasker_host.registry.plan import StepPlan
from tasker_host.testing.given import OWN
from tasker_host.testing.own_loop import in_own_loop
from tasker_host.worker.builtin import BuiltIn
from tasker_host.worker.slots import Slots
from tasker_host.worker.transaction import StepTransaction

if TYPE_CHECKING:
    from tasker_host.worker.slots import _Running

RESULT_MAX_BYTES = 4_194_304
"""As `limits.result_max_bytes` where it is not configured."""


class NoDatabase(RuntimeError):
    """The handler asked for `context.transaction()`, which needs a database: `run_task` has one."""


def run_step(handler: Any, input: Any = None, **options: Any) -> StepResult | Checkpoint:  # noqa: A002 - as handlers call it
    """Runs `handler` once, as a worker does: injection, validation, classification of what it raises.

    See `run_step_async`, which takes the same arguments. May be called with or without a running event loop; an async
    handler runs on a loop of its own.
    """
    return in_own_loop(lambda: run_step_async(handler, input, **options))


async def run_step_async(
    handler: Any,
    input: Any = None,  # noqa: A002 - as handlers call it
    *,
    parents: Mapping[str, Any] | None = None,
    attempt: int = 1,
    max_attempts: int | None = None,
    settings: BaseModel | None = None,
    config: Mapping[str, Any] | None = None,
    checkpoint: Checkpoint | Mapping[str, Any] | None = None,
    batch: Cursor | BatchWorkerContext | Mapping[str, Any] | None = None,
    method: str | None = None,
    step_uuid: UUID | None = None,
    task_uuid: UUID | None = None,
    timeout_seconds: float = 60.0,
    classifiers: Sequence[Classifier] = (),
    middleware: Sequence[Middleware] = (),
) -> StepResult | Checkpoint:
    """As `run_step`, on the loop of the caller.

    `handler` is a decorated function, a `StepHandler` class or instance, or a `Handler` record; with several names its
    first counts. `input` is the task's context, `parents` the values of earlier steps by name, `config` what
    `handler.initialization` of the template would be, `settings` those of the plugin, `checkpoint` how far an earlier
    run came, `batch` the batch of a worker. `method` is `handler.method`. Without `max_attempts` there are three, or
    `attempt`.

    `Succeeded` has the value as it is stored and handed to other steps: models and dataclasses are JSON data by then,
    and so are decisions and batches. A `Checkpoint` that the handler returned is returned. Raises BindError for a
    handler that could not be registered, and NoDatabase.
    """
    # Alone it makes no steps, whatever it was declared for.
    bound = replace(bind(handler, plugin=OWN, settings=settings)[0].for_method(method), kind="step")
    template, _ = template_from_data(
        {
            "name": "run_step",
            "namespace_name": "tests",
            "version": "1.0.0",
            "steps": [{"name": "step", "handler": {"callable": bound.name, "initialization": dict(config or {})}}],
        },
        source="run_step",
    )
    own = BuiltIn(thread_slots=1, process_slots=1)
    registry = Registry(
        [bound], [template], Defaults(BackoffPolicy(), timeout_seconds), executors=own.tasker_executors()
    )
    registry.handler_of(template.steps[0])
    plan = replace(registry.plans(template)["step"], expand=_as_value, is_plain=False)
    task = task_uuid or uuid7()
    step = Claimed(
        step_uuid=step_uuid or uuid7(),
        task_uuid=task,
        namespace="tests",
        template_id=1,
        name="step",
        template_step="step",
        attempt=attempt,
        max_attempts=max_attempts or max(3, attempt),
        msg_id=1,
        correlation_id=task,
        parent_correlation_id=None,
        context=dumps({} if input is None else input),
        values=dumps(dict(parents or {})),
        inputs=dumps(_step_inputs(batch)) if batch is not None else None,
        checkpoint=dumps(_as_data(checkpoint)) if checkpoint is not None else None,
    )
    async with own.tasker_lifespan(None):
        try:
            return await _OneSlot(classifiers, middleware).result_of(step, plan)
        finally:
            await registry.close()


class _OneSlot(Slots):
    """Keeps what the handler came to, before it is made into an outcome."""

    def __init__(self, classifiers: Sequence[Classifier], middleware: Sequence[Middleware]) -> None:
        super().__init__(
            self._done,
            transaction=self._no_transaction,
            committed=lambda *_: None,
            events=Events(EventOptions()),
            result_max_bytes=RESULT_MAX_BYTES,
            classifiers=classifiers,
            middleware=middleware,
        )
        self._outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._returned: Any = None
        self._raised: BaseException | None = None
        self._wanted_database = False

    async def result_of(self, step: Claimed, plan: StepPlan) -> StepResult | Checkpoint:
        overruns = asyncio.create_task(self.watch_overruns())
        try:
            self.start(step, plan)
            outcome = await self._outcome
        except asyncio.CancelledError:
            self.stop("released")
            raise
        finally:
            overruns.cancel()
        if self._wanted_database:
            raise NoDatabase("context.transaction() needs a database, and run_step has none: use run_task")
        if outcome.kind == "checkpointed":
            assert isinstance(self._returned, Checkpoint)
            return self._returned
        if outcome.kind == "succeeded":
            assert outcome.value is not None
            return Succeeded(loads(outcome.value), loads(outcome.metadata) if outcome.metadata else {})
        if self._raised is not None:
            return failed(self._raised, plan.handler, self._classifiers)
        return self._returned if isinstance(self._returned, Failed) else _told(outcome)

    async def _call(self, running: _Running, context: StepContext) -> Any:
        self._returned = await super()._call(running, context)
        return self._returned

    def _outcome_of_raise(self, running: _Running, error: BaseException, took_ms: float) -> Outcome:
        if running.stopped is None:
            self._raised = error
        return super()._outcome_of_raise(running, error, took_ms)

    def _done(self, _: Claimed, outcome: Outcome) -> None:
        if not self._outcome.done():
            self._outcome.set_result(outcome)

    def _no_transaction(self) -> StepTransaction:
        self._wanted_database = True
        raise NoDatabase("run_step has no database")


def _told(outcome: Outcome) -> Failed:
    """The failure as it is stored: what the host itself found wrong."""
    assert outcome.value is not None
    error = loads(outcome.value)
    return Failed(
        error["message"],
        error["error_type"],
        error["retryable"],
        error_code=error.get("error_code"),
        metadata=loads(outcome.metadata) if outcome.metadata else {},
    )


def _as_value(result: Any) -> tuple[Any, Expansion]:
    """Of decisions and batches what their step keeps; which steps these make, a template would say."""
    if isinstance(result, BatchConfig):
        result = result.batches()
    return (result.as_value() if isinstance(result, Decision | Batches) else result), Expansion()


def _step_inputs(batch: Cursor | BatchWorkerContext | Mapping[str, Any]) -> dict[str, Any]:
    """What an analyzer writes for a worker. A mapping is its cursor, unless it has one."""
    if isinstance(batch, BatchWorkerContext):
        return {"cursor": dict(batch.cursor), "batch_metadata": dict(batch.metadata), "is_no_op": batch.is_no_op}
    cursor = batch.as_json() if isinstance(batch, Cursor) else dict(batch)
    if "cursor" in cursor:
        return cursor
    metadata = {"batch_id": cursor.get("batch_id", "001"), "batch_index": 0, "total_batches": 1}
    return {"cursor": cursor, "batch_metadata": metadata, "is_no_op": False}


def _as_data(checkpoint: Checkpoint | Mapping[str, Any]) -> dict[str, Any]:
    return asdict(checkpoint) if isinstance(checkpoint, Checkpoint) else dict(checkpoint)
