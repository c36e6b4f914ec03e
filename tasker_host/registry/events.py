"""The declared events of a step with their publishers: chosen for each event, not for the step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import get_args

from tasker_host.domain.json import dumps
from tasker_host.domain.publishing import Result, fires
from tasker_host.domain.schema import InvalidSchema, schema_check
from tasker_host.domain.suggest import did_you_mean
from tasker_host.domain.template import DeliveryMode, EventDeclaration, StepDefinition, TaskTemplate
from tasker_host.hooks.publisher import DEFAULT, BoundPublisher
from tasker_host.registry.plan import EventPlan

Publishers = Mapping[str, BoundPublisher]


class UnknownPublisher(LookupError):
    """An event names a publisher that nobody gives."""


def event_plans(template: TaskTemplate, step: StepDefinition, publishers: Publishers) -> tuple[EventPlan, ...]:
    """How the events of `step` are published. Raises UnknownPublisher and InvalidSchema."""
    return tuple(_plan(template, step, event, publishers) for event in step.publishes_events)


def plain_events(events: tuple[EventPlan, ...]) -> tuple[EventPlan, ...]:
    """Those that fire at a success, if all of these are plain; else none."""
    at_success = tuple(event for event in events if "success" in event.on)
    return at_success if all(event.is_plain for event in at_success) else ()


def event_problems(template: TaskTemplate, step: StepDefinition, publishers: Publishers) -> Iterator[str]:
    """Everything that keeps an event of `step` from being published."""
    for event in step.publishes_events:
        try:
            _plan(template, step, event, publishers)
        except UnknownPublisher as error:
            yield str(error)
        except InvalidSchema as error:
            yield f"the schema of event '{event.name}' is itself not valid: {error}"


def _plan(template: TaskTemplate, step: StepDefinition, event: EventDeclaration, publishers: Publishers) -> EventPlan:
    name = event.publisher or DEFAULT
    publisher = None if name == DEFAULT else publishers.get(name)
    if publisher is None and name != DEFAULT:
        raise UnknownPublisher(
            f"no publisher named '{name}' (event '{event.name}'){did_you_mean(name, [*publishers, DEFAULT])}"
        )
    return EventPlan(
        declaration=event,
        on=frozenset(result for result in get_args(Result) if fires(event.condition, result)),
        publisher=publisher,
        check=None if event.payload_schema is None else schema_check(event.payload_schema, subject="payload"),
        publisher_name=name,
        mode=event.delivery_mode.value,
        is_durable=event.delivery_mode is not DeliveryMode.FAST,
        is_fast=event.delivery_mode is not DeliveryMode.DURABLE,
        include_step=event.include_step,
        named=f'"event_name":{dumps(event.name)},"event_version":{dumps(event.version)}',
        origin=f'"fired_by":{dumps(name)},"namespace":{dumps(template.namespace_name)},"step_name"',
        step_name=dumps(step.name),
    )
