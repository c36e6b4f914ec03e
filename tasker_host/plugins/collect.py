"""What one plugin's hooks return, each thing checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.resources.abc import Traversable
from typing import Any, TypeVar

import click
from pydantic import BaseModel

from tasker_host.domain.json import loads
from tasker_host.domain.source import template_from_data
from tasker_host.domain.template import TaskTemplate
from tasker_host.errors import Problem, TemplateError
from tasker_host.hooks.bound import Bind, BindError, BoundHandler, Buildable
from tasker_host.hooks.publisher import BoundPublisher
from tasker_host.hooks.records import Classifier, Middleware, Subscriber
from tasker_host.hooks.relay import Relay
from tasker_host.plugins.events import bound_publisher, publisher_problems, subscriber_problems
from tasker_host.plugins.fault import Fault, FaultyError, Stage, plugin_code, short_path
from tasker_host.plugins.relays import relay_problems
from tasker_host.plugins.resources import read_template, template_files

Call = Callable[[str], list[Any]]
"""Calls the hook of that name and gives what its implementations returned."""

Item = TypeVar("Item")


class Collector:
    """Calls hooks one after the other; `faults` is everything wrong with what they gave."""

    def __init__(self, call: Call) -> None:
        self.faults: list[Fault] = []
        self._call = call

    def handlers(self, bind: Bind, plugin: str, settings: BaseModel | None) -> tuple[BoundHandler, ...]:
        hook = "tasker_handlers"
        found: list[BoundHandler] = []
        for item in self.items(hook):
            with self.noting(hook):
                try:
                    found += bind(item, plugin=plugin, settings=settings)
                except BindError as error:
                    raise FaultyError(Fault(Stage.COLLECT, problem, hook) for problem in error.problems) from None
        return self.unique(hook, "handlers", found, lambda handler: handler.name)

    def templates(self, environment: str) -> tuple[tuple[TaskTemplate, ...], tuple[Problem, ...]]:
        """As they are in that environment, and what is doubtful in them."""
        hook = "tasker_templates"
        found: list[TaskTemplate] = []
        warnings: list[Problem] = []
        for item in self.items(hook):
            for read in self._readers(item, hook):
                with self.noting(hook):
                    try:
                        template, doubts = read()
                    except TemplateError as error:
                        raise FaultyError(Fault(Stage.COLLECT, str(p), hook) for p in error.problems) from None
                    found.append(template.for_environment(environment))
                    warnings += doubts
        return self.unique(hook, "templates", found, lambda template: template.label), tuple(warnings)

    def middleware(self) -> tuple[Middleware, ...]:
        hook = "tasker_middleware"
        found: list[Any] = self.records(hook, Middleware)
        for item in found:
            around = item.around
            called = getattr(type(around), "__call__", None)  # noqa: B004 - an object that is called like a function
            if not (inspect.iscoroutinefunction(around) or inspect.iscoroutinefunction(called)):
                self.refuse(hook, f"middleware {item.name!r}: around must be async def around(step, call_next)")
            self.check_name(hook, "middleware", item.name)
            if not isinstance(item.order, int):
                self.refuse(hook, f"middleware {item.name!r}: order must be a whole number (got {item.order!r})")
        return self.unique(hook, "middleware", found, lambda item: item.name)

    def classifiers(self) -> tuple[Classifier, ...]:
        hook = "tasker_classifiers"
        found: list[Any] = self.records(hook, Classifier)
        for item in found:
            if not (isinstance(item.error_type, type) and issubclass(item.error_type, BaseException)):
                self.refuse(hook, f"{item.error_type!r} is not an exception class")
            if not isinstance(item.retryable, bool):
                self.refuse(hook, f"retryable must be True or False (got {item.retryable!r})")
            delay = item.delay_seconds
            if delay is not None and (isinstance(delay, bool) or not isinstance(delay, int | float) or delay < 0):
                self.refuse(hook, f"delay_seconds must be a number of at least 0, or None (got {delay!r})")
        return tuple(found)

    def publishers(self, plugin: str) -> tuple[BoundPublisher, ...]:
        hook = "tasker_publishers"
        found: list[BoundPublisher] = []
        for item in self.items(hook):
            with self.noting(hook):
                publisher = bound_publisher(item, plugin)
                if publisher is None:
                    self.refuse(hook, f"gave {shown(item)}, not a Publisher or an EventPublisher")
                    continue
                self.check_name(hook, "a publisher", publisher.name)
                for problem in publisher_problems(publisher):
                    self.refuse(hook, problem)
                found.append(publisher)
        return self.unique(hook, "publishers", found, lambda item: item.name)

    def subscribers(self) -> tuple[Subscriber, ...]:
        hook = "tasker_subscribers"
        found: list[Subscriber] = self.records(hook, Subscriber)
        for item in found:
            self.check_name(hook, "a subscriber", item.name)
            for problem in subscriber_problems(item):
                self.refuse(hook, problem)
        return self.unique(hook, "subscribers", found, lambda item: item.name)

    def relays(self) -> tuple[Relay, ...]:
        hook = "tasker_relays"
        found: list[Relay] = self.records(hook, Relay)
        for item in found:
            for problem in relay_problems(item):
                self.refuse(hook, problem)
        return self.unique(hook, "relays", found, lambda item: item.name)

    def commands(self) -> tuple[click.Command, ...]:
        hook = "tasker_commands"
        found = self.records(hook, click.Command)
        for item in found:
            self.check_name(hook, "a command", item.name)
        return self.unique(hook, "commands", found, lambda item: str(item.name))

    def routes(self, plugin: str) -> tuple[Any, ...]:
        hook = "tasker_routes"
        found = self.items(hook)
        if found:
            # Only then: whoever has routes has imported this framework already, and for all others it would be slow.
            from tasker_host.plugins.routes import route_problems

            with self.noting(hook):
                for problem in route_problems(plugin, found):
                    self.refuse(hook, problem)
        return tuple(found)

    @contextmanager
    def noting(self, hook: str) -> Iterator[None]:
        """Around code of the plugin: what it raises is noted, and what comes after it goes on."""
        try:
            with plugin_code(Stage.COLLECT, hook):
                yield
        except FaultyError as error:
            self.faults += error.faults

    # Items ------------------------------------------------------------------------------------------------------------

    def items(self, hook: str) -> list[Any]:
        """Everything the hook gives; nothing when it raises, also half-way."""
        found: list[Any] = []
        with self.noting(hook):
            for returned in self._call(hook):
                if isinstance(returned, str | bytes | dict) or not isinstance(returned, Iterable):
                    self.refuse(hook, f"returned {shown(returned)}; return a list")
                else:
                    found += list(returned)
        return found

    def records(self, hook: str, kind: type[Item]) -> list[Item]:
        found = []
        article = "an" if kind.__name__[0] in "AEIO" else "a"
        for item in self.items(hook):
            if isinstance(item, kind):
                found.append(item)
            else:
                self.refuse(hook, f"gave {shown(item)}, not {article} {kind.__name__}")
        return found

    def unique(self, hook: str, what: str, found: list[Item], name_of: Callable[[Item], str]) -> tuple[Item, ...]:
        seen: set[str] = set()
        for item in found:
            name = name_of(item)
            if name in seen:
                self.refuse(hook, f"two {what} are named '{name}'; rename one of them")
            seen.add(name)
        return tuple(found)

    def check_name(self, hook: str, what: str, name: object) -> None:
        if not isinstance(name, str) or not name:
            self.refuse(hook, f"the name of {what} must be text (got {name!r})")

    def refuse(self, hook: str, error: str) -> None:
        self.faults.append(Fault(Stage.COLLECT, error, hook))

    # Templates --------------------------------------------------------------------------------------------------------

    def _readers(self, item: object, hook: str) -> list[Callable[[], tuple[TaskTemplate, list[Problem]]]]:
        """One function for each template that `item` is or has."""
        if isinstance(item, Buildable) and not isinstance(item, type):
            return [lambda: _canonical(item.build())]
        if isinstance(item, TaskTemplate):
            return [lambda: _canonical(item)]
        if isinstance(item, type) or not isinstance(item, Traversable):
            expected = (
                'give TaskTemplates, workflows, or resources: importlib.resources.files("your_package") / "templates"'
            )
            self.refuse(hook, f"gave {shown(item)}; {expected}")
            return []
        files: list[Traversable] = []
        faults = len(self.faults)
        with self.noting(hook):
            files = list(template_files(item))
        if len(self.faults) > faults:
            return []
        if not files:
            what = "has no .yaml or .yml file" if item.is_dir() else "does not exist"
            self.refuse(hook, f"{short_path(str(item))} {what}; is it part of the package that was built?")
        return [lambda file=file: read_template(file) for file in files]  # type: ignore[misc]


def shown(item: object) -> str:
    return f"{item!r:.80} ({type(item).__qualname__})"


def _canonical(template: TaskTemplate) -> tuple[TaskTemplate, list[Problem]]:
    """Read again, so that what was made in code, around its checks even, is checked like a file."""
    return template_from_data(loads(template.canonical()), source=f"template {template.label}")
