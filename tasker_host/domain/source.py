"""Templates from YAML or plain data: everything wrong is found in one reading and told with its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from tasker_host.domain import yaml
from tasker_host.domain.faults import Fault, Path, faults, path_text
from tasker_host.domain.graph import find_problems
from tasker_host.domain.json import plain
from tasker_host.domain.schema_faults import schema_faults
from tasker_host.domain.states import StepType
from tasker_host.domain.suggest import did_you_mean
from tasker_host.domain.template import ALL_STEPS, TaskTemplate
from tasker_host.domain.template.template import STRUCTURE
from tasker_host.errors import JsonError, Problem, TemplateError

_HINTS = {
    "namespace": "the key is 'namespace_name'",
    "timeout": "the key is 'timeout_seconds'",
    "initial_delay": "the key is 'backoff_base_ms', in milliseconds",
    "max_delay": "the key is 'max_backoff_ms', in milliseconds",
    "max_retries": "the key is 'max_attempts' in 'retry'; it counts the first execution too",
    "lifecycle": "it belongs to the template, not to a step",
}

# Documented floors; values below them occur in real templates and work, so they are only worth a word.
_FLOORS = {"max_attempts": 1, "limit": 1, "backoff_base_ms": 100, "max_backoff_ms": 1_000}

_CODES = {"extra_forbidden": "UNKNOWN_KEY", "missing": "MISSING_KEY"}

ORDER = "order"
"""Kind of the faults that name their step themselves."""


def parse_template(text: str, *, source: str) -> tuple[TaskTemplate, list[Problem]]:
    """The template that a YAML text describes, and what is doubtful in it.

    Every problem, also of the TemplateError raised when there is no such template, has `source:line` as its place.
    """
    document = yaml.read(text, source=source)

    def place(fault: Fault) -> Problem:
        return Problem(document.where(fault.path), _told(document.data, fault), _code(fault))

    template, warnings = _build(document.data, source, place, lambda fault: document.line(fault.path))
    return template, [*document.warnings, *warnings]


def template_from_data(data: Mapping[str, Any], *, source: str) -> tuple[TaskTemplate, list[Problem]]:
    """The same for data read from JSON or written in Python; the place of a problem is `source` and its key path."""

    def place(fault: Fault) -> Problem:
        return Problem(f"{source} {path_text(fault.path)}".rstrip(), fault.message, _code(fault))

    try:
        content = plain(data)
    except JsonError as error:
        raise TemplateError(f"{source} is not a template", [Problem(source, str(error))]) from None
    return _build(content, source, place, lambda _: 0)


def _build(
    data: Any, source: str, place: Callable[[Fault], Problem], line: Callable[[Fault], int]
) -> tuple[TaskTemplate, list[Problem]]:
    if not isinstance(data, dict):
        message = "a template is a mapping with name, namespace_name, version and steps"
        raise TemplateError(f"{source} is not a template", [place(Fault((), message, code="UNREADABLE"))])
    template = None
    found: list[Fault] = []
    try:
        template = TaskTemplate.model_validate(data)
    except ValidationError as error:
        # What is wrong with the order of steps is found below, with its place and also when other things are wrong.
        found = [fault for fault in faults(error, TaskTemplate, _HINTS) if fault.kind != STRUCTURE]
    order = list(_order_faults(data))
    found += [fault for fault, is_warning in order if not is_warning]
    found += _schema_faults(data)
    if template is None or found:
        name = data.get("name")
        what = f"template '{name}' in {source}" if isinstance(name, str) else source
        raise TemplateError(f"{what} is not valid", [place(fault) for fault in sorted(found, key=line)])
    doubts = [*(fault for fault, is_warning in order if is_warning), *_doubts(data)]
    return template, [place(fault) for fault in sorted(doubts, key=line)]


def _code(fault: Fault) -> str:
    return fault.code or _CODES.get(fault.kind, "INVALID_VALUE")


def _told(data: Mapping[str, Any], fault: Fault) -> str:
    """The fault's message after the path it speaks of, steps by their name."""
    path, start = fault.path, ""
    if fault.kind == ORDER:
        return fault.message
    if path[:1] == ("steps",) and len(path) > 1:
        name = _at(data, (*path[:2], "name"))
        if isinstance(name, str):
            start, path = f"step '{name}': ", path[2:]
    return start + (f"{path_text(path)}: " if path else "") + fault.message


def _at(data: Any, path: Path) -> Any:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


# Order ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Step:
    """What can be seen of a step whose data may be wrong in other places."""

    name: str
    type: StepType
    dependencies: tuple[str, ...]


def _order_faults(data: Mapping[str, Any]) -> Iterator[tuple[Fault, bool]]:
    """Faults of the order of steps; the second value tells whether it is only a warning."""
    entries = data.get("steps")
    if not isinstance(entries, list):
        return
    places: list[int] = []
    steps: list[_Step] = []
    for index, entry in enumerate(entries):
        if isinstance(entry, dict) and isinstance(entry.get("name"), str):
            places.append(index)
            steps.append(_Step(entry["name"], _type(entry), _dependencies(entry)))
    if len(steps) < len(entries):
        return  # a step without a name may be the one that others depend on
    for problem in find_problems(steps):
        path: Path = ("steps", places[problem.step])
        if problem.dependency is not None:
            path = (*path, _dependency_key(entries[places[problem.step]]), problem.dependency)
        yield Fault(path, problem.message, ORDER, problem.code), problem.warning
    if not entries:
        yield Fault(("steps",), "there are none: a task of this template is complete at once", code="NO_STEPS"), True


