"""Handlers that ask other systems over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pydantic import BaseModel

from tasker_host.domain.context import StepContext
from tasker_host.handlers.api_client import ApiClient, AsyncApiClient
from tasker_host.handlers.api_options import RESPONSE_MAX_BYTES, ApiOptions, Attempt, base_url_problem
from tasker_host.handlers.api_pool import ApiPool
from tasker_host.handlers.api_response import ApiOutcomes, ApiResponse
from tasker_host.handlers.declare import Function, Named, Offer, named_by
from tasker_host.handlers.step import Call, StepHandler
from tasker_host.hooks.bound import BindError
from tasker_host.hooks.records import RunsIn

if TYPE_CHECKING:

    class Answer(ApiResponse, Awaitable[ApiResponse]):
        """The answer, in an ordinary method; in an async one it is awaited first."""


_attempt: ContextVar[Attempt | None] = ContextVar("tasker_api_attempt", default=None)


class ApiHandler(ApiOutcomes, StepHandler):
    """A `StepHandler` with an HTTP client: `self.get("/orders/7")` in an ordinary `call`, `await self.get(…)` in an
    async one.

    The attributes may be set in `__init__`, from the plugin's settings; they are read at the first request. Connections
    are kept for all steps of the handler and closed when the host stops.
    """

    base_url: str = ""
    default_timeout: float | None = 30.0
    """Seconds for connecting, and for the whole answer; None: no limit but the step's."""
    default_headers: Mapping[str, str] = {}
    breaker_failures: int = 5
    """Requests in a row to one host that failed (no answer, or 5xx), after which it is left alone; 0: it is not."""
    breaker_open_seconds: float = 30.0
    response_max_bytes: int = RESPONSE_MAX_BYTES
    client_options: Mapping[str, Any] = {}
    """Further arguments of `httpx.Client`: `auth`, `verify`, `cert`, `follow_redirects` …"""

    capabilities: ClassVar[tuple[str, ...]] = ("process", "http", "api")

    def get(self, path: str, params: Any = None, headers: Any = None, **more: Any) -> Answer:
        return self.request("GET", path, params=params, headers=headers, **more)

    def post(self, path: str, json: Any = None, data: Any = None, headers: Any = None, **more: Any) -> Answer:
        return self.request("POST", path, json=json, data=data, headers=headers, **more)

    def put(self, path: str, json: Any = None, data: Any = None, headers: Any = None, **more: Any) -> Answer:
        return self.request("PUT", path, json=json, data=data, headers=headers, **more)

    def patch(self, path: str, json: Any = None, data: Any = None, headers: Any = None, **more: Any) -> Answer:
        return self.request("PATCH", path, json=json, data=data, headers=headers, **more)

    def delete(self, path: str, headers: Any = None, **more: Any) -> Answer:
        return self.request("DELETE", path, headers=headers, **more)

    def request(self, method: str, path: str, **more: Any) -> Answer:
        """The answer, whatever its status; on an event loop, what to await for it.

        Raises ApiConnectionError, ApiTimeoutError and CircuitOpenError, each of which the step is tried again for.
        """
        attempt = _attempt.get()
        # An ordinary method has its answer at once, even where a test calls it on an event loop.
        awaits = _on_loop() and (attempt is None or attempt.is_async)
        client = AsyncApiClient if awaits else ApiClient
        return cast("Answer", client(self._pool, attempt).request(method, path, **more))

    @property
    def client(self) -> Any:
        """The `httpx.Client`, on an event loop the `httpx.AsyncClient`; opened when it is not. What is asked with it
        directly has neither the headers of the step nor a breaker."""
        return self._pool.async_client if _on_loop() else self._pool.sync_client

    def close(self) -> Any:
        """Closes the connections; on an event loop, what to await for it. The next request opens them again."""
        if _on_loop():
            return self._pool.aclose()
        self._pool.close()
        return None

    @property
    def _pool(self) -> ApiPool:
        found = self.__dict__.get("_api_pool")
        if found is None:
            options = ApiOptions(
                base_url=self.base_url,
                timeout_seconds=self.default_timeout,
                headers=self.default_headers,
                breaker_failures=self.breaker_failures,
                breaker_open_seconds=self.breaker_open_seconds,
                response_max_bytes=self.response_max_bytes,
                client=self.client_options,
            )
            found = self.__dict__.setdefault("_api_pool", ApiPool(options))
        return cast("ApiPool", found)

    def __getstate__(self) -> dict[str, Any]:
        # To a process of its own it goes without connections.
        return {name: value for name, value in self.__dict__.items() if name != "_api_pool"}

    def _around(self, call: Call, *, is_async: bool, runs_in: RunsIn) -> Call:
        if runs_in == "loop" and not is_async:
            raise BindError(["runs_in is 'loop', but it waits for answers; write async def, or leave runs_in out"])
        if problem := base_url_problem(self.base_url):
            raise BindError([problem])
        return _asking(call, is_async=is_async)


