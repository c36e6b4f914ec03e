"""JSON Schema: a quick yes is never another answer than the validator's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tasker_host.domain.schema import InvalidSchema, schema_check
from tasker_host.domain.schema_quick import quick_check

scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, -2.0]) | st.sampled_from("abc")
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
)
kinds = st.sampled_from(["object", "array", "string", "integer", "number", "boolean", "null"])


def parts(inner: Any) -> Any:
    return st.fixed_dictionaries(
        {},
        optional={
            "type": kinds | st.lists(kinds, min_size=1, max_size=3, unique=True),
            "required": st.lists(st.sampled_from("abc"), unique=True),
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
            "additionalProperties": st.booleans(),
            "items": inner,
            "enum": st.lists(scalars, min_size=1),
            "minimum": st.integers(-1, 1),
            "description": st.just("words"),
        },
    )


schemas = st.recursive(st.booleans() | st.just({}), parts, max_leaves=6)


@given(schemas, values)
def test_what_is_quickly_said_to_hold_does_hold(schema, value):
    quick = quick_check(schema)
    if quick is not None and quick(value):
        assert Draft202012Validator(schema).is_valid(value)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}, {"n": 1, "more": []}),
        ({"properties": {"tags": {"type": "array", "items": {"type": "string"}}}}, {"tags": ["a", "b"]}),
        ({"type": ["string", "null"]}, None),
        ({"enum": ["EUR", "USD"]}, "USD"),
        ({"type": "number"}, 2),
        ({"type": "object", "properties": {"a": True}, "additionalProperties": False}, {"a": {}}),
    ],
)
def test_plain_values_of_plain_schemas_are_said_to_hold_quickly(schema, value):
    quick = quick_check(schema)
    assert quick is not None
    assert quick(value)


@pytest.mark.parametrize(
    "schema",
    [{"$ref": "#"}, {"minimum": 1}, {"enum": [1]}, {"$schema": "http://json-schema.org/draft-07/schema#"}, False],
)
def test_anything_else_is_for_the_validator(schema):
    assert quick_check(schema) is None


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ({"type": "object", "required": ["n"]}, {}, ["value: 'n' is a required property"]),
        ({"type": "integer"}, True, ["value: True is not of type 'integer'"]),
        ({"type": "integer"}, 1.0, []),
        ({"properties": {"n": {"enum": ["a"]}}}, {"n": "b"}, ["value.n: 'b' is not one of ['a']"]),
    ],
)
def test_what_does_not_hold_is_told_by_the_validator(schema, value, expected):
    assert [str(problem) for problem in schema_check(schema, subject="value")(value)] == expected


FORMATS = {
    "date-time": ("2026-02-29T10:00:00Z", "2024-02-29T10:00:00.5+02:00"),
    "time": ("25:00:00Z", "23:00:00Z"),
    "duration": ("P1H", "P1Y2M3DT4H5M6S"),
    "date": ("2026-13-01", "2026-12-01"),
    "hostname": ("-a-", "db-1.example.com"),
    "uri": ("no uri", "https://example.com/a?b=c#d"),
    "uri-reference": ("a b", "../a"),
    "uri-template": ("{", "/orders/{id}"),
    "json-pointer": ("a", "/a/0"),
    "uuid": ("1", "019b7a5c-2f10-7d3e-9c41-0b6f2d8e5a17"),
    "ipv4": ("256.0.0.1", "10.0.0.1"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_checked(name):
    wrong, right = FORMATS[name]
    check = schema_check({"properties": {"x": {"format": name}}}, subject="context")
    assert [problem.where for problem in check({"x": wrong})] == ["context.x"]
    assert check({"x": right}) == check({"x": 7}) == []


@pytest.mark.parametrize("text", ["P1W", "PT1H30M", "P3D", "P1M1D", "PT5S"])
def test_what_is_a_duration(text):
    assert schema_check({"format": "duration"}, subject="x")(text) == []


@pytest.mark.parametrize("text", ["", "P", "PT", "P1", "P1WT1H", "PT1H1S", "P1Y1D", "-P1D", "P1.5D", "P1D\n", "1D"])
def test_what_is_no_duration(text):
    assert schema_check({"format": "duration"}, subject="x")(text) != []


DRAFT_7 = "http://json-schema.org/draft-07/schema#"


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"$schema": 5}, "5 is not text"),
        ({"properties": {"a": {"pattern": "["}}}, "'[' is not a 'regex'"),
        ({"$ref": "#/$defs/none"}, "$ref '#/$defs/none' leads to no schema within this one"),
        ({"$schema": DRAFT_7, "items": {"$ref": "#/definitions/none"}}, "$ref '#/definitions/none' leads to no schema"),
        ({"$ref": "https://example.com/order.json"}, "nothing else is looked up"),
        ({"$ref": "#/required/0", "required": ["a"]}, "$ref '#/required/0' leads to no schema"),
        ({"properties": {"a": {"$dynamicRef": "#tree"}}}, "$dynamicRef '#tree' leads to no schema"),
    ],
)
def test_what_is_no_schema_is_said_before_anything_is_checked_by_it(schema, problem):
    with pytest.raises(InvalidSchema) as raised:
        schema_check(schema, subject="payload")
    assert problem in str(raised.value)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}},
        {"$ref": "#n", "$defs": {"n": {"$anchor": "n", "type": "integer"}}},
        {"$id": "https://example.com/a", "$ref": "b", "$defs": {"n": {"$id": "b", "type": "integer"}}},
        {"$schema": DRAFT_7, "$ref": "#/definitions/n", "definitions": {"n": {"type": "integer"}}},
        {"type": "integer", "properties": {"$ref": {"type": "string"}}},
    ],
)
def test_references_within_a_schema_are_followed(schema):
    check = schema_check(schema, subject="payload")
    assert check(1) == []
    assert len(check("a")) == 1


@pytest.mark.parametrize(
    ("schema", "value"), [({"$ref": "#"}, 1), ({"multipleOf": 0.5}, 10**400)], ids=["endless", "overflow"]
)
def test_what_a_schema_cannot_decide_is_a_problem_and_no_error(schema, value):
    (problem,) = schema_check(schema, subject="payload")(value)
    assert str(problem).startswith("payload: cannot be checked by the schema: ")
