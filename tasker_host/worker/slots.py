"""The steps that run in this worker: started, timed, stopped, and each turned into an outcome."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

import structlog

from tasker_host.db.kernel import Claimed, Outcome, Taken
from tasker_host.domain.context import StepContext
from tasker_host.domain.result import Checkpoint, Failed, StepResult, Succeeded
from tasker_host.events.hub import Events
from tasker_host.handlers.classify import failed
from tasker_host.hooks.records import Classifier, Executor, Middleware
from tasker_host.registry.plan import StepPlan
from tasker_host.worker.elsewhere import StepCall, called
from tasker_host.worker.execute import context_of, outcome_of, outcome_of_error, outcome_of_failure, released
from tasker_host.worker.transaction import StepTransaction

log = structlog.get_logger("tasker.worker")

OVERRUN_LOOK_SECONDS = 0.1
"""How often it is looked whether a handler has run out of time; they are gone through only when one may have."""

ABANDON_SECONDS = 2.0
"""An async handler that goes on for so long after it was cancelled is not waited for any more."""

Why = Literal["timeout", "lost", "released"]

_LEFT: set[asyncio.Task[None]] = set()
"""Tasks that nobody else refers to, until they end."""


def _keep(task: asyncio.Task[None]) -> None:
    _LEFT.add(task)
    task.add_done_callback(_LEFT.discard)


@dataclass(slots=True, eq=False)
class _Running:
    step: Claimed
    plan: StepPlan
    overrun_at: float
    new_transaction: Callable[[], StepTransaction]
    task: asyncio.Task[None] | None = None
    call: StepCall | None = None
    stopped: Why | None = None
    transaction: StepTransaction | None = None
    is_abandoned: bool = False
    is_ending: bool = False
    """Whether the handler is done: what is left is the host's own, and is not stopped."""

    def transaction_connection(self) -> AbstractAsyncContextManager[Any]:
        """Opens the transaction of the step when the handler first asks for it."""
        if self.transaction is None:
            self.transaction = self.new_transaction()
        return self.transaction.connection()


