"""HTTP: the application, and the server that it is served by."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import uvicorn
from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import LifeSpanReceive, LifeSpanScope, LifeSpanSend, Receive, Scope, Send

from tasker_host.api.deadletter import DeadLetterController
from tasker_host.api.docs import PlainPage, only_its_own_pages
from tasker_host.api.events import EventController
from tasker_host.api.health import HealthController
from tasker_host.api.operations import LimitController, OperationController
from tasker_host.api.plugins import PluginController
from tasker_host.api.problems import of_bug, of_http, of_ours
from tasker_host.api.tasks import TaskController
from tasker_host.api.workers import WorkerController
from tasker_host.errors import AddressUnavailable, TaskerError
from tasker_host.plugins.routes import mounted

if TYPE_CHECKING:
    from tasker_host.host import Host

STOP_SECONDS = 5
"""How long requests under way may take when the server stops."""

_BACKLOG = 2048


def create_app(host: Host) -> Litestar:
    """The application of a host that serves."""
    return _App(
        route_handlers=[
            HealthController,
            TaskController,
            OperationController,
            LimitController,
            DeadLetterController,
            WorkerController,
            PluginController,
            EventController,
            *(mounted(given.plugin, given.routes) for given in host.roster.active() if given.routes),
        ],
        state=State({"host": host}),
        exception_handlers={TaskerError: of_ours, HTTPException: of_http, Exception: of_bug},
        request_max_body_size=host.config.settings.web.request_body_max_bytes,
        openapi_config=OpenAPIConfig(
            title="tasker-host",
            version=host.version,
            description="Submit tasks, look at them, and see how the host is. Errors are RFC 9457 problem details.",
            openapi_router=Router(
                "/api-docs", route_handlers=[], include_in_schema=False, before_request=only_its_own_pages
            ),
            use_handler_docstrings=True,
            render_plugins=[PlainPage(path="/"), JsonRenderPlugin(path="/openapi.json")],
        ),
        logging_config=None,
        debug=False,
    )


class _App(Litestar):
    async def __call__(
        self, scope: Scope | LifeSpanScope, receive: Receive | LifeSpanReceive, send: Send | LifeSpanSend
    ) -> None:
        if scope.get("method") == "HEAD":
            # Probes and proxies ask so; the answer is that to GET. Its body is left out by the server, which looks at
            # its own scope for that: hence a copy.
            scope = cast("Scope", {**scope, "method": "GET"})
        await super().__call__(scope, receive, send)


class Server:
    """Serves a host's application at `web.host` and `web.port`. Raises AddressUnavailable."""

    def __init__(self, host: Host) -> None:
        self._web = host.config.settings.web
        self._app = create_app(host)
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """The URL at which it is served from now on."""
        bound = _bind(self._web.host, self._web.port)
        self._server = _Server(
            uvicorn.Config(
                self._app,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_graceful_shutdown=STOP_SECONDS,
            )
        )
        self._serving = asyncio.create_task(self._server.serve(sockets=[bound]), name="tasker-http")
        while not self._server.started:
            await asyncio.sleep(0)
            if self._serving.done():
                await self._serving
                raise AddressUnavailable("the HTTP server ended while it started; its log has the reason")
        address, port = bound.getsockname()[:2]
        return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"

    async def stop(self) -> None:
        """Answers requests under way, accepts no more."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await self._serving


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the host's: it stops running steps first, and this server last."""
        yield


def _bind(host: str, port: int) -> socket.socket:
    """A listening socket, bound before anything is served: port 0 is known then, and one that is taken is told."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":  # elsewhere it would share the port with whoever has it
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(_BACKLOG)
            bound.setblocking(False)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise AddressUnavailable(
            f"HTTP cannot be served at {host}:{port}: {error.strerror or error};"
            " set web.host and web.port (TASKER__WEB__PORT), or stop what is there"
        ) from None
    return bound
