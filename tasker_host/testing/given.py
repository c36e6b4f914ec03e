"""What a test gives: plugins, handlers, a template, settings; and the configuration that these make."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from tasker_host.config import Config, load
from tasker_host.config.files import shipped_root
from tasker_host.config.substitute import SubstitutionError, substitute
from tasker_host.domain.source import parse_template, template_from_data
from tasker_host.domain.template import TaskTemplate
from tasker_host.errors import ConfigError, Problem, RequestError, TemplateError
from tasker_host.hooks.specs import hookimpl
from tasker_host.plugins.alone import name_of

Plugins = Iterable[ModuleType | str] | Mapping[str, ModuleType | str]
Template = TaskTemplate | Mapping[str, Any] | Path | str
Settings = Mapping[str, Any] | BaseModel

OWN = "test"
"""The name of the plugin that has the handlers and templates of a test."""

TEMPLATE = "test_template"
"""And of that which has the one template of a run."""

_LABEL = re.compile(r"(?:(?P<namespace>[^/\s@]+)/)?(?P<name>[^/\s@]+)(?:@(?P<version>[^/\s@]+))?")
_YAML = (".yaml", ".yml")

_STILL: Mapping[str, Any] = {
    "worker.mode": "polling",
    "worker.poll_interval_seconds": 3600.0,
    "worker.shutdown_grace_seconds": 0.0,
    "worker.max_blocked_seconds": 0,
    "database.auto_migrate": "never",
    "database.pool_size": 4,
    "sweep.interval_seconds": 3600.0,
    "sweep.staleness.enabled": False,
    "telemetry.log_level": "error",
    "web.port": 0,
}
"""In place of what the test environment says: the kit itself says when time has passed."""


@dataclass(frozen=True, slots=True)
class Given:
    """`plugins` are modules of hookimpls by name; `settings` theirs; `config` overrides by dotted key."""

    plugins: Mapping[str, ModuleType]
    settings: Mapping[str, Mapping[str, Any]]
    config: Mapping[str, Any]
    entry_points: bool = False
    root: Path | None = None
    env: str | None = None
    environ: Mapping[str, str] | None = None
    """With these the configuration is that of the machine, from `root`; without, the same everywhere."""

    def with_template(self, template: TaskTemplate) -> Given:
        """And this template."""
        return replace(self, plugins={**self.plugins, TEMPLATE: _module([], [template], None)})

    def configuration(self, dsn: str) -> Config:
        """For a host on the database `dsn`. Raises ConfigError."""
        overrides: dict[str, Any] = {**_STILL, **self.config, "database.url": dsn, "database.listen_url": ""}
        variables = {**(self.environ or {}), "DATABASE_URL": dsn}
        for name, settings in self.settings.items():
            overrides[f"plugins.{name}.settings"] = _substituted(dict(settings), variables)
        is_own = self.environ is not None
        return load(
            self.root if is_own else shipped_root(),
            env=self.env if is_own else "test",
            environ=variables,
            overrides=overrides,
        )


def given(
    plugins: Plugins = (),
    handlers: Iterable[Any] = (),
    templates: Iterable[TaskTemplate] = (),
    settings: Settings | None = None,
    config: Mapping[str, Any] | None = None,
) -> Given:
    """Raises ImportError for a module that is not there, TypeError for what is no plugin and for unclear settings."""
    named = named_plugins(plugins)
    handlers, templates = list(handlers), list(templates)
    model = settings if isinstance(settings, BaseModel) else None
    if handlers or templates:
        named[OWN] = _module(handlers, templates, type(model) if model is not None else None)
    return Given(named, _by_plugin(named, settings), dict(config or {}))


def named_plugins(plugins: Plugins) -> dict[str, ModuleType]:
    """By the name that each has, or would have: its entry point's, else its package's without `tasker_`."""
    if isinstance(plugins, str | ModuleType):
        plugins = [plugins]
    if isinstance(plugins, Mapping):
        return {name: _imported(plugin) for name, plugin in plugins.items()}
    named: dict[str, ModuleType] = {}
    for module in map(_imported, plugins):
        name = name_of(module.__name__)
        # Two modules of one package would have the same name.
        number = sum(taken == name or taken.startswith(f"{name}_") for taken in named) + 1
        named[name if number == 1 else f"{name}_{number}"] = module
    return named


def _imported(plugin: ModuleType | str) -> ModuleType:
    if isinstance(plugin, str):
        return import_module(plugin)
    if isinstance(plugin, ModuleType):
        return plugin
    raise TypeError(
        f"{plugin!r:.80} is not a plugin: give a module of hookimpls, or its name; functions and classes are `handlers`"
    )


def _by_plugin(named: Mapping[str, ModuleType], settings: Settings | None) -> dict[str, Mapping[str, Any]]:
    if settings is None:
        return {}
    if isinstance(settings, BaseModel):
        owner = OWN if OWN in named else next(iter(named), OWN)
        return {owner: settings.model_dump(mode="json", exclude_unset=True)}
    if settings.keys() <= named.keys() and all(isinstance(value, Mapping) for value in settings.values()):
        return dict(settings)
    others = [name for name in named if name != OWN] or list(named)
    if len(others) == 1:
        return {others[0]: settings}
    raise TypeError(
        f"settings are by plugin where there is more than one: {{'{others[0] if others else 'name'}': {{…}}}};"
        f" there are {', '.join(sorted(named)) or 'none'} (got {', '.join(map(repr, settings))})"
    )


def _substituted(value: Any, variables: Mapping[str, str]) -> Any:
    """As in TOML: `${DATABASE_URL}` is the database of the run. Raises ConfigError."""
    if isinstance(value, Mapping):
        return {key: _substituted(item, variables) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_substituted(item, variables) for item in value]
    if not isinstance(value, str):
        return value
    try:
        return substitute(value, variables)[0]
    except SubstitutionError as error:
        raise ConfigError("the settings of the test are not valid", [Problem("settings", str(error))]) from None


def _module(handlers: Sequence[Any], templates: Sequence[TaskTemplate], model: type[BaseModel] | None) -> ModuleType:
    def tasker_settings() -> type[BaseModel] | None:
        return model

    def tasker_handlers() -> list[Any]:
        return list(handlers)

    def tasker_templates() -> list[TaskTemplate]:
        return list(templates)

    module = ModuleType("tasker_test")
    for hook in (tasker_settings, tasker_handlers, tasker_templates):
        setattr(module, hook.__name__, hookimpl(hook))
    return module


# Templates ------------------------------------------------------------------------------------------------------------


def template_of(template: Template) -> TaskTemplate | None:
    """The template that is given as one, as data, as YAML or as the path of a YAML file; None for a template's name.

    Raises TemplateError.
    """
    if isinstance(template, TaskTemplate):
        return template
    if isinstance(template, Mapping):
        return template_from_data(template, source="template")[0]
    if isinstance(template, str) and "\n" in template:
        return parse_template(template, source="template")[0]
    if isinstance(template, Path) or template.endswith(_YAML):
        path = Path(template)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise TemplateError("the template cannot be read", [Problem(str(path), reason)]) from None
        return parse_template(text, source=str(path))[0]
    if isinstance(template, str):
        return None
    raise TypeError(f"{template!r:.80} is not a template: give a TaskTemplate, its YAML, a path or namespace/name")


def request_for(template: Template, available: Sequence[TaskTemplate]) -> dict[str, Any]:
    """The namespace, name and version by which a task of the template is asked for.

    A name without a namespace means the one template of that name. Raises RequestError.
    """
    found = template_of(template)
    if found is not None:
        return {"namespace": found.namespace_name, "name": found.name, "version": found.version}
    assert isinstance(template, str)
    match = _LABEL.fullmatch(template)
    if match is None:
        raise RequestError("the template is not one", [Problem("template", f"{template!r}: write namespace/name")])
    namespace, name, version = match["namespace"], match["name"], match["version"]
    if namespace is None:
        owners = sorted({each.namespace_name for each in available if each.name == name})
        if len(owners) > 1:
            told = ", ".join(f"{owner}/{name}" for owner in owners)
            raise RequestError("the template is not clear", [Problem("template", f"{name!r} may be {told}")])
        namespace = owners[0] if owners else "default"
    return {"namespace": namespace, "name": name, **({"version": version} if version else {})}
