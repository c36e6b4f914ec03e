"""Reading durable events outside the host: by a service of its own, from the PGMQ queue whose messages they are.

It calls PGMQ's own functions and needs nothing of the schema `tasker`, but for `once`, which keeps what was done in
`tasker.consumed_events`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import ceil
from types import TracebackType
from typing import TYPE_CHECKING, Self

import asyncpg
import structlog

from tasker_host.db.database import CONNECTION_LOST, TRANSIENT, Database, dropped
from tasker_host.db.sqlfiles import query
from tasker_host.domain.event import DomainEvent
from tasker_host.domain.json import loads
from tasker_host.errors import DatabaseUnavailable, JsonError, LeaseLost
from tasker_host.events.consumed import Consumed, check_arguments, check_there, lost, told

if TYPE_CHECKING:
    from asyncpg import Connection, Record

log = structlog.get_logger("tasker.consume")

RECONNECT_SECONDS = 1.0
"""Between attempts to reach a database that went away."""


def consume(
    dsn: str,
    queue: str,
    *,
    lease_seconds: int = 30,
    batch_size: int = 100,
    once: str | None = None,
    archive: bool = False,
    max_attempts: int | None = None,
    poll_interval_seconds: float = 1.0,
) -> Consumer:
    """The events of a queue, one after the other, as they come; for `async with` and, in it, `async for`.

    An event is nobody else's for `lease_seconds`, which is renewed while this consumer lives; when it dies, others get
    the event. Up to `batch_size` are held at the same time. Acknowledged events are deleted, or with `archive` kept in
    the archive of the queue. What is no event, or was shown more than `max_attempts` times, goes to that archive.

    At least once: an event may come again. With `once`, a name for what is done with them, an event that was
    acknowledged under that name is not shown again, though it be sent again.

    Raises DatabaseUnavailable when the database cannot be reached at first; later it is waited for. Raises
    DatabaseError when there is no such queue, and InvalidRequest for a queue that the host itself works on, and for
    arguments that make no sense.
    """
    check_arguments(
        queue,
        once,
        poll_interval_seconds,
        lease_seconds=lease_seconds,
        batch_size=batch_size,
        max_attempts=1 if max_attempts is None else max_attempts,
    )
    return Consumer(
        Database(dsn),
        queue,
        lease_seconds=lease_seconds,
        batch_size=batch_size,
        once=once,
        archive=archive,
        max_attempts=max_attempts,
        poll_interval_seconds=poll_interval_seconds,
    )


class Consumer:
    """See `consume`."""

    def __init__(
        self,
        database: Database,
        queue: str,
        *,
        lease_seconds: int,
        batch_size: int,
        once: str | None,
        archive: bool,
        max_attempts: int | None,
        poll_interval_seconds: float,
    ) -> None:
        self.queue = queue
        self.refused = 0
        """Messages that were no events, or were shown too often."""
        self._database = database
        self._lease_seconds = lease_seconds
        self._batch_size = batch_size
        self._once = once
        self._archive = archive
        self._max_attempts = max_attempts
        self._poll_interval_seconds = poll_interval_seconds
        # PGMQ's own functions do not ask whose a message is; they write names of tables in small letters.
        table = queue.lower().replace('"', '""')
        self._done_sql = query("consume_done").format(queue=table)
        self._again_sql = query("consume_again").format(queue=table)
        self._connection: Connection | None = None
        self._calling = asyncio.Lock()
        self._ready: deque[Consumed] = deque()
        self._ours_until: dict[Consumed, float] = {}
        self._changed = asyncio.Event()
        self._renewing: asyncio.Task[None] | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        async with self._calling:
            connection = await self._connected()
            try:
                await check_there(connection, self.queue)
            except BaseException:
                await self._disconnect()
                raise
        self._renewing = asyncio.create_task(self._renew(), name=f"tasker-consume-{self.queue}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the iteration and gives back what was not acknowledged: it comes to others at once."""
        self._closed = True
        self._changed.set()
        try:
            if self._renewing is not None:
                self._renewing.cancel()
                await asyncio.gather(self._renewing, return_exceptions=True)
            held = [event for event in self._ours_until if self._is_ours(event)]
            self._ours_until.clear()
            self._ready.clear()
            async with self._calling:
                if held and self._connection is not None:
                    await self._again(self._connection, held, 0)
                await self._disconnect()
        except (asyncpg.PostgresError, *CONNECTION_LOST) as error:
            log.warning("events not given back, they come again when their leases end", error=str(error))
        finally:
            # Also when that failed, or whoever closes was cancelled meanwhile.
            await self._disconnect()
            await self._database.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Consumed:
        """The next event, as soon as there is one. Ends when the consumer is closed."""
        while not self._closed:
            while self._ready:
                event = self._ready.popleft()
                if self._is_ours(event):
                    return event
                self._ours_until.pop(event, None)  # not renewed in time: somebody else's by now
            await self._fill()
        raise StopAsyncIteration

    # Reading ----------------------------------------------------------------------------------------------------------

    async def _fill(self) -> None:
        self._changed.clear()
        want = self._batch_size - len(self._ours_until)
        if want <= 0:
            await self._changed.wait()  # all that it may hold is being dealt with
            return
        try:
            found = await self._read(want)
        except (DatabaseUnavailable, asyncpg.QueryCanceledError, *TRANSIENT, *CONNECTION_LOST) as error:
            log.warning("events not read", queue=self.queue, error=str(error) or type(error).__name__)
            await self._disconnect()
            await asyncio.sleep(RECONNECT_SECONDS * random.uniform(0.75, 1.25))  # noqa: S311 - jitter, not a secret
            return
        if not found and not self._closed:
            await asyncio.sleep(0)
            try:
                async with asyncio.timeout(self._poll_interval_seconds * random.uniform(0.9, 1.1)):  # noqa: S311
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _read(self, want: int) -> int:
        """How many messages there were."""
        async with self._calling:
            connection = await self._connected()
            asked_at = time.monotonic()
            rows = await connection.fetch(query("consume_read"), self.queue, self._lease_seconds, want)
            events = [self._opened(row) for row in sorted(rows, key=lambda row: row["msg_id"])]
            if refused := [event for event in events if isinstance(event, int)]:
                self.refused += len(refused)
                await connection.execute(query("consume_refuse"), self.queue, refused)
            shown = await self._not_done(connection, [event for event in events if isinstance(event, Consumed)])
        for event in shown:
            self._ours_until[event] = asked_at + self._lease_seconds
        self._ready += shown
        return len(rows)

    def _opened(self, row: Record) -> Consumed | int:
        """The event of a message; its id alone when it is not to be shown."""
        try:
            event = DomainEvent.from_message(loads(row["message"]))
        except (ValueError, TypeError, AttributeError, JsonError) as error:
            log.error("message is no event, archived", queue=self.queue, message=row["msg_id"], error=str(error))
            return int(row["msg_id"])
        if self._max_attempts is not None and row["read_ct"] > self._max_attempts:
            log.error("event was shown too often, archived", queue=self.queue, event_id=str(event.event_id))
            return int(row["msg_id"])
        return Consumed(event, row["msg_id"], row["read_ct"], self)

    async def _not_done(self, connection: Connection, events: list[Consumed]) -> list[Consumed]:
        """Those that were not done before under the name of this consumer; the messages of the others end."""
        if self._once is None or not events:
            return events
        ids = [str(event.event_id) for event in events]
        done = {row[0] for row in await connection.fetch(query("consume_known"), self._once, ids)}
        for event in events:
            if str(event.event_id) in done:
                await self._end(connection, event)
        return [event for event in events if str(event.event_id) not in done]

    # What becomes of events -------------------------------------------------------------------------------------------

    async def ack(self, event: Consumed) -> None:
        self._check(event)
        try:
            async with self._calling:
                connection = await self._connected()
                if self._once is None:
                    ended = await self._end(connection, event)
                else:
                    async with connection.transaction():
                        await connection.fetchval(query("consume_remember"), self._once, str(event.event_id))
                        ended = await self._end(connection, event)
                        if not ended:
                            raise LeaseLost(lost(event))
        except CONNECTION_LOST as error:
            await self._disconnect()
            raise DatabaseUnavailable(f"the connection was lost, whether {told(event)} is done is not known") from error
        finally:
            self._forget(event)
        if not ended:
            raise LeaseLost(lost(event))

    async def retry(self, event: Consumed, after_seconds: float) -> None:
        self._check(event)
        try:
            async with self._calling:
                # Not before then: PGMQ counts whole seconds.
                ours = await self._again(await self._connected(), [event], ceil(max(0.0, after_seconds)))
        except CONNECTION_LOST as error:
            await self._disconnect()
            raise DatabaseUnavailable(f"the connection was lost: {told(event)} comes again, maybe sooner") from error
        finally:
            self._forget(event)
        if not ours:
            raise LeaseLost(lost(event))

    @asynccontextmanager
    async def transaction(self, event: Consumed) -> AsyncIterator[Connection]:
        self._check(event)
        await self._database.open()
        async with self._database.acquire() as connection, connection.transaction():
            if self._once is not None and not await connection.fetchval(
                query("consume_remember"), self._once, str(event.event_id)
            ):
                raise LeaseLost(f"{told(event)} was done already as {self._once!r}; nothing was written")
            yield connection
            if not await self._end(connection, event):
                raise LeaseLost(lost(event))
        # Only now: when that failed the event is still ours, to be tried again or given back.
        self._forget(event)

    async def _end(self, connection: Connection, event: Consumed) -> bool:
        """Takes the message away, if it is still ours."""
        arguments = (self.queue, event.message_id, event.attempt, self._archive)
        return bool(await connection.fetchval(self._done_sql, *arguments))

    async def _again(self, connection: Connection, events: Sequence[Consumed], after_seconds: int) -> set[int]:
        """Makes messages visible after so many seconds; those that are still ours."""
        messages = [event.message_id for event in events]
        attempts = [event.attempt for event in events]
        rows = await connection.fetch(self._again_sql, messages, attempts, after_seconds)
        return {row[0] for row in rows}

    # Leases -----------------------------------------------------------------------------------------------------------

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            held = [event for event in self._ours_until if self._is_ours(event)]
            if not held:
                continue
            asked_at = time.monotonic()
            try:
                async with self._calling:
                    ours = await self._again(await self._connected(), held, self._lease_seconds)
            except (DatabaseUnavailable, asyncpg.PostgresError, *CONNECTION_LOST) as error:
                log.warning("leases of events not renewed", queue=self.queue, error=str(error) or type(error).__name__)
                continue
            for event in held:
                if event not in self._ours_until:
                    continue
                if event.message_id in ours:
                    self._ours_until[event] = asked_at + self._lease_seconds
                else:
                    self._forget(event)

    def _is_ours(self, event: Consumed) -> bool:
        return self._ours_until.get(event, 0.0) > time.monotonic()

    def _check(self, event: Consumed) -> None:
        if not self._is_ours(event):
            self._forget(event)
            raise LeaseLost(lost(event))

    def _forget(self, event: Consumed) -> None:
        self._ours_until.pop(event, None)
        self._changed.set()

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._database.connect(role=f"consumer {self.queue}")
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        await dropped(connection)
