"""How a host is: which phase of its life it is in, and what its checks find."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

CHECK_TIMEOUT_SECONDS = 2.0

KEPT_SECONDS = 0.5
"""How long a report is good: however often it is asked for, checks run no more than that."""


class Phase(StrEnum):
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Status(StrEnum):
    """From best to worst."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


_WORSE = list(Status)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; `message` is for people."""

    status: Status = Status.HEALTHY
    message: str = ""


@dataclass(frozen=True, slots=True)
class Checked:
    """A finding with the check's name and how long it took."""

    name: str
    status: Status
    message: str
    took_ms: float
    critical: bool = True

    @property
    def weighs(self) -> Status:
        """What it makes of the whole: a check that is not critical does not make it worse than degraded."""
        return Status.DEGRADED if self.status is Status.UNHEALTHY and not self.critical else self.status


@dataclass(frozen=True, slots=True)
class Report:
    """`status` is the worst that a critical check found, and at worst degraded by others."""

    phase: Phase
    status: Status
    checks: tuple[Checked, ...]

    @property
    def is_ready(self) -> bool:
        """Whether work may be sent here."""
        return self.phase is Phase.READY and self.status is not Status.UNHEALTHY


Check = Callable[[], Awaitable[Finding]]


class Health:
    """Checks by name; all run at once, each with a time limit. One that raises or takes too long is unhealthy.

    A report is never later than the limit, even when a check cannot be cancelled; such a one is not started again
    before it has ended.
    """

    def __init__(self) -> None:
        self.phase = Phase.STARTING
        self._checks: dict[str, tuple[Check, bool]] = {}
        self._kept: tuple[float, tuple[Checked, ...]] | None = None
        self._running: asyncio.Task[tuple[Checked, ...]] | None = None
        self._late: dict[str, _Asked] = {}

    def add(self, name: str, check: Check, *, critical: bool = True) -> None:
        """While one that is `critical` is unhealthy, so is the host."""
        self._checks[name] = check, critical

    def ready(self) -> None:
        self.phase = Phase.READY

    def stopping(self) -> None:
        self.phase = Phase.STOPPING

    def stopped(self) -> None:
        self.phase = Phase.STOPPED

    async def report(self) -> Report:
        """As it is now, or was less than half a second ago."""
        checks = await self._checked()
        worst = max((checked.weighs for checked in checks), key=_WORSE.index, default=Status.HEALTHY)
        return Report(self.phase, worst, checks)

    async def _checked(self) -> tuple[Checked, ...]:
        if self._kept is not None and time.monotonic() - self._kept[0] < KEPT_SECONDS:
            return self._kept[1]
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run_all(), name="tasker-health")
        # Shielded: a caller who goes away does not end it for the others.
        return await asyncio.shield(self._running)

    async def _run_all(self) -> tuple[Checked, ...]:
        found = await asyncio.gather(*(self._run(name, *check) for name, check in self._checks.items()))
        self._kept = time.monotonic(), tuple(found)
        return self._kept[1]

    async def _run(self, name: str, check: Check, critical: bool) -> Checked:
        asked = self._late.pop(name, None)
        if asked is None or asked.task.done():
            asked = _Asked(time.perf_counter(), asyncio.create_task(_found(check), name=f"tasker-health-{name}"))
        left = asked.since + CHECK_TIMEOUT_SECONDS - time.perf_counter()
        # Waited for, not awaited: a connection that hangs also hangs while it is cancelled.
        await asyncio.wait({asked.task}, timeout=max(0.0, left))
        if asked.task.done():
            finding = asked.task.result()
        else:
            asked.task.cancel()
            self._late[name] = asked
            finding = Finding(Status.UNHEALTHY, f"no answer within {CHECK_TIMEOUT_SECONDS:g} s")
        took_ms = round((time.perf_counter() - asked.since) * 1000, 3)
        return Checked(name, finding.status, finding.message, took_ms, critical)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A check under way, and since when (`time.perf_counter`)."""

    since: float
    task: asyncio.Task[Finding]


async def _found(check: Check) -> Finding:
    try:
        return await check()
    except asyncio.CancelledError:
        # Ours, when it took too long and nobody listens any more; or from within, as a driver's call may be.
        return Finding(Status.UNHEALTHY, "it was cancelled")
    except Exception as error:
        return Finding(Status.UNHEALTHY, str(error) or type(error).__name__)
