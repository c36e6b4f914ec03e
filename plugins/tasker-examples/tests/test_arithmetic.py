"""The number templates compute what their tables say, in exact integers."""

from __future__ import annotations

import pytest
from tasker_host import PermanentError, RetryableError

from tasker_examples.numbers import arithmetic

SIX_TO_THE_64 = 63340286662973277706162286946811886609896461828096
HUNDRED_TO_THE_64 = 10**128


def test_the_first_square_comes_from_the_task() -> None:
    step = arithmetic.squares_start(6)
    assert step.value == 36
    assert step.metadata == {
        "operation": "square",
        "step_type": "initial",
        "input_refs": {"even_number": "task.context.even_number"},
    }


def test_a_chain_squares_on() -> None:
    second = arithmetic.squares_next({"linear_step_1": 36}, "intermediate")
    third = arithmetic.squares_next({"linear_step_2": 1296}, "intermediate")
    fourth = arithmetic.squares_next({"linear_step_3": 1679616}, "final", verify=(6, 16))
    assert [second.value, third.value, fourth.value] == [1296, 1679616, 2821109907456]
    assert second.metadata == {
        "operation": "square",
        "step_type": "intermediate",
        "input_refs": {"linear_step_1": "step.linear_step_1"},
    }
    assert fourth.metadata["verification"] == {
        "original_number": 6,
        "expected_result": 2821109907456,
        "actual_result": 2821109907456,
        "matches": True,
    }


def test_where_branches_meet_their_product_is_squared() -> None:
    end = arithmetic.squares_next({"diamond_branch_b": 1296, "diamond_branch_c": 1296}, "convergence", verify=(6, 16))
    assert end.value == 2821109907456
    assert end.metadata["operation"] == "multiply_and_square"
    assert end.metadata["verification"]["matches"] is True


@pytest.mark.parametrize(
    ("parents", "number", "expected"),
    [
        ({"d": 1679616, "e": 1679616, "f": 1679616, "g": 1679616}, 6, SIX_TO_THE_64),
        ({"validate": 2821109907456, "transform": 1679616, "analyze": 1679616}, 6, SIX_TO_THE_64),
        ({"validate": 10**32, "transform": 10**16, "analyze": 10**16}, 100, HUNDRED_TO_THE_64),
    ],
)
def test_no_digit_of_a_large_number_is_lost(parents: dict[str, int], number: int, expected: int) -> None:
    last = arithmetic.squares_next(parents, "convergence", verify=(number, 64))
    assert last.value == expected
    assert last.metadata["verification"] == {
        "original_number": number,
        "expected_result": expected,
        "actual_result": expected,
        "matches": True,
    }


def test_verification_says_when_the_number_is_another() -> None:
    last = arithmetic.squares_next({"linear_step_3": 1679617}, "final", verify=(6, 16))
    assert last.metadata["verification"] == {
        "original_number": 6,
        "expected_result": 2821109907456,
        "actual_result": 2821113266689,
        "matches": False,
    }


@pytest.mark.parametrize(
    ("n", "expected"), [(4, [16, 26, 78, 39.0]), (6, [36, 46, 138, 69.0]), (10, [100, 110, 330, 165.0])]
)
def test_the_arithmetic_chain(n: int, expected: list[float]) -> None:
    first = arithmetic.square(n)
    second = arithmetic.add(first["result"], 10)
    third = arithmetic.multiply(second["result"], 3)
    fourth = arithmetic.divide(third["result"], 2)
    assert [step["result"] for step in (first, second, third, fourth)] == expected
    assert isinstance(fourth["result"], float)


def test_what_each_arithmetic_step_says_of_itself() -> None:
    assert arithmetic.square(6) == {
        "result": 36,
        "operation": "square",
        "step_type": "initial",
        "input_refs": {"even_number": "task.context.even_number"},
    }
    assert arithmetic.add(36, 10) == {"result": 46, "operation": "add", "constant": 10, "input_value": 36}
    assert arithmetic.multiply(46, 3) == {"result": 138, "operation": "multiply", "factor": 3, "input_value": 46}
    assert arithmetic.divide(138, 2) == {"result": 69.0, "operation": "divide", "divisor": 2, "input_value": 138}


def test_the_arithmetic_diamond() -> None:
    b = arithmetic.add(36, 25, branch="B")
    c = arithmetic.multiply(36, 2, branch="C")
    assert b == {"result": 61, "operation": "add", "constant": 25, "input_value": 36, "branch": "B"}
    assert c == {"result": 72, "operation": "multiply", "factor": 2, "input_value": 36, "branch": "C"}
    assert arithmetic.average(61, 72) == {
        "result": 66.5,
        "operation": "average",
        "branch_b_value": 61,
        "branch_c_value": 72,
        "step_type": "convergence",
    }


@pytest.mark.parametrize("n", [2, 0, -4, 10**30])
def test_even_integers_are_taken_as_they_are(n: int) -> None:
    assert arithmetic.even(n) == n


def test_a_missing_number_fails_for_good() -> None:
    with pytest.raises(PermanentError, match=r"^Task context must contain an even_number$"):
        arithmetic.even(None)


@pytest.mark.parametrize(
    ("value", "shown"), [(7, "7"), (6.0, "6.0"), ("6", "'6'"), (True, "True"), ([6], r"\[6\]"), (float("nan"), "nan")]
)
def test_what_is_no_even_integer_fails_for_good(value: object, shown: str) -> None:
    with pytest.raises(PermanentError, match=rf"^even_number must be an even integer, got: {shown}$"):
        arithmetic.even(value)


def test_a_result_that_is_missing_is_waited_for() -> None:
    with pytest.raises(RetryableError, match=r"^Missing result from dag_transform$"):
        arithmetic.squares_next({"dag_validate": 16, "dag_transform": None}, "convergence")
