"""Producer against consumer, and before against after: each case with the codes it earns."""

from __future__ import annotations

from typing import Any

import pytest

from tasker_host.domain.source import parse_template
from tasker_host.templates.compare import compare
from tasker_host.templates.diff import diff
from tasker_host.templates.schema_diff import changed_input, changed_result


def obj(required: str = "", closed: bool = False, **properties: Any) -> dict[str, Any]:
    more: dict[str, Any] = {"additionalProperties": False} if closed else {}
    return {"type": "object", "properties": properties, "required": required.split(), **more}


def of(kind: str) -> dict[str, Any]:
    return {"type": kind}


NODE = {"$ref": "#/$defs/Node", "$defs": {"Node": obj("next", next={"$ref": "#/$defs/Node"})}}


@pytest.mark.parametrize(
    ("producer", "consumer", "expected"),
    [
        (of("integer"), of("number"), []),
        (of("number"), of("integer"), [("TYPE_MISMATCH", "", True)]),
        ({}, of("integer"), []),
        (of("string"), {}, []),
        ({"type": ["string", "null"]}, of("string"), [("TYPE_MISMATCH", "", True)]),
        (of("string"), {"anyOf": [of("string"), of("null")]}, []),
        ({"enum": ["a", "b"]}, {"enum": ["a", "b", "c"]}, []),
        ({"enum": ["a", "z"]}, {"enum": ["a", "b"]}, [("TYPE_MISMATCH", "", True)]),
        ({"const": 1}, of("string"), [("TYPE_MISMATCH", "", True)]),
        (obj("a", a=of("string")), obj("a", a=of("string")), []),
        (
            obj("a", a=of("string")),
            obj("b", b={}),
            [("MISSING_REQUIRED_FIELD", "b", True), ("EXTRA_PRODUCER_FIELD", "a", False)],
        ),
        (obj("", a={}), obj("a", a={}), [("FIELD_NOT_ALWAYS_THERE", "a", False)]),
        (obj("a", a={}), obj("a", a={}, b={}), [("MISSING_OPTIONAL_FIELD", "b", False)]),
        (obj("a b", a={}, b={}), obj("a", closed=True, a={}), [("EXTRA_PRODUCER_FIELD", "b", True)]),
        (of("object"), obj("a", a={}), []),
        (
            obj("o", o=obj("x", x=of("string"))),
            obj("o", o=obj("x", x=of("integer"))),
            [("TYPE_MISMATCH", "o.x", True)],
        ),
        (
            obj("l", l={"type": "array", "items": of("string")}),
            obj("l", l={"type": "array", "items": of("integer")}),
            [("TYPE_MISMATCH", "l[]", True)],
        ),
        (NODE, NODE, []),
        (
            NODE,
            {"$ref": "#/$defs/N", "$defs": {"N": obj("other", other={})}},
            [("MISSING_REQUIRED_FIELD", "other", True), ("EXTRA_PRODUCER_FIELD", "next", False)],
        ),
        ({"allOf": [obj("a", a=of("string")), obj("b", b={})]}, obj("a b", a=of("string"), b={}), []),
        (obj("a", a={}), {"anyOf": [obj("z", z={}), obj("a", a={})]}, []),
    ],
)
def test_what_keeps_values_from_being_read(producer, consumer, expected):
    found = compare(producer, consumer)
    assert [(one.code, one.path, one.breaking) for one in found.differences] == expected
    breaking = any(one[2] for one in expected)
    harmless = all(one[0] in ("EXTRA_PRODUCER_FIELD", "MISSING_OPTIONAL_FIELD") for one in expected)
    assert found.compatibility == (
        "incompatible" if breaking else "compatible" if harmless else "compatible_with_warnings"
    )


@pytest.mark.parametrize(
    ("before", "after", "of_input", "of_result"),
    [
        (None, obj("a", a={}), [("SCHEMA_ADDED", True)], [("SCHEMA_ADDED", False)]),
        (obj("a", a={}), None, [("SCHEMA_REMOVED", False)], [("SCHEMA_REMOVED", True)]),
        (obj("", a={}), obj("", a={}, b={}), [("FIELD_ADDED", False)], [("FIELD_ADDED", False)]),
        (obj("", a={}), obj("b", a={}, b={}), [("FIELD_ADDED", True)], [("FIELD_ADDED", True)]),
        (obj("a", a={}, b={}), obj("a", a={}), [("FIELD_REMOVED", False)], [("FIELD_REMOVED", False)]),
        (obj("a b", a={}, b={}), obj("a", a={}), [("FIELD_REMOVED", False)], [("FIELD_REMOVED", True)]),
        (obj("a", a={}), obj("", a={}), [("REQUIRED_TO_OPTIONAL", False)], [("REQUIRED_TO_OPTIONAL", True)]),
        (obj("", a={}), obj("a", a={}), [("OPTIONAL_TO_REQUIRED", True)], [("OPTIONAL_TO_REQUIRED", True)]),
        (of("integer"), of("number"), [("TYPE_CHANGED", False)], [("TYPE_CHANGED", True)]),
        (of("number"), of("integer"), [("TYPE_CHANGED", True)], [("TYPE_CHANGED", True)]),
        ({"enum": ["a"]}, {"enum": ["a", "b"]}, [("VALUES_CHANGED", False)], [("VALUES_CHANGED", True)]),
        ({"enum": ["a", "b"]}, {"enum": ["a"]}, [("VALUES_CHANGED", True)], [("VALUES_CHANGED", False)]),
        (obj("", a={}), obj("", closed=True, a={}), [("FIELDS_CLOSED", True)], [("FIELDS_CLOSED", True)]),
        (NODE, NODE, [], []),
    ],
)
def test_what_a_change_of_a_schema_means_to_callers_and_to_readers(before, after, of_input, of_result):
    assert [(one.code, one.breaking) for one in changed_input(before, after)] == of_input
    assert [(one.code, one.breaking) for one in changed_result(before, after)] == of_result


