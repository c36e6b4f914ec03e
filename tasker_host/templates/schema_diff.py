"""What is different between two JSON Schemas of the same thing, and for whom that matters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tasker_host.templates.shapes import Shape, fits

_DEEPEST = 20

Schema = Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class SchemaChange:
    code: str
    path: str
    message: str
    breaking: bool


def changed_input(before: Schema, after: Schema) -> list[SchemaChange]:
    """Of what callers give: breaking is what refuses inputs that were right."""
    if before is None or after is None:
        return list(_whole(before, after, breaking_when_added=True))
    return list(_fields(Shape(before), Shape(after), "", callers=True))


def changed_result(before: Schema, after: Schema) -> list[SchemaChange]:
    """Of what a handler gives: breaking takes from readers what was promised, or refuses values that were right.

    The second is why a field that became required, which readers like, is breaking too: the handler must follow.
    """
    if before is None or after is None:
        return list(_whole(before, after, breaking_when_added=False))
    return list(_fields(Shape(before), Shape(after), "", callers=False))


def _whole(before: Schema, after: Schema, *, breaking_when_added: bool) -> Iterator[SchemaChange]:
    if before is None and after is not None:
        yield SchemaChange("SCHEMA_ADDED", "", "there is one now", breaking_when_added)
    elif before is not None and after is None:
        yield SchemaChange("SCHEMA_REMOVED", "", "there is none any more", not breaking_when_added)


def _fields(before: Shape, after: Shape, path: str, *, callers: bool) -> Iterator[SchemaChange]:
    yield from _types(before, after, path, callers=callers)
    if path.count(".") + path.count("[") >= _DEEPEST:
        return
    before, after = before.without_null(), after.without_null()
    old, new = before.properties, after.properties
    start = f"{path}." if path else ""
    for name in old:
        field, required = f"{start}{name}", name in before.required
        if name not in new:
            breaking = after.is_closed if callers else required
            yield SchemaChange("FIELD_REMOVED", field, f"field '{field}' is gone", breaking)
            continue
        if required and name not in after.required:
            yield SchemaChange("REQUIRED_TO_OPTIONAL", field, f"field '{field}' may be left out now", not callers)
        elif not required and name in after.required:
            yield SchemaChange("OPTIONAL_TO_REQUIRED", field, f"field '{field}' is required now", breaking=True)
        yield from _fields(old[name], new[name], field, callers=callers)
    for name in new:
        if name not in old:
            field, required = f"{start}{name}", name in after.required
            told = f"field '{field}' is new{', and required' if required else ''}"
            yield SchemaChange("FIELD_ADDED", field, told, required)
    if before.items is not None and after.items is not None:
        yield from _fields(before.items, after.items, f"{path}[]", callers=callers)
    if not before.is_closed and after.is_closed:
        where = f"'{path}'" if path else "it"
        yield SchemaChange("FIELDS_CLOSED", path, f"{where} may have no other fields now", breaking=True)


def _types(before: Shape, after: Shape, path: str, *, callers: bool) -> Iterator[SchemaChange]:
    where = f"field '{path}'" if path else "the value"
    if before.types != after.types:
        # Callers go on giving the old types. Of results either the readers or the handler must follow.
        narrower = bool(fits(before.types, after.types)) or (not before.types and bool(after.types))
        breaking = narrower if callers else True
        yield SchemaChange("TYPE_CHANGED", path, f"{where}: {before.told()} is now {after.told()}", breaking)
    elif before.values != after.values:
        old, new = before.values, after.values
        lost = new is not None and (old is None or any(value not in new for value in old))
        gained = old is not None and (new is None or any(value not in old for value in new))
        yield SchemaChange("VALUES_CHANGED", path, f"{where} has other values", lost if callers else gained)
