"""The composition root: from a configuration to a host that serves. Concrete parts are chosen and joined here only."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self
from uuid import UUID

import structlog

from tasker_host.config import Config
from tasker_host.db.database import Database
from tasker_host.db.embedded import EmbeddedServer
from tasker_host.db.kernel import NOBODY, Claimed, Taker
from tasker_host.db.listen import ENDED, EVENTS, FAST_EVENTS, REQUESTS, Doorbell, Listener, work
from tasker_host.db.open import Opened, opened
from tasker_host.domain.ids import WorkerId
from tasker_host.errors import DatabaseError, InvalidRequest, PluginError, Problem
from tasker_host.events.build import EventOptions
from tasker_host.events.hub import PLUGIN_FAILED, Events
from tasker_host.events.relays import Relays
from tasker_host.events.share import Share
from tasker_host.events.tasks import TaskNews
from tasker_host.handlers.bound import bind
from tasker_host.hooks.relay import Relay
from tasker_host.orchestration.catalog import Catalog
from tasker_host.orchestration.check import submit_options
from tasker_host.orchestration.fleet import Beat, Heart, Member
from tasker_host.orchestration.operate import Operations
from tasker_host.orchestration.requests import RequestQueue
from tasker_host.orchestration.submit import Submissions
from tasker_host.orchestration.sweep import Sweeper, sweep_options
from tasker_host.orchestration.told import keep_telling_event_driven, tell_event_driven, tell_settings
from tasker_host.orchestration.watch import Watch
from tasker_host.plugins import Roster, lifespans, load_plugins
from tasker_host.plugins.candidate import host_version
from tasker_host.plugins.health import check_of
from tasker_host.registry.build import registry_of
from tasker_host.registry.compose import Registry
from tasker_host.runtime.health import Finding, Health, Status
from tasker_host.runtime.supervise import Supervisor
from tasker_host.worker.builtin import own_plugin
from tasker_host.worker.handle import WorkerHandle
from tasker_host.worker.loop import Worker
from tasker_host.worker.one import OneStepWorker, run_one
from tasker_host.worker.options import worker_options
from tasker_host.worker.owed import OwedEvents

if TYPE_CHECKING:
    from asyncpg import Connection

log = structlog.get_logger("tasker.host")

FEW_TASKS = 10
"""So many are written on the worker's own connection when it is idle: in a millisecond or two."""

EMBEDDED_LOOK_SECONDS = 0.5
"""How often the embedded server is looked after; a look costs no query."""


