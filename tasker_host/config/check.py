"""Checking values against a model; everything wrong is told with its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tasker_host.config.origins import Origin, label, nearest
from tasker_host.config.secrets import MASK, is_secret, without_passwords
from tasker_host.config.settings import PluginsSettings
from tasker_host.domain.faults import Fault, Path, faults
from tasker_host.domain.suggest import did_you_mean
from tasker_host.errors import Problem

Model = TypeVar("Model", bound=BaseModel)

_FOUND = re.compile(r" \(got .*\)", re.DOTALL)


def checked(
    model: type[Model],
    values: Mapping[str, Any],
    origins: Mapping[Path, Origin],
    problems: list[Problem],
    *,
    at: Path = (),
    known_wrong: set[Path] | None = None,
) -> Model | None:
    """`values`, found at the path `at`, as a `model`; None when they are not, and why is added to `problems`.

    Nothing more is told of the paths in `known_wrong`.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = [_in_file(fault, at, values) for fault in faults(error, model, mapping="a table")]
    models = {str(at[1]): model} if at[:1] == ("plugins",) else {}
    located: list[tuple[str, int, Problem]] = []
    for fault in found:
        if fault.path in (known_wrong or ()):
            continue
        value = _value_at(values, fault.path[len(at) :])
        message = fault.message
        if is_secret(fault.path, models):
            message = _FOUND.sub(f" (got {MASK})", message)
        elif isinstance(value, str) and (hidden := without_passwords(value)) != value:
            # The message may have only the beginning of a long URL, in which its password is not to be recognised.
            message = f"{_FOUND.sub('', message)} (got {hidden!r})"
        origin = nearest(origins, fault.path)
        source, line = ("", 0) if origin is None else (origin.source, origin.line or 0)
        located.append((source, line, Problem(str(origin or ""), f"{label(fault.path)}: {message}")))
    # As somebody goes through the files, not in the order of our fields.
    located.sort(key=lambda item: item[:2])
    problems += [problem for *_, problem in located]
    return None


def _written(path: Path, values: Any, kind: str) -> Path:
    """The parts of `path` that are in the file: in a union, pydantic also names the member that did not fit."""
    written: Path = ()
    for index, part in enumerate(path):
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            if kind != "missing" or index < len(path) - 1:
                continue
        written = (*written, part)
    return written


def _value_at(values: Any, path: Path) -> Any:
    for part in path:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            return None
    return values


def _in_file(fault: Fault, at: Path, values: Mapping[str, Any]) -> Fault:
    """The fault as the author of the file sees it."""
    path, message = (*at, *fault.path), fault.message
    if path[:2] == ("plugins", "named"):
        path = ("plugins", *path[2:])
        if len(path) == 2 and fault.kind.startswith("model"):
            # Not a table, so no plugin's section: somebody meant one of our own keys.
            known = [key for key in PluginsSettings.model_fields if key != "named"]
            name = str(path[1])
            message = f"unknown key{did_you_mean(name, known) or f'; a plugin has a section [plugins.{name}]'}"
    path = (*at, *_written(path[len(at) :], values, fault.kind))
    if fault.kind == "value_error":
        message = message.removesuffix(" (got a table)")  # two keys disagree; the message has their values
    if len(path) == 1:
        message = message.replace("unknown key", "unknown section", 1)
    return Fault(path, message, fault.kind)
