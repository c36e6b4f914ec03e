"""Executors of plugins, and whether every handler has the one that it names."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from tasker_host.domain.suggest import did_you_mean
from tasker_host.hooks.bound import BoundHandler
from tasker_host.hooks.records import Executor
from tasker_host.plugins.collect import Collector, shown
from tasker_host.plugins.fault import Fault, Stage
from tasker_host.plugins.roster import Roster

LOOP = "loop"
_OF_THE_HOST = {
    "thread": Executor("thread", print, is_remote=False),
    "process": Executor("process", print, tells_began=True),
}
"""What is known of them also where the host itself is not among the plugins."""


def executors(collector: Collector) -> tuple[Executor, ...]:
    """What `tasker_executors` gives, checked."""
    hook = "tasker_executors"
    found: list[Any] = collector.records(hook, Executor)
    for item in found:
        what = f"executor {item.name!r}"
        collector.check_name(hook, "an executor", item.name)
        if item.name == LOOP:
            collector.refuse(hook, f"{what}: that is the event loop; choose another name")
        if not callable(item.submit):
            collector.refuse(hook, f"{what}: submit must be a function (got {shown(item.submit)})")
        elif not _takes_one(item.submit):
            collector.refuse(hook, f"{what}: submit must take one argument, the call: def submit(call)")
        for option in ("is_remote", "tells_began"):
            value = getattr(item, option)
            if not isinstance(value, bool):
                collector.refuse(hook, f"{what}: {option} must be True or False (got {value!r})")
    return collector.unique(hook, "executors", found, lambda item: item.name)


def _takes_one(function: Any) -> bool:
    try:
        inspect.signature(function).bind(object())
    except TypeError:
        return False
    except ValueError:
        return True  # nothing is known of it
    return True


def with_executors(roster: Roster) -> Roster:
    """The roster where plugins have failed whose handlers name an executor that nobody gives, or cannot use it."""
    while True:
        # One that fails may have given the executor of another.
        active = [(plugin, plugin.contribution) for plugin in roster.plugins if plugin.contribution is not None]
        given = {executor.name: (executor, there.plugin) for _, there in active for executor in there.executors}
        before = roster
        for plugin, contribution in active:
            if faults := [fault for handler in contribution.handlers for fault in _faults(handler, given)]:
                roster = roster.with_plugin(plugin.failed(*faults))
        if roster is before:
            return roster


def _faults(handler: BoundHandler, given: Mapping[str, tuple[Executor, str]]) -> Iterator[Fault]:
    name = handler.runs_in
    if name == LOOP:
        return
    where = f"handler '{handler.name}' ({handler.path}): runs_in is '{name}'"
    if name in given:
        executor: Executor | None = given[name][0]
    else:
        executor = _OF_THE_HOST.get(name)
    if executor is None:
        known = [LOOP, *sorted({*_OF_THE_HOST, *given})]
        hint = did_you_mean(name, known).removeprefix("; ") or f"there are {', '.join(known)}"
        yield Fault(Stage.NAMES, f"{where}, and nobody gives an executor of that name", "tasker_handlers", hint)
    elif executor.is_remote and handler.source is None:
        yield Fault(Stage.COLLECT, f"{where}, but {handler.not_sent}", "tasker_handlers")
