"""Tasks from plain SQL, and how long an identity is taken."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from tasker_host.db.kernel import tasks_submit
from tasker_host.domain.identity import identity_key
from tasker_host.domain.source import template_from_data
from tests.db.conftest import Kernel, done, new_task

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHANGE = "change the context, give an idempotency_key, or set identity_strategy: always_unique in the template"


@pytest.fixture
async def kernel(new_kernel) -> Kernel:
    kernel = await new_kernel()
    await kernel.clock(NOW)
    return kernel


async def template(kernel: Kernel, version: str = "1.0.0", **content: Any) -> int:
    steps = [{"position": 1, "name": "a", "parents": [], "children": [], "reads": [], "max_attempts": 3}]
    return await kernel.connection.fetchval(
        "select tasker.template_register('tests', 't', $1, $2, $3, $4)",
        version,
        uuid4().hex * 2,
        json.dumps({"steps": [], **content}),
        json.dumps(steps),
    )


async def submit(kernel: Kernel, context: Any = None, **more: Any) -> UUID:
    named = "".join(f", {name} => ${number}" for number, name in enumerate(more, start=2))
    sql = f"select tasker.task_submit('tests', 't', $1{named})"
    return await kernel.connection.fetchval(sql, json.dumps(context if context is not None else {}), *more.values())


async def test_a_task_is_created_with_the_transaction_of_the_caller_or_not_at_all(kernel):
    await template(kernel)
    transaction = kernel.connection.transaction()
    await transaction.start()
    gone = await submit(kernel, {"n": 1})
    await transaction.rollback()
    task = await submit(kernel, {"n": 1})
    assert await kernel.connection.fetchval("select count(*) from tasker.tasks where task_uuid = $1", gone) == 0
    (step,) = (await kernel.claim()).steps
    assert (step.task_uuid, json.loads(step.context)) == (task, {"n": 1})


async def test_the_highest_version_is_taken_however_large_its_numbers_are(kernel):
    for version in ("9.0.0", "20261121000000.0.0", "20251121000000.0.0"):
        await template(kernel, version)
    task = await submit(kernel)
    versions = await kernel.connection.fetchval("select tasker.template_versions('tests', 't')")
    assert [each["version"] for each in json.loads(versions)] == ["20261121000000.0.0", "20251121000000.0.0", "9.0.0"]
    taken = await kernel.connection.fetchval(
        "select version from tasker.templates join tasker.tasks using (template_id) where task_uuid = $1", task
    )
    assert taken == "20261121000000.0.0"


async def test_what_is_not_said_is_the_templates(kernel):
    await template(kernel, "1.9.0")
    latest = await template(kernel, "1.10.0", priority=7, tags=["eu"])
    task = await submit(kernel, tags=["gpu"], initiator="me")
    row = await kernel.connection.fetchrow("select * from tasker.tasks where task_uuid = $1", task)
    assert (row["template_id"], row["priority"], row["tags"], row["initiator"]) == (latest, 7, ["eu", "gpu"], "me")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"version": "9.0.0"}, asyncpg.NoDataFoundError, "no template tests/t of version 9.0.0"),
        ({"context": [1]}, asyncpg.CheckViolationError, "the context must be an object (got array)"),
        (
            {"context": {"b": "x" * 1_048_576}},
            asyncpg.CheckViolationError,
            "the context has 1048585 bytes, more than the 1048576 allowed",
        ),
        (
            {"context": {"a": "\0"}},
            asyncpg.CheckViolationError,
            "the context holds what cannot be stored: unsupported Unicode escape sequence",
        ),
        ({"priority": 101}, asyncpg.CheckViolationError, "priority must be from -100 to 100 (got 101)"),
        ({"reason": ""}, asyncpg.CheckViolationError, "reason must have from 1 to 500 characters (got 0)"),
        ({"initiator": None}, asyncpg.CheckViolationError, "initiator must have from 1 to 255 characters (got null)"),
        (
            {"idempotency_key": "k" * 256},
            asyncpg.CheckViolationError,
            "idempotency_key must have from 1 to 255 characters (got 256)",
        ),
        ({"tags": ["a", ""]}, asyncpg.CheckViolationError, "a tag must have from 1 to 128 characters (got 0)"),
        (
            {"aging_interval": timedelta(days=10**6), "priority": 100},
            asyncpg.CheckViolationError,
            "aging_interval must be more than 0, at most a day (got 1000000 days)",
        ),
        ({"tags": ["a"] * 101}, asyncpg.CheckViolationError, "there must be at most 100 tags (got 101)"),
    ],
)
async def test_what_does_not_hold_is_told(kernel, arguments, error, message):
    await template(kernel)
    with pytest.raises(error) as refused:
        await submit(kernel, **arguments)
    assert refused.value.message == message


@pytest.mark.parametrize("start_at", ["infinity", "-infinity", "20000-01-01 00:00+00", "0044-03-15 00:00+00 BC"])
async def test_a_start_that_no_host_could_read_is_refused(kernel, start_at):
    await template(kernel)
    with pytest.raises(asyncpg.CheckViolationError, match="start_at must be of a year from 2 to 9998"):
        await kernel.connection.execute(f"select tasker.task_submit('tests', 't', start_at => '{start_at}')")


async def test_a_key_that_the_template_demands_is_asked_for_and_one_that_is_taken_is_told(kernel):
    await template(kernel, identity_strategy="caller_provided")
    with pytest.raises(asyncpg.CheckViolationError, match="needs an idempotency_key"):
        await submit(kernel)
    await submit(kernel, idempotency_key="k")
    with pytest.raises(asyncpg.UniqueViolationError, match="with this identity already exists"):
        await submit(kernel, {"other": 1}, idempotency_key="k")


@pytest.mark.parametrize(
    ("unique_for", "key", "hint"),
    [
        (None, "k", "give another idempotency_key"),
        ("forever", None, CHANGE),
        ("running", "k", "wait until that task is over, give another idempotency_key"),
        (60, "k", "wait until that task is 60 seconds old, give another idempotency_key"),
    ],
)  # fmt: skip
async def test_a_conflict_says_what_helps(kernel, unique_for, key, hint):
    await template(kernel, **({"unique_for": unique_for} if unique_for else {}))
    more = {"idempotency_key": key} if key else {}
    await submit(kernel, **more)
    with pytest.raises(asyncpg.UniqueViolationError) as refused:
        await submit(kernel, **more)
    assert refused.value.hint == hint


@pytest.mark.parametrize("key", [None, "k"])
async def test_a_task_from_sql_has_the_identity_of_the_same_one_from_python(kernel, key):
    await template(kernel)
    context = {"b": [1, 1.0, 1e16, 1e15, -0.0, 1e-5, 'é\n"\\'], "a": {"z": None, "y": True}}
    task = await submit(kernel, context, **({"idempotency_key": key} if key else {}))
    found, _ = template_from_data({"name": "t", "namespace_name": "tests", "version": "1.0.0"}, source="t")
    expected = identity_key(found, context, key)
    assert (
        await kernel.connection.fetchval("select identity_key from tasker.tasks where task_uuid = $1", task) == expected
    )


async def test_an_identity_is_taken_while_its_task_runs(kernel):
    one = await template(kernel, unique_for="running")
    _, first = await kernel.submit(one, identity="same")
    _, second = await kernel.submit(one, identity="same")
    await kernel.finish(done((await kernel.claim()).steps[0]))
    _, third = await kernel.submit(one, identity="same")
    assert [first.created, second.created, third.created] == [[True], [False], [True]]


async def test_an_identity_is_taken_for_a_window_of_time(kernel):
    one = await template(kernel, unique_for=3600)
    _, first = await kernel.submit(one, identity="same")
    await kernel.clock(NOW + timedelta(seconds=3599))
    _, second = await kernel.submit(one, identity="same")
    await kernel.clock(NOW + timedelta(seconds=3600))
    _, third = await kernel.submit(one, identity="same")
    assert [first.created, second.created, third.created] == [[True], [False], [True]]


async def test_a_template_that_is_close_is_named(kernel):
    await template(kernel, "1.2.0")
    with pytest.raises(asyncpg.NoDataFoundError) as refused:
        await kernel.connection.fetchval("select tasker.task_submit('test', 't', '{}')")
    assert (refused.value.message, refused.value.hint) == ("no template test/t", "did you mean 'tests'/'t'?")
    with pytest.raises(asyncpg.NoDataFoundError) as refused:
        await submit(kernel, version="2.0.0")
    assert refused.value.hint == "there is 1.2.0"
    with pytest.raises(asyncpg.NoDataFoundError) as refused:
        await kernel.connection.fetchval("select tasker.task_submit('other', 'thing', '{}')")
    assert refused.value.hint == "start a host whose plugins give it: it registers its templates"


async def test_a_business_key_is_that_of_the_context(kernel):
    await template(kernel, concurrency_key="c-{customer}")
    task = await submit(kernel, {"customer": 7})
    key = await kernel.connection.fetchval("select limit_key from tasker.tasks where task_uuid = $1", task)
    assert key == "key:tests:c-7"
    with pytest.raises(asyncpg.CheckViolationError, match=r"context\.customer must be text or a number"):
        await submit(kernel, {"customer": None})


async def test_a_context_is_kept_exactly_as_it_was_written(kernel):
    await template(kernel)
    written = '{"onclick": 1.0,  "a": 1e3, "script": "<script>", "a2": 123456789012345678901234567890, "eval": 1.10}'
    task = await kernel.connection.fetchval("select tasker.task_submit('tests', 't', $1)", written)
    kept = await kernel.connection.fetchval("select context::text from tasker.tasks where task_uuid = $1", task)
    assert kept == written


async def test_a_task_whose_context_must_be_checked_is_paused_until_then(kernel):
    await template(kernel, input_schema={"type": "object"})
    task = await submit(kernel)
    assert await kernel.state(task) == "paused"
    assert (await kernel.claim()).steps == []
    assert await kernel.connection.fetch("select * from tasker.unchecked") == [(task,)]


# Who may do it -------------------------------------------------------------------------------------------------------


@pytest.fixture
async def stranger(kernel, dsn) -> AsyncIterator[asyncpg.Connection]:
    """A session of a role that may use the schema and call what it is given, and nothing else."""
    role = f"shop_{uuid4().hex}"
    await kernel.connection.execute(f"create role {role}; grant usage on schema tasker to {role}")
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"set session authorization {role}")
    yield connection
    await connection.close()
    await kernel.connection.execute(f"drop owned by {role}; drop role {role}")


async def grant(kernel: Kernel, stranger: asyncpg.Connection, what: str) -> None:
    role = await stranger.fetchval("select session_user")
    await kernel.connection.execute(f"grant {what} to {role}")


async def test_a_role_needs_the_function_and_nothing_else(kernel, stranger):
    await template(kernel)
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for function task_submit"):
        await stranger.fetchval("select tasker.task_submit('tests', 't', '{}')")
    await grant(kernel, stranger, "execute on function tasker.task_submit")
    task = await stranger.fetchval("select tasker.task_submit('tests', 't', '{}')")
    (step,) = (await kernel.claim()).steps
    assert step.task_uuid == task
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await stranger.fetch("select * from tasker.tasks")


async def test_a_stranger_brings_no_time_and_no_operators_of_its_own(kernel, stranger):
    await template(kernel)
    await grant(kernel, stranger, "execute on function tasker.task_submit")
    await grant(kernel, stranger, "temporary on database " + await stranger.fetchval("select current_database()"))
    await stranger.execute("set tasker.now = '2001-01-01'; create temp table tasks (a int); set search_path = pg_temp")
    task = await stranger.fetchval("select tasker.task_submit('tests', 't', '{}')")
    made = await kernel.connection.fetchval("select created_at from tasker.tasks where task_uuid = $1", task)
    assert made.year > 2001


async def test_a_role_that_may_send_messages_may_send_requests(kernel, stranger):
    queue = "pgmq.q_orchestration_task_requests"
    for what in ("usage on schema pgmq", f"insert, select on {queue}", "select on pgmq.meta",
                 f"usage on sequence {queue}_msg_id_seq"):  # fmt: skip
        await grant(kernel, stranger, what)
    sent = 'select * from pgmq.send(\'orchestration_task_requests\', \'{"namespace": "tests", "name": "t"}\')'
    assert await stranger.fetchval(sent) == 1


async def test_ringing_is_heard_by_workers_and_hosts(kernel, stranger):
    heard: asyncio.Queue[str] = asyncio.Queue()
    for channel in ("tasker.work.tests", "tasker.requests"):
        await kernel.connection.add_listener(channel, lambda _c, _p, channel, _t: heard.put_nowait(channel))
    await stranger.execute("select tasker.ring('tests')")
    async with asyncio.timeout(10):
        assert {await heard.get(), await heard.get()} == {"tasker.work.tests", "tasker.requests"}


async def test_many_who_want_an_identity_that_is_free_again_get_one_task(kernel, new_kernel):
    one = await template(kernel, unique_for=60)
    await kernel.submit(one, identity="same")
    crowd = [await new_kernel() for _ in range(8)]
    for each in crowd:
        await each.clock(NOW + timedelta(seconds=61))
    answers = await asyncio.gather(*(each.submit(one, identity="same") for each in crowd))
    assert sorted(submitted.created for _, submitted in answers) == [[False]] * 7 + [[True]]
    assert await kernel.connection.fetchval("select count(*) from tasker.tasks where identity_key = 'same'") == 1


async def test_two_who_want_the_same_identities_wait_for_each_other_in_one_order(kernel, new_kernel):
    one = await template(kernel, unique_for=60)
    for identity in ("a", "b"):
        await kernel.submit(one, identity=identity)
    waits = await new_kernel()
    await waits.clock(NOW + timedelta(seconds=61))
    row = "select from tasker.tasks where identity_key = $1 for update"
    async with kernel.connection.transaction():
        await kernel.connection.fetchrow(row, "a")
        tasks = [new_task(one, identity=identity) for identity in ("b", "a")]
        submitting = asyncio.create_task(tasks_submit(waits.connection, tasks, aging_interval=timedelta(seconds=300)))
        blocked = "select $1 = any (select pid from pg_locks where not granted)"
        while not await kernel.connection.fetchval(blocked, waits.connection.get_server_pid()):
            await asyncio.sleep(0.01)
        assert await kernel.connection.fetchrow(row + " skip locked", "b") is not None
    assert (await submitting).created == [True, True]
