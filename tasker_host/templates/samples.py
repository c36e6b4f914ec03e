"""The smallest value that fits a JSON Schema, where one can be found."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from tasker_host.domain.schema import InvalidSchema, schema_check
from tasker_host.templates.shapes import Shape

_FORMATS = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "email": "someone@example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com",
    "hostname": "example.com",
    "ipv4": "127.0.0.1",
    "ipv6": "::1",
}
_ENDS = ("a", "A", "0", "1", "aa", "AA", "00", "a1", "A1", "AB12", "001", "ABC-123", "1.0.0", "12345", "12345678")
_EMPTY: dict[str, Any] = {"null": None, "boolean": False, "string": "", "array": [], "object": {}}


class NoSampleError(ValueError):
    """None was found: the schema asks for text by a pattern, or for what contradicts itself."""


def sample(schema: Mapping[str, Any] | None) -> Any:
    """A value of the schema; an empty object when there is none. Raises NoSampleError."""
    if schema is None:
        return {}
    value = _of(Shape(schema))
    try:
        wrong = schema_check(dict(schema), subject="value")(value)
    except InvalidSchema as error:
        raise NoSampleError(str(error)) from None
    if wrong:
        raise NoSampleError(str(wrong[0]))
    return value


def _of(shape: Shape) -> Any:  # noqa: PLR0911 - a case for each kind
    shape = shape.without_null().branches[0]
    if "default" in shape.schema:
        return shape.schema["default"]
    if shape.values:
        return shape.values[0]
    examples = shape.schema.get("examples")
    if isinstance(examples, list) and examples:
        return examples[0]
    if shape.depth > 20:
        return None
    kind = min(shape.types, key=lambda one: (one == "null", one), default="object")
    match kind:
        case "object":
            return {name: _of(inner) for name, inner in shape.properties.items() if name in shape.required}
        case "array":
            least = shape.schema.get("minItems", 0)
            return [] if shape.items is None else [_of(shape.items) for _ in range(least)]
        case "string":
            return _text(shape.schema)
        case "integer" | "number":
            return _number(shape.schema, whole=kind == "integer")
        case _:
            return _EMPTY.get(kind)


def _text(schema: Mapping[str, Any]) -> str:
    """By its format, or by its pattern where one of a few likely texts fits; whether it does is checked by `sample`."""
    text = _FORMATS.get(schema.get("format", ""), "")
    least = schema.get("minLength", 0)
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        prefix = re.match(r"[\w \-:/@#.]*", pattern.removeprefix("^").replace("\\-", "-"))
        start = prefix[0] if prefix else ""
        for likely in (text, start, *(start + end for end in _ENDS), *_FORMATS.values(), *_ENDS):
            try:
                if likely.strip() and len(likely) >= least and re.search(pattern, likely):
                    return likely
            except re.error:
                break
    return text or "x" * least


def _number(schema: Mapping[str, Any], *, whole: bool) -> int | float:
    step = schema.get("multipleOf", 1 if whole else 0)
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    value: int | float = 0
    if low is not None and (low > 0 or ("exclusiveMinimum" in schema and low >= 0)):
        value = low
    elif high is not None and (high < 0 or ("exclusiveMaximum" in schema and high <= 0)):
        value = high
    if step:
        value = math.ceil(value / step) * step
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        value += step or 1
    if "exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"]:
        value -= step or 1
    return int(value) if whole else value
