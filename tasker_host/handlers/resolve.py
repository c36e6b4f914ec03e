"""From `handler.callable` of a template to a registered handler. Nothing is imported for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from tasker_host.domain.suggest import did_you_mean
from tasker_host.hooks.bound import BindError, BoundHandler

NAMES = "explicit_mapping"
CLASSES = "class_lookup"
_RESOLVERS = (NAMES, CLASSES)


class HandlerNames:
    """Registered handlers by their names, and those written as classes also by where the class is."""

    def __init__(self, handlers: Iterable[BoundHandler]) -> None:
        """Names are unique; two of the same are told apart when plugins load."""
        self._by_name = {handler.name: handler for handler in handlers}
        self._by_class: dict[str, list[BoundHandler]] = defaultdict(list)
        for handler in self._by_name.values():
            if handler.is_class:
                self._by_class[handler.path].append(handler)

    def __iter__(self) -> Iterator[BoundHandler]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def find(
        self,
        name: str,
        *,
        method: str | None = None,
        resolver: str | None = None,
    ) -> BoundHandler:
        """The handler a step names, its `method` when it names one.

        `name` is a registered name, or `package.module.Class` of a registered class. `resolver` keeps it to one of
        the two: "explicit_mapping" or "class_lookup". Raises BindError.
        """
        if resolver not in (None, *_RESOLVERS):
            hint = did_you_mean(resolver, _RESOLVERS) or f"; there are {', '.join(_RESOLVERS)}"
            raise BindError([f"no resolver named '{resolver}'{hint}"])
        found = self._by_name.get(name) if resolver != CLASSES else None
        if found is None and resolver != NAMES:
            found = self._of_class(name)
        if found is None:
            raise BindError([f"no handler named '{name}'{self._hint(name)}"])
        return found.for_method(method)

    def _of_class(self, path: str) -> BoundHandler | None:
        found = self._by_class.get(path, [])
        if len(found) > 1:
            names = ", ".join(f"'{handler.name}'" for handler in found)
            raise BindError([f"several handlers are of class '{path}': {names}; write one of these names"])
        return found[0] if found else None

    def _hint(self, name: str) -> str:
        known = {name.lower(): handler for name, handler in self._by_name.items()}
        known |= {path.lower(): found[0] for path, found in self._by_class.items()}
        close = get_close_matches(name.lower(), known, n=1)
        if not close:
            return ""
        handler = known[close[0]]
        right = handler.name if close[0] == handler.name.lower() else handler.path
        return f"; did you mean '{right}' from plugin '{handler.plugin}'?"
