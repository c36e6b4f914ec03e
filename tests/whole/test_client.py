"""The client: over HTTP, and in the transaction of the caller's own rows."""

from __future__ import annotations

import asyncpg
import pytest

from tasker_host import Client, step_handler
from tasker_host.errors import DatabaseUnavailable, InvalidRequest, TaskExists, TaskNotFound, TemplateNotFound
from tasker_host.server import Server
from tests.support import chain, ended, plugin, running_host


@step_handler("work")
async def work() -> str:
    return "done"


TEXT = chain("t", "work") + "\ninput_schema: {type: object, required: [n], properties: {n: {type: integer}}}"


@pytest.fixture
async def host(dsn):
    async with running_host(dsn, plugin([work], [TEXT])) as host:
        yield host


@pytest.fixture
async def client(host):
    server = Server(host)
    async with Client(await server.start()) as client:
        yield client
    await server.stop()


@pytest.fixture
async def connection(host, dsn):
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


async def test_a_task_is_submitted_and_waited_for(client):
    task = await client.submit("tests", "t", {"n": 1}, priority=3)
    row = await client.wait(task, timeout_seconds=20)
    assert (row["status"], row["priority"], row["steps"][0]["result"]) == ("complete", 3, "done")


async def test_what_a_host_refuses_is_raised_as_what_it_is(client):
    await client.submit("tests", "t", {"n": 1})
    with pytest.raises(TaskExists):
        await client.submit("tests", "t", {"n": 1})
    with pytest.raises(InvalidRequest) as refused:
        await client.submit("tests", "t", {"n": "x"})
    assert [problem.where for problem in refused.value.problems] == ["context.n"]
    with pytest.raises(TaskNotFound):
        await client.get("019b7a5c-2f10-7d3e-9c41-0b6f2d8e5a17")


async def test_a_host_that_is_not_there_is_told():
    async with Client("http://127.0.0.1:9") as client:
        with pytest.raises(DatabaseUnavailable, match="does not answer"):
            await client.submit("tests", "t")


async def test_a_task_is_part_of_the_transaction_of_its_caller(host, client, connection):
    await connection.execute("create table orders (id int)")
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("insert into orders values (1)")
    gone = await client.submit("tests", "t", {"n": 1}, connection=connection)
    await transaction.rollback()
    async with connection.transaction():
        await connection.execute("insert into orders values (2)")
        task = await client.submit("tests", "t", {"n": 1}, connection=connection)
    (row,) = await ended(host, task)
    assert row["status"] == "complete"
    with pytest.raises(TaskNotFound):
        await client.get(gone)
    assert await connection.fetchval("select id from orders") == 2


async def test_a_task_that_is_refused_leaves_the_transaction_as_it_was(client, connection):
    async with connection.transaction():
        await client.submit("tests", "t", {"n": 1}, connection=connection)
        with pytest.raises(TaskExists):
            await client.submit("tests", "t", {"n": 1}, connection=connection)
        with pytest.raises(InvalidRequest):
            await client.submit("tests", "t", {}, connection=connection)
        with pytest.raises(TemplateNotFound, match=r"no template 'tests/t' of version 9\.0\.0; there is 1\.0\.0"):
            await client.submit("tests", "t", {"n": 2}, version="9.0.0", connection=connection)
        await client.submit("tests", "t", {"n": 2}, connection=connection)
    assert await connection.fetchval("select count(*) from tasker.tasks") == 2
