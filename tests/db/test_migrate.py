"""Bringing a database to the schema, and refusing those that must not be touched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from tasker_host.db import migrate as module
from tasker_host.db.database import Database
from tasker_host.db.migrate import Migration, migrate, migrations, status
from tasker_host.domain.moves import STEP_MOVES, TASK_MOVES
from tasker_host.domain.states import StepState, TaskState
from tasker_host.errors import DatabaseError, DatabaseUnavailable, SchemaMismatch
from tests.conftest import at

EVERYTHING = (*(migration.name for migration in migrations()), "functions")


@pytest.fixture
async def empty(new_database) -> AsyncIterator[Database]:
    database = Database(new_database(empty=True))
    await database.open()
    yield database
    await database.close()


async def test_an_empty_database_gets_everything_and_a_second_time_nothing(empty):
    before = await status(empty)
    assert (before.applied, before.pgmq, before.current) == ((), "none", False)
    assert await migrate(empty) == before.pending == EVERYTHING
    assert await migrate(empty) == ()
    after = await status(empty)
    assert (after.pending, after.current) == ((), True)
    assert after.pgmq.startswith("tasker-host: PGMQ 1.")


async def test_many_hosts_may_migrate_at_once(empty):
    applied = await asyncio.gather(*(migrate(empty) for _ in range(4)))
    assert sorted(applied) == [(), (), (), EVERYTHING]


async def test_what_the_database_has_for_others_does_not_stop_a_migration(empty):
    name = urlsplit(empty.dsn).path[1:]
    for setting in ("default_transaction_isolation = 'repeatable read'", "statement_timeout = '50ms'"):
        await empty.fetch(f'alter database "{name}" set {setting}')
    applied = await asyncio.gather(*(migrate(empty) for _ in range(4)))
    assert sorted(applied) == [(), (), (), EVERYTHING]


async def test_status_changes_nothing(empty):
    await status(empty)
    assert await empty.fetchval("select to_regnamespace('tasker') is null and to_regnamespace('pgmq') is null")


async def test_an_edited_migration_is_refused_and_named(database, monkeypatch):
    edited = [replace(migration, sql=migration.sql + "-- edited") for migration in migrations()]
    monkeypatch.setattr(module, "migrations", lambda: edited)
    for call in (migrate, status):
        with pytest.raises(SchemaMismatch, match="0001_schema was edited after it had been applied"):
            await call(database)


def test_every_migration_has_a_number_of_its_own():
    versions = [migration.version for migration in migrations()]
    assert versions == sorted(set(versions))


async def test_a_database_newer_than_the_host_is_left_alone(database):
    await database.fetch("insert into tasker.migrations (version, name, sha256) values (99, '0099_later', 'x')")
    with pytest.raises(
        SchemaMismatch, match=f"schema 99; this host knows up to {migrations()[-1].version}: upgrade tasker-host"
    ):
        await migrate(database)


async def test_changed_functions_are_applied_again(database, monkeypatch):
    changed = replace(module.functions(), sql=module.functions().sql + "-- changed")
    monkeypatch.setattr(module, "functions", lambda: changed)
    assert (await status(database)).pending == ("functions",)
    assert await migrate(database) == ("functions",)
    assert await migrate(database) == ()


async def test_functions_of_namespaces_that_exist_are_made_again_too(database, monkeypatch):
    await database.fetch("select tasker.namespace_create('old')")
    await database.fetch('drop function "tasker"."queue_next:old"')
    changed = replace(module.functions(), sql=module.functions().sql + "-- changed")
    monkeypatch.setattr(module, "functions", lambda: changed)
    await migrate(database)
    assert await database.fetchval("select to_regprocedure('tasker.\"queue_next:old\"()') is not null")


async def test_a_function_whose_arguments_have_changed_is_there_once(database, monkeypatch):
    # A call with two arguments would find the one of an earlier version, not the one that has a default for a third.
    earlier = "tasker.limits_release(uuid[], timestamptz)"
    await database.fetch(f"create function {earlier} returns text[] language sql as $$ select '{{}}'::text[] $$")
    await database.fetch("create function tasker.of_somebody_else() returns int language sql as $$ select 1 $$")
    changed = replace(module.functions(), sql=module.functions().sql + "-- changed")
    monkeypatch.setattr(module, "functions", lambda: changed)
    await migrate(database)
    names = "select count(*) from pg_proc where pronamespace = 'tasker'::regnamespace and proname = $1"
    assert await database.fetchval("select to_regprocedure($1) is null", earlier)
    assert await database.fetchval(names, "limits_release") == 1
    assert await database.fetchval(names, "of_somebody_else") == 1


async def test_a_migration_that_fails_leaves_nothing_behind(empty, monkeypatch):
    broken = [*migrations(), Migration(2, "0002_broken", "create table tasker.half (x int); select 1/0")]
    monkeypatch.setattr(module, "migrations", lambda: broken)
    with pytest.raises(DatabaseError, match="rolled back as a whole: division by zero"):
        await migrate(empty)
    assert await empty.fetchval("select to_regnamespace('tasker') is null and to_regnamespace('pgmq') is null")


async def test_a_foreign_pgmq_that_lacks_what_is_needed_is_told_and_not_touched(empty):
    await empty.fetch("create schema pgmq")
    await empty.fetch("create table pgmq.meta (queue_name text)")
    with pytest.raises(SchemaMismatch, match=r"lacks pgmq.create\(text\)"):
        await migrate(empty)
    assert await empty.fetchval("select to_regnamespace('tasker') is null")


async def test_a_role_that_may_not_create_is_told_what_it_needs(empty, server_dsn):
    name = urlsplit(empty.dsn).path[1:]
    await empty.fetch(f'drop role if exists "poor_{name}"')
    await empty.fetch(f"create role \"poor_{name}\" login password 'x'")
    parts = urlsplit(empty.dsn)
    host = parts.netloc.rpartition("@")[2]
    poor = Database(urlunsplit(parts._replace(netloc=f"poor_{name}:x@{host}")))
    try:
        with pytest.raises(DatabaseError, match="run `tasker db migrate` once as a role that may create schemas"):
            await migrate(poor)
    finally:
        await empty.fetch(f'drop role "poor_{name}"')


@pytest.fixture
async def reader(database) -> AsyncIterator[Database]:
    """The migrated database as a role that owns nothing."""
    role = f"reader_{urlsplit(database.dsn).path[1:]}"
    await database.fetch(f'create role "{role}" login')
    parts = urlsplit(database.dsn)
    yield Database(urlunsplit(parts._replace(netloc=f"{role}:x@{parts.netloc.rpartition('@')[2]}")))
    await database.fetch(f'drop owned by "{role}"')
    await database.fetch(f'drop role "{role}"')


async def test_a_role_that_may_not_read_the_schema_is_told_and_one_that_may_sees_it(database, reader):
    with pytest.raises(DatabaseError, match="may not read or create what tasker-host needs: permission denied"):
        await status(reader)
    role = urlsplit(reader.dsn).username
    await database.fetch(f'grant usage on schema tasker, pgmq to "{role}"')
    await database.fetch(f'grant select on tasker.migrations to "{role}"')
    assert (await status(reader)).current
    assert await migrate(reader) == ()


@pytest.mark.parametrize("table", ["migrations (number int)", "tasks (id int)"])
async def test_a_schema_of_somebody_else_is_told_and_not_touched(empty, table):
    await empty.fetch("create schema tasker")
    await empty.fetch(f"create table tasker.{table}")
    for call in (status, migrate):
        with pytest.raises(SchemaMismatch, match="has a schema 'tasker' that is not tasker-host's: rename it"):
            await call(empty)
    assert await empty.fetchval("select to_regnamespace('pgmq') is null")


async def test_an_empty_schema_that_an_administrator_made_is_used(empty):
    await empty.fetch("create schema tasker")
    assert await migrate(empty) == EVERYTHING


async def test_a_database_that_may_not_be_written_is_told(empty):
    name = urlsplit(empty.dsn).path[1:]
    await empty.fetch(f'alter database "{name}" set default_transaction_read_only = on')
    with pytest.raises(DatabaseError, match=r"rolled back as a whole: cannot execute .* in a read-only transaction"):
        await migrate(empty)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_a_database_that_cannot_hold_every_text_is_refused(empty, encoding):
    name = f"{urlsplit(empty.dsn).path[1:]}_{encoding.lower()}"
    await empty.fetch(f"create database {name} encoding '{encoding}' template template0 locale 'C'")
    try:
        with pytest.raises(DatabaseError, match=f"has the encoding {encoding}, which cannot hold every text"):
            await migrate(Database(at(empty.dsn, name)))
    finally:
        await empty.fetch(f"drop database {name} with (force)")


async def test_a_database_where_backslashes_are_something_else_is_migrated(empty):
    name = urlsplit(empty.dsn).path[1:]
    await empty.fetch(f'alter database "{name}" set standard_conforming_strings = off')
    assert await migrate(empty)


async def waiting_migration(watcher: Database) -> int:
    """The server's process of a migration that waits for a lock, once there is one."""
    while True:
        pid = await watcher.fetchval(
            "select pid from pg_stat_activity where datname = current_database()"
            " and application_name = 'tasker migrate' and wait_event_type = 'Lock'"
        )
        if pid is not None:
            return int(pid)
        await asyncio.sleep(0)