BEFORE = """
name: charge
namespace_name: payments
version: 1.0.0
input_schema: {type: object, required: [id], properties: {id: {type: string}}}
steps:
  - name: price
    handler: {callable: price}
    result_schema: {type: object, required: [total], properties: {total: {type: integer}}}
  - {name: check, handler: {callable: check, initialization: {limit: 5}}, dependencies: [price], timeout_seconds: 5}
  - name: pay
    handler: {callable: pay}
    dependencies: [price, check]
    publishes_events: [{name: pay.done, condition: success}]
  - {name: mail, handler: {callable: mail}, dependencies: [pay]}
"""

CHANGES = [
    ("version: 1.0.0", "version: 1.1.0", [("VERSION_CHANGED", "", False)]),
    ("name: charge\n", "name: bill\n", [("NAME_CHANGED", "", True)]),
    ("version: 1.0.0", "version: 1.0.0\nidentity_strategy: caller_provided", [("IDENTITY_STRATEGY_CHANGED", "", True)]),
    ("version: 1.0.0", "version: 1.0.0\non_failure: fail", [("ON_FAILURE_CHANGED", "", False)]),
    ("version: 1.0.0", "version: 1.0.0\nlifecycle: {max_duration_minutes: 5}", [("LIFECYCLE_CHANGED", "", False)]),
    ("version: 1.0.0", "version: 1.0.0\ndescription: x", [("DESCRIPTION_CHANGED", "", False)]),
    ("[id]", "[]", [("REQUIRED_TO_OPTIONAL", "", False)]),
    ("total: {type: integer}", "total: {type: string}", [("TYPE_CHANGED", "price", True)]),
    ("callable: check,", "callable: verify,", [("HANDLER_CHANGED", "check", False)]),
    ("limit: 5", "limit: 6", [("INITIALIZATION_CHANGED", "check", False)]),
    ("timeout_seconds: 5", "timeout_seconds: 6", [("TIMEOUT_SECONDS_CHANGED", "check", False)]),
    (
        "timeout_seconds: 5",
        "retry: {max_attempts: 9}",
        [("RETRY_CHANGED", "check", False), ("TIMEOUT_SECONDS_CHANGED", "check", False)],
    ),
    ("[price, check]", "[check]", [("DEPENDENCY_REMOVED", "pay", False)]),
    (
        "[price, check]",
        "[price]",
        [("DEPENDENCY_REMOVED", "pay", False), ("VALUE_LOST", "pay", True), ("VALUE_LOST", "mail", True)],
    ),
    ("dependencies: [pay]", "dependencies: [pay, check]", [("DEPENDENCY_ADDED", "mail", False)]),
    ("condition: success", "condition: always", [("EVENT_CHANGED", "pay", True)]),
    ("pay.done,", "pay.finished,", [("EVENT_REMOVED", "pay", True), ("EVENT_ADDED", "pay", False)]),
    ("  - {name: mail, handler: {callable: mail}, dependencies: [pay]}\n", "", [("STEP_REMOVED", "mail", True)]),
    ("name: mail,", "name: post,", [("STEP_REMOVED", "mail", True), ("STEP_ADDED", "post", False)]),
    ("callable: mail}, dep", "callable: mail}, type: deferred_convergence, dep", [("STEP_TYPE_CHANGED", "mail", True)]),
]


@pytest.mark.parametrize(("old", "new", "expected"), CHANGES)
def test_every_change_is_told_once_with_what_it_breaks(old, new, expected):
    assert BEFORE.count(old) == 1
    before, _ = parse_template(BEFORE, source="before")
    after, _ = parse_template(BEFORE.replace(old, new), source="after")
    found = diff(before, after)
    assert [(one.code, one.step, one.breaking) for one in found.changes] == expected
    assert found.is_breaking == any(breaking for *_, breaking in expected)


def said(old: str, new: str) -> tuple[list[str], list[str]]:
    before, _ = parse_template(BEFORE, source="before")
    after, _ = parse_template(BEFORE.replace(old, new), source="after")
    found = diff(before, after)
    return found.running_tasks(), found.new_tasks()


def test_what_it_means_for_running_and_for_new_tasks():
    assert said("steps:", "steps:") == (["nothing changes"], ["nothing changes"])
    running, new = said("callable: check,", "callable: verify,")
    assert running == [
        "they keep the content they were made from, to their end",
        "until then workers still need the handlers check",
    ]
    assert new == [
        "all are made from the new content: both are version 1.0.0; raise it to tell them apart",
        "workers need the handlers verify",
    ]
    _, new = said("version: 1.0.0", "version: 1.10.0")
    assert new == [
        "those that name no version are of 1.10.0; 1.0.0 can still be asked for",
        "what was submitted before can be submitted again: the version is part of the identity",
    ]
    _, new = said("version: 1.0.0", "version: 0.9.0")
    assert new[0] == "only those that name 0.9.0 are of it: 1.0.0 is higher"
    _, new = said("namespace_name: payments", "namespace_name: billing")
    assert new[:2] == [
        "they are submitted as billing/charge; payments/charge stays what it is",
        "they go to the queue of namespace billing; workers must serve it",
    ]
