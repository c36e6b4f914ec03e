"""The JSON Schema of template files, by which editors complete, explain and check them while they are written.

It is made from the models that read the files. What only the host can see (cycles, unknown steps and handlers) it does
not say; everything that it refuses, the host refuses too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from pydantic import AliasChoices, BaseModel

from tasker_host.domain.template import TaskTemplate, parts

FILE = "task-template.schema.json"
"""The published schema, in this package; a test keeps it in step with the models."""

Descriptions = Mapping[tuple[str, str], str]
"""What a key means, by model and key."""

_ALTERNATIVES = {"Lifecycle": ("max_duration_minutes", "max_duration_seconds")}
"""Keys of which a file has only one."""


def published() -> str:
    """The text of the published schema."""
    return files("tasker_host.templates").joinpath(FILE).read_text("utf-8")


def editor_schema(descriptions: Descriptions) -> dict[str, Any]:
    """The schema, draft-07: that is what editors know best."""
    made = TaskTemplate.model_json_schema(by_alias=True)
    definitions = made.pop("$defs")
    _finish(made, TaskTemplate, descriptions)
    for name, definition in definitions.items():
        model = getattr(parts, name, None)
        if isinstance(model, type) and issubclass(model, BaseModel):
            _finish(definition, model, descriptions)
    made.pop("description", None)
    made.pop("title", None)
    head = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "tasker-host task template",
        "description": "What a kind of task consists of: its steps, their order and the rules they run by.",
    }
    whole: dict[str, Any] = _without_titles({**head, **made, "$defs": definitions})
    return whole


def _finish(schema: dict[str, Any], model: type[BaseModel], descriptions: Descriptions) -> None:
    """Other names of keys, what keys mean, and that a key without a value counts as left out."""
    properties: dict[str, Any] = schema.get("properties", {})
    schema["description"] = re.sub(r"\s+", " ", (model.__doc__ or "").strip()) or model.__name__
    excluded = [list(_ALTERNATIVES[model.__name__])] if model.__name__ in _ALTERNATIVES else []
    for name, field in model.model_fields.items():
        key = field.alias or name
        properties[key] = _or_left_out(properties[key], required=field.is_required())
        if (model.__name__, key) in descriptions:
            properties[key] = {"description": descriptions[model.__name__, key], **properties[key]}
        if isinstance(field.validation_alias, AliasChoices):
            for other in (str(choice) for choice in field.validation_alias.choices if choice != key):
                properties[other] = {**properties[key], "description": f"Another name of {key}."}
                excluded.append([key, other])
    if excluded:
        schema["allOf"] = [{"not": {"required": names}} for names in excluded]


def _or_left_out(schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    if required or not schema.keys() - {"title", "default", "description"}:
        return schema
    shared = {key: schema[key] for key in ("default", "description") if schema.get(key) is not None}
    inner = {key: value for key, value in schema.items() if key not in ("default", "description", "title")}
    kinds = inner["anyOf"] if set(inner) == {"anyOf"} else [inner]
    return {**shared, "anyOf": [*(kind for kind in kinds if kind != {"type": "null"}), {"type": "null"}]}


def _without_titles(value: Any, *, names: bool = False) -> Any:
    """Pydantic's titles repeat the keys; `names` where the keys are those of a file, one of which may be `title`."""
    if isinstance(value, dict):
        return {
            key: _without_titles(item, names=key in ("properties", "$defs"))
            for key, item in value.items()
            if names or key != "title" or item == "tasker-host task template"
        }
    return [_without_titles(item) for item in value] if isinstance(value, list) else value
