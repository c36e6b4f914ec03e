"""Rules over a template and its handlers: who runs a step, and whether what that one reads is there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema

from tasker_host.domain.graph import ancestors, initial_steps, reads, topological_order
from tasker_host.domain.states import StepType
from tasker_host.domain.suggest import did_you_mean
from tasker_host.domain.template import StepDefinition, TaskTemplate
from tasker_host.hooks.bound import BindError, BoundHandler, Injected
from tasker_host.templates.compare import compare
from tasker_host.templates.rules import Found
from tasker_host.templates.shapes import Shape


@dataclass(frozen=True, slots=True)
class Known:
    """What this host has. `handler` gives who runs a step, or raises BindError; of `publishers` None is not known."""

    handler: Callable[[StepDefinition], BoundHandler]
    publishers: Collection[str] | None = None


def found_with(template: TaskTemplate, known: Known) -> Iterator[Found]:
    handlers: dict[str, BoundHandler] = {}
    for index, step in enumerate(template.steps):
        try:
            handlers[step.name] = known.handler(step)
        except BindError as error:
            for problem in error.problems:
                yield Found("UNKNOWN_HANDLER", ("steps", index, "handler", "callable"), problem, step.name)
        for place, event in enumerate(step.publishes_events):
            name = event.publisher
            if name is not None and known.publishers is not None and name not in known.publishers:
                message = f"no publisher named '{name}'{did_you_mean(name, known.publishers)}"
                yield Found("UNKNOWN_PUBLISHER", ("steps", index, "publishes_events", place), message, step.name)
    check = _Reading(template, handlers)
    for index, step in enumerate(template.steps):
        if step.name in handlers:
            yield from check.step(index, step)


class _Reading:
    def __init__(self, template: TaskTemplate, handlers: Mapping[str, BoundHandler]) -> None:
        self.template = template
        self.handlers = handlers
        self.above = ancestors(template)
        self.given = reads(template)
        self.sure = _sure(template)

    def step(self, index: int, step: StepDefinition) -> Iterator[Found]:
        inputs: list[Injected] = []
        for injected in self.handlers[step.name].injected:
            if injected.source == "step":
                yield from self._value(index, step, injected)
            elif injected.source == "input":
                inputs.append(injected)
        yield from self._inputs(index, step, inputs)

    def _value(self, index: int, step: StepDefinition, read: Injected) -> Iterator[Found]:
        path = ("steps", index)
        name, subject = read.key, f"parameter '{read.parameter}' of its handler reads step '{read.key}'"
        if name not in self.given[step.name]:
            if name not in self.above:
                hint = did_you_mean(name, self.above)
                if read.required or hint:
                    yield Found(
                        "READS_UNKNOWN_STEP", path, f"{subject}, which the template does not have{hint}", step.name
                    )
            elif read.required:
                why = (
                    "is among more than 64 above it, and not a parent"
                    if name in self.above[step.name]
                    else "is not above it"
                )
                yield Found(
                    "READS_UNKNOWN_STEP", path, f"{subject}, which {why}: add it to its dependencies", step.name
                )
            return
        producer = self.template.step(name)
        if producer.type is StepType.BATCH_WORKER:
            if read.required:
                message = (
                    f"{subject}, whose workers have values of their own: read '{name}_001' and on from the context"
                )
                yield Found("READS_BATCH_WORKER", path, message, step.name)
            return
        if read.required and name not in self.sure[step.name]:
            message = f"{subject}, which a task need not have; give the parameter a default"
            yield Found("VALUE_NOT_SURE", path, message, step.name)
        consumer = _schema_of(read.kind)
        if producer.optional and consumer is not None and not _takes_null(consumer):
            message = f"{subject}, which is optional: its value may be null; let the parameter's type be so too"
            yield Found("VALUE_NOT_SURE", path, message, step.name)
        produced = self._produced(producer)
        if produced is not None and consumer is not None:
            for one in compare(produced, consumer).differences:
                code = "TYPE_MISMATCH" if one.breaking and one.code == "EXTRA_PRODUCER_FIELD" else one.code
                yield Found(code, path, f"{subject}: {one.message}", step.name)

    def _produced(self, step: StepDefinition) -> dict[str, Any] | None:
        if step.result_schema is not None:
            return step.result_schema
        handler = self.handlers.get(step.name)
        if handler is None or handler.returns is None:
            return None
        try:
            return TypeAdapter(handler.returns).json_schema(mode="serialization")
        except PydanticInvalidForJsonSchema:
            return None  # a value that JSON Schema has no words for

    def _inputs(self, index: int, step: StepDefinition, read: list[Injected]) -> Iterator[Found]:
        if self.template.input_schema is None:
            return
        for one in read:
            schema = _schema_of(one.kind)
            if one.key:
                required = [one.key] if one.required else []
                consumer = {"type": "object", "properties": {one.key: {}}, "required": required}
                if schema is not None:
                    consumer = {
                        **consumer,
                        "properties": {one.key: {**schema, "$defs": {}}},
                        "$defs": schema.get("$defs", {}),
                    }
            elif schema is not None:
                consumer = schema
            else:
                continue
            subject = f"parameter '{one.parameter}' of its handler reads the input"
            for found in compare(self.template.input_schema, consumer).differences:
                if found.code in ("EXTRA_PRODUCER_FIELD", "MISSING_OPTIONAL_FIELD") and not found.breaking:
                    continue
                sure = found.breaking and (
                    found.code != "MISSING_REQUIRED_FIELD"
                    or self.template.input_schema.get("additionalProperties") is False
                )
                message = f"{subject}: {found.message}".replace("the producer", "the input_schema")
                yield Found("INPUT_MISMATCH" if sure else "INPUT_NOT_SURE", ("steps", index), message, step.name)


def _sure(template: TaskTemplate) -> dict[str, frozenset[str]]:
    """Per step the steps above it that have run whenever it runs."""
    initial = set(initial_steps(template))
    sure: dict[str, frozenset[str]] = {}
    for name in topological_order(template):
        step = template.step(name)
        ways = {parent: sure[parent] | {parent} for parent in step.dependencies}
        if step.type is not StepType.DEFERRED_CONVERGENCE or not ways:
            sure[name] = frozenset[str]().union(*ways.values())
        else:
            # A join waits for those that there are: sure is what is common to all ways, and what every task has.
            common = frozenset.intersection(*ways.values())
            sure[name] = common.union(*(way for parent, way in ways.items() if parent in initial))
    return sure


def _schema_of(kind: Any) -> dict[str, Any] | None:
    """The JSON Schema of what a parameter takes; None when its type says nothing, or has none."""
    if kind is None:
        return None
    try:
        return TypeAdapter(kind).json_schema(mode="validation")
    except Exception:  # a type of the plugin's own, whatever it does when it is asked
        return None


def _takes_null(schema: dict[str, Any]) -> bool:
    types = Shape(schema).types
    return not types or "null" in types
