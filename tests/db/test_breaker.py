"""What counts against the database, and what does not: the breaker around the pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tasker_host.db.database import Database, is_lost
from tasker_host.errors import DatabaseUnavailable
from tasker_host.runtime.breaker import Breaker, BreakerState


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def database(dsn: str, clock: Clock) -> AsyncIterator[Database]:
    """One connection, and a breaker that opens at the first failure."""
    breaker = Breaker(failure_threshold=1, open_seconds=5, success_threshold=1, now=clock)
    database = Database(dsn, pool_size=1, connect_timeout_seconds=0.5, breaker=breaker)
    await database.open()
    yield database
    await database.close()


async def cut(database: Database) -> None:
    """Ends the pooled connection while it is in use."""
    async with database.acquire() as connection:
        await connection.execute("select pg_terminate_backend(pg_backend_pid())")


async def test_wrong_usage_is_raised_as_it_is_and_says_nothing_against_the_database(database):
    with pytest.raises(asyncpg.InterfaceError, match="expects 1 argument"):
        await database.fetch("select $1::int")
    async with database.acquire() as connection:
        first = asyncio.create_task(connection.fetchval("select pg_sleep(0.2)"))
        await asyncio.sleep(0.05)
        with pytest.raises(asyncpg.InterfaceError, match="operation is in progress"):
            await connection.fetchval("select 1")
        await first
    with pytest.raises(asyncpg.UndefinedTableError):
        await database.fetch("select * from nothing")
    assert (database.breaker.state, database.breaker.failures) == (BreakerState.CLOSED, 0)


@pytest.mark.parametrize("error", [OSError("the borrower's disk is full"), TimeoutError("its own"), ValueError("odd")])
async def test_what_the_borrower_raises_is_its_own(database, error):
    with pytest.raises(type(error)) as raised:
        async with database.acquire():
            raise error
    assert raised.value is error
    assert await database.fetchval("select 1") == 1
    assert database.breaker.state is BreakerState.CLOSED


async def test_a_connection_that_is_cut_counts(database):
    with pytest.raises(DatabaseUnavailable, match="was lost"):
        await cut(database)
    assert database.breaker.state is BreakerState.OPEN
    with pytest.raises(DatabaseUnavailable, match=r"left alone for 5\.0 s more") as refused:
        await database.fetchval("select 1")
    assert refused.value.retry_after_seconds == 5


async def test_a_borrower_who_does_not_tell_that_it_was_cut_counts_too(database):
    async with database.acquire() as connection:
        with pytest.raises(asyncpg.PostgresError):
            await connection.execute("select pg_terminate_backend(pg_backend_pid())")
        while not is_lost(connection):
            await asyncio.sleep(0.01)
    assert database.breaker.state is BreakerState.OPEN


async def test_a_pool_that_is_all_in_use_says_nothing_against_the_database(database):
    async with database.acquire():
        with pytest.raises(DatabaseUnavailable, match=r"all 1 were in use for 0\.5 s \(database\.pool_size\)"):
            await database.fetchval("select 1")
    assert database.breaker.state is BreakerState.CLOSED


async def half_open(database: Database, clock: Clock) -> None:
    with pytest.raises(DatabaseUnavailable):
        await cut(database)
    clock.now = 5
    assert database.breaker.state is BreakerState.HALF_OPEN


async def test_a_try_that_is_cancelled_while_it_waits_for_a_connection_leaves_its_turn_to_another(database, clock):
    async with database.acquire():
        # Borrowed before it opened: it says nothing when it comes back.
        database.breaker.failed(database.breaker.begin())
        clock.now = 5
        waiting = asyncio.create_task(database.fetchval("select 1"))
        await asyncio.sleep(0.05)
        with pytest.raises(DatabaseUnavailable, match="is being tried by another caller"):
            await database.fetchval("select 1")
        waiting.cancel()
        await asyncio.wait([waiting])
    assert database.breaker.state is BreakerState.HALF_OPEN
    assert await database.fetchval("select 1") == 1
    assert database.breaker.state is BreakerState.CLOSED


async def test_a_try_whose_borrower_fails_for_reasons_of_its_own_leaves_its_turn_to_another(database, clock):
    await half_open(database, clock)
    with pytest.raises(OSError, match="own"):
        async with database.acquire():
            raise OSError("own")
    assert database.breaker.state is BreakerState.HALF_OPEN
    assert await database.fetchval("select 1") == 1
    assert database.breaker.state is BreakerState.CLOSED


async def test_a_command_that_is_never_answered_counts(dsn, clock):
    breaker = Breaker(failure_threshold=1, open_seconds=5, success_threshold=1, now=clock)
    database = Database(dsn, command_timeout_seconds=0.1, breaker=breaker)
    await database.open()
    with pytest.raises(DatabaseUnavailable, match=r"no answer within 0\.1 s"):
        await database.fetchval("select pg_sleep(10)")
    assert breaker.state is BreakerState.OPEN
    await database.close()
