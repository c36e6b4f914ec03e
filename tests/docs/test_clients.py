"""docs/clients.md: its SQL runs, and its tables are those of the function and the client."""

from __future__ import annotations

import re
from uuid import uuid4

import asyncpg
import pytest

from tasker_host import Client, SyncClient
from tasker_host.orchestration.requests import AGAIN_SECONDS, MOST_AT_ONCE, MOST_LOOKS, POLL_SECONDS, PRIORITIES
from tests.docs.pages import code, page

REGISTER = """
select tasker.template_register('payments', 'charge_order', '1.0.0', repeat('a', 64), '{"steps": []}', '[]')
"""


@pytest.fixture
async def connection(dsn):
    connection = await asyncpg.connect(dsn)
    await connection.execute(REGISTER)
    yield connection
    await connection.close()


async def test_the_sql_of_the_page_runs(connection):
    role = f"shop_{uuid4().hex}"
    await connection.execute(f"create role {role}")
    for block in page("clients").blocks("sql"):
        await connection.execute(re.sub(r"\bto shop\b", f"to {role}", block.text))
    assert (
        await connection.fetchval("select idempotent.n from (select count(*) as n from tasker.tasks) idempotent") == 1
    )
    assert await connection.fetchval("select count(*) from pgmq.q_orchestration_task_requests") == 2
    await connection.execute(f"drop owned by {role}; drop role {role}")


async def test_every_argument_of_task_submit_is_there(connection):
    names = await connection.fetchval("select proargnames from pg_proc where proname = 'task_submit'")
    said = [name for row in page("clients").table("From SQL", "argument") for name in code(row[0])]
    assert sorted(said) == sorted(names)


async def test_every_sqlstate_has_its_name(connection):
    for row in page("clients").table("From SQL", "SQLSTATE"):
        (state,), (name,) = code(row[0]), code(row[1])
        with pytest.raises(asyncpg.PostgresError) as raised:
            await connection.execute(f"do $$ begin raise {name}; end $$")
        assert raised.value.sqlstate == state


@pytest.mark.parametrize("kind", [Client, SyncClient])
def test_every_method_is_there(kind):
    said = {span.partition("(")[0] for row in page("clients").table("Over HTTP", "method") for span in code(row[0])}
    there = {name for name in vars(kind) if not name.startswith("_")} - {"close"}
    assert said - ({"ring"} if kind is SyncClient else set()) == there


def test_the_numbers_of_messages_are_these():
    text = page("clients").section("Messages")
    for word, value in PRIORITIES.items():
        assert f"`{word.capitalize()}` {value}".replace("-", "−") in text
    assert 2 <= POLL_SECONDS <= 3
    assert (MOST_AT_ONCE, MOST_LOOKS, AGAIN_SECONDS) == (100, 10, 30)
