"""From a step's event to a web hook, in whole hosts, on a real database and a real server."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

import pytest
from tasker_host import Host, StepContext, hookimpl, step_handler
from tasker_host.config import Config, load
from tasker_host.db.relays import relay_resume, relays_stats
from tasker_host.domain.request import request_from_data
from tasker_host.domain.source import parse_template
from tasker_host.handlers.bound import bind
from tasker_host.plugins import load_plugins

from tasker_webhooks import plugin as webhooks
from tasker_webhooks.signature import verify

NEW = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

TELLING = """
name: telling
namespace_name: shop
version: 1.0.0
identity_strategy: always_unique
steps:
  - name: work
    handler: {callable: work}
    publishes_events: [{name: payment.processed, schema: {}}]
"""


@step_handler("work")
async def work(context: StepContext) -> Any:
    return context.input["order"]


def shop() -> ModuleType:
    module = ModuleType("shop")
    module.tasker_handlers = hookimpl(lambda: [work])  # type: ignore[attr-defined]
    module.tasker_templates = hookimpl(lambda: [parse_template(TELLING, source="t")[0]])  # type: ignore[attr-defined]
    return module


def configured(dsn: str, url: str, /, **endpoint: Any) -> Config:
    settings = {"url": url, "secrets": [NEW], "retry_base_seconds": 0.01, **endpoint}
    return load(
        env="test",
        environ={},
        overrides={
            "database.url": dsn,
            "web.port": 0,
            "events.relays.poll_interval_seconds": 0.1,
            "plugins.webhooks.settings.endpoints.erp": settings,
        },
    )


@asynccontextmanager
async def running(dsn: str, url: str, /, **endpoint: Any) -> AsyncIterator[Host]:
    plugins = {"shop": shop(), "webhooks": webhooks}
    async with Host(configured(dsn, url, **endpoint), plugins=plugins, entry_points=False) as host:
        yield host


async def submit(host: Host, **order: Any) -> None:
    await host.submissions.submit(
        request_from_data({"namespace": "shop", "name": "telling", "context": {"order": order}})
    )


async def until(host: Host, **expected: Any) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            (stats,) = await relays_stats(host.database)
            if {key: stats[key] for key in expected} == expected:
                return stats
            await asyncio.sleep(0.02)


async def written(host: Host, count: int) -> None:
    async with asyncio.timeout(10):
        while await host.database.fetchval("select count(*) from pgmq.q_shop_domain_events") < count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_the_event_of_a_step_arrives_signed(server, dsn):
    async with running(dsn, server.url, events=["payment.*"]) as host:
        await submit(host, id=7)
        (got,) = await server.heard(1)
        await until(host, delivered=1, waiting=0)
    assert verify(NEW, got.headers, got.body) == json.loads(got.body)["id"]
    assert json.loads(got.body)["data"] == {"id": 7}


async def test_a_server_that_fails_stalls_and_hangs_up_gets_each_event_in_the_end(server, dsn):
    server.answers = [(500, {}, b""), (0, {}, b""), (-1, {}, b""), (429, {"Retry-After": "1"}, b""), (204, {}, b"")]
    async with running(dsn, server.url, timeout_seconds=0.2) as host:
        await submit(host, id=7)
        await until(host, delivered=1, retried=4, dead=0, waiting=0)
    assert len({got.headers["webhook-id"] for got in server.got}) == 1, "receivers know that it is the same event"
    times = [int(got.headers["webhook-timestamp"]) for got in server.got]
    assert times[4] - times[3] >= 1
    for got in server.got:
        verify(NEW, got.headers, got.body)


async def test_410_stops_the_endpoint_and_keeps_its_events_until_it_is_resumed(server, dsn):
    server.answers = [(410, {}, b"")]
    async with running(dsn, server.url, concurrency=1) as host:
        await submit(host, id=1)
        stats = await until(host, state="stopped", dead_kept=1)
        assert stats["stopped_because"] == "410 Gone"
        await submit(host, id=2)
        await until(host, waiting=1)
        assert len(server.got) == 1
        server.answers = [(204, {}, b"")]
        await relay_resume(host.database, "webhook_erp")
        await until(host, delivered=1, waiting=0)
    assert json.loads(server.got[1].body)["data"] == {"id": 2}


async def test_events_of_an_order_arrive_in_their_order(server, dsn):
    server.answers = [(500, {}, b"") if n % 3 == 0 else (204, {}, b"") for n in range(12)] + [(204, {}, b"")]
    async with running(dsn, server.url, ordered_by="payload.id", concurrency=4) as host:
        for number in range(6):
            await submit(host, id="a", n=number)
            await written(host, number + 1)
        await until(host, delivered=6, waiting=0)
    accepted: list[int] = []
    for got in server.got:
        number = json.loads(got.body)["data"]["n"]
        if not accepted or accepted[-1] != number:
            accepted.append(number)
    assert accepted == list(range(6))


async def test_no_more_requests_are_under_way_than_allowed(server, dsn):
    async with running(dsn, server.url, concurrency=2) as host:
        await asyncio.gather(*(submit(host, id=n) for n in range(30)))
        await until(host, delivered=30)
    assert server.most <= 2


async def test_neither_secret_nor_url_is_logged_or_kept(server, dsn, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    server.answers = [(500, {}, b""), (-1, {}, b""), (204, {}, b"")]
    async with running(dsn, server.url, headers={"Authorization": "Bearer s3cret"}) as host:
        await submit(host, id=7)
        stats = await until(host, delivered=1)
    logged = "".join(record.getMessage() for record in caplog.records if record.name.startswith("tasker"))
    said = logged + "".join(capsys.readouterr()) + json.dumps(stats)
    for secret in (NEW, NEW.removeprefix("whsec_"), "s3cret", "in-the-url"):
        assert secret not in said


# Settings -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"url": "erp.example"}, "must be a whole URL"),
        ({"url": "ftp://erp.example"}, "must be a whole URL"),
        ({"url": "http://erp example/"}, "must be a whole URL"),
        ({"secrets": []}, "secrets"),
        ({"secrets": ["whsec_tooshort"]}, "base64"),
        ({"secrets": ["whsec_" + "AAAA" * 2]}, "24 to 64 bytes"),
        ({"events": ["Payment.*"]}, "no pattern"),
        ({"ordered_by": "order"}, "no place in an event"),
        ({"headers": {"webhook-id": "x"}}, "no header that can be set"),
        ({"headers": {"X-A": "a\nb"}}, "printable"),
        ({"give_up_on": [200]}, "give_up_on"),
        ({"timeout": 5}, "unknown key"),
    ],
)
def test_wrong_settings_are_told_at_the_start_and_secrets_are_not(wrong, told):
    config = configured("", "http://erp.example/?token=in-the-url", **wrong)
    roster = load_plugins(config, bind=bind, extra={"webhooks": webhooks}, entry_points=False)
    (plugin,) = roster.faulty()
    faults = " ".join(map(str, plugin.faults))
    assert told in faults
    for secret in ("tooshort", "in-the-url", "a\\nb"):
        assert secret not in faults


def test_without_endpoints_there_is_no_relay():
    assert list(webhooks.tasker_relays(webhooks.WebhooksSettings())) == []
