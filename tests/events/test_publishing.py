"""What steps publish: which events fire, what they say, who says it, and what it costs when that goes wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from tasker_host import (
    DomainEvent,
    EventPublisher,
    Failed,
    PermanentError,
    Publisher,
    RetryableError,
    StepContext,
    Subscriber,
    Succeeded,
    step_handler,
)
from tasker_host.db.sweep import failures_file
from tasker_host.domain.ids import uuid7
from tasker_host.domain.request import TaskRequest
from tests.support import plugin, run_to_end, running_host

CONDITIONS = ("success", "failure", "retryable_failure", "permanent_failure", "always")


def declared(handler: str, *events: dict[str, Any], name: str = "t", **retry: Any) -> str:
    """A template tests/<name> with one step that declares these events; JSON is YAML too."""
    step = {"name": "only", "handler": {"callable": handler}, "publishes_events": list(events)}
    if retry:
        step["retry"] = retry
    return json.dumps({"name": name, "namespace_name": "tests", "version": "1.0.0", "steps": [step]})


@step_handler("fine")
async def fine(context: StepContext) -> dict[str, Any]:
    return {"amount": 1250, "of": context.input.get("n")}


@step_handler("flaky")
async def flaky(context: StepContext) -> int:
    if context.attempt < 3:
        raise RetryableError("gateway busy", retry_after=0)
    return context.attempt


@step_handler("refused")
async def refused() -> None:
    raise PermanentError("card declined", error_code="CARD_DECLINED")


@step_handler("hopeless")
async def hopeless() -> None:
    raise RetryableError("still busy", retry_after=0)


HANDLERS = [fine, flaky, refused, hopeless]


async def durable(host: Any, namespace: str = "tests") -> list[dict[str, Any]]:
    """The messages of the queue, in order."""
    rows = await host.database.fetch(f"select message from pgmq.q_{namespace}_domain_events order by msg_id")
    return [json.loads(row["message"]) for row in rows]


class Heard:
    """A subscriber that keeps what it was given."""

    def __init__(self) -> None:
        self.events: list[DomainEvent] = []
        self._some = asyncio.Event()

    async def receive(self, event: DomainEvent) -> None:
        self.events.append(event)
        self._some.set()

    async def until(self, count: int) -> list[DomainEvent]:
        async with asyncio.timeout(10):
            while len(self.events) < count:
                self._some.clear()
                await self._some.wait()
        return self.events


def giving(**hooks: list[Any]) -> dict[str, Callable[..., Any]]:
    """Hooks that give these things."""

    def hook(given: list[Any]) -> Callable[[], list[Any]]:
        return lambda: given

    return {name: hook(given) for name, given in hooks.items()}


# Conditions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("handler", "max_attempts", "expected"),
    [
        ("fine", 3, ["always.1", "success.1"]),
        ("refused", 3, ["always.1", "failure.1", "permanent_failure.1"]),
        (
            "flaky",
            3,
            [
                *("always.1", "always.2", "always.3", "failure.1", "failure.2"),
                *("retryable_failure.1", "retryable_failure.2", "success.3"),
            ],
        ),
        (
            "hopeless",
            2,
            ["always.1", "always.2", "failure.1", "failure.2", "permanent_failure.2", "retryable_failure.1"],
        ),
        ("hopeless", 1, ["always.1", "failure.1", "permanent_failure.1"]),
    ],
)
async def test_every_condition_fires_when_it_says(dsn, handler, max_attempts, expected):
    events = [{"name": f"on.{condition}", "condition": condition} for condition in CONDITIONS]
    given = plugin(HANDLERS, [declared(handler, *events, max_attempts=max_attempts, backoff_base_ms=0)])
    async with running_host(dsn, given) as host:
        await run_to_end(host, "t")
        fired = [
            f"{message['event_name'].removeprefix('on.')}.{message['metadata'].get('attempt', 1)}"
            for message in await durable(host)
        ]
    assert sorted(fired) == expected


# What a message is ----------------------------------------------------------------------------------------------------


async def test_a_message_has_the_payload_only_and_says_where_it_comes_from(dsn):
    given = plugin(HANDLERS, [declared("fine", {"name": "payment.processed", "version": "2.1"})])
    correlation, parent = uuid7(), uuid7()
    async with running_host(dsn, given) as host:
        row = await run_to_end(host, "t", {"n": 7}, correlation_id=str(correlation), parent_correlation_id=str(parent))
        (message,) = await durable(host)
    assert message.keys() == {"event_id", "event_name", "event_version", "payload", "metadata"}
    assert UUID(message["event_id"]).version == 7
    assert (message["event_name"], message["event_version"]) == ("payment.processed", "2.1")
    assert message["payload"] == {"amount": 1250, "of": 7}
    metadata = message["metadata"]
    assert datetime.fromisoformat(metadata.pop("fired_at")).tzinfo is not None
    span = "01" + row["steps"][0]["step_uuid"].hex[18:]
    assert metadata == {
        "task_uuid": str(row["task_uuid"]),
        "step_uuid": str(row["steps"][0]["step_uuid"]),
        "step_name": "only",
        "namespace": "tests",
        "correlation_id": str(correlation),
        "parent_correlation_id": str(parent),
        "traceparent": f"00-{correlation.hex}-{span}-01",
        "fired_by": "default",
    }


async def test_the_default_publisher_says_the_error_of_a_failure(dsn):
    schema = {"type": "object", "required": ["error_type", "message", "attempt", "retryable"]}
    event = {"name": "payment.failed", "condition": "failure", "schema": schema}
    async with running_host(dsn, plugin(HANDLERS, [declared("refused", event)])) as host:
        await run_to_end(host, "t")
        (message,) = await durable(host)
    assert message["payload"] == {
        "error_type": "permanent_error",
        "message": "card declined",
        "attempt": 1,
        "retryable": False,
        "error_code": "CARD_DECLINED",
    }
    assert message["metadata"]["outcome"] == "permanent_failure"


@pytest.mark.parametrize("by", ["declaration", "configuration"])
async def test_the_whole_step_is_in_a_message_when_that_is_asked_for(dsn, by):
    event = {"name": "a.b", "delivery_mode": "broadcast"} | ({"include_step": True} if by == "declaration" else {})
    heard = Heard()
    given = plugin(
        HANDLERS,
        [declared("fine", event)],
        **giving(tasker_subscribers=[Subscriber("heard", ["a.b"], heard.receive)]),
    )
    async with running_host(dsn, given, events__include_step=by == "configuration") as host:
        await run_to_end(host, "t", {"n": 7})
        (message,) = await durable(host)
        (event,) = await heard.until(1)
    step = message["step"]
    assert step["result"].pop("took_ms") >= 0
    assert step == {
        "template": "tests/t 1.0.0",
        "handler": "fine",
        "max_attempts": 3,
        "input": {"n": 7},
        "dependencies": {},
        "step_inputs": {},
        "checkpoint": None,
        "result": {"success": True, "value": {"amount": 1250, "of": 7}, "metadata": {}},
    }
    assert message["payload"] == {"amount": 1250, "of": 7}
    step["result"]["took_ms"] = event.step["result"]["took_ms"]
    assert event.as_message() == message


async def test_a_broadcast_is_one_event_with_one_id_on_both_paths(dsn):
    heard = Heard()
    event = {"name": "a.b", "delivery_mode": "broadcast", "schema": {"type": "object"}}
    given = plugin(
        HANDLERS,
        [declared("fine", event)],
        **giving(tasker_subscribers=[Subscriber("heard", ["**"], heard.receive)]),
    )
    async with running_host(dsn, given) as host:
        await run_to_end(host, "t", {"n": 7})
        (event,) = await heard.until(1)
        (message,) = await durable(host)
    assert event.as_message() == message
    assert DomainEvent.from_message(message) == event


@pytest.mark.parametrize(("mode", "messages", "fast"), [("durable", 1, 0), ("fast", 0, 1), ("broadcast", 1, 1)])
async def test_an_event_goes_the_way_that_is_declared(dsn, mode, messages, fast):
    heard = Heard()
    given = plugin(
        HANDLERS,
        [declared("fine", {"name": "a.b", "delivery_mode": mode}, {"name": "a.last", "delivery_mode": "fast"})],
        **giving(tasker_subscribers=[Subscriber("heard", ["a.*"], heard.receive)]),
    )
    async with running_host(dsn, given) as host:
        await run_to_end(host, "t")
        await heard.until(fast + 1)
        assert len(await durable(host)) == messages
    assert [event.event_name for event in heard.events] == ["a.b"] * fast + ["a.last"]


# Publishers -----------------------------------------------------------------------------------------------------------


async def test_each_event_has_its_own_publisher(dsn):
    def sums(step: StepContext, result: Any, event: Any) -> Any:
        assert isinstance(result, Succeeded)
        return {"event": event.name, "cents": result.value["amount"], "n": step.input["n"]}

    async def later(step: StepContext, result: Any, event: Any) -> Any:
        await asyncio.sleep(0)
        return [step.step_name, event.description]

    events = [
        {"name": "a.sum", "publisher": "Sums"},
        {"name": "a.later", "publisher": "shop.Later", "description": "later"},
        {"name": "a.plain"},
        {"name": "a.default", "publisher": "default"},
    ]
    given = plugin(
        HANDLERS,
        [declared("fine", *events)],
        **giving(tasker_publishers=[Publisher("Sums", sums), Publisher("shop.Later", later)]),
    )
    async with running_host(dsn, given) as host:
        await run_to_end(host, "t", {"n": 7})
        said = {m["event_name"]: (m["payload"], m["metadata"]["fired_by"]) for m in await durable(host)}
    assert said == {
        "a.sum": ({"event": "a.sum", "cents": 1250, "n": 7}, "Sums"),
        "a.later": (["only", "later"], "shop.Later"),
        "a.plain": ({"amount": 1250, "of": 7}, "default"),
        "a.default": ({"amount": 1250, "of": 7}, "default"),
    }


async def test_a_publisher_is_given_the_failure(dsn):
    seen: list[Any] = []

    def keep(step: StepContext, result: Any, event: Any) -> Any:
        seen.append((step.attempt, result))

    event = {"name": "a.b", "condition": "failure", "publisher": "Keep"}
    given = plugin(HANDLERS, [declared("refused", event)], **giving(tasker_publishers=[Publisher("Keep", keep)]))
    async with running_host(dsn, given) as host:
        await run_to_end(host, "t")
        (counted,) = host.events.ledger.rows()
    why = {"exception_type": "PermanentError"}
    assert seen == [
        (1, Failed("card declined", "permanent_error", retryable=False, error_code="CARD_DECLINED", metadata=why))
    ]
    assert (counted["declined"], counted["published"], counted["failed"]) == (1, 0, 0)


class Careful(EventPublisher):
    """Tells of everything that it is asked."""

    name = "Careful"

    def __init__(self, **answers: Any) -> None:
        self.asked: list[Any] = []
        self.answers = answers

    async def should_publish(self, step, result, event):
        self.asked.append("should_publish")
        return self.answers.get("should", True)

    def transform_payload(self, step, result, event):
        self.asked.append("transform_payload")
        if "fail" in self.answers:
            raise ValueError("no such currency")
        return {"amount": super().transform_payload(step, result, event)["amount"]}

    async def additional_metadata(self, step, result, event):
        self.asked.append("additional_metadata")
        return {"tier": "gold", "attempt": 99}

    def before_publish(self, event_name, payload, metadata):
        self.asked.append(("before_publish", event_name, payload, metadata["tier"], "attempt" in metadata))
        return self.answers.get("before", True)

    async def after_publish(self, event_name, payload, metadata):
        self.asked.append(("after_publish", event_name, payload, metadata["tier"]))

    async def on_publish_error(self, event_name, error, payload):
        self.asked.append(("on_publish_error", event_name, str(error), payload))


async def published_by(dsn: str, careful: Careful, **event: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The messages, and the ledger, after one step that publishes by `careful`."""
    given = plugin(
        HANDLERS,
        [declared("fine", {"name": "a.b", "publisher": "Careful", **event})],
        **giving(tasker_publishers=[careful]),
    )
    async with running_host(dsn, given) as host:
        row = await run_to_end(host, "t", {"n": 7})
        messages, ledger = await durable(host), host.events.ledger.rows()
    assert row["status"] == "complete"
    return messages, ledger