class Host:
    """A host composed from `config`; it serves between `async with` and its end.

    `plugins` are modules of hookimpls by name, beside those that are installed (none of these with `entry_points`
    false). Without `worker` it submits and watches, but runs no steps and enters no lifespans. Raises PluginError,
    TemplateError and DatabaseError when it cannot start; nothing is left open then.
    """

    worker_class: ClassVar[type[Worker]] = Worker
    events_class: ClassVar[type[Events]] = Events

    def __init__(
        self,
        config: Config,
        *,
        plugins: Mapping[str, ModuleType] | None = None,
        entry_points: bool = True,
        worker: bool = True,
    ) -> None:
        self.config = config
        self.version = host_version()
        self.health = Health()
        self.roster = Roster()
        self.registry: Registry
        self.database: Database
        self.catalog: Catalog
        self.submissions: Submissions
        self.watch: Watch
        self.operations: Operations
        self.sweeper: Sweeper
        self.events: Events
        self.relays: Relays
        self.worker: Worker | None = None
        """The one that this host starts itself."""
        self.workers: list[Worker] = []
        """All that run in it at the moment."""
        self.opened: Opened
        self._own = own_plugin(config)
        self._plugins = plugins
        self._entry_points = entry_points
        self._with_worker = self._serves_steps = worker
        self._opening = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._supervisor = Supervisor()
        self._name = config.settings.worker.id or f"{socket.gethostname()}-{os.getpid()}"
        # Of every start its own: two that were given the same name must not take each other's leases for their own.
        self._worker_id = WorkerId(f"{self._name}-{secrets.token_hex(3)}")
        self._worker_connected = asyncio.Event()
        self._grace_ends: float | None = None
        self._on_stop: list[Callable[[], None]] = []
        """What also takes nothing more from then on."""

    def __str__(self) -> str:
        return f"{self._worker_id} on {self.opened}"

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_claiming()
        await self._stack.aclose()

    def stop_claiming(self, *, grace_seconds: float | None = None) -> None:
        """Begin to stop: running steps get `grace_seconds` more (else as configured), and no new ones are taken.

        May be called again with less.
        """
        self.health.stopping()
        grace = self.config.settings.worker.shutdown_grace_seconds if grace_seconds is None else grace_seconds
        ends = time.monotonic() + grace
        self._grace_ends = ends if self._grace_ends is None else min(ends, self._grace_ends)
        for worker in self.workers:
            worker.stop(grace_seconds=max(0.0, self._grace_ends - time.monotonic()))
        for stop in self._on_stop:
            stop()

    async def drained(self) -> None:
        """Returns when the worker has ended, after `stop_claiming`."""
        if self.worker is not None:
            await self._supervisor.ended("worker")

    def ring(self, channels: Iterable[str]) -> None:
        """Tell workers and watchers, those of this host too (channels of `db.listen`)."""
        channels = list(channels)
        self.doorbell.ring(channels)
        for channel in channels:
            if channel == ENDED:
                self.watch.look()
            elif channel == EVENTS:
                self.relays.look()
            else:
                for worker in self.workers:
                    worker.heard(channel)

    # More workers -----------------------------------------------------------------------------------------------------

    def start_worker(
        self,
        *,
        namespaces: Iterable[str] | None = None,
        slots: int | None = None,
        tags: Iterable[str] | None = None,
        worker_id: str | None = None,
    ) -> WorkerHandle:
        """Starts one more worker in this process, also on a host without one; it ends with the host at the latest.

        What is not given is as configured; `worker_id` gets an ending of its own at every start. Raises InvalidRequest.
        """
        asked = self._namespaces() if namespaces is None else list(namespaces)
        if unknown := sorted(set(asked) - set(self.catalog.namespaces())) or ([] if asked else ["none at all"]):
            raise InvalidRequest(
                f"no template here is of the namespaces {', '.join(unknown)};"
                f" there are: {', '.join(self.catalog.namespaces()) or 'none'}"
            )
        if slots is not None and slots < 1:
            raise InvalidRequest(f"slots must be 1 or more (got {slots})")
        name = worker_id or f"{self._name}-more"
        own_id = WorkerId(f"{name}-{secrets.token_hex(3)}")
        changed: dict[str, Any] = {} if tags is None else {"tags": tuple(tags)}
        if slots is not None:
            changed |= {"slots": slots, "min_slots": 0, "max_slots": 0}
        handle = WorkerHandle(lambda: self._make_worker(asked, worker_id=own_id, **changed), self._supervisor.ended)
        member = Member(own_id, name, self.version, list(handle.worker.options.tags), asked)
        self._supervisor.start(own_id, lambda: self._serve(handle, member))
        return handle

    async def run_one(self, step_uuid: UUID) -> object:
        """Takes and runs this one step here and now, for tests and debugging: its value. Successors are left to others.

        Raises StepNotFound or IllegalMove when it cannot be taken, TemplateUnavailable when no handler here is what its
        task's template asks for, PermanentError or RetryableError when it fails (which is stored, as for any worker),
        and LeaseLost or DatabaseUnavailable when what it came to was not accepted.
        """
        await self._serve_steps()
        own_id = WorkerId(f"{self._name}-one-{secrets.token_hex(3)}")
        alone = {
            "slots": 1,
            "min_slots": 0,
            "max_slots": 0,
            "shed_percent": 100,
            "tags": (),
            "max_blocked_seconds": 0.0,
        }
        worker = self._make_worker((), kind=OneStepWorker, worker_id=own_id, **alone)
        assert isinstance(worker, OneStepWorker)
        try:
            return await run_one(worker, step_uuid, database=self.database, plans=self.catalog)
        finally:
            self.ring(work(namespace) for namespace in self.catalog.namespaces())

    async def _serve(self, handle: WorkerHandle, member: Member) -> None:
        await self._serve_steps()
        if not handle.has_run:
            # Before what its handlers use is closed.
            self._stack.push_async_callback(handle.stop)
        worker = handle.next()
        await self._make_lanes(worker, member.namespaces)
        heart = asyncio.create_task(self._heart(member, lambda: self._beat_of(worker)).run())
        self.workers.append(worker)
        try:
            await worker.run()
        finally:
            self.workers.remove(worker)
            heart.cancel()
            await asyncio.gather(heart, return_exceptions=True)

    async def _serve_steps(self) -> None:
        """Opens what steps need, on a host that was to run none. Raises PluginError."""
        async with self._opening:
            if self._serves_steps:
                return
            known = self.roster
            await self._enter_lifespans(known)
            self._stack.push_async_callback(self.registry.close)
            await self._start_events()
            self._serves_steps = True
        if self.roster is not known:
            raise PluginError(
                "a plugin failed when it was to serve",
                [Problem(plugin.name, str(fault)) for plugin in self.roster.faulty() for fault in plugin.faults],
            )

    # Start-up ---------------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        stack = self._stack
        stack.callback(self.health.stopped)
        roster = load_plugins(
            self.config,
            bind=bind,
            own=self._own,
            extra=self._plugins,
            entry_points=self._entry_points,
        )
        self._log_faults(roster)
        roster.check_required()
        self.registry = registry_of(roster, self.config)
        self.opened = await stack.enter_async_context(opened(self.config))
        self.database = self.opened.database
        self.roster = roster
        if self._with_worker:
            await self._enter_lifespans(roster)
            self._stack.push_async_callback(self.registry.close)
        await self._compose()
        if self._with_worker:
            await self._start_events()
        await self._start_loops()
        for check in (self._check_database, self._check_worker, self._check_plugins):
            self.health.add(check.__name__.removeprefix("_check_"), check)
        if self.relays.loops:
            self.health.add("relays", self._check_relays)
        # What plugins look at is open only where their lifespans were entered.
        for given in self.roster.active() if self._with_worker else ():
            for item in given.health:
                self.health.add(item.name, check_of(item), critical=item.critical)
        self.health.ready()

    async def _enter_lifespans(self, roster: Roster) -> None:
        self.roster = await self._stack.enter_async_context(lifespans(roster, self))
        if self.roster is not roster:
            # What a plugin gave that failed just now is no longer offered.
            self._log_faults(self.roster, told=roster)
            self.registry = registry_of(self.roster, self.config)

    async def _compose(self) -> None:
        settings = self.config.settings
        self.catalog = Catalog(self.database, self.registry)
        await self.catalog.register()
        self.doorbell = Doorbell(self.database)
        self.watch = Watch(self.database)
        self.operations = Operations(self.database, self.ring)
        self.sweeper = Sweeper(self.database, sweep_options(settings), on_ended=self._swept)
        self.submissions = Submissions(self.catalog, submit_options(settings), _Runner(self))
        self.events = self._events()
        self._news = TaskNews(self.events, self.database)
        self.relays = Relays(self.database, settings.events, self._given_relays() if self._with_worker else ())
        self._requests = RequestQueue(self.database, self.catalog, self.submissions, self.ring)

    def _events(self) -> Events:
        settings = self.config.settings.events
        return self.events_class(
            EventOptions(settings.message_max_bytes, settings.include_step, settings.publisher_timeout_seconds),
            publishers=self.registry.publishers.values(),
            subscribers=self.registry.subscribers,
            built_in=self._own.events,
            subscriber_timeout_seconds=settings.subscriber_timeout_seconds,
            fired_by=self._worker_id,
        )

    def _given_relays(self) -> list[tuple[str, Relay]]:
        return [(given.plugin, relay) for given in self.roster.active() for relay in given.relays]

    async def _start_events(self) -> None:
        """The fast path; it ends after the worker, and before what plugins opened for their subscribers."""
        self.events.bus.start()
        share = self.config.settings.events.share
        if share.enabled:
            self.events.share = Share(self.database, self.events.bus.hear, queue_size=share.queue_size)
            self.events.share.start()
            if self.config.settings.worker.mode == "polling":
                log.warning("events of other hosts are not heard", because="worker.mode = polling listens to nothing")
        self._stack.push_async_callback(self._stop_events)
        for plugin in self.roster.faulty():
            told = {"plugin": plugin.name, "status": str(plugin.status), "faults": [str(f) for f in plugin.faults]}
            self.events.happened(PLUGIN_FAILED, told)

    async def _stop_events(self) -> None:
        await self._news.tell()
        await self.events.close(drain_seconds=self.config.settings.events.drain_seconds)

    async def _start_loops(self) -> None:
        supervisor = self._supervisor
        self._stack.push_async_callback(supervisor.stop)
        supervisor.start("doorbell", self.doorbell.run)
        supervisor.start("watch", self.watch.run)
        if self._with_worker:
            await tell_settings(self.database, submit_options(self.config.settings))
            if self.config.settings.worker.mode == "event_driven":
                await tell_event_driven(self.database)  # before the first look of the worker
                supervisor.start("told", lambda: keep_telling_event_driven(self.database))
            supervisor.start("requests", self._requests.run)
            await self.relays.bind()
            self._stack.push_async_callback(self.relays.stop)
            self._on_stop.append(self.relays.stop_taking)
            self.relays.start(supervisor)
        if self.config.settings.worker.mode != "polling":
            channels = [ENDED, REQUESTS, *([EVENTS] if self.relays.loops else [])]
            share = self.events.share
            read = {} if share is None else {FAST_EVENTS: share.hear}
            listener = Listener(self.opened.listen_database, channels, self._heard, own=self.doorbell, read=read)
            supervisor.start("listener", listener.run)
        if self.opened.server is not None:
            server = self.opened.server
            supervisor.start("embedded", lambda: self._look_after(server))
        if self._with_worker:
            supervisor.start("deadlines", self.sweeper.keep_deadlines)
            supervisor.start("sweep", self.sweeper.run)
            supervisor.start("news", self._news.run)
            every = self.config.settings.events.ledger_seconds
            supervisor.start("ledger", lambda: self.events.ledger.keep(self.database, every))
            owed = OwedEvents(self.database, self.events, self.catalog, self.catalog.template_ids, self._relayed)
            supervisor.start("owed events", lambda: owed.run(every))
        namespaces = self._namespaces()
        if self._with_worker and namespaces:
            supervisor.start("worker", lambda: self._work(namespaces))
            member = Member(
                self._worker_id, self._name, self.version, list(self.config.settings.worker.tags), namespaces
            )
            heart = self._heart(member, self._beat)
            supervisor.start("heart", heart.run)
            self._stack.push_async_callback(self.drained)
            await self._worker_connected.wait()
        elif self._with_worker:
            log.warning("no steps to run: no plugin gives a template whose handlers are all there")
        self._stack.push_async_callback(self.submissions.close)

    async def _work(self, namespaces: list[str]) -> None:
        if self.worker is not None:
            self.workers.remove(self.worker)  # one that failed
        self.worker = self._new_worker(namespaces)
        self.workers.append(self.worker)
        if self._grace_ends is not None:
            self.worker.stop(grace_seconds=max(0.0, self._grace_ends - time.monotonic()))
        await self._make_lanes(self.worker, namespaces)
        await self.worker.run()

    async def _make_lanes(self, worker: Worker, namespaces: Iterable[str]) -> None:
        """What a worker with tags finds its steps by."""
        if worker.options.tags:
            for namespace in namespaces:
                await self.database.fetch("select tasker.queue_lanes($1)", namespace)

    def _new_worker(self, namespaces: list[str]) -> Worker:
        return self._make_worker(namespaces)

    def _make_worker(
        self,
        namespaces: Sequence[str],
        *,
        kind: type[Worker] | None = None,
        worker_id: WorkerId | None = None,
        **changed: Any,
    ) -> Worker:
        bell = _Bell(self)
        bell.worker = (kind or self.worker_class)(
            worker_id or self._worker_id,
            replace(worker_options(self.config.settings), **changed),
            database=self.database,
            listen_database=self.opened.listen_database,
            doorbell=bell,
            plans=self.catalog,
            namespaces=namespaces,
            classifiers=self.registry.classifiers,
            middleware=self.registry.middleware,
            on_connected=self._worker_connected.set,
            on_ended=self._ended,
            on_relayed=self._relayed,
            events=self.events,
        )
        return bell.worker

    def _heard(self, channel: str) -> None:
        if channel == ENDED:
            self.watch.look()
        elif channel == EVENTS:
            self.relays.look()
        else:
            self._requests.look()

    def _ended(self, tasks: list[UUID]) -> None:
        self.watch.ended(tasks)
        self._news.ended(tasks)

    def _relayed(self) -> None:
        self.relays.look()
        self.doorbell.ring([EVENTS])

    def _swept(self, tasks: list[UUID]) -> None:
        self._ended(tasks)
        self.doorbell.ring([ENDED])

    def _beat(self) -> Beat:
        worker = self.worker
        if worker is None:
            return Beat("starting", self.config.settings.worker.slots, 0, 0, [])
        return self._beat_of(worker)

    def _beat_of(self, worker: Worker) -> Beat:
        worker.beat(self.database.saturation)
        return Beat(worker.state, worker.slots, worker.running, worker.abandoned_threads, worker.unserved)

    def _heart(self, member: Member, look: Callable[[], Beat]) -> Heart:
        return Heart(self.database, member, timedelta(seconds=self.config.settings.worker.heartbeat_seconds), look)

    def _namespaces(self) -> list[str]:
        """Those of our templates, or of these the ones that are configured."""
        ours = self.catalog.namespaces()
        wanted = self.config.settings.worker.namespaces
        if missing := sorted(set(wanted) - set(ours)):
            log.warning("configured namespaces have no template here", namespaces=missing)
        return [name for name in ours if not wanted or name in wanted]

    async def _look_after(self, server: EmbeddedServer) -> None:
        while True:
            await asyncio.sleep(EMBEDDED_LOOK_SECONDS)
            try:
                if await asyncio.to_thread(server.check):
                    log.warning(
                        "the embedded PostgreSQL had ended and was started again", data_dir=str(server.data_dir)
                    )
            except DatabaseError as error:
                log.error("the embedded PostgreSQL cannot be started again", error=str(error))

    # Health -----------------------------------------------------------------------------------------------------------

    async def _check_database(self) -> Finding:
        await self.database.fetchval("select 1")
        return Finding(message=f"circuit {self.database.breaker.state}")

    async def _check_worker(self) -> Finding:
        if self.worker is None:
            return Finding(message="this host runs no steps")
        if self._grace_ends is not None:
            return Finding(message=f"stopping, {self.worker.running} steps still run")
        if not self.worker.connected:
            return Finding(Status.UNHEALTHY, "the worker is not connected to the database")
        in_use = f"{self.worker.running} of {self.worker.slots} slots in use"
        if self.worker.abandoned_threads:
            return Finding(Status.DEGRADED, f"{in_use}, {self.worker.abandoned_threads} abandoned handlers still run")
        return Finding(message=in_use)

    async def _check_relays(self) -> Finding:
        wrong = self.relays.trouble()
        return Finding(Status.DEGRADED, "; ".join(wrong)) if wrong else Finding()

    async def _check_plugins(self) -> Finding:
        faulty = [plugin.name for plugin in self.roster.faulty()]
        return Finding(Status.DEGRADED, f"give nothing: {', '.join(faulty)}") if faulty else Finding()

    def _log_faults(self, roster: Roster, *, told: Roster | None = None) -> None:
        """Those of `roster` that `told` has not."""
        for plugin in roster.faulty():
            before = None if told is None else told.plugin(plugin.name)
            for fault in plugin.faults[len(before.faults) if before is not None else 0 :]:
                log.error("plugin gives nothing", plugin=plugin.name, status=str(plugin.status), fault=str(fault))


