"""Whether what a plugin implements are hooks of this host."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from inspect import Parameter
from typing import Any

import pluggy

from tasker_host.domain.suggest import did_you_mean
from tasker_host.hooks import specs
from tasker_host.plugins.fault import Fault, Stage

_LIFESPAN = specs.tasker_lifespan.__name__


def hook_manager() -> pluggy.PluginManager:
    """A manager that knows the hooks and no plugin."""
    manager = pluggy.PluginManager(specs.PROJECT)
    manager.add_hookspecs(specs)
    return manager


def hook_faults(plugin: object, manager: pluggy.PluginManager) -> list[Fault]:
    """Everything wrong with the hooks of a plugin that can be seen without calling them."""
    hooks = _hooks(manager)
    faults: list[Fault] = []
    implemented = 0
    for attribute in dir(plugin):
        options = manager.parse_hookimpl_opts(plugin, attribute)
        if options is None:
            if attribute in hooks and inspect.isroutine(inspect.getattr_static(plugin, attribute, None)):
                implemented += 1
                faults.append(_fault(attribute, "is not marked", "put @hookimpl (from tasker_host) on it"))
            continue
        implemented += 1
        name = options.get("specname") or attribute
        if name not in hooks:
            hint = did_you_mean(name, hooks).removeprefix("; ") or f"hooks are {', '.join(hooks)}"
            faults.append(_fault(name, "there is no such hook", hint))
        elif options.get("wrapper") or options.get("hookwrapper"):
            faults.append(_fault(name, "is a wrapper, and a plugin's hooks are called alone", "return the records"))
        else:
            faults += _function_faults(name, getattr(plugin, attribute), hooks[name])
    if not implemented:
        hint = f"mark functions of these names with @hookimpl from tasker_host: {', '.join(hooks)}"
        faults.append(Fault(Stage.HOOKS, "it implements no hook", hint=hint))
    return faults


def _hooks(manager: pluggy.PluginManager) -> dict[str, tuple[str, ...]]:
    """The arguments of each hook."""
    found = {}
    for name, caller in vars(manager.hook).items():
        if isinstance(caller, pluggy.HookCaller) and caller.spec is not None:
            found[name] = tuple(caller.spec.argnames)
    return found


def _function_faults(name: str, function: Callable[..., Any], arguments: tuple[str, ...]) -> Iterator[Fault]:
    if inspect.iscoroutinefunction(function):
        yield _fault(name, "is async", "hooks are plain functions: open what needs await in tasker_lifespan")
    if inspect.isasyncgenfunction(function):
        manager = "put @asynccontextmanager between @hookimpl and the function"
        yield _fault(name, "is an async generator", manager if name == _LIFESPAN else "hooks are plain functions")
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
            continue
        if parameter.name not in arguments:
            known = f"it has {', '.join(arguments)}" if arguments else "it has none"
            hint = did_you_mean(parameter.name, arguments).removeprefix("; ") or known
            yield _fault(name, f"there is no argument '{parameter.name}'", hint)
        elif parameter.default is not Parameter.empty or parameter.kind is Parameter.KEYWORD_ONLY:
            # Arguments with a default are not passed by pluggy: the plugin would always see its own default.
            yield _fault(
                name, f"argument '{parameter.name}' would not be passed", "take it by position, without default"
            )


def _fault(hook: str, error: str, hint: str) -> Fault:
    return Fault(Stage.HOOKS, error, hook, hint)
