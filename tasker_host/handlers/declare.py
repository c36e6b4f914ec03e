"""Function style: what an author writes on a function to make it a handler.

Decorators only note what was said, on the function itself, which stays as it was and can be called directly in a test.
Everything is put together when the plugin registers, so their order does not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel

from tasker_host.domain.context import StepContext
from tasker_host.hooks.bound import Kind
from tasker_host.hooks.records import RunsIn

Function = TypeVar("Function", bound=Callable[..., Any])

_MARK = "__tasker__"


@dataclass(frozen=True, slots=True)
class Input:
    """In `Annotated[int, Input("even_number")]`: that field of the task's context.

    Without a key the whole context: `Annotated[Order, Input()]`.
    """

    key: str | None = None


@dataclass(frozen=True, slots=True)
class From:
    """In `Annotated[Quote, From("price_order")]`: the value that the step of that name returned."""

    step: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What a decorator gives beside what every handler can have: to the parameter `name`, or to one of type `kind`.

    `other` is the type that it would be in a function that is async when this one is not, and the other way round.
    """

    name: str
    kind: type
    other: type
    get: Callable[[StepContext], Any]
    close: Callable[[], Any] | None = None


class Offering(Protocol):
    """Makes the offer, when the plugin registers. Raises BindError."""

    def offer(self, settings: BaseModel | None, *, is_async: bool) -> Offer: ...


@dataclass(frozen=True, slots=True)
class Named:
    """What `step_handler` was given; checked when the plugin registers."""

    name: Any
    version: Any
    retry_on: Any
    runs_in: Any
    worker_template: Any = None
    kind: Kind = "step"
    aliases: Any = ()
    api: Offering | None = None


@dataclass(frozen=True, slots=True)
class Declaration:
    """What the decorators on one function said, in the order in which they were applied."""

    names: tuple[Named, ...] = ()
    inputs: tuple[Any, ...] = ()
    depends_on: tuple[tuple[str, Any], ...] = ()


def declaration(function: Any) -> Declaration:
    found = getattr(function, _MARK, None)
    return found if isinstance(found, Declaration) else Declaration()


def step_handler(
    name: str,
    *,
    version: str = "1.0.0",
    retry_on: tuple[type[BaseException], ...] = (),
    runs_in: RunsIn | None = None,
    aliases: tuple[str, ...] = (),
) -> Callable[[Function], Function]:
    """The function handles steps whose template says `handler.callable: <name>`, or one of `aliases`.

    Exceptions of the types in `retry_on` are tried again, whatever they are. An async function runs on the event loop;
    a sync one in a thread, or with `runs_in="loop"` on the event loop, for one that computes for a moment and never
    waits, or with `runs_in="process"` in a process of its own, for one that computes for long or may hang: only that
    can be ended when it overruns. Applied twice, the function has two names.
    """
    return named_by("step_handler", Named(name, version, retry_on, runs_in, aliases=aliases))


def decision_handler(
    name: str,
    *,
    version: str = "1.0.0",
    retry_on: tuple[type[BaseException], ...] = (),
    runs_in: RunsIn | None = None,
    aliases: tuple[str, ...] = (),
) -> Callable[[Function], Function]:
    """As `step_handler`, for a step of type `decision`: it returns `Decision.route([…])` or `Decision.skip(…)`."""
    return named_by("decision_handler", Named(name, version, retry_on, runs_in, kind="decision", aliases=aliases))


def batch_analyzer(
    name: str,
    *,
    worker_template: str | None = None,
    version: str = "1.0.0",
    retry_on: tuple[type[BaseException], ...] = (),
    runs_in: RunsIn | None = None,
    aliases: tuple[str, ...] = (),
) -> Callable[[Function], Function]:
    """As `step_handler`, for a step of type `batchable`: it returns a `BatchConfig` or `Batches`.

    `worker_template` names the `batch_worker` step, where more than one depends on the analyzer.
    """
    named = Named(name, version, retry_on, runs_in, worker_template, kind="batch_analyzer", aliases=aliases)
    return named_by("batch_analyzer", named)


def batch_worker(
    name: str,
    *,
    version: str = "1.0.0",
    retry_on: tuple[type[BaseException], ...] = (),
    runs_in: RunsIn | None = None,
    aliases: tuple[str, ...] = (),
) -> Callable[[Function], Function]:
    """As `step_handler`, for a step of type `batch_worker`: a parameter named `batch` is given its batch."""
    return named_by("batch_worker", Named(name, version, retry_on, runs_in, kind="batch_worker", aliases=aliases))


def named_by(decorator: str, named: Named) -> Callable[[Function], Function]:
    """The decorator that gives a function this name. Raises TypeError when it was written without one."""
    if not isinstance(named.name, str):
        raise TypeError(f'@{decorator} needs a name: write @{decorator}("payments.charge_card")')

    def decorate(function: Function) -> Function:
        said = declaration(function)
        return _mark(function, replace(said, names=(*said.names, named)))

    return decorate


def inputs(*keys: Any) -> Callable[[Function], Function]:
    """Fields of the task's context, each for the parameter of the same name: `@inputs("even_number")`.

    A model instead of keys is the whole context, validated, for the parameter named `inputs` or annotated with that
    model: `@inputs(Order)`.
    """

    def decorate(function: Function) -> Function:
        said = declaration(function)
        return _mark(function, replace(said, inputs=(*said.inputs, *keys)))

    return decorate


def depends_on(**steps: Any) -> Callable[[Function], Function]:
    """Values of earlier steps, by parameter: `@depends_on(quote="price_order")`, or validated as a model,
    `@depends_on(quote=("price_order", Quote))`."""

    def decorate(function: Function) -> Function:
        said = declaration(function)
        return _mark(function, replace(said, depends_on=(*said.depends_on, *steps.items())))

    return decorate


def _mark(function: Function, said: Declaration) -> Function:
    setattr(function, _MARK, said)
    return function
