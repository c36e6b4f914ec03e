"""A quick yes to values that clearly hold to a plain JSON Schema; everything else is for the real validator.

Most schemas are a few keywords and most values hold to them: saying so takes a twentieth of the time of finding out
what might be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Quick = Callable[[Any], bool]

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
_SAY_NOTHING = frozenset({"title", "description", "examples", "default", "$comment", "deprecated"})
_KNOWN = frozenset({"type", "required", "properties", "additionalProperties", "items", "enum"}) | _SAY_NOTHING


_Parts = tuple[frozenset[type], Quick | None]
"""The exact types that a value may have (True is no integer), and what is to be looked at besides."""


def quick_check(schema: Any) -> Quick | None:
    """Says True only of what holds to `schema`, a valid one of a draft since 6; None when it is not a plain one."""
    parts = _parts(schema)
    if parts is None:
        return None
    types, check = parts
    if check is None:
        return lambda value: type(value) in types
    return lambda value: type(value) in types and check(value)


def _parts(schema: Any) -> _Parts | None:
    if schema is True:
        schema = {}
    if not isinstance(schema, Mapping) or not schema.keys() <= _KNOWN:
        return None
    given = schema.get("type", list(_TYPES))
    types = frozenset(kind for name in ([given] if isinstance(given, str) else given) for kind in _TYPES[name])
    checks = []
    if "enum" in schema:
        checks.append(_words(schema["enum"]))
    if dict in types and schema.keys() & {"required", "properties", "additionalProperties"}:
        checks.append(_object(schema))
    if list in types and "items" in schema:
        checks.append(_array(schema["items"]))
    known = [check for check in checks if check is not None]
    if len(known) < len(checks):
        return None
    if len(known) <= 1:
        return types, (known[0] if known else None)
    return types, lambda value: all(check(value) for check in known)


def _words(enum: Any) -> Quick | None:
    # Of other values equality is not what JSON Schema calls so: 1 == True.
    if not all(type(word) is str for word in enum):
        return None
    words = frozenset(enum)
    return lambda value: type(value) is str and value in words


def _object(schema: Mapping[str, Any]) -> Quick | None:
    required = tuple(schema.get("required", ()))
    members = {name: _parts(part) for name, part in schema.get("properties", {}).items()}
    if None in members.values() or schema.get("additionalProperties", True) not in (True, False):
        return None
    names = None if schema.get("additionalProperties", True) else members.keys()
    parts = [(name, *part) for name, part in members.items() if part is not None]

    # Loops, and no generators: this is done for every event, and those would cost more than all the rest.
    def check(value: Any) -> bool:
        if type(value) is not dict:
            return True
        for name in required:
            if name not in value:
                return False
        if names is not None and not value.keys() <= names:
            return False
        for name, types, deeper in parts:
            if name in value:
                item = value[name]
                if type(item) not in types or (deeper is not None and not deeper(item)):
                    return False
        return True

    return check


def _array(items: Any) -> Quick | None:
    each = quick_check(items)
    if each is None:
        return None
    return lambda value: type(value) is not list or all(map(each, value))
