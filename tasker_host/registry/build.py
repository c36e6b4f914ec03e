"""From what plugins give, and the user's own template files, to the registry of this host."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tasker_host.config import Config
from tasker_host.domain.backoff import BackoffPolicy
from tasker_host.domain.template import TaskTemplate
from tasker_host.errors import Problem, TemplateError
from tasker_host.handlers.resolve import PluginResolver
from tasker_host.plugins import Contribution, Roster
from tasker_host.plugins.resources import read_template, template_files
from tasker_host.registry.compose import Defaults, Registry


def registry_of(roster: Roster, config: Config) -> Registry:
    """Everything that active plugins give, and the templates of `templates.paths`. Raises TemplateError."""
    return registry_with(roster, config, _own(config, roster.active()))


def registry_with(roster: Roster, config: Config, own: Iterable[TaskTemplate] = ()) -> Registry:
    """Everything that active plugins give, and the user's `own` templates."""
    active = roster.active()
    retry = config.settings.worker.retry
    backoff = BackoffPolicy(retry.backoff, retry.base_ms, retry.max_ms, retry.jitter)
    return Registry(
        [handler for contribution in active for handler in contribution.handlers],
        [*(template for contribution in active for template in contribution.templates), *own],
        Defaults(
            backoff,
            config.settings.worker.handler_timeout_seconds,
            config.settings.limits.decision_steps_max,
            config.settings.limits.decision_depth_max,
            config.settings.limits.batch_workers_max,
        ),
        resolvers=[
            PluginResolver(resolver, contribution.plugin, contribution.settings)
            for contribution in active
            for resolver in contribution.resolvers
        ],
        handler_packages=config.settings.worker.handler_packages,
        middleware=[middleware for contribution in active for middleware in contribution.middleware],
        classifiers=[classifier for contribution in active for classifier in contribution.classifiers],
        executors=[executor for contribution in active for executor in contribution.executors],
        publishers=[publisher for contribution in active for publisher in contribution.publishers],
        subscribers=[subscriber for contribution in active for subscriber in contribution.subscribers],
    )


def _own(config: Config, active: Iterable[Contribution]) -> list[TaskTemplate]:
    """The templates of `templates.paths`, as they are in this environment; each label only once, plugins' included."""
    owners = {template.label: f"plugin '{given.plugin}'" for given in active for template in given.templates}
    found: list[TaskTemplate] = []
    problems: list[Problem] = []
    for index, path in enumerate(config.settings.templates.paths):
        files = list(template_files(Path(path)))
        if not files:
            what = "has no .yaml or .yml file" if Path(path).is_dir() else "does not exist"
            origin = config.origin("templates", "paths", index)
            problems.append(Problem(str(origin or ""), f"[templates] paths: {path} {what}"))
        for file in files:
            try:
                template, _ = read_template(file)
            except TemplateError as error:
                problems += error.problems
                continue
            owner = owners.setdefault(template.label, str(file))
            if owner != str(file):
                problems.append(Problem(str(file), f"template '{template.label}' is already given by {owner}"))
            else:
                found.append(template.for_environment(config.environment))
    if problems:
        raise TemplateError("templates that are configured cannot be used", problems)
    return found
