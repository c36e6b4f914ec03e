"""Values to JSON text and back, exactly: what a handler returns is what its dependents are given.

Integers keep every digit (up to 4,300 of them, Python's own limit), floats their shortest exact form, objects the order
of their keys. What JSON cannot say is refused with its path rather than changed: NaN and infinities, lone surrogates,
keys that are not strings, types without a JSON form.

Beyond plain data, `dumps` takes pydantic models (as `model_dump(mode="json")`), dataclasses (all fields), mappings,
tuples, sets (sorted where they can be), enums (their value), UUID, datetime, date and time (ISO 8601, a naive one
without offset), and Decimal: as a string, because a JSON number would come back as a float and lose digits.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import orjson
from pydantic import BaseModel
from pydantic_core import from_json, to_json

from tasker_host.errors import JsonError

MAX_DEPTH = 254
"""Levels of arrays and objects that `dumps` writes and `loads` reads."""

SCALARS = frozenset({str, int, float, bool, type(None)})

_canonical = json.JSONEncoder(sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_MAX_INTEGER_BITS = 14_284  # 4,300 decimal digits
_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep, or part of itself"
_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS  # orjson would leave out the fields that start with an underscore


def dumps(value: Any) -> str:
    """`value` as compact JSON text. Raises JsonError naming the path of what has no JSON form."""
    try:
        text = orjson.dumps(value, default=_convert, option=_OPTIONS)
    except TypeError:
        # The slow way finds the path of the fault, and writes what orjson cannot: integers beyond 64 bits.
        return _dumps_slowly(value)
    # orjson writes NaN as null without a word, so a text with a null in it is looked at twice.
    if b"null" in text and _has_nonfinite(value):
        return _dumps_slowly(value)
    return text.decode()


def loads(text: str | bytes) -> Any:
    """The value that a JSON text says. Raises JsonError with line and column.

    A number beyond the range of a float (`1e400`) reads as infinity, which `dumps` and `check_context` refuse.
    """
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError as error:
        if "recursion" not in str(error):
            raise JsonError(f"not JSON: {error}") from None
    # from_json reads 200 levels, fewer than dumps writes.
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise JsonError(f"not JSON: {error}") from None
    except RecursionError:
        raise JsonError(f"not readable: nested more than {MAX_DEPTH} levels deep") from None


def json_object(members: Iterable[tuple[str, str]]) -> str:
    """A JSON object, of names and the JSON texts of their values."""
    return "{" + ",".join(f'"{name}":{text}' for name, text in members) + "}"


def json_array(elements: Iterable[str]) -> str:
    """A JSON array, of the JSON texts of its elements."""
    return f"[{','.join(elements)}]"


def canonical_json(value: Any) -> str:
    """The one text of equal values: keys sorted at every depth, compact, arrays in their order. Raises JsonError.

    1 and 1.0 are different values. Written by the standard library, so that it can be made again anywhere.
    """
    if is_plain(value):
        try:
            text = _canonical.encode(value)
            text.encode()
        except ValueError:
            pass  # what is wrong is found below, with its path
        else:
            return text
    return _canonical.encode(plain(value))


def is_plain(value: Any, levels: int = MAX_DEPTH) -> bool:
    """Whether `value` consists of exactly the types that JSON text is read into."""
    kind = type(value)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or not (type(item) in SCALARS or (levels > 1 and is_plain(item, levels - 1))):
                return False
        return True
    if kind is list:
        for item in value:  # noqa: SIM110 - a generator would cost more than the check itself
            if not (type(item) in SCALARS or (levels > 1 and is_plain(item, levels - 1))):
                return False
        return True
    return kind in SCALARS


def plain(value: Any, path: str = "$") -> Any:
    """`value` as dict, list, str, int, float, bool and None only. Raises JsonError naming the path, from `path` on."""
    try:
        return _plain(value, path, 1)
    except RecursionError:
        raise JsonError(_TOO_DEEP) from None


def child_path(path: str, key: str) -> str:
    """The path of a member of an object: `$.items`, or `$["two words"]` where the key is no identifier."""
    return f"{path}.{key}" if key.isidentifier() else f"{path}[{json.dumps(key)}]"


def _refuse_constant(name: str) -> Any:
    raise JsonError(f"not JSON: {name}")


def _dumps_slowly(value: Any) -> str:
    return json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"))


def _has_nonfinite(value: Any) -> bool:
    """Whether a NaN or an infinity may be hidden in `value`; true as well when a string only looks like one."""
    try:
        text = to_json(value, inf_nan_mode="constants", fallback=_convert)
    except (ValueError, TypeError):
        return True
    return b"NaN" in text or b"Infinity" in text


def _convert(value: Any) -> Any:  # noqa: PLR0911, PLR0912 - a case for each type
    """One step from a Python value towards JSON; TypeError when there is none."""
    match value:
        case BaseModel():
            data = value.model_dump(mode="json")
            if _has_nonfinite(data):
                raise TypeError
            return data
        case Enum():
            return value.value
        case UUID():
            return str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case Decimal() if value.is_finite():
            return str(value)
        case Mapping():
            return dict(value)
        case Set():
            try:
                return sorted(value)
            except TypeError:
                return list(value)
        case float():
            return float(value)
        case bytes() | bytearray() | memoryview():
            raise TypeError
        case Sequence():
            return list(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError


def _plain(value: Any, path: str, depth: int) -> Any:  # noqa: PLR0911 - a case for each type
    match value:
        case None | bool():
            return value
        case Enum():
            return _plain(value.value, path, depth)
        case str():
            return _string(value, path)
        case int():
            if value.bit_length() > _MAX_INTEGER_BITS:
                raise JsonError("an integer of more than 4,300 digits; give it as a string", path)
            return int(value)
        case float():
            if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 - NaN differs from itself
                raise JsonError(f"{value} has no JSON form; give null or a string", path)
            return float(value)
    if depth > MAX_DEPTH:
        raise JsonError(_TOO_DEEP, f"{path[:80]}…")
    if isinstance(value, dict):
        return {_key(key, path): _plain(item, child_path(path, str(key)), depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, BaseModel):
        return _plain(_dumped(value, path), path, depth)
    try:
        converted = _convert(value)
    except TypeError:
        hint = "decode it or give it as base64" if isinstance(value, bytes | bytearray) else "convert it first"
        found = value if isinstance(value, Decimal) else f"a value of type {type(value).__qualname__}"
        raise JsonError(f"{found} has no JSON form; {hint}", path) from None
    return _plain(converted, path, depth)


def _dumped(model: BaseModel, path: str) -> Any:
    try:
        return model.model_dump(mode="json")
    except Exception as error:  # a plugin's own serializers run here
        raise JsonError(f"{type(model).__qualname__} could not be serialized: {error}", path) from error


def _key(key: Any, path: str) -> str:
    if not isinstance(key, str):
        raise JsonError(f"the key {key!r} is {type(key).__name__}; keys of JSON objects are strings", path)
    return _string(key, path)


def _string(value: str, path: str) -> str:
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise JsonError(
            f"a lone surrogate (U+{ord(text[error.start]):04X} at character {error.start}) has no JSON form", path
        ) from None
    return text
