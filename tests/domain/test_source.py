"""Templates are read whole: all that is wrong is told at once, each with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasker_host.domain.graph import initial_steps, steps_by_level
from tasker_host.domain.source import parse_template, template_from_data
from tasker_host.domain.template import TaskTemplate
from tasker_host.errors import TemplateError

DATA = Path(__file__).parent / "data"
TEMPLATES: dict[str, dict[str, Any]] = json.loads((DATA / "templates.json").read_text(encoding="utf-8"))

GOOD = {
    "name": "charge",
    "namespace_name": "payments",
    "version": "1.0.0",
    "steps": [{"name": "check", "handler": {"callable": "payments.check"}}],
}


def step(name: str, *dependencies: str, **rest: Any) -> dict[str, Any]:
    return {"name": name, "handler": {"callable": "x"}, "dependencies": list(dependencies), **rest}


def with_steps(*steps: Any, **rest: Any) -> dict[str, Any]:
    return GOOD | {"steps": list(steps)} | rest


def errors(data: Any) -> list[str]:
    with pytest.raises(TemplateError) as caught:
        template_from_data(data, source="here")
    return [str(problem) for problem in caught.value.problems]


def warnings(data: Any) -> list[str]:
    return [str(problem) for problem in template_from_data(data, source="here")[1]]


def test_every_documented_key_parses_without_a_warning() -> None:
    template, found = parse_template((DATA / "every_key.yaml").read_text(encoding="utf-8"), source="every_key.yaml")
    assert found == []
    assert template.label == "shop/fulfil_order 1.2.0"
    assert template.metadata is not None
    assert template.metadata.created_at == "2026-01-02"
    assert template.metadata.model_extra == {"notes": "kept as it is"}
    assert template.step("choose_way").type == "decision"
    assert template.step("choose_way").dependencies == ("check_basket",)
    assert template.step("check_basket").publishes_events[0].payload_schema == {"type": "object"}
    assert initial_steps(template) == ["check_basket", "choose_way", "plan_lines"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_of_the_system_before_ours_are_valid(name: str) -> None:
    template, _ = template_from_data(TEMPLATES[name], source=name)
    assert template.key == f"conformance/{name}"
    assert [step.name for step in template.steps] == [step["name"] for step in TEMPLATES[name]["steps"]]


@pytest.mark.parametrize(
    ("name", "initial", "levels"),
    [
        ("weave7", 7, [["seed"], ["wing_a", "wing_b"], ["check", "shape", "gauge"], ["seal"]]),
        ("tier_router", 2, [["intake"], ["pick_tier"], ["tier_self", "tier_lead", "tier_board"], ["wrap_up"]]),
        ("shard_sum", 1, [["plan_shards"], ["shard"], ["join_shards"]]),
        ("nested_router", 2, [["n_root"], ["n_first"], ["n_a"], ["n_second"], ["n_x", "n_y"]]),
    ],
)
def test_what_their_tasks_start_with(name: str, initial: int, levels: list[list[str]]) -> None:
    template, _ = template_from_data(TEMPLATES[name], source=name)
    assert initial_steps(template) == [step.name for step in template.steps][:initial]
    assert steps_by_level(template) == levels


def test_all_that_is_wrong_is_told_at_once_in_the_order_of_the_lines() -> None:
    text = """\
name: charge order
namespace_name: Payments
version: 1.0
input_schema: {type: objekt}
steps:
  - name: validate
    handler: {callable: x, initialisation: {a: 1}}
    dependencies: [ship]
    retry:
      backoff: fibonaci
      initial_delay: 4
  - name: ship
    depends_on: [validate]
  - name: bill
    handler: {callable: x}
    dependencies: [ship, bill, valdate]
    publishes_events: [{name: Order}]
    timeout: 3
  - name: bill
    handler: {callable: y}
    retry: {max_attempts: 500, backoff_base_ms: "100"}
environments:
  test: {steps: [{name: ALL, timeout_second: 5}]}
