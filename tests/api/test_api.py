"""The API over HTTP, of a host that serves."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from types import SimpleNamespace
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from tasker_host import StepContext, step_handler
from tasker_host.errors import AddressUnavailable
from tasker_host.host import Host
from tasker_host.plugins import Roster
from tasker_host.server import Server, create_app
from tests.support import chain, configured, ended, plugin, running_host, submit

PROBLEM = "application/problem+json"
BIG = 63340286662973277706162286946811886609896461828096

TEMPLATE = """\
name: echo
namespace_name: tests
version: 1.0.0
input_schema:
  type: object
  properties: {number: {type: integer}, to: {type: string}}
  required: [number]
steps:
  - {name: echo, handler: {callable: echo}}
"""


@step_handler("echo")
async def echo(context: StepContext) -> object:
    return context.input["number"]


@step_handler("fail")
async def fail() -> None:
    raise ValueError("no")


@pytest.fixture
async def host(dsn: str) -> AsyncIterator[Host]:
    made = plugin([echo, fail], [TEMPLATE, chain("failing", "fail", max_attempts=1), chain("lacking", "nobody")])
    async with running_host(dsn, made, limits__page_size_max=50, web__request_body_max_bytes=4096) as host:
        yield host


@pytest.fixture
async def api(host: Host) -> AsyncIterator[httpx.AsyncClient]:
    server = Server(host)
    async with httpx.AsyncClient(base_url=await server.start()) as client:
        yield client
    await server.stop()


def request(number: object = 1, **more: object) -> dict[str, object]:
    return {"namespace": "tests", "name": "echo", "context": {"number": number}, **more}


async def test_a_task_is_created_shown_and_run(api, host):
    created = await api.post("/v1/tasks", json=request(7, tags=["a"], priority=3))
    assert created.status_code == 201
    task = created.json()
    assert created.headers["location"] == f"/v1/tasks/{task['task_uuid']}"
    assert (task["name"], task["tags"], task["priority"], task["total_steps"]) == ("echo", ["a"], 3, 1)
    await ended(host, UUID(task["task_uuid"]))
    shown = (await api.get(created.headers["location"])).json()
    assert (shown["status"], shown["completion_percentage"]) == ("complete", 100.0)
    (step,) = shown["steps"]
    assert (step["name"], step["current_state"], step["result"], step["attempts"]) == ("echo", "complete", 7, 1)


async def test_every_digit_of_a_number_survives(api, host):
    created = await api.post(
        "/v1/tasks", content=f'{{"namespace": "tests", "name": "echo", "context": {{"number": {BIG}}}}}',
        headers={"content-type": "application/json"},
    )  # fmt: skip
    await ended(host, UUID(created.json()["task_uuid"]))
    shown = await api.get(created.headers["location"])
    assert shown.json()["steps"][0]["result"] == BIG
    assert str(BIG) in shown.text


@pytest.mark.parametrize(
    ("body", "status", "code", "where"),
    [
        (request("seven"), 400, "REQUEST_INVALID", ["context.number"]),
        (request(1, priority=101, nonsense=1), 400, "REQUEST_INVALID", ["priority", "nonsense"]),
        ({"name": "echo", "namespace": "tests", "context": []}, 400, "REQUEST_INVALID", ["context"]),
        ([], 400, "REQUEST_INVALID", [""]),
        ({"name": "ecko", "namespace": "tests"}, 404, "TEMPLATE_NOT_FOUND", []),
        ({"name": "lacking", "namespace": "tests"}, 409, "TEMPLATE_UNAVAILABLE", None),
    ],
)
async def test_a_wrong_request_is_a_problem_that_lists_all_and_writes_nothing(api, body, status, code, where):
    answer = await api.post("/v1/tasks", json=body)
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["title"]
    if where is not None:
        assert [one["where"] for one in problem["problems"]] == where
    assert (await api.get("/v1/tasks")).json()["pagination"]["total_count"] == 0


async def test_a_template_that_is_close_is_suggested_and_missing_handlers_are_named(api):
    close = await api.post("/v1/tasks", json={"name": "ecko", "namespace": "tests"})
    assert "did you mean 'tests/echo'?" in close.json()["detail"]
    lacking = await api.post("/v1/tasks", json={"name": "lacking", "namespace": "tests"})
    assert "nobody" in lacking.json()["problems"][0]["message"]


async def test_the_same_identity_twice_is_a_conflict(api):
    assert (await api.post("/v1/tasks", json=request(1))).status_code == 201
    again = await api.post("/v1/tasks", json=request(1))
    assert (again.status_code, again.json()["code"]) == (409, "TASK_EXISTS")
    assert (await api.post("/v1/tasks", json=request(1, idempotency_key="b"))).status_code == 201


async def test_a_context_over_the_limit_is_refused(dsn):
    async with running_host(dsn, plugin([echo], [TEMPLATE]), limits__context_max_bytes=1024) as host:
        server = Server(host)
        async with httpx.AsyncClient(base_url=await server.start()) as api:
            large = await api.post("/v1/tasks", json=request(1) | {"context": {"number": 1, "to": "x" * 1100}})
            deep: object = 1
            for _ in range(80):
                deep = [deep]
            nested = await api.post("/v1/tasks", json=request(1) | {"context": {"number": 1, "deep": deep}})
        await server.stop()
    assert (large.status_code, nested.status_code) == (400, 400)
    assert "bytes are more than the 1,024 allowed" in large.json()["problems"][0]["message"]
    assert nested.json()["problems"][0]["where"].startswith("context.deep")


@pytest.mark.parametrize("body", ["", "{", '{"a": NaN}', '{"a": 1', "\ufeff{}", '{"a": "\\ud800"}'])
async def test_what_is_not_json_is_told(api, body):
    answer = await api.post("/v1/tasks", content=body.encode(), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "REQUEST_INVALID")


async def test_a_body_that_is_too_large_is_413_and_one_that_is_not_json_by_name_415(api):
    large = await api.post("/v1/tasks", content=b" " * 5000, headers={"content-type": "application/json"})
    assert (large.status_code, large.json()["code"]) == (413, "BODY_TOO_LARGE")
    form = await api.post("/v1/tasks", content=b"{}", headers={"content-type": "text/plain"})
    assert (form.status_code, form.json()["code"]) == (415, "NOT_JSON")


async def test_tasks_are_paged_newest_first_and_filtered(api, host):
    made = [str(await submit(host, "echo", {"number": n}, initiator="ann" if n % 2 else "bob")) for n in range(5)]
    failing = str(await submit(host, "failing"))
    await ended(host, UUID(failing))
    first = (await api.get("/v1/tasks", params={"per_page": 2})).json()
    assert [task["task_uuid"] for task in first["tasks"]] == [failing, made[4]]
    assert first["pagination"] == {
        "page": 1, "per_page": 2, "total_count": 6, "total_pages": 3, "has_next": True, "has_previous": False,
    }  # fmt: skip
    assert "steps" not in first["tasks"][0]
    third = (await api.get("/v1/tasks", params={"per_page": 2, "page": 3})).json()
    assert [task["task_uuid"] for task in third["tasks"]] == [made[1], made[0]]
    assert (third["pagination"]["has_next"], third["pagination"]["has_previous"]) == (False, True)
    anns = (await api.get("/v1/tasks", params={"initiator": "ann"})).json()
    assert [task["task_uuid"] for task in anns["tasks"]] == [made[3], made[1]]
    blocked = (await api.get("/v1/tasks", params={"status": ["blocked_by_failures", "error"]})).json()
    assert [task["task_uuid"] for task in blocked["tasks"]] == [failing]
    assert (await api.get("/v1/tasks", params={"namespace": "other"})).json()["tasks"] == []


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("page=0", "page"),
        ("page=x", "page"),
        ("per_page=51", "per_page"),
        ("per_page=0", "per_page"),
        ("state=complete", "state"),
        ("status=completed", "status"),
    ],
)
async def test_a_wrong_query_is_a_problem(api, query, where):
    answer = await api.get(f"/v1/tasks?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "REQUEST_INVALID")
    assert answer.json()["problems"][0]["where"] == where


async def test_unknown_things_are_problems_too(api):
    for path, status, code in (
        (f"/v1/tasks/{uuid4()}", 404, "TASK_NOT_FOUND"),
        ("/v1/tasks/not-a-uuid", 400, "REQUEST_INVALID"),
        ("/nowhere", 404, "NOT_FOUND"),
    ):
        answer = await api.get(path)
        assert (answer.status_code, answer.json()["code"], answer.headers["content-type"]) == (status, code, PROBLEM)
    answer = await api.put("/v1/tasks", json={})
    assert (answer.status_code, answer.json()["code"]) == (405, "METHOD_NOT_ALLOWED")


async def test_a_bug_is_a_500_without_its_traceback(dsn, monkeypatch):
    async def broken(_: object) -> None:
        raise RuntimeError("secret detail")

    async with running_host(dsn, plugin([echo], [TEMPLATE])) as host:
        monkeypatch.setattr(host.submissions, "submit", broken)
        transport = httpx.ASGITransport(create_app(host), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://host") as api:
            answer = await api.post("/v1/tasks", json=request())
    assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL")
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


async def test_health_says_how_the_host_is(api, host):
    health = (await api.get("/health")).json()
    assert (health["status"], health["phase"]) == ("healthy", "ready")
    assert {check["name"]: check["status"] for check in health["checks"]} == {
        "database": "healthy", "worker": "healthy", "plugins": "healthy",
    }  # fmt: skip
    assert health["info"]["worker"]["id"] == host.worker.id
    assert (await api.get("/health/live")).json()["status"] == "alive"
    assert (await api.get("/health/ready")).status_code == 200


async def test_a_stopping_host_is_alive_but_not_ready(api, host):
    host.stop_claiming()
    ready = await api.get("/health/ready")
    assert (ready.status_code, ready.json()["code"], ready.headers["content-type"]) == (503, "NOT_READY", PROBLEM)
    assert ready.json()["detail"] == "the host is stopping"
    assert (await api.get("/health/live")).status_code == 200


async def test_without_its_database_the_host_is_not_ready_and_says_so(server_dsn, dsn):
    name = urlsplit(dsn).path[1:]
    async with running_host(dsn, plugin([echo], [TEMPLATE])) as host:
        app = create_app(host)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://host") as api:
            assert (await api.get("/health/ready")).status_code == 200
            admin = await asyncpg.connect(server_dsn)
            await admin.execute(f"alter database {name} allow_connections false")
            await admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name)
            answer = await api.get("/health/ready")
            while answer.status_code == 200:  # a report is kept for half a second
                await asyncio.sleep(0)
                answer = await api.get("/health/ready")
            assert (answer.status_code, answer.json()["code"]) == (503, "NOT_READY")
            assert "database" in answer.json()["detail"]
            refused = await api.post("/v1/tasks", json=request())
            assert (refused.status_code, refused.json()["code"]) == (503, "DATABASE_UNAVAILABLE")
            assert refused.headers["retry-after"] == "1"
            await admin.execute(f"alter database {name} allow_connections true")
            await admin.close()


async def test_while_a_failing_database_is_left_alone_the_answer_says_for_how_long(dsn):
    made = plugin([echo], [TEMPLATE])
    async with running_host(dsn, made, database__breaker_failures=1, database__breaker_open_seconds=90) as host:
        server = Server(host)
        async with httpx.AsyncClient(base_url=await server.start()) as api:
            host.database.breaker.failed(host.database.breaker.begin())
            answer = await api.get("/v1/tasks")
        await server.stop()
    assert (answer.status_code, answer.json()["code"]) == (503, "DATABASE_UNAVAILABLE")
    assert 80 <= int(answer.headers["Retry-After"]) <= 90


async def test_a_faulty_plugin_makes_the_host_degraded_but_ready(dsn):
    def boom() -> list[object]:
        raise ValueError("no gateway")

    broken = plugin([], tasker_templates=boom)
    async with (
        running_host(dsn, plugin([echo], [TEMPLATE]), broken) as host,
        httpx.AsyncClient(transport=httpx.ASGITransport(create_app(host)), base_url="http://host") as api,
    ):
        health = (await api.get("/health")).json()
        assert (await api.get("/health/ready")).status_code == 200
    assert health["status"] == "degraded"
    assert [check["message"] for check in health["checks"] if check["name"] == "plugins"] == ["give nothing: p1"]


async def test_openapi_describes_every_route_and_the_page_needs_nothing_from_elsewhere(api):
    schema = (await api.get("/api-docs/openapi.json")).json()
    paths = {path: operations for path, operations in schema["paths"].items() if "/dlq" not in path}
    assert {(method, path) for path, operations in paths.items() for method in operations} == {
        ("get", "/health"), ("get", "/health/live"), ("get", "/health/ready"),
        ("post", "/v1/tasks"), ("get", "/v1/tasks"), ("get", "/v1/tasks/{task_uuid}"),
        ("delete", "/v1/tasks/{task_uuid}"), ("get", "/v1/tasks/{task_uuid}/history"),
        *(("post", f"/v1/tasks/{{task_uuid}}/{verb}") for verb in ("cancel", "pause", "resume", "resolve", "rerun")),
        ("get", "/v1/tasks/{task_uuid}/workflow_steps"), ("get", "/v1/tasks/{task_uuid}/workflow_steps/{step}"),
        ("patch", "/v1/tasks/{task_uuid}/workflow_steps/{step}"),
        ("get", "/v1/tasks/{task_uuid}/workflow_steps/{step}/audit"),
        ("get", "/v1/plugins"),
        ("get", "/metrics/events"),
        ("get", "/v1/workers"), ("get", "/v1/limits"), ("put", "/v1/limits/{key}"), ("delete", "/v1/limits/{key}"),
        ("post", "/v1/namespaces/{name}/{action}"), ("post", "/v1/handlers/{name}/{action}"),
    }  # fmt: skip
    post = schema["paths"]["/v1/tasks"]["post"]
    assert set(post["responses"]) == {"201", "400", "404", "409", "413", "415", "503"}
    properties = post["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert {"namespace", "name", "context", "priority", "idempotency_key", "start_at"} <= set(properties)
    page = await api.get("/api-docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "/v1/tasks/{task_uuid}" in page.text
    assert "It is durable when this answers." in page.text
    assert "idempotency_key" in page.text
    assert "src=" not in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text


def test_an_address_that_is_taken_is_told(dsn):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = Server(SimpleNamespace(config=configured(dsn, web__port=port), version="0", roster=Roster()))  # type: ignore[arg-type]
        with pytest.raises(AddressUnavailable, match=f"127.0.0.1:{port}: Address already in use"):
            asyncio.run(server.start())
