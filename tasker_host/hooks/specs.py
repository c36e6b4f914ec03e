"""The hooks. Each is called on one plugin at a time, while the host starts and never while a step runs.

A plugin is a module (named by its entry point in the group `tasker_host.plugins`) with functions of these names:

    from tasker_host import hookimpl

    @hookimpl
    def tasker_handlers(settings):
        return [charge_card]

An implementation may leave out arguments that it has no use for. `settings` is the plugin's own model, filled from
`[plugins.<name>.settings]`, or None when it has no `tasker_settings`. A plugin gives all or nothing: when one of its
hooks raises or returns what it should not, everything it gave is dropped and its fault is shown by
`tasker plugin list`; other plugins go on.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any

import pluggy

from tasker_host.domain.template import TaskTemplate
from tasker_host.hooks.bound import Buildable
from tasker_host.hooks.publisher import EventPublisher
from tasker_host.hooks.records import Classifier, Executor, HealthCheck, Middleware, Publisher, Resolver, Subscriber
from tasker_host.hooks.relay import Relay

if TYPE_CHECKING:
    import click
    from pydantic import BaseModel

PROJECT = "tasker_host"
PREFIX = "tasker_"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin as the implementation of the hook of the same name."""


@hookspec
def tasker_settings() -> type[BaseModel] | None:
    """What may be written in `[plugins.<name>.settings]`.

    **Called** first, once, before anything else is asked of the plugin.
    **Return** a pydantic model class, or None: the plugin has no settings. Its defaults make the section optional.
    **If it raises**, or a setting does not fit the model, the plugin fails; the fault has file and line of the setting.
    **Since** 0.1.
    """


@hookspec
def tasker_handlers(settings: Any) -> Iterable[Any]:  # type: ignore[empty-body]
    """The handlers that steps of templates name in `handler.callable`.

    **Called** once, after the settings were checked.
    **Return** functions decorated with `step_handler`, `StepHandler` classes or instances, `Handler` records. What each
    parameter of a handler is given is resolved now; what cannot be resolved is a fault, as is a name that another
    plugin has taken.
    **If it raises**, also half-way through a generator, the plugin fails.
    **Since** 0.1.
    """


@hookspec
def tasker_resolvers(settings: Any) -> Iterable[Resolver]:  # type: ignore[empty-body]
    """Who finds handlers that are not registered by name: in a catalogue, a table, behind an address.

    **Called** once, after `tasker_handlers`.
    **Return** `Resolver` records. Each is asked for what templates name while the host starts, never while a step runs.
    **If it raises**, the plugin fails. What `resolve` raises makes the template that asked unavailable.
    **Since** 0.1.
    """


@hookspec
def tasker_templates(settings: Any) -> Iterable[TaskTemplate | Buildable | Traversable]:  # type: ignore[empty-body]
    """Templates of the tasks that can be submitted.

    **Called** once, after `tasker_resolvers`.
    **Return** `TaskTemplate`s, workflows (`workflow(...)`, which are built), or YAML resources:
    `importlib.resources.files("tasker_payments") / "templates"` is a folder, read with all `.yaml` and `.yml` files
    below it; a single file works too.
    **If it raises**, or a file is not a valid template, the plugin fails; each fault has file and line.
    **Since** 0.1.
    """


@hookspec
def tasker_middleware(settings: Any) -> Iterable[Middleware]:  # type: ignore[empty-body]
    """What runs around every step.

    **Called** once, after `tasker_templates`.
    **Return** `Middleware` records.
    **If it raises**, the plugin fails. What a middleware raises around a step is that step's failure.
    **Since** 0.1.
    """


@hookspec
def tasker_classifiers(settings: Any) -> Iterable[Classifier]:  # type: ignore[empty-body]
    """Whether a step that failed with some exception is tried again, for exceptions that do not say so themselves.

    **Called** once, after `tasker_middleware`.
    **Return** `Classifier` records; the one of the most specific exception type wins, then the first plugin by name.
    **If it raises**, the plugin fails.
    **Since** 0.1.
    """


