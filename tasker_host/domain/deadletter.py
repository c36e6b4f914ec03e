"""Dead letters: why there is one, and how its investigation stands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

from tasker_host.domain.suggest import did_you_mean


class DeadLetterReason(StrEnum):
    STALENESS_TIMEOUT = "staleness_timeout"
    MAX_RETRIES_EXCEEDED = "max_retries_exceeded"
    DEPENDENCY_CYCLE_DETECTED = "dependency_cycle_detected"
    WORKER_UNAVAILABLE = "worker_unavailable"
    MANUAL_DLQ = "manual_dlq"


class Resolution(StrEnum):
    """`pending` is where an investigation begins; the others end it."""

    PENDING = "pending"
    MANUALLY_RESOLVED = "manually_resolved"
    PERMANENTLY_FAILED = "permanently_failed"
    CANCELLED = "cancelled"


Word = TypeVar("Word", bound=StrEnum)

_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")

_MESSAGES = {
    "max_duration": "the task ran longer than its template allows (lifecycle, max_duration_seconds or _minutes)",
    "staleness_timeout": "the task had not moved for longer than it may (lifecycle, sweep.staleness)",
    "dependency_cycle_detected": "steps of the task wait for each other, so none of them can ever run",
}


def word(kind: type[Word], text: str) -> Word:
    """The member that `text` names, in snake_case or PascalCase. Raises ValueError, which lists what there is."""
    known = [member.value for member in kind]
    name = _CAPITAL.sub("_", text).lower() if text[:1].isupper() else text
    if name not in known:
        raise ValueError(f"must be one of {', '.join(known)}{did_you_mean(name, known)}")
    return kind(name)


def ended_because(event: Mapping[str, Any]) -> dict[str, Any]:
    """Why a task as a whole is in error: the reason of its last move with a sentence for people."""
    return {**event, "message": _MESSAGES.get(event["reason"], event["reason"])}
