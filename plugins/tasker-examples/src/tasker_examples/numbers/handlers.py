"""The number steps in class style: one class for each operation.

Where an operation takes its numbers from, and its constants, stand in the template (`handler.initialization`), so the
same class serves many steps. `call` is async although nothing is awaited: work this short need not go to a thread.
"""

from __future__ import annotations

from typing import Any

from tasker_host import StepContext, StepHandler, Succeeded

from tasker_examples.numbers import arithmetic


class SquaresStart(StepHandler):
    handler_name = "examples.squares.start"

    async def call(self, context: StepContext) -> Succeeded:
        return arithmetic.squares_start(context.get_input("even_number"))


class SquaresNext(StepHandler):
    """Configuration: `of` (names of steps), `step_type`, and on a last step `verify_exponent`."""

    handler_name = "examples.squares.square"

    async def call(self, context: StepContext) -> Succeeded:
        exponent = context.get_config("verify_exponent")
        return arithmetic.squares_next(
            {step: context.get_dependency_result(step) for step in context.get_config("of")},
            context.get_config("step_type"),
            verify=None if exponent is None else (context.get_input("even_number"), exponent),
        )


class Square(StepHandler):
    handler_name = "examples.arithmetic.square"

    async def call(self, context: StepContext) -> dict[str, Any]:
        return arithmetic.square(context.get_input("even_number"))


class Add(StepHandler):
    """Configuration: `of` (a step), `constant`, and on a branch `branch`."""

    handler_name = "examples.arithmetic.add"

    async def call(self, context: StepContext) -> dict[str, Any]:
        value = _number(context, "of")
        return arithmetic.add(value, context.get_config("constant"), branch=context.get_config("branch"))


class Multiply(StepHandler):
    """Configuration: `of` (a step), `factor`, and on a branch `branch`."""

    handler_name = "examples.arithmetic.multiply"

    async def call(self, context: StepContext) -> dict[str, Any]:
        value = _number(context, "of")
        return arithmetic.multiply(value, context.get_config("factor"), branch=context.get_config("branch"))


class Divide(StepHandler):
    """Configuration: `of` (a step), `divisor`."""

    handler_name = "examples.arithmetic.divide"

    async def call(self, context: StepContext) -> dict[str, Any]:
        return arithmetic.divide(_number(context, "of"), context.get_config("divisor"))


class Average(StepHandler):
    """Configuration: `branch_b` and `branch_c` (steps)."""

    handler_name = "examples.arithmetic.average"

    async def call(self, context: StepContext) -> dict[str, Any]:
        return arithmetic.average(_number(context, "branch_b"), _number(context, "branch_c"))


def _number(context: StepContext, key: str) -> int:
    """The number that was left by the step which the configuration names under `key`."""
    step = context.get_config(key)
    return arithmetic.result_of(context.get_dependency_result(step), step)


HANDLERS = (SquaresStart, SquaresNext, Square, Add, Multiply, Divide, Average)
