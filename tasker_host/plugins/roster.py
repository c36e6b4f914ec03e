"""Every plugin that was found or asked for, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import click
from pydantic import BaseModel

from tasker_host.domain.template import TaskTemplate
from tasker_host.errors import PluginError, Problem
from tasker_host.hooks.bound import BoundHandler
from tasker_host.hooks.publisher import BoundPublisher
from tasker_host.hooks.records import Classifier, Executor, HealthCheck, Middleware, Resolver, Subscriber
from tasker_host.hooks.relay import Relay
from tasker_host.plugins.fault import Fault, Stage

OWN = "host"
"""The name under which the host itself gives what it has."""

Lifespan = Callable[[Any], AbstractAsyncContextManager[Any] | None]
"""Calls the plugin's `tasker_lifespan` with the host."""


class Status(StrEnum):
    ACTIVE = "active"
    DISABLED = "disabled"
    MISSING = "missing"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Contribution:
    """All that one plugin gives, checked.

    `templates` are as they are in the host's environment; `warnings` is what is doubtful in them, with file and line.
    `routes` are Litestar's, checked together.
    """

    plugin: str
    settings: BaseModel | None = None
    handlers: tuple[BoundHandler, ...] = ()
    resolvers: tuple[Resolver, ...] = ()
    templates: tuple[TaskTemplate, ...] = ()
    middleware: tuple[Middleware, ...] = ()
    classifiers: tuple[Classifier, ...] = ()
    executors: tuple[Executor, ...] = ()
    publishers: tuple[BoundPublisher, ...] = ()
    subscribers: tuple[Subscriber, ...] = ()
    relays: tuple[Relay, ...] = ()
    commands: tuple[click.Command, ...] = ()
    health: tuple[HealthCheck, ...] = ()
    routes: tuple[Any, ...] = ()
    lifespan: Lifespan | None = None
    warnings: tuple[Problem, ...] = ()

    def gives(self) -> dict[str, int]:
        """How many of what, leaving out what there is none of: `{"handlers": 2, "templates": 1}`."""
        counts = {
            "handlers": len(self.handlers),
            "resolvers": len(self.resolvers),
            "templates": len(self.templates),
            "middleware": len(self.middleware),
            "classifiers": len(self.classifiers),
            "executors": len(self.executors),
            "publishers": len(self.publishers),
            "subscribers": len(self.subscribers),
            "relays": len(self.relays),
            "commands": len(self.commands),
            "health checks": len(self.health),
            "routes": len(self.routes),
        }
        return {kind: count for kind, count in counts.items() if count}


@dataclass(frozen=True, slots=True)
class Plugin:
    """`dist` and `version` are of the distribution it comes from; `note` says why it is disabled.

    `contribution` is there exactly when the plugin is active.
    """

    name: str
    status: Status
    dist: str = ""
    version: str = ""
    module: str = ""
    required: bool = False
    faults: tuple[Fault, ...] = ()
    contribution: Contribution | None = field(default=None, repr=False)
    note: str = ""

    @property
    def is_own(self) -> bool:
        """Whether this is the host itself, which is no plugin that somebody installed."""
        return self.name == OWN

    def failed(self, *faults: Fault) -> Plugin:
        """The same plugin without anything it gave. Faults that do not say what to do are told it."""
        told = tuple(fault if fault.hint else replace(fault, hint=self._hint(fault)) for fault in faults)
        return replace(self, status=Status.FAILED, faults=(*self.faults, *told), contribution=None)

    def _hint(self, fault: Fault) -> str:
        module = self.module.partition(":")[0]
        match fault.stage:
            case Stage.IMPORT:
                return f'python -c "import {module}" shows where'
            case Stage.SETTINGS if not fault.hook:
                return "correct it in the configuration"
            case _:
                return f"correct it in {module}, or disable it: [plugins.{self.name}] enabled = false"


@dataclass(frozen=True, slots=True)
class Roster:
    """`plugins` by name."""

    plugins: tuple[Plugin, ...] = ()

    def active(self) -> list[Contribution]:
        """What the plugins that work give, in order of their names."""
        return [plugin.contribution for plugin in self.plugins if plugin.contribution is not None]

    def others(self) -> list[Plugin]:
        """All but the host itself."""
        return [plugin for plugin in self.plugins if not plugin.is_own]

    def plugin(self, name: str) -> Plugin | None:
        return next((plugin for plugin in self.plugins if plugin.name == name), None)

    def faulty(self) -> list[Plugin]:
        """The plugins that are missing, refused or failed."""
        return [plugin for plugin in self.plugins if plugin.faults]

    def with_plugin(self, changed: Plugin) -> Roster:
        """The roster with `changed` in place of the plugin of that name."""
        return Roster(tuple(changed if plugin.name == changed.name else plugin for plugin in self.plugins))

    def check_required(self) -> None:
        """Raises PluginError with every fault of every required plugin, if there are any."""
        problems = [
            Problem(f"plugin '{plugin.name}'", f"{plugin.status} at {fault}")
            for plugin in self.plugins
            if plugin.required
            for fault in plugin.faults
        ]
        if problems:
            names = ", ".join(f"'{plugin.name}'" for plugin in self.faulty() if plugin.required)
            raise PluginError(f"the host cannot start without what it requires: {names}", problems)
