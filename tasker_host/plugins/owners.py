"""Who gave which name: the host itself, or the first plugin by name."""

from __future__ import annotations

from collections.abc import Iterable

from tasker_host.hooks.records import CLASSES, NAMES
from tasker_host.plugins.fault import Fault, FaultyError, Stage
from tasker_host.plugins.roster import OWN, Contribution

HOST_CHECKS = ("database", "plugins", "relays", "worker")
"""Names of the host's own health checks."""

HOST_COMMANDS = (
    "auth",
    "certify",
    "config",
    "db",
    "demo",
    "dlq",
    "event",
    "generate",
    "handler",
    "limit",
    "namespace",
    "plugin",
    "run",
    "step",
    "task",
    "template",
    "worker",
)
"""Names of the host's own commands, and of some that it may have one day."""

_HOST = "the host itself"


class Owners:
    """Each name of a kind has one owner."""

    def __init__(self) -> None:
        self._owners = {("health check", name): _HOST for name in HOST_CHECKS}
        self._owners |= {("resolver", name): _HOST for name in (NAMES, CLASSES)}
        self._owners |= {("command", name): _HOST for name in HOST_COMMANDS}

    def claim(self, contribution: Contribution) -> None:
        """All its names, or none of them. Raises FaultyError naming the owners."""
        names = list(names_of(contribution))
        faults = [
            _taken(hook, kind, name, owner)
            for hook, kind, name in names
            if (owner := self._owners.get((kind, name))) is not None
        ]
        if faults:
            raise FaultyError(faults)
        owner = _HOST if contribution.plugin == OWN else f"plugin '{contribution.plugin}'"
        self._owners |= {(kind, name): owner for _, kind, name in names}


def _taken(hook: str, kind: str, name: str, owner: str) -> Fault:
    hint = "rename it" if owner == _HOST else "rename it, or disable one of the two plugins"
    return Fault(Stage.NAMES, f"{kind} '{name}' is already given by {owner}", hook, hint)


def names_of(contribution: Contribution) -> Iterable[tuple[str, str, str]]:
    """Hook, kind and name of everything that has a name."""
    yield from (("tasker_handlers", "handler", handler.name) for handler in contribution.handlers)
    yield from (("tasker_resolvers", "resolver", resolver.name) for resolver in contribution.resolvers)
    yield from (("tasker_templates", "template", template.label) for template in contribution.templates)
    yield from (("tasker_middleware", "middleware", middleware.name) for middleware in contribution.middleware)
    yield from (("tasker_executors", "executor", executor.name) for executor in contribution.executors)
    yield from (("tasker_publishers", "publisher", publisher.name) for publisher in contribution.publishers)
    yield from (("tasker_subscribers", "subscriber", subscriber.name) for subscriber in contribution.subscribers)
    yield from (("tasker_relays", "relay", relay.name) for relay in contribution.relays)
    yield from (("tasker_commands", "command", str(command.name)) for command in contribution.commands)
    yield from (("tasker_health", "health check", check.name) for check in contribution.health)
