"""A real host on a throw-away database, whose clock can be moved and whose worker can be killed."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

import asyncpg

from tasker_host.db.database import dropped
from tasker_host.db.queries import tasks_get, tasks_unsettled
from tasker_host.domain.event import DomainEvent
from tasker_host.domain.ids import WorkerId
from tasker_host.domain.request import request_from_data
from tasker_host.domain.template import TaskTemplate
from tasker_host.errors import Problem, RequestError, TemplateError
from tasker_host.events.hub import Events
from tasker_host.host import Host
from tasker_host.testing.given import Given, Template, request_for
from tasker_host.testing.lives import Renewal, check_roster, renewed
from tasker_host.testing.moments import KitEvents, KitWorker, Moments
from tasker_host.testing.server import Databases
from tasker_host.worker.loop import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncpg import Connection

HORIZON = timedelta(days=400)
"""How far the clock of a task that never comes to rest is moved."""


class StillRunning(AssertionError):
    """A task did not come to rest in time; the message says where it stands."""


class KitHost(Host):
    """A host whose worker can die: another one, with handlers made anew, then takes its place."""

    worker_class: ClassVar[type[Worker]] = KitWorker
    events_class: ClassVar[type[Events]] = KitEvents

    def __init__(self, given: Given, dsn: str) -> None:
        super().__init__(given.configuration(dsn), plugins=given.plugins, entry_points=given.entry_points)
        self.moments = Moments()
        self.quiet = asyncio.Event()
        """Set while the worker, whichever it is, has nothing to do."""
        self.failure: Exception | None = None
        self.lives = 0
        self.templates: list[TaskTemplate] = []
        self._born = asyncio.Event()
        self._renewal: Renewal | None = None
        self._given = given
        self._lines: list[Connection] = []

    @property
    def published(self) -> list[DomainEvent]:
        """The events of all steps, fast and durable, in the order in which they became true."""
        assert isinstance(self.events, KitEvents)
        return self.events.published

    @property
    def kit_worker(self) -> KitWorker:
        assert isinstance(self.worker, KitWorker)
        return self.worker

    async def _start(self) -> None:
        self._stack.push_async_callback(self._hang_up)
        await super()._start()
        check_roster(self.roster, self._given.plugins)

    async def _hang_up(self) -> None:
        if self.lives > 1:
            await self.registry.close()
        for line in self._lines:
            await dropped(line)

    def _new_worker(self, namespaces: list[str]) -> Worker:
        self.lives += 1
        self._worker_id = WorkerId(f"worker-{self.lives}")
        worker = super()._new_worker(namespaces)
        assert isinstance(worker, KitWorker)
        self._born.set()
        worker.attach(self.moments, self._lines, self.quiet)
        return worker

    async def _work(self, namespaces: list[str]) -> None:
        while True:
            self.moments.died.clear()
            life = asyncio.create_task(super()._work(namespaces))
            death = asyncio.create_task(self.moments.died.wait())
            try:
                await asyncio.wait({life, death}, return_when=asyncio.FIRST_COMPLETED)
                if life.done():
                    return life.result()
            finally:
                # Its loop before its handlers: what these come to now, nobody is to hear.
                for task in (life, death):
                    task.cancel()
                await asyncio.gather(life, death, return_exceptions=True)
            await self.kit_worker.kill()
            try:
                await self._renew()
            except Exception as error:  # plugin code: whoever waits for the next life is told, and does not wait
                self.failure = error
                self._born.set()
                self.quiet.set()
                return None

    async def _renew(self) -> None:
        """What another process would have: handlers of its own. Modules and threads stay as they are."""
        before = self.registry
        if self._renewal is None:
            self._renewal = Renewal(self.roster, self.config, self._given.plugins)
            self.templates = before.templates()
        self.registry = self._renewal.registry(before)
        self.catalog = renewed(self.catalog, self.database, self.registry)
        await before.close()

    async def reborn(self) -> None:
        """Ends the worker, which is quiet, and waits until another one is there."""
        self._born.clear()
        self.moments.died.set()
        await self._born.wait()
        self.check_failure()

    def check_failure(self) -> None:
        """Raises what kept another worker from taking the place of one that died."""
        if self.failure is not None:
            raise self.failure


class Stage:
    """Tasks run here. `moved` is how far the clock is ahead."""

    def __init__(self, host: KitHost, *, horizon: timedelta = HORIZON) -> None:
        self.host = host
        self.moved = timedelta()
        self._horizon = horizon

    @property
    def dsn(self) -> str:
        return self.host.database.dsn

    def templates(self) -> list[TaskTemplate]:
        return self.host.templates or self.host.registry.templates()

    async def submit(self, template: Template, context: Any, fields: Mapping[str, Any]) -> UUID:
        """A new task. Raises RequestError."""
        named = request_for(template, self.templates())
        return await self.host.submissions.submit(request_from_data({**named, "context": context or {}, **fields}))

    async def rest(self, tasks: Sequence[UUID], *, timeout_seconds: float, others: bool = False) -> None:
        """Moves the clock until nothing more happens to `tasks` by itself, or with `others` to any task at all.

        Raises StillRunning after so many real seconds, or a year of the clock.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._rest(tasks, others=others)
        except TimeoutError:
            raise StillRunning(
                f"after {timeout_seconds:g} s the task is not at rest: {await self.told(tasks)}; handlers run in real"
                " time: give a larger timeout_seconds, or let the step have a timeout_seconds of its own"
            ) from None

    async def _followed(self, tasks: Sequence[UUID], *, others: bool) -> Sequence[UUID]:
        if not others:
            return tasks
        return [row["task_uuid"] for row in await self.host.database.fetch("select task_uuid from tasker.tasks")]

    async def _rest(self, tasks: Sequence[UUID], *, others: bool) -> None:
        begun = self.moved
        while True:
            # Whoever wrote tasks may have told nobody.
            self.host.kit_worker.wake()
            await self.host.quiet.wait()
            self.host.check_failure()
            if not await tasks_unsettled(self.host.database, await self._followed(tasks, others=others)):
                return
            due: timedelta | None = await self.host.database.fetchval("select tasker_kit.next_due()")
            if due is None:
                return
            if self.moved - begun > self._horizon:
                raise StillRunning(f"after {self._horizon.days} days of the clock: {await self.told(tasks)}")
            await self.advance(due)

    async def advance(self, by: timedelta) -> None:
        """Moves the clock, and lets happen what is due then: retries, starts, ends of leases, deadlines."""
        by = max(by, timedelta()) + timedelta(milliseconds=1)
        self.moved += by
        await self.host.database.fetchval("select tasker_kit.advance($1)", by)
        await self.host.sweeper.enforce_deadlines()
        self.host.kit_worker.wake()

    async def told(self, tasks: Sequence[UUID]) -> str:
        rows = await tasks_get(self.host.database, tasks)
        return "; ".join(
            f"{row['namespace']}/{row['name']} is {row['status']}: "
            + ", ".join(f"{step['name']} {step['current_state']}" for step in row["steps"])
            for row in rows
        )


