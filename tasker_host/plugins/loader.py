"""From candidates to a roster: import, register, settings, collect, each plugin alone and in order of names."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from tasker_host.config import Config
from tasker_host.errors import ConfigError
from tasker_host.hooks.bound import Bind
from tasker_host.plugins.candidate import HOST, Candidate, given, host_version, installed
from tasker_host.plugins.collect import Collector
from tasker_host.plugins.executors import executors, with_executors
from tasker_host.plugins.fault import Fault, FaultyError, Stage, plugin_code, refuse
from tasker_host.plugins.health import health_checks
from tasker_host.plugins.hookcheck import hook_faults, hook_manager
from tasker_host.plugins.owners import Owners
from tasker_host.plugins.policy import Decision, decide
from tasker_host.plugins.resolvers import resolvers
from tasker_host.plugins.roster import OWN, Contribution, Lifespan, Plugin, Roster, Status


def load_plugins(
    config: Config,
    *,
    bind: Bind,
    own: object | None = None,
    extra: Mapping[str, ModuleType] | None = None,
    entry_points: bool = True,
) -> Roster:
    """Every plugin that is installed (unless `entry_points` is false) or given in `extra`, by its name.

    `own` is the host's own, an object with hookimpls; it comes first, as the plugin `host`.

    A plugin gives all it has or nothing; what is wrong with it is in the roster and stops nobody else. Whether a
    required one is among those is for `Roster.check_required`. `bind` is `tasker_host.handlers.bound.bind`.
    """
    candidates = [*given(extra or {}), *(installed() if entry_points else ())]
    loader = _Loader(config, bind)
    decisions = decide(candidates, config, version=host_version())
    if own is not None:
        decisions.insert(0, _of_the_host(own))
    roster = Roster(
        tuple(
            decision.plugin if decision.candidate is None else loader.load(decision.plugin, decision.candidate)
            for decision in decisions
        )
    )
    return with_executors(roster)


def _of_the_host(own: object) -> Decision:
    version, module = host_version(), type(own).__module__
    return Decision(
        Plugin(OWN, Status.ACTIVE, HOST, version, module), Candidate(OWN, module, HOST, version, load=lambda: own)
    )


class _NoSettings(BaseModel):
    """Of a plugin without `tasker_settings`: whatever is configured is one key too many."""


class _Loader:
    def __init__(self, config: Config, bind: Bind) -> None:
        self._config = config
        self._bind = bind
        self._manager = hook_manager()
        self._owners = Owners()

    def load(self, plugin: Plugin, candidate: Candidate) -> Plugin:
        try:
            module = self._imported(candidate)
            if faults := self._hook_faults(module):
                return plugin.failed(*faults)
            self._manager.register(module, plugin.name)
        except FaultyError as error:
            return plugin.failed(*error.faults)
        try:
            contribution = self._contribution(plugin, module)
        except FaultyError as error:
            self._manager.unregister(module)
            return plugin.failed(*error.faults)
        return Plugin(
            plugin.name,
            plugin.status,
            plugin.dist,
            plugin.version,
            plugin.module,
            plugin.required,
            contribution=contribution,
        )

    # Stages -----------------------------------------------------------------------------------------------------------

    def _imported(self, candidate: Candidate) -> object:
        try:
            with plugin_code(Stage.IMPORT):
                module = candidate.load()
        except FaultyError as error:
            raise FaultyError(_with_import_hint(error, candidate)) from error
        if module in self._manager.get_plugins():
            other = self._manager.get_name(module)
            refuse(Stage.IMPORT, f"{candidate.module} is already plugin '{other}'", hint="keep one of the entry points")
        return module

    def _hook_faults(self, module: object) -> list[Fault]:
        with plugin_code(Stage.HOOKS):
            return hook_faults(module, self._manager)

    def _contribution(self, plugin: Plugin, module: object) -> Contribution:
        settings = self._settings(plugin, module)
        collector = Collector(lambda hook: self._call(hook, module, settings))
        handlers = collector.handlers(self._bind, plugin.name, settings)
        found = resolvers(collector)
        templates, warnings = collector.templates(self._config.environment)
        contribution = Contribution(
            plugin.name,
            settings,
            handlers=handlers,
            resolvers=found,
            templates=templates,
            middleware=collector.middleware(),
            classifiers=collector.classifiers(),
            executors=executors(collector),
            publishers=collector.publishers(plugin.name),
            subscribers=collector.subscribers(),
            relays=collector.relays(),
            commands=collector.commands(),
            health=health_checks(collector),
            routes=collector.routes(plugin.name),
            lifespan=self._lifespan(module, settings),
            warnings=warnings,
        )
        if collector.faults:
            raise FaultyError(collector.faults)
        self._owners.claim(contribution)
        return contribution

    def _settings(self, plugin: Plugin, module: object) -> BaseModel | None:
        hook = "tasker_settings"
        with plugin_code(Stage.SETTINGS, hook):
            models = self._call(hook, module, None)
        if len(models) > 1:
            refuse(Stage.SETTINGS, "is implemented twice", hook=hook, hint="keep one of the implementations")
        model = models[0] if models else _NoSettings
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            refuse(Stage.SETTINGS, f"returned {model!r:.80}", hook=hook, hint="return a pydantic model class, or None")
        with plugin_code(Stage.SETTINGS):
            try:
                settings = self._config.plugin_settings(plugin.name, model)
            except ConfigError as error:
                raise FaultyError(_setting_faults(error)) from None
        return settings if models else None

    def _lifespan(self, module: object, settings: BaseModel | None) -> Lifespan | None:
        hook = "tasker_lifespan"
        if not any(caller.name == hook for caller in self._manager.get_hookcallers(module) or ()):
            return None

        def enter(host: Any) -> AbstractAsyncContextManager[Any] | None:
            with plugin_code(Stage.LIFESPAN, hook):
                managers = self._call(hook, module, settings, host=host)
            if len(managers) > 1:
                refuse(Stage.LIFESPAN, "is implemented twice", hook=hook, hint="keep one of the implementations")
            return _context_manager(managers[0], hook) if managers else None

        return enter

    def _call(self, hook: str, module: object, settings: BaseModel | None, **more: Any) -> list[Any]:
        """What this one plugin's implementations of the hook return, without None."""
        others = [plugin for plugin in self._manager.get_plugins() if plugin is not module]
        caller = self._manager.subset_hook_caller(hook, remove_plugins=others)
        assert caller.spec is not None
        arguments = {"settings": settings, **more}
        returned: list[Any] = caller(**{name: arguments[name] for name in caller.spec.argnames})
        return returned


