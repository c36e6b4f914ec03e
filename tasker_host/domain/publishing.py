"""Which declared events an outcome of a step calls for."""

from __future__ import annotations

from typing import Literal, assert_never

from tasker_host.domain.template import PublishCondition

Result = Literal["success", "retryable_failure", "permanent_failure"]
"""A failed attempt that will be tried again is retryable; one that will not, also because none is left, permanent."""


def fires(condition: PublishCondition, result: Result) -> bool:
    """Whether an event declared with `condition` is published for `result`."""
    match condition:
        case PublishCondition.SUCCESS:
            return result == "success"
        case PublishCondition.FAILURE:
            return result != "success"
        case PublishCondition.RETRYABLE_FAILURE:
            return result == "retryable_failure"
        case PublishCondition.PERMANENT_FAILURE:
            return result == "permanent_failure"
        case PublishCondition.ALWAYS:
            return True
        case _:
            assert_never(condition)
