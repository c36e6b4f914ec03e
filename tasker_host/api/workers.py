"""`/v1/workers`: the living fleet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from litestar import Controller, Request, Response, get

from tasker_host.api.docs import described, problems
from tasker_host.api.problems import body, host_of, once_started
from tasker_host.db.queries import workers_list


@dataclass(frozen=True, slots=True)
class WorkerBody:
    """A worker. `state` is running, shedding, draining, blocked, or lost when it has not been heard of for a while.

    `unserved` are steps that it was given and has no handler for: it left them to others.
    """

    worker: str
    name: str
    host: str
    pid: int
    since: datetime
    seen_at: datetime
    version: str
    state: str
    slots: int
    running: int
    abandoned_threads: int
    tags: list[str]
    namespaces: list[str]
    unserved: list[dict[str, Any]]


WORKER: dict[str, Any] = {
    "worker": "shop-1-4711-9f2c1a",
    "name": "shop-1-4711",
    "host": "shop-1",
    "pid": 4711,
    "since": "2026-11-20T09:00:00.000000+00:00",
    "seen_at": "2026-11-20T09:30:02.512000+00:00",
    "version": "0.1.0",
    "state": "running",
    "slots": 200,
    "running": 12,
    "abandoned_threads": 0,
    "tags": [],
    "namespaces": ["payments"],
    "unserved": [],
}


class WorkerController(Controller):
    path = "/v1/workers"
    tags = ["workers"]  # noqa: RUF012 - as the framework declares it
    before_request = staticmethod(once_started)

    @get(
        "/",
        responses={**described(list[WorkerBody], [WORKER], description="They."), **problems(503)},
        summary="List workers",
    )
    async def list_workers(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """The living workers of this database, by host and process."""
        return body(await workers_list(host_of(request).database))
