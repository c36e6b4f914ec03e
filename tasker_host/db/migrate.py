"""Bringing a database to this host's schema: plain SQL files, in one transaction, under an advisory lock.

`sql/migrations/NNNN_name.sql` run once each, in order, and are recorded with their checksum; `sql/functions/*.sql` are
replaced as a whole whenever any of them changed. PGMQ's SQL comes from the `pgmq` package; an installation of PGMQ
that is not ours is probed for what we need and never modified.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import asyncpg
from pgmq import get_embedded_install_sql, get_embedded_sql_version

from tasker_host.db.database import CANNOT_WRITE, CONNECTION_LOST, Database, dropped
from tasker_host.db.dsn import shown
from tasker_host.db.sqlfiles import folder
from tasker_host.errors import DatabaseError, DatabaseUnavailable, SchemaMismatch

if TYPE_CHECKING:
    from asyncpg import Connection

_LOCK = 0x7461736B6572  # "tasker"

LOCK_TIMEOUT = "60s"
"""How long a host waits for another one that migrates."""

_BOOTSTRAP = """
create schema if not exists tasker;
create table if not exists tasker.migrations (
    version int primary key,
    name text not null,
    sha256 text not null,
    applied_at timestamptz not null default now()
);
"""

_PGMQ_NEEDS = ("pgmq.create(text)", "pgmq.send(text,jsonb,integer)", "pgmq.set_vt(text,bigint[],integer)")

_FUNCTIONS = 0
"""The version under which the checksum of all function files is kept."""

_STALE = """
select format('drop function %s', old.oid::regprocedure)
from pg_proc old
where old.pronamespace = 'tasker'::regnamespace and old.xmin <> pg_current_xact_id()::xid
  and exists (select from pg_proc made where made.pronamespace = old.pronamespace and made.proname = old.proname
              and made.xmin = pg_current_xact_id()::xid)