async def test_the_hooks_of_a_publisher_class_are_called_in_order(dsn):
    careful = Careful()
    (message,), _ = await published_by(dsn, careful)
    assert careful.asked == [
        "should_publish",
        "transform_payload",
        "additional_metadata",
        ("before_publish", "a.b", {"amount": 1250}, "gold", False),
        ("after_publish", "a.b", {"amount": 1250}, "gold"),
    ]
    assert message["payload"] == {"amount": 1250}
    assert (message["metadata"]["tier"], "attempt" in message["metadata"]) == ("gold", False)


@pytest.mark.parametrize("answers", [{"should": False}, {"before": False}])
async def test_a_publisher_class_may_decline(dsn, answers):
    careful = Careful(**answers)
    messages, (counted,) = await published_by(dsn, careful)
    assert messages == []
    assert (counted["publisher"], counted["published"], counted["declined"]) == ("Careful", 0, 1)
    assert "after_publish" not in str(careful.asked)


class Notes(EventPublisher):
    """Only looks on, and returns nothing; what it does to metadata is its own affair."""

    def before_publish(self, event_name, payload, metadata):
        metadata["seen"] = object()


async def test_a_publisher_that_only_looks_on_declines_nothing_and_changes_no_metadata(dsn):
    heard = Heard()
    given = plugin(
        HANDLERS,
        [declared("fine", {"name": "a.b", "publisher": "Notes", "delivery_mode": "broadcast"})],
        **giving(tasker_publishers=[Notes], tasker_subscribers=[Subscriber("s", ["a.b"], heard.receive)]),
    )
    async with running_host(dsn, given) as host:
        await run_to_end(host, "t")
        (event,) = await heard.until(1)
        assert [event.as_message()] == await durable(host)
    assert "seen" not in event.metadata


