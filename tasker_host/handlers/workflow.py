"""Templates as code: steps are handlers, and their signatures say what comes after what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack

from pydantic import BaseModel

from tasker_host.domain.source import template_from_data
from tasker_host.domain.states import StepType
from tasker_host.domain.suggest import did_you_mean
from tasker_host.domain.template import TaskTemplate
from tasker_host.errors import Problem, TemplateError
from tasker_host.handlers.planned import Planned, plan_step

Schema = Mapping[str, Any] | type[BaseModel]
"""A JSON Schema, or the model whose schema it is."""

Part = Mapping[str, Any] | BaseModel
"""A mapping as it would stand in a YAML file, or the part of a template itself."""


class StepOptions(TypedDict, total=False):
    """What can be said of any step; each but the first three as in a YAML file."""

    name: str
    """Name of the step; that of the function, or the last word of the handler's name."""
    after: Any
    """Steps that must be done before, beside those whose values it reads: names or handlers, one or a sequence."""
    called: str
    """`handler.callable`, for a function with several names."""
    description: str
    initialization: Mapping[str, Any]
    method: str
    resolver: str
    retry: Part
    timeout_seconds: float
    lease_seconds: float
    optional: bool
    priority: int
    tags: Sequence[str]
    concurrency_key: str
    concurrency_limit: int
    result_schema: Schema
    publishes_events: Sequence[Part]
    system_dependency: str


class TemplateOptions(TypedDict, total=False):
    """What can be said of a template beside its steps, as in a YAML file."""

    description: str
    input_schema: Schema
    metadata: Part
    system_dependencies: Part
    domain_events: Sequence[Part]
    environments: Mapping[str, Any]
    lifecycle: Part
    identity_strategy: Literal["strict", "caller_provided", "always_unique"]
    unique_for: Literal["forever", "running"] | int
    on_failure: Literal["block", "fail"]
    priority: int
    tags: Sequence[str]
    concurrency_key: str
    concurrency_limit: int


