"""What a JSON Schema says of the form of values: types, fields, elements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TYPES: dict[type, str] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


class Shape:
    """A schema with its references followed. Where it says nothing, so does the shape: `types` is empty then."""

    def __init__(self, schema: Any, root: Mapping[str, Any] | None = None, *, depth: int = 0) -> None:
        self.root: Mapping[str, Any] = root if root is not None else (schema if isinstance(schema, Mapping) else {})
        self.depth = depth
        self.reference = str(schema.get("$ref", "")) if isinstance(schema, Mapping) else ""
        """What the schema refers to, if it does."""
        self.schema = self._merged(schema, set())

    @property
    def branches(self) -> list[Shape]:
        """The alternatives of anyOf and oneOf; the shape itself when there are none."""
        for key in ("anyOf", "oneOf"):
            if isinstance(given := self.schema.get(key), list) and given:
                return [branch for one in given for branch in self._inner(one).branches]
        return [self]

    @property
    def types(self) -> frozenset[str]:
        """Names of JSON's types that values may have; empty when nothing is said."""
        if self.branches != [self]:
            each = [branch.types for branch in self.branches]
            return frozenset().union(*each) if all(each) else frozenset()
        if "const" in self.schema:
            return frozenset({_type_of(self.schema["const"])})
        if isinstance(values := self.schema.get("enum"), list):
            return frozenset(_type_of(value) for value in values)
        given = self.schema.get("type")
        if isinstance(given, str):
            return frozenset({given})
        if isinstance(given, list):
            return frozenset(str(name) for name in given)
        return frozenset({"object"}) if "properties" in self.schema else frozenset()

    @property
    def values(self) -> list[Any] | None:
        """The only values there are, where these are listed."""
        if "const" in self.schema:
            return [self.schema["const"]]
        given = self.schema.get("enum")
        return given if isinstance(given, list) else None

    @property
    def properties(self) -> dict[str, Shape]:
        given = self.schema.get("properties")
        found = {name: self._inner(one) for name, one in given.items()} if isinstance(given, Mapping) else {}
        # What is required is there, also when nothing more is said of it.
        return found | {name: self._inner({}) for name in sorted(self.required) if name not in found}

    @property
    def required(self) -> frozenset[str]:
        given = self.schema.get("required")
        return frozenset(given) if isinstance(given, list) else frozenset()

    @property
    def is_closed(self) -> bool:
        """Whether an object may have no other fields than those that are named."""
        return self.schema.get("additionalProperties") is False

    @property
    def items(self) -> Shape | None:
        given = self.schema.get("items")
        return self._inner(given) if isinstance(given, Mapping) else None

    def without_null(self) -> Shape:
        """The one alternative beside null, where there is just one; else the shape itself."""
        others = [branch for branch in self.branches if branch.types != {"null"}]
        return others[0] if len(others) == 1 else self

    def told(self) -> str:
        """`string or null`; `anything` when nothing is said."""
        return " or ".join(sorted(self.types, key=lambda name: (name == "null", name))) or "anything"

    def _inner(self, schema: Any) -> Shape:
        return Shape(schema, self.root, depth=self.depth + 1)

    def _merged(self, schema: Any, seen: set[str]) -> dict[str, Any]:
        """The schema with what `$ref` and `allOf` add to it."""
        if not isinstance(schema, Mapping):
            return {}
        found = dict(schema)
        parts: list[Any] = []
        reference = found.pop("$ref", None)
        if isinstance(reference, str) and reference not in seen:
            seen.add(reference)
            parts.append(self._at(reference))
        if isinstance(given := found.pop("allOf", None), list):
            parts += given
        for part in parts:
            more = self._merged(part, seen)
            properties = {**more.get("properties", {}), **found.get("properties", {})}
            required = [*more.get("required", ()), *found.get("required", ())]
            found = {**more, **found}
            if properties:
                found["properties"] = properties
            if required:
                found["required"] = list(dict.fromkeys(required))
        return found

    def _at(self, reference: str) -> Any:
        """What `#/$defs/Order` leads to; only references within the schema are followed."""
        found: Any = self.root
        if not reference.startswith("#"):
            return {}
        for part in reference.removeprefix("#").strip("/").split("/"):
            if part:
                key = part.replace("~1", "/").replace("~0", "~")
                found = found.get(key) if isinstance(found, Mapping) else None
        return found


def fits(produced: frozenset[str], consumed: frozenset[str]) -> frozenset[str]:
    """Types that are produced and cannot be consumed. A whole number is a number too."""
    if not produced or not consumed:
        return frozenset()
    taken = consumed | ({"integer"} if "number" in consumed else set())
    return produced - taken


def _type_of(value: Any) -> str:
    return _TYPES.get(type(value), "object")