@step_handler("unspeakable")
async def unspeakable() -> Failed:
    return Failed("no \x00 \ud800", "odd\x00", error_code="C\x00")


async def test_a_failure_that_json_cannot_hold_is_told_as_text_with_its_types(dsn):
    event = {"name": "a.failed", "condition": "permanent_failure"}
    async with running_host(dsn, plugin([unspeakable], [declared("unspeakable", event, max_attempts=1)])) as host:
        row = await run_to_end(host, "t")
        (message,) = await durable(host)
        # The sweep reads errors in SQL: one that it cannot read would keep all others from being filed.
        assert await failures_file(host.database, limit=10, files=True) == (1, [row["task_uuid"]])
    told = {"error_type": "odd\\0", "message": "no \\0 \\ud800", "retryable": True, "error_code": "C\\0"}
    assert message["payload"] == {**told, "attempt": 1}
    assert row["steps"][0]["error"] == {**told, "will_retry": False}


async def test_a_publisher_that_raises_hears_of_it_and_costs_its_event_only(dsn):
    careful = Careful(fail=True)
    messages, (counted,) = await published_by(dsn, careful)
    assert messages == []
    assert careful.asked[-1] == ("on_publish_error", "a.b", "no such currency", None)
    assert (counted["failed"], counted["last_error"]) == (1, "ValueError: no such currency")


