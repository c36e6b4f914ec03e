"""What a worker says to the database: one held connection, one call at a time.

A call that could not be made is no error here: the worker keeps what it wanted to say and says it again later. What is
reported twice changes nothing the second time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
import structlog

from tasker_host.db.database import CANNOT_WRITE, CONNECTION_LOST, TRANSIENT, UNABLE, Database
from tasker_host.db.kernel import (
    Checkpointed,
    Claimed,
    Outcome,
    Taken,
    steps_checkpoint,
    steps_claim,
    steps_finish,
    steps_renew,
)
from tasker_host.domain.ids import WorkerId
from tasker_host.domain.result import Failed
from tasker_host.errors import DatabaseUnavailable
from tasker_host.worker.options import WorkerOptions

if TYPE_CHECKING:
    from asyncpg import Connection

log = structlog.get_logger("tasker.worker")

MOST_PAUSE_SECONDS = 2.0

_LOST = (DatabaseUnavailable, *CONNECTION_LOST)

_NOT_NOW = (*_LOST, *TRANSIENT, *UNABLE, asyncpg.SyntaxOrAccessError)
"""No outcome brings these about: the server is away or cannot, or what it is asked by is missing there or forbidden
to us. The same call is made again."""


class Calls:
    """The connection of one worker, opened again whenever it was lost."""

    def __init__(
        self,
        worker_id: WorkerId,
        options: WorkerOptions,
        *,
        database: Database,
        namespaces: list[str],
        tags: list[str] | None,
        on_connected: Callable[[], None],
        instead: Callable[[Outcome, Failed], Awaitable[Outcome]],
    ) -> None:
        self.connected = False
        self._id = worker_id
        self._options = options
        self._database = database
        self._namespaces = namespaces
        self._tags = tags
        self._on_connected = on_connected
        self._instead = instead
        self._connection: Connection | None = None
        self._calling = asyncio.Lock()
        self._unable = 0  # calls in a row that the server could not carry out

    @property
    def are_busy(self) -> bool:
        return self._calling.locked()

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Connection]:
        """The connection, for a call of somebody else. Raises DatabaseUnavailable."""
        async with self._calling:
            try:
                yield await self._connected()
            except CONNECTION_LOST as error:
                raise DatabaseUnavailable(f"the connection to the database was lost: {error}") from error
            except UNABLE as error:
                raise DatabaseUnavailable(f"the database cannot do this now, and nothing was done: {error}") from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self.connected = False

    async def take(self, outcomes: list[Outcome], want: int, *, look: bool) -> tuple[Taken | None, list[Outcome]]:
        """One round trip: reports `outcomes`, takes up to `want` steps. None, and what is left to report: not now."""
        async with self._calling:
            try:
                taken = await self._finish_or_claim(await self._connected(), outcomes, want, look=look)
                self._unable = 0
                return taken, []
            except _NOT_NOW as error:
                await self._not_now(error)
                return None, outcomes
            except asyncpg.PostgresError as error:
                if not outcomes:
                    await self._refused(error)
                    return None, []
                log.warning("batch refused, reporting one by one", outcomes=len(outcomes), error=str(error))
                return await self._one_by_one(outcomes)

    async def checkpoint(self, saved: Sequence[tuple[Claimed, str]]) -> set[UUID] | None:
        """Saves how far steps have come; those of them that are still ours, None: not now."""
        async with self._calling:
            try:
                return await self._save(saved)
            except _NOT_NOW as error:
                await self._not_now(error)
                return None

    async def _save(self, saved: Sequence[tuple[Claimed, str]]) -> set[UUID]:
        """One that the database refuses is left to its lease, and holds back no other."""
        cut = [Checkpointed(s.namespace, s.step_uuid, s.attempt, s.msg_id, value) for s, value in saved]
        try:
            return await steps_checkpoint(await self._connected(), self._id, cut, lease=self._options.lease)
        except asyncpg.PostgresError as error:
            if isinstance(error, _NOT_NOW):
                raise
            if len(saved) > 1:
                return set().union(*[await self._save([one]) for one in saved])
            log.error("checkpoint cannot be stored", step=str(saved[0][0].step_uuid), error=str(error))
            return set()

    async def renew(self, held: Sequence[Claimed]) -> Sequence[UUID] | None:
        """Renews the leases of what is held; those that are no longer ours, None: not now."""
        async with self._calling:
            try:
                return await steps_renew(await self._connected(), self._id, held, lease=self._options.lease)
            except _NOT_NOW as error:
                await self._not_now(error)
                return None

    async def _finish_or_claim(
        self, connection: Connection, outcomes: list[Outcome], want: int, *, look: bool
    ) -> Taken:
        lease = self._options.lease
        if not outcomes:
            return await steps_claim(connection, self._id, self._namespaces, want=want, lease=lease, tags=self._tags)
        return await steps_finish(
            connection, self._id, outcomes, self._namespaces, want=want, lease=lease, look=look, tags=self._tags
        )

    async def _one_by_one(self, outcomes: list[Outcome]) -> tuple[Taken | None, list[Outcome]]:
        """An outcome that the database refuses must not hold back the others of its batch: it becomes a failure."""
        ended: list[UUID] = []
        superseded: list[UUID] = []
        final: list[UUID] = []
        relayed = False
        while outcomes:
            try:
                taken = await self._finish_alone(outcomes[0])
            except _NOT_NOW as error:
                await self._not_now(error)
                break
            except asyncpg.PostgresError as error:
                # Neither it nor its failure: what is left of it is its lease. The others go on.
                log.error("outcome cannot be stored", step=str(outcomes[0].step_uuid), error=str(error))
                superseded.append(outcomes[0].step_uuid)
                outcomes = outcomes[1:]
                continue
            self._unable = 0
            ended += taken.ended
            superseded += taken.superseded
            final += taken.final
            relayed = relayed or taken.relayed
            outcomes = outcomes[1:]
        told = Taken(steps=[], ended=ended, superseded=superseded, left=self._namespaces, relayed=relayed, final=final)
        return told, outcomes

    async def _finish_alone(self, outcome: Outcome) -> Taken:
        connection = await self._connected()
        lease = self._options.lease
        try:
            return await steps_finish(connection, self._id, [outcome], [], want=0, lease=lease)
        except asyncpg.PostgresError as error:
            if isinstance(error, _NOT_NOW):
                raise
            refused = Failed(f"the outcome could not be stored: {error}", "permanent_error", retryable=False)
            instead = await self._instead(outcome, refused)
            return await steps_finish(connection, self._id, [instead], [], want=0, lease=lease)

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._database.connect(
                role=f"worker {self._id}",
                idle_in_transaction_session_timeout="60s",
                # A report that takes longer than others may would be made again for ever.
                statement_timeout="0",
            )
            self.connected = True
            self._on_connected()
        return self._connection

    async def _not_now(self, error: BaseException) -> None:
        """What is to be done before the same call is made again."""
        if isinstance(error, CANNOT_WRITE) or not isinstance(error, (*_LOST, *TRANSIENT)):
            await self._refused(error)
        elif not isinstance(error, TRANSIENT):
            await self._disconnected(error)

    async def _disconnected(self, error: BaseException) -> None:
        if self.connected or self._connection is None:
            log.warning("database lost, reconnecting", worker=self._id, error=str(error) or type(error).__name__)
        self.connected = False
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
        await asyncio.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - jitter, not a secret

    async def _refused(self, error: BaseException) -> None:
        """The server is there, and cannot: asked again later, and later still while that goes on."""
        if isinstance(error, asyncpg.ReadOnlySQLTransactionError) and self._connection is not None:
            # Another connection may lead to the server that has taken over.
            self._connection.terminate()
            self._connection = None
        pause = min(MOST_PAUSE_SECONDS, 0.25 * 2**self._unable)
        self._unable = min(self._unable + 1, 10)
        log.warning("the database cannot, asking again", worker=self._id, error=str(error), pause_seconds=pause)
        await asyncio.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311 - jitter, not a secret
