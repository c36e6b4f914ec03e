"""Route handlers of plugins: whether they can be served, and where."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from litestar import Controller, Litestar, Router
from litestar.handlers import BaseRouteHandler, WebsocketListener
from litestar.openapi import OpenAPIConfig
from litestar.routes import ASGIRoute, HTTPRoute, WebSocketRoute

_PARAMETER = re.compile(r"\{[^}:]*(:[^}]*)?\}")


def mounted(plugin: str, routes: Sequence[Any]) -> Router:
    """The routes of a plugin below `/plugins/<name>`."""
    return Router(f"/plugins/{plugin}", route_handlers=list(routes), tags=[f"plugin {plugin}"])


def route_problems(plugin: str, routes: Sequence[Any]) -> list[str]:
    """Why they cannot be served. Raises what the framework does."""
    problems = [
        f'gave {route!r:.80} ({type(route).__qualname__}), not a Litestar route handler: put @get("/path") or the like'
        " on a function, or give a Controller or Router"
        for route in routes
        if not _is_route(route)
    ]
    if problems:
        return problems
    openapi = OpenAPIConfig("check", "0")
    app = Litestar([mounted(plugin, routes)], openapi_config=openapi, logging_config=None, debug=False)
    assert app.openapi_schema is not None  # made here, so that what cannot be described is found now
    return list(_clashes(routes))


def _is_route(route: object) -> bool:
    if isinstance(route, type):
        return issubclass(route, Controller | WebsocketListener)
    return isinstance(route, BaseRouteHandler | Router)


def _clashes(routes: Sequence[Any]) -> Iterator[str]:
    """The framework lets the last of two that answer the same win, without a word."""
    seen: dict[tuple[str, str], Any] = {}
    for route in routes:
        for method, path, function in _answers(route):
            # {order:int} and {number:int} are the same place.
            other = seen.setdefault((method, _PARAMETER.sub(r"{\1}", path)), function)
            if other is not function:
                both = f"{other.__qualname__} and {function.__qualname__}"
                yield f"{both} both answer {method} {path}; change the path of one of them"


def _answers(route: Any) -> Iterator[tuple[str, str, Any]]:
    """Method, path and function of everything that it answers."""
    # What is registered becomes the child of a router; another one takes it over when it is served.
    router = route if isinstance(route, Router) else Router("/", route_handlers=[route])
    for found in router.routes:
        if isinstance(found, HTTPRoute):
            for handler in found.route_handlers:
                methods = handler.http_methods - {"OPTIONS"}  # the framework's own
                yield from ((method, found.path, handler.fn) for method in methods)
        elif isinstance(found, ASGIRoute | WebSocketRoute):
            yield type(found).__name__.removesuffix("Route"), found.path, found.route_handler.fn
