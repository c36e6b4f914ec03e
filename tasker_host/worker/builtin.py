"""What the host itself gives, through the hooks that plugins use: where handlers run, and who hears of events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tasker_host.config import Config
from tasker_host.events.builtin import BuiltIn as Events
from tasker_host.hooks.records import Executor, Subscriber
from tasker_host.hooks.specs import hookimpl
from tasker_host.worker.processes import Processes
from tasker_host.worker.threads import Threads


class BuiltIn:
    """Threads and processes, started when the first handler needs one and ended with the host; and, where `events` is
    given, the subscribers that log and count."""

    def __init__(self, *, thread_slots: int, process_slots: int, events: Events | None = None) -> None:
        self.events = events
        self._threads = Threads(thread_slots, name="tasker-step")
        self._processes = Processes(process_slots)

    @hookimpl
    def tasker_executors(self) -> list[Executor]:
        return [
            Executor("thread", self._threads.submit, is_remote=False),
            Executor("process", self._processes.submit, tells_began=True),
        ]

    @hookimpl
    def tasker_subscribers(self) -> list[Subscriber]:
        return [] if self.events is None else self.events.tasker_subscribers()

    @hookimpl
    @asynccontextmanager
    async def tasker_lifespan(self, host: Any) -> AsyncIterator[None]:  # noqa: ARG002 - the hook's argument
        try:
            yield
        finally:
            self._threads.close()
            self._processes.close()


def own_plugin(config: Config) -> BuiltIn:
    """The host's own plugin, as this configuration says."""
    worker = config.settings.worker
    said = config.settings.events
    events = Events(log=said.log, metrics=said.metrics)
    return BuiltIn(thread_slots=worker.thread_slots, process_slots=worker.process_slots, events=events)
