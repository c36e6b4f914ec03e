"""Registering a handler: whatever style it is written in, it becomes a `BoundHandler`."""

from __future__ import annotations

import functools
import inspect
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from pydantic import BaseModel

from tasker_host.domain.context import StepContext
from tasker_host.domain.schema import InvalidSchema, schema_check
from tasker_host.domain.suggest import did_you_mean
from tasker_host.handlers.batchable import Batchable
from tasker_host.handlers.decision import DecisionHandler
from tasker_host.handlers.declare import Named, declaration
from tasker_host.handlers.inject import Plan, plan
from tasker_host.handlers.returns import returned_type
from tasker_host.handlers.step import StepHandler
from tasker_host.hooks.bound import BindError, BoundHandler, Kind
from tasker_host.hooks.records import Handler, RunsIn

__all__ = ["BindError", "BoundHandler", "bind"]

_MOST_NAME = 500
"""Characters; what `handler.callable` of a template allows."""

_FINDABLE = "it must be a function or class at the top of a module that can be imported"


def bind(given: object, *, plugin: str, settings: BaseModel | None) -> list[BoundHandler]:
    """The handlers that `given` is, one for each of its names: a decorated function, a `StepHandler` class or instance,
    or a `Handler`.

    `settings` are those of the plugin. Raises BindError with everything that is wrong.
    """
    if isinstance(given, Handler):
        named = Named(given.name, given.version, given.retry_on, given.runs_in, aliases=given.aliases)
        return _with_aliases(named, _bound(named, given.call, plugin, settings))
    if isinstance(given, type) and issubclass(given, StepHandler):
        given = _instance(given, settings)
    if isinstance(given, StepHandler):
        named = _named(given)
        return _with_aliases(named, _bound(named, given.call, plugin, settings, handler=given))
    names = declaration(given).names
    if not names:
        raise BindError([_not_a_handler(given)])
    function = cast("Callable[..., Any]", given)
    return [handler for named in names for handler in _with_aliases(named, _bound(named, function, plugin, settings))]


def _with_aliases(named: Named, handler: BoundHandler) -> list[BoundHandler]:
    return [handler, *(replace(handler, name=alias, alias_of=handler.name) for alias in named.aliases)]


def _not_a_handler(given: object) -> str:
    if inspect.isroutine(given):
        return f'function {_path(given)} is not decorated; put @step_handler("…") on it'
    if isinstance(given, type):
        return f"class {_path(given)} is not a handler; derive it from StepHandler"
    return (
        f"{given!r} is a {type(given).__qualname__}, not a handler; give step_handler functions, StepHandler classes or"
        " instances, or Handler records"
    )


# One handler ----------------------------------------------------------------------------------------------------------


def _bound(
    named: Named,
    function: Callable[..., Any],
    plugin: str,
    settings: BaseModel | None,
    *,
    handler: StepHandler | None = None,
    method: str = "call",
) -> BoundHandler:
    owner: Any = function if handler is None else type(handler)
    path = _path(owner)
    where = f"handler {named.name!r} ({path}{'' if method == 'call' else f', method {method}'})"
    problems = [*_wrong_options(named), *_wrong_function(function)]
    is_async = _is_async(function)
    runs_in = cast("RunsIn", named.runs_in or ("loop" if is_async else "thread"))
    found, call, offer, config_schema = Plan(), function, None, None
    if not problems:
        try:
            offer = None if named.api is None else named.api.offer(settings, is_async=is_async)
            found = plan(function, settings=settings, is_method=handler is not None, offer=offer)
            call = _compiled(function, found)
            if handler is not None:
                call = handler._around(call, is_async=is_async, runs_in=runs_in)
                config_schema = handler.config_schema()
                if config_schema is not None:
                    schema_check(dict(config_schema), subject="initialization")
        except BindError as error:
            problems += error.problems
        except InvalidSchema as error:
            problems.append(f"config_schema is itself not valid: {error}")
        except Exception as error:  # of the plugin: a base_url that is a function, for one
            problems.append(f"preparing it raised {type(error).__name__}: {error}")
    if is_async and named.runs_in == "thread":
        problems.append("runs_in is 'thread', but it is an async function, which runs on the event loop")
    source: bytes | None = None
    not_sent = ""
    if named.runs_in not in (None, "loop", "thread") and not problems:
        try:
            source = _source(named, function if handler is None else handler, plugin, settings)
        except Exception as error:
            # Whether that matters is up to the executor, which another plugin may give.
            not_sent = f"another process cannot find it: {error}; {_FINDABLE}"
    if problems:
        raise BindError(f"{where}: {problem}" for problem in problems)
    for_method = None
    if handler is not None:
        for_method = functools.partial(_bound_method, named, handler, plugin, settings)
    return BoundHandler(
        named.name,
        named.version,
        plugin,
        is_async,
        runs_in,
        call,
        _exceptions(named.retry_on),
        tuple(found.injected),
        path,
        handler is not None,
        method,
        for_method,
        returned_type(function),
        source,
        not_sent,
        named.worker_template,
        named.kind,
        config_schema=config_schema,
        close=handler.close if handler is not None else None if offer is None else offer.close,
    )


