"""The product: a host in this process, its worker with default settings, and the ways in and out that a caller has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from plugin import NAMESPACE, plugin
from workloads import KERNEL_COMPLETED, Workload

from tasker_host.config import Config, load
from tasker_host.domain.request import TaskRequest
from tasker_host.host import Host
from tasker_host.runtime.garbage import spare_what_is_loaded

STALLED_SECONDS = 120


class Product:
    def __init__(self, host: Host, workload: Workload) -> None:
        self._host = host
        self._name = workload.name
        self._next_task = 0

    async def run(self, tasks: int) -> None:
        numbers = range(self._next_task, self._next_task + tasks)
        self._next_task += tasks
        requests = [TaskRequest(namespace=NAMESPACE, name=self._name, context={"n": number}) for number in numbers]
        uuids: list[UUID] = []
        for answer in await self._host.submissions.submit_many(requests):
            if not isinstance(answer, UUID):
                raise answer
            uuids.append(answer)
        await self._host.watch.settled(uuids, timeout_seconds=STALLED_SECONDS)

    async def completed(self) -> int:
        return int(await self._host.database.fetchval(KERNEL_COMPLETED))


def config(dsn: str) -> Config:
    """The defaults, whatever this machine's environment says, on the database `dsn`."""
    settings = {"database.url": dsn, "database.auto_migrate": "always", "web.enabled": False}
    return load(env="production", environ={}, overrides=settings)


@asynccontextmanager
async def product(dsn: str, workload: Workload) -> AsyncIterator[Product]:
    async with Host(config(dsn), plugins={"bench": plugin(workload)}, entry_points=False) as host:
        spare_what_is_loaded()  # as `tasker run` does
        yield Product(host, workload)