"""
"""Of functions that were made just now, those of the same name with the arguments they had in an earlier version: a
call that fits both would find these."""


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """`applied` and `pending` are file names; `current` is False while anything is pending."""

    applied: tuple[str, ...]
    pending: tuple[str, ...]
    pgmq: str

    @property
    def current(self) -> bool:
        return not self.pending


def migrations() -> list[Migration]:
    return [Migration(int(name.split("_")[0]), name.removesuffix(".sql"), sql) for name, sql in folder("migrations")]


def functions() -> Migration:
    return Migration(_FUNCTIONS, "functions", "\n".join(sql for _, sql in folder("functions")))


async def status(database: Database) -> SchemaStatus:
    """What is applied and what is pending. Raises SchemaMismatch for a database that this host must not use."""
    connection = await database.connect(role="migrate")
    try:
        with _told(database):
            known = await _known(connection)
            pending = _pending(known)
            return SchemaStatus(
                applied=tuple(name for name, _ in known.values()),
                pending=tuple(migration.name for migration in pending),
                pgmq=await _pgmq(connection),
            )
    finally:
        await dropped(connection)


async def migrate(database: Database) -> tuple[str, ...]:
    """Apply what is pending, all or nothing; returns the names. Many hosts may call this at once."""
    connection = await database.connect(role="migrate", lock_timeout=LOCK_TIMEOUT)
    try:
        with _told(database):
            async with connection.transaction():
                # What the role allows a statement is not meant for an index of ten million rows.
                await connection.execute("set local statement_timeout = 0")
                await connection.execute("select pg_advisory_xact_lock($1)", _LOCK)
                known = await _known(connection)
                if not known:
                    await _check_encoding(database, connection)
                pending = _pending(known)
                if pending:
                    await _apply(connection, pending)
                return tuple(migration.name for migration in pending)
    finally:
        await dropped(connection)


async def _check_encoding(database: Database, connection: Connection) -> None:
    """Raises DatabaseError where a value that a handler returns may have no form: it could not be stored later."""
    encoding = await connection.fetchval("select current_setting('server_encoding')")
    if encoding != "UTF8":
        raise DatabaseError(
            f"the database {shown(database.dsn)} has the encoding {encoding}, which cannot hold every text: make one"
            " with `create database … encoding 'UTF8' template template0`"
        )


async def _apply(connection: Connection, pending: list[Migration]) -> None:
    if await _pgmq(connection) == "none":
        await connection.execute(get_embedded_install_sql())
        await connection.execute(f"comment on schema pgmq is 'tasker-host: PGMQ {get_embedded_sql_version()}'")
    await connection.execute(_BOOTSTRAP)
    for migration in pending:
        await connection.execute(migration.sql)
        if migration.version == _FUNCTIONS:
            for (drop,) in await connection.fetch(_STALE):
                await connection.execute(drop)
        await connection.execute(
            "insert into tasker.migrations (version, name, sha256) values ($1, $2, $3)"
            " on conflict (version) do update set sha256 = excluded.sha256, applied_at = now()",
            migration.version,
            migration.name,
            migration.checksum,
        )


@contextmanager
def _told(database: Database) -> Iterator[None]:
    """One clear message for each way in which the schema cannot be read or changed; nothing was changed then."""
    where = shown(database.dsn)
    try:
        yield
    except CANNOT_WRITE as error:
        raise _rolled_back(where, error) from error
    except CONNECTION_LOST as error:
        raise DatabaseUnavailable(
            f"the connection to the database {where} was lost while its schema was looked at or migrated:"
            f" {str(error) or type(error).__name__}; a migration is done as a whole or not at all: try again"
        ) from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise DatabaseError(
            f"the role of the database {where} may not read or create what tasker-host needs: {error};"
            " run `tasker db migrate` once as a role that may create schemas, and let hosts connect as that role"
        ) from error
    except asyncpg.LockNotAvailableError as error:
        raise DatabaseError(
            f"another host has been migrating the database {where} for more than {LOCK_TIMEOUT}, or something else"
            " holds a lock on its tables: see pg_stat_activity, and try again"
        ) from error
    except asyncpg.PostgresError as error:
        raise _rolled_back(where, error) from error


def _rolled_back(where: str, error: Exception) -> DatabaseError:
    return DatabaseError(f"the migration of the database {where} failed and was rolled back as a whole: {error}")


async def _known(connection: Connection) -> dict[int, tuple[str, str]]:
    found = await connection.fetch(
        "select attname::text from pg_attribute where attrelid = to_regclass('tasker.migrations') and attnum > 0"
    )
    if {row[0] for row in found} >= {"version", "name", "sha256"}:
        rows = await connection.fetch("select version, name, sha256 from tasker.migrations order by version")
        return {row["version"]: (row["name"], row["sha256"]) for row in rows}
    if await connection.fetchval("select exists (select from pg_class where relnamespace = to_regnamespace('tasker'))"):
        raise SchemaMismatch(
            "the database has a schema 'tasker' that is not tasker-host's: rename it, or set DATABASE_URL to another"
            " database"
        )
    return {}


def _pending(known: dict[int, tuple[str, str]]) -> list[Migration]:
    ours = migrations()
    newest = max(known, default=0)
    if newest > ours[-1].version:
        raise SchemaMismatch(
            f"the database is at schema {newest}; this host knows up to {ours[-1].version}:"
            " upgrade tasker-host, or set DATABASE_URL to another database"
        )
    for migration in ours:
        if migration.version in known and known[migration.version][1] != migration.checksum:
            raise SchemaMismatch(
                f"migration {migration.name} was edited after it had been applied to this database:"
                " restore the file as it was released, and put the change into a new migration"
            )
    kernel = functions()
    changed = kernel.version not in known or known[kernel.version][1] != kernel.checksum
    return [m for m in ours if m.version not in known] + ([kernel] if changed else [])


async def _pgmq(connection: Connection) -> str:
    """none · ours … · extension … · foreign; raises SchemaMismatch for one that lacks what we need."""
    if await connection.fetchval("select to_regclass('pgmq.meta') is null"):
        return "none"
    extension = await connection.fetchval("select extversion from pg_extension where extname = 'pgmq'")
    comment = await connection.fetchval("select obj_description('pgmq'::regnamespace, 'pg_namespace')")
    missing = [need for need in _PGMQ_NEEDS if await connection.fetchval("select to_regprocedure($1) is null", need)]
    if missing:
        raise SchemaMismatch(
            f"the PGMQ installed in this database lacks {', '.join(missing)}: upgrade it to 1.5 or newer"
        )
    if extension is not None:
        return f"extension {extension}"
    return comment if comment and comment.startswith("tasker-host") else "foreign"
