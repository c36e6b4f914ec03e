"""Annotations of a handler's parameters, taken apart."""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable
from inspect import Parameter
from typing import Annotated, Any

from pydantic import BaseModel

from tasker_host.domain.batches import BatchWorkerContext
from tasker_host.domain.context import StepContext
from tasker_host.domain.result import Checkpoint
from tasker_host.domain.suggest import did_you_mean
from tasker_host.handlers.declare import From, Input

# Never what a task's context, an object, can be read as.
_NO_OBJECT = (str, int, float, bool, bytes, list, tuple, set, frozenset)


def bare_type(hint: Any) -> tuple[Any, list[Any]]:
    """The type without our markers, and the markers."""
    if typing.get_origin(hint) is not Annotated:
        return hint, []
    kind, *notes = typing.get_args(hint)
    markers = [note for note in notes if is_marker(note)]
    others = [note for note in notes if not is_marker(note)]
    return (Annotated[(kind, *others)] if others else kind), markers


def is_marker(note: Any) -> bool:
    """The classes themselves count too: somebody forgot the parentheses."""
    return isinstance(note, Input | From) or note is Input or note is From


def hides_marker(kind: Any) -> bool:
    """Whether a marker is somewhere inside the type, where it would not be seen."""
    return any(is_marker(part) or hides_marker(part) for part in typing.get_args(kind))


def is_settings(kind: type, settings: BaseModel) -> bool:
    return issubclass(kind, BaseModel) and kind is not BaseModel and isinstance(settings, kind)


def may_be_object(kind: Any) -> bool:
    plain = typing.get_args(kind)[0] if typing.get_origin(kind) is Annotated else kind
    plain = typing.get_origin(plain) or plain
    return not (isinstance(plain, type) and issubclass(plain, _NO_OBJECT))


def without_none(kind: Any) -> tuple[Any, bool]:
    """The type without `| None`, and whether that was there."""
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return kind, False
    others = [one for one in typing.get_args(kind) if one is not type(None)]
    if len(others) == len(typing.get_args(kind)):
        return kind, False
    return typing.Union[tuple(others)], True  # noqa: UP007 - of a number of types that is not known here


def known_by_name(annotation: str) -> Any:
    """The type that the text of an annotation says, of those that a handler is given by type; None of another.

    Plugins import them for type checkers only, where nothing else can be read.
    """
    name, _, none = annotation.replace(" ", "").partition("|")
    for kind in (StepContext, BatchWorkerContext, Checkpoint):
        if name.rpartition(".")[2] == kind.__name__ and none in ("", "None"):
            return kind | None if none else kind
    return None


def name_of(kind: Any) -> str:
    """`Order`, `dict[str, int]`, `int | None`"""
    if isinstance(kind, type) and not typing.get_args(kind):
        return kind.__name__
    return str(kind).replace("typing.", "")


def names_for(function: Callable[..., Any]) -> dict[str, Any]:
    """Names that annotations of the function may use."""
    inner: Any = function
    while True:
        if isinstance(inner, functools.partial):
            inner = inner.func
        elif hasattr(inner, "__wrapped__"):
            inner = inner.__wrapped__
        else:
            break
    if isinstance(inner, type):
        inner = getattr(inner, "__init__")  # noqa: B009 - of the class, whatever it is
    elif not hasattr(inner, "__globals__"):
        inner = getattr(type(inner), "__call__", None)  # noqa: B004 - an object that is called like a function
    return getattr(inner, "__globals__", {})


def nothing_for(name: str, bare: Any, settings: BaseModel | None) -> str:
    """Why a parameter cannot be given anything, and what to write in its place."""
    if name == "api" or name_of(bare) in ("ApiClient", "AsyncApiClient"):
        return f"nothing to give to parameter '{name}': only functions with @api_handler have a client"
    if bare is Parameter.empty:
        hint = f'write Annotated[…, Input("{name}")] for a field of the input, or Annotated[…, From("step")]'
        return f"nothing to give to parameter '{name}': {hint} for the value of a step{_near_context(name)}"
    kind = name_of(bare)
    whole = "Input()" if may_be_object(bare) else f'Input("{name}")'
    what = f"nothing to give to parameter '{name}' of type {kind}"
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        own = "no settings" if settings is None else f"settings of type {name_of(type(settings))}"
        what += f" (the plugin has {own})"
    return f'{what}: write Annotated[{kind}, {whole}] for the input, or Annotated[{kind}, From("step")]'


def _near_context(name: str) -> str:
    return "; did you mean 'context'?" if name == "ctx" else did_you_mean(name, ["context"])
