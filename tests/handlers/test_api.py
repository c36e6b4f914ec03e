"""Handlers that ask other systems, against a real HTTP server."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import pickle
import re
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from tasker_host import (
    ApiClient,
    ApiHandler,
    ApiResponse,
    AsyncApiClient,
    Batchable,
    DecisionHandler,
    Failed,
    StepContext,
    Succeeded,
    api_handler,
    depends_on,
    inputs,
    step_handler,
)
from tasker_host.errors import HandlerError, PermanentError, RetryableError
from tasker_host.handlers.api_options import ApiOptions
from tasker_host.handlers.api_pool import ApiPool
from tasker_host.handlers.api_response import ApiConnectionError, ApiError, ApiTimeoutError, CircuitOpenError
from tasker_host.handlers.bound import BindError, BoundHandler, bind
from tasker_host.handlers.classify import failed
from tests.handlers.server import Answer, Server


@pytest.fixture
def server() -> Iterator[Server]:
    with Server().running() as running:
        yield running


@pytest.fixture
def pool(server) -> Iterator[ApiPool]:
    made = ApiPool(ApiOptions(base_url=server.url))
    yield made
    made.close()


class Settings(BaseModel):
    url: str


class Orders(ApiHandler):
    handler_name = "orders.fetch"

    def __init__(self, settings: Settings) -> None:
        self.base_url = settings.url

    def call(self, context):
        return self.api_result(self.get(f"/orders/{context.input['id']}"))

    async def later(self, context):
        response = await self.get(f"/orders/{context.input['id']}")
        return self.api_result(response)


CONTEXT = StepContext(
    UUID(int=1),
    UUID(int=2),
    UUID("0192f0c1-7e3b-7000-8000-00000000abcd"),
    "tests",
    "t",
    "1.0.0",
    "fetch",
    "orders.fetch",
    input={"id": 7},
)


def orders(server: Server) -> BoundHandler:
    [handler] = bind(Orders, plugin="p", settings=Settings(url=server.url))
    return handler


def bound(given: Any, settings: Any = None) -> BoundHandler:
    [handler] = bind(given, plugin="p", settings=settings)
    return handler


def problems(given: Any) -> list[str]:
    with pytest.raises(BindError) as caught:
        bind(given, plugin="p", settings=None)
    return list(caught.value.problems)


# Styles ---------------------------------------------------------------------------------------------------------------


def test_an_ordinary_method_has_the_answer_at_once(server):
    server.answers("/orders/7", Answer(body={"id": 7, "cents": 12345678901234567890}))
    handler = orders(server)
    result = handler.call(CONTEXT)
    assert result.value == {"id": 7, "cents": 12345678901234567890}
    assert result.metadata["status_code"] == 200
    handler.close()


async def test_an_async_method_awaits_it(server):
    server.answers("/orders/7", Answer(body={"id": 7}))
    handler = orders(server).for_method("later")
    assert (handler.is_async, handler.runs_in) == (True, "loop")
    assert (await handler.call(CONTEXT)).value == {"id": 7}
    await handler.close()


def test_a_function_is_given_a_client(server):
    server.answers("/orders/7", Answer(body=[1]))

    @api_handler("orders.fetch", base_url=server.url, default_headers={"Accept": "application/json"})
    def fetch(api, context):
        return api.api_success(api.get("/orders/7", params={"full": "yes"}))

    assert bound(fetch).call(CONTEXT).value == {"data": [1]}
    assert server.asked[0].path == "/orders/7?full=yes"
    assert server.headers("accept") == ["application/json"]


async def test_an_async_function_is_given_one_to_await(server):
    server.answers("/orders", Answer(201, {"id": 8}))

    @api_handler("orders.create", base_url=lambda settings: settings.url, default_headers=lambda s: {"X-From": s.url})
    async def create(api: AsyncApiClient) -> dict[str, Any]:
        return (await api.post("/orders", json={"sku": "a"})).raise_for_status().body

    handler = bound(create, Settings(url=server.url))
    assert [str(given) for given in handler.injected] == ["api ← api"]
    assert await handler.call(CONTEXT) == {"id": 8}
    assert (server.asked[0].method, server.asked[0].body) == ("POST", b'{"sku":"a"}')
    assert server.headers("x-from") == [server.url]
    await handler.close()


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_decorators_stand_in_any_order(server, order):
    server.answers("/7", Answer(body={"a": 1}))
    decorators = [api_handler("a", base_url=server.url), inputs("id"), depends_on(quote="price")]

    def fetch(api, id, quote):  # noqa: A002 - as the field is called
        return [api.get(f"/{id}").body, quote]

    for one in order:
        fetch = decorators[one](fetch)
    assert bound(fetch).call(replace(CONTEXT, dependencies={"price": 5})) == [{"a": 1}, 5]


def test_a_client_is_for_those_that_say_so():
    @step_handler("a")
    def by_name(api):
        return api

    @step_handler("a")
    def by_type(client: ApiClient):
        return client

    assert [problems(given)[0].partition("): ")[2] for given in (by_name, by_type)] == [
        "nothing to give to parameter 'api': only functions with @api_handler have a client",
        "nothing to give to parameter 'client': only functions with @api_handler have a client",
    ]


def test_capabilities_are_composed_freely():
    class Both(ApiHandler, Batchable):
        def call(self, context):
            return self.batch_analyzer_success(self.create_batch_outcome(3, 2))

    class Decides(ApiHandler, DecisionHandler):
        def call(self, context):
            return self.decision_success(["a"])

    assert len(bound(Both).call(CONTEXT).value.cursors) == 2
    assert bound(Decides).call(CONTEXT).value.step_names == ("a",)
    assert bound(Decides).kind == "decision"


def test_helpers_are_no_methods_for_templates():
    with pytest.raises(BindError, match=r"has no method 'delete'; it has call, later"):
        bound(Orders(Settings(url=""))).for_method("delete")


def test_wrong_declarations_are_told_when_the_plugin_registers():
    @api_handler("a", base_url="http://x")
    def sync(api: AsyncApiClient):
        return api

    @api_handler("a", base_url="http://x")
    async def later(api: ApiClient):
        return api

    @api_handler("a", base_url=7)  # type: ignore[arg-type]
    def number(api):
        return api

    @api_handler("a", base_url=lambda settings: settings.url)
    def no_settings(api):
        return api

    @api_handler("a", base_url="localhost:80")
    def no_scheme(api):
        return api

    class OnLoop(ApiHandler):
        runs_in = "loop"

        def call(self, context):
            return None

    assert [
        problems(given)[0].partition("): ")[2] for given in (sync, later, number, no_settings, no_scheme, OnLoop)
    ] == [
        "parameter 'api' must be of type ApiClient in this function",
        "parameter 'api' must be of type AsyncApiClient in this function",
        "base_url must be text (got 7)",
        "preparing it raised AttributeError: 'NoneType' object has no attribute 'url'",
        "base_url must begin with http:// or https:// (got 'localhost:80')",
        "runs_in is 'loop', but it waits for answers; write async def, or leave runs_in out",
    ]
    with pytest.raises(TypeError, match="@api_handler needs a name"):
        api_handler(lambda: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
async def test_every_method_is_there_in_both_styles(pool, server, method):
    server.answers("/x", Answer(body={"ok": True}))
    assert getattr(ApiClient(pool), method)("/x").body == {"ok": True}
    assert (await getattr(AsyncApiClient(pool), method)("/x")).body == {"ok": True}
    assert [asked.method for asked in server.asked] == [method.upper()] * 2
    await pool.aclose()


# What an answer means -------------------------------------------------------------------------------------------------

STATUSES = {
    400: ("bad_request", False),
    401: ("unauthorized", False),
    403: ("forbidden", False),
    404: ("not_found", False),
    405: ("method_not_allowed", False),
    408: ("request_timeout", True),
    409: ("conflict", False),
    410: ("gone", False),
    418: ("client_error", False),
    422: ("unprocessable_entity", False),
    429: ("rate_limited", True),
    500: ("internal_server_error", True),
    501: ("server_error", False),
    502: ("bad_gateway", True),
    503: ("service_unavailable", True),
    504: ("gateway_timeout", True),
    507: ("server_error", True),
    304: ("http_error", False),
}


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_says_whether_to_try_again(pool, server, status):
    server.answers("/x", Answer(status, b"" if status == 304 else {"message": "sorry"}))
    failure = pool_failure(pool)
    assert (failure.error_type, failure.retryable) == STATUSES[status]
    assert failure.error_code == f"HTTP_{status}"
    assert failure.retry_after_seconds is None


def pool_failure(pool: ApiPool) -> Failed:
    client = ApiClient(pool)
    return client.api_failure(client.get("/x"))


def test_a_failure_says_what_the_other_system_said(pool, server):
    server.answers("/x", Answer(422, {"error": {"message": "no such sku"}}, {"Set-Cookie": "secret", "X-Id": "9"}))
    failure = pool_failure(pool)
    assert failure.message == "HTTP 422: no such sku"
    assert failure.metadata["response_body"] == {"error": {"message": "no such sku"}}
    assert failure.metadata["headers"]["x-id"] == "9"
    assert "set-cookie" not in failure.metadata["headers"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"detail": "a"}, "HTTP 400: a"),
        ({"error_message": "b"}, "HTTP 400: b"),
        ({"msg": "c"}, "HTTP 400: c"),
        ({"error": 5}, "HTTP 400: Bad Request"),
        (b"<html>", "HTTP 400: Bad Request"),
    ],
)
def test_where_the_reason_is_looked_for(pool, server, body, message):
    server.answers("/x", Answer(400, body))
    assert pool_failure(pool).message == message


def test_a_long_body_is_kept_in_part(pool, server):
    server.answers("/x", Answer(400, {"rows": ["x" * 100] * 100}))
    assert len(pool_failure(pool).metadata["response_body"]) == 4097


@pytest.mark.parametrize("status", [429, 503])
def test_the_other_system_says_how_long_to_wait(pool, server, status):
    server.answers("/x", Answer(status, {}, {"Retry-After": "120"}))
    failure = pool_failure(pool)
    assert (failure.retry_after_seconds, failure.metadata["retry_after_seconds"]) == (120, 120)


def answered(said: str, received: datetime) -> int | None:
    import httpx

    return ApiResponse(httpx.Response(429, headers={"Retry-After": said}), received.timestamp()).retry_after


def test_how_long_may_be_a_date():
    now = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
    assert answered(format_datetime(now + timedelta(seconds=90), usegmt=True), now) == 90
    assert answered("Sat, 21 Nov 2026 07:59:00 GMT", now) == 0
    assert answered("Sat, 21 Nov 2026 08:00:30 -0000", now) == 30
    assert answered("Mon, 21 Nov 2050 07:59:00 GMT", now) == 86_400


@pytest.mark.parametrize(
    ("said", "seconds"), [("0", 0), ("soon", 60), ("-5", 60), ("9" * 50, 86_400), ("", 60), ("1.5", 60)]
)
def test_how_long_is_never_nonsense(said, seconds):
    assert answered(said, datetime.now(UTC)) == seconds


def test_a_permanent_failure_does_not_wait(pool, server):
    server.answers("/x", Answer(404, {}, {"Retry-After": "120"}))
    assert pool_failure(pool).retry_after_seconds is None


def test_an_error_is_the_same_as_the_failure(pool, server):
    server.answers("/x", Answer(429, {"error": "slow down"}, {"Retry-After": "5"}))
    client = ApiClient(pool)
    response = client.get("/x")
    with pytest.raises(ApiError, match="HTTP 429: slow down") as caught:
        response.raise_for_status()
    told = failed(caught.value, bound(Orders(Settings(url=""))), ())
    expected = client.api_failure(response)
    assert replace(told, metadata=dict(expected.metadata)) == expected
    assert told.metadata == {**expected.metadata, "exception_type": "ApiError"}


def test_a_success_has_the_body_or_what_is_said(pool, server):
    server.answers("/x", Answer(200, b"plain"))
    client = ApiClient(pool)
    response = client.get("/x")
    assert client.api_success(response).value == {"data": "plain"}
    assert client.api_success(response, {"a": 1}, include_response=False) == Succeeded({"a": 1}, {})
    assert (response.ok, response.to_dict()["status_code"], response.content) == (True, 200, b"plain")


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        (b"", "application/json", None),
        (b"{", "application/json", "{"),
        (b'{"a":1}', "application/problem+json", {"a": 1}),
    ],
)
def test_a_body_is_read_as_what_it_is(pool, server, body, kind, expected):
    server.answers("/x", Answer(200, body, {"Content-Type": kind}))
    assert ApiClient(pool).get("/x").body == expected


def test_no_answer_as_a_result():
    client = ApiClient(ApiPool(ApiOptions()))
    assert client.connection_error(OSError("refused"), "charging") == Failed(
        "Connection error while charging: refused", "connection_error", metadata={"exception_type": "OSError"}
    )
    assert client.timeout_error(TimeoutError()) == Failed(
        "Request timeout: TimeoutError", "timeout", metadata={"exception_type": "TimeoutError"}
    )


# No answer ------------------------------------------------------------------------------------------------------------


def error_of(pool: ApiPool, path: str = "/x", **options: Any) -> HandlerError:
    with pytest.raises(HandlerError) as caught:
        ApiClient(pool).get(path, **options)
    return caught.value


async def aerror_of(pool: ApiPool, path: str = "/x", **options: Any) -> HandlerError:
    with pytest.raises(HandlerError) as caught:
        await AsyncApiClient(pool).get(path, **options)
    await pool.aclose()
    return caught.value


async def test_a_host_that_refuses_is_tried_again():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        pool = ApiPool(ApiOptions(base_url=url))
        for error in (error_of(pool), await aerror_of(pool)):
            assert isinstance(error, ApiConnectionError)
            assert isinstance(error, RetryableError)
            assert str(error).startswith(f"GET {url}/x: ")
            assert (error.error_type, error.error_code) == ("connection_error", "API_CONNECTION")


async def test_a_host_that_breaks_the_connection_is_tried_again(pool, server):
    server.answers("/x", Answer(breaks=True))
    assert isinstance(error_of(pool), ApiConnectionError)
    assert isinstance(await aerror_of(pool), ApiConnectionError)


async def test_a_host_that_stalls_is_not_waited_for(server):
    server.answers("/x", Answer(stalls=True))
    pool = ApiPool(ApiOptions(base_url=server.url, timeout_seconds=0.1))
    for error in (error_of(pool), await aerror_of(pool)):
        assert isinstance(error, ApiTimeoutError)
        assert (error.error_type, error.error_code) == ("timeout", "API_TIMEOUT")
        assert str(error) == f"GET {server.url}/x: no answer in time (ReadTimeout)"


async def test_the_whole_answer_must_be_there_in_time(server):
    server.answers("/x", Answer(drips=True))
    pool = ApiPool(ApiOptions(base_url=server.url, timeout_seconds=0.2))
    assert isinstance(error_of(pool), ApiTimeoutError)
    assert isinstance(await aerror_of(pool), ApiTimeoutError)


def test_one_request_may_have_less_time(pool, server):
    server.answers("/x", Answer(stalls=True))
    assert isinstance(error_of(pool, timeout=0.05), ApiTimeoutError)


async def test_an_answer_without_end_is_not_read(server):
    server.answers("/x", Answer(body=b"x" * 100_000))
    pool = ApiPool(ApiOptions(base_url=server.url, response_max_bytes=50_000))
    for error in (error_of(pool), await aerror_of(pool)):
        assert isinstance(error, PermanentError)
        assert error.error_code == "API_RESPONSE_TOO_LARGE"
        assert str(error) == f"GET {server.url}/x answers more than 50000 bytes (response_max_bytes)"


async def test_what_is_small_only_while_it_is_packed_is_not_read_either(server):
    packed = gzip.compress(bytes(10_000_000))
    server.answers("/x", Answer(body=packed, headers={"Content-Encoding": "gzip"}))
    pool = ApiPool(ApiOptions(base_url=server.url, response_max_bytes=1_000_000))
    assert len(packed) < 20_000
    for error in (error_of(pool), await aerror_of(pool)):
        assert error.error_code == "API_RESPONSE_TOO_LARGE"


async def test_a_packed_answer_is_unpacked(pool, server):
    server.answers("/x", Answer(body=gzip.compress(b"plain"), headers={"Content-Encoding": "gzip", "X-Id": "9"}))
    for response in (ApiClient(pool).get("/x"), await AsyncApiClient(pool).get("/x")):
        assert (response.body, response.headers["x-id"], response.status_code) == ("plain", "9", 200)
        assert response.raw_response.elapsed.total_seconds() > 0
        assert str(response.raw_response.url) == f"{server.url}/x"
    await pool.aclose()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/x", "'/x' is no address: give the handler a base_url, or write https://…"),
        ("ftp://example.org/x", "GET 'ftp://example.org/x' cannot be sent: Request URL has an unsupported protocol"),
        ("http://x:port", "GET 'http://x:port' cannot be sent: Invalid port: 'port'"),
    ],
)
def test_what_cannot_be_sent_is_not_tried_again(path, message):
    error = error_of(ApiPool(ApiOptions()), path)
    assert isinstance(error, PermanentError)
    assert error.error_code == "API_REQUEST"
    assert str(error).startswith(message)


def test_secrets_of_an_address_are_not_told():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        error = error_of(ApiPool(ApiOptions()), f"http://me:hunter2@127.0.0.1:{port}/x?token=hunter3")
    assert str(error).startswith(f"GET http://127.0.0.1:{port}/x: ")


# Headers of the step --------------------------------------------------------------------------------------------------


class Pays(ApiHandler):
    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    def call(self, context):
        for amount in context.input["amounts"]:
            self.post("/pay", json={"amount": amount})
        self.post("/book")

    async def later(self, context):
        for _ in context.input["amounts"]:
            await self.post("/pay")


def keys(server: Server, context: StepContext) -> list[str | None]:
    """Of the requests of one attempt."""
    server.asked.clear()
    bound(Pays(server.url)).call(context)
    return server.headers("idempotency-key")


def test_every_attempt_of_a_step_has_the_same_keys(server):
    context = replace(CONTEXT, input={"amounts": [1, 2]})
    first = keys(server, context)
    assert len(set(first)) == 3, "each request of an attempt has its own"
    assert all(UUID(key) for key in first if key)
    assert keys(server, replace(context, attempt=2)) == first
    assert keys(server, replace(context, step_uuid=UUID(int=3))) != first


def test_after_a_checkpoint_the_requests_are_others(server):
    context = replace(CONTEXT, input={"amounts": [1]})
    first = keys(server, context)
    second = keys(server, replace(context, checkpoint={"cursor": 1}))
    assert not set(first) & set(second)
    assert keys(server, replace(context, checkpoint={"cursor": 1}, attempt=2)) == second


async def test_both_styles_have_the_same_keys(server):
    context = replace(CONTEXT, input={"amounts": [1]})
    first = keys(server, context)[0]
    server.asked.clear()
    handler = bound(Pays(server.url)).for_method("later")
    await handler.call(context)
    assert server.headers("idempotency-key") == [first]
    await handler.close()


async def test_steps_that_run_at_the_same_time_keep_their_keys_apart(server):
    handler = bound(Pays(server.url)).for_method("later")
    contexts = [replace(CONTEXT, step_uuid=UUID(int=n), input={"amounts": [1, 2]}) for n in range(1, 6)]
    await asyncio.gather(*(handler.call(context) for context in contexts))
    assert len(set(server.headers("idempotency-key"))) == 10
    await handler.close()


def test_a_request_that_is_repeated_in_an_attempt_keeps_its_key(server):
    @api_handler("a", base_url=server.url, breaker_failures=0)
    def pay(api):
        for amount in (1, 1, 2, 1):
            api.post("/pay", json={"amount": amount})

    server.answers("/pay", Answer(503), Answer(201), Answer(429), Answer(201))
    bound(pay).call(CONTEXT)
    first, again, other, second = server.headers("idempotency-key")
    assert first == again
    assert len({first, other, second}) == 3
    server.asked.clear()
    server.answers("/pay", Answer(201))
    bound(pay).call(CONTEXT)
    assert server.headers("idempotency-key")[:2] == [first, other], "the second request of an attempt that goes well"


def test_a_key_of_your_own_is_kept(server, pool):
    @api_handler("a", base_url=server.url)
    def pay(api):
        api.post("/pay", headers={"idempotency-key": "mine"})

    bound(pay).call(CONTEXT)
    assert server.headers("idempotency-key") == ["mine"]


def test_a_request_is_part_of_the_trace_of_its_task(server):
    keys(server, replace(CONTEXT, input={"amounts": [1]}))
    assert set(server.headers("x-correlation-id")) == {"0192f0c1-7e3b-7000-8000-00000000abcd"}
    traces = server.headers("traceparent")
    for trace in traces:
        assert re.fullmatch(r"00-0192f0c17e3b7000800000000000abcd-[0-9a-f]{16}-01", trace or "")
    assert len(set(traces)) == 2


def test_outside_a_step_there_is_no_key(server):
    server.answers("/orders/7", Answer(body={}))
    Orders(Settings(url=server.url)).get("/orders/7")
    assert server.headers("idempotency-key") == [None]


# Connections ----------------------------------------------------------------------------------------------------------


def test_connections_are_opened_late_kept_and_closed(server):
    server.answers("/orders/7", Answer(body={}))
    handler = orders(server)
    assert server.connections == 0
    handler.call(CONTEXT)
    handler.call(CONTEXT)
    assert server.connections == 1
    handler.close()
    handler.call(CONTEXT)
    assert server.connections == 2


async def test_connections_of_the_event_loop_are_kept_and_closed(server):
    server.answers("/orders/7", Answer(body={}))
    handler = orders(server).for_method("later")
    await handler.call(CONTEXT)
    await handler.call(CONTEXT)
    assert server.connections == 1
    await handler.close()
    await handler.call(CONTEXT)
    assert server.connections == 2
    await handler.close()


def test_every_event_loop_has_its_own(server):
    server.answers("/x", Answer(body={}))
    pool = ApiPool(ApiOptions(base_url=server.url))

    async def once():
        await AsyncApiClient(pool).get("/x")
        await pool.aclose()

    asyncio.run(once())
    asyncio.run(once())
    assert len(server.asked) == 2


def test_a_handler_goes_to_another_process_without_its_connections(server):
    server.answers("/orders/7", Answer(body={"id": 7}))
    handler = Orders(Settings(url=server.url))
    handler.get("/orders/7")
    copy = pickle.loads(pickle.dumps(handler))
    assert copy.get("/orders/7").body == {"id": 7}


async def test_the_cookies_of_one_step_are_not_those_of_the_next(pool, server):
    server.answers("/x", Answer(200, {}, {"Set-Cookie": "session=one; Path=/"}))
    for _ in range(2):
        ApiClient(pool).get("/x")
        await AsyncApiClient(pool).get("/x")
    ApiClient(pool).get("/x", cookies={"mine": "yes"})
    assert server.headers("cookie") == [None, None, None, None, "mine=yes"]
    await pool.aclose()


# The breaker ----------------------------------------------------------------------------------------------------------


class Clock:
    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guarded(server, clock) -> ApiPool:
    options = ApiOptions(base_url=server.url, breaker_failures=2, breaker_open_seconds=30)
    return ApiPool(options, monotonic=clock)


def test_a_host_that_fails_again_and_again_is_left_alone(guarded, server, clock):
    server.answers("/x", Answer(500), Answer(503), Answer(200, {}))
    client = ApiClient(guarded)
    assert [client.get("/x").status_code for _ in range(2)] == [500, 503]
    error = error_of(guarded)
    assert isinstance(error, CircuitOpenError)
    assert isinstance(error, RetryableError)
    assert str(error) == f"{server.url} failed 2 times in a row; nothing is sent there for 30 seconds"
    assert (error.retry_after, error.error_code) == (30.0, "API_CIRCUIT_OPEN")
    assert len(server.asked) == 2
    clock.seconds += 30
    assert client.get("/x").ok
    assert client.get("/x").ok


def test_what_the_caller_did_wrong_is_not_held_against_the_host(guarded, server):
    server.answers("/x", Answer(500), Answer(404), Answer(429), Answer(501), Answer(500), Answer(200, {}))
    client = ApiClient(guarded)
    assert [client.get("/x").status_code for _ in range(6)] == [500, 404, 429, 501, 500, 200]


async def test_another_host_is_asked_all_the_same(guarded, server):
    server.answers("/x", Answer(500))
    client = AsyncApiClient(guarded)
    for _ in range(2):
        await client.get("/x")
    with pytest.raises(CircuitOpenError):
        await client.get("/x")
    with Server().running() as other:
        assert (await client.get(f"{other.url}/x")).status_code == 404
    await guarded.aclose()


async def test_a_try_that_is_cancelled_does_not_keep_the_others_out(guarded, server, clock):
    server.answers("/x", Answer(500), Answer(500), Answer(stalls=True), Answer(200, {}))
    client = AsyncApiClient(guarded)
    for _ in range(2):
        await client.get("/x")
    clock.seconds += 30
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await client.get("/x")
    clock.seconds += 30
    assert (await client.get("/x")).ok
    await guarded.aclose()


def test_without_a_breaker_it_is_always_tried(server):
    server.answers("/x", Answer(500))
    pool = ApiPool(ApiOptions(base_url=server.url, breaker_failures=0))
    assert {ApiClient(pool).get("/x").status_code for _ in range(9)} == {500}
    pool.close()