class _Bell:
    """Rings for other hosts, and in this one for every worker but the one that rings."""

    def __init__(self, host: Host) -> None:
        self.worker: Worker
        self._host = host

    @property
    def pid(self) -> int | None:
        return self._host.doorbell.pid

    def ring(self, channels: Sequence[str]) -> None:
        self._host.doorbell.ring(channels)
        for worker in self._host.workers:
            if worker is not self.worker:
                for channel in channels:
                    if channel != ENDED:
                        worker.heard(channel)


class _Runner:
    """Gives new tasks to the host's own worker, and tells others where it does not take them."""

    def __init__(self, host: Host) -> None:
        self._host = host

    @asynccontextmanager
    async def connection(self, tasks: int) -> AsyncIterator[Connection]:
        """An idle worker's, which is warm and runs the first steps next, for a few; else one of the pool."""
        worker = self._host.worker
        lent = worker is not None and worker.is_idle and tasks <= FEW_TASKS
        async with worker.lend() if worker is not None and lent else self._host.database.acquire() as connection:
            yield connection

    def reserve(self, first_steps: Mapping[str, int]) -> Taker:
        worker = self._host.worker
        return NOBODY if worker is None else worker.reserve(first_steps)

    def written(self, first_steps: Mapping[str, int], taker: Taker, steps: list[Claimed] | None) -> None:
        worker = self._host.worker
        if worker is not None and taker is not NOBODY:
            worker.given(taker, steps or [])
        if steps is None or len(steps) == sum(first_steps.values()):
            return
        self._host.ring([work(namespace) for namespace in first_steps])
