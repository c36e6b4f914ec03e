"""What a worker is told when it is made, and what it counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from tasker_host.config.settings import Settings
from tasker_host.registry.plan import StepPlan


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How one worker works; the defaults of every field live in `config/base/worker.toml`."""

    mode: str
    slots: int
    max_claim: int
    lease: timedelta
    poll_interval_seconds: float
    shutdown_grace_seconds: float
    result_max_bytes: int
    min_slots: int = 0
    max_slots: int = 0
    """With both, the slots follow what runs, between these; else they stay as they are."""
    shed_percent: int = 100
    """At so many percent of its slots it takes nothing more from the queues, only what follows on what it ends."""
    shed_warn_percent: int = 100
    max_blocked_seconds: float = 0.0
    """How long leases are kept for a worker whose interpreter is held; 0: no longer than they last."""
    tags: tuple[str, ...] = ()
    """With tags it takes only steps that ask for a subset of them; without, everything."""


def worker_options(settings: Settings) -> WorkerOptions:
    """As they are configured."""
    worker = settings.worker
    return WorkerOptions(
        mode=worker.mode,
        slots=worker.slots,
        max_claim=worker.max_claim,
        lease=timedelta(seconds=worker.lease_seconds),
        poll_interval_seconds=worker.poll_interval_seconds,
        shutdown_grace_seconds=worker.shutdown_grace_seconds,
        result_max_bytes=settings.limits.result_max_bytes,
        max_blocked_seconds=worker.max_blocked_seconds,
        tags=worker.tags,
        min_slots=worker.min_slots,
        max_slots=worker.max_slots,
        shed_percent=worker.shed_percent,
        shed_warn_percent=worker.shed_warn_percent,
    )


class Plans(Protocol):
    """Where a worker finds how to run a step."""

    def known(self, template_id: int) -> dict[str, StepPlan] | None: ...

    async def load(self, template_ids: Iterable[int]) -> None: ...


@dataclass(slots=True)
class WorkerCounts:
    """Since the start of this worker. `failed` attempts include `retried` ones."""

    claimed: int = 0
    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    released: int = 0
    superseded: int = 0
    checkpoints: int = 0