async def test_a_payload_that_breaks_its_schema_is_told_to_its_publisher(dsn):
    careful = Careful()
    messages, (counted,) = await published_by(dsn, careful, schema={"required": ["currency"]})
    assert messages == []
    error = "the payload does not fit the schema of 'a.b': payload: 'currency' is a required property"
    assert counted["last_error"] == error
    assert careful.asked[-1] == ("on_publish_error", "a.b", error, {"amount": 1250})


# What goes wrong ------------------------------------------------------------------------------------------------------


def raising(step: Any, result: Any, event: Any) -> Any:
    raise SystemExit(3)


def no_json(step: Any, result: Any, event: Any) -> Any:
    return {"amount": object()}


def with_nul(step: Any, result: Any, event: Any) -> Any:
    return {"name": "a\x00b"}


def backslashes(step: Any, result: Any, event: Any) -> Any:
    return {"name": "\\u0000"}


def huge(step: Any, result: Any, event: Any) -> Any:
    return "x" * 5000


async def slow(step: Any, result: Any, event: Any) -> Any:
    await asyncio.Event().wait()


BAD = {
    "Raising": (raising, "SystemExit: 3"),
    "NoJson": (no_json, "has no JSON form"),
    "WithNul": (with_nul, "the payload has the character U+0000, which a message of a queue cannot hold"),
    "Huge": (huge, "the limit is 4096 (events.message_max_bytes): publish a reference instead"),
    "Slow": (slow, "the publisher took longer than 0.05 s (events.publisher_timeout_seconds)"),
}


