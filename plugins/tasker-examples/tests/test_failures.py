"""Failures: how often a step is tried, and where its task ends."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tasker_host import workflow
from tasker_host.testing import TaskRun, run_task_async

from tasker_examples import plugin
from tasker_examples.failures.handlers import temporary


async def run(name: str, **context: object) -> TaskRun:
    return await run_task_async(f"examples_failures/{name}", context, plugins=[plugin])


async def test_a_step_that_succeeds_says_what_it_was_told() -> None:
    ran = await run("success_only", message="hi")
    assert ran.is_complete
    value = ran.values["succeed"]
    assert (value["status"], value["message"], value["handler"]) == ("success", "hi", "examples.failures.succeed")


@pytest.mark.parametrize(
    ("name", "step", "attempts", "code"),
    [
        ("retryable_error_only", "fail_for_a_while", 3, "TEMPORARY_ERROR"),
        ("permanent_error_only", "fail_for_good", 1, "PERMANENT_ERROR"),
        ("retry_exhaustion_test", "fail_ten_times", 3, "SIMULATED_FAILURE"),
        ("boundary_max_attempts_one", "always_fail", 1, "TEMPORARY_ERROR"),
        ("boundary_max_attempts_three", "always_fail", 3, "TEMPORARY_ERROR"),
        ("boundary_non_retryable", "fail_once_and_for_all", 1, "TEMPORARY_ERROR"),
        ("boundary_non_retryable_retries", "always_fail", 1, "TEMPORARY_ERROR"),
    ],
)
async def test_attempts_are_as_many_as_the_template_says(name: str, step: str, attempts: int, code: str) -> None:
    ran = await run(name)
    assert ran.state == "blocked_by_failures"
    failed = ran.steps[step]
    assert (failed.state, failed.attempts) == ("error", attempts)
    assert failed.error is not None
    assert failed.error["error_code"] == code


async def test_a_step_that_fails_twice_succeeds_the_third_time() -> None:
    ran = await run("retry_mechanics_test")
    assert ran.is_complete, ran
    assert ran.values["fail_twice_then_succeed"] == {"attempts_before_success": 3, "fail_count": 2}
    assert ran.attempts == {"fail_twice_then_succeed": 3}
    # 100 and 200 ms of waiting, each spread by 15 %
    assert timedelta(milliseconds=255) <= ran.took


async def test_no_attempts_are_one() -> None:
    none = workflow("examples_failures/boundary_max_attempts_zero").step(temporary, retry={"max_attempts": 0}).build()
    ran = await run_task_async(none, {}, plugins=[plugin])
    assert ran.attempts == {"temporary": 1}
    assert ran.states == {"temporary": "error"}


async def test_what_fails_beside_it_does_not_stop_what_succeeds() -> None:
    ran = await run("error_testing")
    assert ran.state == "blocked_by_failures"
    assert ran.states == {
        "begin": "complete",
        "success_step": "complete",
        "retryable_step": "error",
        "permanent_step": "error",
    }
    assert (ran.attempts["retryable_step"], ran.attempts["permanent_step"]) == (3, 1)
