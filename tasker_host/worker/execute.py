"""Running one handler and turning whatever happens into an `Outcome`; nothing a handler does gets past here."""

from __future__ import annotations

import random
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Literal

from tasker_host.db.kernel import Claimed, Outcome
from tasker_host.domain.backoff import delay_seconds
from tasker_host.domain.batches import BatchConfig, Batches
from tasker_host.domain.context import StepContext
from tasker_host.domain.json import dumps, loads
from tasker_host.domain.result import Checkpoint, Decision, Failed, StepResult, Succeeded
from tasker_host.domain.text import json_has_nul, storable
from tasker_host.errors import JsonError, Problem
from tasker_host.handlers.classify import asked_seconds, failed
from tasker_host.hooks.records import Classifier
from tasker_host.registry.plan import StepPlan

_MAKERS = (Decision, Batches, BatchConfig)
"""Results that make steps."""

_MOST_TOLD = 10
"""Problems spelled out in one message; all of them are in the metadata."""


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
        deepcopy(plan.config) if plan.config else {},
        loads(step.inputs) if step.inputs is not None else {},
        loads(step.checkpoint) if step.checkpoint is not None else None,
        plan.definition,
    )


def outcome_of(step: Claimed, plan: StepPlan, result: Any, took_ms: float, *, result_max_bytes: int) -> Outcome:
    """The outcome of a handler that returned `result`: any value, or a StepResult."""
    if type(result) is Failed:
        return outcome_of_failure(step, plan, result, took_ms)
    kind: Literal["succeeded", "checkpointed"] = "succeeded"
    metadata = expand = None
    try:
        if plan.is_plain and type(result) is dict:
            # What nearly every step comes to, without a look at what it might be.
            value = dumps(result)
            if len(value) * 4 <= result_max_bytes:
                return Outcome(step.task_uuid, step.step_uuid, step.attempt, kind, value, took_ms, None, None)
        if type(result) is Checkpoint:
            items: object = result.items_processed
            if not isinstance(items, int) or isinstance(items, bool) or items < 0:
                what = f"a checkpoint with items_processed {repr(items)[:80]}: it must be a whole number, 0 or more"
                raise _refusal(plan, what, "CHECKPOINT_INVALID")
            kind, result = "checkpointed", asdict(result)
        else:
            if type(result) is Succeeded:
                metadata, result = result.metadata, result.value
            _check_returned(plan, result)
            if plan.expand is not None:
                result, expand = _expanded(plan, result)
        value = _checked_json(plan, result, result_max_bytes, is_result=kind == "succeeded")
        if kind == "checkpointed" and json_has_nul(value):
            # The database takes a checkpoint apart, which it cannot do with that.
            raise _refusal(plan, "a checkpoint with the character U+0000, which cannot be stored", "CHECKPOINT_INVALID")
        told = dumps(metadata) if metadata else None
    except _Refused as refused:
        return outcome_of_failure(step, plan, refused.failure, took_ms)
    except JsonError as error:
        strange = _refusal(plan, f"what JSON cannot hold: {error}", "RESULT_NOT_JSON")
        return outcome_of_failure(step, plan, strange.failure, took_ms)
    return Outcome(step.task_uuid, step.step_uuid, step.attempt, kind, value, took_ms, None, told, expand)


class _Refused(Exception):
    """What a handler returned cannot be its step's value."""

    def __init__(self, failure: Failed) -> None:
        super().__init__(failure.message)
        self.failure = failure


def _refusal(plan: StepPlan, what: str, code: str) -> _Refused:
    message = f"handler {plan.handler.name!r} returned {what}"
    return _Refused(Failed(message, error_type="permanent_error", retryable=False, error_code=code))


def _check_returned(plan: StepPlan, value: Any) -> None:
    """By the type that the handler says it returns; the value itself stays as it is."""
    if isinstance(value, _MAKERS):
        if plan.expand is None:
            raise _refusal(
                plan,
                f"{type(value).__name__}, and step '{plan.definition.name}' is of type {plan.definition.type}, which"
                " makes no steps; write type: decision, or type: batchable, in the template",
                "EXPANSION_REFUSED",
            )
    elif plan.check_returned is not None and (problems := plan.check_returned(value)):
        raise _unfit(plan, problems)


def _expanded(plan: StepPlan, value: Any) -> tuple[Any, str | None]:
    """The value of a decision or an analyzer, and the steps that it adds."""
    assert plan.expand is not None
    try:
        value, made = plan.expand(value)
    except ValueError as error:
        raise _Refused(Failed(str(error), "permanent_error", retryable=False, error_code="EXPANSION_REFUSED")) from None
    return value, dumps(made.as_json()) if made else None


def _checked_json(plan: StepPlan, value: Any, max_bytes: int, *, is_result: bool) -> str:
    """The value as JSON, within its limit and, of a result, by the step's schema. Raises JsonError too."""
    text = dumps(value)
    # At most four bytes a character: small values need not be encoded to be measured.
    if len(text) * 4 > max_bytes and (size := len(text.encode())) > max_bytes:
        raise _refusal(
            plan,
            f"{size} bytes of JSON; the limit is {max_bytes} (limits.result_max_bytes):"
            " store large values elsewhere and return a reference",
            "RESULT_TOO_LARGE",
        )
    if is_result and plan.check_result is not None and (problems := plan.check_result(loads(text))):
        raise _unfit(plan, problems)
    return text


def _unfit(plan: StepPlan, problems: Sequence[Problem]) -> _Refused:
    told = "; ".join(map(str, problems[:_MOST_TOLD]))
    more = f"; and {len(problems) - _MOST_TOLD} more" if len(problems) > _MOST_TOLD else ""
    return _Refused(
        Failed(
            f"handler {plan.handler.name!r} returned what does not fit: {told}{more}",
            error_type="validation_error",
            retryable=False,
            error_code="RESULT_INVALID",
            metadata={"problems": [{"field": problem.where, "message": problem.message} for problem in problems]},
        )
    )


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
            requested=asked_seconds(failure.retry_after_seconds),
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
        plan.forgiven if retry_after is None else None,
    )


def error_json(failure: Failed, *, will_retry: bool) -> str:
    """The error as it is stored and shown: {"error_type", "message", "retryable", "will_retry", "error_code"?}."""
    error: dict[str, Any] = {
        # A handler may return any Failed; what reads this relies on its types.
        "error_type": storable(str(failure.error_type)),
        "message": storable(str(failure.message)),
        "retryable": bool(failure.retryable),
        "will_retry": will_retry,
    }
    if failure.error_code is not None:
        error["error_code"] = storable(str(failure.error_code))
    return dumps(error)


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