@hookspec
def tasker_executors(settings: Any) -> Iterable[Executor]:  # type: ignore[empty-body]
    """Where handlers may run beside the event loop: a cluster, a pool of their own.

    **Called** once, after `tasker_classifiers`.
    **Return** `Executor` records; handlers of any plugin name them in `runs_in`. `thread` and `process` are the host's
    own. What an executor needs open is opened in `tasker_lifespan`.
    **If it raises**, the plugin fails. What `submit` or its future raises is a failure of the step that may be tried
    again (`EXECUTOR_FAILED`). A plugin whose handler names an executor that nobody gives fails.
    **Since** 0.1.
    """


@hookspec
def tasker_publishers(settings: Any) -> Iterable[Publisher | EventPublisher]:  # type: ignore[empty-body]
    """What events say: the payloads of those that templates declare.

    **Called** once, after `tasker_executors`.
    **Return** `Publisher` records, or classes or instances of `EventPublisher`. `default` is the host's own: it
    publishes the result, or for a failure the error.
    **If it raises**, the plugin fails. What a publisher raises costs that one event, never its step.
    **Since** 0.1.
    """


@hookspec
def tasker_subscribers(settings: Any) -> Iterable[Subscriber]:  # type: ignore[empty-body]
    """Who hears fast events in this process, after the result that they tell of was committed.

    **Called** once, after `tasker_publishers`.
    **Return** `Subscriber` records. Patterns go by segments: `payment.*` is one more, `payment.**` any number; the
    host's own happenings (`host.step.finished`, ...) are heard by patterns that begin with `host`.
    **If it raises**, the plugin fails. What a subscriber raises is counted and logged, and nothing else comes of it.
    **Since** 0.1.
    """


@hookspec
def tasker_relays(settings: Any) -> Iterable[Relay]:  # type: ignore[empty-body]
    """Who carries durable events out: to a web hook, a broker, another database.

    **Called** once, after `tasker_subscribers`.
    **Return** `Relay` records, one for each target. Each has a queue of its own, which gets its events in the
    transaction that sends them; any number of hosts deliver from it.
    **If it raises**, the plugin fails. What `deliver` raises is that delivery's failure: it is tried again, and given
    up in the end; nothing else waits for it.
    **Since** 0.1.
    """


@hookspec
def tasker_commands() -> Iterable[click.Command]:  # type: ignore[empty-body]
    """More commands for `tasker`.

    **Called** once, after `tasker_relays`.
    **Return** click commands or groups; their names become nouns of the `tasker` command.
    **If it raises**, the plugin fails.
    **Since** 0.1.
    """


@hookspec
def tasker_health(settings: Any) -> Iterable[HealthCheck]:  # type: ignore[empty-body]
    """What `/health` is to look at beside the host's own checks.

    **Called** once, after `tasker_commands`. The checks themselves are made by a host that runs steps, when somebody
    asks how it is: all at once, at most twice a second.
    **Return** `HealthCheck` records. `database`, `worker`, `plugins` and `relays` are the host's own.
    **If it raises**, the plugin fails. What a check raises is shown as unhealthy, and nothing else comes of it.
    **Since** 0.1.
    """


@hookspec
def tasker_routes(settings: Any) -> Iterable[Any]:  # type: ignore[empty-body]
    """What the host's HTTP server answers below `/plugins/<name>/`.

    **Called** once, after `tasker_health`.
    **Return** Litestar route handlers, controllers or routers, with paths as they are below `/plugins/<name>`. In a
    handler `request.app.state.host` is the `Host`.
    **If it raises**, two of them answer the same, or they cannot be served or described as OpenAPI, the plugin fails.
    What a route raises is answered as a problem document, and logged.
    **Since** 0.1.
    """


@hookspec
def tasker_lifespan(settings: Any, host: Any) -> AbstractAsyncContextManager[Any] | None:
    """What the plugin opens when a host starts to serve, and closes when it stops.

    **Called** once for each host that serves (not by `tasker plugin list`), after the database was opened and before
    the first step runs; plugins in name order.
    **Return** an async context manager, or None. It is entered at once and left after the last step, last in, first
    out.
    **If it raises** on the way in, the plugin fails and its handlers and templates are no longer offered. On the way
    out it is logged, and the others are still left.
    **Since** 0.1.
    """