async def test_a_migration_whose_connection_is_cut_changes_nothing_and_says_so(empty):
    async with empty.acquire() as other:
        await other.execute("select pg_advisory_lock($1)", module._LOCK)
        migrating = asyncio.create_task(migrate(empty))
        await empty.fetch("select pg_terminate_backend($1)", await waiting_migration(empty))
        with pytest.raises(DatabaseUnavailable, match="was lost while its schema was looked at or migrated"):
            await migrating
        await other.execute("select pg_advisory_unlock($1)", module._LOCK)
    assert await migrate(empty) == EVERYTHING


async def test_a_migration_waits_for_another_host_no_longer_than_it_may(empty, monkeypatch):
    monkeypatch.setattr(module, "LOCK_TIMEOUT", "10ms")
    async with empty.acquire() as other:
        await other.execute("select pg_advisory_lock($1)", module._LOCK)
        with pytest.raises(DatabaseError, match=r"another host has been migrating .* for more than 10ms"):
            await migrate(empty)
        await other.execute("select pg_advisory_unlock($1)", module._LOCK)


async def test_a_new_namespace_waits_for_functions_that_are_being_replaced(database, monkeypatch):
    changed = replace(module.functions(), sql=module.functions().sql + "-- changed")
    monkeypatch.setattr(module, "functions", lambda: changed)
    for round_ in range(3):
        await database.fetch("update tasker.migrations set sha256 = 'x' where version = 0")
        await asyncio.gather(
            migrate(database), *(database.fetch(f"select tasker.namespace_create('n{round_}_{n}')") for n in range(3))
        )
    assert len(await database.fetch("select * from tasker.queue_next('n2_2')")) == 1


