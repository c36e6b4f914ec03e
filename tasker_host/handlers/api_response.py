"""What another system answered over HTTP, and what it means for the step that asked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from http import HTTPStatus
from typing import Any

import httpx

from tasker_host.domain.backoff import read_retry_after
from tasker_host.domain.json import dumps, loads
from tasker_host.domain.result import Failed, Succeeded
from tasker_host.domain.text import storable
from tasker_host.errors import HandlerError, JsonError, NetworkError, ServiceUnavailableError, StepTimeoutError

MOST_RETRY_AFTER_SECONDS = 86_400
"""Nobody is waited for longer than a day, whatever they ask for."""
UNREADABLE_RETRY_AFTER_SECONDS = 60
MOST_BODY_KEPT = 4_096
"""Bytes of a failed answer's body that are kept with the attempt."""
_MOST_DETAIL = 500

# 501 and 505 say that the request is never understood; the other answers of that class may pass.
_RETRYABLE = {408, 425, 429}
_PERMANENT = {501, 505}

_ERROR_TYPES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "conflict",
    410: "gone",
    422: "unprocessable_entity",
    429: "rate_limited",
    500: "internal_server_error",
    502: "bad_gateway",
    503: "service_unavailable",
    504: "gateway_timeout",
}
_DETAILS = ("error", "message", "detail", "error_message", "msg", "title")
_SECRET_HEADERS = {"set-cookie", "authorization", "proxy-authorization", "www-authenticate"}


@dataclass(frozen=True)
class ApiResponse:
    """An answer, read whole. `received_at` is when, in seconds since 1970."""

    raw_response: httpx.Response
    received_at: float

    @property
    def status_code(self) -> int:
        return self.raw_response.status_code

    @property
    def headers(self) -> httpx.Headers:
        """By name, in upper or lower case."""
        return self.raw_response.headers

    @cached_property
    def body(self) -> Any:
        """The data, of a JSON answer (text when it is not JSON after all); else the text. None of an empty JSON answer.

        Numbers keep every digit.
        """
        if not self._says_json:
            return self.raw_response.text
        if not self.raw_response.content.strip():
            return None
        try:
            return loads(self.raw_response.content)
        except JsonError:
            return self.raw_response.text

    @property
    def content(self) -> bytes:
        """The body as bytes."""
        return self.raw_response.content

    @property
    def ok(self) -> bool:
        """Whether the status is 200 to 299."""
        return self.raw_response.is_success

    @property
    def is_client_error(self) -> bool:
        return self.raw_response.is_client_error

    @property
    def is_server_error(self) -> bool:
        return self.raw_response.is_server_error

    @property
    def is_retryable(self) -> bool:
        """Whether the same request may succeed later: 408, 425, 429, and 5xx other than 501 and 505."""
        return self.status_code in _RETRYABLE or (self.is_server_error and self.status_code not in _PERMANENT)

    @property
    def retry_after(self) -> int | None:
        """Seconds to wait, of a `Retry-After` header in seconds or as a date; at most a day. None without one; 60 when
        it cannot be read."""
        said = self.headers.get("retry-after")
        if said is None:
            return None
        seconds = read_retry_after(said, datetime.fromtimestamp(self.received_at, UTC))
        if seconds is None:
            return UNREADABLE_RETRY_AFTER_SECONDS
        return min(max(0, round(seconds)), MOST_RETRY_AFTER_SECONDS)

    @property
    def error_type(self) -> str:
        """`not_found`, `rate_limited` …; `client_error`, `server_error` or `http_error` for rarer ones."""
        rarer = "client_error" if self.is_client_error else "server_error" if self.is_server_error else "http_error"
        return _ERROR_TYPES.get(self.status_code, rarer)

    @property
    def detail(self) -> str:
        """What the body says went wrong, or the name of the status."""
        body = self.body
        if isinstance(body, Mapping):
            for key in _DETAILS:
                said = body.get(key)
                said = said.get("message") if isinstance(said, Mapping) else said
                if isinstance(said, str) and said:
                    return said if len(said) <= _MOST_DETAIL else f"{said[: _MOST_DETAIL - 1]}…"
        reason = self.raw_response.reason_phrase
        return reason or (HTTPStatus(self.status_code).phrase if self.status_code in _PHRASES else "no reason given")

    def to_dict(self) -> dict[str, Any]:
        """`{"status_code", "headers", "body"}`"""
        return {"status_code": self.status_code, "headers": dict(self.headers), "body": self.body}

    def raise_for_status(self) -> ApiResponse:
        """This answer when it is `ok`. Raises ApiError, which fails the step as `api_failure` does."""
        if not self.ok:
            raise ApiError(self)
        return self

    def metadata(self) -> dict[str, Any]:
        """What is kept of it with the attempt; headers that may be secret are left out."""
        headers = {name: value for name, value in self.headers.items() if name not in _SECRET_HEADERS}
        return {"status_code": self.status_code, "headers": headers}

    @property
    def _says_json(self) -> bool:
        kind: str = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        return kind == "application/json" or kind.endswith("+json")


