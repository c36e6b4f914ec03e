"""Connections to one PostgreSQL server, and one clear message for each way in which there is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg

from tasker_host.db.dsn import files, parts, shown
from tasker_host.errors import DatabaseTooOld, DatabaseUnavailable
from tasker_host.runtime.breaker import Breaker, Call

if TYPE_CHECKING:
    from asyncpg import Connection

Result = TypeVar("Result")

MINIMUM_VERSION = 15

CANNOT_WRITE = (asyncpg.ReadOnlySQLTransactionError, asyncpg.DiskFullError)
"""Of a server that answers: one that a failover made a standby may keep its connections, and takes no more writes."""

CONNECTION_LOST = (
    *CANNOT_WRITE,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that was cut in mid-sentence
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TooManyConnectionsError,
    OSError,
    TimeoutError,
)
"""What says that the server or the connection is gone, and that another connection may do better."""

_SERVER_GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
)
"""Of these, what nothing but the server's end of the connection brings about."""

TRANSIENT = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.LockNotAvailableError)
"""What says that nothing was done, and that the same call may succeed when made again."""

MOST_TRIES = 5
"""Of a call that was chosen to end a deadlock."""

UNABLE = (
    asyncpg.InsufficientResourcesError,  # no room on the disk, no memory
    asyncpg.OperatorInterventionError,  # a statement that was cancelled, by its timeout or by somebody
    asyncpg.PostgresSystemError,
    asyncpg.InvalidTransactionStateError,  # a server that only reads, or cut the transaction short
)
"""What says that nothing was done, and that what was asked is not at fault: the server may do it later."""

_SESSION = {
    # Taking work beside others (`skip locked`, locks and then a look) needs it.
    "default_transaction_isolation": "read committed",
    # A backslash in SQL is one.
    "standard_conforming_strings": "on",
    # Who listens for bells is idle for as long as nothing rings.
    "idle_session_timeout": "0",
}
"""Whatever the role or the database says."""

_REFUSED = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ClientConfigurationError,
    ValueError,
)


