"""The chains in function style: what a step is given stands in its signature."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from tasker_host import From, Input, Succeeded, step_handler

from tasker_examples.numbers import arithmetic

# Everything defaults to None, so that `arithmetic` can tell in its own words what is missing.
Number = Annotated[object, Input("even_number")]
Figure = Mapping[str, Any] | None


@step_handler("examples.dsl.linear_step_1")
def linear_step_1(even_number: Number = None) -> Succeeded:
    return arithmetic.squares_start(even_number)


@step_handler("examples.dsl.linear_step_2")
def linear_step_2(square: Annotated[int | None, From("linear_step_1")] = None) -> Succeeded:
    return arithmetic.squares_next({"linear_step_1": square}, "intermediate")


@step_handler("examples.dsl.linear_step_3")
def linear_step_3(square: Annotated[int | None, From("linear_step_2")] = None) -> Succeeded:
    return arithmetic.squares_next({"linear_step_2": square}, "intermediate")


@step_handler("examples.dsl.linear_step_4")
def linear_step_4(square: Annotated[int | None, From("linear_step_3")] = None, even_number: Number = None) -> Succeeded:
    return arithmetic.squares_next({"linear_step_3": square}, "final", verify=(even_number, 16))


@step_handler("examples.dsl.linear_step_1_py")
def linear_step_1_py(even_number: Number = None) -> dict[str, Any]:
    return arithmetic.square(even_number)


@step_handler("examples.dsl.linear_step_2_py")
def linear_step_2_py(squared: Annotated[Figure, From("linear_step_1_py")] = None) -> dict[str, Any]:
    return arithmetic.add(arithmetic.result_of(squared, "linear_step_1_py"), 10)


@step_handler("examples.dsl.linear_step_3_py")
def linear_step_3_py(total: Annotated[Figure, From("linear_step_2_py")] = None) -> dict[str, Any]:
    return arithmetic.multiply(arithmetic.result_of(total, "linear_step_2_py"), 3)


@step_handler("examples.dsl.linear_step_4_py")
def linear_step_4_py(product: Annotated[Figure, From("linear_step_3_py")] = None) -> dict[str, Any]:
    return arithmetic.divide(arithmetic.result_of(product, "linear_step_3_py"), 2)


HANDLERS = (
    linear_step_1,
    linear_step_2,
    linear_step_3,
    linear_step_4,
    linear_step_1_py,
    linear_step_2_py,
    linear_step_3_py,
    linear_step_4_py,
)
