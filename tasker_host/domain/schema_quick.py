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


def quick_check(schema: Any) -> Quick | None:
    """Says True only of what holds to `schema`, a valid one of a draft since 6; None when it is not a plain one."""
    if schema is True:
        return lambda _: True
    if not isinstance(schema, Mapping) or not schema.keys() <= _KNOWN:
        return None
    given = schema.get("type", list(_TYPES))
    # Exact types: True is no integer.
    types = frozenset(kind for name in ([given] if isinstance(given, str) else given) for kind in _TYPES[name])
    checks = [_words(schema["enum"])] if "enum" in schema else []
    if dict in types:
        checks.append(_object(schema))
    if list in types:
        checks.append(_array(schema))
    known = [check for check in checks if check is not None]
    if len(known) < len(checks):
        return None
    return lambda value: type(value) in types and all(check(value) for check in known)


def _words(enum: Any) -> Quick | None:
    # Of other values equality is not what JSON Schema calls so: 1 == True.
    if not all(type(word) is str for word in enum):
        return None
    words = frozenset(enum)
    return lambda value: type(value) is str and value in words


def _object(schema: Mapping[str, Any]) -> Quick | None:
    required = frozenset(schema.get("required", ()))
    members = {name: quick_check(part) for name, part in schema.get("properties", {}).items()}
    if None in members.values() or schema.get("additionalProperties", True) not in (True, False):
        return None
    closed = schema.get("additionalProperties", True) is False
    checks = [(name, check) for name, check in members.items() if check is not None]

    def check(value: Any) -> bool:
        if type(value) is not dict:
            return True
        if not required <= value.keys() or (closed and not value.keys() <= members.keys()):
            return False
        return all(each(value[name]) for name, each in checks if name in value)

    return check


def _array(schema: Mapping[str, Any]) -> Quick | None:
    each = quick_check(schema.get("items", True))
    if each is None:
        return None
    return lambda value: type(value) is not list or all(map(each, value))