async def test_the_states_of_the_tables_are_those_of_the_domain(database):
    for table, states in (("tasks", TaskState), ("steps", StepState)):
        check = await database.fetchval(
            "select pg_get_constraintdef(oid) from pg_constraint where conname = $1", f"{table}_state"
        )
        _, listed, _ = check.replace("{", "'").replace("}", "'").split("''")
        assert set(listed.split(",")) == {state.value for state in states}


async def test_an_ordinary_pgmq_client_sees_the_queues(database):
    await database.fetch("select tasker.namespace_create('orders')")
    assert await database.fetchval("select queue_length from pgmq.metrics('orders_queue')") == 0


async def test_a_namespace_with_an_impossible_name_is_refused(database):
    with pytest.raises(asyncpg.PostgresError):
        await database.fetch("select tasker.namespace_create('Not a name')")


async def test_the_moves_of_operators_are_the_same_in_sql_and_in_python(database):
    by_operator = {"cancel", "pause", "resume", "reset", "rerun", "repair", "manual_resolution", "resolve_manually"}
    by_operator |= {"retry", "reset_for_retry", "complete_manually"}
    rows = await database.fetch("select * from tasker.operator_moves()")
    expected = {("task", *key, to) for key, to in TASK_MOVES.items()} | {
        ("step", *key, to) for key, to in STEP_MOVES.items()
    }
    assert {tuple(row) for row in rows} == {
        move for move in expected if move[2] in by_operator and move[1:3] != ("waiting_for_retry", "retry")
    }
