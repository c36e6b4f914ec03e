"""From `handler` of a template to who runs its steps, before anything is served.

Names that plugins registered come first (priority 10), then the resolvers of plugins in the order of their priorities,
at last (100) paths of classes and functions: those of registered classes, and, from packages that the configuration
allows, imported ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from operator import attrgetter
from typing import Any

from pydantic import BaseModel

from tasker_host.domain.json import canonical_json
from tasker_host.domain.suggest import did_you_mean
from tasker_host.domain.template import HandlerDefinition
from tasker_host.handlers.bound import bind
from tasker_host.handlers.declare import declaration
from tasker_host.handlers.dotted import is_path, read
from tasker_host.handlers.step import StepHandler
from tasker_host.hooks.bound import BindError, BoundHandler
from tasker_host.hooks.records import CLASSES, NAMES, NAMES_PRIORITY, PATHS_PRIORITY, Handler, Resolver

Found = BoundHandler | None


@dataclass(frozen=True, slots=True)
class PluginResolver:
    """A resolver with whose it is."""

    resolver: Resolver
    plugin: str
    settings: BaseModel | None = None


@dataclass(frozen=True, slots=True)
class _Link:
    name: str
    priority: int
    find: Callable[[HandlerDefinition], Found]


class HandlerNames:
    """Registered handlers by their names and paths, and those that resolvers find for templates."""

    def __init__(
        self,
        handlers: Iterable[BoundHandler],
        resolvers: Iterable[PluginResolver] = (),
        packages: Iterable[str] = (),
    ) -> None:
        """Names are unique; two of the same are told apart when plugins load. `packages` may be imported from."""
        self._by_name = {handler.name: handler for handler in handlers}
        self._by_class: dict[str, list[BoundHandler]] = defaultdict(list)
        for handler in self._by_name.values():
            if handler.is_class and not handler.alias_of:
                self._by_class[handler.path].append(handler)
        self._packages = tuple(packages)
        self._resolved: dict[str, BoundHandler | BindError] = {}
        links = [_Link(NAMES, NAMES_PRIORITY, self._of_name), _Link(CLASSES, PATHS_PRIORITY, self._of_path)]
        links += [_link(given) for given in resolvers]
        self._chain = sorted(links, key=attrgetter("priority"))

    def __iter__(self) -> Iterator[BoundHandler]:
        """The registered ones, then those that were found."""
        yield from self._by_name.values()
        for found in self._resolved.values():
            if isinstance(found, BoundHandler) and self._by_name.get(found.name) is not found:
                yield found

    def __len__(self) -> int:
        return len(self._by_name)

    def resolvers(self) -> list[tuple[str, int]]:
        """Names and priorities, in the order in which they are asked."""
        return [(link.name, link.priority) for link in self._chain]

    def find(self, definition: HandlerDefinition) -> BoundHandler:
        """The handler that a step names, its `method` when it names one; with `resolver` only that one is asked.

        Raises BindError. What was found is kept: the same definition is always the same handler.
        """
        key = canonical_json([definition.callable, definition.resolver, definition.initialization])
        if key not in self._resolved:
            try:
                self._resolved[key] = self._found(definition)
            except BindError as error:
                self._resolved[key] = error
        found = self._resolved[key]
        if isinstance(found, BindError):
            raise BindError(found.problems)
        return found.for_method(definition.method)

    def _found(self, definition: HandlerDefinition) -> BoundHandler:
        name, wanted = definition.callable, definition.resolver
        asked = [link for link in self._chain if wanted in (None, link.name)]
        if not asked:
            known = [link.name for link in self._chain]
            hint = did_you_mean(wanted or "", known) or f"; there are {', '.join(known)}"
            raise BindError([f"no resolver named '{wanted}'{hint}"])
        for link in asked:
            found = link.find(definition)
            if found is not None:
                return found
        if wanted not in (None, NAMES, CLASSES):
            raise BindError([f"resolver '{wanted}' knows no handler '{name}'"])
        raise BindError([f"no handler named '{name}'{self._hint(name, wanted)}"])

    # The host's own ---------------------------------------------------------------------------------------------------

    def _of_name(self, definition: HandlerDefinition) -> Found:
        return self._by_name.get(definition.callable)

    def _of_path(self, definition: HandlerDefinition) -> Found:
        path = definition.callable
        registered = self._by_class.get(path, [])
        if len(registered) > 1:
            names = ", ".join(f"'{handler.name}'" for handler in registered)
            raise BindError([f"several handlers are of class '{path}': {names}; write one of these names"])
        if registered:
            return registered[0]
        given = read(path, self._packages)
        return None if given is None else _bound(given, definition, path.rpartition(".")[0], None)

    def _hint(self, name: str, wanted: str | None) -> str:
        known = {name.lower(): handler for name, handler in self._by_name.items()}
        known |= {path.lower(): found[0] for path, found in self._by_class.items()}
        close = get_close_matches(name.lower(), known, n=1)
        if close:
            handler = known[close[0]]
            right = handler.name if close[0] == handler.name.lower() else handler.path
            return f"; did you mean '{right}' from plugin '{handler.plugin}'?"
        if is_path(name) and wanted != NAMES:
            package = name.partition(".")[0]
            return f'; if it is to be imported, allow its package: [worker] handler_packages = ["{package}"]'
        return ""


def _link(given: PluginResolver) -> _Link:
    resolver = given.resolver

    def find(definition: HandlerDefinition) -> Found:
        where = f"resolver '{resolver.name}' of plugin '{given.plugin}'"
        try:
            answer = resolver.resolve(definition)
        except Exception as error:  # the plugin's own
            raise BindError([f"{where} raised {type(error).__name__} for '{definition.callable}': {error}"]) from error
        try:
            return None if answer is None else _bound(answer, definition, given.plugin, given.settings)
        except BindError as error:
            raise BindError(f"{where}: {problem}" for problem in error.problems) from None

    return _Link(resolver.name, resolver.priority, find)


def _bound(given: Any, definition: HandlerDefinition, plugin: str, settings: BaseModel | None) -> BoundHandler:
    """Of a function with several names the one that was asked for. What is no handler yet gets the name that was asked
    for."""
    if not isinstance(given, Handler | StepHandler | type) and callable(given) and not declaration(given).names:
        given = Handler(definition.callable, given)
    found = bind(given, plugin=plugin, settings=settings)
    return next((handler for handler in found if handler.name == definition.callable), found[0])
