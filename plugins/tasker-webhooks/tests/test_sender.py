"""One request, on a real server that answers in every way."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from tasker_host import DomainEvent, PermanentError, RetryableError, TargetGone

from tasker_webhooks.sender import Clients, Sender, asked_wait
from tasker_webhooks.signature import key, verify

NEW = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
NOW = 1_790_000_000.0
EVENT = DomainEvent(
    UUID("019aa2c5-8980-7000-8000-0000000000aa"),
    "payment.processed",
    {"cents": 1250, "name": "Zoë"},
    {"fired_at": "2026-11-21T08:00:00Z", "task_uuid": "t"},
)


@pytest.fixture
async def sender_for(server):
    clients = Clients()

    def sender(url: str | None = None, **options: Any) -> Sender:
        more = {"timeout_seconds": 5, "clock": lambda: NOW, **options}
        return Sender("erp", url or server.url, [key(NEW), key(OLD)], clients, **more)

    yield sender
    await clients.close()


async def test_a_request_is_as_the_specification_says(server, sender_for):
    await sender_for(headers={"X-Tenant": "acme"}).deliver(EVENT)
    (got,) = server.got
    assert (got.method, got.path) == ("POST", "/hooks?token=in-the-url")
    assert got.headers["content-type"] == "application/json"
    assert got.headers["webhook-id"] == str(EVENT.event_id)
    assert got.headers["webhook-timestamp"] == "1790000000"
    assert got.headers["x-tenant"] == "acme"
    for secret in (NEW, OLD):
        assert verify(secret, got.headers, got.body, now=NOW) == str(EVENT.event_id)
    assert json.loads(got.body) == {
        "type": "payment.processed",
        "timestamp": "2026-11-21T08:00:00Z",
        "data": {"cents": 1250, "name": "Zoë"},
        "id": str(EVENT.event_id),
        "version": "1.0",
        "metadata": {"fired_at": "2026-11-21T08:00:00Z", "task_uuid": "t"},
    }


@pytest.mark.parametrize(
    ("text", "connections"), [(b"", 1), (b'{"ok": true}', 1), (b"x" * 100_000, 3)], ids=["empty", "short", "long"]
)
async def test_the_connection_of_a_good_answer_is_kept_unless_that_is_long(server, sender_for, text, connections):
    server.answers = [(200, {}, text)]
    for _ in range(3):
        await sender_for().deliver(EVENT)
    assert (len(server.got), server.connections) == (3, connections)


async def test_a_good_answer_that_does_not_end_is_one(server, sender_for, monkeypatch):
    monkeypatch.setattr("tasker_webhooks.sender.READ_OUT_SECONDS", 0.01)
    server.answers = [(200, {"transfer-encoding": "chunked"}, b"")]  # the chunk that ends it never comes
    await sender_for().deliver(EVENT)
    assert len(server.got) == 1


async def test_the_whole_event_is_sent_if_asked(server, sender_for):
    await sender_for(whole_event=True).deliver(EVENT)
    assert json.loads(server.got[0].body) == EVENT.as_message()


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_every_2xx_is_delivered(server, sender_for, status):
    server.answers = [(status, {}, b"")]
    await sender_for().deliver(EVENT)


@pytest.mark.parametrize(
    ("answer", "error", "wait"),
    [
        ((500, {}, b""), "500 Internal Server Error", None),
        ((503, {"Retry-After": "120"}, b"busy"), "503 Service Unavailable: busy", 120),
        ((429, {"Retry-After": "7"}, b""), "429 Too Many Requests", 7),
        ((429, {"Retry-After": "0"}, b""), "429 Too Many Requests", None),
        ((429, {}, b""), "429 Too Many Requests", None),
        ((404, {}, b""), "404 Not Found", None),
        ((302, {"Location": "http://127.0.0.1:1/"}, b""), "302 Found", None),
        ((799, {}, b""), "799", None),
        ((500, {}, b"line one\r\n\x00line two" + b"!" * 90_000), "500 Internal Server Error: line one line two!", None),
    ],
)
async def test_what_is_tried_again(server, sender_for, answer, error, wait):
    server.answers = [answer]
    with pytest.raises(RetryableError) as raised:
        await sender_for().deliver(EVENT)
    assert str(raised.value).startswith(error)
    assert len(str(raised.value)) < 300
    assert raised.value.retry_after == wait


async def test_an_endpoint_that_is_gone_says_so(server, sender_for):
    server.answers = [(410, {}, b"moved away")]
    with pytest.raises(TargetGone, match="410 Gone: moved away"):
        await sender_for(give_up_on=[410]).deliver(EVENT)


@pytest.mark.parametrize(
    ("said", "text"),
    [({"transfer-encoding": "chunked"}, b""), ({"content-encoding": "gzip"}, b"this is no gzip")],
    ids=["does not end", "cannot be read"],
)
async def test_the_status_is_the_answer_whatever_becomes_of_the_rest(server, sender_for, monkeypatch, said, text):
    monkeypatch.setattr("tasker_webhooks.sender.READ_OUT_SECONDS", 0.05)
    server.answers = [(410, said, text)]
    with pytest.raises(TargetGone, match=r"^410 Gone$"):
        await sender_for(timeout_seconds=0.5).deliver(EVENT)


async def test_an_answer_that_repeats_the_address_and_the_headers_is_told_without_them(server, sender_for):
    server.answers = [(404, {}, b"Cannot POST /hooks?token=in-the-url as Bearer s3cret-key; see http://help.example/")]
    with pytest.raises(RetryableError) as raised:
        await sender_for(headers={"Authorization": "Bearer s3cret-key"}).deliver(EVENT)
    assert str(raised.value) == "404 Not Found: Cannot POST … as …; see http://help.example/"


async def test_answers_after_which_an_event_is_given_up(server, sender_for):
    server.answers = [(422, {}, b"")]
    with pytest.raises(PermanentError, match="422"):
        await sender_for(give_up_on=[400, 422]).deliver(EVENT)


async def test_a_server_that_stalls_is_not_waited_for(server, sender_for):
    server.answers = [(0, {}, b"")]
    with pytest.raises(RetryableError, match=r"no answer within 0\.05 s"):
        await sender_for(timeout_seconds=0.05).deliver(EVENT)


async def test_a_server_that_hangs_up_is_told_without_the_url(server, sender_for):
    server.answers = [(-1, {}, b"")]
    with pytest.raises(RetryableError, match="no answer: ") as raised:
        await sender_for().deliver(EVENT)
    assert "in-the-url" not in str(raised.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/?token=s3cret", "http://nowhere.invalid/s3cret"])
async def test_a_server_that_is_not_there_is_told_without_the_url(sender_for, url):
    with pytest.raises(RetryableError, match="no answer") as raised:
        await sender_for(url).deliver(EVENT)
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30),
        (" 5 ", 5),
        ("0", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("99999999999999999999", 86_400),
        ("Sat, 21 Nov 2026 08:01:00 GMT", 60),
        ("Sat, 21 Nov 2026 07:59:00 GMT", None),
        ("Sat, 21 Nov 2099 08:00:00 GMT", 86_400),
    ],
)
def test_how_long_a_server_asks_to_wait(header, seconds):
    assert asked_wait(header, datetime(2026, 11, 21, 8, tzinfo=UTC).timestamp()) == seconds


def test_neither_url_nor_secrets_are_shown():
    shown = repr(Sender("erp", "http://x/?token=s3cret", [key(NEW)], Clients()))
    assert shown == "Sender('erp')"
