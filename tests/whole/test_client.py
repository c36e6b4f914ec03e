"""The client: over HTTP, and in the transaction of the caller's own rows."""

from __future__ import annotations

import asyncio
import json
import socket
from uuid import uuid4

import asyncpg
import pytest

from tasker_host import Client, SyncClient, step_handler
from tasker_host.errors import (
    HostUnavailable,
    IllegalMove,
    InvalidRequest,
    SchemaMismatch,
    TaskExists,
    TaskNotFound,
    TemplateNotFound,
)
from tasker_host.server import Server
from tests.support import chain, configured, ended, plugin, running_host


@step_handler("work")
async def work() -> str:
    return "done"


TEXT = chain("t", "work") + "\ninput_schema: {type: object, required: [n], properties: {n: {type: integer}}}"

KEYED = "\nconcurrency_key: 'c-{customer}'\ntags: [eu]\npriority: 4"


@pytest.fixture
async def host(dsn):
    async with running_host(dsn, plugin([work], [TEXT, chain("keyed", "work") + KEYED])) as host:
        yield host


@pytest.fixture
async def url(host):
    server = Server(host)
    yield await server.start()
    await server.stop()


@pytest.fixture
async def client(url, dsn):
    async with Client(url, config=configured(dsn)) as client:
        yield client


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
        with pytest.raises(HostUnavailable, match="does not answer"):
            await client.submit("tests", "t")


async def test_a_server_that_is_no_host_is_told(host, url):
    async with Client(f"{url}/elsewhere") as client:
        with pytest.raises(HostUnavailable, match="no resource at /elsewhere/v1/tasks"):
            await client.submit("tests", "t")


async def test_a_host_that_says_nothing_is_given_up():
    silent = socket.create_server(("127.0.0.1", 0))
    async with Client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_seconds=0.05) as client:
        with pytest.raises(HostUnavailable, match="ReadTimeout"):
            await client.get(uuid4())
    silent.close()


async def test_what_json_cannot_say_is_told_before_it_is_sent(client):
    with pytest.raises(InvalidRequest) as refused:
        await client.submit("tests", "t", {"n": float("nan")})
    assert [problem.where for problem in refused.value.problems] == ["context.n"]


@pytest.mark.parametrize("context", [[], "", 0])
async def test_a_context_that_is_no_object_is_refused_also_when_it_is_empty(client, connection, context):
    for on in (None, connection):
        with pytest.raises(InvalidRequest) as refused:
            await client.submit("tests", "keyed", context, connection=on)
        assert [problem.where for problem in refused.value.problems] == ["context"]


async def test_a_task_that_does_not_end_is_waited_for_so_long_only(client):
    task = await client.submit("tests", "t", {"n": 1}, start_at="2100-01-01T00:00:00Z")
    with pytest.raises(TimeoutError, match=rf"after 0\.2 s task {task} is pending"):
        await client.wait(task, timeout_seconds=0.2)


async def test_a_wait_outlasts_a_host_that_is_away(host, dsn):
    server = Server(host)
    async with Client(await server.start()) as client:
        task = await client.submit("tests", "t", {"n": 1}, start_at="2100-01-01T00:00:00Z")
        await server.stop()
        with pytest.raises(HostUnavailable):
            await client.wait(task)
        with pytest.raises(TimeoutError, match="was not seen: the host at"):
            await client.wait(task, timeout_seconds=0.2)


async def test_a_task_is_paused_resumed_and_cancelled(client):
    task = await client.submit("tests", "t", {"n": 1}, start_at="2100-01-01T00:00:00Z")
    assert (await client.pause(task, reason="stop"))["status"] == "paused"
    with pytest.raises(IllegalMove):
        await client.pause(task, reason="stop")
    assert (await client.resume(task, reason="go"))["status"] == "pending"
    assert (await client.cancel(task, reason="no", actor="ada"))["status"] == "cancelled"
    assert (await client.get(task))["because"]["actor"] == "ada"


def use_synchronously(url):
    with SyncClient(url) as client:
        task = client.submit("tests", "t", {"n": 1}, start_at="2100-01-01T00:00:00Z")
        states = [client.pause(task, reason="a"), client.resume(task, reason="b"), client.cancel(task, reason="c")]
        with pytest.raises(TaskExists):
            client.submit("tests", "t", {"n": 1})
        other = client.submit("tests", "t", {"n": 2})
        return [row["status"] for row in [*states, client.get(task), client.wait(other, timeout_seconds=20)]]


async def test_the_synchronous_client_does_the_same(url):
    assert await asyncio.to_thread(use_synchronously, url) == [
        "paused",
        "pending",
        "cancelled",
        "cancelled",
        "complete",
    ]


async def test_the_synchronous_client_says_where_it_cannot_be_used(url):
    client = SyncClient(url)
    with pytest.raises(RuntimeError, match="use Client there"):
        client.submit("tests", "t", {"n": 1})
    await asyncio.to_thread(client.close)


# On the caller's connection ------------------------------------------------------------------------------------------


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
        with pytest.raises(TemplateNotFound, match=r"no template named 'tests/t' of version 9\.0\.0; there is 1\.0\.0"):
            await client.submit("tests", "t", {"n": 2}, version="9.0.0", connection=connection)
        await client.submit("tests", "t", {"n": 2}, connection=connection)
    assert await connection.fetchval("select count(*) from tasker.tasks") == 2


async def test_a_name_that_is_close_is_told(client, connection):
    with pytest.raises(TemplateNotFound, match=r"no template named 'tests/keyd'; did you mean 'tests'/'keyed'\?"):
        await client.submit("tests", "keyd", connection=connection)


