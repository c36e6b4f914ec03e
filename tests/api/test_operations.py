"""Operator actions over HTTP, on a host that runs steps."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tasker_host import PermanentError, StepContext, step_handler
from tasker_host.server import Server
from tests.support import chain, ended, plugin, results, running_host, submit

WHY = {"reason": "because", "actor": "ada"}


class Gate:
    """What the handlers of a test wait for and count."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.open = asyncio.Event()
        self.fails = True
        self.cancelled = asyncio.Event()


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
async def host(dsn, gate):
    @step_handler("first")
    async def first() -> int:
        return 1

    @step_handler("waits")
    async def waits() -> str:
        gate.begun.set()
        try:
            await gate.open.wait()
        except asyncio.CancelledError:
            gate.cancelled.set()
            raise
        return "waited"

    @step_handler("fails")
    async def fails() -> str:
        if gate.fails:
            raise PermanentError("broken")
        return "mended"

    @step_handler("last")
    async def last(context: StepContext) -> Any:
        return context.get_dependency_result("fails") or context.get_dependency_result("waits")

    made = plugin(
        [first, waits, fails, last],
        [chain("slow", "first", "waits", "last"), chain("broken", "first", "fails", "last")],
    )
    async with running_host(dsn, made) as running:
        yield running


@pytest.fixture
async def client(host):
    server = Server(host)
    url = await server.start()
    async with httpx.AsyncClient(base_url=url) as client:
        yield client
    await server.stop()


async def test_a_cancelled_task_is_stopped_within_a_moment_and_its_result_is_refused(host, client, gate):
    task = await submit(host, "slow")
    await gate.begun.wait()
    answer = await client.post(f"/v1/tasks/{task}/cancel", json={**WHY, "running": "interrupt"})
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    async with asyncio.timeout(2):
        await gate.cancelled.wait()
    (row,) = await ended(host, task)
    assert [step["current_state"] for step in row["steps"]] == ["complete", "cancelled", "cancelled"]
    assert row["because"] == {"reason": "because", "actor": "ada", "at": row["because"]["at"]}
    again = await client.post(f"/v1/tasks/{task}/cancel", json=WHY)
    assert (again.status_code, again.json()["code"]) == (409, "MOVE_ILLEGAL")
    assert again.json()["detail"] == f"task {task} is cancelled: it cannot be cancelled"


async def test_a_step_that_runs_when_its_task_is_deleted_ends_and_nothing_follows(host, client, gate):
    task = await submit(host, "slow")
    await gate.begun.wait()
    assert (await client.delete(f"/v1/tasks/{task}")).json()["status"] == "cancelled"
    gate.open.set()
    while (await client.get(f"/v1/tasks/{task}/workflow_steps/waits")).json()["current_state"] == "in_progress":
        await asyncio.sleep(0)
    (row,) = await ended(host, task)
    assert [step["current_state"] for step in row["steps"]] == ["complete", "complete", "cancelled"]


async def test_a_paused_task_keeps_what_ended_and_goes_on_when_it_is_resumed(host, client, gate):
    task = await submit(host, "slow")
    await gate.begun.wait()
    assert (await client.post(f"/v1/tasks/{task}/pause", json=WHY)).json()["status"] == "paused"
    gate.open.set()
    while (step := (await client.get(f"/v1/tasks/{task}/workflow_steps/waits")).json())[
        "current_state"
    ] == "in_progress":
        await asyncio.sleep(0)
    assert step["current_state"] == "enqueued_for_orchestration"
    assert (await client.post(f"/v1/tasks/{task}/resume", json=WHY)).status_code == 200
    (row,) = await ended(host, task)
    assert (row["status"], results(row)["last"]) == ("complete", "waited")


async def test_a_failed_step_is_reset_and_the_task_goes_on_by_itself(host, client, gate):
    task = await submit(host, "broken")
    (row,) = await ended(host, task)
    assert (row["status"], row["execution_status"]) == ("blocked_by_failures", "blocked_by_failures")
    gate.fails = False
    action = {"action_type": "reset_for_retry", "reason": "mended", "reset_by": "ada"}
    answer = await client.patch(f"/v1/tasks/{task}/workflow_steps/fails", json=action)
    assert answer.status_code == 200
    (row,) = await ended(host, task)
    assert (row["status"], results(row)["last"]) == ("complete", "mended")
    audit = (await client.get(f"/v1/tasks/{task}/workflow_steps/fails/audit")).json()
    assert [(move["from_state"], move["to_state"]) for move in audit[:2]] == [
        ("in_progress", "complete"),
        ("enqueued", "in_progress"),
    ]
    assert ("error", "pending", "ada", "mended") in [
        (move["from_state"], move["to_state"], move["actor"], move["reason"]) for move in audit
    ]


