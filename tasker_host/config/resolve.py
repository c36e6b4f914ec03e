"""From what files and variables say to values of the right type, before they are checked."""

from __future__ import annotations

import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from pydantic import BaseModel, PydanticSchemaGenerationError, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from tasker_host.config.layers import Layer
from tasker_host.config.origins import Origin, label, nearest
from tasker_host.config.settings import PluginSettings, Settings
from tasker_host.config.substitute import SubstitutionError, substitute
from tasker_host.config.variables import Text
from tasker_host.domain.faults import Path
from tasker_host.errors import Problem

UNTYPED: Any = object()
"""In place of a type: nothing tells which."""


@dataclass(slots=True)
class Resolver:
    """Puts variables into the strings of files, and reads text by the type of its field.

    `texts` collects the text of values whose type only a plugin's model can tell, `unresolved` the paths of values
    that stayed as they are because a variable is missing; that is told in `problems`.
    """

    environ: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)
    texts: dict[Path, str] = field(default_factory=dict)
    unresolved: set[Path] = field(default_factory=set)

    def resolve(self, layer: Layer) -> Layer:
        """The layer with every reference replaced, but in the settings of plugins that are disabled."""
        origins = dict(layer.origins)
        return Layer(self._table(layer.values, (), origins), origins)

    def _table(self, table: Mapping[str, Any], path: Path, origins: dict[Path, Origin]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in table.items():
            here = (*path, key)
            if len(path) == 2 and path[0] == "plugins" and key == "settings":
                continue
            values[key] = self._value(value, here, origins)
        if len(path) == 2 and path[0] == "plugins" and "settings" in table:
            settings = table["settings"]
            is_on = values.get("enabled", True) is not False
            values["settings"] = self._value(settings, (*path, "settings"), origins) if is_on else settings
        return values

    def _value(self, value: Any, path: Path, origins: dict[Path, Origin]) -> Any:
        match value:
            case dict():
                return self._table(value, path, origins)
            case list():
                return [self._value(item, (*path, index), origins) for index, item in enumerate(value)]
            case Text():
                return self._typed(str(value), path, guess=True)
            case str():
                return self._substituted(value, path, origins)
            case _:
                return value

    def _substituted(self, value: str, path: Path, origins: dict[Path, Origin]) -> Any:
        origin = nearest(origins, path)
        if "${" not in value or origin is None or not origin.in_file:
            return value
        try:
            text, used = substitute(value, self.environ)
        except SubstitutionError as error:
            self.problems.append(Problem(str(origin), f"{label(path)}: {error}"))
            self.unresolved.add(path)
            return value
        origins[path] = replace(origin, through=used)
        return self._typed(text, path, guess=False)

    def _typed(self, text: str, path: Path, *, guess: bool) -> Any:
        kind = _setting_type(path)
        if kind is not UNTYPED:
            return from_text(text, kind)
        self.texts[path] = text
        return from_text(text, UNTYPED) if guess else text


def _setting_type(path: Path) -> Any:
    if path[0] == "plugins" and len(path) > 1 and path[1] != "autoload":
        return type_at(PluginSettings, path[2:])
    return type_at(Settings, path)


def from_text(text: str, kind: Any) -> Any:
    """What `text` means for a field of type `kind`: itself when the type takes text, else what it is in TOML.

    Text that is neither stays as it is, for the check to refuse.
    """
    if kind is not UNTYPED:
        try:
            return TypeAdapter(kind).validate_python(text)
        except (ValidationError, PydanticSchemaGenerationError):
            pass
    try:
        document = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return document["value"] if document.keys() == {"value"} else text


def type_at(model: type[BaseModel], path: Path) -> Any:
    """Type of the value at `path` in the data of `model`; UNTYPED when it does not tell."""
    kind: Any = model
    for part in path:
        kind = _bare(kind)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found = _field(kind, part)
            if found is None:
                return UNTYPED
            kind = found.annotation
        elif typing.get_origin(kind) in (dict, list, tuple, set, frozenset) and typing.get_args(kind):
            kind = [argument for argument in typing.get_args(kind) if argument is not ...][-1]
        else:
            return UNTYPED
    return UNTYPED if kind is Any else kind


def _field(model: type[BaseModel], key: str | int) -> FieldInfo | None:
    for name, found in model.model_fields.items():
        if key in (name, found.alias, found.validation_alias):
            return found
    return None


def _bare(kind: Any) -> Any:
    """A type without Annotated and without `| None`."""
    origin = typing.get_origin(kind)
    if origin is Annotated:
        return _bare(typing.get_args(kind)[0])
    if origin in (typing.Union, types.UnionType):
        options = [argument for argument in typing.get_args(kind) if argument is not type(None)]
        return _bare(options[0]) if len(options) == 1 else kind
    return kind
