"""Names and literals of Python for what templates and schemas call things."""

from __future__ import annotations

import keyword
import re
from typing import Any

_RESERVED = frozenset(
    {"copy", "json", "dict", "schema", "validate", "construct", "model_config", "register", "str", "int", "float"}
    | {"bool", "list", "date"}
)
"""Names that a field cannot have: methods of every model, and the types that annotations of other fields need."""


def class_name(text: str) -> str:
    """`price_order result` → `PriceOrderResult`"""
    words = re.findall(r"[A-Za-z0-9]+", text)
    name = "".join(word[:1].upper() + word[1:] for word in words) or "Value"
    return name if not name[0].isdigit() else f"N{name}"


def attribute_name(text: str) -> str:
    """`unit-price` → `unit_price`; what is no name of a field otherwise gets a `_` at its end."""
    name = variable_name(text)
    return f"{name}_" if name in _RESERVED or name.startswith("model_") else name


def variable_name(text: str) -> str:
    """`price-order` → `price_order`; a keyword gets a `_` at its end."""
    name = re.sub(r"\W+", "_", text).strip("_") or "value"
    name = f"n_{name}" if name[0].isdigit() else name
    return f"{name}_" if keyword.iskeyword(name) else name


def base_name(name: str) -> str:
    """Without the language at its end that names of other systems have: `price_order_py` → `price_order`."""
    return re.sub(r"_(py|rb|ts|rs)$", "", name)


def literal(value: Any) -> str:
    """A JSON value as Python writes it, with double quotes."""
    match value:
        case str():
            return quoted(value)
        case dict():
            return "{" + ", ".join(f"{quoted(key)}: {literal(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(literal(item) for item in value) + "]"
        case _:
            return repr(value)


def quoted(text: str) -> str:
    escaped = text.encode("unicode_escape").decode("ascii") if not text.isprintable() else text.replace("\\", "\\\\")
    return '"' + escaped.replace('"', '\\"') + '"'


def one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("\\", "\\\\").replace('"', "'")
