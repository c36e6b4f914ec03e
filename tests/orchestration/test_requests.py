"""Requests that come as messages, and tasks that were made in SQL."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tasker_host import step_handler
from tasker_host.db.queries import tasks_get
from tasker_host.errors import DatabaseUnavailable
from tasker_host.orchestration import requests as module
from tasker_host.orchestration.requests import RequestQueue
from tests.support import chain, ended, plugin, running_host


@step_handler("work")
async def work() -> None:
    return None


UNIQUE = "\nidentity_strategy: always_unique"
SCHEMA = "\ninput_schema: {type: object, required: [n], properties: {n: {type: integer}}}"


@pytest.fixture
async def host(dsn):
    made = [
        chain("t", "work"),
        chain("lacking", "nobody"),
        chain("unique", "work") + UNIQUE,
        chain("checked", "work") + SCHEMA,
    ]
    async with running_host(dsn, plugin([work], made), worker=False) as host:
        yield host


@pytest.fixture
def requests(host):
    return RequestQueue(host.database, host.catalog, host.submissions, lambda _: None)


async def send(host, *messages):
    for message in messages:
        await host.database.fetch("select pgmq.send('orchestration_task_requests', $1::jsonb)", json.dumps(message))


async def count(host, sql):
    return await host.database.fetchval(sql)


KEPT = "select headers -> 'refused' ->> 'code' from pgmq.a_orchestration_task_requests"
OUTCOMES = "select (select count(*) from tasker.tasks) + (select count(*) from pgmq.a_orchestration_task_requests)"
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
        ({"task_request": {"namespace": "tests", "name": "t"}, "request_id": 7}, "REQUEST_INVALID"),
        ({"task_request": 7, "request_id": "r-1"}, "REQUEST_INVALID"),
        ({"namespace": "tests", "name": "checked", "context": {"n": "x"}}, "REQUEST_INVALID"),
    ],
)
async def test_a_bad_message_is_kept_with_the_reason_and_blocks_no_other(host, requests, message, code):
    await send(host, message, {"namespace": "tests", "name": "t", "context": {"n": 1}})
    await requests.read()
    assert await count(host, "select count(*) from tasker.tasks") == 1
    assert await count(host, LEFT) == 0
    kept = await count(host, "select headers -> 'refused' ->> 'code' from pgmq.a_orchestration_task_requests")
    assert kept == code


async def test_a_message_that_is_no_json_at_all_blocks_no_other(host, requests):
    await host.database.fetch("select pgmq.send('orchestration_task_requests', null::jsonb)")
    await send(host, {"namespace": "tests", "name": "t", "context": {"n": 1}})
    await requests.read()
    assert await count(host, "select count(*) from tasker.tasks") == 1
    kept = await count(host, "select headers -> 'refused' ->> 'code' from pgmq.a_orchestration_task_requests")
    assert (kept, await count(host, LEFT)) == ("REQUEST_INVALID", 0)


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


async def test_the_reason_has_every_path(host, requests):
    await send(host, {"namespace": "tests", "name": "t", "priority": 1000, "reason": "", "contxt": {}})
    await requests.read()
    kept = await count(host, "select (headers -> 'refused')::text from pgmq.a_orchestration_task_requests")
    assert [problem["where"] for problem in json.loads(kept)["problems"]] == ["reason", "priority", "contxt"]


fields = st.sampled_from([
    "name", "namespace", "context", "task_request", "metadata", "request_id", "priority", "tags", "idempotency_key",
    "start_at", "version", "reason",
])  # fmt: skip
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
words = st.sampled_from(["t", "tests", "unique", "checked", "High", "1.0.0", "", "x" * 300]) | st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), max_size=5
)
anything = st.recursive(
    scalars | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields, inner, max_size=6),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=st.lists(anything, min_size=1, max_size=5))
async def test_every_message_whatsoever_becomes_a_task_or_is_kept(host, requests, messages):
    before = await count(host, OUTCOMES)
    good = {"namespace": "tests", "name": "unique"}
    await send(host, *messages, good)
    assert await requests.read() == len(messages) + 1
    assert await count(host, LEFT) == 0
    assert await count(host, OUTCOMES) == before + len(messages) + 1


async def test_a_message_that_is_nested_beyond_measure_is_kept(host, requests):
    await host.database.fetch(
        "select pgmq.send('orchestration_task_requests', (repeat('[', 2000) || repeat(']', 2000))::jsonb)"
    )
    await requests.read()
    assert await count(host, KEPT) == "JSON_INVALID"


async def test_a_request_that_was_sent_twice_is_one_task(host, requests):
    for name in ("unique", "t"):
        wrapped = {"namespace": "tests", "name": name, "context": {"n": name}}
        await send(host, *[{"request_id": "r-1", "task_request": wrapped}] * 2)
    await send(host, {"request_id": "r-2", "task_request": {"namespace": "tests", "name": "unique", "context": {}}})
    assert await requests.read() == 5
    assert await count(host, "select count(*) from tasker.tasks") == 3
    kept = await host.database.fetch(KEPT)
    assert [row[0] for row in kept] == ["TASK_EXISTS", "TASK_EXISTS"]


async def test_a_request_for_what_this_host_cannot_serve_is_left_to_others_for_a_while(host, requests):
    await send(host, {"namespace": "tests", "name": "lacking"}, {"namespace": "tests", "name": "t"})
    assert await requests.read() == 2
    assert await requests.read() == 0
    assert await count(host, "select count(*) from tasker.tasks") == 1
    waits = "select vt - clock_timestamp() > interval '20 s' and read_ct = 1 from pgmq.q_orchestration_task_requests"
    assert await count(host, waits) is True
    for _ in range(9):
        await host.database.fetch("update pgmq.q_orchestration_task_requests set vt = clock_timestamp()")
        await requests.read()
    assert await count(host, LEFT) == 0
    assert await count(host, KEPT) == "TEMPLATE_UNAVAILABLE"


async def test_a_database_that_is_away_says_nothing_of_a_request(host, requests):
    class Away:
        async def find(self, *_):
            raise DatabaseUnavailable("away")

    await send(host, {"namespace": "tests", "name": "t"}, {"request_id": "r", "task_request": {"name": "t"}})
    known = host.submissions._catalog
    for queue in (requests, RequestQueue(host.database, Away(), host.submissions, lambda _: None)):
        host.submissions._catalog = Away()
        with pytest.raises(DatabaseUnavailable):
            await queue.read()
        host.submissions._catalog = known
    assert await count(host, LEFT) == 2
    assert await count(host, "select count(*) from pgmq.a_orchestration_task_requests") == 0


async def test_a_host_that_dies_between_the_task_and_the_end_of_its_message_leaves_neither(host, requests):
    await send(host, {"namespace": "tests", "name": "unique"})
    block = await asyncpg.connect(host.database.dsn)
    async with block.transaction():
        # The delete waits for us; the insert is done by then.
        await block.execute("lock table pgmq.q_orchestration_task_requests in share row exclusive mode")
        reading = asyncio.create_task(requests.read())
        waits = "select pid from pg_stat_activity where wait_event_type = 'Lock' and application_name = 'tasker host'"
        while (pid := await block.fetchval(waits)) is None:
            await asyncio.sleep(0.01)
            await block.execute("select pg_stat_clear_snapshot()")
        await block.execute("select pg_terminate_backend($1)", pid)
        with suppress(DatabaseUnavailable, asyncpg.PostgresError):
            await reading
    await block.close()
    assert await count(host, "select count(*) from tasker.tasks") == 0
    assert await requests.read() == 1
    assert await count(host, "select count(*) from tasker.tasks") == 1
    assert await requests.read() == 0


async def test_a_database_that_is_away_is_told_once(host, requests, monkeypatch):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.001)
    tries = []

    async def away(*_):
        tries.append(1)
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(host.database, "fetchrow", away)
    with capture_logs() as logs:
        running = asyncio.create_task(requests.run())
        while len(tries) < 5:
            await asyncio.sleep(0.001)
        running.cancel()
    assert [(entry["event"], entry["error"]) for entry in logs] == [("requests not read", "away")]


async def test_a_host_that_was_rung_reads_at_once(dsn, monkeypatch):
    monkeypatch.setattr(module, "POLL_SECONDS", 1000)
    async with running_host(dsn, plugin([work], [chain("t", "work")])) as host:
        await send(host, {"namespace": "tests", "name": "t"})
        async with asyncio.timeout(10):
            while not (tasks := await host.database.fetch("select task_uuid from tasker.tasks")):
                await host.database.fetch("select tasker.ring()")
                await asyncio.sleep(0.01)
        (row,) = await ended(host, tasks[0][0])
        assert row["status"] == "complete"


async def test_where_nothing_is_a_look_is_one_query(host, requests, monkeypatch):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.001)
    looks = []

    def seen(record):
        looks.append(record.query)

    acquire = host.database.acquire

    def watched():
        return _watched(acquire(), seen)

    monkeypatch.setattr(host.database, "acquire", watched)
    running = asyncio.create_task(requests.run())
    while len(looks) < 5:
        await asyncio.sleep(0.001)
    running.cancel()
    assert set(looks) == {module.query("requests_there")}


@asynccontextmanager
async def _watched(acquiring, seen):
    async with acquiring as connection:
        with connection.query_logger(seen):
            yield connection


# Tasks of SQL --------------------------------------------------------------------------------------------------------


async def submit(host, context, name="checked"):
    return await host.database.fetchval(f"select tasker.task_submit('tests', '{name}', $1)", json.dumps(context))


async def test_a_context_that_fits_lets_its_task_go_on(dsn):
    async with running_host(dsn, plugin([work], [chain("checked", "work") + SCHEMA])) as host:
        task = await submit(host, {"n": 1})
        await host.database.fetch("select tasker.ring('tests')")
        (row,) = await ended(host, task)
        assert row["status"] == "complete"
        assert await count(host, "select count(*) from tasker.unchecked") == 0


async def test_a_context_that_does_not_fit_ends_its_task_before_anything_runs(host, requests):
    bad = await submit(host, {"n": "x"})
    good = await submit(host, {"n": 1})
    lacking = await submit(host, {})
    assert await requests.check() == 3
    rows = {row["task_uuid"]: row for row in await tasks_get(host.database, [bad, good, lacking])}
    assert [rows[task]["status"] for task in (bad, good, lacking)] == ["error", "steps_in_process", "error"]
    assert rows[bad]["because"]["reason"] == (
        "the context does not fit template tests/checked 1.0.0: context.n: 'x' is not of type 'integer'"
    )
    assert rows[lacking]["because"]["reason"].endswith("context: 'n' is a required property")
    assert rows[bad]["steps"][0]["current_state"] == "cancelled"
    assert await requests.check() == 0


async def test_what_was_cancelled_before_it_was_checked_stays_so(host, requests):
    tasks = [await submit(host, {"n": n}) for n in ("x", 1)]
    for task in tasks:
        await host.operations.cancel(task, reason="no")
    assert await requests.check() == 2
    assert {row["status"] for row in await tasks_get(host.database, tasks)} == {"cancelled"}
    assert await count(host, "select count(*) from tasker.unchecked") == 0


async def test_what_an_operator_resumed_is_checked_all_the_same(host, requests):
    task = await submit(host, {"n": "x"})
    await host.operations.resume(task, reason="go")
    await requests.check()
    (row,) = await tasks_get(host.database, [task])
    assert row["status"] == "error"


async def test_what_is_gone_is_not_looked_for_again(host, requests):
    task = await submit(host, {"n": 1})
    await host.database.fetch("delete from tasker.tasks where task_uuid = $1", task)
    assert await requests.check() == 1
    assert await requests.check() == 0


async def test_two_hosts_check_different_tasks(host, requests):
    for number in range(6):
        await submit(host, {"n": number})
    async with host.database.acquire() as connection, connection.transaction():
        await connection.fetch("select from tasker.unchecked order by task_uuid limit 2 for update")
        assert await requests.check() == 4
    assert await requests.check() == 2
