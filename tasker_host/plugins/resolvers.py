"""Resolvers of plugins, checked."""

from __future__ import annotations

import inspect
from typing import Any

from tasker_host.hooks.records import NAMES_PRIORITY, PATHS_PRIORITY, Resolver
from tasker_host.plugins.collect import Collector, shown


def resolvers(collector: Collector) -> tuple[Resolver, ...]:
    """What `tasker_resolvers` gives."""
    hook = "tasker_resolvers"
    found: list[Any] = collector.records(hook, Resolver)
    for item in found:
        what = f"resolver {item.name!r}"
        collector.check_name(hook, "a resolver", item.name)
        if not callable(item.resolve):
            collector.refuse(hook, f"{what}: resolve must be a function (got {shown(item.resolve)})")
        elif inspect.iscoroutinefunction(item.resolve):
            collector.refuse(hook, f"{what}: resolve must not be async; it is asked while the host starts")
        if type(item.priority) is not int or not NAMES_PRIORITY < item.priority < PATHS_PRIORITY:
            between = f"{NAMES_PRIORITY + 1} to {PATHS_PRIORITY - 1}"
            collector.refuse(hook, f"{what}: priority must be a whole number, {between} (got {item.priority!r})")
    return collector.unique(hook, "resolvers", found, lambda item: item.name)
