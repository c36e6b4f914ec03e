"""What a handler says it returns, and whether a value is that."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

from tasker_host import BatchConfig, Checkpoint, Decision, Failed, Handler, StepResult, Succeeded
from tasker_host.handlers.bound import bind
from tasker_host.handlers.returns import result_check

if TYPE_CHECKING:
    from decimal import Decimal


class Line(BaseModel):
    sku: str
    quantity: int = 1


@dataclass
class Point:
    x: int
    y: int


class Row(TypedDict):
    sku: str


def model() -> Line: ...
def optional() -> Line | None: ...
def several() -> list[Line]: ...
def by_name() -> dict[str, Line]: ...
def or_ours() -> Line | Failed | Checkpoint: ...
def point() -> Point: ...
def row() -> Row: ...
def wrapped() -> Awaitable[Line]: ...
async def later() -> Line: ...


def problems(function: Any, value: Any) -> list[str]:
    [handler] = bind(Handler("h", function), plugin="p", settings=None)
    check = result_check(handler.returns)
    assert check is not None
    return [str(problem) for problem in check(value)]


@pytest.mark.parametrize(
    ("function", "value"),
    [
        (model, Line(sku="a")),
        (model, {"sku": "a"}),
        (model, {"sku": "a", "more": 1}),
        (later, {"sku": "a"}),
        (wrapped, {"sku": "a"}),
        (optional, None),
        (several, [Line(sku="a"), {"sku": "b"}]),
        (several, ()),
        (by_name, {"a": {"sku": "a"}}),
        (or_ours, {"sku": "a"}),
        (point, Point(1, 2)),
        (point, {"x": 1, "y": 2}),
        (row, {"sku": "a"}),
    ],
)
def test_what_fits_is_let_through(function, value):
    assert problems(function, value) == []


@pytest.mark.parametrize(
    ("function", "value", "told"),
    [
        (model, {"sku": 5}, ["result.sku: must be text"]),
        (model, {}, ["result.sku: is required"]),
        (model, None, ["result: must be an object (got nothing)"]),
        (model, [], ["result: must be an object (got a list)"]),
        (optional, {"sku": 5}, ["result.sku: must be text"]),
        (several, [{"sku": "a"}, {"sku": "b", "quantity": "many"}], ["result[1].quantity: must be a whole number"]),
        (by_name, {"a": {"quantity": 1}}, ["result.a.sku: is required"]),
        (point, {"x": 1}, ["result.y: "]),
        (row, {}, ["result.sku: "]),
    ],
)
def test_what_does_not_fit_is_told_with_its_path(function, value, told):
    found = problems(function, value)
    assert len(found) == len(told)
    for one, beginning in zip(found, told, strict=True):
        assert one.startswith(beginning)


def nothing(): ...
def plain() -> dict[str, int]: ...
def number() -> int: ...
def ours() -> StepResult: ...
def decision() -> Decision: ...
def either() -> Succeeded | BatchConfig: ...
def any_model() -> BaseModel: ...
def unreadable() -> Decimal: ...


@pytest.mark.parametrize(
    "function", [nothing, plain, number, ours, decision, either, any_model, unreadable], ids=lambda one: one.__name__
)
def test_an_annotation_without_a_model_asks_for_nothing(function):
    [handler] = bind(Handler("h", function), plugin="p", settings=None)
    assert result_check(handler.returns) is None
