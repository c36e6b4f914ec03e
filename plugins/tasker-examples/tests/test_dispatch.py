"""Which method of a class a step calls, and how its class is found."""

from __future__ import annotations

from tasker_host.testing import run_task_async

from tasker_examples import plugin


async def test_each_step_calls_the_method_it_names() -> None:
    context = {"data": {"amount": 100.0}}
    ran = await run_task_async("examples_dispatch/method_dispatch", context, plugins=[plugin])
    assert ran.is_complete, ran
    values = ran.values
    assert [value["invoked_method"] for value in values.values()] == ["validate", "process", "refund", "call"]
    assert values["validate_step"]["validated"] is True
    assert values["process_step"] == {
        "invoked_method": "process",
        "original_amount": 100.0,
        "processed_amount": 110.0,
        "processing_fee": 10.0,
    }
    assert (values["refund_step"]["refund_amount"], values["refund_step"]["refund_reason"]) == (100.0, "not_specified")
    assert values["default_call_step"]["input_received"] == {"amount": 100.0}


async def test_an_amount_that_is_missing_fails_the_first_step_for_good() -> None:
    ran = await run_task_async("examples_dispatch/method_dispatch", {"data": {}}, plugins=[plugin])
    assert ran.states["validate_step"] == "error"
    assert ran.attempts["validate_step"] == 1
    assert ran.errors["validate_step"]["error_type"] == "validation_error"


async def test_a_class_is_found_by_name_by_its_path_or_by_either() -> None:
    ran = await run_task_async("examples_dispatch/resolver_hints", {"action_type": "ship"}, plugins=[plugin])
    assert ran.values == {
        "by_name": {"invoked_method": "execute_action", "action_type": "ship"},
        "by_class": {"invoked_method": "execute_action", "action_type": "ship"},
        "by_any": {"invoked_method": "call", "step": "by_any"},
    }
