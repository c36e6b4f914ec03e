"""The configuration that was read: settings, and where each came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tasker_host.config.check import Model, checked
from tasker_host.config.origins import Origin, dotted, nearest
from tasker_host.config.resolve import UNTYPED, from_text, type_at
from tasker_host.config.secrets import is_secret, shown
from tasker_host.config.settings import Settings
from tasker_host.domain.faults import Path as KeyPath
from tasker_host.domain.faults import keys_of
from tasker_host.domain.suggest import did_you_mean
from tasker_host.errors import ConfigError, Problem


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting as it may be shown: a secret's value is •••, and so is a password inside a URL."""

    path: KeyPath
    value: Any
    origin: Origin
    secret: bool

    @property
    def key(self) -> str:
        """`worker.retry.base_ms`"""
        return dotted(self.path)

    @property
    def table(self) -> str:
        """`worker.retry`"""
        return dotted(self.path[:-1])

    @property
    def name(self) -> str:
        """`base_ms`"""
        return dotted(self.path[-1:])


@dataclass(frozen=True, slots=True)
class Config:
    """Checked settings for one environment.

    `origins` has each key and table by its dotted path (`worker.retry.base_ms`). `root` is the user's directory or
    file, None without one; `files` are the files read, lowest layer first.
    """

    settings: Settings
    environment: str
    root: Path | None
    files: tuple[Path, ...]
    origins: Mapping[str, Origin]
    _values: Mapping[str, Any] = field(repr=False)
    _places: Mapping[KeyPath, Origin] = field(repr=False)
    _texts: Mapping[KeyPath, str] = field(repr=False)

    def origin(self, *path: str | int) -> Origin | None:
        """Where the value at `path` was set, else the table or array around it; None when no file names it."""
        return nearest(self._places, path)

    def describe(self, models: Mapping[str, type[BaseModel]] | None = None) -> list[Entry]:
        """Every setting in the order of the sections. `models`, by plugin, tell which of their settings are secret."""
        models = models or {}
        entries = []
        for section in Settings.model_fields:
            for path, value in _leaves(self._values[section], (section,)):
                secret = is_secret(path, models)
                origin = nearest(self._places, path)
                assert origin is not None, path
                entries.append(Entry(path, shown(value, path, models), origin, secret))
        return entries

    def plugin_settings(self, name: str, model: type[Model]) -> Model:
        """`[plugins.<name>.settings]` as the plugin's own model, defaults where nothing is set.

        Raises ConfigError, each problem with file and line. Unknown keys are refused unless the model says what to do
        with them. Text from variables is read by the type of its field.
        """
        at: KeyPath = ("plugins", name, "settings")
        section = self.settings.plugins.named.get(name)
        values = _with_texts(section.settings if section else {}, at, model, self._texts, len(at))
        problems: list[Problem] = []
        if model.model_config.get("extra") is None:
            problems = [self._unknown((*at, key), model) for key in values if key not in _accepted(model)]
        settings = checked(model, values, self._places, problems, at=at)
        if settings is None or problems:
            raise ConfigError(f"settings of plugin '{name}' are not valid", problems)
        return settings

    def _unknown(self, path: KeyPath, model: type[BaseModel]) -> Problem:
        known = keys_of(model)
        hint = did_you_mean(str(path[-1]), known) or "; known here: " + (", ".join(known) or "nothing")
        return Problem(str(self.origin(*path) or ""), f"[{dotted(path[:-1])}] {path[-1]}: unknown key{hint}")


def _accepted(model: type[BaseModel]) -> set[str]:
    keys: set[str] = set()
    for name, found in model.model_fields.items():
        keys.add(name)
        for alias in (found.alias, *getattr(found.validation_alias, "choices", (found.validation_alias,))):
            # A path into nested data is known by its first key.
            keys.add(str(getattr(alias, "path", (alias,))[0]))
    return keys


def _with_texts(value: Any, path: KeyPath, model: type[BaseModel], texts: Mapping[KeyPath, str], start: int) -> Any:
    """The value with what came as text read again, now that its type is known."""
    if (text := texts.get(path)) is not None:
        kind = type_at(model, path[start:])
        return value if kind is UNTYPED else from_text(text, kind)
    match value:
        case dict():
            return {key: _with_texts(item, (*path, key), model, texts, start) for key, item in value.items()}
        case list():
            return [_with_texts(item, (*path, index), model, texts, start) for index, item in enumerate(value)]
        case _:
            return value


def _leaves(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    else:
        yield path, value