def _compiled(function: Callable[..., Any], found: Plan) -> Callable[[StepContext], Any]:
    """The function as one of nothing but the context. It adds no await: what an async function returns is passed on."""
    if found.positional:
        return function
    if found.constants:
        function = functools.partial(function, **found.constants)
    match list(found.getters.items()):
        case []:
            return lambda _: function()
        case [(name, get)]:
            return lambda context: function(**{name: get(context)})
        case getters:
            return lambda context: function(**{name: get(context) for name, get in getters})


def _source(named: Named, given: Any, plugin: str, settings: BaseModel | None) -> bytes:
    """What a process binds the handler from. Raises what pickle does."""
    if not isinstance(given, StepHandler) and not declaration(given).names:
        given = Handler(named.name, given, version=named.version, retry_on=named.retry_on, runs_in=named.runs_in)
    return pickle.dumps((given, plugin, settings))


def _is_async(function: Callable[..., Any]) -> bool:
    """Also true of a plain function around an async one, which returns what the inner one returns."""
    inner = inspect.unwrap(function)
    called = getattr(type(inner), "__call__", None)  # noqa: B004 - an object that is called like a function
    return any(inspect.iscoroutinefunction(each) for each in (function, inner, called))


def _wrong_function(function: Any) -> list[str]:
    if not callable(function):
        return [f"{function!r} cannot be called"]
    if isinstance(function, type):
        return [f"{_path(function)} is a class; derive it from StepHandler and give the class itself"]
    inner = inspect.unwrap(function)
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        return ["it yields; a handler returns its value"]
    return []


def _wrong_options(named: Named) -> list[str]:
    problems = []
    name = named.name
    if not _is_name(name):
        problems.append(f"the name must be text of 1 to {_MOST_NAME} characters without spaces (got {name!r})")
    if not isinstance(named.version, str) or not named.version:
        problems.append(f"the version must be text like '1.0.0' (got {named.version!r})")
    if not isinstance(named.runs_in, str | None) or named.runs_in == "":
        problems.append(f"runs_in must be 'loop', or the name of an executor like 'thread' (got {named.runs_in!r})")
    if not isinstance(named.worker_template, str | None):
        problems.append(f"worker_template must be the name of a step (got {named.worker_template!r})")
    if not isinstance(named.aliases, tuple | list) or not all(map(_is_name, named.aliases)):
        problems.append(f"aliases must be a tuple of names (got {named.aliases!r})")
    given = named.retry_on if isinstance(named.retry_on, tuple | list) else (named.retry_on,)
    if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in given):
        problems.append(f"retry_on must be exception classes (got {named.retry_on!r})")
    return problems


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and 0 < len(name) <= _MOST_NAME and not any(c.isspace() for c in name)


def _exceptions(retry_on: Any) -> tuple[type[BaseException], ...]:
    return tuple(retry_on) if isinstance(retry_on, tuple | list) else (retry_on,)


# Class style ----------------------------------------------------------------------------------------------------------


def _instance(kind: type[StepHandler], settings: BaseModel | None) -> StepHandler:
    where = f"handler class {_path(kind)}"
    if inspect.isabstract(kind):
        missing = ", ".join(sorted(kind.__abstractmethods__))
        raise BindError([f"{where} has no method {missing}; write def {missing}(self, context)"])
    try:
        found = plan(kind, settings=settings)
    except BindError as error:
        raise BindError(f"{where}: {problem}" for problem in error.problems) from None
    if found.getters:
        names = ", ".join(found.getters)
        raise BindError([f"{where}: __init__ runs when the host starts and can be given settings only, not {names}"])
    try:
        return kind(**found.constants)
    except Exception as error:
        raise BindError([f"{where}: making it raised {type(error).__name__}: {error}"]) from error


def _named(handler: StepHandler) -> Named:
    kind: Kind = "decision" if isinstance(handler, DecisionHandler) else "step"
    template = handler.worker_template if isinstance(handler, Batchable) else None
    return Named(
        handler.name, handler.version, handler.retry_on, handler.runs_in, template, kind, handler.handler_aliases
    )


def _bound_method(
    named: Named, handler: StepHandler, plugin: str, settings: BaseModel | None, method: str
) -> BoundHandler:
    function = getattr(handler, method, None) if _is_own(handler, method) else None
    if not callable(function):
        known = [name for name in dir(handler) if _is_own(handler, name) and callable(getattr(handler, name))]
        hint = did_you_mean(method, known) or f"; it has {', '.join(known)}"
        raise BindError([f"handler '{named.name}' ({_path(type(handler))}) has no method '{method}'{hint}"])
    return _bound(named, function, plugin, settings, handler=handler, method=method)


def _is_own(handler: StepHandler, name: str) -> bool:
    """Whether the author wrote it: what this package gives to every handler is no step's work."""
    if name.startswith("_"):
        return False
    home = next((kind for kind in type(handler).__mro__ if name in vars(kind)), None)
    return home is None or name == "call" or not home.__module__.startswith("tasker_host.handlers.")


def _path(thing: Any) -> str:
    """`package.module.Class`"""
    inner = inspect.unwrap(thing) if callable(thing) else thing
    while isinstance(inner, functools.partial):
        inner = inner.func
    if not hasattr(inner, "__qualname__"):
        inner = type(inner)
    return f"{inner.__module__}.{inner.__qualname__}"
