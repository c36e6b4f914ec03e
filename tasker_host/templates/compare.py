"""Whether what one step produces is what another one reads: two JSON Schemas compared, field by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tasker_host.domain.json import dumps
from tasker_host.templates.shapes import Shape, fits

_DEEPEST = 20
"""Levels that are compared: a schema may contain itself."""


@dataclass(frozen=True, slots=True)
class Difference:
    """`breaking`: a value that the producer may give is refused by the consumer. `path` is that of the field."""

    code: str
    path: str
    message: str
    breaking: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    differences: Sequence[Difference]

    @property
    def compatibility(self) -> Literal["compatible", "compatible_with_warnings", "incompatible"]:
        if any(one.breaking for one in self.differences):
            return "incompatible"
        harmless = ("EXTRA_PRODUCER_FIELD", "MISSING_OPTIONAL_FIELD")
        return "compatible" if all(one.code in harmless for one in self.differences) else "compatible_with_warnings"


def compare(producer: Mapping[str, Any], consumer: Mapping[str, Any]) -> Comparison:
    """What keeps values of the schema `producer` from being read by the schema `consumer`. What a schema leaves open is
    not held against it."""
    return Comparison(tuple(_differences(Shape(producer), Shape(consumer), "")))


def _differences(producer: Shape, consumer: Shape, path: str) -> Iterator[Difference]:
    where = path or "the value"
    wrong = fits(producer.types, consumer.types)
    if wrong:
        what = "is" if wrong == producer.types else "may be"
        told = " or ".join(sorted(wrong))
        message = f"{where} {what} {told}, but {consumer.told()} is read"
        yield Difference("TYPE_MISMATCH", path, message, breaking=True)
        if wrong == producer.types:
            return
    if path.count(".") + path.count("[") >= _DEEPEST:
        return
    producer, consumer = producer.without_null(), consumer.without_null()
    if len(consumer.branches) > 1 and len(producer.branches) == 1:
        tried = [list(_differences(producer, branch, path)) for branch in consumer.branches]
        yield from min(tried, key=lambda found: sum(one.breaking for one in found))
        return
    if len(producer.branches) > 1 or len(consumer.branches) > 1:
        return  # which alternative goes with which is not said
    yield from _values(producer, consumer, path)
    yield from _fields(producer, consumer, path)
    if producer.items is not None and consumer.items is not None:
        yield from _differences(producer.items, consumer.items, f"{path}[]")


def _values(producer: Shape, consumer: Shape, path: str) -> Iterator[Difference]:
    if producer.values is not None and consumer.values is not None:
        other = [value for value in producer.values if value not in consumer.values]
        if other:
            told = ", ".join(dumps(value) for value in other)
            message = f"{path or 'the value'} may be {told}, which is not read"
            yield Difference("TYPE_MISMATCH", path, message, breaking=True)


def _fields(producer: Shape, consumer: Shape, path: str) -> Iterator[Difference]:
    given = producer.properties
    if not given and not producer.is_closed:
        return  # an object of which nothing is said
    start = f"{path}." if path else ""
    for name, wanted in consumer.properties.items():
        field = f"{start}{name}"
        if name in given:
            if name in consumer.required and name not in producer.required:
                message = f"field '{field}' is required, but the producer may leave it out"
                yield Difference("FIELD_NOT_ALWAYS_THERE", field, message, breaking=False)
            yield from _differences(given[name], wanted, field)
        elif name in consumer.required:
            message = f"field '{field}' is required, but the producer has none of that name"
            yield Difference("MISSING_REQUIRED_FIELD", field, message, breaking=True)
        else:
            message = f"field '{field}' is read where it is there; the producer has none of that name"
            yield Difference("MISSING_OPTIONAL_FIELD", field, message, breaking=False)
    for name in given:
        if name not in consumer.properties and consumer.properties:
            what = "and refused by the consumer" if consumer.is_closed else "and not read"
            message = f"field '{start}{name}' is produced {what}"
            yield Difference("EXTRA_PRODUCER_FIELD", f"{start}{name}", message, breaking=consumer.is_closed)
