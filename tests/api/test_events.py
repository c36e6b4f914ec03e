"""GET /metrics/events on a host that publishes."""

from __future__ import annotations

import httpx

from tasker_host import Subscriber, step_handler
from tasker_host.server import Server
from tests.support import plugin, run_to_end, running_host

TEMPLATE = """
name: t
namespace_name: tests
version: 1.0.0
steps:
  - name: only
    handler: {callable: fine}
    publishes_events:
      - {name: order.placed}
      - {name: order.heard, delivery_mode: fast}
      - {name: order.told, delivery_mode: broadcast}
      - {name: order.bad, schema: {type: string}}
"""


@step_handler("fine")
async def fine() -> dict[str, int]:
    return {"n": 1}


async def test_what_became_of_events_is_counted(dsn):
    def refuses(event: object) -> None:
        raise ValueError("not me")

    def tasker_subscribers() -> list[Subscriber]:
        return [Subscriber("refuses", ["order.heard"], refuses)]

    given = plugin([fine], [TEMPLATE], tasker_subscribers=tasker_subscribers)
    async with running_host(dsn, given) as host:
        server = Server(host)
        async with httpx.AsyncClient(base_url=await server.start()) as client:
            await run_to_end(host, "t")
            await run_to_end(host, "t", {"n": 2})
            for mailbox in host.events.bus._mailboxes:
                await mailbox.drained(float("inf"))
            answer = await client.get("/metrics/events")
        await server.stop()
    assert answer.status_code == 200
    told = answer.json()
    assert told["worker_id"] == host.worker.id
    assert told["router"] == {
        "total_routed": 6,
        "durable_routed": 2,
        "fast_routed": 2,
        "broadcast_routed": 2,
        "fast_delivery_errors": 2,
        "routing_errors": 2,
    }
    counted = {row["event_name"]: (row["published"], row["failed"], row["last_error"]) for row in told["events"]}
    assert counted == {
        "order.placed": (2, 0, None),
        "order.heard": (2, 0, None),
        "order.told": (2, 0, None),
        "order.bad": (
            0,
            2,
            "the payload does not fit the schema of 'order.bad': payload: {'n': 1} is not of type 'string'",
        ),
    }
    (refusing,) = [one for one in told["in_process_bus"]["subscribers"] if one["name"] == "refuses"]
    assert (refusing["received"], refusing["failed"], refusing["last_error"]) == (2, 2, "ValueError: not me")
    assert told["fast_events"]["by_name"] == {"order.heard": 2, "order.told": 2}
    assert told["fast_events"]["by_namespace"] == {"tests": 4}
    assert (told["fast_events"]["success_events"], told["fast_events"]["failure_events"]) == (4, 0)
    assert told["relays"] == []
