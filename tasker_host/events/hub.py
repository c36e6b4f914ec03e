"""The events of one host, from the outcomes of its steps to everybody who hears of them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog

from tasker_host.db.kernel import Claimed
from tasker_host.domain.context import StepContext
from tasker_host.domain.event import DomainEvent
from tasker_host.domain.ids import uuid7
from tasker_host.domain.json import loads
from tasker_host.events.build import Built, EventOptions, Publication, Publications
from tasker_host.events.builtin import BuiltIn
from tasker_host.events.fast import FastBus
from tasker_host.events.ledger import Ledger
from tasker_host.events.mailbox import Mailbox
from tasker_host.events.message import rfc3339
from tasker_host.events.share import Share
from tasker_host.hooks.publisher import BoundPublisher, EventPublisher
from tasker_host.hooks.records import Subscriber
from tasker_host.registry.plan import StepPlan

log = structlog.get_logger("tasker.events")

STEP_FINISHED = "host.step.finished"
TASK_FINISHED = "host.task.finished"
EVENT_FAILED = "host.event.failed"
PLUGIN_FAILED = "host.plugin.failed"

HAPPENINGS = (STEP_FINISHED, TASK_FINISHED, EVENT_FAILED, PLUGIN_FAILED)
"""What the host tells of itself, on the fast path only."""


class Events:
    """Used on the event loop only. `fired_by` is who tells of the host's own happenings: its worker's id."""

    def __init__(
        self,
        options: EventOptions,
        *,
        publishers: Iterable[BoundPublisher] = (),
        subscribers: Sequence[Subscriber] = (),
        built_in: BuiltIn | None = None,
        subscriber_timeout_seconds: float = 5.0,
        fired_by: str = "",
    ) -> None:
        self.ledger = Ledger()
        self.built_in = built_in
        self.paths = {"durable": 0, "fast": 0, "broadcast": 0}
        """Events that went each way."""
        self._options = options
        self.fired_by = fired_by
        self.bus = FastBus(subscribers, timeout_seconds=subscriber_timeout_seconds)
        self.share: Share | None = None
        """What gives fast events to other hosts, where that is configured."""
        self._after: dict[str, Mailbox] = {
            publisher.name: self.bus.mailbox(Subscriber(f"after_publish of {publisher.name}", (), _after(hooks)))
            for publisher in publishers
            if (hooks := publisher.hooks) is not None and type(hooks).after_publish is not EventPublisher.after_publish
        }
        self._tells_of_steps = self.bus.hears(STEP_FINISHED)

    # Of steps ---------------------------------------------------------------------------------------------------------

    def concern(self, plan: StepPlan) -> bool:
        """Whether anything is to be made or told of what steps of `plan` come to."""
        return bool(plan.events) or self._tells_of_steps

    def publications(self, context_of: Callable[[Claimed, StepPlan], StepContext]) -> Publications:
        """What makes the events of outcomes; publishers are given `context_of` their step."""
        return Publications(context_of, self._options)

    def accepted(self, publications: Iterable[Publication]) -> None:
        """The outcomes were committed: so are their durable events, and everybody else is told now."""
        plain: dict[int, list[Publication]] = {}
        for publication in publications:
            if publication.plain:
                # Messages, and nobody here is given them: counted together, by the step of a template that they are of.
                plain.setdefault(id(publication.plain), []).append(publication)
            else:
                for built in publication.built:
                    self._tell(publication.step, built)
            if self._tells_of_steps:
                self._tell_of_step(publication)
        for alike in plain.values():
            namespace = alike[0].step.namespace
            for event in alike[0].plain:
                self.paths[event.mode] += len(alike)
                self.ledger.note(namespace, event.declaration.name, event.publisher_name, "published", many=len(alike))

    def _tell(self, step: Claimed, built: Built) -> None:
        plan = built.plan
        name, publisher = plan.declaration.name, plan.publisher_name
        self.ledger.note(step.namespace, name, publisher, built.fate, built.error)
        if built.fate == "published":
            self.paths[plan.mode] += 1
            if built.event is None:
                return
            if plan.is_fast:
                if self.share is not None:
                    self.share.share(built.event)
                self.bus.publish(built.event)
            if (mailbox := self._after.get(publisher)) is not None:
                mailbox.put(built.event)
        elif built.fate == "failed":
            told = {"event_name": name, "publisher": publisher, "error": built.error, "step_name": step.name}
            log.warning("event failed", **told, task=str(step.task_uuid), namespace=step.namespace)
            self.happened(EVENT_FAILED, told, task_uuid=str(step.task_uuid), namespace=step.namespace)

    def _tell_of_step(self, publication: Publication) -> None:
        step, outcome = publication.step, publication.outcome
        failed = outcome.kind == "failed"
        self.happened(
            STEP_FINISHED,
            {
                "outcome": outcome.kind,
                "will_retry": outcome.retry_after is not None,
                "took_ms": outcome.took_ms,
                "error": loads(outcome.value) if failed and outcome.value is not None else None,
            },
            task_uuid=str(step.task_uuid),
            step_uuid=str(step.step_uuid),
            step_name=step.name,
            namespace=step.namespace,
            template_name=publication.plan.template.name,
            template_version=publication.plan.template.version,
            correlation_id=str(step.correlation_id),
            attempt=step.attempt,
            max_attempts=step.max_attempts,
        )

    # Of the host ------------------------------------------------------------------------------------------------------

    def happened(self, name: str, payload: Mapping[str, Any], **metadata: Any) -> None:
        """One of the host's own happenings, to those who hear it."""
        if self.bus.hears(name):
            fired = {"fired_at": rfc3339(datetime.now(UTC), "microseconds"), "fired_by": self.fired_by}
            self.bus.publish(DomainEvent(uuid7(), name, dict(payload), {**metadata, **fired}))

    async def close(self, *, drain_seconds: float) -> None:
        """Gives out what is queued for so long, here and to other hosts; what is left then is dropped, and said so."""
        shared = () if self.share is None else (self.share.close(drain_seconds=drain_seconds),)
        await asyncio.gather(self.bus.close(drain_seconds=drain_seconds), *shared)

    def summary(self) -> dict[str, Any]:
        """Everything that was counted since the start of this host."""
        subscribers = self.bus.stats()
        return {
            "router": {
                "total_routed": sum(self.paths.values()),
                "durable_routed": self.paths["durable"],
                "fast_routed": self.paths["fast"],
                "broadcast_routed": self.paths["broadcast"],
                "fast_delivery_errors": sum(one["failed"] + one["timed_out"] for one in subscribers),
                "routing_errors": self.ledger.total("failed"),
            },
            "events": self.ledger.rows(),
            "in_process_bus": {
                "total_events_dispatched": self.bus.published,
                "dropped": sum(one["dropped"] for one in subscribers),
                "subscribers": subscribers,
            },
            "sharing": None if self.share is None else self.share.stats(),
            "fast_events": None
            if self.built_in is None or self.built_in.metrics is None
            else self.built_in.metrics.summary(),
        }


def _after(hooks: EventPublisher) -> Callable[[DomainEvent], Any]:
    async def receive(event: DomainEvent) -> None:
        answer = hooks.after_publish(event.event_name, event.payload, event.metadata)
        if inspect.isawaitable(answer):
            await answer

    return receive
