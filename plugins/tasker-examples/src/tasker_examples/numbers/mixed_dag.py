"""The mixed DAG in function style: paths of different length that meet at the end."""

from __future__ import annotations

from typing import Annotated

from tasker_host import From, Input, Succeeded, step_handler

from tasker_examples.numbers import arithmetic

Number = Annotated[object, Input("even_number")]
Init = Annotated[int | None, From("dag_init")]
Left = Annotated[int | None, From("dag_process_left")]
Right = Annotated[int | None, From("dag_process_right")]


@step_handler("examples.dsl.dag_init")
def dag_init(even_number: Number = None) -> Succeeded:
    return arithmetic.squares_start(even_number)


@step_handler("examples.dsl.dag_process_left")
def dag_process_left(init: Init = None) -> Succeeded:
    return arithmetic.squares_next({"dag_init": init}, "branch")


@step_handler("examples.dsl.dag_process_right")
def dag_process_right(init: Init = None) -> Succeeded:
    return arithmetic.squares_next({"dag_init": init}, "branch")


@step_handler("examples.dsl.dag_validate")
def dag_validate(left: Left = None, right: Right = None) -> Succeeded:
    return arithmetic.squares_next({"dag_process_left": left, "dag_process_right": right}, "convergence")


@step_handler("examples.dsl.dag_transform")
def dag_transform(left: Left = None) -> Succeeded:
    return arithmetic.squares_next({"dag_process_left": left}, "intermediate")


@step_handler("examples.dsl.dag_analyze")
def dag_analyze(right: Right = None) -> Succeeded:
    return arithmetic.squares_next({"dag_process_right": right}, "intermediate")


@step_handler("examples.dsl.dag_finalize")
def dag_finalize(
    validated: Annotated[int | None, From("dag_validate")] = None,
    transformed: Annotated[int | None, From("dag_transform")] = None,
    analyzed: Annotated[int | None, From("dag_analyze")] = None,
    even_number: Number = None,
) -> Succeeded:
    paths = {"dag_validate": validated, "dag_transform": transformed, "dag_analyze": analyzed}
    return arithmetic.squares_next(paths, "convergence", verify=(even_number, 64))


HANDLERS = (dag_init, dag_process_left, dag_process_right, dag_validate, dag_transform, dag_analyze, dag_finalize)
