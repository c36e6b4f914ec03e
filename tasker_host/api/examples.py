"""What the description shows of each body: one submission, what came of it, and what may be answered instead."""

from __future__ import annotations

from typing import Any

REQUEST: dict[str, Any] = {
    "namespace": "examples_linear",
    "name": "mathematical_sequence",
    "context": {"even_number": 6},
    "tags": ["docs"],
    "idempotency_key": "first-try",
}

_SUMMARY: dict[str, Any] = {
    "task_uuid": "0192f0c4-5d00-7c7e-8a51-6f3d2b1c0e9a",
    "namespace": "examples_linear",
    "name": "mathematical_sequence",
    "version": "1.0.0",
    "status": "complete",
    "created_at": "2026-11-20T09:30:00.120451+00:00",
    "updated_at": "2026-11-20T09:30:00.128034+00:00",
    "start_at": None,
    "completed_at": "2026-11-20T09:30:00.128034+00:00",
    "priority": 0,
    "tags": ["docs"],
    "initiator": "system",
    "source_system": "tasker-host",
    "reason": "Task requested",
    "correlation_id": "0192f0c4-5d00-7b16-9c3e-0d9f6a57e2b4",
    "parent_correlation_id": None,
    "total_steps": 1,
    "completed_steps": 1,
    "failed_steps": 0,
    "active_steps": 0,
    "retrying_steps": 0,
    "forgiven_steps": 0,
    "completion_percentage": 100.0,
}

TASK: dict[str, Any] = {
    **_SUMMARY,
    "deadline_at": None,
    "on_failure": "block",
    "execution_status": "all_complete",
    "recommended_action": "finalize_task",
    "health_status": "healthy",
    "ready_steps": 0,
    "because": None,
    "error": None,
    "context": {"even_number": 6},
    "steps": [
        {
            "step_uuid": "0192f0c4-5d00-7d21-b0aa-3c5f7e9d1b48",
            "name": "square",
            "current_state": "complete",
            "state_since": "2026-11-20T09:30:00.128034+00:00",
            "attempts": 1,
            "max_attempts": 3,
            "dependencies": [],
            "dependencies_satisfied": True,
            "total_parents": 0,
            "completed_parents": 0,
            "retry_eligible": True,
            "ready_for_execution": False,
            "optional": False,
            "priority": None,
            "tags": [],
            "waits_for_limit": None,
            "worker": "shop-1-4711-9f2c1a",
            "next_retry_at": None,
            "took_ms": 0.4,
            "checkpoint": None,
            "result": 36,
            "error": None,
        }
    ],
}

STEP: dict[str, Any] = TASK["steps"][0]

TASKS: dict[str, Any] = {
    "tasks": [_SUMMARY],
    "pagination": {
        "page": 1,
        "per_page": 25,
        "total_count": 1,
        "total_pages": 1,
        "has_next": False,
        "has_previous": False,
    },
}

ALIVE: dict[str, Any] = {"status": "alive", "timestamp": "2026-11-20T09:30:00.120451+00:00"}

_CHECKS: list[dict[str, Any]] = [
    {"name": "database", "status": "healthy", "message": "", "took_ms": 0.6, "critical": True},
    {"name": "worker", "status": "healthy", "message": "0 of 16 slots in use", "took_ms": 0.0, "critical": True},
    {"name": "plugins", "status": "healthy", "message": "", "took_ms": 0.0, "critical": True},
]

HEALTH: dict[str, Any] = {
    "status": "healthy",
    "phase": "ready",
    "timestamp": "2026-11-20T09:30:00.120451+00:00",
    "checks": _CHECKS,
    "info": {"version": "0.1.0", "environment": "development"},
}

READY: dict[str, Any] = {**HEALTH, "status": "ready", "info": {}}

UNHEALTHY: dict[str, Any] = {
    **HEALTH,
    "status": "unhealthy",
    "checks": [
        {
            "name": "database",
            "status": "unhealthy",
            "message": "no answer within 2 s",
            "took_ms": 2000.3,
            "critical": True,
        },
        *_CHECKS[1:],
    ],
}

_PROBLEMS: dict[int, tuple[str, str, str, list[dict[str, str]]]] = {
    400: (
        "Bad Request",
        "the request is not valid",
        "REQUEST_INVALID",
        [{"where": "priority", "message": "must be a whole number (got 'high')"}],
    ),
    404: (
        "Not Found",
        "no template named 'examples_linear/mathematical_sequense'; did you mean"
        " 'examples_linear/mathematical_sequence'?",
        "TEMPLATE_NOT_FOUND",
        [],
    ),
    409: ("Conflict", "the identity is taken by another task", "TASK_EXISTS", []),
    413: (
        "Request Entity Too Large",
        "the body is larger than the 2,097,152 bytes allowed (web.request_body_max_bytes); pass a reference instead",
        "BODY_TOO_LARGE",
        [],
    ),
    415: (
        "Unsupported Media Type",
        "the body must be JSON, with Content-Type: application/json (got text/plain)",
        "NOT_JSON",
        [],
    ),
    503: ("Service Unavailable", "the host is starting", "NOT_READY", []),
}


def problem_example(status: int) -> dict[str, Any]:
    """A problem document of this status."""
    title, detail, code, problems = _PROBLEMS[status]
    return {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "problems": problems,
    }
