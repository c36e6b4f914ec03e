"""`/metrics/events`: what became of domain events."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from litestar import Controller, Request, Response, get

from tasker_host.api.docs import described, problems
from tasker_host.api.problems import body, host_of, once_started
from tasker_host.db.relays import relays_stats


@dataclass(frozen=True, slots=True)
class RouterBody:
    """Events that were published, by the way they went, a broadcast once; `routing_errors` is how many failed."""

    total_routed: int
    durable_routed: int
    fast_routed: int
    broadcast_routed: int
    fast_delivery_errors: int
    routing_errors: int


@dataclass(frozen=True, slots=True)
class EventCountBody:
    """What became of one event by one publisher."""

    namespace: str
    event_name: str
    publisher: str
    published: int
    declined: int
    failed: int
    last_error: str | None
    last_error_at: datetime | None
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class SubscriberBody:
    """A subscriber of this process. `received` counts events that it was given, also those in which it failed."""

    name: str
    events: list[str]
    queue_size: int
    queued: int
    received: int
    failed: int
    timed_out: int
    dropped: int
    last_error: str | None
    last_error_at: datetime | None


@dataclass(frozen=True, slots=True)
class FastBusBody:
    """The fast path of this process. `dropped` are events that a subscriber was too slow for."""

    total_events_dispatched: int
    dropped: int
    subscribers: list[SubscriberBody]


@dataclass(frozen=True, slots=True)
class FastEventsBody:
    """What fast events were about; with `events.metrics = false` there is none of it."""

    events_received: int
    success_events: int
    failure_events: int
    by_name: dict[str, int]
    by_namespace: dict[str, int]
    last_event_at: datetime | None


@dataclass(frozen=True, slots=True)
class SharingBody:
    """Fast events to and from other hosts; without `events.share.enabled` there is none of it.

    Of those of this host: `sent`, `queued`, `dropped` (too many waited), `too_large` for a notification, `lost` with a
    call to the database. `unreadable` are notifications that no host sent.
    """

    sent: int
    received: int
    queued: int
    dropped: int
    too_large: int
    lost: int
    unreadable: int


@dataclass(frozen=True, slots=True)
class EventMetricsBody:
    """Everything but `relays` is of this host, since its start; `relays` are those of all hosts."""

    worker_id: str
    captured_at: datetime
    router: RouterBody
    events: list[EventCountBody]
    in_process_bus: FastBusBody
    sharing: SharingBody | None
    fast_events: FastEventsBody | None
    relays: list[dict[str, Any]]


METRICS: dict[str, Any] = {
    "worker_id": "shop-1-4711-9f2c1a",
    "captured_at": "2026-11-20T09:30:02.512000+00:00",
    "router": {
        "total_routed": 3,
        "durable_routed": 2,
        "fast_routed": 1,
        "broadcast_routed": 0,
        "fast_delivery_errors": 0,
        "routing_errors": 0,
    },
    "events": [
        {
            "namespace": "payments",
            "event_name": "payment.processed",
            "publisher": "default",
            "published": 3,
            "declined": 0,
            "failed": 0,
            "last_error": None,
            "last_error_at": None,
            "last_at": "2026-11-20T09:30:01.000000+00:00",
        }
    ],
    "in_process_bus": {"total_events_dispatched": 1, "dropped": 0, "subscribers": []},
    "sharing": None,
    "fast_events": None,
    "relays": [],
}


class EventController(Controller):
    path = "/metrics/events"
    tags = ["events"]  # noqa: RUF012 - as the framework declares it
    before_request = staticmethod(once_started)

    @get(
        "/",
        responses={**described(EventMetricsBody, METRICS, description="They."), **problems(503)},
        summary="Count domain events",
    )
    async def metrics(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """What became of the events of this host, how its subscribers do, and what relays delivered."""
        host = host_of(request)
        return body(
            {
                "worker_id": host.events.fired_by,
                "captured_at": datetime.now(UTC),
                **host.events.summary(),
                "relays": await relays_stats(host.database),
            }
        )
