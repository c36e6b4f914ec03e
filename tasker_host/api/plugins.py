"""`/v1/plugins`: what this host was composed of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar import Controller, Request, Response, get

from tasker_host.api.docs import described, problems
from tasker_host.api.problems import body, host_of, once_started
from tasker_host.registry.told import given_by, summary


@dataclass(frozen=True, slots=True)
class FaultBody:
    """`stage` is how far the plugin came; `hook` is empty where none is concerned; `hint` says what to do."""

    stage: str
    hook: str
    error: str
    hint: str


@dataclass(frozen=True, slots=True)
class PluginBody:
    """A plugin. `status` is active, disabled, missing, refused or failed; `gives` counts what it gives by kind.

    `contents` names that, null unless it is active. `note` says why it is disabled.
    """

    name: str
    status: str
    version: str
    distribution: str
    module: str
    required: bool
    note: str
    gives: dict[str, int]
    faults: list[FaultBody]
    contents: dict[str, Any] | None


PLUGIN: dict[str, Any] = {
    "name": "payments",
    "status": "failed",
    "version": "1.4.0",
    "distribution": "tasker-payments",
    "module": "tasker_payments.plugin",
    "required": False,
    "note": "",
    "gives": {},
    "faults": [
        {
            "stage": "settings",
            "hook": "",
            "error": "[plugins.payments.settings] timeout_seconds: must be a number (got 'soon'), from"
            " config/base/plugins.toml:9",
            "hint": "correct it in the configuration",
        }
    ],
    "contents": None,
}


class PluginController(Controller):
    path = "/v1/plugins"
    tags = ["plugins"]  # noqa: RUF012 - as the framework declares it
    before_request = staticmethod(once_started)

    @get(
        "/",
        responses={**described(list[PluginBody], [PLUGIN], description="They."), **problems(503)},
        summary="List plugins",
    )
    async def list_plugins(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """The plugins that are installed or configured where this host runs, with what they give or their faults."""
        host = host_of(request)
        told = []
        for plugin in host.roster.others():
            given = plugin.contribution
            told.append({**summary(plugin), "contents": None if given is None else given_by(given, host.registry)})
        return body(told)
