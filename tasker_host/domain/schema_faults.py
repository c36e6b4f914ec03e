"""What is wrong with a JSON Schema itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import specification_with

Path = tuple[str | int, ...]

_REFERENCES = ("$ref", "$dynamicRef")


def schema_faults(schema: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Where in the schema, and what: what its draft forbids, and references that lead nowhere within it."""
    draft = schema.get("$schema", "")
    if not isinstance(draft, str):
        yield ("$schema",), f"{draft!r:.80} is not text"
        return
    kind = validator_for(schema, default=Draft202012Validator)
    found = False
    for error in kind(kind.META_SCHEMA, format_checker=kind.FORMAT_CHECKER).iter_errors(schema):
        found = True
        yield tuple(error.absolute_path), error.message
    if not found:
        resource = specification_with(kind.META_SCHEMA["$schema"]).create_resource(schema)
        yield from _lost(resource, Registry().resolver_with_root(resource))


def _lost(resource: Resource[Any], resolver: Any) -> Iterator[tuple[Path, str]]:
    contents = resource.contents
    for keyword in _REFERENCES if isinstance(contents, Mapping) else ():
        reference = contents.get(keyword)
        if isinstance(reference, str):
            try:
                is_schema = isinstance(resolver.lookup(reference).contents, Mapping | bool)
            except (Unresolvable, LookupError, TypeError, ValueError):
                is_schema = False
            if not is_schema:
                yield (), f"{keyword} '{reference}' leads to no schema within this one; nothing else is looked up"
    for part in resource.subresources():
        yield from _lost(part, resolver.in_subresource(part))
