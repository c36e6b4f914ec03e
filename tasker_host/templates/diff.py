"""What is different between two templates, and what that means for tasks that run and for new ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tasker_host.domain.graph import ancestors, children
from tasker_host.domain.json import dumps
from tasker_host.domain.template import EventDeclaration, StepDefinition, TaskTemplate
from tasker_host.templates.schema_diff import SchemaChange, changed_input, changed_result

_OF_TEMPLATE = (
    "identity_strategy",
    "unique_for",
    "on_failure",
    "priority",
    "tags",
    "concurrency_key",
    "concurrency_limit",
    "lifecycle",
    "environments",
    "domain_events",
    "system_dependencies",
    "description",
    "metadata",
)
_OF_STEP = (
    "retry",
    "timeout_seconds",
    "lease_seconds",
    "optional",
    "priority",
    "tags",
    "concurrency_key",
    "concurrency_limit",
    "batch_config",
    "system_dependency",
    "composition",
    "description",
)
_FOR_READERS = frozenset({"description", "metadata", "system_dependencies", "system_dependency", "domain_events"})


@dataclass(frozen=True, slots=True)
class Change:
    """`breaking`: who submits tasks, writes handlers or hears events must act. `step` is empty for the whole."""

    code: str
    message: str
    step: str = ""
    breaking: bool = False

    def as_json(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "step": self.step or None,
            "breaking": self.breaking,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class Diff:
    before: TaskTemplate
    after: TaskTemplate
    changes: tuple[Change, ...]

    @property
    def is_breaking(self) -> bool:
        return any(change.breaking for change in self.changes)

    def running_tasks(self) -> list[str]:
        """What the change means for tasks of `before` that have not ended."""
        if not self.changes:
            return ["nothing changes"]
        found = ["they keep the content they were made from, to their end"]
        gone = sorted(_callables(self.before) - _callables(self.after))
        if gone:
            found.append(f"until then workers still need the handlers {', '.join(gone)}")
        return found

    def new_tasks(self) -> list[str]:
        """What the change means for tasks that are submitted when hosts have `after`."""
        before, after = self.before, self.after
        if not self.changes:
            return ["nothing changes"]
        found = []
        if before.key != after.key:
            found.append(f"they are submitted as {after.key}; {before.key} stays what it is")
        elif _number(after.version) > _number(before.version):
            found.append(f"those that name no version are of {after.version}; {before.version} can still be asked for")
        elif _number(after.version) < _number(before.version):
            found.append(f"only those that name {after.version} are of it: {before.version} is higher")
        else:
            found.append(
                f"all are made from the new content: both are version {after.version}; raise it to tell them apart"
            )
        new = sorted(_callables(after) - _callables(before))
        if new:
            found.append(f"workers need the handlers {', '.join(new)}")
        if before.namespace_name != after.namespace_name:
            found.append(f"they go to the queue of namespace {after.namespace_name}; workers must serve it")
        if before.label != after.label and after.identity_strategy.value == "strict":
            found.append("what was submitted before can be submitted again: the version is part of the identity")
        return found


def diff(before: TaskTemplate, after: TaskTemplate) -> Diff:
    """All changes, those of the whole template first, then step by step in the order of `before`."""
    return Diff(before, after, tuple(_changes(before, after)))


# ----------------------------------------------------------------------------------------------------------------------


def _changes(before: TaskTemplate, after: TaskTemplate) -> Iterator[Change]:
    if before.key != after.key:
        yield Change("NAME_CHANGED", f"{before.key} is now {after.key}", breaking=True)
    if before.version != after.version:
        yield Change("VERSION_CHANGED", f"{before.version} is now {after.version}")
    for change in changed_input(before.input_schema, after.input_schema):
        yield _schema_change(change, "")
    for key in _OF_TEMPLATE:
        yield from _value(key, getattr(before, key), getattr(after, key), "")
    old, new = {step.name: step for step in before.steps}, {step.name: step for step in after.steps}
    for name, step in old.items():
        if name in new:
            yield from _step_changes(step, new[name])
        else:
            readers = [child for child in children(before)[name] if child in new]
            still = f"; {', '.join(readers)} stood directly below it" if readers else ""
            yield Change("STEP_REMOVED", f"it is gone{still}", name, breaking=True)
    for name, step in new.items():
        if name not in old:
            after_what = f", after {', '.join(step.dependencies)}" if step.dependencies else ""
            yield Change("STEP_ADDED", f"it is new ({step.type.value}, {step.handler.callable}{after_what})", name)
    yield from _lost_values(before, after)


def _step_changes(before: StepDefinition, after: StepDefinition) -> Iterator[Change]:
    name = before.name
    if before.type is not after.type:
        message = f"{before.type.value} is now {after.type.value}"
        yield Change("STEP_TYPE_CHANGED", message, name, breaking=True)
    for key in ("callable", "method", "resolver", "initialization"):
        code = "INITIALIZATION_CHANGED" if key == "initialization" else "HANDLER_CHANGED"
        old, new = getattr(before.handler, key), getattr(after.handler, key)
        if old != new:
            yield Change(code, f"handler.{key}: {_shown(old)} is now {_shown(new)}", name)
    for parent in before.dependencies:
        if parent not in after.dependencies:
            yield Change("DEPENDENCY_REMOVED", f"it does not wait for '{parent}' any more", name)
    for parent in after.dependencies:
        if parent not in before.dependencies:
            yield Change("DEPENDENCY_ADDED", f"it waits for '{parent}' too", name)
    for change in changed_result(before.result_schema, after.result_schema):
        yield _schema_change(change, name)
    for key in _OF_STEP:
        yield from _value(key, getattr(before, key), getattr(after, key), name)
    yield from _events(before, after)


def _value(key: str, old: Any, new: Any, step: str) -> Iterator[Change]:
    old, new = _data(old), _data(new)
    if old == new:
        return
    code = "DESCRIPTION_CHANGED" if key in _FOR_READERS else f"{key.upper()}_CHANGED"
    if isinstance(old, dict) and isinstance(new, dict):
        inner = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        told = ", ".join(f"{key}.{name}: {_shown(old.get(name))} is now {_shown(new.get(name))}" for name in inner)
        yield Change(code, told, step, breaking=key in _BREAKING)
    else:
        yield Change(code, f"{key}: {_shown(old)} is now {_shown(new)}", step, breaking=key in _BREAKING)


_BREAKING = frozenset({"identity_strategy"})
"""Keys whose change asks something of those who submit: a key they must give, or tasks that are there twice."""


def _events(before: StepDefinition, after: StepDefinition) -> Iterator[Change]:
    old, new = _by_name(before.publishes_events), _by_name(after.publishes_events)
    for name in old:
        if name not in new:
            yield Change("EVENT_REMOVED", f"event '{name}' is not published any more", before.name, breaking=True)
    for name, event in new.items():
        if name not in old:
            yield Change("EVENT_ADDED", f"event '{name}' is published", before.name)
            continue
        for change in changed_result(old[name].payload_schema, event.payload_schema):
            yield Change(change.code, f"event '{name}': {change.message}", before.name, change.breaking)
        for key in ("condition", "delivery_mode", "publisher"):
            was, now = _data(getattr(old[name], key)), _data(getattr(event, key))
            if was != now:
                message = f"event '{name}': {key} {_shown(was)} is now {_shown(now)}"
                yield Change("EVENT_CHANGED", message, before.name, breaking=True)


def _by_name(events: tuple[EventDeclaration, ...]) -> dict[str, EventDeclaration]:
    return {event.name: event for event in events}


def _lost_values(before: TaskTemplate, after: TaskTemplate) -> Iterator[Change]:
    """Values that a handler could read and now cannot, because the step is not above its own any more."""
    was, now = ancestors(before), ancestors(after)
    there = {step.name for step in after.steps}
    for name in was:
        lost = [parent for parent in was[name] if parent in there and name in now and parent not in now[name]]
        if lost:
            message = f"its handler cannot read {', '.join(lost)} any more"
            yield Change("VALUE_LOST", message, name, breaking=True)


def _schema_change(change: SchemaChange, step: str) -> Change:
    start = "result_schema" if step else "input_schema"
    return Change(change.code, f"{start}: {change.message}", step, change.breaking)


def _callables(template: TaskTemplate) -> set[str]:
    return {step.handler.callable for step in template.steps}


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _data(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _data(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_data(item) for item in value]
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", by_alias=True)
    return value


def _shown(value: Any) -> str:
    return "not set" if value is None else dumps(value)