# Faults ---------------------------------------------------------------------------------------------------------------


def _with_import_hint(error: FaultyError, candidate: Candidate) -> Iterator[Fault]:
    cause = error.__cause__
    for fault in error.faults:
        hint = fault.hint
        if isinstance(cause, ModuleNotFoundError) and cause.name:
            own = candidate.module.partition(".")[0] == cause.name.partition(".")[0]
            hint = f"reinstall {candidate.dist}" if own else f"install what gives the module '{cause.name}'"
        yield Fault(fault.stage, fault.error, fault.hook, hint)


def _setting_faults(error: ConfigError) -> Iterator[Fault]:
    for problem in error.problems:
        where = f", from {problem.where}" if problem.where else ""
        yield Fault(Stage.SETTINGS, f"{problem.message}{where}")


def _context_manager(found: Any, hook: str) -> AbstractAsyncContextManager[Any]:
    kind = type(found)
    if not (hasattr(kind, "__aenter__") and hasattr(kind, "__aexit__")):
        if inspect.iscoroutine(found):
            found.close()
        hint = "return an async context manager: put @asynccontextmanager between @hookimpl and the function"
        refuse(Stage.LIFESPAN, f"returned {found!r:.80}", hook=hook, hint=hint)
    manager: AbstractAsyncContextManager[Any] = found
    return manager
