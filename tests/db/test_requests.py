"""Tasks from plain SQL, and how long an identity is taken."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasker_host.domain.identity import identity_key
from tasker_host.domain.json import canonical_json
from tasker_host.domain.source import template_from_data
from tests.db.conftest import Kernel, done

NOW = datetime(2026, 1, 1, tzinfo=UTC)


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
        ({"priority": 101}, asyncpg.CheckViolationError, "priority must be from -100 to 100 (got 101)"),
    ],
)
async def test_what_does_not_hold_is_told(kernel, arguments, error, message):
    await template(kernel)
    with pytest.raises(error) as refused:
        await submit(kernel, **arguments)
    assert refused.value.message == message


async def test_a_key_that_the_template_demands_is_asked_for_and_one_that_is_taken_is_told(kernel):
    await template(kernel, identity_strategy="caller_provided")
    with pytest.raises(asyncpg.CheckViolationError, match="needs an idempotency_key"):
        await submit(kernel)
    await submit(kernel, idempotency_key="k")
    with pytest.raises(asyncpg.UniqueViolationError, match="with this identity already exists"):
        await submit(kernel, {"other": 1}, idempotency_key="k")


numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
text = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=values)
async def test_sql_and_python_write_the_same_canonical_json(kernel, value):
    assert await kernel.connection.fetchval("select tasker.canonical_json($1)", json.dumps(value)) == canonical_json(
        value
    )


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
