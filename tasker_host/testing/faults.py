"""`check`: what is wrong with a plugin, as `tasker plugin check` would tell it."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from tasker_host.errors import Problem, TemplateError
from tasker_host.handlers.bound import bind
from tasker_host.plugins import Fault, load_plugins
from tasker_host.registry.build import registry_of
from tasker_host.testing.given import given


def check(
    plugin: ModuleType | str,
    *,
    settings: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
) -> list[Fault | Problem]:
    """Everything that is wrong with the plugin of this module, as if it were installed; empty when nothing is.

    Faults of its hooks, then templates whose steps name what nobody gives. A module that cannot be imported is a fault
    too. `settings` are the plugin's, `config` overrides by dotted key. Nothing is started.
    """
    try:
        known = given([plugin], settings=settings, config=config)
    except ImportError as error:
        return [Problem(str(plugin), f"cannot be imported: {type(error).__name__}: {error}")]
    configuration = known.configuration("")
    roster = load_plugins(configuration, bind=bind, extra=known.plugins, entry_points=False)
    found: list[Fault | Problem] = [fault for broken in roster.faulty() for fault in broken.faults]
    try:
        registry = registry_of(roster, configuration)
    except TemplateError as error:
        return [*found, *error.problems]
    for template in registry.templates():
        found += registry.problems(template.namespace_name, template.name, template.version)
    return found
