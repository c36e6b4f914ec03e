"""Errors as RFC 9457 problem details, each with the `code` that clients compare."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException

from tasker_host.db.database import TRANSIENT
from tasker_host.domain.json import dumps
from tasker_host.errors import (
    DatabaseError,
    DatabaseUnavailable,
    DeadLetterExists,
    DeadLetterNotFound,
    IllegalMove,
    InvalidRequest,
    JsonError,
    Problem,
    ProblemsError,
    StepNotFound,
    TaskerError,
    TaskExists,
    TaskNotFound,
    TemplateNotFound,
    TemplateUnavailable,
)
from tasker_host.runtime.health import Phase

if TYPE_CHECKING:
    from tasker_host.host import Host

log = structlog.get_logger("tasker.api")

PROBLEM_JSON = "application/problem+json"

_STATUSES: dict[type[TaskerError], HTTPStatus] = {
    InvalidRequest: HTTPStatus.BAD_REQUEST,
    JsonError: HTTPStatus.BAD_REQUEST,
    TemplateNotFound: HTTPStatus.NOT_FOUND,
    TaskNotFound: HTTPStatus.NOT_FOUND,
    StepNotFound: HTTPStatus.NOT_FOUND,
    DeadLetterNotFound: HTTPStatus.NOT_FOUND,
    DeadLetterExists: HTTPStatus.CONFLICT,
    TemplateUnavailable: HTTPStatus.CONFLICT,
    TaskExists: HTTPStatus.CONFLICT,
    IllegalMove: HTTPStatus.CONFLICT,
    DatabaseError: HTTPStatus.SERVICE_UNAVAILABLE,
}

_CODES = {
    HTTPStatus.BAD_REQUEST: "REQUEST_INVALID",
    HTTPStatus.NOT_FOUND: "NOT_FOUND",
    HTTPStatus.METHOD_NOT_ALLOWED: "METHOD_NOT_ALLOWED",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "BODY_TOO_LARGE",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "NOT_JSON",
    HTTPStatus.SERVICE_UNAVAILABLE: "NOT_READY",
    HTTPStatus.INTERNAL_SERVER_ERROR: "INTERNAL",
}
"""Codes of what is wrong before or beside our own errors."""


def host_of(request: Request[Any, Any, Any]) -> Host:
    """The host whose application answers."""
    host: Host = request.app.state.host
    return host


def problem(
    status: HTTPStatus,
    code: str,
    detail: str,
    problems: tuple[Problem, ...] = (),
    *,
    headers: dict[str, str] | None = None,
    **more: Any,
) -> Response[bytes]:
    """A problem document as a response; `more` are further members."""
    content = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "code": code,
        "problems": [{"where": found.where, "message": found.message} for found in problems],
        **more,
    }
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers = {"Retry-After": "1", **(headers or {})}
    return Response(dumps(content).encode(), status_code=status.value, media_type=PROBLEM_JSON, headers=headers)


def not_ready(detail: str, **more: Any) -> Response[bytes]:
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "NOT_READY", detail, **more)


async def once_started(request: Request[Any, Any, Any]) -> Response[bytes] | None:
    """Before a request: 503 while the host starts."""
    if host_of(request).health.phase is Phase.STARTING:
        return not_ready("the host is starting")
    return None


def not_json(request: Request[Any, Any, Any]) -> Response[bytes] | None:
    """415 for a body that is not JSON by name: what a page of another site can send without asking never is."""
    if request.content_type[0] == "application/json":
        return None
    given = request.headers.get("content-type") or "none"
    detail = f"the body must be JSON, with Content-Type: application/json (got {given})"
    return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "NOT_JSON", detail)


def of_ours(_: Request[Any, Any, Any], error: TaskerError) -> Response[bytes]:
    status = next(
        (status for kind, status in _STATUSES.items() if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR
    )
    if isinstance(error, ProblemsError):
        return problem(status, error.code, error.summary, error.problems)
    if isinstance(error, DatabaseUnavailable) and error.retry_after_seconds is not None:
        # Whole seconds, and not before it is over.
        seconds = str(math.ceil(error.retry_after_seconds))
        return problem(status, error.code, str(error), headers={"Retry-After": seconds})
    return problem(status, error.code, str(error))


def of_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    status = HTTPStatus(error.status_code)
    code = _CODES.get(status, status.name)
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        return of_bug(request, error)
    if status is HTTPStatus.NOT_FOUND:
        return problem(status, code, f"no resource at {request.url.path}; /api-docs lists what there is")
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("allow", "").split(", ")
        allow = ", ".join(sorted({*allowed, "HEAD"} if "GET" in allowed else allowed))
        detail = f"{request.method} is not allowed at {request.url.path}; allowed there: {allow}"
        return problem(status, code, detail, headers={"Allow": allow})
    if status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        most = host_of(request).config.settings.web.request_body_max_bytes
        detail = f"the body is larger than the {most:,} bytes allowed (web.request_body_max_bytes)"
        return problem(status, code, f"{detail}; pass a reference instead")
    extra = error.extra if isinstance(error.extra, list) else []
    wrong = tuple(Problem(str(one.get("key", "")), str(one.get("message", ""))) for one in extra)
    return problem(status, code, str(error.detail), wrong)


def of_bug(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    if isinstance(error, TRANSIENT):
        detail = f"the database could not do it beside what else it does: {error}; nothing was done, try again"
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, DatabaseUnavailable.code, detail)
    log.error("request failed", method=request.method, path=request.url.path, exc_info=error)
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL", "the request failed inside the host; its log has the reason"
    )


def body(content: Any, *, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None) -> Response[bytes]:
    """A JSON response, with every digit of its numbers."""
    return Response(dumps(content).encode(), status_code=status.value, media_type=MediaType.JSON, headers=headers)
