"""A server for the whole run, and for every round a database that nobody has written to."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from tasker_host.db.embedded import EmbeddedServer, temporary_data_dir

_numbers = count(1)


@contextmanager
def server(url: str | None) -> Iterator[str]:
    """The DSN of `url`, else of an embedded server with the options it has for every user: it writes to disk."""
    if url:
        yield url
        return
    with temporary_data_dir() as data_dir, EmbeddedServer(data_dir) as embedded:
        yield embedded.dsn


@asynccontextmanager
async def fresh_database(server_dsn: str) -> AsyncIterator[str]:
    """The DSN of an empty database, dropped at the end."""
    name = f"tasker_benchmark_{os.getpid()}_{next(_numbers)}"
    connection = await asyncpg.connect(server_dsn)
    try:
        await connection.execute(f"create database {name}")
        try:
            yield urlunsplit(urlsplit(server_dsn)._replace(path=f"/{name}"))
        finally:
            await connection.execute(f"drop database {name} with (force)")
    finally:
        await connection.close()


async def settle(server_dsn: str) -> None:
    """Writes out what earlier work left behind, so that nobody pays for somebody else's."""
    connection = await asyncpg.connect(server_dsn)
    await connection.execute("checkpoint")
    await connection.close()


async def describe(server_dsn: str) -> dict[str, str]:
    """What of the server decides how fast it can be."""
    connection = await asyncpg.connect(server_dsn)
    try:
        names = ("server_version", "fsync", "synchronous_commit", "shared_buffers")
        return {name: await connection.fetchval("select current_setting($1)", name) for name in names}
    finally:
        await connection.close()
