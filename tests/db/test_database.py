"""Connections, and one clear message for each way in which there is none."""

from __future__ import annotations

from types import SimpleNamespace
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from tasker_host.db.database import Database, shown
from tasker_host.errors import DatabaseTooOld, DatabaseUnavailable


@pytest.mark.parametrize(
    ("dsn", "told"),
    [
        ("postgresql://me:secret@127.0.0.1:1/db", "cannot be reached"),
        ("postgresql://me:secret@no-such-host.invalid/db", "cannot be reached"),
        ("postgresql://me:secret@/db?host=/nowhere", "cannot be reached"),
        ("postgresql://me:secret@127.0.0.1:port/db", "refused|unreadable"),
        ("postgresql://me:secret@127.0.0.1/db?sslmode=perhaps", "refused"),
    ],
)
async def test_a_server_that_is_not_there_is_told_without_the_password(dsn, told):
    with pytest.raises(DatabaseUnavailable, match=told) as caught:
        await Database(dsn, connect_timeout_seconds=2).open()
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_database_that_does_not_exist_is_told_with_its_name(dsn):
    parts = urlsplit(dsn)
    with pytest.raises(DatabaseUnavailable, match='database "nothing_here" does not exist; check DATABASE_URL'):
        await Database(urlunsplit(parts._replace(path="/nothing_here"))).open()


async def test_an_old_server_is_told_with_both_versions(dsn, monkeypatch):
    monkeypatch.setattr(asyncpg.Connection, "get_server_version", lambda _: SimpleNamespace(major=14), raising=True)
    with pytest.raises(DatabaseTooOld, match="is PostgreSQL 14; tasker-host needs 15 or newer"):
        await Database(dsn).open()


async def test_a_connection_that_is_cut_while_in_use_is_unavailable_and_the_next_one_works(database, dsn):
    with pytest.raises(DatabaseUnavailable, match="was lost"):
        await database.fetchval("select pg_terminate_backend(pg_backend_pid())")
    assert await database.fetchval("select 1") == 1


async def test_a_database_that_is_closed_says_so(database):
    await database.close()
    with pytest.raises(DatabaseUnavailable, match="is not open"):
        await database.fetchval("select 1")


async def test_a_mistake_in_sql_stays_what_it_is(database):
    with pytest.raises(asyncpg.UndefinedTableError):
        await database.fetch("select * from nothing")


async def test_connections_say_who_they_are(database):
    connection = await database.connect(role="worker w1")
    rows = await database.fetch("select application_name from pg_stat_activity where datname = current_database()")
    await connection.close()
    assert "tasker worker w1" in {row[0] for row in rows}


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("postgresql://me:pw@db.example:6000/tasks?sslmode=require", "postgresql://me@db.example:6000/tasks"),
        ("postgresql:///tasks?host=/run/postgresql", "postgresql://local socket/tasks"),
        ("postgresql://x:y@h:port/db", "an unreadable URL"),
    ],
)
def test_a_dsn_is_shown_without_its_password(dsn, expected):
    assert shown(dsn) == expected
