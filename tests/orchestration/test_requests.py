"""Requests that come as messages."""

from __future__ import annotations

import json

import pytest

from tasker_host import step_handler
from tasker_host.orchestration.requests import RequestQueue
from tests.support import chain, plugin, running_host


@step_handler("work")
async def work() -> None:
    return None


@pytest.fixture
async def host(dsn):
    async with running_host(dsn, plugin([work], [chain("t", "work")]), worker=False) as host:
        yield host


@pytest.fixture
def requests(host):
    return RequestQueue(host.database, host.submissions, lambda _: None)


async def send(host, *messages):
    for message in messages:
        await host.database.fetch("select pgmq.send('orchestration_task_requests', $1::jsonb)", json.dumps(message))


async def count(host, sql):
    return await host.database.fetchval(sql)


LEFT = "select count(*) from pgmq.q_orchestration_task_requests"


async def test_a_message_becomes_a_task_and_is_gone(host, requests):
    await send(host, {"namespace": "tests", "name": "t", "context": {"n": 1}})
    wrapped = {"namespace": "tests", "name": "t", "context": {"n": 2}}
    await send(host, {"request_id": "r-1", "task_request": wrapped, "metadata": {"priority": "High"}})
    assert await requests.read() == 2
    rows = await host.database.fetch("select context::text, priority from tasker.tasks order by task_uuid")
    assert [tuple(row) for row in rows] == [('{"n":1}', 0), ('{"n":2}', 50)]
    assert await count(host, LEFT) == 0


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"namespace": "tests", "name": "none"}, "TEMPLATE_NOT_FOUND"),
        ({"name": 7}, "REQUEST_INVALID"),
        ([1], "REQUEST_INVALID"),
        ({"task_request": {"namespace": "tests", "name": "t"}, "metadata": {"priority": "most"}}, "REQUEST_INVALID"),
    ],
)
async def test_a_bad_message_is_kept_with_the_reason_and_blocks_no_other(host, requests, message, code):
    await send(host, message, {"namespace": "tests", "name": "t", "context": {"n": 1}})
    await requests.read()
    assert await count(host, "select count(*) from tasker.tasks") == 1
    assert await count(host, LEFT) == 0
    kept = await count(host, "select headers -> 'refused' ->> 'code' from pgmq.a_orchestration_task_requests")
    assert kept == code


async def test_the_same_identity_twice_is_one_task_and_a_reason(host, requests):
    await send(host, *[{"namespace": "tests", "name": "t", "context": {"n": 1}}] * 2)
    await requests.read()
    assert await count(host, "select count(*) from tasker.tasks") == 1
    kept = await count(host, "select headers -> 'refused' ->> 'code' from pgmq.a_orchestration_task_requests")
    assert kept == "TASK_EXISTS"


async def test_two_hosts_read_different_messages(host, requests):
    await send(host, *({"namespace": "tests", "name": "t", "context": {"n": n}} for n in range(10)))
    async with host.database.acquire() as connection, connection.transaction():
        await connection.fetch("select from pgmq.q_orchestration_task_requests order by msg_id limit 4 for update")
        assert await requests.read() == 6
    assert await requests.read() == 4
    assert await count(host, "select count(*) from tasker.tasks") == 10
