"""Dead letters over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from uuid import uuid4

import httpx
import pytest

from tasker_host import step_handler
from tasker_host.host import Host
from tasker_host.server import Server
from tests.support import chain, plugin, run_to_end, running_host, submit


@step_handler("fails")
async def fails() -> None:
    raise RuntimeError("no")


@pytest.fixture
async def host(dsn: str) -> AsyncIterator[Host]:
    made = plugin([fails], [chain("failing", "fails", max_attempts=1), chain("lacking", "fails")])
    async with running_host(dsn, made) as host:
        yield host


@pytest.fixture
async def api(host: Host) -> AsyncIterator[httpx.AsyncClient]:
    server = Server(host)
    async with httpx.AsyncClient(base_url=await server.start()) as client:
        yield client
    await server.stop()


async def filed(host: Host, api: httpx.AsyncClient, number: int = 0) -> dict[str, object]:
    """The dead letter of a task that failed."""
    row = await run_to_end(host, "failing", {"n": number})
    await host.sweeper.sweep()
    return (await api.get(f"/v1/dlq/task/{row['task_uuid']}")).json()


async def test_a_failed_task_is_listed_with_its_snapshot(api, host):
    assert (await api.get("/v1/dlq")).json() == []
    entry = await filed(host, api)
    assert (await api.get("/v1/dlq")).json() == [entry]
    assert {
        "namespace": "tests", "task_name": "failing", "dlq_reason": "max_retries_exceeded",
        "resolution_status": "pending", "current_state": "blocked_by_failures",
    }.items() <= entry.items()  # fmt: skip
    (step,) = entry["task_snapshot"]["steps"]
    assert (step["name"], step["error"]["message"]) == ("fails", "no")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", 2),
        ("?resolution_status=pending", 1),
        ("?resolution_status=Pending", 1),
        ("?resolution_status=permanently_failed", 1),
        ("?resolution_status=PermanentlyFailed", 1),
        ("?resolution_status=cancelled", 0),
        ("?reason=MaxRetriesExceeded", 2),
        ("?reason=manual_dlq", 0),
        ("?limit=1", 1),
        ("?limit=1&offset=2", 0),
    ],
)
async def test_the_list_is_filtered_and_both_ways_of_writing_are_read(api, host, query, found):
    first = await filed(host, api)
    closed = await api.patch(
        f"/v1/dlq/entry/{first['dlq_entry_uuid']}", json={"resolution_status": "PermanentlyFailed"}
    )
    assert closed.status_code == 200
    await filed(host, api, 1)
    assert len((await api.get(f"/v1/dlq{query}")).json()) == found


async def test_an_investigation_ends_once(api, host):
    entry = await filed(host, api)
    address = f"/v1/dlq/entry/{entry['dlq_entry_uuid']}"
    noted = await api.patch(address, json={"resolution_notes": "looking", "metadata": {"ticket": 7}})
    assert noted.json() == {"success": True, "message": "updated", "dlq_entry_uuid": entry["dlq_entry_uuid"]}
    done = {"resolution_status": "manually_resolved", "resolution_notes": "reset", "resolved_by": "ann"}
    assert (await api.patch(address, json=done)).status_code == 200
    now = (await api.get(f"/v1/dlq/task/{entry['task_uuid']}")).json()
    assert {**done, "metadata": {"ticket": 7}}.items() <= now.items()
    assert datetime.fromisoformat(now["resolution_timestamp"]) >= datetime.fromisoformat(now["dlq_timestamp"])
    again = await api.patch(address, json={"resolution_status": "pending"})
    assert (again.status_code, again.json()["code"]) == (409, "MOVE_ILLEGAL")
    assert "is manually_resolved already" in again.json()["detail"]
    assert (await api.patch(address, json={"resolution_status": "manually_resolved"})).status_code == 200


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"resolution_status": "done"}, ["resolution_status"]),
        ({"resolution_notes": 7, "resolved_by": ""}, ["resolution_notes", "resolved_by"]),
        ({"resolution_notes": "a\x00b"}, ["resolution_notes"]),
        ({"status": "pending"}, ["status"]),
        ([], [""]),
    ],
)
async def test_a_wrong_change_is_told_and_changes_nothing(api, host, body, where):
    entry = await filed(host, api)
    answer = await api.patch(f"/v1/dlq/entry/{entry['dlq_entry_uuid']}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "REQUEST_INVALID")
    assert [one["where"] for one in answer.json()["problems"]] == where
    assert (await api.get(f"/v1/dlq/task/{entry['task_uuid']}")).json() == entry


async def test_what_is_not_there_is_told(api):
    unknown = uuid4()
    for answer in (
        await api.get(f"/v1/dlq/task/{unknown}"),
        await api.patch(f"/v1/dlq/entry/{unknown}", json={"resolution_notes": "x"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "DEAD_LETTER_NOT_FOUND")
    assert (await api.get("/v1/dlq/task/x")).status_code == 400
    assert (await api.patch("/v1/dlq/entry/x", json={})).status_code == 400
    twice = (await api.get("/v1/dlq?status=pending&limit=0&limit=5")).json()["problems"]
    assert [problem["where"] for problem in twice] == ["limit", "status"]
    wrong = await api.get("/v1/dlq?resolution_status=done")
    assert "must be one of pending, manually_resolved" in wrong.json()["problems"][0]["message"]
    assert (await api.patch(f"/v1/dlq/entry/{unknown}", content=b"{")).status_code == 415


async def test_an_investigation_can_be_opened_by_hand(api, host):
    task = await submit(host, "lacking")
    made = await api.post("/v1/dlq", json={"task_uuid": str(task), "notes": "odd", "metadata": {"by": "ann"}})
    assert (made.status_code, made.headers["location"]) == (201, f"/v1/dlq/task/{task}")
    assert (made.json()["dlq_reason"], made.json()["resolution_notes"], made.json()["metadata"]) == (
        "manual_dlq", "odd", {"by": "ann"},
    )  # fmt: skip
    twice = await api.post("/v1/dlq", json={"task_uuid": str(task)})
    assert (twice.status_code, twice.json()["code"]) == (409, "DEAD_LETTER_EXISTS")
    unknown = await api.post("/v1/dlq", json={"task_uuid": str(uuid4())})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "TASK_NOT_FOUND")


async def test_statistics_and_the_queue_of_investigations(api, host):
    entry = await filed(host, api)
    task = await submit(host, "lacking")
    await api.post("/v1/dlq", json={"task_uuid": str(task)})
    stats = {row["dlq_reason"]: row for row in (await api.get("/v1/dlq/stats")).json()}
    assert {reason: (row["total_entries"], row["pending"]) for reason, row in stats.items()} == {
        "max_retries_exceeded": (1, 1), "manual_dlq": (1, 1),
    }  # fmt: skip
    queue = (await api.get("/v1/dlq/investigation-queue")).json()
    assert [row["dlq_reason"] for row in queue] == ["max_retries_exceeded", "manual_dlq"]
    assert [round(row["priority_score"] - row["minutes_in_dlq"]) for row in queue] == [500, 10]
    assert len((await api.get("/v1/dlq/investigation-queue?limit=1")).json()) == 1
    await api.patch(f"/v1/dlq/entry/{entry['dlq_entry_uuid']}", json={"resolution_status": "cancelled"})
    assert len((await api.get("/v1/dlq/investigation-queue")).json()) == 1


async def test_openapi_describes_these_routes(api):
    paths = (await api.get("/api-docs/openapi.json")).json()["paths"]
    assert {(method, path) for path, operations in paths.items() for method in operations if "/dlq" in path} == {
        ("get", "/v1/dlq"), ("post", "/v1/dlq"), ("get", "/v1/dlq/task/{task_uuid}"),
        ("patch", "/v1/dlq/entry/{dlq_entry_uuid}"), ("get", "/v1/dlq/stats"),
        ("get", "/v1/dlq/investigation-queue"), ("get", "/v1/dlq/staleness"),
    }  # fmt: skip
    status = {given["name"]: given["schema"] for given in paths["/v1/dlq"]["get"]["parameters"]}["resolution_status"]
    assert status["enum"] == ["pending", "manually_resolved", "permanently_failed", "cancelled"]
