"""Rules over a template alone: what works, but hardly as it was meant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tasker_host.domain.backoff import BackoffPolicy, delay_seconds, effective
from tasker_host.domain.faults import Path
from tasker_host.domain.graph import ancestors, children
from tasker_host.domain.states import StepType
from tasker_host.domain.template import Backoff, RetryPolicy, TaskTemplate
from tasker_host.templates.shapes import Shape

_FIELD = re.compile(r"\{+\s*([A-Za-z_][\w-]*(?:\.[\w-]+)*)\s*\}+")


@dataclass(frozen=True, slots=True)
class Found:
    """A finding before its place is known: `path` leads to it in the template's data."""

    code: str
    path: Path
    message: str
    step: str = ""


def found_in(template: TaskTemplate) -> Iterator[Found]:
    yield from _order(template)
    for index, step in enumerate(template.steps):
        path: Path = ("steps", index, "retry")
        for message in _without_effect(step.retry):
            yield Found("RETRY_WITHOUT_EFFECT", path, message, step.name)
    for name, environment in template.environments.items():
        for index, override in enumerate(environment.steps):
            if override.retry is not None:
                for message in _without_effect(override.retry):
                    yield Found(
                        "RETRY_WITHOUT_EFFECT",
                        ("environments", name, "steps", index, "retry"),
                        f"in environment '{name}' {message}",
                        override.name,
                    )
    yield from _durations(template)
    yield from _concurrency(template)
    yield from _schemas(template)


# Order ----------------------------------------------------------------------------------------------------------------


def _order(template: TaskTemplate) -> Iterator[Found]:
    above = ancestors(template)
    below = children(template)
    type_of = {step.name: step.type for step in template.steps}
    for index, step in enumerate(template.steps):
        path: Path = ("steps", index)
        kinds = {type_of[name] for name in above[step.name]}
        if step.type is StepType.DEFERRED_CONVERGENCE:
            if not kinds & {StepType.DECISION, StepType.BATCH_WORKER}:
                message = (
                    "there is no decision and no batch above it, so it waits for all its dependencies like any step"
                )
                yield Found("DEFERRED_WITHOUT_DECISION", (*path, "type"), message, step.name)
            continue
        for decision in (name for name in above[step.name] if type_of[name] is StepType.DECISION):
            # Per dependency, the steps directly below the decision through which it is reached.
            ways = [
                {name for name in below[decision] if name == parent or name in above[parent]}
                for parent in step.dependencies
                if parent != decision
            ]
            ways = [way for way in ways if way]
            if len(ways) > 1 and not set.intersection(*ways):
                names = ", ".join(f"'{name}'" for name in sorted(set.union(*ways), key=list(above).index))
                message = (
                    f"it is made only when decision '{decision}' chooses all of {names}; as a deferred_convergence it"
                    " runs after those that were chosen"
                )
                yield Found("FAN_IN_NOT_DEFERRED", (*path, "dependencies"), message, step.name)


# Retries and durations ------------------------------------------------------------------------------------------------


def _without_effect(retry: RetryPolicy) -> Iterator[str]:
    said = retry.model_fields_set
    keys: tuple[str, ...] = ("backoff", "backoff_base_ms", "max_backoff_ms")
    waits = [key for key in keys if key in said and getattr(retry, key) is not None]
    if not retry.retryable:
        said_attempts = ["max_attempts"] if "max_attempts" in said and retry.max_attempts > 1 else []
        if useless := [*said_attempts, *waits]:
            yield f"'retryable' is false, so {' and '.join(useless)} {_has(useless)} no effect"
    elif retry.max_attempts <= 1 and waits:
        yield f"'max_attempts' is {retry.max_attempts}, so {' and '.join(waits)} {_has(waits)} no effect"
    elif retry.backoff is Backoff.NONE and len(waits) > 1:
        yield f"'backoff' is none, so {' and '.join(waits[1:])} {_has(waits[1:])} no effect"


def _has(names: list[str]) -> str:
    return "has" if len(names) == 1 else "have"


def _durations(template: TaskTemplate) -> Iterator[Found]:
    lifecycle = template.lifecycle
    if lifecycle is None:
        return
    longest = lifecycle.max_duration_seconds or 60 * (lifecycle.max_duration_minutes or 0)
    if not longest:
        return
    for index, step in enumerate(template.steps):
        if step.timeout_seconds is not None and step.timeout_seconds > longest:
            message = f"{step.timeout_seconds:g} s is longer than the whole task may take, {longest} s"
            yield Found("TIMEOUT_BEYOND_DURATION", ("steps", index, "timeout_seconds"), message, step.name)
        policy = effective(step.retry, BackoffPolicy(jitter=0))
        attempts = step.retry.max_attempts if step.retry.retryable else 1
        waits = sum(delay_seconds(attempt, policy, jitter=0) for attempt in range(1, attempts))
        if waits > longest:
            message = (
                f"the waits between {attempts} attempts come to {waits:g} s, longer than the whole task may take,"
                f" {longest} s"
            )
            yield Found("RETRY_BEYOND_DURATION", ("steps", index, "retry"), message, step.name)


# Data -----------------------------------------------------------------------------------------------------------------


def _concurrency(template: TaskTemplate) -> Iterator[Found]:
    if template.input_schema is None:
        return
    shape = Shape(template.input_schema)
    keys: list[tuple[Path, str | None, str]] = [(("concurrency_key",), template.concurrency_key, "")]
    keys += [(("steps", i, "concurrency_key"), s.concurrency_key, s.name) for i, s in enumerate(template.steps)]
    for path, text, step in keys:
        for field in _FIELD.findall(text or ""):
            if not _is_sure(shape, field.split(".")):
                message = f"the input_schema does not require '{field}'; a context without it is refused"
                yield Found("CONCURRENCY_FIELD", path, message, step)


def _is_sure(shape: Shape, names: list[str]) -> bool:
    for name in names:
        if name not in shape.required:
            return False
        inner: Any = shape.properties.get(name)
        if inner is None:
            return True  # required, and nothing is said of what is in it
        shape = inner
    return True


def _schemas(template: TaskTemplate) -> Iterator[Found]:
    if template.input_schema is None and template.steps:
        message = "without an input_schema any context is accepted, and no model of it can be generated"
        yield Found("NO_INPUT_SCHEMA", (), message)
    for index, step in enumerate(template.steps):
        if step.result_schema is None and step.type not in (StepType.DECISION, StepType.BATCHABLE):
            message = "it has no result_schema, so its value is not checked, and no model of it can be generated"
            yield Found("NO_RESULT_SCHEMA", ("steps", index), message, step.name)