async def test_what_goes_wrong_with_one_event_costs_that_one_only(dsn):
    publishers = [Publisher(name, build) for name, (build, _) in BAD.items()]
    events = [{"name": f"bad.{name.lower()}", "publisher": name} for name in BAD]
    given = plugin(
        HANDLERS,
        [
            declared(
                "fine",
                {"name": "good.first"},
                *events,
                {"name": "bad.schema", "schema": {"properties": {"amount": {"type": "string"}}}},
                {"name": "good.last", "publisher": "Backslashes"},
            )
        ],
        **giving(tasker_publishers=[*publishers, Publisher("Backslashes", backslashes)]),
    )
    limits = {"events__message_max_bytes": 4096, "events__publisher_timeout_seconds": 0.05}
    async with running_host(dsn, given, **limits) as host:
        row = await run_to_end(host, "t")
        messages = await durable(host)
        counted = {row["event_name"]: row for row in host.events.ledger.rows()}
    assert row["status"] == "complete"
    assert [message["event_name"] for message in messages] == ["good.first", "good.last"]
    assert messages[1]["payload"] == {"name": "\\u0000"}
    for name, (_, error) in BAD.items():
        assert error in counted[f"bad.{name.lower()}"]["last_error"]
        assert counted[f"bad.{name.lower()}"]["failed"] == 1
    assert counted["bad.schema"]["last_error"] == (
        "the payload does not fit the schema of 'bad.schema': payload.amount: 1250 is not of type 'string'"
    )
    assert counted["good.first"]["published"] == counted["good.last"]["published"] == 1


async def test_of_many_steps_that_end_together_each_pays_for_its_own_events(dsn):
    small = {"properties": {"of": {"enum": ["a", "b"]}}}
    given = plugin(HANDLERS, [declared("fine", {"name": "a.small", "schema": small})])
    async with running_host(dsn, given) as host:
        contexts = [{"n": of, "number": number} for number, of in enumerate("abcd" * 25)]
        tasks = [TaskRequest(namespace="tests", name="t", context=context) for context in contexts]
        uuids = [uuid for uuid in await host.submissions.submit_many(tasks) if isinstance(uuid, UUID)]
        assert len(uuids) == len(tasks)
        await host.watch.settled(uuids, timeout_seconds=30)
        messages = await durable(host)
        (counted,) = host.events.ledger.rows()
    assert sorted(message["payload"]["of"] for message in messages) == ["a"] * 25 + ["b"] * 25
    assert len({message["event_id"] for message in messages}) == 50
    assert {message["metadata"]["task_uuid"] for message in messages} == {
        str(uuid) for uuid, task in zip(uuids, tasks, strict=True) if task.context["n"] in "ab"
    }
    assert (counted["published"], counted["failed"]) == (50, 50)