@pytest.mark.parametrize(
    ("action", "last"),
    [
        ({"action_type": "complete_manually", "completion_data": {"result": "by hand"}, "reason": "r"}, "by hand"),
        ({"action_type": "resolve_manually", "reason": "r"}, None),
    ],
)
async def test_a_failed_step_is_settled_by_hand_and_the_steps_below_run(host, client, action, last):
    task = await submit(host, "broken")
    await ended(host, task)
    assert (await client.patch(f"/v1/tasks/{task}/workflow_steps/fails", json=action)).status_code == 200
    (row,) = await ended(host, task)
    assert (row["status"], results(row)["last"]) == ("complete", last)


async def test_a_task_is_run_again_from_a_step_with_the_values_of_earlier_ones(host, client, gate):
    gate.fails = False
    task = await submit(host, "broken")
    await ended(host, task)
    answer = await client.post(f"/v1/tasks/{task}/rerun", json={**WHY, "from": ["fails"]})
    assert answer.status_code == 200
    (row,) = await ended(host, task)
    assert row["status"] == "complete"
    history = (await client.get(f"/v1/tasks/{task}/history")).json()
    runs = [move["step_name"] for move in history if move["to_state"] == "complete" and move["step_name"]]
    assert sorted(runs) == ["fails", "fails", "first", "last", "last"]
    of_fails = [(move["from_state"], move["to_state"]) for move in history if move["step_name"] == "fails"]
    assert of_fails[-4:-1] == [("complete", "pending"), ("pending", "enqueued"), ("enqueued", "in_progress")]
    wrong = await client.post(f"/v1/tasks/{task}/rerun", json={**WHY, "from": ["last", "lst", "nothing"]})
    assert (wrong.status_code, [problem["message"] for problem in wrong.json()["problems"]]) == (
        400,
        ["the task has no step named 'lst'; did you mean 'last'?", "the task has no step named 'nothing'"],
    )


async def test_a_namespace_is_paused_and_resumed(host, client):
    assert (await client.post("/v1/namespaces/tests/pause", json=WHY)).json()["paused"] is True
    tasks = [await submit(host, "broken", {"n": n}) for n in range(5)]
    while (limit := (await client.get("/v1/limits")).json()[0])["waiting"] < 5:
        await asyncio.sleep(0)
    assert (limit["key"], limit["running"]) == ("namespace:tests", 0)
    assert (await client.get(f"/v1/tasks/{tasks[0]}")).json()["steps"][0]["waits_for_limit"] == "namespace:tests"
    assert (await client.post("/v1/namespaces/tests/resume", json=WHY)).json()["paused"] is False
    assert {row["status"] for row in await ended(host, *tasks)} == {"blocked_by_failures"}
    assert (await client.get("/v1/limits")).json() == []


async def test_a_limit_set_while_tasks_run_holds_at_once(host, client, gate):
    gate.open.set()
    answer = await client.put("/v1/limits/handler:waits", json={**WHY, "max_running": 1})
    assert answer.json()["max_running"] == 1
    tasks = [await submit(host, "slow", {"n": n}) for n in range(20)]
    assert {row["status"] for row in await ended(host, *tasks)} == {"complete"}
    assert (await client.delete("/v1/limits/handler:waits")).status_code == 200
    assert (await client.get("/v1/limits")).json() == []