_PHRASES = frozenset(status.value for status in HTTPStatus)


class ApiError(HandlerError):
    """An answer that is not `ok`; `response` is that answer. Whether the step is tried again is as `is_retryable`."""

    def __init__(self, response: ApiResponse, message: str | None = None) -> None:
        failed = failure_of(response, message)
        super().__init__(
            failed.message,
            error_code=failed.error_code,
            retry_after=failed.retry_after_seconds,
            metadata=failed.metadata,
            error_type=failed.error_type,
        )
        self.response = response
        self.retryable = failed.retryable  # type: ignore[misc]  # of each answer its own


class ApiConnectionError(NetworkError):
    """No answer: the host was not found, refused, or broke the connection."""

    error_type = "connection_error"


class ApiTimeoutError(StepTimeoutError):
    """No answer in time."""


class CircuitOpenError(ServiceUnavailableError):
    """Nothing was sent: the host failed several times in a row and is left alone for a while."""

    error_type = "circuit_open"


def failure_of(response: ApiResponse, message: str | None = None) -> Failed:
    """The failure of a step that got this answer."""
    metadata = response.metadata()
    retry_after = response.retry_after if response.is_retryable else None
    if retry_after is not None:
        metadata["retry_after_seconds"] = retry_after
    if response.content:
        metadata["response_body"] = _kept(response)
    return Failed(
        message or f"HTTP {response.status_code}: {response.detail}",
        response.error_type,
        response.is_retryable,
        retry_after,
        f"HTTP_{response.status_code}",
        metadata,
    )


def _kept(response: ApiResponse) -> Any:
    try:
        if len(dumps(response.body)) <= MOST_BODY_KEPT:
            return response.body
    except JsonError:
        pass
    return storable(response.content[:MOST_BODY_KEPT].decode("utf-8", "replace")) + "…"


class ApiOutcomes:
    """From an answer, or from none, to the result of a step."""

    def api_success(self, response: ApiResponse, result: Any = None, include_response: bool = True) -> Succeeded:
        """`result`, or the body when it is left out (`{"data": body}` when that is no object). Status and headers are
        kept in the metadata."""
        if result is None:
            result = response.body if isinstance(response.body, dict) else {"data": response.body}
        return Succeeded(result, response.metadata() if include_response else {})

    def api_failure(self, response: ApiResponse, message: str | None = None) -> Failed:
        """The failure that the status says: tried again or not, after how long, and why."""
        return failure_of(response, message)

    def api_result(self, response: ApiResponse, result: Any = None) -> Succeeded | Failed:
        """`api_success` of an answer that is `ok`, else `api_failure`."""
        return self.api_success(response, result) if response.ok else failure_of(response)

    def connection_error(self, error: BaseException, context: str | None = None) -> Failed:
        """There was no answer; `context` is what was being done."""
        return _unanswered(f"Connection error{_while(context)}: {_said(error)}", "connection_error", error)

    def timeout_error(self, error: BaseException, context: str | None = None) -> Failed:
        """There was no answer in time; `context` is what was being done."""
        return _unanswered(f"Request timeout{_while(context)}: {_said(error)}", "timeout", error)


def _unanswered(message: str, error_type: str, error: BaseException) -> Failed:
    metadata = {"exception_type": type(error).__qualname__}
    code = getattr(error, "error_code", None)
    return Failed(message, error_type, True, getattr(error, "retry_after", None), code, metadata)


def _while(context: str | None) -> str:
    return f" while {context}" if context else ""


def _said(error: BaseException) -> str:
    return str(error) or type(error).__qualname__


def now() -> float:
    """Seconds since 1970."""
    return time.time()
