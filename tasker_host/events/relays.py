"""The relays of a host, and the queues that are bound by configuration."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from datetime import timedelta

import structlog

from tasker_host.config.settings import EventRetentionSettings, EventsSettings, RelaysSettings
from tasker_host.db.database import TRANSIENT, Database
from tasker_host.db.relays import Binding, bindings_set, consumed_retain, event_queues, queue_retain, relays_stats
from tasker_host.db.sweep import turn_take
from tasker_host.domain.backoff import BackoffPolicy
from tasker_host.errors import DatabaseUnavailable
from tasker_host.events.delivery import RelayOptions
from tasker_host.events.relay import RelayLoop, register
from tasker_host.hooks.relay import Relay
from tasker_host.runtime.breaker import BreakerState
from tasker_host.runtime.supervise import Supervisor

log = structlog.get_logger("tasker.relay")

RETAIN_SECONDS = 3600.0
"""Between two times that old events are taken away."""


class Relays:
    """`given` are the relays of plugins, each with the name of its plugin."""

    def __init__(self, database: Database, settings: EventsSettings, given: Iterable[tuple[str, Relay]]) -> None:
        self._database = database
        self._settings = settings
        relays = settings.relays
        self._given = list(given)
        self.loops = [
            RelayLoop(relay, plugin, database, options(relays, relay))
            for plugin, relay in self._given
            if relays.enabled and (not relays.only or relay.name in relays.only)
        ]
        if missing := sorted(set(relays.only) - {relay.name for _, relay in self._given}):
            log.warning("configured relays are given by no plugin here", relays=missing)

    async def bind(self) -> None:
        """Binds what is configured and nothing else, and keeps events for every relay, whether it runs here or not."""
        bindings = [
            Binding(one.queue, one.pattern, sorted(one.namespaces), one.ordered_by or None)
            for one in self._settings.bindings
        ]
        gone = await bindings_set(self._database, bindings)
        if gone is not None:
            log.info("queues bound", bindings=[f"{one.queue} {one.pattern}" for one in bindings])
        if gone:
            log.warning("queues are not bound any more; what is in them stays", bindings=gone)
        for plugin, relay in self._given:
            await register(self._database, plugin, relay)

    def start(self, supervisor: Supervisor) -> None:
        for loop in self.loops:
            supervisor.start(f"relay {loop.relay.name}", loop.run)
        if any(self._settings.retention.model_dump().values()):
            supervisor.start("event retention", EventRetention(self._database, self._settings.retention).run)

    def look(self) -> None:
        """There may be something to deliver."""
        for loop in self.loops:
            loop.look()

    def trouble(self) -> list[str]:
        """Relays of this host that deliver nothing just now, and why."""
        found = []
        for loop in self.loops:
            if loop.stopped_because is not None:
                found.append(f"{loop.relay.name} is stopped: {loop.stopped_because}")
            elif loop.breaker.state is BreakerState.OPEN:
                found.append(f"{loop.relay.name} leaves its target alone after {loop.breaker.failures} failures")
        return found

    def stop_taking(self) -> None:
        """Begin to stop: deliveries under way go on, nothing more is taken."""
        for loop in self.loops:
            loop.stop_taking(grace_seconds=self._settings.relays.shutdown_grace_seconds)

    async def stop(self) -> None:
        """Takes nothing more, and lets deliveries under way end."""
        grace = self._settings.relays.shutdown_grace_seconds
        await asyncio.gather(*(loop.stop(grace_seconds=grace) for loop in self.loops))


def options(settings: RelaysSettings, relay: Relay) -> RelayOptions:
    """What the relay says, and the configuration where it says nothing."""
    retry = settings.retry
    base_ms = retry.base_ms if relay.retry_base_seconds is None else int(relay.retry_base_seconds * 1000)
    max_ms = retry.max_ms if relay.retry_max_seconds is None else int(relay.retry_max_seconds * 1000)
    return RelayOptions(
        concurrency=relay.concurrency or settings.concurrency,
        batch_size=settings.batch_size,
        timeout_seconds=relay.timeout_seconds or settings.timeout_seconds,
        lease=timedelta(seconds=settings.lease_seconds),
        max_attempts=relay.max_attempts or settings.max_attempts,
        backoff=BackoffPolicy(retry.backoff, base_ms, max(base_ms, max_ms), retry.jitter),
        breaker_failures=settings.breaker_failures,
        breaker_open_seconds=settings.breaker_open_seconds,
        breaker_successes=settings.breaker_successes,
        poll_interval_seconds=settings.poll_interval_seconds,
        shutdown_grace_seconds=settings.shutdown_grace_seconds,
    )


class EventRetention:
    """Takes old events away, as one host of all."""

    def __init__(self, database: Database, settings: EventRetentionSettings) -> None:
        self._database = database
        self._settings = settings

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                if await turn_take(self._database, "event retention", timedelta(seconds=RETAIN_SECONDS * 0.8)):
                    await self.retain()
            except (DatabaseUnavailable, *TRANSIENT) as error:
                log.warning("old events not taken away", error=str(error) or type(error).__name__)
            await asyncio.sleep(RETAIN_SECONDS * random.uniform(0.9, 1.1))  # noqa: S311 - jitter, not a secret

    async def retain(self) -> dict[str, int]:
        """Takes away what is too old; how many messages, by queue."""
        settings, gone = self._settings, {}
        for queue in await event_queues(self._database):
            gone[queue] = await self._queue(queue, settings.unconsumed_max_age_days)
            gone[f"archive of {queue}"] = await self._queue(queue, settings.archived_max_age_days, archived=True)
        for relay in await relays_stats(self._database) if settings.dead_max_age_days else ():
            queue = f"{relay['relay']}_relay_dead"
            gone[queue] = await self._queue(queue, settings.dead_max_age_days)
        if settings.consumed_max_age_days:
            age = timedelta(days=settings.consumed_max_age_days)
            gone["consumed"] = await consumed_retain(self._database, age)
        gone = {queue: count for queue, count in gone.items() if count}
        if gone:
            log.info("old events taken away", events=gone)
        return gone

    async def _queue(self, queue: str, days: float, *, archived: bool = False) -> int:
        return await queue_retain(self._database, queue, timedelta(days=days), archived=archived) if days else 0
