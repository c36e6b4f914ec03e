"""Identity and the limits of requests, over HTTP on a host that serves."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from uuid import UUID

import httpx
import pytest

from tasker_host import step_handler
from tasker_host.server import Server
from tests.support import chain, ended, plugin, running_host

JSON = {"content-type": "application/json"}


@step_handler("work")
async def work() -> None:
    return None


def template(name: str, **more: str) -> str:
    return "\n".join([chain(name, "work"), *(f"{key}: {value}" for key, value in more.items())])


TEMPLATES = [
    template("strict"),
    template("caller", identity_strategy="caller_provided"),
    template("unique", identity_strategy="always_unique"),
    template("running", unique_for="running"),
    template("window", unique_for="3600"),
]


@pytest.fixture
async def host(dsn):
    async with running_host(dsn, plugin([work], TEMPLATES)) as host:
        yield host


@pytest.fixture
async def api(host):
    server = Server(host)
    async with httpx.AsyncClient(base_url=await server.start(), timeout=60) as api:
        yield api
    await server.stop()


async def post(api, name, context=None, **more):
    return await api.post("/v1/tasks", json={"namespace": "tests", "name": name, "context": context or {}, **more})


@pytest.mark.parametrize(
    ("name", "key"), [("strict", None), ("strict", "k"), ("caller", "k"), ("unique", "k"), ("running", None)]
)
async def test_of_fifty_at_once_one_is_created_and_forty_nine_are_told(api, name, key):
    more = {"idempotency_key": key, "start_at": "2100-01-01T00:00:00Z"}
    answers = await asyncio.gather(*(post(api, name, {"n": 1}, **more) for _ in range(50)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 49}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"TASK_EXISTS"}
    assert (await api.get("/v1/tasks")).json()["pagination"]["total_count"] == 1


async def test_of_fifty_on_two_hosts_one_is_created(api, host, dsn):
    async with running_host(dsn, plugin([work], TEMPLATES), worker=False) as other:
        server = Server(other)
        async with httpx.AsyncClient(base_url=await server.start(), timeout=60) as there:
            answers = await asyncio.gather(*(post(one, "strict", {"n": 1}) for _ in range(25) for one in (api, there)))
        await server.stop()
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 49}


async def test_a_conflict_says_what_to_do_and_not_whose_the_identity_is(api):
    created = (await post(api, "strict", {"n": 1})).json()
    refused = await post(api, "strict", {"n": 1})
    assert refused.json()["detail"] == (
        "a task of tests/strict 1.0.0 with this identity already exists: change the context, give an idempotency_key,"
        " or set identity_strategy: always_unique in the template"
    )
    assert created["task_uuid"] not in refused.text


async def test_a_conflict_of_keys_is_not_answered_with_the_context(api):
    await post(api, "strict", {"n": 1}, idempotency_key="k")
    refused = await post(api, "strict", {"n": 2}, idempotency_key="k")
    assert refused.json()["detail"] == (
        "a task of tests/strict 1.0.0 with this identity already exists: give another idempotency_key"
    )


@pytest.mark.parametrize(("name", "what"), [("running", "is over"), ("window", "is 3600 seconds old")])
async def test_a_conflict_says_that_it_passes(api, name, what):
    for _ in range(2):
        refused = await post(api, name, {"n": 1}, idempotency_key="k", start_at="2100-01-01T00:00:00Z")
    assert refused.json()["detail"].endswith(f": wait until that task {what}, or give another idempotency_key")


async def test_a_key_that_is_demanded_is_asked_for(api):
    answer = await post(api, "caller", {"n": 1})
    assert (answer.status_code, [problem["where"] for problem in answer.json()["problems"]]) == (
        400,
        ["idempotency_key"],
    )


async def test_where_every_task_is_unique_the_same_one_is_created_again(api):
    assert [(await post(api, "unique", {"n": 1})).status_code for _ in range(2)] == [201, 201]


@pytest.mark.parametrize("name", ["strict", "caller", "unique"])
async def test_a_key_counts_instead_of_the_context(api, name):
    asked = [({"n": 1}, "a"), ({"n": 2}, "a"), ({"n": 1}, "b")]
    assert [(await post(api, name, context, idempotency_key=key)).status_code for context, key in asked] == [
        201,
        409,
        201,
    ]


async def test_what_ran_may_run_again_where_it_must_only_run_once_at_a_time(api, host):
    first = await post(api, "running", {"n": 1})
    await ended(host, UUID(first.json()["task_uuid"]))
    again = await post(api, "running", {"n": 1}, start_at="2100-01-01T00:00:00Z")
    third = await post(api, "running", {"n": 1})
    assert [again.status_code, third.status_code] == [201, 409]


async def test_within_a_window_what_ended_is_not_run_again(api, host):
    first = await post(api, "window", {"n": 1})
    await ended(host, UUID(first.json()["task_uuid"]))
    assert (await post(api, "window", {"n": 1})).status_code == 409
    await host.database.fetch("update tasker.tasks set created_at = created_at - interval '3600 seconds'")
    assert (await post(api, "window", {"n": 1})).status_code == 201


WRITTEN = (
    '{"onclick":1.0,"online":1,"on_hand":[1.50,1e3],"script":"<script>javascript:x</script>","eval":null,"function":{},'
    '"z":63340286662973277706162286946811886609896461828096,"a":-0.0,"é":"\\u0000\\u2028"}'
)


async def test_a_context_is_kept_with_all_keys_their_order_and_every_digit(api):
    text = f'{{"namespace":"tests","name":"strict","context":{WRITTEN}}}'
    created = await api.post("/v1/tasks", content=text, headers=JSON)
    assert created.status_code == 201
    shown = (await api.get(created.headers["location"])).text
    pairs = json.loads(shown, object_pairs_hook=lambda pairs: pairs, parse_int=str, parse_float=str)
    context = next(value for key, value in pairs if key == "context")
    assert context == [
        ("onclick", "1.0"),
        ("online", "1"),
        ("on_hand", ["1.5", "1000.0"]),
        ("script", "<script>javascript:x</script>"),
        ("eval", None),
        ("function", []),
        ("z", "63340286662973277706162286946811886609896461828096"),
        ("a", "-0.0"),
        ("é", "\0\u2028"),
    ]
    assert (await api.post("/v1/tasks", content=text, headers=JSON)).status_code == 409
    other = text.replace('"online":1,', '"online":1.0,')
    assert (await api.post("/v1/tasks", content=other, headers=JSON)).status_code == 201


DEEP = "[" * 300 + "]" * 300


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ('"name": ""', ["name"]),
        (f'"name": "{"n" * 256}"', ["name"]),
        ('"name": "a\\u0000"', ["name"]),
        (f'"namespace": "{"n" * 256}"', ["namespace"]),
        (f'"version": "{"1" * 51}"', ["version"]),
        ('"context": [1]', ["context"]),
        ('"context": null', ["context"]),
        ('"context": {"a": {"b": ' + "[" * 63 + "]" * 63 + "}}", ["context.a.b" + "[0]" * 62]),
        (f'"context": {{"a": "{"x" * 1_048_576}"}}', ["context"]),
        ('"context": {"a": [1e400]}', ["context.a[0]"]),
        ('"context": {"a": "\\ud800"}', None),
        (f'"context": {{"a": {DEEP}}}', None),
        ('"context": {"a": ' + "9" * 4301 + "}", None),
        (f'"initiator": "{"x" * 256}"', ["initiator"]),
        (f'"source_system": "{"x" * 256}"', ["source_system"]),
        (f'"reason": "{"x" * 501}"', ["reason"]),
        ('"reason": ""', ["reason"]),
        (f'"tags": ["a", "{"x" * 129}", ""]', ["tags[1]", "tags[2]"]),
        (f'"tags": {json.dumps(["a"] * 101)}', ["tags"]),
        ('"tags": {"a": 1}', ["tags"]),
        ('"priority": 101', ["priority"]),
        ('"priority": true', ["priority"]),
        ('"priority": 1.5', ["priority"]),
        ('"correlation_id": "x"', ["correlation_id"]),
        ('"parent_correlation_id": 7', ["parent_correlation_id"]),
        ('"idempotency_key": ""', ["idempotency_key"]),
        (f'"idempotency_key": "{"k" * 256}"', ["idempotency_key"]),
        ('"idempotency_key": "\\u0000"', ["idempotency_key"]),
        ('"start_at": "2026-01-01T00:00:00"', ["start_at"]),
        ('"start_at": "infinity"', ["start_at"]),
        ('"start_at": 1e300', ["start_at"]),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
async def test_every_limit_is_a_400_that_says_where(api, host, fields, where):
    named = "" if fields.startswith('"name"') else '"name": "strict", '
    space = "" if fields.startswith('"namespace"') else '"namespace": "tests", '
    answer = await api.post("/v1/tasks", content=f"{{{named}{space}{fields}}}".encode(), headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, "REQUEST_INVALID")
    if where is not None:
        assert [problem["where"] for problem in answer.json()["problems"]] == where
    assert (await api.get("/v1/tasks")).json()["pagination"]["total_count"] == 0
