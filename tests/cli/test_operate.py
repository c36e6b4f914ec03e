"""Operator commands: they work on the database itself, and running hosts hear of it."""

from __future__ import annotations

import asyncio
import json

import pytest

from tasker_host import PermanentError, step_handler
from tests.support import chain, ended, plugin, results, running_host, submit


@pytest.fixture
async def host(dsn):
    @step_handler("fails")
    async def fails() -> None:
        raise PermanentError("broken")

    @step_handler("last")
    async def last() -> str:
        return "done"

    async with running_host(dsn, plugin([fails, last], [chain("t", "fails", "last")])) as running:
        yield running


@pytest.fixture
def told(tasker, dsn):
    """Runs a command on the host's database while the host goes on."""

    async def run(*arguments: str):
        return await asyncio.to_thread(tasker, *arguments, DATABASE_URL=dsn)

    return run


async def test_a_blocked_task_is_repaired_from_the_command_line(host, told):
    task = await submit(host, "t")
    await ended(host, task)
    value = ("--result", '{"a": 1}', "--reason", "by hand", "--actor", "ada", "--json")
    done = await told("step", "complete", str(task), "fails", *value)
    assert (done.code, json.loads(done.out)["current_state"]) == (0, "complete")
    (row,) = await ended(host, task)
    assert (row["status"], results(row)) == ("complete", {"fails": {"a": 1}, "last": "done"})
    history = json.loads((await told("task", "history", str(task), "--json")).out)
    assert ["error", "complete", "ada", "by hand"] in [
        [move["from_state"], move["to_state"], move["actor"], move["reason"]] for move in history
    ]


async def test_a_task_that_is_over_cannot_be_paused_and_says_so(host, told):
    task = await submit(host, "t")
    await ended(host, task)
    assert (await told("task", "cancel", str(task), "--reason", "enough")).code == 0
    refused = await told("task", "pause", str(task), "--reason", "late")
    assert refused.code == 2
    assert refused.err.strip() == f"error: task {task} is cancelled: it cannot be paused"


async def test_a_task_is_run_again_and_its_steps_are_shown(host, told):
    task = await submit(host, "t")
    await ended(host, task)
    assert (await told("task", "rerun", str(task), "--reason", "again")).code == 0
    await ended(host, task)
    shown = await told("step", "show", str(task), "fails")
    assert "attempt 1 of 3" in shown.out
    assert "broken" in shown.out
    audit = json.loads((await told("step", "audit", str(task), "fails", "--json")).out)
    assert [move["to_state"] for move in audit].count("error") == 2


async def test_limits_are_set_listed_and_removed(host, told):
    assert (await told("limit", "set", "handler:last", "--max", "3", "--reason", "slow")).code == 0
    (limit,) = json.loads((await told("limit", "list", "--json")).out)
    assert (limit["key"], limit["max_running"]) == ("handler:last", 3)
    assert (await told("limit", "remove", "handler:last", "--reason", "fast")).code == 0
    assert (await told("limit", "list")).out.strip() == "no limits"
    wrong = await told("limit", "set", "last", "--max", "3", "--reason", "slow")
    assert wrong.code == 2
    assert "key: must be namespace:NAME, handler:CALLABLE or key:NAMESPACE:VALUE (got 'last')" in wrong.err


async def test_a_paused_handler_starts_nothing_until_it_is_resumed(host, told):
    assert (await told("handler", "pause", "fails", "--reason", "r")).code == 0
    task = await submit(host, "t")
    assert (await told("handler", "resume", "fails", "--reason", "r")).code == 0
    (row,) = await ended(host, task)
    assert row["status"] == "blocked_by_failures"
