"""The templates hold together and fit the handlers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest
from tasker_host import TaskTemplate
from tasker_host.handlers.bound import BoundHandler

Templates = Mapping[str, TaskTemplate]

GRAPHS: dict[str, dict[str, list[str]]] = {
    "examples_linear/mathematical_sequence": {
        "linear_step_1": [],
        "linear_step_2": ["linear_step_1"],
        "linear_step_3": ["linear_step_2"],
        "linear_step_4": ["linear_step_3"],
    },
    "examples_linear/mathematical_sequence_py": {
        "linear_step_1_py": [],
        "linear_step_2_py": ["linear_step_1_py"],
        "linear_step_3_py": ["linear_step_2_py"],
        "linear_step_4_py": ["linear_step_3_py"],
    },
    "examples_diamond/diamond_pattern": {
        "diamond_start": [],
        "diamond_branch_b": ["diamond_start"],
        "diamond_branch_c": ["diamond_start"],
        "diamond_end": ["diamond_branch_b", "diamond_branch_c"],
    },
    "examples_diamond/parallel_computation_py": {
        "diamond_start_py": [],
        "diamond_branch_b_py": ["diamond_start_py"],
        "diamond_branch_c_py": ["diamond_start_py"],
        "diamond_end_py": ["diamond_branch_b_py", "diamond_branch_c_py"],
    },
    "examples_tree/hierarchical_tree": {
        "tree_root": [],
        "tree_branch_left": ["tree_root"],
        "tree_branch_right": ["tree_root"],
        "tree_leaf_d": ["tree_branch_left"],
        "tree_leaf_e": ["tree_branch_left"],
        "tree_leaf_f": ["tree_branch_right"],
        "tree_leaf_g": ["tree_branch_right"],
        "tree_final_convergence": ["tree_leaf_d", "tree_leaf_e", "tree_leaf_f", "tree_leaf_g"],
    },
    "examples_mixed_dag/complex_dag": {
        "dag_init": [],
        "dag_process_left": ["dag_init"],
        "dag_process_right": ["dag_init"],
        "dag_validate": ["dag_process_left", "dag_process_right"],
        "dag_transform": ["dag_process_left"],
        "dag_analyze": ["dag_process_right"],
        "dag_finalize": ["dag_validate", "dag_transform", "dag_analyze"],
    },
    "examples_orders/business_workflow": {
        "validate_order": [],
        "reserve_inventory": ["validate_order"],
        "process_payment": ["validate_order", "reserve_inventory"],
        "ship_order": ["validate_order", "reserve_inventory", "process_payment"],
    },
}
NUMBERS = [key for key in GRAPHS if "orders" not in key]


def in_function_style(key: str) -> str:
    namespace, name = key.split("/")
    return f"{namespace}_dsl/{name}"


def test_there_is_one_template_for_each_shape_and_style(templates: Templates) -> None:
    assert set(templates) >= {*GRAPHS, *map(in_function_style, GRAPHS)}
    assert {key for key in templates if key.split("/")[0].endswith("_dsl")} == set(map(in_function_style, GRAPHS))


@pytest.mark.parametrize("key", GRAPHS)
def test_the_steps_of_each_shape(templates: Templates, key: str) -> None:
    assert {step.name: list(step.dependencies) for step in templates[key].steps} == GRAPHS[key]


@pytest.mark.parametrize("key", GRAPHS)
def test_the_styles_differ_in_their_handlers_only(templates: Templates, key: str) -> None:
    def without_style(template: TaskTemplate) -> Any:
        data = json.loads(template.canonical())
        for step in data["steps"]:
            del step["handler"]
        return {name: value for name, value in data.items() if name not in ("namespace_name", "metadata")}

    assert without_style(templates[in_function_style(key)]) == without_style(templates[key])


def test_templates_use_every_handler_and_no_other(templates: Templates, handlers: Mapping[str, BoundHandler]) -> None:
    paths = {handler.path: handler.name for handler in handlers.values()}
    named = {step.handler.callable for template in templates.values() for step in template.steps}
    assert {paths.get(name, name) for name in named} == set(handlers)


@pytest.mark.parametrize("key", GRAPHS)
def test_functions_are_given_what_their_steps_depend_on(
    templates: Templates, handlers: Mapping[str, BoundHandler], key: str
) -> None:
    for step in templates[in_function_style(key)].steps:
        handler = handlers[step.handler.callable]
        asked = [given.key for given in handler.injected if given.source == "step"]
        assert asked == list(step.dependencies)


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize(
    ("context", "valid"),
    [
        ({"even_number": 2}, True),
        ({"even_number": 100}, True),
        ({"even_number": 7}, True),  # odd numbers are refused by the first step, for good
        ({"even_number": 6, "_test_run_id": "x"}, True),
        ({"even_number": 0}, False),
        ({"even_number": 102}, False),
        ({"even_number": "6"}, False),
        ({"even_number": None}, False),
        ({}, False),
    ],
)
def test_which_numbers_can_be_submitted(templates: Templates, key: str, context: Any, valid: bool) -> None:
    schema = templates[key].input_schema
    assert schema is not None
    assert jsonschema.Draft202012Validator(schema).is_valid(context) is valid


@pytest.mark.parametrize("key", NUMBERS)
def test_patience_with_number_steps(templates: Templates, key: str) -> None:
    *steps, last = templates[key].steps
    assert {step.timeout_seconds for step in steps} == {30}
    assert last.timeout_seconds == 45
    for step in (*steps, last):
        assert step.retry.model_dump(mode="json") == {
            "retryable": True,
            "max_attempts": 3,
            "backoff": "exponential",
            "backoff_base_ms": 1000,
            "max_backoff_ms": 30000,
        }


def test_patience_with_orders(templates: Templates) -> None:
    steps = templates["examples_orders/business_workflow"].steps
    assert {
        step.name: (step.retry.max_attempts, step.retry.backoff_base_ms, step.timeout_seconds) for step in steps
    } == {
        "validate_order": (3, 1000, 45),
        "reserve_inventory": (3, 1000, 60),
        "process_payment": (2, 2000, 90),
        "ship_order": (3, 1000, 60),
    }


def test_on_a_developer_s_machine_orders_are_tried_again_sooner(templates: Templates) -> None:
    steps = templates["examples_orders/business_workflow"].for_environment("development").steps
    assert {step.name: (step.retry.max_attempts, step.retry.backoff_base_ms) for step in steps} == {
        "validate_order": (3, 1000),
        "reserve_inventory": (3, 200),
        "process_payment": (2, 200),
        "ship_order": (3, 1000),
    }


@pytest.mark.parametrize("key", GRAPHS)
def test_tests_are_impatient(templates: Templates, key: str) -> None:
    for step in templates[key].for_environment("test").steps:
        assert (step.timeout_seconds, step.retry.max_attempts, step.retry.backoff_base_ms) == (10, 2, 100)
