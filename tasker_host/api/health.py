"""`/health`: for people, for load balancers, for whoever restarts processes."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from litestar import Controller, Request, Response, get

from tasker_host.api.bodies import AliveBody, HealthBody
from tasker_host.api.docs import described, problems
from tasker_host.api.examples import ALIVE, HEALTH, READY, UNHEALTHY
from tasker_host.api.problems import body, host_of, not_ready
from tasker_host.runtime.health import Phase, Report, Status

if TYPE_CHECKING:
    from tasker_host.host import Host

_UNHEALTHY = described(
    HealthBody, UNHEALTHY, status=HTTPStatus.SERVICE_UNAVAILABLE, description="A check is unhealthy."
)
_OK = "As it is."


class HealthController(Controller):
    path = "/health"
    tags = ["health"]  # noqa: RUF012 - as the framework declares it

    @get("/", responses={**described(HealthBody, HEALTH, description=_OK), **_UNHEALTHY}, summary="How the host is")
    async def health(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """Phase, checks and figures; 503 when a check is unhealthy."""
        host = host_of(request)
        report = await host.health.report()
        content = {"status": report.status.value, **_told(report), "info": _info(host, report)}
        unhealthy = report.status is Status.UNHEALTHY
        return body(content, status=HTTPStatus.SERVICE_UNAVAILABLE if unhealthy else HTTPStatus.OK)

    @get("/live", responses=described(AliveBody, ALIVE, description=_OK), summary="Whether the process runs")
    async def live(self) -> Response[bytes]:
        """Always 200: when this does not answer, the process is to be restarted."""
        return body({"status": "alive", "timestamp": datetime.now(UTC)})

    @get(
        "/ready",
        responses={**described(HealthBody, READY, description=_OK), **problems(503)},
        summary="Whether work may be sent here",
    )
    async def ready(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """200 while the host serves; 503 while it starts or stops, or its database does not answer."""
        report = await host_of(request).health.report()
        if report.is_ready:
            return body({"status": "ready", **_told(report), "info": {}})
        ill = [checked.name for checked in report.checks if checked.weighs is Status.UNHEALTHY]
        detail = f"the host is {report.phase}" + (f"; unhealthy: {', '.join(ill)}" if ill else "")
        return not_ready(detail, **_told(report))


def _told(report: Report) -> dict[str, Any]:
    return {"phase": report.phase.value, "timestamp": datetime.now(UTC), "checks": list(report.checks)}


def _info(host: Host, report: Report) -> dict[str, Any]:
    info = {"version": host.version, "environment": host.config.environment}
    if report.phase is Phase.STARTING:
        return info  # the rest is not there yet
    worker = host.worker
    return {
        **info,
        "database": str(host.opened),
        "namespaces": host.catalog.namespaces(),
        "worker": None
        if worker is None
        else {
            "id": worker.id,
            "connected": worker.connected,
            "slots": worker.options.slots,
            "running": worker.running,
            "abandoned_threads": worker.abandoned_threads,
            "counts": worker.counts,
        },
    }
