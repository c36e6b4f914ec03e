"""Connections, and one clear message for each way in which there is none."""

from __future__ import annotations

from types import SimpleNamespace
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from tasker_host.db.database import Database
from tasker_host.db.dsn import shown
from tasker_host.errors import DatabaseTooOld, DatabaseUnavailable


@pytest.mark.parametrize(
    ("dsn", "told"),
    [
        ("postgresql://me:secret@127.0.0.1:1/db", "cannot be reached"),
        ("postgresql://me:secret@no-such-host.invalid/db", "cannot be reached"),
        ("postgresql://me:secret@h.invalid:1,127.0.0.1:1/db", "//me@h.invalid:1,127.0.0.1:1/db cannot be reached"),
        ("postgresql://me:secret@/db?host=/nowhere", "cannot be reached: No such file or directory: /nowhere;"),
        ("postgresql://me@127.0.0.1:1/db?password=secret", "//me@127.0.0.1:1/db cannot be reached"),
        (
            "postgresql://me:secret@127.0.0.1/db?sslmode=verify-full&sslrootcert=/nowhere/ca.pem",
            "cannot be reached: No such file or directory: /nowhere/ca.pem;",
        ),
        ("postgresql://me:secret@127.0.0.1/db?sslmode=perhaps", "refused"),
    ],
)
async def test_a_server_that_is_not_there_is_told_without_the_password(dsn, told):
    with pytest.raises(DatabaseUnavailable, match=told) as caught:
        await Database(dsn, connect_timeout_seconds=2).open()
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("dsn", "told"),
    [
        ("postgresql://me:secret@127.0.0.1:port/db", "the host or the port is not one"),
        ("postgresql://me:secret@127.0.0.1:99999/db", "the host or the port is not one"),
        ("postgresql://me:se/cret@127.0.0.1/db", "holds a character that must be escaped"),
        ("postgresql://me:12/34secret@127.0.0.1/db", "holds a character that must be escaped"),
        ("postgresql://me:se#cret@127.0.0.1/db", "holds a character that must be escaped"),
        ("postgresql://me:se?cret@127.0.0.1/db", "holds a character that must be escaped"),
        ("postgresql://me:se[cret@127.0.0.1/db", "holds a character that must be escaped"),
        ("mysql://me:secret@127.0.0.1/db", "does not start with postgresql://"),
        ("host=localhost password=secret", "does not start with postgresql://"),
        ("DATABASE_URL=postgresql://me:secret@h/db", "does not start with postgresql://"),
        ("", "does not start with postgresql://"),
    ],
)
async def test_a_url_that_is_misread_is_told_without_any_of_it(dsn, told):
    with pytest.raises(DatabaseUnavailable, match="DATABASE_URL is not readable: ") as caught:
        await Database(dsn, connect_timeout_seconds=2).open()
    assert told in str(caught.value)
    assert not [part for part in ("cret", "'se'", "12", "34") if part in str(caught.value)]
    assert shown(dsn) == "an unreadable URL"


async def test_a_role_that_does_not_exist_or_may_not_log_in_is_told(database, dsn):
    name = urlsplit(dsn).path[1:]
    for role, told in ((f"nobody_{name}", "does not exist"), (f"idle_{name}", "is not permitted to log in")):
        if "idle" in role:
            await database.fetch(f'create role "{role}" nologin')
        parts = urlsplit(dsn)
        host = parts.netloc.rpartition("@")[2]
        other = urlunsplit(parts._replace(netloc=f"{role}:secret@{host}"))
        with pytest.raises(DatabaseUnavailable, match=f'refused the connection: role "{role}" {told}; check') as caught:
            await Database(other).open()
        assert "secret" not in str(caught.value)
    await database.fetch(f'drop role "idle_{name}"')


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


@pytest.mark.parametrize("state", ["53200", "57014", "58030"])
async def test_a_server_that_cannot_now_is_unavailable_and_the_connection_stays(database, state):
    async with database.acquire() as connection:
        pid = connection.get_server_pid()
    with pytest.raises(DatabaseUnavailable, match=r"^the database .* cannot do this now, and nothing was done: no$"):
        await database.fetch(f"do $$ begin raise exception 'no' using errcode = '{state}'; end $$")
    assert await database.fetchval("select pg_backend_pid()") == pid
    assert database.breaker.failures == 0


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


async def test_what_the_database_has_for_other_sessions_is_not_that_of_ours(database):
    name = urlsplit(database.dsn).path[1:]
    await database.fetch(f'alter database "{name}" set default_transaction_isolation = serializable')
    await database.fetch(f'alter database "{name}" set standard_conforming_strings = off')
    await database.fetch(f'alter database "{name}" set idle_session_timeout = 100')
    connection = await database.connect(role="worker w1")
    other = Database(database.dsn)
    await other.open()
    for setting, wanted in {
        "transaction_isolation": "read committed",
        "standard_conforming_strings": "on",
        "idle_session_timeout": "0",
    }.items():
        shows = f"select current_setting('{setting}')"
        assert [await connection.fetchval(shows), await other.fetchval(shows)] == [wanted, wanted]
    await connection.close()
    await other.close()


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("postgresql://me:pw@db.example:6000/tasks?sslmode=require", "postgresql://me@db.example:6000/tasks"),
        ("postgresql:///tasks?host=/run/postgresql", "postgresql://local socket/tasks"),
        ("postgresql://[::1]:6000/tasks", "postgresql://[::1]:6000/tasks"),
        ("postgresql://me:pw@a:1,b:2/tasks?target_session_attrs=primary", "postgresql://me@a:1,b:2/tasks"),
    ],
)
def test_a_dsn_is_shown_without_its_password(dsn, expected):
    assert shown(dsn) == expected