async def odd(connection):
    """A connection whose owner made of it what a driver allows."""
    await connection.execute("set search_path = pg_temp; set time zone 'Asia/Kolkata'; set datestyle = 'German'")
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(kind, schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    for kind in ("uuid", "timestamptz", "interval", "int2", "int4"):
        await connection.set_type_codec(kind, schema="pg_catalog", encoder=str, decoder=lambda said: f"<{said}>")


async def test_a_connection_may_have_any_codecs_and_no_search_path(host, client, connection):
    await odd(connection)
    context = {"customer": "é\n", "n": [1.0, 10**30], "z": None, "a": 1}
    task = await client.submit(
        "tests", "keyed", context, connection=connection, tags=["gpu"], reason="why", start_at="2026-01-01T00:00:00Z",
        correlation_id="019b7a5c-2f10-7d3e-9c41-0b6f2d8e5a17", initiator="me", source_system="there",
    )  # fmt: skip
    (row,) = await ended(host, task)
    assert row["context"] == context
    assert list(row["context"]) == ["customer", "n", "z", "a"]
    assert (row["tags"], row["priority"], row["reason"], row["initiator"]) == (["eu", "gpu"], 4, "why", "me")
    assert (row["start_at"].isoformat(), row["source_system"]) == ("2026-01-01T00:00:00+00:00", "there")
    assert str(row["correlation_id"]) == "019b7a5c-2f10-7d3e-9c41-0b6f2d8e5a17"
    key = await host.database.fetchval("select limit_key from tasker.tasks where task_uuid = $1", task)
    assert key == "key:tests:c-é\n"


async def test_both_ways_make_the_same_identity(client, connection):
    await client.submit("tests", "t", {"n": 1, "x": {"b": 1.0, "a": "é"}}, connection=connection)
    with pytest.raises(TaskExists):
        await client.submit("tests", "t", {"x": {"a": "é", "b": 1.0}, "n": 1})


async def test_one_client_serves_connections_to_different_databases(client, connection, new_database):
    there = new_database()
    text = chain("t", "work") + "\npriority: 9"
    async with running_host(there, plugin([work], [chain("first", "work"), text]), worker=False) as other:
        elsewhere = await asyncpg.connect(there)
        await client.submit("tests", "t", {"n": 1}, connection=connection)
        task = await client.submit("tests", "t", {"n": "text"}, connection=elsewhere)
        await elsewhere.close()
        assert await other.database.fetchval("select priority from tasker.tasks where task_uuid = $1", task) == 9


async def test_the_limits_are_those_of_the_configuration(connection, dsn):
    async with Client(config=configured(dsn, limits__context_max_bytes=1024)) as client:
        with pytest.raises(InvalidRequest, match="more than the 1,024 allowed"):
            await client.submit("tests", "t", {"n": 1, "more": "x" * 1024}, connection=connection)


async def test_a_client_without_a_configuration_reads_the_one_of_its_surroundings(connection, monkeypatch):
    monkeypatch.setenv("TASKER__LIMITS__CONTEXT_MAX_BYTES", "2048")
    async with Client() as client:
        with pytest.raises(InvalidRequest, match="more than the 2,048 allowed"):
            await client.submit("tests", "t", {"n": 1, "more": "x" * 2048}, connection=connection)
        await client.submit("tests", "t", {"n": 1, "more": "x" * 1900}, connection=connection)


async def test_the_role_of_the_connection_needs_the_functions_and_nothing_else(host, client, connection):
    role = f"shop_{uuid4().hex}"
    functions = ", ".join(
        f"tasker.{name}" for name in ("template_versions", "template_content", "template_hint", "task_create")
    )
    await connection.execute(
        f"create role {role}; grant usage on schema tasker to {role}; grant execute on function {functions} to {role};"
        f" set role {role}"
    )
    task = await client.submit("tests", "t", {"n": 1}, connection=connection)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.fetch("select from tasker.tasks")
    await connection.execute(f"reset role; drop owned by {role}; drop role {role}")
    assert (await ended(host, task))[0]["status"] == "complete"


async def test_a_database_without_the_schema_is_told(client, new_database):
    empty = await asyncpg.connect(new_database(empty=True))
    with pytest.raises(SchemaMismatch, match="tasker db migrate"):
        await client.submit("tests", "t", {"n": 1}, connection=empty)
    await empty.close()


async def test_what_the_database_refuses_leaves_the_transaction_as_it_was(client, connection):
    await connection.execute("alter table tasker.tasks add constraint not_now check (reason <> 'now')")
    async with connection.transaction():
        with pytest.raises(InvalidRequest, match=r"the database refused the task: .*not_now"):
            await client.submit("tests", "t", {"n": 1}, connection=connection, reason="now")
        await client.submit("tests", "t", {"n": 1}, connection=connection)
    assert await connection.fetchval("select count(*) from tasker.tasks") == 1


async def test_above_read_committed_an_identity_taken_meanwhile_is_a_serialization_error(client, connection):
    transaction = connection.transaction(isolation="repeatable_read")
    await transaction.start()
    await connection.fetchval("select count(*) from tasker.tasks")
    await client.submit("tests", "t", {"n": 1})
    with pytest.raises(asyncpg.SerializationError):
        await client.submit("tests", "t", {"n": 1}, connection=connection)
    await transaction.rollback()
    with pytest.raises(TaskExists):
        await client.submit("tests", "t", {"n": 1}, connection=connection)


async def test_workers_that_were_rung_look_at_once(dsn):
    made = plugin([work], [TEXT])
    async with running_host(dsn, made, worker__poll_interval_seconds=60) as host, Client() as client:
        connection = await asyncpg.connect(dsn)
        async with connection.transaction():
            task = await client.submit("tests", "t", {"n": 1}, connection=connection)
        await client.ring(connection, "tests")
        await ended(host, task, timeout_seconds=10)
        await connection.close()
