"""Pydantic models from JSON Schemas, as source text. The same schemas give the same text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasker_host.domain.template import StepDefinition, TaskTemplate
from tasker_host.templates.names import attribute_name, base_name, class_name, literal, one_line, quoted
from tasker_host.templates.shapes import Shape

_SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_FORMATS = {
    "date-time": ("datetime", "AwareDatetime"),
    "date": ("datetime", "date"),
    "uuid": ("uuid", "UUID"),
}
_LIMITS = {
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_length",
    "maxItems": "max_length",
    "pattern": "pattern",
}

_TAKEN = frozenset(
    {"Model", "BaseModel", "ConfigDict", "Field", "SerializerFunctionWrapHandler", "Any", "Literal", "TypeAlias"}
    | {"AwareDatetime", "UUID"}
)
"""Names that a class cannot have: the module, or that of the handlers, has them already."""


_BASE = '''class Model(BaseModel):
    """A value as JSON has it: fields under their own names there, and those that were not given left out."""

    model_config = ConfigDict(extra="allow", populate_by_name=True, regex_engine="python-re")

    @model_serializer(mode="wrap")
    def _as_json(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        names = {field.alias or name: name for name, field in type(self).model_fields.items()}
        names |= {name: name for name in type(self).model_fields}
        aliases = {name: field.alias or name for name, field in type(self).model_fields.items()}
        return {
            aliases.get(names.get(key, key), key): value
            for key, value in serialize(self).items()
            if value is not None or names.get(key, key) in self.model_fields_set
        }'''


class Models:
    """The classes made so far; `name_of` adds one for a schema, `text` is the module."""

    def __init__(self) -> None:
        self._classes: dict[str, str] = {}
        self._by_schema: dict[str, str] = {}
        self._imports: dict[str, set[str]] = {}

    def add(self, name: str, schema: Mapping[str, Any]) -> str:
        """The name of the type of values of `schema`: a class for an object with fields, else another name of its type.

        It is `name` as classes are written, with a number where that is taken.
        """
        kind = self._type(Shape(schema), class_name(name))
        if kind in self._classes:
            return kind
        free = self._free_class(class_name(name))
        self._classes[free] = f"{free}: {self._imported('typing', 'TypeAlias')} = {kind}"
        return free

    def is_class(self, name: str) -> bool:
        return self._classes.get(name, "").startswith("class ")

    def text(self, heading: str) -> str:
        imports = {module: set(names) for module, names in self._imports.items()}
        if self._classes:
            needed = {"BaseModel", "ConfigDict", "SerializerFunctionWrapHandler", "model_serializer"}
            imports.setdefault("pydantic", set()).update(needed)
            imports.setdefault("typing", set()).add("Any")
        pydantic = imports.pop("pydantic", set())
        standard = [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(imports.items())]
        own = [f"from pydantic import {', '.join(sorted(pydantic, key=_import_order))}"] if pydantic else []
        blocks = [f'"""{one_line(heading)}"""', "from __future__ import annotations"]
        blocks += ["\n".join(lines) for lines in (standard, own) if lines]
        classes = [_BASE, *self._classes.values()] if self._classes else []
        return "\n\n".join(blocks) + "".join(f"\n\n\n{source}" for source in classes) + "\n"

    # Types ------------------------------------------------------------------------------------------------------------

    def _type(self, shape: Shape, name: str) -> str:
        branches = shape.branches
        if len(branches) > 1:
            found = [self._type(branch, name) for branch in sorted(branches, key=lambda one: one.types == {"null"})]
            return " | ".join(dict.fromkeys(found)) if self._any() not in found else self._any()
        shape = branches[0]
        if shape.values is not None:
            return self._literal(shape.values)
        types = sorted(shape.types, key=lambda one: (one == "null", one))
        if not types or shape.depth > 40:
            return self._any()
        return " | ".join(dict.fromkeys(self._of_type(kind, shape, name) for kind in types))

    def _of_type(self, kind: str, shape: Shape, name: str) -> str:
        match kind:
            case "object":
                return self._object(shape, name)
            case "array":
                inner = shape.items
                return f"list[{self._any() if inner is None else self._type(inner, f'{name}Item')}]"
            case "string" if shape.schema.get("format") in _FORMATS:
                module, imported = _FORMATS[str(shape.schema["format"])]
                return self._imported("pydantic" if imported == "AwareDatetime" else module, imported)
            case _:
                return _SCALARS.get(kind) or self._any()

    def _object(self, shape: Shape, name: str) -> str:
        if not shape.properties:
            more = shape.schema.get("additionalProperties")
            if not isinstance(more, Mapping) or not more:
                return f"dict[str, {self._any()}]"
            return f"dict[str, {self._type(Shape(more, shape.root, depth=shape.depth + 1), f'{name}Value')}]"
        # A schema that others refer to, itself among them, is one class, called as it is there.
        if shape.reference:
            name = class_name(shape.reference.rpartition("/")[2])
        key = shape.reference or f"{name}:{shape.schema!r}"
        if key in self._by_schema:
            return self._by_schema[key]
        free = self._by_schema[key] = self._free_class(name)
        self._classes[free] = ""
        source = self._class(free, shape)
        # What a class is made of stands before it.
        del self._classes[free]
        self._classes[free] = source
        return free

    def _free_class(self, name: str) -> str:
        free, number = name, 2
        while free in self._classes or free in _TAKEN:
            free, number = f"{name}{number}", number + 1
        return free

    def _class(self, name: str, shape: Shape) -> str:
        lines = [f"class {name}(Model):"]
        about = shape.schema.get("description")
        if isinstance(about, str) and about.strip():
            lines += [f'    """{one_line(about)}"""', ""]
        if shape.is_closed:
            lines += ['    model_config = ConfigDict(extra="forbid")', ""]
        taken: set[str] = set()
        fields = sorted(shape.properties.items(), key=lambda item: item[0] not in shape.required)
        for key, inner in fields:
            attribute = _free(attribute_name(key), taken)
            lines.append(f"    {self._field(name, key, attribute, inner, required=key in shape.required)}")
        return "\n".join(lines)

    def _field(self, owner: str, key: str, attribute: str, shape: Shape, *, required: bool) -> str:
        kind = self._type(shape, f"{owner}{class_name(key)}")
        settings: dict[str, str] = {}
        default: str | None = None
        if not required:
            given = shape.schema.get("default")
            if isinstance(given, str | int | float | bool):
                default = literal(given)
            else:
                default = "None"
                if "None" not in kind.split(" | ") and kind != "Any":
                    kind += " | None"
        if attribute != key:
            settings["alias"] = quoted(key)
        bounded = shape.without_null()
        for word, option in _LIMITS.items():
            value = bounded.schema.get(word)
            if isinstance(value, int | float | str) and not isinstance(value, bool) and _applies(word, bounded):
                settings[option] = quoted(value) if isinstance(value, str) else repr(value)
        if isinstance(about := shape.schema.get("description"), str) and about.strip():
            settings["description"] = quoted(" ".join(about.split()))
        if not settings:
            return f"{attribute}: {kind}" + ("" if default is None else f" = {default}")
        self._imported("pydantic", "Field")
        options = [f"{option}={value}" for option, value in settings.items()]
        if default is not None:
            options.insert(0, f"default={default}")
        line = f"{attribute}: {kind} = Field({', '.join(options)})"
        if len(line) > 114:
            inner = ",\n        ".join(options)
            line = f"{attribute}: {kind} = Field(\n        {inner},\n    )"
        return line

    def _literal(self, values: list[Any]) -> str:
        if all(value is None for value in values):
            return "None"
        if not all(isinstance(value, str | int | bool) or value is None for value in values):
            return self._any()
        self._imported("typing", "Literal")
        return f"Literal[{', '.join(quoted(value) if isinstance(value, str) else repr(value) for value in values)}]"

    def _any(self) -> str:
        return self._imported("typing", "Any")

    def _imported(self, module: str, name: str) -> str:
        self._imports.setdefault(module, set()).add(name)
        return name


def models_of(template: TaskTemplate, models: Models) -> tuple[str | None, dict[str, str]]:
    """Adds the types of a template: that of its input, and that of each step's value, by name of the step."""
    given = None
    if template.input_schema is not None:
        given = models.add(f"{base_name(template.name)}_input", template.input_schema)
    values = {
        step.name: models.add(f"{base_name(step.name)}_result", step.result_schema)
        for step in template.steps
        if step.result_schema is not None and _has_value(step)
    }
    return given, values


def _has_value(step: StepDefinition) -> bool:
    """A decision and an analyzer return what they decided; a result_schema may still describe it."""
    return step.type.value not in ("decision", "batchable")


def _free(name: str, taken: set[str]) -> str:
    found, number = name, 2
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    taken.add(found)
    return found


def _applies(word: str, shape: Shape) -> bool:
    """Whether a limit is for the only type the values have, and pydantic can check it there."""
    types = shape.types
    if word in ("minLength", "maxLength", "pattern"):
        return types == {"string"} and shape.schema.get("format") not in _FORMATS and shape.values is None
    if word in ("minItems", "maxItems"):
        return types == {"array"}
    return types in ({"integer"}, {"number"}) and shape.values is None


def _import_order(name: str) -> tuple[bool, str]:
    return (name.islower(), name)
