"""Renewing leases from a thread of its own: a handler that blocks the loop costs neither its lease nor the others."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
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


LOOK_SECONDS = 0.1
"""After the first such step: most have ended by then, and many are renewed together."""


class LeaseKeeper:
    """Renews, at half their leases, the steps that `held()` returns; reports to `lost` those that are no longer ours.

    A step has `lease`, or the one that `held` says of it. `held` and `lost` are called on the keeper's thread.
    """

    def __init__(
        self,
        database: Database,
        worker: WorkerId,
        lease: timedelta,
        held: Callable[[], list[tuple[Claimed, timedelta | None]]],
        lost: Callable[[list[UUID]], None],
    ) -> None:
        self._database = database
        self._worker = worker
        self._lease = lease
        self._held = held
        self._lost = lost
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tasker-leases", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def look(self) -> None:
        """Renews soon: a step that was taken for the usual time has a lease of its own."""
        self._wake.set()

    def stop(self) -> None:
        """Stops and waits for the thread; a renewal under way is waited for a short while only."""
        self._stopped.set()
        self._wake.set()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        asyncio.run(self._keep())

    async def _keep(self) -> None:
        usual = every = wait = self._lease.total_seconds() / 2
        usual_at = time.monotonic() + usual
        connection: Connection | None = None
        try:
            while True:
                # Blocking here is the point: this loop serves nothing else, and its thread sleeps between renewals.
                if self._wake.wait(wait) and self._stopped.wait(LOOK_SECONDS):
                    return
                self._wake.clear()
                is_usual = time.monotonic() >= usual_at
                by_lease: dict[timedelta, list[Claimed]] = defaultdict(list)
                for step, own in self._held():
                    if own is not None or is_usual:
                        by_lease[own or self._lease].append(step)
                if is_usual:
                    usual_at = time.monotonic() + usual
                wait = min([usual_at - time.monotonic(), *(lease.total_seconds() / 2 for lease in by_lease)])
                if not by_lease:
                    continue
                every = min(lease.total_seconds() / 2 for lease in by_lease)
                try:
                    if connection is None or connection.is_closed():
                        connection = await self._database.connect(role="leases", synchronous_commit="off")
                    lost: list[UUID] = []
                    async with asyncio.timeout(every):
                        for lease, held in by_lease.items():
                            lost += await steps_renew(connection, self._worker, held, lease=lease)
                except (DatabaseError, asyncpg.PostgresError, *CONNECTION_LOST) as error:
                    # Tried again soon: the lease is still good for about as long as was waited.
                    held_now = sum(map(len, by_lease.values()))
                    log.warning("leases not renewed", held=held_now, error=str(error) or type(error).__name__)
                    await dropped(connection)
                    connection = None
                    wait, usual_at = min(1.0, every / 4), min(usual_at, time.monotonic())
                    continue
                if lost:
                    self._lost(lost)
        finally:
            await dropped(connection)
