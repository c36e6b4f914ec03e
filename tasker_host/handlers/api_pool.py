"""Connections to other systems: one pool for each handler, and a breaker for each host that it asks."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from tasker_host.errors import PermanentError
from tasker_host.handlers.api_body import Arriving, Body
from tasker_host.handlers.api_options import ApiOptions, Attempt
from tasker_host.handlers.api_response import (
    ApiConnectionError,
    ApiResponse,
    ApiTimeoutError,
    CircuitOpenError,
    now,
)
from tasker_host.runtime.breaker import Breaker

_SENDING = ("auth", "follow_redirects")
"""Options of a request that httpx takes when it sends; the others, when it builds."""

_AT_LEAST_SECONDS = 1.0
"""To wait when another request just tries whether the host is back."""


class ApiPool:
    """Connections of one handler, opened when first used; for threads, and for the event loop that uses them."""

    def __init__(self, options: ApiOptions, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.options = options
        self._monotonic = monotonic
        self._mutex = threading.Lock()
        self._sync: httpx.Client | None = None
        self._async: tuple[asyncio.AbstractEventLoop, httpx.AsyncClient] | None = None
        self._breakers: dict[str, Breaker] = {}

    @property
    def sync_client(self) -> httpx.Client:
        """For threads; opened when it is not."""
        with self._mutex:
            if self._sync is None:
                self._sync = httpx.Client(**self._arguments())
                # Of a handler that nobody closes, like one that a test made by hand.
                weakref.finalize(self, self._sync.close)
            return self._sync

    @property
    def async_client(self) -> httpx.AsyncClient:
        """For the running event loop; opened when it is not."""
        loop = asyncio.get_running_loop()
        with self._mutex:
            # Connections belong to the loop on which they were opened; one that has ended took them along.
            if self._async is None or self._async[0] is not loop:
                self._async = (loop, httpx.AsyncClient(**self._arguments()))
            return self._async[1]

    def request(self, attempt: Attempt | None, method: str, path: str, **options: Any) -> ApiResponse:
        """The answer, whatever its status. Raises ApiConnectionError, ApiTimeoutError, CircuitOpenError and, for what
        cannot be sent, PermanentError."""
        client = self.sync_client
        with self._problems(method, path):
            request, sending, ends = self._built(client, method, path, options)
            with _asking(attempt, request) as tell, self._guarded(request) as told:
                response = client.send(request, stream=True, **sending)
                body = Body(self._limit(request, ends))
                try:
                    response.stream = Arriving(response.stream, body.arrives)
                    for piece in response.iter_bytes():
                        body.add(piece)
                finally:
                    response.close()
                answer = told(body.of(response))
                tell(answer)
                return answer

    async def arequest(self, attempt: Attempt | None, method: str, path: str, **options: Any) -> ApiResponse:
        """`request`, on the event loop."""
        client = self.async_client
        with self._problems(method, path):
            request, sending, ends = self._built(client, method, path, options)
            with _asking(attempt, request) as tell, self._guarded(request) as told:
                response = await client.send(request, stream=True, **sending)
                body = Body(self._limit(request, ends))
                try:
                    response.stream = Arriving(response.stream, body.arrives)
                    async for piece in response.aiter_bytes():
                        body.add(piece)
                finally:
                    await response.aclose()
                answer = told(body.of(response))
                tell(answer)
                return answer

    def close(self) -> httpx.AsyncClient | None:
        """Closes what threads use; what is left to be closed on its event loop, if anything. May be used again."""
        with self._mutex:
            sync, self._sync = self._sync, None
            found, self._async = self._async, None
        if sync is not None:
            sync.close()
        return None if found is None or found[0].is_closed() else found[1]

    async def aclose(self) -> None:
        """`close`, on the event loop."""
        left = self.close()
        if left is not None:
            await left.aclose()

    # How one request is made ------------------------------------------------------------------------------------------

    def _arguments(self) -> dict[str, Any]:
        options = self.options
        ours = {
            "base_url": options.base_url,
            "timeout": options.timeout_seconds,
            # One step's cookies are not the next one's.
            "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            "headers": {"user-agent": "tasker-host", **options.headers},
            # A step waits for its own answer, not for a connection: how many there are, the worker's slots say.
            "limits": httpx.Limits(max_connections=None, max_keepalive_connections=20),
        }
        return {**ours, **options.client}

    def _built(
        self,
        client: httpx.Client | httpx.AsyncClient,
        method: str,
        path: str,
        options: dict[str, Any],
    ) -> tuple[httpx.Request, dict[str, Any], float | None]:
        """The request, how it is sent, and when its answer must be there, by the clock of the pool."""
        sending = {name: options.pop(name) for name in _SENDING if name in options}
        timeout = options.get("timeout", self.options.timeout_seconds)
        ends = self._monotonic() + timeout if isinstance(timeout, int | float) else None
        request = client.build_request(method.upper(), path, **options)
        if not request.url.host:
            raise PermanentError(
                f"{path!r} is no address: give the handler a base_url, or write https://…", error_code="API_REQUEST"
            )
        return request, sending, ends

    def _limit(self, request: httpx.Request, ends: float | None) -> Callable[[int], None]:
        def check(received: int) -> None:
            if received > self.options.response_max_bytes:
                raise PermanentError(
                    f"{request.method} {_shown(request.url)} answers more than {self.options.response_max_bytes} bytes"
                    " (response_max_bytes)",
                    error_code="API_RESPONSE_TOO_LARGE",
                )
            if ends is not None and self._monotonic() > ends:
                raise httpx.ReadTimeout("the answer takes too long", request=request)

        return check

    @contextmanager
    def _problems(self, method: str, path: str) -> Iterator[None]:
        """What httpx raises, as what it means for the step."""
        try:
            yield
        except httpx.TimeoutException as error:
            where = _where(error, method, path)
            raise ApiTimeoutError(f"{where}: no answer in time ({_kind(error)})", error_code="API_TIMEOUT") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.TooManyRedirects) as error:
            raise PermanentError(f"{method} {path!r} cannot be sent: {error}", error_code="API_REQUEST") from error
        except httpx.TransportError as error:
            where = _where(error, method, path)
            told = f"{where}: {str(error) or _kind(error)}"
            raise ApiConnectionError(told, error_code="API_CONNECTION") from error
        except httpx.DecodingError as error:
            told = f"{_where(error, method, path)}: the answer cannot be read: {error}"
            raise ApiConnectionError(told, error_code="API_CONNECTION") from error

    @contextmanager
    def _guarded(self, request: httpx.Request) -> Iterator[Callable[[httpx.Response], ApiResponse]]:
        """Through the breaker of the host: nothing is sent while it is open."""
        host = f"{request.url.scheme}://{request.url.netloc.decode('ascii')}"
        breaker = self._breaker(host)
        if breaker is None:
            yield lambda response: ApiResponse(response, now())
            return
        with self._mutex:
            call = breaker.begin()
            wait = max(breaker.retry_after, _AT_LEAST_SECONDS)
        if call is None:
            raise CircuitOpenError(
                f"{host} failed {breaker.failures} times in a row; nothing is sent there for {wait:.0f} seconds",
                error_code="API_CIRCUIT_OPEN",
                retry_after=wait,
            )
        answered = False

        def told(response: httpx.Response) -> ApiResponse:
            nonlocal answered
            made = ApiResponse(response, now())
            answered = not (response.is_server_error and made.is_retryable)
            return made

        try:
            yield told
        except PermanentError:
            answered = True  # more than we read: the host is there
            raise
        finally:
            # Also when the step was cancelled: a try that is never told would keep the others out for ever.
            with self._mutex:
                breaker.succeeded(call) if answered else breaker.failed(call)

    def _breaker(self, host: str) -> Breaker | None:
        options = self.options
        if options.breaker_failures < 1:
            return None
        with self._mutex:
            if host not in self._breakers:
                self._breakers[host] = Breaker(
                    failure_threshold=options.breaker_failures,
                    open_seconds=options.breaker_open_seconds,
                    success_threshold=1,
                    now=self._monotonic,
                )
            return self._breakers[host]


def _asking(attempt: Attempt | None, request: httpx.Request) -> AbstractContextManager[Callable[[ApiResponse], None]]:
    return nullcontext(lambda _: None) if attempt is None else attempt.asking(request)


def _where(error: httpx.RequestError, method: str, path: str) -> str:
    with contextlib.suppress(RuntimeError):  # the error knows no request
        return f"{error.request.method} {_shown(error.request.url)}"
    return f"{method} {path}"


def _shown(url: httpx.URL) -> str:
    """Without what may be secret: user, password and query."""
    return str(url.copy_with(username=None, password=None, query=None, fragment=None))


def _kind(error: Exception) -> str:
    return type(error).__name__
