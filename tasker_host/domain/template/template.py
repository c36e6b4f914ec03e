"""A task template as a whole."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from tasker_host.domain.flow import Flow
from tasker_host.domain.graph import find_problems
from tasker_host.domain.json import canonical_json
from tasker_host.domain.template.parts import (
    ALL_STEPS,
    ConcurrencyKey,
    ConcurrencyLimit,
    Environment,
    EventDescription,
    IdentityStrategy,
    Lifecycle,
    Metadata,
    Name,
    OnFailure,
    Part,
    Priority,
    StepDefinition,
    SystemDependencies,
    Tag,
    UniqueFor,
    like,
)
from tasker_host.domain.template.text import yaml_text

STRUCTURE = "structure"
"""Type of the validation error for steps that do not hold together."""

# 29: the longest queue of a namespace is {namespace}_domain_events_dlq, and PGMQ allows 47 characters.
NAMESPACE = re.compile(r"[a-z_][a-z0-9_]{0,28}")
"""What a namespace may be called."""
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")
_NAME = re.compile(r"[^\s/]+")


def _template_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError("must not contain spaces or '/'")
    return name


def _namespace(name: str) -> str:
    if not NAMESPACE.fullmatch(name):
        hint = f"; did you mean '{name.lower()}'?" if NAMESPACE.fullmatch(name.lower()) else ""
        raise ValueError(f"must be 1 to 29 of a-z, 0-9 and _, not starting with a digit{hint}")
    return name


def _version(version: str) -> str:
    if not _VERSION.fullmatch(version):
        raise ValueError("must be three numbers, like 1.2.0")
    return version


class TaskTemplate(Part):
    """What a kind of task consists of: its steps, their order, and the rules they run by.

    Raises pydantic's ValidationError; `domain.source` reads templates with errors for people.
    """

    name: Annotated[Name, like(_NAME), AfterValidator(_template_name)]
    namespace_name: Annotated[str, like(NAMESPACE), AfterValidator(_namespace)]
    version: Annotated[str, Field(max_length=50), like(_VERSION), AfterValidator(_version)]
    description: str | None = None
    metadata: Metadata | None = None
    system_dependencies: SystemDependencies = Field(default_factory=SystemDependencies)
    domain_events: tuple[EventDescription, ...] = ()
    input_schema: dict[str, Any] | None = None
    steps: tuple[StepDefinition, ...] = ()
    environments: dict[str, Environment] = Field(default_factory=dict)
    lifecycle: Lifecycle | None = None
    identity_strategy: IdentityStrategy = IdentityStrategy.STRICT
    unique_for: UniqueFor = "forever"
    on_failure: OnFailure = OnFailure.BLOCK
    priority: Priority = 0
    tags: tuple[Tag, ...] = ()
    concurrency_key: ConcurrencyKey | None = None
    concurrency_limit: ConcurrencyLimit | None = None

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        errors = [problem.message for problem in find_problems(self.steps) if not problem.warning]
        if errors:
            raise PydanticCustomError(STRUCTURE, "{problems}", {"problems": "; ".join(errors)})
        return self

    @property
    def key(self) -> str:
        """`namespace/name`"""
        return f"{self.namespace_name}/{self.name}"

    @property
    def label(self) -> str:
        """`namespace/name 1.2.0`"""
        return f"{self.namespace_name}/{self.name} {self.version}"

    @cached_property
    def _steps(self) -> dict[str, StepDefinition]:
        return {step.name: step for step in self.steps}

    @cached_property
    def flow(self) -> Flow:
        """Which steps a task of it gets while it runs, and by whose result."""
        return Flow(self)

    def step(self, name: str) -> StepDefinition:
        """The step of that name. Raises KeyError."""
        return self._steps[name]

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        copy = super().model_copy(update=update, deep=deep)
        for cached in ("_steps", "flow"):  # pydantic copies cached values along, and these are of the old steps
            copy.__dict__.pop(cached, None)
        return copy

    def for_environment(self, env: str) -> TaskTemplate:
        """The template as it is in `env`: overrides of ALL, then those by name; `environments` itself is dropped."""
        steps = self.steps
        overrides = self.environments[env].steps if env in self.environments else ()
        # ALL first wherever it stands in the file: what is said of one step outweighs what is said of all.
        for override in sorted(overrides, key=lambda o: o.name != ALL_STEPS):
            steps = tuple(
                override.applied_to(step) if override.name in (ALL_STEPS, step.name) else step for step in steps
            )
        return self.model_copy(update={"steps": steps, "environments": {}})

    def to_yaml(self) -> str:
        """A YAML file that is read as this template again; without what is left at its default."""
        return yaml_text(self.model_dump(mode="json", by_alias=True, exclude_defaults=True))

    def canonical(self) -> str:
        """JSON with sorted keys and without what is left at its default: equal for equal content, however laid out."""
        return canonical_json(self.model_dump(mode="json", by_alias=True, exclude_defaults=True))

    def sha256(self) -> str:
        """The content's address: SHA-256 of `canonical()`, 64 hex digits."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()
