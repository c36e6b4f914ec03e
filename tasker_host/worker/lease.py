"""Renewing leases from a thread of its own: a handler that blocks the loop costs neither its lease nor the others."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
import structlog

from tasker_host.db.database import CONNECTION_LOST, Database, dropped
from tasker_host.db.kernel import Claimed, steps_renew
from tasker_host.domain.ids import WorkerId
from tasker_host.errors import DatabaseError

if TYPE_CHECKING:
    from asyncpg import Connection

log = structlog.get_logger("tasker.worker")


class LeaseKeeper:
    """Renews, at half the lease, what `held()` returns; reports to `lost` the steps that are no longer ours.

    `held` and `lost` are called on the keeper's thread.
    """

    def __init__(
        self,
        database: Database,
        worker: WorkerId,
        lease: timedelta,
        held: Callable[[], list[Claimed]],
        lost: Callable[[list[UUID]], None],
    ) -> None:
        self._database = database
        self._worker = worker
        self._lease = lease
        self._held = held
        self._lost = lost
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tasker-leases", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stops and waits for the thread; a renewal under way is waited for a short while only."""
        self._stop.set()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        asyncio.run(self._keep())

    async def _keep(self) -> None:
        every = self._lease.total_seconds() / 2
        wait = every
        connection: Connection | None = None
        try:
            # Blocking here is the point: this loop serves nothing else, and its thread sleeps between renewals.
            while not self._stop.wait(wait):
                held = self._held()
                wait = every
                if not held:
                    continue
                try:
                    if connection is None or connection.is_closed():
                        connection = await self._database.connect(role="leases", synchronous_commit="off")
                    async with asyncio.timeout(every):
                        lost = await steps_renew(connection, self._worker, held, lease=self._lease)
                except (DatabaseError, asyncpg.PostgresError, *CONNECTION_LOST) as error:
                    # Tried again soon: the lease is still good for about as long as was waited.
                    log.warning("leases not renewed", held=len(held), error=str(error) or type(error).__name__)
                    await dropped(connection)
                    connection = None
                    wait = min(1.0, every / 4)
                    continue
                if lost:
                    self._lost(lost)
        finally:
            await dropped(connection)