"""
    with pytest.raises(TemplateError) as caught:
        parse_template(text, source="charge.yaml")
    assert str(caught.value).splitlines() == [
        "template 'charge order' in charge.yaml is not valid",
        "  charge.yaml:1: name: must not contain spaces or '/' (got 'charge order')",
        "  charge.yaml:2: namespace_name: must be 1 to 29 of a-z, 0-9 and _, not starting with a digit;"
        " did you mean 'payments'? (got 'Payments')",
        "  charge.yaml:3: version: must be text; quote it (got 1.0)",
        "  charge.yaml:4: input_schema.type: not a JSON Schema: 'objekt' is not valid under any of the given schemas",
        "  charge.yaml:7: step 'validate': handler.initialisation: unknown key; did you mean 'initialization'?",
        "  charge.yaml:8: cycle validate → ship → validate",
        "  charge.yaml:10: step 'validate': retry.backoff: must be 'none', 'linear', 'exponential' or 'fibonacci'"
        " (got 'fibonaci'); did you mean 'fibonacci'?",
        "  charge.yaml:11: step 'validate': retry.initial_delay: unknown key;"
        " the key is 'backoff_base_ms', in milliseconds",
        "  charge.yaml:12: step 'ship': handler: is required",
        "  charge.yaml:16: step 'bill': depends on itself",
        "  charge.yaml:16: step 'bill': depends on unknown step 'valdate'; did you mean 'validate'?",
        "  charge.yaml:17: step 'bill': publishes_events[0].name: must be words of a-z, 0-9 and _ joined by dots,"
        " at least two, like 'order.placed' (got 'Order')",
        "  charge.yaml:18: step 'bill': timeout: unknown key; the key is 'timeout_seconds'",
        "  charge.yaml:19: step 'bill': a step of this name is already there",
        "  charge.yaml:21: step 'bill': retry.max_attempts: must be less than or equal to 100 (got 500)",
        "  charge.yaml:21: step 'bill': retry.backoff_base_ms: must be a whole number (got '100')",
        "  charge.yaml:23: environments.test.steps[0].timeout_second: unknown key; did you mean 'timeout_seconds'?",
    ]


@pytest.mark.parametrize("key", ["name", "namespace_name", "version"])
def test_a_template_needs_its_identity(key: str) -> None:
    assert errors({k: v for k, v in GOOD.items() if k != key}) == [f"here {key}: is required"]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ([], "here: a template is a mapping with name, namespace_name, version and steps"),
        (GOOD | {"steps": {"a": 1}}, "here steps: must be a list (got a mapping)"),
        (GOOD | {"steps": None, "loaded_from": 1}, "here loaded_from: unknown key; known here: name, namespace_name"),
        (GOOD | {"version": "1.0"}, "here version: must be three numbers, like 1.2.0 (got '1.0')"),
        (GOOD | {"version": "١.٢.٣"}, "here version: must be three numbers, like 1.2.0 (got '١.٢.٣')"),
        (GOOD | {"namespace_name": "a" * 30}, "here namespace_name: must be 1 to 29 of a-z, 0-9 and _"),
        (GOOD | {"priority": 101}, "here priority: must be less than or equal to 100 (got 101)"),
        (GOOD | {"composition": {1}}, "here composition: unknown key"),
        (GOOD | {"metadata": {"x": object()}}, "here: $.metadata.x: a value of type object has no JSON form"),
        (with_steps(7), "here steps[0]: must be a mapping (got 7)"),
        (with_steps(step("ALL")), "here steps[0].name: ALL is reserved: it means every step in environments"),
        (with_steps(step("a", timeout_seconds=0)), "here steps[0].timeout_seconds: must be greater than 0 (got 0)"),
        (with_steps(step("a", timeout_seconds="9")), "here steps[0].timeout_seconds: must be a number (got '9')"),
        (with_steps(step("a", optional="yes")), "here steps[0].optional: must be true or false (got 'yes')"),
        (with_steps(step("a", retry={"limit": 1, "max_attempts": 2})),
         "here steps[0].retry.limit: means the same as 'max_attempts', which is given too; keep one of them"),
        (with_steps(step("a", retry={"max_attempts": -1})),
         "here steps[0].retry.max_attempts: must be greater than or equal to 0 (got -1)"),
        (with_steps(step("a", retry={"max_backoff_ms": 3_600_001})),
         "here steps[0].retry.max_backoff_ms: must be less than or equal to 3600000 (got 3600001)"),
        (with_steps({"name": "a", "handler": {}}), "here steps[0].handler.callable: is required"),
        (with_steps({"name": "a", "handler": {"callable": ""}}),
         "here steps[0].handler.callable: must have at least 1 character (got '')"),
        (with_steps(step("a", "ghost")), "here steps[0].dependencies[0]: step 'a': depends on unknown step 'ghost'"),
        (with_steps(step("a", "b"), step("b", "a")), "here steps[0].dependencies[0]: cycle a → b → a"),
        (with_steps(step("a", type="decision")), "here steps[0]: step 'a': a decision needs at least one dependency"),
        (with_steps(step("a", publishes_events=[{"name": "host.done"}])),
         "here steps[0].publishes_events[0].name: names that start with 'host.' are the host's own"),
        (with_steps(step("a", publishes_events=[{"name": "a.b", "publisher": "1x"}])),
         "here steps[0].publishes_events[0].publisher: must be identifiers joined by dots"),
        (with_steps(step("a", publishes_events=[{"name": "a.b", "publisher": "x" * 256}])),
         "here steps[0].publishes_events[0].publisher: must have at most 255 characters"),
        (with_steps(step("a", result_schema={"required": "a"})),
         "here steps[0].result_schema.required: not a JSON Schema: 'a' is not of type 'array'"),
        (GOOD | {"environments": {"test": {"steps": [{"name": "check", "handler": {"callable": "y"}}]}}},
         "here environments.test.steps[0].handler.callable: unknown key; known here: initialization"),
    ],
)  # fmt: skip
def test_what_is_refused(data: Any, problem: str) -> None:
    (found,) = errors(data)
    assert found.startswith(problem)


@pytest.mark.parametrize("key", ["batch_size", "parallelism", "cursor_field", "worker_template", "failure_strategy"])
def test_a_batch_config_needs_all_its_keys(key: str) -> None:
    config = {"batch_size": 5, "parallelism": 3, "cursor_field": "row", "worker_template": "w"}
    config = {k: v for k, v in (config | {"failure_strategy": "isolate"}).items() if k != key}
    plan, work = step("p", type="batchable"), step("w", "p", type="batch_worker", batch_config=config)
    assert errors(with_steps(plan, work)) == [f"here steps[1].batch_config.{key}: is required"]


@pytest.mark.parametrize(
    ("data", "warning"),
    [
        (GOOD | {"steps": []}, "here steps: there are none: a task of this template is complete at once"),
        (GOOD | {"input_schema": {"type": "array"}}, "here input_schema.type: a task's context is always an object"),
        (with_steps(step("a", retry={"limit": 5})), "here steps[0].retry.limit: is read as 'max_attempts'; write that"),
        (with_steps(step("a", retry={"max_attempts": 0})),
         "here steps[0].retry.max_attempts: 0 is below the documented 1; 0 runs once, like 1"),
        (with_steps(step("a", retry={"backoff_base_ms": 50})),
         "here steps[0].retry.backoff_base_ms: 50 is below the documented 100"),
        (with_steps(step("a", retry={"max_backoff_ms": 200})),
         "here steps[0].retry.max_backoff_ms: 200 is below the documented 1000"),
        (with_steps(step("a", retry={"backoff_base_ms": 5_000, "max_backoff_ms": 1_000})),
         "here steps[0].retry.max_backoff_ms: 1000 is less than backoff_base_ms, so every wait is 1000 ms"),
        (with_steps(step("a"), step("b", "a", "a")), "here steps[1]: step 'b': names its dependency 'a' 2 times"),
        (with_steps(step("a", publishes_events=[{"name": "a.b"}, {"name": "a.b"}])),
         "here steps[0].publishes_events[1]: 'a.b' is declared twice in this step"),
        (GOOD | {"environments": {"test": {"steps": [{"name": "chek"}]}}},
         "here environments.test.steps[0].name: no step named 'chek'; did you mean 'check'?"),
        (with_steps(step("p", type="batchable", handler={"callable": "x", "initialization": {
            "worker_template_name": "work"}}), step("worker", "p", type="batch_worker")),
         "here steps[0].handler.initialization.worker_template_name: no batch_worker named 'work';"
         " did you mean 'worker'?"),
    ],
)  # fmt: skip
def test_what_is_doubtful_is_a_warning(data: Any, warning: str) -> None:
    assert warnings(data) == [warning]


def test_the_old_name_of_max_attempts_is_understood() -> None:
    template, _ = template_from_data(with_steps(step("a", retry={"limit": 5})), source="here")
    assert template.step("a").retry.max_attempts == 5


def test_a_key_without_a_value_counts_as_left_out() -> None:
    head = "name: a\nnamespace_name: b\nversion: 1.0.0\nmetadata:\n"
    text = head + "steps:\n  - name: x\n    handler: {callable: f}\n    retry:\n"
    template, found = parse_template(text + "    dependencies:\n", source="f.yaml")
    assert found == []
    assert template == parse_template(text, source="f.yaml")[0]


def test_a_template_survives_the_way_through_its_own_canonical_text() -> None:
    template, _ = parse_template((DATA / "every_key.yaml").read_text(encoding="utf-8"), source="every_key.yaml")
    again, _ = template_from_data(json.loads(template.canonical()), source="database")
    assert again == template
    assert again.sha256() == template.sha256()
    assert isinstance(again, TaskTemplate)