@pytest.mark.parametrize(
    ("key", "numbers", "where"),
    [
        ("handler:waits", {"max_running": 10**12}, "max_running"),
        ("handler:waits", {"max_running": True}, "max_running"),
        ("handler:waits", {"max_running": "5"}, "max_running"),
        ("handler:waits", {"per_second": True}, "per_second"),
        ("handler:waits", {"paused": 1}, "paused"),
        ("handler:waits", {"per_second": 1e-300}, "per_second"),
        ("handler:waits", {"per_second": 1e300}, "per_second"),
        ("handler:waits", {"per_second": 1, "burst": 2**31}, "burst"),
        ("handler:waits", {"burst": 5}, "burst"),
        ("handler:" + "ü" * 500, {"max_running": 1}, "key"),
        ("key:tests:\0", {"max_running": 1}, "key"),
        ("task:x", {"max_running": 1}, "key"),
    ],
)
async def test_numbers_of_a_limit_that_cannot_be_are_refused(client, key, numbers, where):
    answer = await client.put(f"/v1/limits/{quote(key)}", json={**WHY, **numbers})
    assert (answer.status_code, [problem["where"] for problem in answer.json()["problems"]]) == (400, [where])
    assert (await client.get("/v1/limits")).json() == []


async def test_a_key_may_have_slashes(client):
    key = "key:tests:eu/west//1/ü?%2F/"
    for path in (quote(key, safe=":/"), quote(key, safe="")):
        answer = await client.put(f"/v1/limits/{path}", json={**WHY, "max_running": 2})
        assert (answer.status_code, answer.json()["key"]) == (200, key)
        assert [limit["key"] for limit in (await client.get("/v1/limits")).json()] == [key]
        assert (await client.delete(f"/v1/limits/{path}")).json()["key"] == key
        assert (await client.get("/v1/limits")).json() == []


async def test_the_slowest_rate_holds_up_no_one_else(host, client, gate):
    gate.open.set()
    await client.put("/v1/limits/handler:waits", json={**WHY, "per_second": 0.000001})
    first, second = [await submit(host, "slow", {"n": n}) for n in range(2)]
    assert [row["status"] for row in await ended(host, first)] == ["complete"]
    assert (await client.get(f"/v1/tasks/{second}")).json()["status"] == "steps_in_process"
    await client.delete("/v1/limits/handler:waits")
    assert [row["status"] for row in await ended(host, second)] == ["complete"]


async def test_what_is_paused_keeps_its_numbers_and_what_is_limited_its_pause(host, client):
    await client.put("/v1/limits/handler:waits", json={**WHY, "max_running": 3, "per_second": 5, "burst": 2})
    paused = (await client.post("/v1/handlers/waits/pause", json=WHY)).json()
    assert (paused["paused"], paused["max_running"], paused["per_second"], paused["burst"]) == (True, 3, 5.0, 2)
    await host.operations.limit("handler:waits", max_running=4, paused=None, reason="r")
    (changed,) = (await client.get("/v1/limits")).json()
    assert (changed["paused"], changed["max_running"], changed["per_second"]) == (True, 4, None)
    resumed = (await client.post("/v1/handlers/waits/resume", json=WHY)).json()
    assert (resumed["paused"], resumed["max_running"]) == (False, 4)


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/tasks/x/cancel", WHY, 400, "REQUEST_INVALID"),
        ("/v1/tasks/019b7a5c-2f10-7d3e-9c41-0b6f2d8e5a17/cancel", WHY, 404, "TASK_NOT_FOUND"),
        ("/v1/tasks/019b7a5c-2f10-7d3e-9c41-0b6f2d8e5a17/pause", {}, 400, "REQUEST_INVALID"),
        ("/v1/tasks/019b7a5c-2f10-7d3e-9c41-0b6f2d8e5a17/rerun", {**WHY, "from": []}, 400, "REQUEST_INVALID"),
        ("/v1/namespaces/tests/stop", WHY, 400, "REQUEST_INVALID"),
    ],
)
async def test_what_cannot_be_done_is_a_problem(client, path, body, status, code):
    answer = await client.post(path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_wrong_repair_of_a_step_is_a_problem(host, client):
    task = await submit(host, "broken")
    await ended(host, task)
    path = f"/v1/tasks/{task}/workflow_steps"
    for name, body, status, code in (
        ("fials", {"action_type": "resolve_manually", "reason": "r"}, 404, "STEP_NOT_FOUND"),
        ("first", {"action_type": "reset_for_retry", "reason": "r"}, 409, "MOVE_ILLEGAL"),
        ("fails", {"action_type": "complete_manually", "reason": "r"}, 400, "REQUEST_INVALID"),
        ("fails", {"action_type": "burn", "reason": "r"}, 400, "REQUEST_INVALID"),
        ("fails", {"action_type": "complete_manually", "reason": "r", "completion_data": {}}, 400, "REQUEST_INVALID"),
    ):
        answer = await client.patch(f"{path}/{name}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
