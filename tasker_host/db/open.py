"""From the configuration to an open database: the one it names, or the embedded server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tasker_host.config import Config
from tasker_host.config.settings import AutoMigrate
from tasker_host.db.database import Database
from tasker_host.db.dsn import shown
from tasker_host.db.embedded import EmbeddedServer, default_data_dir
from tasker_host.db.migrate import migrate, status
from tasker_host.errors import EmbeddedUnavailable, SchemaMismatch
from tasker_host.runtime.breaker import Breaker


@dataclass(frozen=True, slots=True)
class Opened:
    """`listen_database` is another one only where `database.url` leads to a pooler. `server` is the embedded one."""

    database: Database
    listen_database: Database
    server: EmbeddedServer | None

    def __str__(self) -> str:
        if self.server is None:
            return f"PostgreSQL {self.database.server_version} at {shown(self.database.dsn)}"
        return f"embedded PostgreSQL {self.database.server_version} in {self.server.data_dir}"


def embedded_server(config: Config) -> EmbeddedServer | None:
    """The server that the configuration means; None when it names a URL. Raises EmbeddedUnavailable."""
    settings = config.settings.database
    if settings.url:
        return None
    if not settings.embedded:
        origin = config.origins["database.embedded"]
        raise EmbeddedUnavailable(
            f"no database: database.url is empty and database.embedded is false ({origin});"
            " set DATABASE_URL to a PostgreSQL server, or allow the embedded one"
        )
    return EmbeddedServer(
        Path(settings.data_dir) if settings.data_dir else default_data_dir(),
        binaries=Path(settings.embedded_binaries) if settings.embedded_binaries else None,
    )


@asynccontextmanager
async def opened(config: Config, *, schema: bool = True) -> AsyncIterator[Opened]:
    """The database while it is needed; an embedded server ends with it, unless another process owns it.

    `schema`: also make sure that the schema is this host's, by migrating where `database.auto_migrate` says so. Raises
    DatabaseError.
    """
    settings = config.settings.database
    async with AsyncExitStack() as stack:
        server = embedded_server(config)
        if server is not None:
            await asyncio.to_thread(server.start)
            stack.push_async_callback(asyncio.to_thread, server.stop)
        database = Database(
            settings.url if server is None else server.dsn,
            pool_size=settings.pool_size,
            connect_timeout_seconds=settings.connect_timeout_seconds,
            statement_cache_size=settings.statement_cache_size,
            breaker=Breaker(
                failure_threshold=settings.breaker_failures,
                open_seconds=settings.breaker_open_seconds,
                success_threshold=settings.breaker_successes,
            ),
        )
        await database.open()
        stack.push_async_callback(database.close)
        if schema:
            await _ensure_schema(database, settings.auto_migrate, embedded=server is not None)
        listen_database = Database(settings.listen_url) if settings.listen_url and server is None else database
        yield Opened(database, listen_database, server)


async def _ensure_schema(database: Database, policy: AutoMigrate, *, embedded: bool) -> None:
    if policy is AutoMigrate.ALWAYS or (policy is AutoMigrate.EMBEDDED and embedded):
        await migrate(database)
        return
    found = await status(database)
    if not found.current:
        raise SchemaMismatch(
            f"the database {shown(database.dsn)} lacks {', '.join(found.pending)}: run `tasker db migrate`,"
            ' or set database.auto_migrate = "always"'
        )