def _type(entry: Mapping[str, Any]) -> StepType:
    try:
        return StepType(entry.get("type") or entry.get("step_type") or StepType.STANDARD)
    except ValueError:
        return StepType.STANDARD


def _dependency_key(entry: Mapping[str, Any]) -> str:
    return "depends_on" if entry.get("dependencies") is None else "dependencies"


def _dependencies(entry: Mapping[str, Any]) -> tuple[str, ...]:
    names = entry.get(_dependency_key(entry))
    return tuple(str(name) for name in names) if isinstance(names, list) else ()


# JSON Schemas ---------------------------------------------------------------------------------------------------------


def _schemas(data: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    yield ("input_schema",), data.get("input_schema")
    for index, event in _entries(data, "domain_events"):
        yield ("domain_events", index, "schema"), event.get("schema")
    for index, step in _entries(data, "steps"):
        yield ("steps", index, "result_schema"), step.get("result_schema")
        for place, event in _entries(step, "publishes_events"):
            yield ("steps", index, "publishes_events", place, "schema"), event.get("schema")


def _schema_faults(data: Mapping[str, Any]) -> Iterator[Fault]:
    for path, schema in _schemas(data):
        if not isinstance(schema, dict):
            continue
        for place, message in schema_faults(schema):
            yield Fault((*path, *place), f"not a JSON Schema: {message}", code="INVALID_SCHEMA")


# Doubts ---------------------------------------------------------------------------------------------------------------


def _doubts(data: Mapping[str, Any]) -> Iterator[Fault]:
    """What works, but hardly as it was meant."""
    schema = data.get("input_schema")
    if isinstance(schema, dict) and schema.get("type", "object") != "object":
        yield Fault(("input_schema", "type"), "a task's context is always an object", code="SCHEMA_NOT_OBJECT")
    names = [step["name"] for _, step in _entries(data, "steps")]
    workers = {step["name"] for _, step in _entries(data, "steps") if _type(step) is StepType.BATCH_WORKER}
    for index, step in _entries(data, "steps"):
        path: Path = ("steps", index)
        yield from _retry_doubts((*path, "retry"), step.get("retry"))
        yield from _batch_doubts(path, step, workers)
        events = [event["name"] for _, event in _entries(step, "publishes_events")]
        for place, name in enumerate(events):
            if name in events[:place]:
                message = f"'{name}' is declared twice in this step"
                yield Fault((*path, "publishes_events", place), message, code="DUPLICATE_EVENT")
    for environment, content in (data.get("environments") or {}).items():
        for index, override in _entries(content or {}, "steps"):
            path = ("environments", environment, "steps", index)
            name = override["name"]
            if name != ALL_STEPS and name not in names:
                message = f"no step named '{name}'{did_you_mean(name, [*names, ALL_STEPS])}"
                yield Fault((*path, "name"), message, code="UNKNOWN_OVERRIDE")
            yield from _retry_doubts((*path, "retry"), override.get("retry"))


def _retry_doubts(path: Path, retry: Any) -> Iterator[Fault]:
    if not isinstance(retry, dict):
        return
    if "limit" in retry:
        yield Fault((*path, "limit"), "is read as 'max_attempts'; write that", code="RETRY_OTHER_NAME")
    for key, floor in _FLOORS.items():
        value = retry.get(key)
        if isinstance(value, int) and value < floor:
            note = "; 0 runs once, like 1" if floor == 1 else ""
            yield Fault((*path, key), f"{value} is below the documented {floor}{note}", code="RETRY_BELOW_FLOOR")
    base, cap = retry.get("backoff_base_ms"), retry.get("max_backoff_ms")
    if isinstance(base, int) and isinstance(cap, int) and base > cap:
        message = f"{cap} is less than backoff_base_ms, so every wait is {cap} ms"
        yield Fault((*path, "max_backoff_ms"), message, code="RETRY_CAP_BELOW_BASE")


def _batch_doubts(path: Path, step: Mapping[str, Any], workers: set[str]) -> Iterator[Fault]:
    config = step.get("batch_config")
    if isinstance(config, dict):
        if _type(step) is not StepType.BATCH_WORKER:
            message = "has a meaning on steps of type batch_worker only"
            yield Fault((*path, "batch_config"), message, code="BATCH_CONFIG_MISPLACED")
        worker = config.get("worker_template")
        if worker not in workers:
            hint = did_you_mean(str(worker), workers)
            message = f"no batch_worker named '{worker}'{hint}"
            yield Fault((*path, "batch_config", "worker_template"), message, code="UNKNOWN_WORKER")
    if _type(step) is StepType.BATCHABLE:
        key: Path = ("handler", "initialization", "worker_template_name")
        worker = _at(step, key)
        if isinstance(worker, str) and worker not in workers:
            message = f"no batch_worker named '{worker}'{did_you_mean(worker, workers)}"
            yield Fault((*path, *key), message, code="UNKNOWN_WORKER")


def _entries(data: Mapping[str, Any], key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    entries = data.get(key)
    if isinstance(entries, list):
        for index, entry in enumerate(entries):
            if isinstance(entry, dict):
                yield index, entry
