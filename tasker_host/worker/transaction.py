"""A step in one transaction with its handler's own writes: all becomes true together, or nothing does."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg

from tasker_host.db.database import Database, is_lost
from tasker_host.db.kernel import Outcome, Taken

if TYPE_CHECKING:
    from asyncpg import Connection
    from asyncpg.transaction import Transaction

Finish = Callable[["Connection", Outcome], Awaitable[Taken]]
"""Reports an outcome on a connection."""


class StepTransaction:
    """One of one attempt; opened when the handler first asks for it, ended by `finish` or `roll_back`."""

    def __init__(self, database: Database, finish: Finish) -> None:
        self._database = database
        self._finish = finish
        self._stack = AsyncExitStack()
        self._connection: Connection | None = None
        self._transaction: Transaction | None = None

    @property
    def is_open(self) -> bool:
        return self._transaction is not None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """What the handler is given. An exception that leaves the block undoes what was done."""
        if self._connection is None:
            connection: Connection = await self._stack.enter_async_context(self._database.acquire())
            self._connection, self._transaction = connection, connection.transaction()
            await self._transaction.start()
        try:
            yield self._connection
        except BaseException:
            await self.roll_back()
            raise

    async def finish(self, outcome: Outcome) -> Taken:
        """Reports the outcome and commits; when it comes too late, all is undone. Raises what the database does."""
        assert self._connection is not None
        assert self._transaction is not None
        try:
            taken = await self._finish(self._connection, outcome)
            if not taken.superseded:
                await self._transaction.commit()
                self._transaction = None
        finally:
            await self.roll_back()
        return taken

    async def roll_back(self) -> None:
        """Undoes what was done, if anything is open. Never raises: what the server lost, it undoes by itself."""
        connection, transaction = self._connection, self._transaction
        self._connection = self._transaction = None
        stack, self._stack = self._stack, AsyncExitStack()
        try:
            if connection is not None and not is_lost(connection):
                if transaction is not None:
                    await transaction.rollback()
                # What the handler set or locked for the session must not reach whoever is given it next.
                await connection.reset()
        except Exception:
            assert connection is not None
            with contextlib.suppress(asyncpg.InterfaceError):  # lost meanwhile
                connection.terminate()
        finally:
            await stack.aclose()