class Database:
    """A DSN, kept exactly as given, and a pool of connections to it.

    Work that holds a connection for long (a worker, a listener) opens its own by `connect`; requests borrow one by
    `acquire`. Raises DatabaseUnavailable, DatabaseTooOld.
    """

    def __init__(
        self,
        dsn: str,
        *,
        pool_size: int = 5,
        connect_timeout_seconds: float = 10,
        statement_cache_size: int = 100,
        command_timeout_seconds: float = 60,
        breaker: Breaker | None = None,
    ) -> None:
        self.dsn = dsn
        self._pool_size = pool_size
        self._connect_timeout_seconds = connect_timeout_seconds
        self._statement_cache_size = statement_cache_size
        self._command_timeout_seconds = command_timeout_seconds
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
        self.server_version: int = 0
        self.breaker = breaker or Breaker(failure_threshold=5, open_seconds=5, success_threshold=2)

    @property
    def reach(self) -> dict[str, Any]:
        """What another process needs to make a Database that leads to the same server: keyword arguments, as JSON."""
        return {
            "dsn": self.dsn,
            "connect_timeout_seconds": self._connect_timeout_seconds,
            "statement_cache_size": self._statement_cache_size,
        }

    @property
    def saturation(self) -> float:
        """The share of the pool's connections that is in use, of 1."""
        if self._pool is None:
            return 0.0
        return float(self._pool.get_size() - self._pool.get_idle_size()) / self._pool_size

    async def connect(self, *, role: str, **settings: str) -> Connection:
        """A connection of its own for `role` (seen in pg_stat_activity); the caller closes it."""
        try:
            parts(self.dsn)
        except ValueError as error:
            raise DatabaseUnavailable(
                f"DATABASE_URL is not readable: {error}; expected postgresql://user:password@host:5432/database, with"
                " / ? # @ : % in the user or password written as %2F %3F %23 %40 %3A %25"
            ) from None
        try:
            connection = await asyncpg.connect(
                self.dsn,
                timeout=self._connect_timeout_seconds,
                statement_cache_size=self._statement_cache_size,
                server_settings={"application_name": f"tasker {role}", **_SESSION, **settings},
            )
        except _REFUSED as error:
            raise DatabaseUnavailable(
                f"the database {shown(self.dsn)} refused the connection: {error}; check DATABASE_URL"
            ) from error
        except (FileNotFoundError, PermissionError) as error:
            paths = " or ".join(files(self.dsn)) or "the server's socket"
            raise DatabaseUnavailable(
                f"the database {shown(self.dsn)} cannot be reached: {error.strerror}: {paths};"
                " is the server running, and is DATABASE_URL right?"
            ) from error
        except (*CONNECTION_LOST, asyncpg.PostgresError) as error:
            raise DatabaseUnavailable(
                f"the database {shown(self.dsn)} cannot be reached: {error or type(error).__name__};"
                " is the server running, and is DATABASE_URL right?"
            ) from error
        version = connection.get_server_version()
        if version.major < MINIMUM_VERSION:
            await connection.close()
            raise DatabaseTooOld(
                f"the database {shown(self.dsn)} is PostgreSQL {version.major}; tasker-host needs"
                f" {MINIMUM_VERSION} or newer: upgrade the server, or unset DATABASE_URL to use the embedded one"
            )
        self.server_version = version.major
        return connection

    async def open(self) -> None:
        """Opens the pool; the first connection proves that the server is there and new enough."""
        async with self._opening:
            if self._pool is not None:
                return
            probe = await self.connect(role="start")
            await probe.close()
            self._pool = await asyncpg.create_pool(
                self.dsn,
                min_size=1,
                max_size=self._pool_size,
                timeout=self._connect_timeout_seconds,
                command_timeout=self._command_timeout_seconds,
                statement_cache_size=self._statement_cache_size,
                server_settings={
                    "application_name": "tasker host",
                    "idle_in_transaction_session_timeout": "60s",
                    **_SESSION,
                },
                reset=_keep,
            )

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        """A pooled connection. Raises DatabaseUnavailable when there is none or it is lost on the way.

        What the borrower raises otherwise, wrong usage of the connection among it, passes as it is.
        """
        if self._pool is None:
            raise DatabaseUnavailable("the database is not open: the host has not started, or has stopped")
        pool = self._pool
        call = self.breaker.begin()
        if call is None:
            raise self._left_alone()
        connection = await self._taken(pool, call)
        try:
            with self._judging(connection, call):
                yield connection
        finally:
            await pool.release(connection)

    async def _taken(self, pool: asyncpg.Pool, call: Call) -> Connection:
        try:
            return await pool.acquire(timeout=self._connect_timeout_seconds)
        except (*CONNECTION_LOST, asyncpg.PostgresError) as error:
            if pool.is_closing() or self._is_exhausted(pool):
                self.breaker.given_up(call)
            else:
                self.breaker.failed(call)
            raise DatabaseUnavailable(
                f"the database {shown(self.dsn)} gives no connection: {self._why_none(pool, error)}"
            ) from error
        except BaseException:
            self.breaker.given_up(call)
            raise

    @contextmanager
    def _judging(self, connection: Connection, call: Call) -> Iterator[None]:
        """Tells the breaker whether what happens in the block says something against the server."""
        try:
            yield
        except (*_SERVER_GONE, _NoAnswer) as error:
            self.breaker.failed(call)
            raise self._lost(error) from error
        except CANNOT_WRITE as error:
            self.breaker.failed(call)
            connection.terminate()
            raise DatabaseUnavailable(
                f"the database {shown(self.dsn)} takes no writes: {error}; is it a standby,"
                " is default_transaction_read_only set, is the disk full?"
            ) from error
        except asyncpg.PostgresError as error:
            self.breaker.succeeded(call)  # the server answered
            if isinstance(error, asyncpg.IdleInTransactionSessionTimeoutError):
                raise self._lost(error) from error
            if isinstance(error, UNABLE):
                raise DatabaseUnavailable(
                    f"the database {shown(self.dsn)} cannot do this now, and nothing was done: {error}"
                ) from error
            raise
        except (asyncpg.InterfaceError, OSError, TimeoutError) as error:
            # The same errors come of wrong usage, and of other things that the borrower does.
            if not is_lost(connection):
                self.breaker.given_up(call)
                raise
            self.breaker.failed(call)
            raise self._lost(error) from error
        except BaseException:
            self.breaker.given_up(call)
            raise
        if is_lost(connection):
            self.breaker.failed(call)
        else:
            self.breaker.succeeded(call)

    def _left_alone(self) -> DatabaseUnavailable:
        seconds = self.breaker.retry_after
        what = f"is left alone for {seconds:.1f} s more" if seconds else "is being tried by another caller"
        return DatabaseUnavailable(
            f"the database {shown(self.dsn)} has failed {self.breaker.failures} times in a row and {what}",
            retry_after_seconds=seconds or None,
        )

    def _lost(self, error: BaseException) -> DatabaseUnavailable:
        return DatabaseUnavailable(
            f"the connection to the database {shown(self.dsn)} was lost: {str(error) or type(error).__name__}"
        )

    def _is_exhausted(self, pool: asyncpg.Pool) -> bool:
        return bool(pool.get_size() >= self._pool_size and pool.get_idle_size() == 0)

    def _why_none(self, pool: asyncpg.Pool, error: BaseException) -> str:
        if isinstance(error, TimeoutError) and self._is_exhausted(pool):
            return f"all {self._pool_size} were in use for {self._connect_timeout_seconds:g} s (database.pool_size)"
        return str(error) or type(error).__name__

    async def fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        async with self.acquire() as connection:
            with _answer_expected(self._command_timeout_seconds):
                rows: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
                return rows

    async def fetchrow(self, sql: str, *arguments: Any) -> asyncpg.Record | None:
        async with self.acquire() as connection:
            with _answer_expected(self._command_timeout_seconds):
                return await connection.fetchrow(sql, *arguments)

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        async with self.acquire() as connection:
            with _answer_expected(self._command_timeout_seconds):
                return await connection.fetchval(sql, *arguments)

    async def close(self) -> None:
        if self._pool is None:
            return
        pool, self._pool = self._pool, None
        try:
            async with asyncio.timeout(5):
                await pool.close()
        except TimeoutError:
            pool.terminate()


