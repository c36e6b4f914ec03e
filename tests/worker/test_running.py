"""What becomes of handlers: returned, raised, too slow, too large; in the loop and in threads."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tasker_host import (
    Checkpoint,
    Failed,
    Middleware,
    PermanentError,
    RetryableError,
    StepContext,
    Succeeded,
    step_handler,
)
from tasker_host.db.kernel import Outcome, Taken
from tasker_host.worker import slots
from tasker_host.worker.calls import Calls
from tasker_host.worker.loop import Worker
from tests.support import chain, ended, plugin, results, run_to_end, running_host, submit

NO_WAIT = {"base_ms": 1, "jitter": 0.0}


def error_of(row: dict[str, Any], step: int = 0) -> dict[str, Any]:
    error: dict[str, Any] = row["steps"][step]["error"]
    return error


async def test_values_reach_the_next_step_in_their_own_shape(dsn):
    given = {"text": "ä\u2028", "big": 2**70, "float": 1.0, "none": None, "list": [[], {}], "": {"nested": True}}

    @step_handler("first")
    async def first(context: StepContext) -> Any:
        return context.input

    @step_handler("second")
    async def second(context: StepContext) -> Any:
        return {"saw": context.get_dependency_result("first"), "same": context.dependencies["first"] == context.input}

    async with running_host(dsn, plugin([first, second], [chain("values", "first", "second")])) as host:
        row = await run_to_end(host, "values", given)
    assert results(row) == {"first": given, "second": {"saw": given, "same": True}}
    assert isinstance(results(row)["first"]["float"], float)


@pytest.mark.parametrize("value", [None, 0, False, "", [], {}, "x" * 1000])
async def test_any_json_value_is_a_result(dsn, value):
    @step_handler("give")
    async def give() -> Any:
        return value

    async with running_host(dsn, plugin([give], [chain("one", "give")])) as host:
        row = await run_to_end(host, "one")
    assert row["status"] == "complete"
    assert row["steps"][0]["result"] == value


async def test_handlers_without_async_run_in_threads_and_others_on_the_loop(dsn):
    @step_handler("sync")
    def sync() -> str:
        return threading.current_thread().name

    @step_handler("async")
    async def on_loop() -> str:
        return threading.current_thread().name

    async with running_host(dsn, plugin([sync, on_loop], [chain("two", "sync", "async")])) as host:
        row = await run_to_end(host, "two")
    assert results(row)["sync"].startswith("tasker-step")
    assert results(row)["async"] == threading.current_thread().name


@pytest.mark.parametrize(
    "value", [object(), float("nan"), {1, object()}, "\ud800"], ids=["object", "nan", "set", "surrogate"]
)
async def test_what_json_cannot_hold_fails_for_good(dsn, value):
    @step_handler("give")
    async def give() -> Any:
        return value

    async with running_host(dsn, plugin([give], [chain("one", "give")])) as host:
        row = await run_to_end(host, "one")
    assert (row["status"], row["steps"][0]["attempts"]) == ("blocked_by_failures", 1)
    assert error_of(row)["error_code"] == "RESULT_NOT_JSON"


async def test_a_result_over_the_limit_fails_for_good_and_says_the_limit(dsn):
    @step_handler("give")
    async def give() -> str:
        return "ä" * 1024

    async with running_host(dsn, plugin([give], [chain("one", "give")]), limits__result_max_bytes=2048) as host:
        row = await run_to_end(host, "one")
    assert error_of(row)["error_code"] == "RESULT_TOO_LARGE"
    assert "2050 bytes" in error_of(row)["message"]
    assert "2048" in error_of(row)["message"]


async def test_a_retryable_failure_is_tried_again_until_it_succeeds(dsn):
    attempts: list[int] = []

    @step_handler("flaky")
    async def flaky(context: StepContext) -> int:
        attempts.append(context.attempt)
        if context.attempt < 3:
            raise RetryableError("not yet")
        return context.attempt

    async with running_host(
        dsn, plugin([flaky], [chain("one", "flaky", max_attempts=5)]), worker__retry__base_ms=1
    ) as host:
        row = await run_to_end(host, "one")
    assert attempts == [1, 2, 3]
    assert results(row) == {"flaky": 3}


async def test_attempts_are_exhausted_after_max_attempts(dsn):
    @step_handler("broken")
    def broken() -> None:
        raise ConnectionError("refused")

    async with running_host(
        dsn, plugin([broken], [chain("one", "broken", max_attempts=2)]), worker__retry__base_ms=1
    ) as host:
        row = await run_to_end(host, "one")
    assert (row["status"], row["steps"][0]["attempts"]) == ("blocked_by_failures", 2)
    assert error_of(row)["message"] == "refused"
    assert error_of(row)["will_retry"] is False


async def test_a_permanent_failure_is_not_tried_again(dsn):
    @step_handler("declined")
    async def declined() -> None:
        raise PermanentError("card declined", error_code="DECLINED")

    async with running_host(dsn, plugin([declined], [chain("one", "declined")])) as host:
        row = await run_to_end(host, "one")
    assert row["steps"][0]["attempts"] == 1
    assert error_of(row) == {
        "error_type": "permanent_error",
        "message": "card declined",
        "retryable": False,
        "will_retry": False,
        "error_code": "DECLINED",
    }


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), StopIteration(1)])
@pytest.mark.parametrize("is_async", [True, False], ids=["async", "sync"])
async def test_nothing_a_handler_raises_gets_past_the_worker(dsn, error, is_async):
    def boom() -> None:
        raise error

    async def aboom() -> None:
        raise error

    handler = step_handler("boom")(aboom if is_async else boom)

    @step_handler("fine")
    async def fine() -> str:
        return "ok"

    made = plugin([handler, fine], [chain("bad", "boom", max_attempts=1), chain("good", "fine")])
    async with running_host(dsn, made) as host:
        row = await run_to_end(host, "bad")
        assert row["status"] == "blocked_by_failures"
        assert results(await run_to_end(host, "good")) == {"fine": "ok"}


async def test_an_async_handler_that_runs_too_long_is_stopped(dsn):
    stopped = asyncio.Event()

    @step_handler("slow")
    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    yaml = chain("one", "slow", max_attempts=1) + "\n    timeout_seconds: 1"
    async with running_host(dsn, plugin([slow], [yaml])) as host:
        row = await run_to_end(host, "one")
    assert stopped.is_set()
    assert error_of(row)["error_type"] == "timeout"
    assert error_of(row)["message"] == "handler 'slow' ran longer than 1 s"


async def test_an_async_handler_that_does_not_let_itself_be_stopped_is_left_behind(dsn, monkeypatch):
    monkeypatch.setattr(slots, "ABANDON_SECONDS", 0.1)
    let_go = asyncio.Event()
    ended_at_last = asyncio.Event()

    @step_handler("stubborn")
    async def stubborn() -> str:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue
        ended_at_last.set()
        return "too late"

    @step_handler("fine")
    async def fine() -> str:
        return "ok"

    yaml = chain("stubborn", "stubborn", max_attempts=1) + "\n    timeout_seconds: 0.1"
    made = plugin([stubborn, fine], [yaml, chain("good", "fine")])
    async with running_host(dsn, made, worker__slots=1, worker__shed_percent=100) as host:
        row = await run_to_end(host, "stubborn")
        assert error_of(row)["error_type"] == "timeout"
        assert results(await run_to_end(host, "good")) == {"fine": "ok"}  # in the only slot
        assert (host.worker.abandoned_threads, host.worker.running) == (1, 0)
        let_go.set()
        await ended_at_last.wait()
        assert results(await run_to_end(host, "good", {"again": True})) == {"fine": "ok"}


def test_a_handler_that_is_never_stopped_does_not_keep_the_program_from_ending(dsn, monkeypatch):
    monkeypatch.setattr(slots, "ABANDON_SECONDS", 0.1)

    @step_handler("stubborn")
    async def stubborn() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    async def program() -> dict[str, Any]:
        yaml = chain("stubborn", "stubborn", max_attempts=1) + "\n    timeout_seconds: 0.1"
        async with running_host(dsn, plugin([stubborn], [yaml])) as host:
            return await run_to_end(host, "stubborn")

    assert error_of(asyncio.run(program()))["error_type"] == "timeout"


async def test_what_a_handler_returns_after_it_ran_out_of_time_is_too_late(dsn):
    @step_handler("slow")
    async def slow() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "made an end of its own"

    yaml = chain("one", "slow", max_attempts=1) + "\n    timeout_seconds: 0.1"
    async with running_host(dsn, plugin([slow], [yaml])) as host:
        row = await run_to_end(host, "one")
    assert (row["status"], error_of(row)["error_type"]) == ("blocked_by_failures", "timeout")


async def test_a_step_that_comes_back_to_the_worker_that_lost_it_is_run_once_more(dsn, database):
    gates: list[asyncio.Event] = []

    @step_handler("work")
    async def work(context: StepContext) -> int:
        gates.append(asyncio.Event())
        await gates[-1].wait()
        return context.attempt

    async with running_host(dsn, plugin([work], [chain("one", "work")])) as host:
        task = await submit(host, "one")
        await appear(gates, 1)
        # As if it had been away for longer than its lease.
        await database.fetch("update pgmq.q_tests_queue set vt = clock_timestamp() - interval '1 s'")
        host.worker.wake()
        await appear(gates, 2)
        for gate in gates:
            gate.set()
        (row,) = await ended(host, task)
        assert host.worker.running == 0
    assert results(row) == {"work": 2}


async def appear(things: list[Any], count: int) -> None:
    async with asyncio.timeout(20):
        while len(things) < count:
            await asyncio.sleep(0.01)


async def test_a_thread_that_hangs_is_left_behind_and_another_takes_its_place(dsn):
    hang = threading.Event()

    @step_handler("hang")
    def hangs() -> None:
        hang.wait()

    @step_handler("fine")
    def fine() -> str:
        return "ok"

    yaml = chain("hanging", "hang", max_attempts=1) + "\n    timeout_seconds: 1"
    async with running_host(dsn, plugin([hangs, fine], [yaml, chain("good", "fine")]), worker__thread_slots=1) as host:
        row = await run_to_end(host, "hanging")
        assert error_of(row)["error_type"] == "timeout"
        assert results(await run_to_end(host, "good")) == {"fine": "ok"}
        assert host.worker is not None
        assert host.worker.abandoned_threads == 1
    hang.set()


async def test_middleware_of_lower_order_is_outside_and_sees_results_not_exceptions(dsn):
    seen: list[Any] = []

    def layer(name: str) -> Any:
        async def around(step: StepContext, call_next: Any) -> Any:
            seen.append(f"{name} in {step.step_name}")
            result = await call_next()
            seen.append(f"{name} out {type(result).__name__}")
            return result

        return around

    @step_handler("boom")
    def boom() -> None:
        raise PermanentError("no")

    layers = [Middleware("inner", layer("inner"), order=2), Middleware("outer", layer("outer"), order=1)]
    made = plugin([boom], [chain("one", "boom")], tasker_middleware=lambda: layers)
    async with running_host(dsn, made) as host:
        row = await run_to_end(host, "one")
    assert seen == ["outer in boom", "inner in boom", "inner out Failed", "outer out Failed"]
    assert error_of(row)["message"] == "no"


async def test_what_a_middleware_raises_or_returns_is_the_result_of_the_step(dsn):
    async def raises(step: StepContext, call_next: Any) -> Any:
        if step.attempt == 1:
            raise RetryableError("the layer is tired")
        return Succeeded("from the layer")

    @step_handler("never")
    async def never() -> None:
        raise AssertionError

    made = plugin([never], [chain("one", "never")], tasker_middleware=lambda: [Middleware("m", raises)])
    async with running_host(dsn, made, worker__retry__base_ms=1) as host:
        row = await run_to_end(host, "one")
    assert results(row) == {"never": "from the layer"}
    assert row["steps"][0]["attempts"] == 2


async def test_a_failed_result_says_when_it_is_tried_again(dsn):
    @step_handler("busy")
    async def busy(context: StepContext) -> Any:
        return Failed("busy", retry_after_seconds=0.0) if context.attempt == 1 else "served"

    # With the step's own backoff this would take an hour.
    async with running_host(
        dsn, plugin([busy], [chain("one", "busy")]), worker__retry__base_ms=3_600_000, worker__retry__max_ms=3_600_000
    ) as host:
        row = await run_to_end(host, "one")
    assert results(row) == {"busy": "served"}


@pytest.mark.parametrize("items", [-1, "many", 1.5])
async def test_a_checkpoint_that_counts_nothing_is_refused(dsn, items):
    @step_handler("counts")
    async def counts(context: StepContext) -> Any:
        return Checkpoint(1, items_processed=items)

    async with running_host(dsn, plugin([counts], [chain("one", "counts")])) as host:
        row = await run_to_end(host, "one")
    error = error_of(row)
    assert error["message"] == (
        f"handler 'counts' returned a checkpoint with items_processed {items!r}: it must be a whole number, 0 or more"
    )
    assert (error["error_code"], row["steps"][0]["attempts"]) == ("CHECKPOINT_INVALID", 1)


async def test_a_failed_result_that_asks_for_no_time_at_all_waits_as_its_step_says(dsn):
    @step_handler("busy")
    async def busy(context: StepContext) -> Any:
        return Failed("busy", retry_after_seconds="soon") if context.attempt == 1 else "served"  # type: ignore[arg-type]

    async with running_host(dsn, plugin([busy], [chain("one", "busy")]), worker__retry__base_ms=1) as host:
        row = await run_to_end(host, "one")
    assert results(row) == {"busy": "served"}


async def test_what_has_ended_is_reported_before_the_steps_that_came_with_the_last_answer_begin(dsn, monkeypatch):
    log: list[str] = []

    class Noting(Calls):
        async def take(self, outcomes: list[Outcome], want: int, *, look: bool) -> tuple[Taken | None, list[Outcome]]:
            log.append("reports" if outcomes else "asks")
            answer = await super().take(outcomes, want, look=look)
            log.append(f"answer {len(answer[0].steps if answer[0] else ())}")
            return answer

    start = slots.Slots.start

    def begin(self: slots.Slots, *arguments: Any) -> None:
        log.append("begins")
        start(self, *arguments)

    monkeypatch.setattr(Worker, "calls_class", Noting)
    monkeypatch.setattr(slots.Slots, "start", begin)

    @step_handler("work")
    async def work() -> None:
        pass

    steps = "".join(f"\n  - {{name: s{number}, handler: {{callable: work}}}}" for number in range(8))
    wide = f"name: wide\nnamespace_name: tests\nversion: 1.0.0\nsteps:{steps}"
    async with running_host(dsn, plugin([work], [wide]), worker__slots=4) as host:
        assert (await run_to_end(host, "wide"))["status"] == "complete"
    assert log.count("begins") == 8
    assert "answer 2 reports begins begins" in " ".join(log)
