"""`check`: what is wrong with a plugin, as `tasker plugin check` would tell it."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from tasker_host.errors import Problem, TemplateError
from tasker_host.handlers.bound import bind
from tasker_host.plugins import Fault, load_plugins
from tasker_host.plugins.alone import imported, name_of
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
    if isinstance(plugin, str):
        found_module = imported(plugin, name_of(plugin))
        if not isinstance(found_module, ModuleType):
            return [fault for broken in found_module.plugins for fault in broken.faults]
        plugin = found_module
    known = given([plugin], settings=settings, config=config)
    configuration = known.configuration("")
    roster = load_plugins(configuration, bind=bind, extra=known.plugins, entry_points=False)
    found: list[Fault | Problem] = [fault for broken in roster.faulty() for fault in broken.faults]
    try:
        registry = registry_of(roster, configuration)
    except TemplateError as error:
        return [*found, *error.problems]
    return [*found, *(problem for template in registry.templates() for problem in registry.problems_of(template))]
