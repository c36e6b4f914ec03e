"""Each template, run step by step through its own handlers, in both styles."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from tasker_host import StepContext, Succeeded
from tasker_host.errors import HandlerError
from tasker_host.handlers.bound import BoundHandler
from tasker_host.handlers.classify import failed

Run = Callable[..., Awaitable[dict[str, Succeeded]]]
FailureOf = Callable[[str, str, Mapping[str, Any]], Awaitable[dict[str, Any]]]

SIX_TO_THE_64 = 63340286662973277706162286946811886609896461828096

SQUARES_OF_6 = {
    "examples_linear{style}/mathematical_sequence": {
        "linear_step_1": 36,
        "linear_step_2": 1296,
        "linear_step_3": 1679616,
        "linear_step_4": 2821109907456,
    },
    "examples_diamond{style}/diamond_pattern": {
        "diamond_start": 36,
        "diamond_branch_b": 1296,
        "diamond_branch_c": 1296,
        "diamond_end": 2821109907456,
    },
    "examples_tree{style}/hierarchical_tree": {
        "tree_root": 36,
        "tree_branch_left": 1296,
        "tree_branch_right": 1296,
        "tree_leaf_d": 1679616,
        "tree_leaf_e": 1679616,
        "tree_leaf_f": 1679616,
        "tree_leaf_g": 1679616,
        "tree_final_convergence": SIX_TO_THE_64,
    },
    "examples_mixed_dag{style}/complex_dag": {
        "dag_init": 36,
        "dag_process_left": 1296,
        "dag_process_right": 1296,
        "dag_validate": 2821109907456,
        "dag_transform": 1679616,
        "dag_analyze": 1679616,
        "dag_finalize": SIX_TO_THE_64,
    },
}

both_styles = pytest.mark.parametrize("style", ["", "_dsl"], ids=["class", "function"])


@both_styles
@pytest.mark.parametrize("key", SQUARES_OF_6)
async def test_the_squares_of_six(run: Run, key: str, style: str) -> None:
    results = await run(key.format(style=style), {"even_number": 6})
    assert {step: result.value for step, result in results.items()} == SQUARES_OF_6[key]
    last = list(results.values())[-1]
    assert last.metadata["verification"] == {
        "original_number": 6,
        "expected_result": last.value,
        "actual_result": last.value,
        "matches": True,
    }


@both_styles
@pytest.mark.parametrize(
    ("key", "last", "zeros"),
    [
        ("examples_linear{style}/mathematical_sequence", "linear_step_4", 32),
        ("examples_diamond{style}/diamond_pattern", "diamond_end", 32),
        ("examples_tree{style}/hierarchical_tree", "tree_final_convergence", 128),
        ("examples_mixed_dag{style}/complex_dag", "dag_finalize", 128),
    ],
)
async def test_the_largest_number_allowed_is_exact(run: Run, key: str, style: str, last: str, zeros: int) -> None:
    results = await run(key.format(style=style), {"even_number": 100})
    assert str(results[last].value) == "1" + "0" * zeros
    assert results[last].metadata["verification"]["matches"] is True


@both_styles
async def test_steps_say_what_they_did(run: Run, style: str) -> None:
    results = await run(f"examples_mixed_dag{style}/complex_dag", {"even_number": 2})
    said = {step: (result.metadata["operation"], result.metadata["step_type"]) for step, result in results.items()}
    assert said == {
        "dag_init": ("square", "initial"),
        "dag_process_left": ("square", "branch"),
        "dag_process_right": ("square", "branch"),
        "dag_validate": ("multiply_and_square", "convergence"),
        "dag_transform": ("square", "intermediate"),
        "dag_analyze": ("square", "intermediate"),
        "dag_finalize": ("multiply_and_square", "convergence"),
    }


@both_styles
async def test_both_styles_say_the_same(run: Run, style: str) -> None:
    in_class_style = await run("examples_tree/hierarchical_tree", {"even_number": 8})
    assert await run(f"examples_tree{style}/hierarchical_tree", {"even_number": 8}) == in_class_style


@both_styles
async def test_the_arithmetic_chain_of_six(run: Run, style: str) -> None:
    results = await run(f"examples_linear{style}/mathematical_sequence_py", {"even_number": 6})
    assert {step: result.value for step, result in results.items()} == {
        "linear_step_1_py": {
            "result": 36,
            "operation": "square",
            "step_type": "initial",
            "input_refs": {"even_number": "task.context.even_number"},
        },
        "linear_step_2_py": {"result": 46, "operation": "add", "constant": 10, "input_value": 36},
        "linear_step_3_py": {"result": 138, "operation": "multiply", "factor": 3, "input_value": 46},
        "linear_step_4_py": {"result": 69.0, "operation": "divide", "divisor": 2, "input_value": 138},
    }


@both_styles
@pytest.mark.parametrize(("n", "branches", "mean"), [(4, (41, 32), 36.5), (6, (61, 72), 66.5), (10, (125, 200), 162.5)])
async def test_the_arithmetic_diamond(run: Run, style: str, n: int, branches: tuple[int, int], mean: float) -> None:
    b, c = branches
    results = await run(f"examples_diamond{style}/parallel_computation_py", {"even_number": n})
    branch_b, branch_c = results["diamond_branch_b_py"].value, results["diamond_branch_c_py"].value
    assert (branch_b["result"], branch_b["branch"]) == (b, "B")
    assert (branch_c["result"], branch_c["branch"]) == (c, "C")
    assert results["diamond_end_py"].value == {
        "result": mean,
        "operation": "average",
        "branch_b_value": b,
        "branch_c_value": c,
        "step_type": "convergence",
    }


@pytest.fixture
def failure_of(handlers: Mapping[str, BoundHandler], context_for: Callable[..., StepContext]) -> FailureOf:
    """How the host tells what a step, without any step before it, fails with."""

    async def failure(key: str, step: str, context: Mapping[str, Any]) -> dict[str, Any]:
        given = context_for(key, step, input=context)
        handler = handlers[given.handler_name]
        try:
            result = handler.call(given)
            if isinstance(result, Awaitable):
                await result
        except HandlerError as error:
            told = failed(error, handler, [])
            return {
                "error_type": told.error_type,
                "retryable": told.retryable,
                "message": told.message,
                "error_code": told.error_code,
            }
        pytest.fail(f"{handler.name} did not fail")

    return failure


FIRST_STEPS = [
    ("examples_linear{style}/mathematical_sequence", "linear_step_1"),
    ("examples_linear{style}/mathematical_sequence_py", "linear_step_1_py"),
    ("examples_diamond{style}/diamond_pattern", "diamond_start"),
    ("examples_diamond{style}/parallel_computation_py", "diamond_start_py"),
    ("examples_tree{style}/hierarchical_tree", "tree_root"),
    ("examples_mixed_dag{style}/complex_dag", "dag_init"),
]


@both_styles
@pytest.mark.parametrize(("key", "step"), FIRST_STEPS)
async def test_without_a_number_a_task_fails_for_good(failure_of: FailureOf, key: str, step: str, style: str) -> None:
    for context in ({}, {"even_number": None}):
        assert await failure_of(key.format(style=style), step, context) == {
            "error_type": "validation_error",
            "retryable": False,
            "message": "Task context must contain an even_number",
            "error_code": "MISSING_CONTEXT_FIELD",
        }


@both_styles
@pytest.mark.parametrize(("key", "step"), FIRST_STEPS)
async def test_an_odd_number_fails_for_good(failure_of: FailureOf, key: str, step: str, style: str) -> None:
    assert await failure_of(key.format(style=style), step, {"even_number": 7}) == {
        "error_type": "validation_error",
        "retryable": False,
        "message": "even_number must be an even integer, got: 7",
        "error_code": "VALIDATION_ERROR",
    }


@both_styles
@pytest.mark.parametrize(
    ("key", "step", "parent"),
    [
        ("examples_linear{style}/mathematical_sequence", "linear_step_2", "linear_step_1"),
        ("examples_linear{style}/mathematical_sequence", "linear_step_3", "linear_step_2"),
        ("examples_linear{style}/mathematical_sequence", "linear_step_4", "linear_step_3"),
        ("examples_linear{style}/mathematical_sequence_py", "linear_step_2_py", "linear_step_1_py"),
        ("examples_linear{style}/mathematical_sequence_py", "linear_step_3_py", "linear_step_2_py"),
        ("examples_linear{style}/mathematical_sequence_py", "linear_step_4_py", "linear_step_3_py"),
        ("examples_diamond{style}/diamond_pattern", "diamond_branch_b", "diamond_start"),
        ("examples_diamond{style}/diamond_pattern", "diamond_branch_c", "diamond_start"),
        ("examples_diamond{style}/diamond_pattern", "diamond_end", "diamond_branch_b"),
        ("examples_diamond{style}/parallel_computation_py", "diamond_branch_b_py", "diamond_start_py"),
        ("examples_diamond{style}/parallel_computation_py", "diamond_branch_c_py", "diamond_start_py"),
        ("examples_diamond{style}/parallel_computation_py", "diamond_end_py", "diamond_branch_b_py"),
        ("examples_tree{style}/hierarchical_tree", "tree_branch_left", "tree_root"),
        ("examples_tree{style}/hierarchical_tree", "tree_leaf_e", "tree_branch_left"),
        ("examples_tree{style}/hierarchical_tree", "tree_leaf_f", "tree_branch_right"),
        ("examples_tree{style}/hierarchical_tree", "tree_final_convergence", "tree_leaf_d"),
        ("examples_mixed_dag{style}/complex_dag", "dag_process_right", "dag_init"),
        ("examples_mixed_dag{style}/complex_dag", "dag_validate", "dag_process_left"),
        ("examples_mixed_dag{style}/complex_dag", "dag_analyze", "dag_process_right"),
        ("examples_mixed_dag{style}/complex_dag", "dag_finalize", "dag_validate"),
    ],
)
async def test_a_missing_result_may_come_yet(
    failure_of: FailureOf, key: str, step: str, parent: str, style: str
) -> None:
    assert await failure_of(key.format(style=style), step, {"even_number": 6}) == {
        "error_type": "dependency_error",
        "retryable": True,
        "message": f"Missing result from {parent}",
        "error_code": "MISSING_DEPENDENCY_RESULTS",
    }
