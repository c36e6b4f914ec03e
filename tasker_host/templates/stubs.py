"""Handlers for a template, as source text: they run as they are, each returns the smallest value that fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tasker_host.domain.graph import children
from tasker_host.domain.states import StepType
from tasker_host.domain.template import StepDefinition, TaskTemplate
from tasker_host.templates.models import Models
from tasker_host.templates.names import base_name, class_name, literal, one_line, quoted, variable_name
from tasker_host.templates.samples import NoSampleError, sample

_DECORATORS = {
    StepType.STANDARD: "step_handler",
    StepType.DEFERRED_CONVERGENCE: "step_handler",
    StepType.DECISION: "decision_handler",
    StepType.BATCHABLE: "batch_analyzer",
    StepType.BATCH_WORKER: "batch_worker",
}


@dataclass(slots=True)
class _Module:
    """What the module of handlers needs, gathered while it is written."""

    tasker: set[str] = field(default_factory=set)
    typing: set[str] = field(default_factory=set)
    models: set[str] = field(default_factory=set)
    blocks: list[str] = field(default_factory=list)
    handlers: list[str] = field(default_factory=list)


class Stubs:
    """The module of handlers of a template, whose types `models` has."""

    def __init__(
        self, package: str, template: TaskTemplate, given: str | None, values: dict[str, str], models: Models
    ) -> None:
        self.package = package
        self.template = template
        self.given = given
        self.values = values
        self.models = models
        self.module = _Module()
        self.below = children(template)

    def text(self) -> str:
        by_callable: dict[str, list[StepDefinition]] = {}
        for step in self.template.steps:
            by_callable.setdefault(step.handler.callable, []).append(step)
        for callable_, steps in by_callable.items():
            if any(step.handler.method is not None for step in steps):
                self._class(callable_, steps)
            elif len(steps) > 1:
                self._shared(callable_, steps)
            else:
                self._function(steps[0])
        return self._whole()

    def _whole(self) -> str:
        needs = self.module
        imports = [f"from typing import {', '.join(sorted(needs.typing))}"] if needs.typing else []
        imports.append(_imported("tasker_host", sorted(needs.tasker, key=lambda name: (name.islower(), name))))
        if needs.models:
            imports.append(_imported(f"{self.package}.models", sorted(needs.models)))
        head = [f'"""Handlers of {self.template.label}."""', "from __future__ import annotations", *imports]
        handlers = "HANDLERS = (\n" + "".join(f"    {name},\n" for name in needs.handlers) + ")"
        return "\n\n".join(head) + "".join(f"\n\n\n{block}" for block in [*needs.blocks, handlers]) + "\n"

    # One step a handler -----------------------------------------------------------------------------------------------

    def _function(self, step: StepDefinition) -> None:
        decorator = self._tasker(_DECORATORS[step.type])
        name = self._free(variable_name(base_name(step.name)))
        returned, body = self._value(step)
        worker = self._worker_of(step) if step.type is StepType.BATCHABLE else None
        more = f', worker_template="{worker.name}"' if worker is not None else ""
        parameters = self._parameters(step)
        signature = f"def {name}({', '.join(parameters)}) -> {returned}:"
        if len(signature) > 118:
            signature = f"def {name}(\n    " + ",\n    ".join(parameters) + f",\n) -> {returned}:"
        about = step.description or f"Step {step.name}."
        lines = [
            f'@{decorator}("{step.handler.callable}"{more})',
            signature,
            f'    """{one_line(about)}"""',
            *_indented(body),
        ]
        self.module.blocks.append("\n".join(lines))
        self.module.handlers.append(name)

    def _parameters(self, step: StepDefinition) -> list[str]:
        found: list[tuple[bool, str]] = []
        if not step.dependencies and self.given is not None:
            self._tasker("Input")
            self._typing("Annotated")
            found.append((False, f"task_input: Annotated[{self._type(self.given)}, Input()]"))
        sure = step.type is not StepType.DEFERRED_CONVERGENCE
        batches = False
        for parent in map(self.template.step, step.dependencies):
            if parent.type is StepType.BATCH_WORKER:
                batches = True
                continue
            if (
                parent.type in (StepType.DECISION, StepType.BATCHABLE)
                and step.type is not StepType.DEFERRED_CONVERGENCE
            ):
                continue  # what it decided is not for reading
            self._tasker("From")
            self._typing("Annotated")
            kind = self._type(self.values[parent.name]) if parent.name in self.values else self._typing("Any")
            optional = not sure or parent.optional
            kind = f"{kind} | None" if optional and kind != "Any" else kind
            default = "" if sure else " = None"
            name = variable_name(base_name(parent.name))
            found.append((bool(default), f'{name}: Annotated[{kind}, From("{parent.name}")]{default}'))
        if step.type is StepType.BATCH_WORKER:
            found.append((False, f"batch: {self._tasker('BatchWorkerContext')}"))
        if batches:
            found.append((False, f"context: {self._tasker('StepContext')}"))
        return [text for _, text in sorted(found, key=lambda item: item[0])]

    def _value(self, step: StepDefinition) -> tuple[str, list[str]]:
        """The type that is returned, and the body that returns a value of it."""
        if step.type is StepType.DECISION:
            chosen = ", ".join(f'"{name}"' for name in self.below[step.name] if self._can_be_chosen(name))
            return self._tasker("Decision"), [f"return Decision.route([{chosen}])"]
        if step.type is StepType.BATCHABLE:
            worker = self._worker_of(step)
            size = worker.batch_config.batch_size if worker is not None and worker.batch_config else 100
            return self._tasker("BatchConfig"), [f"return BatchConfig(total_items={size}, batch_size={size})"]
        first = [
            f'# context.get_all_dependency_results("{name}_") has the values of the workers, by their names.'
            for name in step.dependencies
            if self.template.step(name).type is StepType.BATCH_WORKER
        ]
        kind = self._type(self.values[step.name]) if step.name in self.values else ""
        try:
            value = sample(step.result_schema)
        except NoSampleError as error:
            message = f"step {step.name} needs a value of its own: {error}"
            return kind or self._typing("Any"), [
                *first,
                "raise NotImplementedError(",
                f"    {quoted(one_line(message))}",
                ")",
            ]
        if not kind:
            return f"dict[str, {self._typing('Any')}]", [*first, "return {}"]
        is_model = self.models.is_class(kind)
        return kind, [*first, *_returned(value, f"{kind}.model_validate" if is_model else "")]

    # Several steps a handler ------------------------------------------------------------------------------------------

    def _shared(self, callable_: str, steps: Sequence[StepDefinition]) -> None:
        decorator = self._tasker("step_handler")
        context, anything = self._tasker("StepContext"), self._typing("Any")
        name = self._free(variable_name(callable_.rpartition(".")[2]))
        lines = [
            f'@{decorator}("{callable_}")',
            f"def {name}(context: {context}) -> {anything}:",
            f'    """Steps {one_line(", ".join(step.name for step in steps))}."""',
            *_indented(self._by_step(steps)),
        ]
        self.module.blocks.append("\n".join(lines))
        self.module.handlers.append(name)

    def _class(self, callable_: str, steps: Sequence[StepDefinition]) -> None:
        base, context, anything = self._tasker("StepHandler"), self._tasker("StepContext"), self._typing("Any")
        name = self._free(class_name(callable_.rpartition(".")[2]))
        methods: dict[str, list[StepDefinition]] = {"call": []}
        for step in steps:
            methods.setdefault(step.handler.method or "call", []).append(step)
        lines = [f"class {name}({base}):", f'    handler_name = "{callable_}"']
        for method, own in methods.items():
            lines += ["", f"    def {method}(self, context: {context}) -> {anything}:"]
            if own:
                lines.append(f'        """Steps {one_line(", ".join(step.name for step in own))}."""')
            body = self._by_step(own) if own else ["return {}"]
            lines += [f"        {line}" if line else "" for line in body]
        self.module.blocks.append("\n".join(lines))
        self.module.handlers.append(name)

    def _by_step(self, steps: Sequence[StepDefinition]) -> list[str]:
        values: dict[str, Any] = {}
        for step in steps:
            try:
                values[step.name] = sample(step.result_schema)
            except NoSampleError:
                continue
        shown = [f"{literal(name)}: {literal(value)}," for name, value in values.items()]
        opening = f"values: dict[str, {self._typing('Any')}] = {{"
        return [opening, *_indented(shown), "}", "return values[context.step_name]"]

    # ------------------------------------------------------------------------------------------------------------------

    def _can_be_chosen(self, name: str) -> bool:
        return self.template.step(name).type not in (StepType.DEFERRED_CONVERGENCE, StepType.BATCH_WORKER)

    def _worker_of(self, step: StepDefinition) -> StepDefinition | None:
        own = [self.template.step(name) for name in self.below[step.name]]
        return next((one for one in own if one.type is StepType.BATCH_WORKER), None)

    def _free(self, name: str) -> str:
        found, number = name, 2
        while found in self.module.handlers:
            found, number = f"{name}_{number}", number + 1
        return found

    def _type(self, name: str) -> str:
        """A type of the models, imported."""
        self.module.models.add(name)
        return name

    def _tasker(self, name: str) -> str:
        self.module.tasker.add(name)
        return name

    def _typing(self, name: str) -> str:
        self.module.typing.add(name)
        return name


def _imported(module: str, names: Sequence[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    return line if len(line) <= 118 else f"from {module} import (\n" + "".join(f"    {name},\n" for name in names) + ")"


def _returned(value: Any, call: str) -> list[str]:
    """`return` of the value, on lines of their own where it is long."""
    opening, closing = (f"{call}(", ")") if call else ("", "")
    line = f"return {opening}{literal(value)}{closing}"
    if len(line) <= 110 or not isinstance(value, dict | list):
        return [line]
    first, last = "{}" if isinstance(value, dict) else "[]"
    inner = [f"{literal(key)}: {literal(item)}," for key, item in value.items()] if isinstance(value, dict) else []
    inner = inner or [f"{literal(item)}," for item in value]
    return [f"return {opening}{first}", *_indented(inner), f"{last}{closing}"]


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"    {line}" if line else "" for line in lines]
