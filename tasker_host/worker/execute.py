"""Running one handler and turning whatever happens into an `Outcome`; nothing a handler does gets past here."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from tasker_host.db.kernel import Claimed, Outcome
from tasker_host.domain.backoff import delay_seconds
from tasker_host.domain.context import StepContext
from tasker_host.domain.json import dumps, loads
from tasker_host.domain.result import Checkpoint, Failed, StepResult, Succeeded
from tasker_host.errors import JsonError
from tasker_host.handlers.classify import failed
from tasker_host.hooks.records import Classifier
from tasker_host.registry.plan import StepPlan


def context_of(step: Claimed, plan: StepPlan) -> StepContext:
    """What the handler is given. Everything in it is a fresh value: a handler may change it without harm."""
    template = plan.template
    return StepContext(
        step.task_uuid,
        step.step_uuid,
        step.correlation_id,
        step.namespace,
        template.name,
        template.version,
        step.name,
        plan.handler.name,
        step.attempt,
        step.max_attempts,
        loads(step.context),
        loads(step.values) if step.values is not None else {},
        dict(plan.config),
        loads(step.inputs) if step.inputs is not None else {},
        loads(step.checkpoint) if step.checkpoint is not None else None,
    )


def outcome_of(step: Claimed, plan: StepPlan, result: Any, took_ms: float, *, result_max_bytes: int) -> Outcome:
    """The outcome of a handler that returned `result`: any value, or a StepResult."""
    if type(result) is Failed:
        return outcome_of_failure(step, plan, result, took_ms)
    if type(result) is Checkpoint:
        return _checkpointed(step, plan, result, took_ms, result_max_bytes)
    metadata: str | None = None
    try:
        if type(result) is Succeeded:
            if result.metadata:
                metadata = dumps(result.metadata)
            result = result.value
        value = dumps(result)
    except JsonError as error:
        refused = _refused(plan, f"what JSON cannot hold: {error}", "RESULT_NOT_JSON")
        return outcome_of_failure(step, plan, refused, took_ms)
    # At most four bytes a character: small values need not be encoded to be measured.
    if len(value) * 4 > result_max_bytes and (size := len(value.encode())) > result_max_bytes:
        refused = _refused(
            plan,
            f"{size} bytes of JSON; the limit is {result_max_bytes} (limits.result_max_bytes):"
            " store large values elsewhere and return a reference",
            "RESULT_TOO_LARGE",
        )
        return outcome_of_failure(step, plan, refused, took_ms)
    return Outcome(step.task_uuid, step.step_uuid, step.attempt, "succeeded", value, took_ms, None, metadata)


def _checkpointed(step: Claimed, plan: StepPlan, checkpoint: Checkpoint, took_ms: float, max_bytes: int) -> Outcome:
    try:
        value = dumps(asdict(checkpoint))
    except JsonError as error:
        refused = _refused(plan, f"a checkpoint with what JSON cannot hold: {error}", "RESULT_NOT_JSON")
        return outcome_of_failure(step, plan, refused, took_ms)
    if (size := len(value.encode())) > max_bytes:
        what = f"a checkpoint of {size} bytes of JSON; the limit is {max_bytes} (limits.result_max_bytes)"
        return outcome_of_failure(step, plan, _refused(plan, what, "RESULT_TOO_LARGE"), took_ms)
    return Outcome(step.task_uuid, step.step_uuid, step.attempt, "checkpointed", value, took_ms, None, None)


def _refused(plan: StepPlan, what: str, code: str) -> Failed:
    message = f"handler {plan.handler.name!r} returned {what}"
    return Failed(message, error_type="permanent_error", retryable=False, error_code=code)


def outcome_of_error(
    step: Claimed, plan: StepPlan, error: BaseException, took_ms: float, classifiers: Sequence[Classifier]
) -> Outcome:
    """The outcome of a handler that raised."""
    return outcome_of_failure(step, plan, failed(error, plan.handler, classifiers), took_ms)


def outcome_of_failure(step: Claimed, plan: StepPlan, failure: Failed, took_ms: float) -> Outcome:
    """Policy decides here: whether there is another attempt, and after how long."""
    retry_after: timedelta | None = None
    if failure.retryable and plan.retryable and step.attempt < step.max_attempts:
        seconds = delay_seconds(
            step.attempt,
            plan.backoff,
            jitter=random.random(),  # noqa: S311 - not a secret
            requested=failure.retry_after_seconds,
        )
        retry_after = timedelta(seconds=seconds)
    return Outcome(
        step.task_uuid,
        step.step_uuid,
        step.attempt,
        "failed",
        error_json(failure, will_retry=retry_after is not None),
        took_ms,
        retry_after,
        _metadata_json(failure),
    )


def error_json(failure: Failed, *, will_retry: bool) -> str:
    """The error as it is stored and shown: {"error_type", "message", "retryable", "will_retry", "error_code"?}."""
    error: dict[str, Any] = {
        "error_type": failure.error_type,
        "message": failure.message,
        "retryable": failure.retryable,
        "will_retry": will_retry,
    }
    if failure.error_code is not None:
        error["error_code"] = failure.error_code
    return _dumps_always(error)


def released(step: Claimed, *, after: timedelta | None = None) -> Outcome:
    """The step is given back without having run to its end: the attempt does not count."""
    return Outcome(step.task_uuid, step.step_uuid, step.attempt, "released", None, None, after, None)


def _metadata_json(result: StepResult) -> str | None:
    return _dumps_always(dict(result.metadata)) if result.metadata else None


def _dumps_always(value: Any) -> str:
    # An error must be told even when its details cannot be: what JSON cannot hold is told as text.
    try:
        return dumps(value)
    except JsonError:
        return dumps({str(key): repr(item).encode("ascii", "backslashreplace").decode() for key, item in value.items()})
