"""Values survive the way through JSON text exactly, or are refused by path."""

from __future__ import annotations

import dataclasses
import json as stdlib_json
from collections import UserDict, deque
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, field_serializer

from tasker_host.domain import json
from tasker_host.errors import JsonError

SIX_TO_THE_64 = 63340286662973277706162286946811886609896461828096


class Colour(Enum):
    RED = "red"


class Word(StrEnum):
    YES = "yes"


class Receipt(BaseModel):
    amount: float
    note: str | None = None


@dataclasses.dataclass
class Point:
    x: float
    _hidden: int = 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (36, "36"),
        (69.0, "69.0"),
        (-0.0, "-0.0"),
        (0.1 + 0.2, "0.30000000000000004"),
        (SIX_TO_THE_64, "63340286662973277706162286946811886609896461828096"),
        ([2**64, -(2**63) - 1], "[18446744073709551616,-9223372036854775809]"),
        ("Zoë\n\x00", '"Zoë\\n\\u0000"'),
        ({"b": 1, "a": [None, {}]}, '{"b":1,"a":[null,{}]}'),
        ((1, 2), "[1,2]"),
        ({"c", "a", "b"}, '["a","b","c"]'),
        (frozenset({1}), "[1]"),
        (deque([1, 2]), "[1,2]"),
        (MappingProxyType({"a": 1}), '{"a":1}'),
        (UserDict({"a": 1}), '{"a":1}'),
        (Colour.RED, '"red"'),
        ({Word.YES: Word.YES, "n": None}, '{"yes":"yes","n":null}'),
        (UUID("0192f0c1-2345-7abc-8def-0123456789ab"), '"0192f0c1-2345-7abc-8def-0123456789ab"'),
        (datetime(2026, 11, 20, 8, 30, tzinfo=UTC), '"2026-11-20T08:30:00+00:00"'),
        (datetime(2026, 11, 20, 8, 30), '"2026-11-20T08:30:00"'),
        ([date(2026, 11, 20), time(8, 30)], '["2026-11-20","08:30:00"]'),
        (Decimal("12.50"), '"12.50"'),
        (Receipt(amount=12.5), '{"amount":12.5,"note":null}'),
        (Point(1.5), '{"x":1.5,"_hidden":1}'),
        ({"receipts": [Receipt(amount=2), Point(1)], "big": 2**70},
         '{"receipts":[{"amount":2.0,"note":null},{"x":1,"_hidden":1}],"big":1180591620717411303424}'),
        ({"word": "NaN", "note": None}, '{"word":"NaN","note":null}'),
        (Receipt(amount=1, note="Infinity"), '{"amount":1.0,"note":"Infinity"}'),
    ],
)  # fmt: skip
def test_what_a_value_looks_like_as_text(value: Any, text: str) -> None:
    assert json.dumps(value) == text


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, 2, 3, float("nan")]}, "$.a[3]: nan has no JSON form"),
        ([None, float("-inf")], "$[1]: -inf has no JSON form"),
        ({"r": Receipt(amount=float("inf"))}, "$.r.amount: inf has no JSON form"),
        ({"p": [Point(float("nan"))]}, "$.p[0].x: nan has no JSON form"),
        ({"total": Decimal("NaN")}, "$.total: NaN has no JSON form"),
        ({"two words": "a\ud800"}, '$["two words"]: a lone surrogate (U+D800 at character 1)'),
        ({"\udfff": 1}, "$: a lone surrogate (U+DFFF at character 0)"),
        ({"a": {1: "x"}}, "$.a: the key 1 is int; keys of JSON objects are strings"),
        ({"f": b"abc"}, "$.f: a value of type bytes has no JSON form; decode it"),
        ([object()], "$[0]: a value of type object has no JSON form; convert it first"),
        ({"n": 10**4300}, "$.n: an integer of more than 4,300 digits"),
        ([Receipt], "$[0]: a value of type ModelMetaclass has no JSON form"),
    ],
)
def test_what_json_cannot_say_is_refused_with_its_path(value: Any, message: str) -> None:
    with pytest.raises(JsonError) as caught:
        json.dumps(value)
    assert str(caught.value).startswith(message)


def test_a_model_whose_serializer_raises_is_refused_with_its_path() -> None:
    class Broken(BaseModel):
        a: int = 1

        @field_serializer("a")
        def _a(self, value: int) -> int:
            raise KeyError("gone")

    with pytest.raises(JsonError, match=r"\$\.b: .*Broken could not be serialized: .*gone"):
        json.dumps({"b": Broken()})


def test_a_value_that_holds_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append({"again": circle})
    with pytest.raises(JsonError, match="part of itself"):
        json.dumps(circle)


def test_everything_that_can_be_written_can_be_read_back_down_to_the_last_level() -> None:
    value: list[Any] = []
    for _ in range(json.MAX_DEPTH - 1):
        value = [value]
    assert json.loads(json.dumps(value)) == value
    with pytest.raises(JsonError, match="nested more than 254 levels"):
        json.dumps([value])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON: EOF while parsing a value at line 1 column 0"),
        ("NaN", "not JSON: expected value at line 1 column 1"),
        ("[1,\n -Infinity]", "not JSON: .*line 2"),
        ("[1,]", "not JSON: trailing comma at line 1 column 4"),
        ('"\\ud800"', "not JSON: .* at line 1"),
        (b'"\xff"', "not JSON: invalid unicode code point at line 1 column 2"),
        ("{} x", "not JSON: trailing characters at line 1 column 4"),
        ("1" * 4301, "not JSON: number out of range"),
        ("[" * 100_000, "nested more than 254 levels deep|not JSON"),
        ("[" * 230 + "NaN" + "]" * 230, "not JSON: NaN"),
    ],
)
def test_text_that_is_not_json_is_refused_with_its_place(text: str | bytes, message: str) -> None:
    with pytest.raises(JsonError, match=message):
        json.loads(text)


def test_canonical_text_does_not_depend_on_the_order_of_keys() -> None:
    one = {"b": {"y": 1, "x": SIX_TO_THE_64}, "a": [2, 1], "é": None}
    other = {"é": None, "a": [2, 1], "b": {"x": SIX_TO_THE_64, "y": 1}}
    assert json.canonical_json(one) == json.canonical_json(other)
    assert json.canonical_json({"b": 1.0, "a": [1, "é"]}) == '{"a":[1,"é"],"b":1.0}'


@pytest.mark.parametrize("value", [{"a": float("nan")}, {"a": "\ud800"}, {1: 2}, {"a": object()}])
def test_canonical_text_refuses_what_json_cannot_say(value: Any) -> None:
    with pytest.raises(JsonError, match=r"^\$"):
        json.canonical_json(value)


def test_values_read_from_json_are_plain_and_others_are_not() -> None:
    assert json.is_plain({"a": [1, 2.5, "x", True, None, {}]})
    for other in ((1,), {1: 2}, {"a": {"b": Word.YES}}, [Decimal(1)], [{"a": (1,)}]):
        assert not json.is_plain(other)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(ANY_JSON)
def test_any_json_value_comes_back_as_it_was(value: Any) -> None:
    text = json.dumps(value)
    assert repr(json.loads(text)) == repr(value)
    assert repr(stdlib_json.loads(text)) == repr(value)


@given(ANY_JSON, ANY_JSON)
def test_canonical_texts_are_equal_only_for_equal_values(one: Any, other: Any) -> None:
    same = json.dumps(json.loads(json.canonical_json(one))) == json.dumps(json.loads(json.canonical_json(other)))
    assert (json.canonical_json(one) == json.canonical_json(other)) == same
