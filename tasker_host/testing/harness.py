"""A host for the length of a test, in a thread of its own: for tests with and without a running event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

import httpx

from tasker_host.domain.event import DomainEvent
from tasker_host.host import Host
from tasker_host.server import create_app
from tasker_host.testing.effects import Effects
from tasker_host.testing.given import Plugins, Settings, Template, given, template_of
from tasker_host.testing.outcome import TaskRun, run_of
from tasker_host.testing.server import embedded_databases
from tasker_host.testing.stage import Stage, staged
from tasker_host.testing.task import TIMEOUT_SECONDS, left_behind

Result = TypeVar("Result")


class TaskerHarness:
    """A host with these plugins only, on a real database of its own, running steps while it is entered.

    Its methods block, and may be called from any thread but the one that handlers run on. The arguments are those of
    `run_task`; `templates` are given beside those of plugins. Tasks run as soon as they are submitted; what waits for a
    time does so until `rest` or `advance` moves the clock. Entering raises PluginError, TemplateError, DatabaseError.
    """

    def __init__(
        self,
        plugins: Plugins = (),
        *,
        handlers: Iterable[Any] = (),
        templates: Iterable[Template] = (),
        settings: Settings | None = None,
        config: Mapping[str, Any] | None = None,
        setup: Any = None,
    ) -> None:
        parsed = [found for each in templates if (found := template_of(each)) is not None]
        self._given = given(plugins, handlers, parsed, settings, config)
        self._setup = setup
        self._loop = asyncio.new_event_loop()
        self._stage: Stage | None = None
        self._stop = asyncio.Event()
        self._running: Future[None] | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, name="tasker-harness", daemon=True)

    # What it is -------------------------------------------------------------------------------------------------------

    @property
    def host(self) -> Host:
        return self._on_stage.host

    @property
    def dsn(self) -> str:
        """Of the database, which is gone when the harness is left."""
        return self._on_stage.dsn

    @property
    def events(self) -> Sequence[DomainEvent]:
        """What was published so far, fast and durable, in the order in which it became true. It grows."""
        return self._on_stage.host.published

    # Tasks ------------------------------------------------------------------------------------------------------------

    def run(
        self, template: Template, context: Any = None, *, timeout_seconds: float = TIMEOUT_SECONDS, **request: Any
    ) -> TaskRun:
        """A new task, at its end. Raises RequestError, StillRunning."""
        return self.rest(self.submit(template, context, **request), timeout_seconds=timeout_seconds)

    def submit(self, template: Template, context: Any = None, **request: Any) -> UUID:
        """A new task, durable when this returns. `request` are further fields. Raises RequestError."""
        return self._call(lambda stage: stage.submit(template, context, request))

    def rest(self, task: UUID | str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> TaskRun:
        """Moves the clock until nothing more happens to the task by itself; how it is then.

        Raises StillRunning, TaskNotFound.
        """

        async def work(stage: Stage) -> TaskRun:
            await stage.rest([UUID(str(task))], timeout_seconds=timeout_seconds)
            return await run_of(stage.host.database, UUID(str(task)), events=stage.host.published)

        return self._call(work)

    def task(self, task: UUID | str) -> TaskRun:
        """How the task is now. Raises TaskNotFound."""
        return self._call(lambda stage: run_of(stage.host.database, UUID(str(task)), events=stage.host.published))

    def advance(self, by: timedelta | None = None, **span: float) -> None:
        """Moves the clock, as `advance(hours=2)` or `advance(timedelta(hours=2))`, and lets what is due then happen."""

        async def work(stage: Stage) -> None:
            await stage.host.quiet.wait()
            await stage.advance(by or timedelta(**span))
            await stage.host.quiet.wait()

        self._call(work)

    # The database, and HTTP -------------------------------------------------------------------------------------------

    def effects(self, effects: Effects = None) -> dict[str, Any]:
        """What these queries, tables and functions find now; without any, every table that is not the host's own."""
        return self._call(lambda stage: left_behind(stage, effects, all_tables=True))

    def fetch(self, sql: str, *arguments: Any) -> list[dict[str, Any]]:
        """The rows of a query, as dicts."""

        async def work(stage: Stage) -> list[dict[str, Any]]:
            return [dict(row) for row in await stage.host.database.fetch(sql, *arguments)]

        return self._call(work)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """What the host's HTTP API answers, without a network: `request("GET", "/v1/tasks")`, as httpx has it."""

        async def work(stage: Stage) -> httpx.Response:
            transport = httpx.ASGITransport(app=create_app(stage.host))  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url="http://tasker") as client:
                return await client.request(method, path, **options)

        return self._call(work)

    # Beginning and end ------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._thread.start()
        ready: Future[Stage] = Future()
        self._running = asyncio.run_coroutine_threadsafe(self._stay(ready), self._loop)
        try:
            self._stage = ready.result()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        assert self._running is not None
        try:
            self._running.result()
        finally:
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stay(self, ready: Future[Stage]) -> None:
        """All in one task, as what plugins open may require."""
        try:
            async with staged(self._given, embedded_databases(), setup=self._setup) as stage:
                ready.set_result(stage)
                await self._stop.wait()
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    @property
    def _on_stage(self) -> Stage:
        if self._stage is None:
            raise RuntimeError("the harness is not entered: write `with TaskerHarness(…) as tasker:`")
        return self._stage

    def _call(self, work: Callable[[Stage], Coroutine[Any, Any, Result]]) -> Result:
        stage = self._on_stage
        return asyncio.run_coroutine_threadsafe(work(stage), self._loop).result()