async def test_a_result_that_a_message_cannot_hold_is_a_result_all_the_same(dsn):
    @step_handler("nul")
    async def nul() -> str:
        return "a\x00b"

    async with running_host(dsn, plugin([nul], [declared("nul", {"name": "a.b"})])) as host:
        row = await run_to_end(host, "t")
        assert await durable(host) == []
        (counted,) = host.events.ledger.rows()
    assert (row["status"], row["steps"][0]["result"]) == ("complete", "a\x00b")
    assert counted["failed"] == 1


# Everywhere a step can end --------------------------------------------------------------------------------------------


async def test_a_step_that_ran_out_of_time_publishes_its_failure(dsn):
    @step_handler("stuck")
    async def stuck() -> None:
        await asyncio.Event().wait()

    text = json.loads(declared("stuck", {"name": "a.b", "condition": "permanent_failure"}, max_attempts=1))
    text["steps"][0]["timeout_seconds"] = 0.05
    async with running_host(dsn, plugin([stuck], [json.dumps(text)])) as host:
        await run_to_end(host, "t")
        (message,) = await durable(host)
    assert message["payload"]["error_type"] == "timeout"


async def test_a_step_in_a_transaction_of_its_handler_publishes_with_it(dsn):
    @step_handler("books")
    async def books(context: StepContext) -> int:
        async with context.transaction() as connection:
            await connection.execute("select 1")
        if context.attempt == 1:
            raise RetryableError("again", retry_after=0)
        return context.attempt

    heard = Heard()
    given = plugin(
        [books],
        [declared("books", {"name": "a.b", "delivery_mode": "broadcast", "condition": "always"}, max_attempts=2)],
        **giving(tasker_subscribers=[Subscriber("heard", ["a.b"], heard.receive)]),
    )
    async with running_host(dsn, given) as host:
        await run_to_end(host, "t")
        fast = await heard.until(2)
        messages = await durable(host)
    assert [(m["metadata"].get("attempt"), m["metadata"].get("outcome")) for m in messages] == [
        (None, "retryable_failure"),
        (2, None),
    ]
    assert [event.as_message() for event in fast] == messages


async def test_a_result_that_the_database_refuses_publishes_the_failure_that_it_becomes(dsn):
    async def refusing(connection: Any) -> None:
        await connection.execute(
            """
            create function tests_refuse() returns trigger language plpgsql as
            $$ begin if new.result::text like '%1250%' then raise 'no such amount'; end if; return new; end $$;
            create trigger refuse before update on tasker.steps for each row execute function tests_refuse()
            """
        )

    events = [{"name": "a.ok"}, {"name": "a.failed", "condition": "permanent_failure"}]
    async with running_host(dsn, plugin(HANDLERS, [declared("fine", *events)])) as host:
        async with host.database.acquire() as connection:
            await refusing(connection)
        row = await run_to_end(host, "t")
        (message,) = await durable(host)
        counted = {row["event_name"]: row["published"] for row in host.events.ledger.rows()}
    assert row["steps"][0]["current_state"] == "error"
    assert message["event_name"] == "a.failed"
    assert "no such amount" in message["payload"]["message"]
    assert counted == {"a.failed": 1}


# Templates ------------------------------------------------------------------------------------------------------------


async def test_a_template_that_names_a_publisher_that_nobody_gives_is_not_available(dsn):
    event = {"name": "payment.processed", "publisher": "PaymentPublishr"}
    given = plugin(
        HANDLERS,
        [declared("fine", event), declared("fine", name="other")],
        **giving(tasker_publishers=[Publisher("PaymentPublisher", raising)]),
    )
    async with running_host(dsn, given) as host:
        (problem,) = host.registry.problems("tests", "t", None)
        assert str(problem) == (
            "template tests/t 1.0.0, step 'only': no publisher named 'PaymentPublishr' (event 'payment.processed');"
            " did you mean 'PaymentPublisher'?"
        )
        assert (await run_to_end(host, "other"))["status"] == "complete"
