"""What a handler says it returns, and whether a value is that."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Awaitable, Callable, Coroutine
from types import SimpleNamespace
from typing import Any, cast

from pydantic import BaseModel, TypeAdapter, ValidationError
from typing_extensions import is_typeddict

from tasker_host.domain.batches import BatchConfig, Batches
from tasker_host.domain.faults import faults, path_text
from tasker_host.domain.json import plain
from tasker_host.domain.result import Checkpoint, Decision, Failed, Succeeded
from tasker_host.errors import Problem
from tasker_host.handlers.annotations import names_for

_OURS = (Succeeded, Failed, Decision, Batches, BatchConfig, Checkpoint)

ResultCheck = Callable[[Any], list[Problem]]


def returned_type(function: Callable[..., Any]) -> Any:
    """The type of the values that the function says it returns, without our own results; None unless there is a model,
    a dataclass or a TypedDict in it.

    An annotation that cannot be read, like a name for type checkers only, asks for nothing.
    """
    kind = _plain_kind(_annotation(function))
    if not _has_model(kind):
        return None
    try:
        TypeAdapter(kind).rebuild(raise_errors=True)
    except Exception:  # a type that pydantic cannot check, beside the model
        return None
    return kind


def result_check(kind: Any) -> ResultCheck | None:
    """Says where a value does not fit the type; None where there is nothing to check."""
    if kind is None:
        return None
    adapter = TypeAdapter(kind)
    adapter.rebuild(raise_errors=True)
    validate = adapter.validator.validate_python
    exact = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None

    def check(value: Any) -> list[Problem]:
        if exact is not None and isinstance(value, exact):
            return []
        try:
            validate(value)
        except ValidationError:
            pass
        else:
            return []
        try:
            # A model is also what reads as one once it is stored.
            validate(plain(value))
        except ValidationError as error:
            found = faults(error, cast("type[BaseModel]", kind), mapping="an object")
            return [Problem(path_text(("result", *fault.path)), fault.message) for fault in found]
        return []

    return check


def _annotation(function: Callable[..., Any]) -> Any:
    try:
        annotation = inspect.signature(function).return_annotation
        if not isinstance(annotation, str):
            return annotation
        holder = SimpleNamespace(__annotations__={"return": annotation})
        return typing.get_type_hints(holder, names_for(function), include_extras=True)["return"]
    except Exception:
        return None


def _plain_kind(kind: Any) -> Any:
    """Without what an awaitable is around it, and without our own results beside it."""
    if typing.get_origin(kind) in (Awaitable, Coroutine):
        kind = typing.get_args(kind)[-1]
    members = typing.get_args(kind)
    others = tuple(member for member in members if member not in _OURS)
    if len(others) == len(members):
        return kind
    return typing.Union[others] if others else None  # noqa: UP007 - of a number of types that is not known here


def _has_model(kind: Any) -> bool:
    if typing.get_args(kind):
        return any(map(_has_model, typing.get_args(kind)))
    if not isinstance(kind, type) or kind in _OURS:
        return False
    is_model = issubclass(kind, BaseModel) and kind is not BaseModel
    return is_model or dataclasses.is_dataclass(kind) or is_typeddict(kind)
