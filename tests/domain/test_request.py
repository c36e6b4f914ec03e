"""What may be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tasker_host.domain.request import TaskRequest, check_context, request_from_data
from tasker_host.errors import InvalidRequest

MIB = 1024 * 1024


def problems(context: Any, max_bytes: int = MIB, max_depth: int = 64) -> list[str]:
    return [str(problem) for problem in check_context(context, max_bytes=max_bytes, max_depth=max_depth)]


def refusals(**data: Any) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        request_from_data({"name": "order"} | data)
    return [str(problem) for problem in caught.value.problems]


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def test_what_is_left_out_takes_its_default() -> None:
    request = request_from_data({"name": "order"})
    assert request == TaskRequest(
        name="order", namespace="default", version=None, context={}, initiator="system", source_system="tasker-host"
    )
    assert request.reason == "Task requested"
    assert request.tags == []
    assert request.priority is None


def test_everything_can_be_given() -> None:
    request = request_from_data(
        {
            "name": "order",
            "namespace": "shop",
            "version": "1.2.0",
            "context": {"order_id": 7},
            "initiator": "cron",
            "source_system": "web",
            "reason": "nightly",
            "tags": ["eu"],
            "priority": -100,
            "correlation_id": "0192f0c1-2345-7abc-8def-0123456789ab",
            "parent_correlation_id": None,
            "idempotency_key": "day-7",
            "start_at": "2026-11-20T08:30:00Z",
        }
    )
    assert request.correlation_id == UUID("0192f0c1-2345-7abc-8def-0123456789ab")
    assert request.start_at == datetime(2026, 11, 20, 8, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"name": ""}, "name: must have at least 1 character (got '')"),
        ({"name": "a" * 256}, "name: must have at most 255 characters"),
        ({"reason": "a\x00b"}, "reason: must not contain the character U+0000"),
        ({"initiator": 7}, "initiator: must be text; quote it (got 7)"),
        ({"context": [1]}, "context: must be an object (got a list)"),
        ({"context": "x"}, "context: must be an object (got 'x')"),
        ({"priority": 101}, "priority: must be less than or equal to 100 (got 101)"),
        ({"priority": "high"}, "priority: must be a whole number (got 'high')"),
        ({"tags": "eu"}, "tags: must be a list (got 'eu')"),
        ({"tags": ["eu", ""]}, "tags[1]: must have at least 1 character (got '')"),
        ({"correlation_id": "x"}, "correlation_id: must be a valid UUID"),
        ({"start_at": "2026-11-20T08:30:00"}, "start_at: must have timezone info (got '2026-11-20T08:30:00')"),
        ({"priorty": 1}, "priorty: unknown key; did you mean 'priority'?"),
    ],
)
def test_what_is_refused(data: dict[str, Any], expected: str) -> None:
    (found,) = refusals(**data)
    assert found.startswith(expected)


def test_all_that_is_wrong_is_told_at_once() -> None:
    assert refusals(priority=1.5, verison="1.0.0", idempotency_key="") == [
        "priority: must be a whole number (got 1.5)",
        "idempotency_key: must have at least 1 character (got '')",
        "verison: unknown key; did you mean 'version'?",
    ]


def test_a_request_is_an_object() -> None:
    with pytest.raises(InvalidRequest, match="must be an object"):
        request_from_data([1])


def test_a_context_of_python_values_becomes_plain_data() -> None:
    @dataclass
    class Order:
        total: Decimal
        lines: tuple[int, ...]

    assert TaskRequest(name="order", context=Order(Decimal("9.50"), (1, 2))).context == {  # type: ignore[arg-type]
        "total": "9.50",
        "lines": [1, 2],
    }


def test_a_good_context_has_no_problems_and_integers_of_any_size_are_good() -> None:
    assert problems({"n": 6**64, "online": True, "a": [{"b": None}], "s": "Zoë"}) == []


@pytest.mark.parametrize("context", [[1], "x", None, 3])
def test_a_context_is_an_object(context: Any) -> None:
    assert problems(context) == [f"context: must be an object (got {type(context).__name__})"]


def test_all_values_without_a_json_form_are_told_with_their_paths() -> None:
    context = {"a": [1, float("nan")], "b c": float("inf"), "s": "x\ud800", "o": object(), 7: 1}
    assert problems(context) == [
        "context.a[1]: nan has no JSON form; give null or a string",
        'context["b c"]: inf has no JSON form; give null or a string',
        "context.s: a lone surrogate (U+D800 at character 1) has no JSON form",
        "context.o: a value of type object has no JSON form; convert it first",
        "context: the key 7 is int; keys of JSON objects are strings",
    ]


def test_the_size_is_that_of_the_text_in_utf8() -> None:
    # {"a":"éé"} is 8 characters and two of 2 bytes each
    assert problems({"a": "éé"}, max_bytes=12) == []
    assert problems({"a": "éé"}, max_bytes=11) == [
        "context: 12 bytes are more than the 11 allowed; pass a reference instead"
    ]


def test_the_context_itself_is_the_first_level_of_depth() -> None:
    assert problems(nested(3), max_depth=3) == []
    assert problems(nested(4), max_depth=3) == ["context.a.a.a: nested too deeply"]
    assert problems({"a": [[[]]]}, max_depth=3) == ["context.a[0][0]: nested too deeply"]


def test_a_context_that_goes_on_for_ever_is_told_like_any_deep_one() -> None:
    circle: dict[str, Any] = {}
    circle["a"] = circle
    assert problems(circle, max_depth=2) == ["context.a.a: nested too deeply"]
    assert problems(TaskRequest(name="order", context=circle).context, max_depth=2) == [
        "context.a.a: nested too deeply"
    ]


def test_no_more_than_twenty_problems_are_told() -> None:
    assert len(problems({"a": [float("nan")] * 1000})) == 20
