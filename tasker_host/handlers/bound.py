"""Registering a handler: whatever style it is written in, it becomes a `BoundHandler`."""

from __future__ import annotations

import functools
import inspect
import pickle
import typing
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from pydantic import BaseModel

from tasker_host.domain.context import StepContext
from tasker_host.domain.suggest import did_you_mean
from tasker_host.handlers.annotations import names_for
from tasker_host.handlers.declare import Named, declaration
from tasker_host.handlers.inject import Plan, plan
from tasker_host.handlers.step import StepHandler
from tasker_host.hooks.bound import BindError, BoundHandler
from tasker_host.hooks.records import Handler, RunsIn

__all__ = ["BindError", "BoundHandler", "bind"]

_MOST_NAME = 500
"""Characters; what `handler.callable` of a template allows."""

_FINDABLE = "it must be a function or class at the top of a module that can be imported"

_OF_EVERY_HANDLER = frozenset(name for name in dir(StepHandler) if name != "call")


def bind(given: object, *, plugin: str, settings: BaseModel | None) -> list[BoundHandler]:
    """The handlers that `given` is: a `step_handler` function (one for each of its names), a `StepHandler` class or
    instance, or a `Handler`.

    `settings` are those of the plugin. Raises BindError with everything that is wrong.
    """
    if isinstance(given, Handler):
        named = Named(given.name, given.version, given.retry_on, given.runs_in)
        return [_bound(named, given.call, plugin, settings)]
    if isinstance(given, type) and issubclass(given, StepHandler):
        given = _instance(given, settings)
    if isinstance(given, StepHandler):
        return [_bound_class(given, plugin, settings)]
    names = declaration(given).names
    if not names:
        raise BindError([_not_a_handler(given)])
    return [_bound(named, cast("Callable[..., Any]", given), plugin, settings) for named in names]


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
    found = Plan()
    if not problems:
        try:
            found = plan(function, settings=settings, is_method=handler is not None)
        except BindError as error:
            problems += error.problems
    is_async = _is_async(function)
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
        cast("RunsIn", named.runs_in or ("loop" if is_async else "thread")),
        _compiled(function, found),
        _exceptions(named.retry_on),
        tuple(found.injected),
        path,
        handler is not None,
        method,
        for_method,
        _returned_model(function),
        source,
        not_sent,
        named.worker_template,
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


def _returned_model(function: Callable[..., Any]) -> type[BaseModel] | None:
    """The model that the function says it returns; None when it says otherwise, or cannot be read."""
    inner = inspect.unwrap(function)
    said = getattr(inner, "__annotations__", {}).get("return")
    if isinstance(said, str):
        try:
            said = typing.get_type_hints(SimpleNamespace(__annotations__={"return": said}), names_for(function))[
                "return"
            ]
        except Exception:
            return None  # a name for type checkers only: nothing to check with
    return said if isinstance(said, type) and issubclass(said, BaseModel) else None


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
    if not isinstance(name, str) or not name or len(name) > _MOST_NAME or any(c.isspace() for c in name):
        problems.append(f"the name must be text of 1 to {_MOST_NAME} characters without spaces (got {name!r})")
    if not isinstance(named.version, str) or not named.version:
        problems.append(f"the version must be text like '1.0.0' (got {named.version!r})")
    if not isinstance(named.runs_in, str | None) or named.runs_in == "":
        problems.append(f"runs_in must be 'loop', or the name of an executor like 'thread' (got {named.runs_in!r})")
    if not isinstance(named.worker_template, str | None):
        problems.append(f"worker_template must be the name of a step (got {named.worker_template!r})")
    given = named.retry_on if isinstance(named.retry_on, tuple | list) else (named.retry_on,)
    if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in given):
        problems.append(f"retry_on must be exception classes (got {named.retry_on!r})")
    return problems


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


def _bound_class(handler: StepHandler, plugin: str, settings: BaseModel | None) -> BoundHandler:
    named = Named(handler.name, handler.version, handler.retry_on, handler.runs_in)
    return _bound(named, handler.call, plugin, settings, handler=handler)


def _bound_method(
    named: Named, handler: StepHandler, plugin: str, settings: BaseModel | None, method: str
) -> BoundHandler:
    function = None if method.startswith("_") or method in _OF_EVERY_HANDLER else getattr(handler, method, None)
    if not callable(function):
        known = [name for name in dir(handler) if name not in _OF_EVERY_HANDLER and not name.startswith("_")]
        known = [name for name in known if callable(getattr(handler, name))]
        hint = did_you_mean(method, known) or f"; it has {', '.join(known)}"
        raise BindError([f"handler '{named.name}' ({_path(type(handler))}) has no method '{method}'{hint}"])
    return _bound(named, function, plugin, settings, handler=handler, method=method)


def _path(thing: Any) -> str:
    """`package.module.Class`"""
    inner = inspect.unwrap(thing) if callable(thing) else thing
    while isinstance(inner, functools.partial):
        inner = inner.func
    if not hasattr(inner, "__qualname__"):
        inner = type(inner)
    return f"{inner.__module__}.{inner.__qualname__}"
