"""A database that is there and cannot: what has ended is kept until it can be stored."""

from __future__ import annotations

from typing import Any

import pytest

from tasker_host import Checkpoint, StepContext, step_handler
from tasker_host.db.database import Database
from tasker_host.errors import DatabaseUnavailable
from tests.support import chain, ended, plugin, running_host, submit

# A sequence counts although the statement is rolled back. What is sabotaged is the end of a step, not its claim.
REFUSALS = """
    create sequence public.refusals;
    create function public.refuse() returns trigger language plpgsql as $$ begin
        if nextval('public.refusals') <= {times} then raise exception 'no room' using errcode = '{sqlstate}'; end if;
        return new;
    end $$;
    create trigger refuse before update on tasker.steps for each row
    when (new.state in ('complete', 'error') and new.name = '{step}') execute function public.refuse();
"""


@pytest.mark.parametrize(
    "sqlstate",
    [
        pytest.param("53100", id="disk full"),
        pytest.param("53200", id="out of memory"),
        pytest.param("57014", id="statement cancelled"),
        pytest.param("58030", id="input or output failed"),
        pytest.param("25006", id="read only"),
        pytest.param("42501", id="forbidden"),
    ],
)
async def test_what_a_handler_came_to_is_stored_once_the_database_can(dsn, database, sqlstate):
    runs: list[int] = []

    @step_handler("once")
    async def once() -> str:
        runs.append(1)
        return "done"

    async with running_host(dsn, plugin([once], [chain("one", "once", max_attempts=1)])) as host:
        async with database.acquire() as connection:
            await connection.execute(REFUSALS.format(times=2, sqlstate=sqlstate, step="once"))
        (row,) = await ended(host, await submit(host, "one"))
    assert (row["status"], row["steps"][0]["result"], row["steps"][0]["attempts"]) == ("complete", "done", 1)
    assert len(runs) == 1


async def test_one_outcome_that_is_refused_in_every_form_holds_back_no_other(dsn, database):
    @step_handler("bad")
    async def bad() -> str:
        return "bad"

    @step_handler("good")
    async def good() -> str:
        return "good"

    templates = [chain("bad", "bad"), chain("good", "good")]
    async with running_host(dsn, plugin([bad, good], templates)) as host:
        async with database.acquire() as connection:
            await connection.execute(REFUSALS.format(times=1_000_000, sqlstate="P0001", step="bad"))
        await submit(host, "bad")
        rows: list[Any] = await ended(host, *[await submit(host, "good", {"number": n}) for n in range(5)])
        assert [row["status"] for row in rows] == ["complete"] * 5


async def test_who_asks_through_the_pool_is_told_that_the_database_cannot_now(database: Database):
    with pytest.raises(DatabaseUnavailable, match="cannot do this now, and nothing was done: canceling statement"):
        await database.fetch("select pg_cancel_backend(pg_backend_pid()), pg_sleep(5)")
    assert await database.fetchval("select 1") == 1


async def test_a_checkpoint_that_cannot_be_stored_fails_its_step_and_costs_nobody_else_anything(dsn):
    @step_handler("nul")
    async def nul() -> Checkpoint:
        return Checkpoint({"at": "a\x00b"}, items_processed=1)

    @step_handler("slash")
    async def slash(context: StepContext) -> Any:
        return context.checkpoint["cursor"] if context.checkpoint else Checkpoint("a\\u0000", items_processed=1)

    templates = [chain("nul", "nul"), chain("slash", "slash", max_attempts=1)]
    async with running_host(dsn, plugin([nul, slash], templates)) as host:
        bad, good = await ended(host, await submit(host, "nul"), await submit(host, "slash"))
    assert bad["steps"][0]["error"]["error_code"] == "CHECKPOINT_INVALID"
    assert "with the character U+0000, which cannot be stored" in bad["steps"][0]["error"]["message"]
    assert bad["steps"][0]["attempts"] == 1
    assert (good["status"], good["steps"][0]["result"], good["steps"][0]["attempts"]) == ("complete", "a\\u0000", 1)


async def test_of_checkpoints_that_are_refused_the_others_are_saved(dsn, database):
    @step_handler("bad")
    async def bad(context: StepContext) -> Any:
        return "bad" if context.checkpoint else Checkpoint("here", items_processed=1)

    @step_handler("good")
    async def good(context: StepContext) -> Any:
        return "good" if context.checkpoint else Checkpoint("here", items_processed=1)

    async with running_host(dsn, plugin([bad, good], [chain("bad", "bad"), chain("good", "good")])) as host:
        async with database.acquire() as connection:
            await connection.execute(
                REFUSALS.format(times=1_000_000, sqlstate="P0001", step="bad").replace(
                    "new.state in ('complete', 'error')", "new.checkpoint is not null"
                )
            )
        await submit(host, "bad")
        rows = await ended(host, *[await submit(host, "good", {"number": n}) for n in range(5)])
    assert [(row["status"], row["steps"][0]["attempts"]) for row in rows] == [("complete", 1)] * 5


@pytest.mark.parametrize(
    ("sqlstate", "told"),
    [
        ("53100", "takes no writes: no room"),
        ("53200", "cannot do this now, and nothing was done: no room"),
        ("40P01", "and nothing was changed; try again"),
    ],
)
@pytest.mark.parametrize("worker", [True, False])
async def test_who_submits_is_told_that_the_database_cannot_now(dsn, database, worker, sqlstate, told):
    @step_handler("once")
    async def once() -> str:
        return "done"

    async with running_host(dsn, plugin([once], [chain("one", "once")]), worker=worker) as host:
        async with database.acquire() as connection:
            await connection.execute(
                "create function public.refuse() returns trigger language plpgsql as $$ begin"
                f" raise exception 'no room' using errcode = '{sqlstate}'; end $$;"
                "create trigger refuse before insert on tasker.tasks for each row execute function public.refuse()"
            )
        with pytest.raises(DatabaseUnavailable, match=told):
            await submit(host, "one")
        async with database.acquire() as connection:
            await connection.execute("drop function public.refuse() cascade")
        await submit(host, "one")
