"""What each parameter of a handler is given: resolved once, when the handler registers."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from inspect import Parameter
from types import SimpleNamespace
from typing import Any

from pydantic import BaseModel

from tasker_host.domain.batches import BatchWorkerContext
from tasker_host.domain.context import StepContext
from tasker_host.domain.result import Checkpoint
from tasker_host.domain.suggest import did_you_mean
from tasker_host.handlers.annotations import (
    bare_type,
    hides_marker,
    is_marker,
    is_settings,
    known_by_name,
    may_be_object,
    name_of,
    names_for,
    nothing_for,
    without_none,
)
from tasker_host.handlers.declare import Declaration, From, Input, Offer, declaration
from tasker_host.handlers.values import (
    REQUIRED,
    Check,
    Getter,
    a_batch,
    checker,
    checkpoint_of,
    input_field,
    step_value,
    the_batch,
    the_checkpoint,
    the_context,
    whole_input,
)
from tasker_host.hooks.bound import BindError, Injected

Source = typing.Literal["context", "batch", "checkpoint", "api"]

_CONTEXT_NAMES = ("context", "_context")
_BATCH_NAMES = ("batch", "batch_context")
_MODELS = "inputs"
"""Parameter that `@inputs(Model)` fills when none is annotated with the model."""


@dataclass(slots=True)
class Plan:
    """What a function is called with, by parameter; `constants` are the same in every call."""

    getters: dict[str, Getter] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    injected: list[Injected] = field(default_factory=list)
    positional: bool = False
    """Whether the context is all that it takes, as its first positional argument."""


def plan(
    function: Callable[..., Any], *, settings: BaseModel | None, is_method: bool = False, offer: Offer | None = None
) -> Plan:
    """Raises BindError with everything about the function's parameters that cannot be resolved.

    The only parameter of a method is the context, whatever its name. `offer` is what its decorator gives besides.
    """
    try:
        parameters = dict(inspect.signature(function).parameters)
    except (ValueError, TypeError, NameError) as error:
        raise BindError([f"its parameters cannot be read: {error}"]) from error
    return _Planner(function, parameters, settings, is_method, offer).plan()


def declared(function: Callable[..., Any], *, is_method: bool = False) -> list[Injected]:
    """What a function says it is given of the input and of other steps, whatever else it is given when it registers.

    Raises BindError with everything that is wrong in what it says.
    """
    planner = _Planner(function, dict(inspect.signature(function).parameters), None, is_method)
    found = planner.resolved()
    if planner.problems:
        raise BindError(planner.problems)
    return [injected for injected in found.injected if injected.source in ("input", "step")]


@dataclass(slots=True)
class _Wanted:
    """What a decorator or a marker says about one parameter: a field, a step, or (neither) the whole context."""

    said: str
    input: str | None = None
    step: str | None = None
    model: Any = REQUIRED


class _Planner:
    def __init__(
        self,
        function: Callable[..., Any],
        parameters: dict[str, Parameter],
        settings: BaseModel | None,
        is_method: bool,
        offer: Offer | None = None,
    ) -> None:
        self.function = function
        self.settings = settings
        self.is_method = is_method
        self.offer = offer
        self.catches_all = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values())
        self.parameters = {
            name: parameter
            for name, parameter in parameters.items()
            if parameter.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        }
        self.said: Declaration = declaration(function)
        self.problems: list[str] = []
        self.hints: dict[str, Any] = {}
        self.unreadable: set[str] = set()
        self.unfilled: list[str] = []

    def plan(self) -> Plan:
        found = self.resolved()
        if self.problems or self.unfilled:
            raise BindError([*self.problems, *self.unfilled])
        return found

    def resolved(self) -> Plan:
        """What could be resolved. What could not is in `problems`, parameters that nothing is for in `unfilled`."""
        for name, parameter in self.parameters.items():
            self.hints[name] = self._hint(name, parameter.annotation)
        wanted = self._from_decorators()
        found = Plan()
        for name, parameter in self.parameters.items():
            want = wanted.pop(name, None)
            if name not in self.unreadable:
                self._resolve(name, parameter, want, found)
        for name, want in wanted.items():
            if self.catches_all:
                self._add(name, want, REQUIRED, Any, found)
            else:
                hint = did_you_mean(name, self.parameters)
                self.problems.append(f"{want.said} is for a parameter '{name}', which the function has not{hint}")
        found.positional = self._takes_only_the_context(found)
        if not found.positional:
            self.problems += [
                f"parameter '{name}' is positional-only, but values are given by name; remove the '/'"
                for name in (*found.getters, *found.constants)
                if name in self.parameters and self.parameters[name].kind is Parameter.POSITIONAL_ONLY
            ]
        return found

    def _takes_only_the_context(self, found: Plan) -> bool:
        first = next(iter(self.parameters.values()), None)
        return (
            first is not None
            and found.getters == {first.name: the_context}
            and not found.constants
            and first.kind is not Parameter.KEYWORD_ONLY
        )

    # Annotations ------------------------------------------------------------------------------------------------------

    def _hint(self, name: str, annotation: Any) -> Any:
        """The annotation as a type; REQUIRED when there is none."""
        if not isinstance(annotation, str):
            return annotation
        # One at a time: a name that is known to type checkers only must not spoil the other parameters.
        holder = SimpleNamespace(__annotations__={name: annotation})
        try:
            return typing.get_type_hints(holder, names_for(self.function), include_extras=True)[name]
        except Exception as error:
            if name in _CONTEXT_NAMES:
                return StepContext
            if (kind := known_by_name(annotation)) is not None:
                return kind
            self.problems.append(
                f"the annotation of parameter '{name}' cannot be read ({type(error).__name__}: {error}); import its"
                " names at the top of the module, outside TYPE_CHECKING"
            )
            self.unreadable.add(name)
            return REQUIRED

    # Decorators -------------------------------------------------------------------------------------------------------

    def _from_decorators(self) -> dict[str, _Wanted]:
        wanted: dict[str, _Wanted] = {}
        for name, want in (*self._from_inputs(), *self._from_depends_on()):
            if name in wanted:
                self.problems.append(f"parameter '{name}' is given a value twice: by {wanted[name].said}, {want.said}")
            wanted[name] = want
        return wanted

    def _from_inputs(self) -> Iterator[tuple[str, _Wanted]]:
        for key in self.said.inputs:
            if isinstance(key, str):
                if key.isidentifier():
                    yield key, _Wanted(f'@inputs("{key}")', input=key)
                else:
                    self.problems.append(
                        f'@inputs("{key}") is no name of a parameter; write Annotated[…, Input("{key}")] instead'
                    )
            elif isinstance(key, type):
                same = [name for name, hint in self.hints.items() if bare_type(hint)[0] is key]
                yield same[0] if len(same) == 1 else _MODELS, _Wanted(f"@inputs({key.__name__})", model=key)
            else:
                self.problems.append(f"@inputs({key!r}): give names of fields, or one model class")

    def _from_depends_on(self) -> Iterator[tuple[str, _Wanted]]:
        for name, value in self.said.depends_on:
            said = f"@depends_on({name}=…)"
            match value:
                case str() if value:
                    yield name, _Wanted(said, step=value)
                case (str() as step, model) if step:
                    yield name, _Wanted(said, step=step, model=model)
                case _:
                    self.problems.append(
                        f"@depends_on({name}={name_of(value)}): give the name of a step, or (name, Model): "
                        f'@depends_on({name}="price_order")'
                    )

    # Parameters -------------------------------------------------------------------------------------------------------

    def _resolve(self, name: str, parameter: Parameter, want: _Wanted | None, found: Plan) -> None:
        bare, markers = bare_type(self.hints[name])
        default = parameter.default
        marked = [self._from_marker(marker) for marker in markers]
        if want is not None or marked:
            if len(marked) + (want is not None) > 1:
                self.problems.append(f"parameter '{name}' is given a value twice; keep one of its sources")
                return
            self._add(name, want or marked[0], default, bare, found)
        elif (given := self._from_the_step(name, bare)) is not None:
            get, source = given
            found.getters[name] = get
            found.injected.append(Injected(name, source))
        elif self.settings is not None and isinstance(bare, type) and is_settings(bare, self.settings):
            found.constants[name] = self.settings
            found.injected.append(Injected(name, "settings", type=name_of(bare)))
        elif is_marker(default):
            written = name_of(default) if isinstance(default, type) else repr(default)
            self.problems.append(f"parameter '{name}' has {written} as its default; write Annotated[…, {written}]")
        elif hides_marker(bare):
            self.problems.append(
                f"parameter '{name}' has Input or From inside its type; put Annotated around the whole"
            )
        elif default is REQUIRED:
            self.unfilled.append(nothing_for(name, bare, self.settings))

    def _from_the_step(self, name: str, bare: Any) -> tuple[Getter, Source] | None:
        """What is given by the type of a parameter, or where it has none by its name: parts of the attempt itself."""
        kind, may_be_none = without_none(bare)
        is_free = kind is REQUIRED or kind is Any
        if kind is StepContext or (is_free and self._is_context(name, bare)):
            return the_context, "context"
        if kind is BatchWorkerContext or (is_free and name in _BATCH_NAMES):
            return (the_batch if is_free or may_be_none else a_batch), "batch"
        if kind is Checkpoint:
            if not may_be_none:
                self.problems.append(f"parameter '{name}' has no checkpoint on the first run; write Checkpoint | None")
            return checkpoint_of, "checkpoint"
        if name == "checkpoint" and (is_free or (typing.get_origin(kind) or kind) in (dict, Mapping)):
            return the_checkpoint, "checkpoint"
        return None if self.offer is None else self._from_offer(self.offer, name, kind, is_free=is_free)

    def _from_offer(self, offer: Offer, name: str, kind: Any, *, is_free: bool) -> tuple[Getter, Source] | None:
        if kind is offer.other:
            self.problems.append(f"parameter '{name}' must be of type {name_of(offer.kind)} in this function")
        elif kind is not offer.kind and not (is_free and name == offer.name):
            return None
        return offer.get, "api"

    def _is_context(self, name: str, bare: Any) -> bool:
        return name in _CONTEXT_NAMES or (self.is_method and len(self.parameters) == 1 and bare is REQUIRED)

    def _from_marker(self, marker: Any) -> _Wanted:
        match marker:
            case Input(key=key):
                return _Wanted("Input", input=key)
            case From(step=str() as step) if step:
                return _Wanted("From", step=step)
            case _ if marker is Input:
                return _Wanted("Input")
        self.problems.append('From needs the name of a step: From("price_order")')
        return _Wanted("From", step="?")

    def _add(self, name: str, want: _Wanted, default: Any, bare: Any, found: Plan) -> None:
        kind = bare if want.model is REQUIRED else want.model
        key = want.step if want.step is not None else want.input or ""
        if want.step is not None:
            check = self._check(name, kind, f"value of step '{want.step}'")
            found.getters[name] = step_value(want.step, check, default)
        elif want.input is not None:
            check = self._check(name, kind, "input", want.input)
            found.getters[name] = input_field(want.input, check, default)
        else:
            if not may_be_object(kind):
                self.problems.append(
                    f"parameter '{name}' of type {name_of(kind)} cannot be the whole input, which is an object; "
                    f'write Input("{name}") for the field'
                )
                return
            found.getters[name] = whole_input(self._check(name, kind, "input"))
        source: typing.Literal["step", "input"] = "input" if want.step is None else "step"
        shown = "" if kind is REQUIRED or kind is Any else name_of(kind)
        found.injected.append(Injected(name, source, key, shown, default is REQUIRED, kind if shown else None))

    def _check(self, name: str, kind: Any, subject: str, *start: str) -> Check | None:
        if kind is REQUIRED or kind is Any or kind is object:
            return None
        try:
            return checker(kind, subject, start)
        except Exception as error:
            first = str(error).partition("\n")[0]
            self.problems.append(f"parameter '{name}': values cannot be checked as {name_of(kind)}: {first}")
            return None
