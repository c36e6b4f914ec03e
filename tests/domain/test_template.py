"""What a template is: addressed by its content, adapted to an environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tasker_host.domain.source import parse_template
from tasker_host.domain.template import (
    Backoff,
    Environment,
    EventDeclaration,
    HandlerDefinition,
    HandlerOverride,
    RetryPolicy,
    StepDefinition,
    StepOverride,
    TaskTemplate,
)

DATA = Path(__file__).parent / "data"


def template(**changes: Any) -> TaskTemplate:
    step = StepDefinition(
        name="charge",
        handler=HandlerDefinition(callable="payments.charge", initialization={"currency": "EUR", "strict": True}),
        timeout_seconds=30,
        retry=RetryPolicy(max_attempts=3, backoff_base_ms=1000),
    )
    other = StepDefinition(name="ship", handler=HandlerDefinition(callable="ship"), dependencies=("charge",))
    values = {"name": "order", "namespace_name": "shop", "version": "1.2.0", "steps": (step, other)}
    return TaskTemplate(**(values | changes))


def test_what_is_left_out_takes_its_default() -> None:
    step = StepDefinition(name="a", handler=HandlerDefinition(callable="x"))
    assert step.type == "standard"
    assert step.dependencies == ()
    assert step.timeout_seconds is None
    assert step.handler.method is None
    assert step.retry == RetryPolicy(
        retryable=True, max_attempts=3, backoff=None, backoff_base_ms=None, max_backoff_ms=None
    )
    whole = template()
    assert whole.identity_strategy == "strict"
    assert whole.on_failure == "block"
    assert whole.priority == 0
    assert whole.system_dependencies.primary == "default"


def test_names_for_people_and_for_look_up() -> None:
    assert template().key == "shop/order"
    assert template().label == "shop/order 1.2.0"
    assert template().step("ship").dependencies == ("charge",)
    with pytest.raises(KeyError):
        template().step("bill")


def test_steps_that_do_not_hold_together_make_no_template() -> None:
    step = StepDefinition(name="a", handler=HandlerDefinition(callable="x"), dependencies=("b",))
    with pytest.raises(ValidationError, match="step 'a': depends on unknown step 'b'"):
        template(steps=(step,))


def test_an_environment_changes_all_steps_and_then_the_named_ones() -> None:
    overrides = (
        StepOverride(name="charge", timeout_seconds=5, retry=RetryPolicy(max_attempts=7, backoff=Backoff.NONE)),
        StepOverride(name="ALL", timeout_seconds=9, handler=HandlerOverride(initialization={"strict": False, "t": 1})),
    )
    resolved = template(environments={"test": Environment(steps=overrides)}).for_environment("test")
    charge, ship = resolved.step("charge"), resolved.step("ship")
    assert charge.handler.initialization == {"currency": "EUR", "strict": False, "t": 1}
    assert charge.handler.callable == "payments.charge"
    assert charge.timeout_seconds == 5
    assert charge.retry == RetryPolicy(max_attempts=7, backoff=Backoff.NONE, backoff_base_ms=None)
    assert ship.handler.initialization == {"strict": False, "t": 1}
    assert ship.timeout_seconds == 9
    assert ship.retry == RetryPolicy()
    assert resolved.environments == {}


def test_an_override_without_a_value_changes_nothing() -> None:
    text = (DATA / "every_key.yaml").read_text(encoding="utf-8")
    whole, _ = parse_template(text, source="every_key.yaml")
    assert whole.for_environment("nothing_new").steps == whole.steps
    assert whole.for_environment("unheard_of").steps == whole.steps
    assert whole.for_environment("test").step("check_basket").timeout_seconds == 5


def test_steps_are_looked_up_in_the_changed_template_not_in_the_one_before() -> None:
    whole = template(environments={"test": Environment(steps=(StepOverride(name="ALL", timeout_seconds=1),))})
    assert whole.step("charge").timeout_seconds == 30
    assert whole.for_environment("test").step("charge").timeout_seconds == 1


def test_the_same_content_has_the_same_address_however_it_is_laid_out() -> None:
    one, _ = parse_template(
        "name: a\nnamespace_name: n\nversion: 1.0.0\nsteps:\n"
        "  - name: x\n    handler:\n      callable: f\n      initialization: {b: 1, a: [1.5, null]}\n",
        source="one.yaml",
    )
    other, _ = parse_template(
        "# a comment\n{version: '1.0.0', namespace_name: n, priority: 0, name: a, steps: [{type: standard, "
        'dependencies: [], handler: {initialization: {a: [1.5, null], "b": 1}, callable: f}, name: x}]}',
        source="other.yaml",
    )
    assert one.canonical() == other.canonical()
    assert one.canonical() == (
        '{"name":"a","namespace_name":"n","steps":[{"handler":{"callable":"f",'
        '"initialization":{"a":[1.5,null],"b":1}},"name":"x"}],"version":"1.0.0"}'
    )
    assert one.sha256() == other.sha256()
    assert one.sha256() == "4c11931d2eff4a1ecbe5fe499f4382a6a0e792d5bba5de8b67d2eb6a3cf4fd6d"


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "1.2.1"},
        {"description": "new"},
        {"priority": 1},
        {"steps": ()},
        {"input_schema": {"type": "object"}},
        {"environments": {"test": Environment()}},
    ],
)
def test_different_content_has_a_different_address(changes: dict[str, Any]) -> None:
    assert template(**changes).sha256() != template().sha256()


@pytest.mark.parametrize("name", ["order.placed", "a.b.c", "stock_1.low_2"])
def test_names_that_events_may_have(name: str) -> None:
    assert EventDeclaration(name=name).name == name


@pytest.mark.parametrize(
    "name", ["order", ".order", "order.", "order..placed", "Order.Placed", "order-placed.x", "", "a.b\n", "host.x"]
)
def test_names_that_events_may_not_have(name: str) -> None:
    with pytest.raises(ValidationError):
        EventDeclaration(name=name)


@pytest.mark.parametrize(
    ("lifecycle", "wrong"),
    [
        ({"max_duration_seconds": 1}, False),
        ({"max_duration_seconds": 2_592_000}, False),
        ({"max_duration_minutes": 1}, False),
        ({"max_duration_seconds": 0}, True),
        ({"max_duration_seconds": 1.5}, True),
        ({"max_duration_seconds": 2_592_001}, True),
        ({"max_duration_seconds": 60, "max_duration_minutes": 1}, True),
    ],
)
def test_the_longest_duration_is_given_once_in_whole_seconds_or_minutes(lifecycle, wrong):
    data = {"name": "t", "namespace_name": "n", "version": "1.0.0", "lifecycle": lifecycle}
    if wrong:
        with pytest.raises(ValidationError, match="max_duration"):
            TaskTemplate.model_validate(data)
    else:
        assert TaskTemplate.model_validate(data).lifecycle is not None
