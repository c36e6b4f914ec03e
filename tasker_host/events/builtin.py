"""The subscribers that the host itself brings: a plugin like any other, registered through the same hook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import structlog

from tasker_host.domain.event import DomainEvent
from tasker_host.hooks.records import Subscriber
from tasker_host.hooks.specs import hookimpl

log = structlog.get_logger("tasker.events")

METRICS_QUEUE = 100_000
"""Counting is quick: only a loop that stands still for long makes it fall so far behind."""


class BuiltIn:
    """`log` are the patterns of events that are logged; `metrics` False: fast events are not counted."""

    def __init__(self, *, log: Sequence[str], metrics: bool) -> None:
        self.metrics = EventMetrics() if metrics else None
        self._log = tuple(log)

    @hookimpl
    def tasker_subscribers(self) -> list[Subscriber]:
        # Their own process's only: where hosts share events, each is logged and counted once, where it was published.
        found = []
        if self._log:
            found.append(Subscriber("tasker.log", self._log, log_event, own_only=True))
        if self.metrics is not None:
            receive = self.metrics.receive
            found.append(Subscriber("tasker.metrics", ("*",), receive, queue_size=METRICS_QUEUE, own_only=True))
        return found


async def log_event(event: DomainEvent) -> None:
    """One line an event."""
    metadata = event.metadata
    log.info(
        "domain event",
        event_name=event.event_name,
        event_id=str(event.event_id),
        event_version=event.event_version,
        task=metadata.get("task_uuid"),
        step=metadata.get("step_name"),
        namespace=metadata.get("namespace"),
        correlation_id=metadata.get("correlation_id"),
        fired_at=metadata.get("fired_at"),
        fired_by=metadata.get("fired_by"),
    )


class EventMetrics:
    """What fast events were about, since the start of this host."""

    def __init__(self) -> None:
        self.received = 0
        self.outcomes: Counter[str] = Counter()
        self.by_name: Counter[str] = Counter()
        self.by_namespace: Counter[str] = Counter()
        self.last_event_at: datetime | None = None

    async def receive(self, event: DomainEvent) -> None:
        self.received += 1
        self.outcomes["success" if event.metadata.get("outcome", "success") == "success" else "failure"] += 1
        self.by_name[event.event_name] += 1
        self.by_namespace[event.metadata.get("namespace", "")] += 1
        self.last_event_at = datetime.now(UTC)

    def summary(self) -> dict[str, Any]:
        return {
            "events_received": self.received,
            "success_events": self.outcomes["success"],
            "failure_events": self.outcomes["failure"],
            "by_name": dict(sorted(self.by_name.items())),
            "by_namespace": dict(sorted(self.by_namespace.items())),
            "last_event_at": self.last_event_at,
        }
