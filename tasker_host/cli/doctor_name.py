"""Why a name that templates, commands or people use stands for nothing here; or what it stands for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tasker_host.cli.doctor_text import Mention, mentions
from tasker_host.cli.plugin_show import counted
from tasker_host.config import Config
from tasker_host.domain.suggest import did_you_mean
from tasker_host.domain.template import TaskTemplate
from tasker_host.hooks.bound import BindError, BoundHandler
from tasker_host.hooks.publisher import DEFAULT
from tasker_host.plugins import Plugin, Roster, Status
from tasker_host.plugins.distributions import unfinished
from tasker_host.plugins.owners import names_of
from tasker_host.registry.build import registry_of
from tasker_host.registry.compose import Registry

_MOST = 8


@dataclass(frozen=True, slots=True)
class Reason:
    """Why it is not there, as far as `plugin` (empty: none) is concerned, and what to do."""

    message: str
    plugin: str = ""
    status: str = ""
    do: str = ""

    def as_json(self) -> dict[str, str]:
        return {"plugin": self.plugin, "status": self.status, "message": self.message, "do": self.do}

    def lines(self) -> Iterator[str]:
        yield f"  {self.message}"
        if self.do:
            yield f"    → {self.do}"


@dataclass(frozen=True, slots=True)
class Explained:
    """`kind` is handler, template, plugin and so on; empty when it is not known. `used_by` are steps that name it."""

    name: str
    kind: str
    available: bool
    reasons: tuple[Reason, ...]
    used_by: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind or None,
            "available": self.available,
            "reasons": [reason.as_json() for reason in self.reasons],
            "used_by": list(self.used_by),
        }

    def __str__(self) -> str:
        what = f"{self.kind} '{self.name}'" if self.kind else f"'{self.name}'"
        lines = [f"{what} is {'' if self.available else 'not '}available"]
        lines += [line for reason in self.reasons[:_MOST] for line in reason.lines()]
        if self.used_by:
            more = f" and {len(self.used_by) - _MOST} more" if len(self.used_by) > _MOST else ""
            lines.append(f"  used by {', '.join(self.used_by[:_MOST])}{more}")
        return "\n".join(lines)


def explained(name: str, config: Config, roster: Roster) -> Explained:
    """What `name` stands for, or everything that is known of why it stands for nothing. Raises TemplateError."""
    return _Doctor(config, roster).about(name)


class _Doctor:
    def __init__(self, config: Config, roster: Roster) -> None:
        self._roster = roster
        self._registry: Registry = registry_of(roster, config)
        self._known = list(self._names())

    def about(self, name: str) -> Explained:
        if templates := self._templates(name):
            return self._template(name, templates)
        given = [(kind, plugin) for kind, known, plugin in self._known if known == name]
        if given:
            reasons = tuple(Reason(_from(plugin), plugin.name, str(plugin.status)) for _, plugin in given)
            return Explained(name, given[0][0], True, reasons, self._users(name))
        if name == DEFAULT:
            return Explained(name, "publisher", True, (Reason("the host itself gives it"),), self._users(name))
        if (plugin := self._plugin(name)) is not None:
            return _plugin(plugin)
        if (found := self._resolved(name)) is not None:
            owner = f"a resolver finds it: {found.path}, for plugin '{found.plugin}'"
            return Explained(name, "handler", True, (Reason(owner, found.plugin),), self._users(name))
        return Explained(name, self._kind(name), False, tuple(self._why(name)), self._users(name))

    # What there is ----------------------------------------------------------------------------------------------------

    def _names(self) -> Iterator[tuple[str, str, Plugin]]:
        """Kind, name and plugin of everything that is given."""
        for plugin in self._roster.plugins:
            if plugin.contribution is not None:
                for _, kind, name in names_of(plugin.contribution):
                    yield kind, name, plugin

    def _templates(self, name: str) -> list[TaskTemplate]:
        wanted = name.replace("@", " ")
        return [
            template
            for template in self._registry.templates()
            if wanted in (template.label, f"{template.namespace_name}/{template.name}")
        ]

    def _plugin(self, name: str) -> Plugin | None:
        """By its name, its distribution or its package."""
        for plugin in self._roster.others():
            if name in (plugin.name, *plugin.dist.split(", "), plugin.module, plugin.module.partition(".")[0]):
                return plugin
        return None

    def _resolved(self, name: str) -> BoundHandler | None:
        """The handler that a resolver finds for a step of that name."""
        for template in self._registry.templates():
            for step in template.steps:
                if step.handler.callable == name:
                    with suppress(BindError):
                        return self._registry.handlers.find(step.handler)
        return None

    def _users(self, name: str) -> tuple[str, ...]:
        return tuple(
            f"step '{step.name}' of {template.label}"
            for template in self._registry.templates()
            for step in template.steps
            if step.handler.callable == name or any(event.publisher == name for event in step.publishes_events)
        )

    def _kind(self, name: str) -> str:
        """What somebody takes it for, who names it in a template."""
        for template in self._registry.templates():
            for step in template.steps:
                if step.handler.callable == name:
                    return "handler"
                if any(event.publisher == name for event in step.publishes_events):
                    return "publisher"
        return "template" if "/" in name else ""

    # Why not ----------------------------------------------------------------------------------------------------------

    def _template(self, name: str, templates: list[TaskTemplate]) -> Explained:
        reasons: list[Reason] = []
        for template in templates:
            reasons += [Reason(str(problem)) for problem in self._registry.problems_of(template)]
            reasons += [reason for callable_ in self._missing(template) for reason in self._why(callable_)]
        if reasons:
            return Explained(name, "template", False, tuple(dict.fromkeys(reasons)))
        owners = {template.label: plugin for plugin in self._roster.plugins for template in _given(plugin)}
        told = []
        for template in templates:
            owner = owners.get(template.label)
            where = "from [templates] paths" if owner is None else _from(owner)
            told.append(Reason(f"{template.label}, {counted({'steps': len(template.steps)})}, {where}"))
        return Explained(name, "template", True, tuple(told))

    def _missing(self, template: TaskTemplate) -> Iterator[str]:
        """Handlers and publishers that it names and nobody gives."""
        given = {handler.name for handler in self._registry.handlers}
        for step in template.steps:
            if step.handler.callable not in given:  # else by another resolver than the one that the step names
                try:
                    self._registry.handlers.find(step.handler.model_copy(update={"method": None}))
                except BindError:
                    yield step.handler.callable
            for event in step.publishes_events:
                if event.publisher not in (None, DEFAULT, *self._registry.publishers):
                    yield str(event.publisher)

    def _why(self, name: str) -> Iterator[Reason]:
        """From the surest to the vaguest; always something."""
        found = list(self._in_packages(name))
        yield from found
        said = {reason.plugin for reason in found}
        yield from (reason for reason in self._by_prefix(name) if reason.plugin not in said)
        if any(reason.plugin for reason in found):
            return
        known = {known: (kind, plugin.name) for kind, known, plugin in self._known}
        known |= {f"{t.namespace_name}/{t.name}": ("template", "") for t in self._registry.templates()}
        known |= {plugin.name: ("plugin", "") for plugin in self._roster.others()}
        if hint := did_you_mean(name, known).removeprefix("; "):
            right = hint.split("'")[1]
            kind, owner = known[right]
            owner = f" from plugin '{owner}'" if owner else ""
            yield Reason(f"no installed plugin gives it; there is the {kind} '{right}'{owner}", do=hint)
        elif not found:
            yield Reason(
                "no installed plugin gives it or mentions it",
                do="pip install the package that gives it, in the environment of this command; tasker plugin list tells"
                " which are there",
            )

    def _in_packages(self, name: str) -> Iterator[Reason]:
        for plugin in self._roster.others():
            mention = next(iter(mentions(plugin.module, name)), None)
            if mention is None:
                continue
            if plugin.status is Status.ACTIVE:
                yield Reason(
                    f"{_from(plugin)} mentions it in {mention}, but does not give it",
                    plugin.name,
                    str(plugin.status),
                    _give(mention),
                )
            else:
                yield from _not_given(plugin, f" has it in {mention}, and")

    def _by_prefix(self, name: str) -> Iterator[Reason]:
        prefix = name.replace("/", ".").partition(".")[0]
        for plugin in self._roster.others():
            if prefix in (plugin.name, plugin.name.replace("-", "_")) and plugin.status is not Status.ACTIVE:
                yield from _not_given(plugin, "")
        if all(plugin.name != prefix for plugin in self._roster.plugins):
            yield from (Reason(message, prefix, "", do) for message, do in unfinished(prefix))


def _given(plugin: Plugin) -> tuple[TaskTemplate, ...]:
    return () if plugin.contribution is None else plugin.contribution.templates


def _from(plugin: Plugin) -> str:
    if plugin.is_own:
        return "the host itself gives it"
    return f"plugin '{plugin.name}' ({f'{plugin.dist} {plugin.version}'.strip()})"


def _give(mention: Mention) -> str:
    if mention.is_yaml:
        return "correct the file"
    return "put it in what the plugin's hook returns (tasker_handlers for a handler), and check the name"


def _not_given(plugin: Plugin, has: str) -> Iterator[Reason]:
    """One for each fault, or for why it is disabled."""
    about = f"plugin '{plugin.name}'" if plugin.status is Status.MISSING else _from(plugin)
    for fault in plugin.faults:
        what = f"{fault.stage} · {f'{fault.hook}: ' if fault.hook else ''}{fault.error}"
        yield Reason(f"{about}{has} is {plugin.status}: {what}", plugin.name, str(plugin.status), fault.hint)
    if plugin.status is Status.DISABLED:
        do = f"set [plugins.{plugin.name}] enabled = true"
        yield Reason(f"{about}{has} is disabled: {plugin.note}", plugin.name, str(plugin.status), do)


def _plugin(plugin: Plugin) -> Explained:
    if plugin.status is Status.ACTIVE:
        do = f"tasker plugin show {plugin.name}"
        return Explained(plugin.name, "plugin", True, (Reason(_from(plugin), plugin.name, "active", do),))
    return Explained(plugin.name, "plugin", False, tuple(_not_given(plugin, "")))
