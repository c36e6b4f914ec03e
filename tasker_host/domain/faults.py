"""What pydantic found wrong, told to whoever wrote the data: each fault with its path, what was found, a way out."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.fields import FieldInfo

from tasker_host.domain.suggest import did_you_mean

Path = tuple[str | int, ...]

_KINDS = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be {mapping}",
    "mapping_type": "must be {mapping}",
    "model_type": "must be {mapping}",
    "model_attributes_type": "must be {mapping}",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong, at the keys and indexes of `path`."""

    path: Path
    message: str
    kind: str = ""
    """Pydantic's type of the error."""
    code: str = ""
    """What templates call it; see `templates.findings`."""


def path_text(path: Path) -> str:
    """`steps[1].retry.max_attempts`"""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def faults(
    error: ValidationError,
    model: type[BaseModel],
    hints: Mapping[str, str] | None = None,
    *,
    mapping: str = "a mapping",
) -> list[Fault]:
    """All faults in `error`, raised by `model`.

    `hints` says of unknown keys what to write instead; `mapping` is what the author calls a mapping.
    """
    found = []
    for item in error.errors(include_url=False, include_context=True):
        path = tuple(part for part in item["loc"] if part != "[key]")
        if item["type"] == "extra_forbidden":
            message = _unknown_key(str(path[-1]), _model_at(model, path[:-1]), hints or {})
        else:
            message = _message(item, mapping)
        found.append(Fault(path, message, item["type"]))
    return found


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys that data for `model` may have, aliases left out."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _message(item: Mapping[str, Any], mapping: str) -> str:
    kind, found = item["type"], item["input"]
    if kind == "missing":
        return "is required"
    if kind == "enum":
        names = str(item["ctx"]["expected"])
        known = [name.strip("' ") for name in names.replace(" or ", ", ").split(",")]
        return f"must be {names} (got {_shown(found, mapping)}){did_you_mean(str(found), known)}"
    context = item.get("ctx", {})
    if kind == "value_error":
        text = str(context["error"])
    elif kind in _KINDS:
        text = _KINDS[kind].format(mapping=mapping)
    else:
        text = re.sub(r"^\w+ should", "must", item["msg"])
    if kind == "string_type" and isinstance(found, int | float):
        text += "; quote it"
    return f"{text} (got {_shown(found, mapping)})"


def _unknown_key(key: str, model: type[BaseModel] | None, hints: Mapping[str, str]) -> str:
    if key in hints:
        return f"unknown key; {hints[key]}"
    known = keys_of(model) if model is not None else []
    for name, field in model.model_fields.items() if model is not None else ():
        if isinstance(field.validation_alias, AliasChoices) and key in field.validation_alias.choices:
            return f"means the same as '{name}', which is given too; keep one of them"
    return f"unknown key{did_you_mean(key, known) or '; known here: ' + ', '.join(known)}"


def _model_at(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model of the mapping at `path` within the data of `model`."""
    kind: Any = model
    for part in path:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = _field(kind, str(part))
            kind = None if field is None else field.annotation
        else:
            # An element of a list or a value of a mapping: the type's last argument that is not an ellipsis.
            arguments = [argument for argument in typing.get_args(kind) if argument is not ...]
            kind = arguments[-1] if arguments else None
        kind = _bare(kind)
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _field(model: type[BaseModel], key: str) -> FieldInfo | None:
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        aliases = alias.choices if isinstance(alias, AliasChoices) else [alias]
        if key == name or key in aliases:
            return field
    return None


def _bare(kind: Any) -> Any:
    """A type without Annotated and without `| None`."""
    while True:
        origin = typing.get_origin(kind)
        if origin is Annotated:
            kind = typing.get_args(kind)[0]
        elif origin in (typing.Union, types.UnionType):
            kind = next(argument for argument in typing.get_args(kind) if argument is not type(None))
        else:
            return kind


def _shown(value: Any, mapping: str) -> str:
    """A short picture of what was found."""
    match value:
        case None:
            text = "nothing"
        case bool():
            text = "true" if value else "false"
        case Mapping():
            text = mapping
        case list() | tuple():
            text = "a list"
        case _:
            text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
