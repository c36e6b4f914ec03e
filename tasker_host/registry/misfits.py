"""Whether a handler can run a step of a template."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tasker_host.domain.schema import schema_check
from tasker_host.domain.states import StepType
from tasker_host.domain.suggest import did_you_mean
from tasker_host.domain.template import StepDefinition, TaskTemplate
from tasker_host.hooks.bound import BoundHandler
from tasker_host.hooks.records import Executor

_NEEDS = {"decision": StepType.DECISION, "batch_analyzer": StepType.BATCHABLE}
"""Whose results make steps, which only a step of that type does."""

_OF_THE_HOST = ("loop", "thread", "process")


def misfits(step: StepDefinition, handler: BoundHandler, executors: Mapping[str, Executor]) -> list[str]:
    """Everything for which it cannot; empty when it can."""
    return [*_of_type(step, handler), *_of_config(step, handler), *_of_executor(handler, executors)]


def unread(
    template: TaskTemplate, step: StepDefinition, handler: BoundHandler, above: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """What the handler must have from other steps and is never given: `above` are those that each step reads."""
    types = {one.name: one.type for one in template.steps}
    given = above[step.name]
    workers = tuple(f"{name}_" for name in given if types[name] is StepType.BATCH_WORKER)
    for read in handler.injected:
        name = read.key
        if read.source != "step" or not read.required or name.startswith(workers):
            continue
        subject = f"handler '{handler.name}': parameter '{read.parameter}' reads step '{name}'"
        if name not in types:
            yield f"{subject}, which the template does not have{did_you_mean(name, types)}"
        elif name not in given:
            yield f"{subject}, which is not above it; add it to dependencies"
        elif types[name] is StepType.BATCH_WORKER:
            yield f"{subject}, whose workers have values of their own, as '{name}_001'; read them from the context"


def _of_type(step: StepDefinition, handler: BoundHandler) -> Iterator[str]:
    needed = _NEEDS.get(handler.kind)
    if needed is not None and step.type is not needed and handler.method == "call":
        what = handler.kind.replace("_", " ")
        yield f"handler '{handler.name}' is a {what}, and the step is of type {step.type}; write type: {needed}"


def _of_config(step: StepDefinition, handler: BoundHandler) -> Iterator[str]:
    if handler.config_schema is not None:
        check = schema_check(dict(handler.config_schema), subject="initialization")
        for problem in check(step.handler.initialization):
            yield f"handler '{handler.name}' cannot be configured so: {problem}"


def _of_executor(handler: BoundHandler, executors: Mapping[str, Executor]) -> Iterator[str]:
    # Of registered handlers this was looked at when their plugins loaded; resolvers find others.
    name = handler.runs_in
    executor = executors.get(name)
    where = f"handler '{handler.name}' ({handler.path}): runs_in is '{name}'"
    if executor is None and name not in _OF_THE_HOST:
        known = sorted({*_OF_THE_HOST, *executors})
        hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
        yield f"{where}, and nobody gives an executor of that name{hint}"
    elif executor is not None and executor.is_remote and handler.source is None:
        yield f"{where}, but {handler.not_sent}"
