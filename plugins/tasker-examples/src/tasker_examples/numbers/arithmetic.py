"""What the number templates compute, in exact integers.

Two families. *Squares*: each step squares; its value is the bare number, and how it came about is in the metadata.
*Arithmetic*: each step adds, multiplies, divides or averages, and its value is an object that says so itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from reprlib import repr as short
from typing import Any

from tasker_host import Succeeded

from tasker_examples.errors import InvalidInputError, MissingResultError

_FROM_THE_TASK = {"even_number": "task.context.even_number"}


def even(value: object) -> int:
    """The task's `even_number` itself. Raises InvalidInputError when it is missing, odd or no integer."""
    if value is None:
        raise InvalidInputError("Task context must contain an even_number", error_code="MISSING_CONTEXT_FIELD")
    if not isinstance(value, int) or isinstance(value, bool) or value % 2:
        raise InvalidInputError(
            f"even_number must be an even integer, got: {short(value)}", error_code="VALIDATION_ERROR"
        )
    return value


def present(value: Any, step: str) -> Any:
    """What `step` returned. Raises MissingResultError when that is nothing."""
    if value is None:
        raise MissingResultError(f"Missing result from {step}", error_code="MISSING_DEPENDENCY_RESULTS")
    return value


# Squares --------------------------------------------------------------------------------------------------------------


def squares_start(even_number: object) -> Succeeded:
    """The square of the task's number."""
    metadata = {"operation": "square", "step_type": "initial", "input_refs": dict(_FROM_THE_TASK)}
    return Succeeded(even(even_number) ** 2, metadata)


def squares_next(
    parents: Mapping[str, int | None], step_type: str, *, verify: tuple[object, int] | None = None
) -> Succeeded:
    """The square of the product of what the parents returned, by their names.

    `verify`, for a last step, is the task's number and the power of it that must have come out.
    """
    factors = [present(value, step) for step, value in parents.items()]
    value = math.prod(factors) ** 2
    metadata: dict[str, Any] = {
        "operation": "square" if len(factors) == 1 else "multiply_and_square",
        "step_type": step_type,
        "input_refs": {step: f"step.{step}" for step in parents},
    }
    if verify is not None:
        number, exponent = even(verify[0]), verify[1]
        expected = number**exponent
        metadata["verification"] = {
            "original_number": number,
            "expected_result": expected,
            "actual_result": value,
            "matches": value == expected,
        }
    return Succeeded(value, metadata)


# Arithmetic -----------------------------------------------------------------------------------------------------------


def result_of(figure: Mapping[str, Any] | None, step: str) -> int:
    """The number in what an arithmetic `step` returned. Raises MissingResultError."""
    return int(present(figure, step)["result"])


def square(even_number: object) -> dict[str, Any]:
    result = even(even_number) ** 2
    return {"result": result, "operation": "square", "step_type": "initial", "input_refs": dict(_FROM_THE_TASK)}


def add(value: int, constant: int, *, branch: str | None = None) -> dict[str, Any]:
    figure = {"result": value + constant, "operation": "add", "constant": constant, "input_value": value}
    return figure | _of_branch(branch)


def multiply(value: int, factor: int, *, branch: str | None = None) -> dict[str, Any]:
    figure = {"result": value * factor, "operation": "multiply", "factor": factor, "input_value": value}
    return figure | _of_branch(branch)


def divide(value: int, divisor: int) -> dict[str, Any]:
    """The one operation whose result is a float, also where nothing is left over."""
    return {"result": value / divisor, "operation": "divide", "divisor": divisor, "input_value": value}


def average(branch_b: int, branch_c: int) -> dict[str, Any]:
    return {
        "result": (branch_b + branch_c) / 2,
        "operation": "average",
        "branch_b_value": branch_b,
        "branch_c_value": branch_c,
        "step_type": "convergence",
    }


def _of_branch(branch: str | None) -> dict[str, Any]:
    return {} if branch is None else {"branch": branch}
