"""PostgreSQL for the tests: one server for the run, one migrated template database, a clone of it for each test.

`TASKER_TEST_DATABASE_URL` names a server to use instead (its role must be allowed to create databases).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from itertools import count
from threading import Thread
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from tasker_host.db.database import Database
from tasker_host.db.embedded import EmbeddedServer, temporary_data_dir
from tasker_host.db.migrate import migrate

_numbers = count(1)


def at(dsn: str, name: str) -> str:
    """The DSN of the database `name` on the same server."""
    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(path=f"/{name}"))


@contextmanager
def _server() -> Iterator[str]:
    given = os.environ.get("TASKER_TEST_DATABASE_URL")
    if given:
        yield given
        return
    # What a test database holds need not survive a power cut.
    options = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    with temporary_data_dir() as data_dir, EmbeddedServer(data_dir, options=options) as server:
        yield server.dsn


async def _execute(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def server_dsn() -> Iterator[str]:
    """A PostgreSQL server; its own database is nobody's."""
    with _server() as dsn:
        yield dsn


@pytest.fixture(scope="session")
def template_name(server_dsn: str) -> Iterator[str]:
    """The name of a database with the schema of this host."""
    name = f"tasker_template_{os.getpid()}"

    async def make() -> None:
        await _execute(server_dsn, f"create database {name}")
        await migrate(Database(at(server_dsn, name)))

    asyncio.run(make())
    yield name
    asyncio.run(_execute(server_dsn, f"drop database {name} with (force)"))


@pytest.fixture
def new_database(server_dsn: str, template_name: str) -> Iterator[Callable[..., str]]:
    """Makes databases: each call gives the DSN of a new one, a clone of the template unless `empty=True`."""
    made: list[str] = []

    def new(*, empty: bool = False) -> str:
        name = f"tasker_test_{os.getpid()}_{next(_numbers)}"
        source = "" if empty else f" template {template_name} strategy file_copy"
        _in_own_loop(_execute(server_dsn, f"create database {name}{source}"))
        made.append(name)
        return at(server_dsn, name)

    yield new
    _in_own_loop(_execute(server_dsn, *(f"drop database {name} with (force)" for name in made)))


@pytest.fixture
def dsn(new_database: Callable[..., str]) -> str:
    """The DSN of a migrated database of this test's own."""
    return new_database()


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    """A migrated database of this test's own, open."""
    database = Database(dsn, pool_size=4)
    await database.open()
    yield database
    await database.close()


def _in_own_loop(work: Coroutine[Any, Any, None]) -> None:
    # The test's own loop may be running, or be closed already: neither can be used here.
    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work)
        except BaseException as error:
            failures.append(error)

    thread = Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