class Workflow:
    """A template in the making. Every method returns the workflow, so that calls can be chained; `build` ends it.

    A handler is a decorated function, a `StepHandler` class or instance, a `Handler` record, or the name of one that
    is registered elsewhere. A step comes after those whose values its handler says it reads, and those named `after`.
    """

    def __init__(self, key: str, version: str, options: TemplateOptions) -> None:
        namespace, _, name = key.rpartition("/")
        if not namespace or not name:
            raise ValueError(f'a workflow is named by namespace and name, like "payments/charge_order" (got {key!r})')
        _check_options(options, TemplateOptions, "workflow")
        self.key = key
        self._where = f"workflow {key}"
        self._head: dict[str, Any] = {"name": name, "namespace_name": namespace, "version": version}
        self._head |= {option: _plain(value, option) for option, value in options.items()}
        self._steps: list[Planned] = []

    def step(self, handler: Any, **options: Unpack[StepOptions]) -> Workflow:
        """A step of type `standard`."""
        return self._add(StepType.STANDARD, handler, options)

    def decision(self, handler: Any, *, chooses: Any = (), **options: Unpack[StepOptions]) -> Workflow:
        """A step of type `decision`; the steps that it `chooses` from, names or handlers, come after it."""
        return self._add(StepType.DECISION, handler, options, chooses=_several(chooses))

    def deferred(self, handler: Any, **options: Unpack[StepOptions]) -> Workflow:
        """A step of type `deferred_convergence`: it waits for those of its dependencies that the task has."""
        return self._add(StepType.DEFERRED_CONVERGENCE, handler, options)

    def batchable(self, handler: Any, **options: Unpack[StepOptions]) -> Workflow:
        """A step of type `batchable`, the analyzer of a batch."""
        return self._add(StepType.BATCHABLE, handler, options)

    def batch_worker(
        self,
        handler: Any,
        *,
        batch_size: int = 1000,
        parallelism: int = 10,
        cursor_field: str = "id",
        failure_strategy: Literal["continue_on_failure", "fail_fast", "isolate"] = "continue_on_failure",
        **options: Unpack[StepOptions],
    ) -> Workflow:
        """A step of type `batch_worker`, after its analyzer: the one that names it or that it reads, or the only."""
        config = {
            "batch_size": batch_size,
            "parallelism": parallelism,
            "cursor_field": cursor_field,
            "failure_strategy": failure_strategy,
        }
        return self._add(StepType.BATCH_WORKER, handler, options, batch_config=config)

    @property
    def handlers(self) -> list[Any]:
        """What was given as handlers, each once: for `tasker_handlers`."""
        found: list[Any] = []
        for step in self._steps:
            if not isinstance(step.given, str) and not any(step.given is other for other in found):
                found.append(step.given)
        return found

    def build(self) -> TaskTemplate:
        """The template, checked like one that is read from a file. Raises TemplateError with everything wrong."""
        problems = [Problem(self._where, f"{step}: {problem}") for step in self._steps for problem in step.problems]
        problems += self._wire()
        if problems:
            raise TemplateError(f"{self._where} is not valid", problems)
        steps = [step.as_data() for step in self._steps]
        template, _ = template_from_data({**self._head, "steps": steps}, source=self._where)
        return template

    # ------------------------------------------------------------------------------------------------------------------

    def _add(self, kind: StepType, handler: Any, options: StepOptions, **more: Any) -> Workflow:
        _check_options(options, StepOptions, kind.value)
        said = {option: _plain(value, option) for option, value in options.items() if option != "after"}
        self._steps.append(plan_step(kind, handler, said, after=_several(options.get("after", ())), **more))
        return self

    def _wire(self) -> Iterator[Problem]:
        """Sets each step's dependencies; what cannot be found is a problem that names the function."""
        wired: dict[int, dict[str, None]] = {index: {} for index in range(len(self._steps))}
        for index, step in enumerate(self._steps):
            for read in step.reads:
                if any(read.key == other.name for other in self._steps):
                    wired[index][read.key] = None
                else:
                    what = f"parameter '{read.parameter}' reads step '{read.key}', which the workflow does not have"
                    yield self._problem(step, f"{what}{self._hint(read.key, step)}")
            for wanted in step.after:
                yield from self._link(step, "after", wanted, lambda other, own=index: wired[own].setdefault(other))
            for wanted in step.chooses:
                yield from self._link(
                    step, "chooses", wanted, lambda other, own=step: self._below(wired, other).setdefault(own.name)
                )
        for index, step in enumerate(self._steps):
            if step.kind is StepType.BATCH_WORKER:
                yield from self._analyzed(step, wired[index])
            step.dependencies = tuple(wired[index])

    def _below(self, wired: dict[int, dict[str, None]], name: str) -> dict[str, None]:
        return next(wired[index] for index, step in enumerate(self._steps) if step.name == name)

    def _link(self, step: Planned, option: str, wanted: Any, add: Any) -> Iterator[Problem]:
        found = [other.name for other in self._steps if other.is_meant_by(wanted)]
        if len(found) == 1:
            add(found[0])
            return
        name = wanted if isinstance(wanted, str) else getattr(wanted, "__qualname__", repr(wanted))
        if found:
            steps = ", ".join(f"'{other}'" for other in found)
            yield self._problem(step, f"{option} names {name}, which several steps are: {steps}; name one of them")
        else:
            yield self._problem(
                step, f"{option} names '{name}', which the workflow does not have{self._hint(name, step)}"
            )

    def _analyzed(self, step: Planned, dependencies: dict[str, None]) -> Iterator[Problem]:
        analyzers = [other for other in self._steps if other.kind is StepType.BATCHABLE]
        if any(other.name in dependencies for other in analyzers):
            return
        own = [other for other in analyzers if other.worker_template == step.name] or analyzers
        if len(own) == 1:
            dependencies[own[0].name] = None
        elif own:
            names = ", ".join(f"'{other.name}'" for other in own)
            yield self._problem(step, f"there are several analyzers, {names}; say after= which one is its own")
        else:
            yield self._problem(step, "it has no analyzer; add one with .batchable(…)")

    def _hint(self, name: str, step: Planned) -> str:
        others = [other.name for other in self._steps if other is not step]
        return did_you_mean(name, others) or (f"; it has {', '.join(others)}" if others else "")

    def _problem(self, step: Planned, message: str) -> Problem:
        return Problem(self._where, f"{step}: {message}")


def workflow(key: str, *, version: str = "1.0.0", **options: Unpack[TemplateOptions]) -> Workflow:
    """Begins a template: `workflow("payments/charge_order").step(price_order).step(charge_card).build()`.

    `input_schema` may be a model.
    """
    return Workflow(key, version, options)


def _check_options(options: Mapping[str, Any], known: Any, what: str) -> None:
    for option in options:
        if option not in known.__annotations__:
            raise TypeError(f"{what} has no option '{option}'{did_you_mean(option, known.__annotations__)}")


def _several(given: Any) -> tuple[Any, ...]:
    return tuple(given) if isinstance(given, list | tuple | set | frozenset) else (given,)


def _plain(value: Any, option: str) -> Any:
    """As it would stand in a file."""
    if isinstance(value, type) and issubclass(value, BaseModel):
        return value.model_json_schema(mode="validation" if option == "input_schema" else "serialization")
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    if isinstance(value, Mapping):
        return {key: _plain(item, "") for key, item in value.items()}
    return [_plain(item, "") for item in value] if isinstance(value, list | tuple) else value
