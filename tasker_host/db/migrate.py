"""Bringing a database to this host's schema: plain SQL files, in one transaction, under an advisory lock.

`sql/migrations/NNNN_name.sql` run once each, in order, and are recorded with their checksum; `sql/functions/*.sql` are
replaced as a whole whenever any of them changed. PGMQ's SQL comes from the `pgmq` package; an installation of PGMQ
that is not ours is probed for what we need and never modified.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import asyncpg
from pgmq import get_embedded_install_sql, get_embedded_sql_version

from tasker_host.db.database import Database
from tasker_host.db.sqlfiles import folder
from tasker_host.errors import DatabaseError, SchemaMismatch

if TYPE_CHECKING:
    from asyncpg import Connection

_LOCK = 0x7461736B6572  # "tasker"

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
    """What is applied and what is pending. Raises SchemaMismatch for a schema this host must not touch."""
    connection = await database.connect(role="migrate")
    try:
        known = await _known(connection)
        pending = _pending(known)
        return SchemaStatus(
            applied=tuple(name for name, _ in known.values()),
            pending=tuple(migration.name for migration in pending),
            pgmq=await _pgmq(connection),
        )
    finally:
        await connection.close()


async def migrate(database: Database) -> tuple[str, ...]:
    """Apply what is pending, all or nothing; returns the names. Many hosts may call this at once."""
    connection = await database.connect(role="migrate", lock_timeout="60s")
    try:
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock($1)", _LOCK)
            pending = _pending(await _known(connection))
            if not pending:
                return ()
            if await _pgmq(connection) == "none":
                await connection.execute(get_embedded_install_sql())
                await connection.execute(f"comment on schema pgmq is 'tasker-host: PGMQ {get_embedded_sql_version()}'")
            await connection.execute(_BOOTSTRAP)
            for migration in pending:
                await connection.execute(migration.sql)
                await connection.execute(
                    "insert into tasker.migrations (version, name, sha256) values ($1, $2, $3)"
                    " on conflict (version) do update set sha256 = excluded.sha256, applied_at = now()",
                    migration.version,
                    migration.name,
                    migration.checksum,
                )
            return tuple(migration.name for migration in pending)
    except asyncpg.InsufficientPrivilegeError as error:
        raise DatabaseError(
            f"the database role may not create what tasker-host needs: {error};"
            " run `tasker db migrate` once as a role that may create schemas, or grant CREATE on the database"
        ) from error
    except asyncpg.PostgresError as error:
        raise DatabaseError(f"the migration failed and was rolled back as a whole: {error}") from error
    finally:
        await connection.close()


async def _known(connection: Connection) -> dict[int, tuple[str, str]]:
    if await connection.fetchval("select to_regclass('tasker.migrations') is null"):
        return {}
    rows = await connection.fetch("select version, name, sha256 from tasker.migrations order by version")
    return {row["version"]: (row["name"], row["sha256"]) for row in rows}


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
