"""Steps that fail on purpose: for a while, for good, so many times."""

from __future__ import annotations

from typing import Annotated, Any

from tasker_host import Input, PermanentError, RetryableError, StepContext, step_handler, workflow

from tasker_examples.clock import now

Message = Annotated[str, Input("message")]


@step_handler("examples.failures.succeed")
def succeed(context: StepContext, message: Message = "hello") -> dict[str, Any]:
    return {
        "status": "success",
        "message": message,
        "timestamp": now().isoformat(),
        "handler": context.handler_name,
    }


@step_handler("examples.failures.temporary")
def temporary(message: Message = "the other side is busy") -> None:
    raise RetryableError(message, error_code="TEMPORARY_ERROR")


@step_handler("examples.failures.permanent")
def permanent(message: Message = "this can never work") -> None:
    raise PermanentError(message, error_code="PERMANENT_ERROR")


@step_handler("examples.failures.fail_n_times")
def fail_n_times(context: StepContext) -> dict[str, Any]:
    """Configuration: `fail_count`, the attempts that fail before one succeeds."""
    count = context.get_config("fail_count")
    if context.attempt <= count:
        raise RetryableError(f"failure {context.attempt} of {count}", error_code="SIMULATED_FAILURE")
    return {"attempts_before_success": context.attempt, "fail_count": count}


HANDLERS = (succeed, temporary, permanent, fail_n_times)

BOUNDARY = workflow(
    "examples_failures/boundary_non_retryable_retries",
    description="Three attempts are allowed, but it is not to be tried again: one is made",
    input_schema={"type": "object", "properties": {"message": {"type": "string"}}},
).step(temporary, name="always_fail", retry={"retryable": False, "max_attempts": 3}, timeout_seconds=10)