class Slots:
    """Runs steps and gives each one's outcome to `finished(step, outcome)`, on the event loop."""

    def __init__(
        self,
        finished: Callable[[Claimed, Outcome], None],
        *,
        transaction: Callable[[], StepTransaction],
        committed: Callable[[Outcome, Taken], None],
        events: Events,
        result_max_bytes: int,
        classifiers: Sequence[Classifier],
        middleware: Sequence[Middleware],
    ) -> None:
        self.abandoned_threads = 0
        self._finished = finished
        self._transaction = transaction
        self._committed = committed
        self._events = events
        self._publications = events.publications(context_of)
        self._result_max_bytes = result_max_bytes
        self._classifiers = classifiers
        self._middleware = sorted(middleware, key=lambda m: (m.order, m.name))
        self._running: dict[UUID, _Running] = {}
        # Nobody runs out of time before: at most as late as the first of them will.
        self._overrun_at = math.inf
        self._began = False  # a handler in its thread, since the last look

    def __len__(self) -> int:
        return len(self._running)

    def held(self) -> list[Claimed]:
        """The steps that run. May be called from any thread."""
        return [running.step for running in list(self._running.values())]

    def leases(self) -> list[tuple[Claimed, timedelta | None]]:
        """The same, each with the lease that its template asks for. May be called from any thread."""
        return [(running.step, running.plan.lease) for running in list(self._running.values())]

    def start(self, step: Claimed, plan: StepPlan) -> None:
        # In a thread or process the clock starts when one is free.
        waits = plan.executor is not None and (plan.executor.tells_began or not plan.executor.is_remote)
        overrun_at = math.inf if waits else time.monotonic() + plan.timeout_seconds
        earlier = self._running.get(step.step_uuid)
        if earlier is not None:
            # Its lease was lost without our knowing, and came back to us: what it comes to does not count any more.
            if earlier.stopped is None and not earlier.is_ending:
                self._stop(earlier, "lost")
            self._abandon(earlier)
        running = self._running[step.step_uuid] = _Running(step, plan, overrun_at, self._transaction)
        self._overrun_at = min(self._overrun_at, overrun_at)
        running.task = asyncio.create_task(self._run(running))

    def stop(self, why: Why, steps: Sequence[UUID] | None = None) -> None:
        """Stops these steps, or all: they end as a timeout, or are given back."""
        for step_uuid in list(self._running) if steps is None else steps:
            running = self._running.get(step_uuid)
            if running is not None and running.stopped is None and not running.is_ending:
                if why == "lost":
                    log.warning("lease lost, step stopped", step=running.step.name, task=str(running.step.task_uuid))
                self._stop(running, why)

    async def watch_overruns(self) -> None:
        """Until cancelled: stops handlers that run longer than they may."""
        while True:
            await asyncio.sleep(OVERRUN_LOOK_SECONDS)
            now = time.monotonic()
            if now < self._overrun_at and not self._began:
                continue
            self._began = False  # before the look: another may begin meanwhile
            self._overrun_at = math.inf
            for running in list(self._running.values()):
                if running.stopped is not None or running.is_ending:
                    continue
                if now >= running.overrun_at:
                    self._stop(running, "timeout")
                else:
                    self._overrun_at = min(self._overrun_at, running.overrun_at)

    def _stop(self, running: _Running, why: Why) -> None:
        running.stopped = why
        call, executor = running.call, running.plan.executor
        if call is not None and call.has_begun and executor is not None and not executor.is_remote:
            self.abandoned_threads += 1
            log.warning(
                "handler abandoned in its thread, which goes on",
                handler=running.plan.handler.name,
                step=running.step.name,
            )
        assert running.task is not None
        # A task that is cancelled before its first step never runs, so it could not report: its turn comes before this.
        loop = asyncio.get_running_loop()
        loop.call_soon(running.task.cancel)
        loop.call_later(ABANDON_SECONDS, self._give_up, running)

    def _give_up(self, running: _Running) -> None:
        """A handler that does not let itself be cancelled keeps neither its slot nor the end of its attempt."""
        if self._running.get(running.step.step_uuid) is not running or running.is_ending:
            return
        step, plan = running.step, running.plan
        log.warning("handler goes on although it was cancelled", handler=plan.handler.name, step=step.name)
        self.abandoned_threads += 1
        self._abandon(running)
        took_ms = plan.timeout_seconds * 1000
        timed_out = running.stopped == "timeout"
        outcome = outcome_of_failure(step, plan, timeout_failure(plan), took_ms) if timed_out else released(step)
        if plan.asks_publishers:
            _keep(asyncio.create_task(self._finish_asked(running, outcome)))
        else:
            self._finished(step, self._told(running, outcome) if self._events.concern(plan) else outcome)

    async def _finish_asked(self, running: _Running, outcome: Outcome) -> None:
        self._finished(running.step, await self._asked(running, outcome))

    def _abandon(self, running: _Running) -> None:
        """Nobody waits for it any more, whatever it does: not its slot, its transaction nor the end of the loop."""
        running.is_abandoned = True
        del self._running[running.step.step_uuid]
        task, transaction = running.task, running.transaction
        assert task is not None
        if not task.done():
            # Else `asyncio.run` would wait for it at its end, for ever.
            asyncio.tasks._unregister_task(task)
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            _keep(task)
        if transaction is not None:
            _keep(asyncio.create_task(transaction.roll_back()))

    # One step ---------------------------------------------------------------------------------------------------------

    async def _run(self, running: _Running) -> None:
        step, plan = running.step, running.plan
        started = time.perf_counter()
        try:
            context = context_of(step, plan)
            if plan.executor is None:
                context._transactions = running.transaction_connection
            if self._middleware:
                result = await self._through_middleware(running, context)
            else:
                result = await self._call(running, context)
            outcome = outcome_of(step, plan, result, _ms_since(started), result_max_bytes=self._result_max_bytes)
        except BaseException as error:  # plugin code: whatever it raises becomes the step's failure
            outcome = self._outcome_of_raise(running, error, _ms_since(started))
        if running.is_abandoned:
            return
        if running.stopped == "timeout" and outcome.kind != "failed":
            # It was cancelled, and made an end of its own: too late all the same.
            outcome = outcome_of_failure(step, plan, timeout_failure(plan), _ms_since(started))
        if running.transaction is not None:
            ended = await self._end_transaction(running, running.transaction, outcome)
            if ended is None:
                self._ended(running)
                return
            outcome = ended
        if plan.asks_publishers:
            outcome = await self._asked(running, outcome)
        elif self._events.concern(plan):
            outcome = self._told(running, outcome)
        if self._ended(running):
            self._finished(step, outcome)

    def _ended(self, running: _Running) -> bool:
        """Frees the slot; whether it was still this one's."""
        if running.is_abandoned:
            return False
        del self._running[running.step.step_uuid]
        return True

    def _told(self, running: _Running, outcome: Outcome) -> Outcome:
        """The outcome with its events, none of whose publishers has to be asked."""
        if outcome.kind not in ("succeeded", "failed"):
            return outcome
        return outcome.told_by(self._publications.soon(running.step, running.plan, outcome))

    async def _asked(self, running: _Running, outcome: Outcome) -> Outcome:
        """The outcome with its events; publishers may wait for something meanwhile."""
        running.is_ending = True
        if outcome.kind not in ("succeeded", "failed"):
            return outcome
        return outcome.told_by(await self._publications.now(running.step, running.plan, outcome))

    async def _end_transaction(
        self, running: _Running, transaction: StepTransaction, outcome: Outcome
    ) -> Outcome | None:
        """Commits what the handler wrote with its success; None when that was done, else what is to be reported."""
        running.is_ending = True
        if outcome.kind != "succeeded" or not transaction.is_open:
            await transaction.roll_back()
            return outcome
        outcome = await self._asked(running, outcome)
        try:
            taken = await transaction.finish(outcome)
        except Exception as error:
            # Undone, or, when the connection was lost in the commit, perhaps not: then this outcome changes nothing.
            return outcome_of_error(running.step, running.plan, error, outcome.took_ms or 0.0, self._classifiers)
        self._committed(outcome, taken)
        return None

    async def _call(self, running: _Running, context: StepContext) -> Any:
        plan = running.plan
        if plan.executor is not None:
            return await self._in_executor(running, plan.executor, context)
        value = plan.call(context)
        return await value if plan.handler.is_async else value

    async def _in_executor(self, running: _Running, executor: Executor, context: StepContext) -> Any:
        def began() -> None:
            running.overrun_at = time.monotonic() + running.plan.timeout_seconds
            self._began = True

        call = running.call = StepCall(running.plan, context, executor, began)
        try:
            return await called(executor, call, lambda: running.stopped is not None)
        finally:
            running.call = None

    def _outcome_of_raise(self, running: _Running, error: BaseException, took_ms: float) -> Outcome:
        step, plan = running.step, running.plan
        if running.stopped is not None and isinstance(error, asyncio.CancelledError):
            if running.stopped == "timeout":
                return outcome_of_failure(step, plan, timeout_failure(plan), took_ms)
            return released(step)
        return outcome_of_error(step, plan, error, took_ms, self._classifiers)

    async def _through_middleware(self, running: _Running, context: StepContext) -> StepResult | Checkpoint:
        async def handler() -> StepResult:
            # Middleware sees results, never exceptions of the handler: one shape on the way out.
            try:
                value = await self._call(running, context)
            except Exception as error:
                return failed(error, running.plan.handler, self._classifiers)
            return value if isinstance(value, Succeeded | Failed) else Succeeded(value)

        chain: Callable[[], Awaitable[StepResult]] = handler
        for layer in reversed(self._middleware):
            chain = _wrapped(layer, context, chain)
        result = await chain()
        # A checkpoint is no end: whatever middleware adds to it, the attempt goes on.
        return result.value if isinstance(result, Succeeded) and isinstance(result.value, Checkpoint) else result


def _wrapped(
    layer: Middleware, context: StepContext, inner: Callable[[], Awaitable[StepResult]]
) -> Callable[[], Awaitable[StepResult]]:
    return lambda: layer.around(context, inner)


def timeout_failure(plan: StepPlan) -> Failed:
    message = f"handler {plan.handler.name!r} ran longer than {plan.timeout_seconds:g} s"
    return Failed(message, error_type="timeout", retryable=True)


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