@asynccontextmanager
async def staged(given: Given, databases: Databases, *, setup: Any = None) -> AsyncIterator[Stage]:
    """A host with these plugins, on a database of its own that is gone afterwards.

    `setup` is SQL, or a function of a connection, for what the handlers need there. While it runs, DATABASE_URL is that
    database. Raises PluginError, TemplateError, DatabaseError.
    """
    dsn = await asyncio.to_thread(databases.new)
    try:
        with _environment("DATABASE_URL", dsn):
            host = KitHost(given, dsn)
            if setup is not None:
                await _set_up(dsn, setup)
            async with host:
                if not host.catalog.namespaces():
                    raise _nothing_to_run(host)
                yield Stage(host)
    finally:
        databases.drop(dsn)


def _nothing_to_run(host: KitHost) -> TemplateError:
    problems = [
        problem
        for template in host.registry.templates()
        for problem in host.registry.problems(template.namespace_name, template.name, template.version)
    ]
    if not problems:
        problems = [Problem("", "no plugin gives a template: give the template itself, or the plugin that has it")]
    return TemplateError("there is no template that can run", problems)


async def _set_up(dsn: str, setup: Any) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for one in [setup] if isinstance(setup, str) or callable(setup) else list(setup):
            if isinstance(one, str):
                await connection.execute(one)
            else:
                made = one(connection)
                if inspect.isawaitable(made):
                    await made
    except asyncpg.PostgresError as error:
        raise RequestError(
            "the setup cannot be done", [Problem("setup", f"{type(error).__name__}: {error}")]
        ) from error
    finally:
        await connection.close()


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    # A handler that finds its database by the environment must find this one, and never the machine's own.
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