def _asking(call: Call, *, is_async: bool) -> Call:
    """`call`, with requests that carry the headers of its step."""
    if is_async:

        async def acall(context: StepContext) -> Any:
            token = _attempt.set(Attempt(context, is_async=True))
            try:
                return await call(context)
            finally:
                _attempt.reset(token)

        return acall

    def one_call(context: StepContext) -> Any:
        token = _attempt.set(Attempt(context))
        try:
            return call(context)
        finally:
            _attempt.reset(token)

    return one_call


def _on_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


# Function style -------------------------------------------------------------------------------------------------------

OfSettings = Callable[[Any], Any]
"""Makes an option from the plugin's settings."""


@dataclass(frozen=True, slots=True)
class _Api:
    """What `api_handler` was given; the pool is made when the handler is bound."""

    base_url: str | OfSettings
    default_headers: Mapping[str, str] | OfSettings | None
    more: Mapping[str, Any]

    def offer(self, settings: BaseModel | None, *, is_async: bool) -> Offer:
        base_url = self.base_url(settings) if callable(self.base_url) else self.base_url
        headers = self.default_headers(settings) if callable(self.default_headers) else self.default_headers
        if problem := base_url_problem(base_url):
            raise BindError([problem])
        pool = ApiPool(ApiOptions(base_url=base_url, headers=headers or {}, **self.more))
        kind = AsyncApiClient if is_async else ApiClient
        other = ApiClient if is_async else AsyncApiClient
        return Offer("api", kind, other, lambda context: kind(pool, Attempt(context, is_async=is_async)), pool.aclose)


def api_handler(
    name: str,
    *,
    base_url: str | OfSettings = "",
    timeout: float | None = 30.0,
    default_headers: Mapping[str, str] | OfSettings | None = None,
    breaker_failures: int = 5,
    breaker_open_seconds: float = 30.0,
    response_max_bytes: int = RESPONSE_MAX_BYTES,
    client_options: Mapping[str, Any] | None = None,
    version: str = "1.0.0",
    retry_on: tuple[type[BaseException], ...] = (),
    runs_in: RunsIn | None = None,
    aliases: tuple[str, ...] = (),
) -> Callable[[Function], Function]:
    """As `step_handler`; the parameter `api` is given an `ApiClient`, in an async function an `AsyncApiClient`.

    `base_url` and `default_headers` may also be functions of the plugin's settings. The rest is as the attributes of
    `ApiHandler`; `timeout` is in seconds.
    """
    more = {
        "timeout_seconds": timeout,
        "breaker_failures": breaker_failures,
        "breaker_open_seconds": breaker_open_seconds,
        "response_max_bytes": response_max_bytes,
        "client": client_options or {},
    }
    api = _Api(base_url, default_headers, more)
    return named_by("api_handler", Named(name, version, retry_on, runs_in, kind="api", aliases=aliases, api=api))
