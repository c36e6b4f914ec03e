"""Connections to one PostgreSQL server, and one clear message for each way in which there is none."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

import asyncpg

from tasker_host.errors import DatabaseTooOld, DatabaseUnavailable
from tasker_host.runtime.breaker import Breaker

if TYPE_CHECKING:
    from asyncpg import Connection

MINIMUM_VERSION = 15

CONNECTION_LOST = (
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

TRANSIENT = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError, asyncpg.LockNotAvailableError)
"""What says that nothing was done, and that the same call may succeed when made again."""

_REFUSED = (
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ClientConfigurationError,
    ValueError,
)


_SCHEMES = ("postgresql", "postgres")
_HOST = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[^\[\]:]*)(:(?P<port>\d{0,5}))?")
_LAST_PORT = 65535
_FILES = ("host", "sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile")


def shown(dsn: str) -> str:
    """The DSN without its password and options, for messages and logs."""
    try:
        parts = _parts(dsn)
    except ValueError:
        return "an unreadable URL"
    hosts = parts.netloc.rpartition("@")[2] or "local socket"
    return f"{parts.scheme}://{parts.username + '@' if parts.username else ''}{hosts}{parts.path}"


def _parts(dsn: str) -> SplitResult:
    """Raises ValueError, which says what is wrong and quotes none of it: what is misread may be the password."""
    try:
        parts = urlsplit(dsn.strip())
        parse_qsl(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError("it is not a URL, or holds a character that must be escaped") from None
    if parts.scheme not in _SCHEMES or not dsn.strip().startswith(f"{parts.scheme}://"):
        raise ValueError("it does not start with postgresql://")
    # A password with / ? or # in it ends the part that names the host, and what follows it holds the @.
    if "#" in dsn or ("@" in parts.path and "@" not in parts.netloc):
        raise ValueError("it holds a character that must be escaped")
    for host in parts.netloc.rpartition("@")[2].split(","):
        matched = _HOST.fullmatch(host)
        if matched is None or int(matched["port"] or 0) > _LAST_PORT:
            raise ValueError("the host or the port is not one")
    return parts


def _files(dsn: str) -> list[str]:
    """The paths that the DSN names: socket directories and TLS files."""
    return [value for key, value in parse_qsl(_parts(dsn).query) if key in _FILES and value.startswith("/")]


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
        breaker: Breaker | None = None,
    ) -> None:
        self.dsn = dsn
        self._pool_size = pool_size
        self._connect_timeout_seconds = connect_timeout_seconds
        self._statement_cache_size = statement_cache_size
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
            _parts(self.dsn)
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
                server_settings={"application_name": f"tasker {role}", **settings},
            )
        except _REFUSED as error:
            raise DatabaseUnavailable(
                f"the database {shown(self.dsn)} refused the connection: {error}; check DATABASE_URL"
            ) from error
        except (FileNotFoundError, PermissionError) as error:
            paths = " or ".join(_files(self.dsn)) or "the server's socket"
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
                command_timeout=60,
                statement_cache_size=self._statement_cache_size,
                server_settings={"application_name": "tasker host", "idle_in_transaction_session_timeout": "60s"},
                reset=_keep,
            )

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        """A pooled connection. Raises DatabaseUnavailable when there is none or it is lost on the way."""
        if self._pool is None:
            raise DatabaseUnavailable("the database is not open: the host has not started, or has stopped")
        pool = self._pool
        if not self.breaker.allows():
            raise DatabaseUnavailable(
                f"the database {shown(self.dsn)} has failed {self.breaker.failures} times in a row and is left alone"
                f" for {self.breaker.retry_after:.1f} s more"
            )
        try:
            connection = await pool.acquire(timeout=self._connect_timeout_seconds)
        except (*CONNECTION_LOST, asyncpg.PostgresError) as error:
            self.breaker.failed()
            raise DatabaseUnavailable(
                f"the database {shown(self.dsn)} gives no connection: {error or type(error).__name__}"
            ) from error
        try:
            yield connection
            self.breaker.succeeded()
        except CONNECTION_LOST as error:
            self.breaker.failed()
            raise DatabaseUnavailable(
                f"the connection to the database {shown(self.dsn)} was lost: {error or type(error).__name__}"
            ) from error
        except BaseException:
            # The server answered, or nobody waits for it any more: neither says anything against it.
            self.breaker.succeeded()
            raise
        finally:
            await pool.release(connection)

    async def fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        async with self.acquire() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
            return rows

    async def fetchrow(self, sql: str, *arguments: Any) -> asyncpg.Record | None:
        async with self.acquire() as connection:
            return await connection.fetchrow(sql, *arguments)

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        async with self.acquire() as connection:
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
