"""The fast path: who hears what, in which order, and what happens to those who are slow, fail or hang."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tasker_host import DomainEvent, Subscriber
from tasker_host.domain.ids import uuid7
from tasker_host.domain.patterns import matches
from tasker_host.events.fast import FastBus
from tasker_host.events.mailbox import MOST_ABANDONED


def event(name: str = "a.b", payload: Any = None) -> DomainEvent:
    return DomainEvent(uuid7(), name, payload)


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not met():
            await asyncio.sleep(0.001)


@asynccontextmanager
async def bus_of(*subscribers: Subscriber, timeout_seconds: float = 5) -> AsyncIterator[FastBus]:
    bus = FastBus(subscribers, timeout_seconds=timeout_seconds)
    bus.start()
    yield bus
    await bus.close(drain_seconds=0)


def stats(bus: FastBus, name: str = "s") -> dict[str, Any]:
    (found,) = [one for one in bus.stats() if one["name"] == name]
    return found


@pytest.mark.parametrize(
    ("pattern", "heard"),
    [
        ("payment.processed", ["payment.processed"]),
        ("payment.*", ["payment.processed"]),
        ("payment.**", ["payment.processed", "payment.card.charged"]),
        ("*.card.*", ["payment.card.charged"]),
        ("**.charged", ["payment.card.charged"]),
        ("*.*", ["payment.processed", "order.placed"]),
        ("*", ["payment.processed", "payment.card.charged", "order.placed"]),
        ("**", ["payment.processed", "payment.card.charged", "order.placed"]),
        ("host.**", ["host.step.finished"]),
        ("host.step.finished", ["host.step.finished"]),
        ("pay", []),
    ],
)
async def test_a_subscriber_hears_the_events_of_its_pattern(pattern, heard):
    got: list[str] = []

    async def receive(event: DomainEvent) -> None:
        got.append(event.event_name)

    async with bus_of(Subscriber("s", [pattern], receive)) as bus:
        for name in ("payment.processed", "payment.card.charged", "order.placed", "host.step.finished"):
            bus.publish(event(name))
            assert bus.hears(name) == (name in heard)
        await until(lambda: len(got) == len(heard))
    assert got == heard


def test_no_wildcard_in_front_matches_what_the_host_tells_of_itself():
    assert not any(matches(pattern, "host.task.finished") for pattern in ("*", "**", "#", "*.*.*", "**.finished"))


async def test_a_subscriber_with_two_patterns_hears_an_event_once():
    got: list[Any] = []

    async def receive(event: DomainEvent) -> None:
        got.append(event.payload)

    async with bus_of(Subscriber("s", ["a.*", "*.b"], receive)) as bus:
        bus.publish(event("a.b", 1))
        bus.publish(event("a.c", 2))
        await until(lambda: len(got) == 2)
    assert got == [1, 2]


@pytest.mark.parametrize("kind", ["async", "waiting", "sync"])
async def test_events_come_in_their_order(kind):
    got: list[Any] = []

    async def receive(event: DomainEvent) -> None:
        if kind == "waiting":
            await asyncio.sleep(0)
        got.append(event.payload)

    def receive_in_thread(event: DomainEvent) -> None:
        got.append(event.payload)

    async with bus_of(
        Subscriber("s", ["a.b"], receive_in_thread if kind == "sync" else receive, queue_size=5000)
    ) as bus:
        for number in range(3000):
            bus.publish(event(payload=number))
            if number % 100 == 0:
                await asyncio.sleep(0)
        await until(lambda: len(got) == 3000)
        assert stats(bus)["dropped"] == 0
    assert got == list(range(3000))


async def test_a_sync_subscriber_never_holds_up_the_loop():
    gate, entered = threading.Event(), threading.Event()

    def receive(_: DomainEvent) -> None:
        entered.set()
        gate.wait()

    async with bus_of(Subscriber("s", ["a.b"], receive)) as bus:
        bus.publish(event())
        await until(entered.is_set)  # the loop goes on while the subscriber waits
        gate.set()
        await until(lambda: bus.stats()[0]["received"] == 1)


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_of_a_slow_subscriber_the_oldest_events_are_dropped_and_counted_and_nobody_waits(kind):
    got: list[Any] = []
    others: list[Any] = []
    gate, gate_in_thread = asyncio.Event(), threading.Event()

    async def receive(event: DomainEvent) -> None:
        await gate.wait()
        got.append(event.payload)

    def receive_in_thread(event: DomainEvent) -> None:
        gate_in_thread.wait()
        got.append(event.payload)

    async def other(event: DomainEvent) -> None:
        others.append(event.payload)

    slow = Subscriber("s", ["a.b"], receive if kind == "async" else receive_in_thread, queue_size=3)
    async with bus_of(slow, Subscriber("other", ["a.b"], other)) as bus:
        bus.publish(event(payload="first"))
        await until(lambda: stats(bus)["received"] == 1)
        for number in range(10):
            bus.publish(event(payload=number))
        await until(lambda: len(others) == 11)
        assert (stats(bus)["queued"], stats(bus)["dropped"]) == (3, 7)
        gate.set()
        gate_in_thread.set()
        await until(lambda: len(got) == 4)
    assert got == ["first", 7, 8, 9]


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_subscriber_that_raises_is_counted_and_goes_on(kind):
    got: list[Any] = []

    def take(event: DomainEvent) -> None:
        if event.payload == "bad":
            raise SystemExit("no")
        got.append(event.payload)

    async def receive(event: DomainEvent) -> None:
        take(event)

    async with bus_of(Subscriber("s", ["a.b"], receive if kind == "async" else take)) as bus:
        for payload in (1, "bad", 2):
            bus.publish(event(payload=payload))
        await until(lambda: len(got) == 2)
        assert (stats(bus)["failed"], stats(bus)["last_error"]) == (1, "SystemExit: no")
    assert got == [1, 2]


async def test_a_function_that_only_returns_a_coroutine_is_told_so():
    async def hear(event: DomainEvent) -> None: ...

    async with bus_of(Subscriber("s", ["a.b"], lambda one: hear(event=one))) as bus:
        bus.publish(event())
        await until(lambda: stats(bus)["failed"] == 1)
        assert stats(bus)["last_error"].endswith("is no async function: write `async def receive(event)`")


async def test_an_async_call_that_takes_too_long_is_cancelled_and_the_next_event_given():
    got: list[Any] = []

    async def receive(event: DomainEvent) -> None:
        if event.payload == "hangs":
            await asyncio.Event().wait()
        got.append(event.payload)

    async with bus_of(Subscriber("s", ["a.b"], receive), timeout_seconds=0.05) as bus:
        for payload in ("hangs", 1, "hangs", 2):
            bus.publish(event(payload=payload))
        await until(lambda: len(got) == 2)
        assert stats(bus)["timed_out"] == 2
        assert stats(bus)["last_error"] == "took longer than 0.05 s (events.subscriber_timeout_seconds)"
    assert got == [1, 2]


async def test_one_that_swallows_its_cancellation_is_counted_all_the_same():
    got: list[Any] = []

    async def receive(event: DomainEvent) -> None:
        if event.payload == "hangs":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return
        got.append(event.payload)

    async with bus_of(Subscriber("s", ["a.b"], receive), timeout_seconds=0.05) as bus:
        for payload in ("hangs", 1):
            bus.publish(event(payload=payload))
        await until(lambda: got == [1])
        assert stats(bus)["timed_out"] == 1


async def test_a_thread_that_hangs_is_left_behind_and_another_one_goes_on():
    got: list[Any] = []
    gate = threading.Event()

    def receive(event: DomainEvent) -> None:
        if event.payload == "hangs":
            gate.wait()
        got.append(event.payload)

    async with bus_of(Subscriber("s", ["a.b"], receive), timeout_seconds=0.05) as bus:
        for payload in ("hangs", 1, 2):
            bus.publish(event(payload=payload))
        await until(lambda: len(got) == 2)
        assert stats(bus)["timed_out"] == 1
        gate.set()
        await until(lambda: len(got) == 3)
        bus.publish(event(payload=3))
        await until(lambda: len(got) == 4)
    assert got == [1, 2, "hangs", 3]


async def test_a_subscriber_all_of_whose_threads_hang_is_given_nothing_until_one_returns():
    got: list[Any] = []
    gate = threading.Event()

    def receive(event: DomainEvent) -> None:
        if event.payload == "hangs":
            gate.wait()
        got.append(event.payload)

    async with bus_of(Subscriber("s", ["a.b"], receive), timeout_seconds=0.02) as bus:
        for payload in ["hangs"] * MOST_ABANDONED + ["last"]:
            bus.publish(event(payload=payload))
        await until(lambda: stats(bus)["timed_out"] == MOST_ABANDONED)
        assert (stats(bus)["queued"], got) == (1, [])
        gate.set()
        await until(lambda: len(got) == MOST_ABANDONED + 1)
    # As soon as one of the threads has returned; the others return at the same time.
    assert sorted(got) == ["hangs"] * MOST_ABANDONED + ["last"]


async def test_closing_gives_out_what_is_queued():
    got: list[Any] = []

    async def receive(event: DomainEvent) -> None:
        await asyncio.sleep(0)
        got.append(event.payload)

    bus = FastBus([Subscriber("s", ["a.b"], receive)], timeout_seconds=5)
    bus.start()
    for number in range(100):
        bus.publish(event(payload=number))
    assert await bus.close(drain_seconds=5) == {}
    assert got == list(range(100))
    bus.publish(event())
    await asyncio.sleep(0)
    assert len(got) == 100


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_closing_says_whose_events_were_dropped_when_time_is_up(kind):
    gate = threading.Event()

    async def receive(_: DomainEvent) -> None:
        await asyncio.Event().wait()

    def receive_in_thread(_: DomainEvent) -> None:
        gate.wait()

    bus = FastBus([Subscriber("s", ["a.b"], receive if kind == "async" else receive_in_thread)], timeout_seconds=5)
    bus.start()
    for number in range(10):
        bus.publish(event(payload=number))
    await until(lambda: stats(bus)["received"] == 1)
    assert await bus.close(drain_seconds=0.02) == {"s": 10}
    gate.set()
