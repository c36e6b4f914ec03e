"""One step of a template written in code: what was given, and what its handler says of itself."""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasker_host.domain.states import StepType
from tasker_host.handlers.declare import declaration
from tasker_host.handlers.inject import declared
from tasker_host.handlers.step import StepHandler
from tasker_host.hooks.bound import BindError, Injected
from tasker_host.hooks.records import Handler

_OF_THE_HANDLER = ("method", "resolver", "initialization")


@dataclass(slots=True)
class Planned:
    """A step before its dependencies are known; `problems` is what is wrong with it alone."""

    kind: StepType
    given: Any
    name: str
    callable: str
    path: str
    said: Mapping[str, Any]
    reads: tuple[Injected, ...]
    after: tuple[Any, ...]
    chooses: tuple[Any, ...]
    batch_config: dict[str, Any] | None
    worker_template: str | None
    problems: tuple[str, ...]
    dependencies: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"step '{self.name}' ({self.path})" if self.path else f"step '{self.name}'"

    def is_meant_by(self, wanted: Any) -> bool:
        return self.name == wanted if isinstance(wanted, str) else self.given is wanted

    def as_data(self) -> dict[str, Any]:
        """The step as it would stand in a file."""
        handler = {"callable": self.callable}
        handler |= {key: self.said[key] for key in _OF_THE_HANDLER if key in self.said}
        data: dict[str, Any] = {"name": self.name, "handler": handler}
        if self.kind is not StepType.STANDARD:
            data["type"] = self.kind.value
        if self.dependencies:
            data["dependencies"] = list(self.dependencies)
        if self.batch_config is not None:
            data["batch_config"] = {**self.batch_config, "worker_template": self.name}
        return data | {key: value for key, value in self.said.items() if key not in _OF_THE_HANDLER}


def plan_step(
    kind: StepType,
    given: Any,
    options: dict[str, Any],
    *,
    after: tuple[Any, ...],
    chooses: tuple[Any, ...] = (),
    batch_config: dict[str, Any] | None = None,
) -> Planned:
    """Reads the handler's own declarations. Raises TypeError for what is not a handler at all."""
    said = dict(options)
    called, name = said.pop("called", None), said.pop("name", None)
    names, function, is_method = _handler(given, said.get("method"))
    problems: list[str] = []
    if called is None:
        called = names[0]
        if len(names) > 1:
            problems.append(f"its handler has several names, {', '.join(names)}; say called= which one")
    elif called not in names:
        problems.append(f"its handler is not called '{called}', but {', '.join(names)}")
    reads: list[Injected] = []
    if function is not None:
        try:
            reads = [found for found in declared(function, is_method=is_method) if found.source == "step"]
        except BindError as error:
            problems += error.problems
        except (ValueError, TypeError) as error:
            problems.append(f"its parameters cannot be read: {error}")
    elif not isinstance(given, str):
        problems.append(f"its handler has no method '{said.get('method')}'")
    own = given if inspect.isfunction(given) else None
    worker = next((named.worker_template for named in declaration(given).names if named.worker_template), None)
    return Planned(
        kind,
        given,
        name or (own.__name__ if own is not None else called.rpartition(".")[2]),
        called,
        _path(given, function),
        said,
        tuple(reads),
        after,
        chooses,
        batch_config,
        worker,
        tuple(problems),
    )


def _handler(given: Any, method: str | None) -> tuple[list[str], Any, bool]:
    """The names of a handler, the function that is called (None: unknown), and whether it is a method."""
    match given:
        case str() if given:
            return [given], None, False
        case Handler():
            return [given.name], given.call, False
        case StepHandler():
            return [given.name], getattr(given, method or "call", None), True
        case type() if issubclass(given, StepHandler):
            function = getattr(given, method or "call", None)
            # Bound to nothing, so that it reads like the method of an instance, which the host will make.
            bound = types.MethodType(function, object()) if inspect.isfunction(function) else function
            return [given.handler_name or given.__name__], bound, True
    names = [str(named.name) for named in declaration(given).names]
    if not names:
        raise TypeError(
            f"{given!r} is not a handler; give a step_handler function, a StepHandler class or instance, a Handler, or"
            " the name of a handler"
        )
    return names, given, False


def _path(given: Any, function: Any) -> str:
    thing = given if inspect.isfunction(given) or isinstance(given, type) else function
    thing = type(given) if isinstance(given, StepHandler) else thing
    return "" if thing is None else f"{thing.__module__}.{getattr(thing, '__qualname__', repr(thing))}"
