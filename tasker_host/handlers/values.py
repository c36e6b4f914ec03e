"""Taking one parameter's value out of a step's context, while steps run: getters, made once at registration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from typing import Any, cast

from pydantic import BaseModel, TypeAdapter, ValidationError

from tasker_host.domain.batches import BatchWorkerContext
from tasker_host.domain.context import StepContext
from tasker_host.domain.faults import Path, faults, path_text
from tasker_host.domain.result import Checkpoint
from tasker_host.domain.suggest import did_you_mean
from tasker_host.errors import PermanentError, Problem

Getter = Callable[[StepContext], Any]
Check = Callable[[Any], Any]

REQUIRED: Any = Parameter.empty
"""Stands for the default of a parameter that has none."""

_MOST_TOLD = 10
"""Problems spelled out in one message; all of them are in the metadata."""


class InvalidInputError(PermanentError):
    """What the step was given does not fit the handler; `field` of each problem is where."""

    error_type = "validation_error"

    def __init__(self, subject: str, problems: Sequence[Problem]) -> None:
        told = "; ".join(f"{subject} {problem}" for problem in problems[:_MOST_TOLD])
        if len(problems) > _MOST_TOLD:
            told += f"; and {len(problems) - _MOST_TOLD} more"
        details = [{"field": problem.where, "message": problem.message} for problem in problems]
        super().__init__(told, error_code="INPUT_INVALID", metadata={"problems": details})


class MissingDependencyError(PermanentError):
    """The step whose value the handler needs has none."""

    def __init__(self, step: str, context: StepContext) -> None:
        hint = did_you_mean(step, context.dependencies)
        super().__init__(
            f"no value of step '{step}', which handler '{context.handler_name}' needs: it is not among the steps before"
            f" '{context.step_name}', or was not run{hint}",
            error_code="DEPENDENCY_MISSING",
            metadata={"step": step},
        )


class MissingBatchError(PermanentError):
    """The handler needs a batch, and the step is no batch worker."""

    def __init__(self, context: StepContext) -> None:
        super().__init__(
            f"step '{context.step_name}' has no batch, which handler '{context.handler_name}' needs: give the step"
            " type: batch_worker, or annotate the parameter with BatchWorkerContext | None",
            error_code="BATCH_MISSING",
        )


def checker(kind: Any, subject: str, start: Path = ()) -> Check:
    """Makes values a `kind`, or raises InvalidInputError that says where in `subject`, below `start`, they are wrong.

    Raises what pydantic raises for a type that it cannot check.
    """
    adapter = TypeAdapter(kind)
    adapter.rebuild(raise_errors=True)
    validate = adapter.validator.validate_python

    def check(value: Any) -> Any:
        try:
            return validate(value)
        except ValidationError as error:
            found = faults(error, cast("type[BaseModel]", kind), mapping="an object")
            problems = [Problem(path_text((*start, *fault.path)), fault.message) for fault in found]
            raise InvalidInputError(subject, problems) from None

    return check


def the_context(context: StepContext) -> StepContext:
    return context


def the_batch(context: StepContext) -> BatchWorkerContext | None:
    return context.batch


def a_batch(context: StepContext) -> BatchWorkerContext:
    """For a handler that cannot do without."""
    batch = context.batch
    if batch is None:
        raise MissingBatchError(context)
    return batch


def the_checkpoint(context: StepContext) -> Mapping[str, Any] | None:
    return context.checkpoint


def checkpoint_of(context: StepContext) -> Checkpoint | None:
    """The same as the object that the handler returned."""
    if context.checkpoint is None:
        return None
    return Checkpoint(context.checkpoint_cursor, context.checkpoint_items_processed, context.accumulated_results)


def whole_input(check: Check | None) -> Getter:
    if check is None:
        return lambda context: context.input

    def get(context: StepContext) -> Any:
        # Models are made of dicts only.
        data = context.input
        return check(data if type(data) is dict else dict(data))

    return get


def input_field(key: str, check: Check | None, default: Any) -> Getter:
    """The field `key`; `default` when it is absent. A null is a value like others."""

    def get(context: StepContext) -> Any:
        try:
            value = context.input[key]
        except KeyError:
            if default is not REQUIRED:
                return default
            hint = did_you_mean(key, context.input)
            raise InvalidInputError("input", [Problem(key, f"is required{hint}")]) from None
        return value if check is None else check(value)

    return get


def step_value(step: str, check: Check | None, default: Any) -> Getter:
    """The value of an earlier step; `default` when that step was not run."""

    def get(context: StepContext) -> Any:
        try:
            value = context.dependencies[step]
        except KeyError:
            if default is not REQUIRED:
                return default
            raise MissingDependencyError(step, context) from None
        return value if check is None else check(value)

    return get
