"""What carries durable events out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasker_host.domain.event import DomainEvent


@dataclass(frozen=True, slots=True)
class Relay:
    """Carries durable events to one target outside: those whose names match one of the patterns in `events`.

    `deliver(event)`, sync (called in a thread) or async, is given a `DomainEvent`; when it returns, that is delivered.
    What it raises says what is done: `TargetGone` stops the relay, `PermanentError` gives this event up, everything
    else is tried again with growing waits; `RetryableError(retry_after=…)` after that many seconds, and nothing else is
    delivered before. At least once: an event comes again when its host dies between delivering it and saying so.

    `ordered_by` says where in an event a key is (`payload.order_id`, `metadata.task_uuid`): an event is delivered only
    after the one before of the same key was delivered or given up. `namespaces`: only events of tasks of these. What is
    None is as configured in `events.relays`.
    """

    name: str
    events: Sequence[str]
    deliver: Callable[[DomainEvent], Any]
    ordered_by: str | None = field(default=None, kw_only=True)
    namespaces: Sequence[str] = field(default=(), kw_only=True)
    concurrency: int | None = field(default=None, kw_only=True)
    timeout_seconds: float | None = field(default=None, kw_only=True)
    max_attempts: int | None = field(default=None, kw_only=True)
    retry_base_seconds: float | None = field(default=None, kw_only=True)
    retry_max_seconds: float | None = field(default=None, kw_only=True)
