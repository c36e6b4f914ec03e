"""What a worker that takes another one's place has anew: handlers. All that never changes is kept, for speed."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import ModuleType

from pydantic import BaseModel

from tasker_host.config import Config
from tasker_host.db.database import Database
from tasker_host.errors import PluginError, Problem
from tasker_host.handlers.bound import bind
from tasker_host.hooks.bound import BindError, BoundHandler
from tasker_host.orchestration.catalog import Catalog
from tasker_host.plugins import Roster, load_plugins
from tasker_host.registry.build import registry_of
from tasker_host.registry.compose import Registry


def check_roster(roster: Roster, names: Iterable[str]) -> None:
    """In a test a plugin that was given and gives nothing is an error. Raises PluginError."""
    faulty = [plugin for plugin in roster.faulty() if plugin.name in set(names)]
    problems = [Problem(f"plugin '{plugin.name}'", str(fault)) for plugin in faulty for fault in plugin.faults]
    if problems:
        raise PluginError("plugins cannot be used", problems)


class Renewal:
    """Of the plugins of `roster`, each time as another process would have them; `given` go before what is installed."""

    def __init__(self, roster: Roster, config: Config, given: Mapping[str, ModuleType]) -> None:
        others = roster.others()
        modules = {plugin.name: sys.modules[plugin.module] for plugin in others if plugin.module in sys.modules}
        active = {plugin.name for plugin in others if plugin.contribution is not None}
        self._modules = {
            name: _without_templates(module) for name, module in {**modules, **given}.items() if name in active
        }
        self._config = config
        self._functions: dict[int, tuple[object, list[BoundHandler]]] = {}

    def registry(self, before: Registry) -> Registry:
        """Handlers made anew, without templates: tasks have theirs. Executors stay, as threads and processes do."""
        roster = load_plugins(self._config, bind=self._bind, extra=self._modules, entry_points=False)
        check_roster(roster, self._modules)
        made = registry_of(roster, self._config)
        made.executors.update(before.executors)
        return made

    def _bind(self, given: object, *, plugin: str, settings: BaseModel | None) -> list[BoundHandler]:
        # A function of a module is the same in every life of this process; binding it takes longest of all.
        found = self._functions.get(id(given))
        if found is not None:
            return found[1]
        bound = bind(given, plugin=plugin, settings=settings)
        if inspect.isfunction(given) and all(handler.close is None for handler in bound):
            self._functions[id(given)] = given, bound
        return bound


def renewed(catalog: Catalog, database: Database, registry: Registry) -> Catalog:
    """The catalog of another worker: what is known of templates, with the handlers of `registry`."""
    made = Catalog(database, registry)
    made._entries.update(catalog._entries)
    for template_id, plans in catalog._plans.items():
        made._plans[template_id] = {}
        for name, plan in plans.items():
            try:
                handler = registry.handlers.find(plan.definition.handler)
            except BindError:
                continue
            made._plans[template_id][name] = replace(plan, handler=handler, call=handler.call)
    return made


def _without_templates(module: ModuleType) -> ModuleType:
    made = ModuleType(module.__name__)
    made.__dict__.update({name: value for name, value in vars(module).items() if name != "tasker_templates"})
    return made