def is_lost(connection: Connection) -> bool:
    """Whether this connection, of a pool or not, is closed."""
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:
        return True  # the pool took it back when it was lost


class _NoAnswer(Exception):
    """The server did not answer within the time of a command."""


@contextmanager
def _answer_expected(seconds: float) -> Iterator[None]:
    """Where nothing but the server can be late."""
    try:
        yield
    except TimeoutError as error:
        raise _NoAnswer(f"no answer within {seconds:g} s") from error


async def unhindered(call: Callable[[], Awaitable[Result]]) -> Result:
    """What `call` returns; made again when it and others stood in each other's way. Raises DatabaseUnavailable."""
    for tries_left in reversed(range(MOST_TRIES)):
        try:
            return await call()
        except TRANSIENT as error:
            if not tries_left:
                raise DatabaseUnavailable(
                    f"others were in the way {MOST_TRIES} times, and nothing was changed; try again: {error}"
                ) from error
    raise AssertionError


async def dropped(connection: Connection | None) -> None:
    """Closes a connection in whatever state it is, soon and without an error."""
    if connection is None:
        return
    try:
        async with asyncio.timeout(1):
            await connection.close()
    except Exception:
        connection.terminate()
    except BaseException:
        connection.terminate()
        raise


async def _keep(connection: Connection) -> None:
    """No reset between borrowers: it would cost a round trip per call, and nobody here changes session state."""
