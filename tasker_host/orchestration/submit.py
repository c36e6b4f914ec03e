"""Submission: a request is checked against everything it must hold to, then written together with its neighbours."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

import asyncpg

from tasker_host.db.database import unhindered
from tasker_host.db.kernel import Claimed, NewTask, Taker, tasks_submit
from tasker_host.domain.request import TaskRequest
from tasker_host.errors import DatabaseError, InvalidRequest, TaskerError
from tasker_host.orchestration.catalog import Entry
from tasker_host.orchestration.check import Checks, SubmitOptions, exists

if TYPE_CHECKING:
    from asyncpg import Connection

MOST_AT_ONCE = 500
"""Tasks written by one call: a transaction of some tens of milliseconds."""

REFUSED = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)
"""What PostgreSQL says of a task that it cannot keep, whenever it comes."""


class Templates(Protocol):
    """Where submissions find the templates that requests name."""

    async def find(self, namespace: str, name: str, version: str | None) -> Entry: ...


class Runner(Protocol):
    """Whoever runs the first steps of new tasks. Both are given how many first steps there are, by namespace."""

    def connection(self, tasks: int) -> AbstractAsyncContextManager[Connection]:
        """The connection on which so many tasks are best written. Raises DatabaseUnavailable, also while it is used."""

    def reserve(self, first_steps: Mapping[str, int]) -> Taker:
        """Room for these steps in a worker of this process; NOBODY when there is none."""

    def written(self, first_steps: Mapping[str, int], taker: Taker, steps: list[Claimed] | None) -> None:
        """The tasks are durable, `steps` are `taker`'s; None: nothing was written. Called once for each `reserve`."""


@dataclass(slots=True)
class _Waiting:
    task: NewTask
    entry: Entry
    idempotency_key: str | None
    answer: asyncio.Future[UUID]


class Submissions:
    """Takes requests one by one and writes them in batches: while one call is away, the next ones collect."""

    def __init__(self, catalog: Templates, options: SubmitOptions, runner: Runner) -> None:
        self.checks = Checks(options)
        self._catalog = catalog
        self._options = options
        self._runner = runner
        self._waiting: list[_Waiting] = []
        self._writer: asyncio.Task[None] | None = None

    async def submit(self, request: TaskRequest) -> UUID:
        """The uuid of the new task, once it is durable.

        Raises TemplateNotFound, TemplateUnavailable, InvalidRequest, TaskExists, DatabaseUnavailable; nothing was
        written then.
        """
        waiting = await self._prepare(request)
        self._enqueue([waiting])
        return await waiting.answer

    async def submit_many(self, requests: Sequence[TaskRequest]) -> list[UUID | TaskerError]:
        """For each request, in order, the uuid of its task or why there is none."""
        prepared: list[_Waiting | TaskerError] = []
        for start in range(0, len(requests), MOST_AT_ONCE):
            part = [await self._prepared(request) for request in requests[start : start + MOST_AT_ONCE]]
            self._enqueue([item for item in part if isinstance(item, _Waiting)])
            prepared += part
            await asyncio.sleep(0)  # the next part is checked while this one is being written
        answers: list[UUID | TaskerError] = []
        for item in prepared:
            if isinstance(item, TaskerError):
                answers.append(item)
                continue
            try:
                answers.append(await item.answer)
            except TaskerError as error:
                answers.append(error)
        return answers

    async def submit_on(self, connection: Connection, requests: Sequence[TaskRequest]) -> list[UUID | TaskerError]:
        """Writes within the transaction that is open on `connection`; for each request its uuid or why there is none.

        Whoever opened the transaction tells the workers after its commit. Raises what the database does, and
        DatabaseError when a template cannot be looked up: that says nothing of the request.
        """
        prepared = [await self._prepared(request) for request in requests]
        for item in prepared:
            if isinstance(item, DatabaseError):
                raise item
        batch = [item for item in prepared if isinstance(item, _Waiting)]
        await self._write_on(connection, batch)
        return [item if isinstance(item, TaskerError) else _outcome(item.answer) for item in prepared]

    async def _write_on(self, connection: Connection, batch: list[_Waiting]) -> None:
        if not batch:
            return
        try:
            async with connection.transaction():
                submitted = await tasks_submit(
                    connection, [item.task for item in batch], aging_interval=self._options.aging_interval
                )
        except REFUSED as error:
            if len(batch) == 1:
                _answer(batch[0], InvalidRequest(f"the database refused the task: {error}"))
                return
            for item in batch:
                await self._write_on(connection, [item])
            return
        for item, is_new in zip(batch, submitted.created, strict=True):
            _answer(item, None if is_new else exists(item.entry.template, item.idempotency_key))

    async def close(self) -> None:
        """Waits for what is being written."""
        if self._writer is not None:
            await asyncio.gather(self._writer, return_exceptions=True)

    # Checking ---------------------------------------------------------------------------------------------------------

    async def _prepared(self, request: TaskRequest) -> _Waiting | TaskerError:
        try:
            return await self._prepare(request)
        except TaskerError as error:
            return error

    async def _prepare(self, request: TaskRequest) -> _Waiting:
        entry = await self._catalog.find(request.namespace, request.name, request.version)
        task = self.checks.task(entry, request)
        future: asyncio.Future[UUID] = asyncio.get_running_loop().create_future()
        return _Waiting(task, entry, request.idempotency_key, future)

    # Writing ----------------------------------------------------------------------------------------------------------

    def _enqueue(self, items: Sequence[_Waiting]) -> None:
        self._waiting.extend(items)
        if self._waiting and (self._writer is None or self._writer.done()):
            self._writer = asyncio.create_task(self._write(), name="tasker-submit")

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            try:
                await self._write_together(batch)
            except Exception as error:
                for item in batch:
                    _answer(item, error)

    async def _write_together(self, batch: list[_Waiting]) -> None:
        async def write() -> None:
            async with self._runner.connection(len(batch)) as connection:
                await self._write_batch(connection, batch)

        # Two hosts that write the same identities in another order: one of them is told to come again.
        await unhindered(write)

    async def _write_batch(self, connection: Connection, batch: list[_Waiting]) -> None:
        first_steps: Counter[str] = Counter()
        for item in batch:
            first_steps[item.entry.template.namespace_name] += item.entry.first_steps
        taker = self._runner.reserve(first_steps)
        steps = None
        try:
            submitted = await tasks_submit(
                connection, [item.task for item in batch], aging_interval=self._options.aging_interval, taker=taker
            )
            steps = submitted.steps
        except REFUSED as error:
            if len(batch) == 1:
                raise InvalidRequest(f"the database refused the task: {error}") from error
            # One request that the database refuses must not take its neighbours along.
            for item in batch:
                try:
                    await self._write_batch(connection, [item])
                except InvalidRequest as refusal:
                    _answer(item, refusal)
            return
        finally:
            self._runner.written(first_steps, taker, steps)
        for item, is_new in zip(batch, submitted.created, strict=True):
            _answer(item, None if is_new else exists(item.entry.template, item.idempotency_key))


def _answer(item: _Waiting, error: Exception | None) -> None:
    if item.answer.done():
        return  # the caller went away
    if error is None:
        item.answer.set_result(item.task.task_uuid)
    else:
        item.answer.set_exception(error)


def _outcome(answer: asyncio.Future[UUID]) -> UUID | TaskerError:
    error = answer.exception()
    if error is None:
        return answer.result()
    assert isinstance(error, TaskerError)
    return error
