"""Function style: what an author writes on a function to make it a handler.

Decorators only note what was said, on the function itself, which stays as it was and can be called directly in a test.
Everything is put together when the plugin registers, so their order does not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

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
class Named:
    """What `step_handler` was given; checked when the plugin registers."""

    name: Any
    version: Any
    retry_on: Any
    runs_in: Any
    worker_template: Any = None


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
) -> Callable[[Function], Function]:
    """The function handles steps whose template says `handler.callable: <name>`.

    Exceptions of the types in `retry_on` are tried again, whatever they are. An async function runs on the event loop;
    a sync one in a thread, or with `runs_in="loop"` on the event loop, for one that computes for a moment and never
    waits, or with `runs_in="process"` in a process of its own, for one that computes for long or may hang: only that
    can be ended when it overruns. Applied twice, the function has two names.
    """
    if not isinstance(name, str):
        raise TypeError('@step_handler needs a name: write @step_handler("payments.charge_card")')

    def decorate(function: Function) -> Function:
        said = declaration(function)
        return _mark(function, replace(said, names=(*said.names, Named(name, version, retry_on, runs_in))))

    return decorate


def decision_handler(
    name: str,
    *,
    version: str = "1.0.0",
    retry_on: tuple[type[BaseException], ...] = (),
    runs_in: RunsIn | None = None,
) -> Callable[[Function], Function]:
    """As `step_handler`, for a step of type `decision`: it returns `Decision.route([…])` or `Decision.skip(…)`."""
    return step_handler(name, version=version, retry_on=retry_on, runs_in=runs_in)


def batch_worker(
    name: str,
    *,
    version: str = "1.0.0",
    retry_on: tuple[type[BaseException], ...] = (),
    runs_in: RunsIn | None = None,
) -> Callable[[Function], Function]:
    """As `step_handler`, for a step of type `batch_worker`: a parameter named `batch` is given its batch."""
    return step_handler(name, version=version, retry_on=retry_on, runs_in=runs_in)


def batch_analyzer(
    name: str,
    *,
    worker_template: str | None = None,
    version: str = "1.0.0",
    retry_on: tuple[type[BaseException], ...] = (),
    runs_in: RunsIn | None = None,
) -> Callable[[Function], Function]:
    """As `step_handler`, for a step of type `batchable`: it returns a `BatchConfig` or `Batches`.

    `worker_template` names the `batch_worker` step, where more than one depends on the analyzer.
    """
    if not isinstance(name, str):
        raise TypeError('@batch_analyzer needs a name: write @batch_analyzer("imports.analyze")')

    def decorate(function: Function) -> Function:
        said = declaration(function)
        named = Named(name, version, retry_on, runs_in, worker_template)
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
