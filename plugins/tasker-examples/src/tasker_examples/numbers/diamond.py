"""The diamonds in function style: two branches from one start, and one end that is given both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from tasker_host import From, Input, Succeeded, step_handler

from tasker_examples.numbers import arithmetic

Number = Annotated[object, Input("even_number")]
Start = Annotated[int | None, From("diamond_start")]
StartPy = Annotated[Mapping[str, Any] | None, From("diamond_start_py")]


@step_handler("examples.dsl.diamond_start")
def diamond_start(even_number: Number = None) -> Succeeded:
    return arithmetic.squares_start(even_number)


@step_handler("examples.dsl.diamond_branch_b")
def diamond_branch_b(start: Start = None) -> Succeeded:
    return arithmetic.squares_next({"diamond_start": start}, "branch")


@step_handler("examples.dsl.diamond_branch_c")
def diamond_branch_c(start: Start = None) -> Succeeded:
    return arithmetic.squares_next({"diamond_start": start}, "branch")


@step_handler("examples.dsl.diamond_end")
def diamond_end(
    b: Annotated[int | None, From("diamond_branch_b")] = None,
    c: Annotated[int | None, From("diamond_branch_c")] = None,
    even_number: Number = None,
) -> Succeeded:
    branches = {"diamond_branch_b": b, "diamond_branch_c": c}
    return arithmetic.squares_next(branches, "convergence", verify=(even_number, 16))


@step_handler("examples.dsl.diamond_start_py")
def diamond_start_py(even_number: Number = None) -> dict[str, Any]:
    return arithmetic.square(even_number)


@step_handler("examples.dsl.diamond_branch_b_py")
def diamond_branch_b_py(start: StartPy = None) -> dict[str, Any]:
    return arithmetic.add(arithmetic.result_of(start, "diamond_start_py"), 25, branch="B")


@step_handler("examples.dsl.diamond_branch_c_py")
def diamond_branch_c_py(start: StartPy = None) -> dict[str, Any]:
    return arithmetic.multiply(arithmetic.result_of(start, "diamond_start_py"), 2, branch="C")


@step_handler("examples.dsl.diamond_end_py")
def diamond_end_py(
    b: Annotated[Mapping[str, Any] | None, From("diamond_branch_b_py")] = None,
    c: Annotated[Mapping[str, Any] | None, From("diamond_branch_c_py")] = None,
) -> dict[str, Any]:
    return arithmetic.average(
        arithmetic.result_of(b, "diamond_branch_b_py"), arithmetic.result_of(c, "diamond_branch_c_py")
    )


HANDLERS = (
    diamond_start,
    diamond_branch_b,
    diamond_branch_c,
    diamond_end,
    diamond_start_py,
    diamond_branch_b_py,
    diamond_branch_c_py,
    diamond_end_py,
)
