"""Requests for tasks that come as messages of the queue `orchestration_task_requests`, from whoever can only send one.

A message is a task request, or {"request_id", "task_request": {…}, "metadata": {"priority": "Low" | "Normal" | "High" |
"Urgent"}}. A task and the end of its message are one transaction, so every message makes one task at most and none is
lost. What cannot be carried out goes to the archive of the queue, with the reason in its headers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import structlog

from tasker_host.db.database import CONNECTION_LOST, Database
from tasker_host.db.sqlfiles import query
from tasker_host.domain.json import dumps, loads
from tasker_host.domain.request import TaskRequest, request_from_data
from tasker_host.errors import DatabaseError, InvalidRequest, Problem, ProblemsError, TaskerError
from tasker_host.orchestration.submit import Submissions

if TYPE_CHECKING:
    from asyncpg import Connection

log = structlog.get_logger("tasker.requests")

POLL_SECONDS = 5.0
"""Between looks at an empty queue: whoever sends messages cannot ring."""

MOST_AT_ONCE = 100

PRIORITIES: Mapping[str, int] = {"low": -50, "normal": 0, "high": 50, "urgent": 100}
"""What the words of a message's metadata mean, unless its request has a priority of its own."""


class RequestQueue:
    """Reads requests and makes their tasks; safe on many hosts at once."""

    def __init__(self, database: Database, submissions: Submissions, written: Callable[[set[str]], None]) -> None:
        self._database = database
        self._submissions = submissions
        self._written = written

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                read = await self.read()
            except (DatabaseError, asyncpg.PostgresError, *CONNECTION_LOST) as error:
                log.warning("requests not read", error=str(error) or type(error).__name__)
                read = 0
            if read < MOST_AT_ONCE:
                await asyncio.sleep(POLL_SECONDS)

    async def read(self) -> int:
        """One batch; how many messages there were."""
        namespaces: set[str] = set()
        async with self._database.acquire() as connection, connection.transaction():
            rows = await connection.fetch(query("requests_take"), MOST_AT_ONCE)
            requests: list[TaskRequest | TaskerError] = []
            for row in rows:
                try:
                    requests.append(_request(loads(row["message"])))
                except TaskerError as error:
                    requests.append(error)
            good = [request for request in requests if isinstance(request, TaskRequest)]
            answers = iter(await self._submissions.submit_on(connection, good))
            done: list[int] = []
            for row, request in zip(rows, requests, strict=True):
                answer: UUID | TaskerError = request if isinstance(request, TaskerError) else next(answers)
                if isinstance(answer, TaskerError):
                    await self._refuse(connection, row["msg_id"], answer)
                else:
                    assert isinstance(request, TaskRequest)
                    namespaces.add(request.namespace)
                    done.append(row["msg_id"])
            if done:
                await connection.execute(query("requests_done"), done)
        if namespaces:
            self._written(namespaces)
        return len(rows)

    async def _refuse(self, connection: Connection, message: int, error: TaskerError) -> None:
        found = error.problems if isinstance(error, ProblemsError) else ()
        reason = {
            "code": error.code,
            "message": error.summary if isinstance(error, ProblemsError) else str(error),
            "problems": [{"where": problem.where, "message": problem.message} for problem in found],
        }
        log.warning("request refused", message=message, code=error.code, error=str(error))
        await connection.execute(query("requests_refuse"), message, dumps(reason))


def _request(data: Any) -> TaskRequest:
    """The request that a message means. Raises InvalidRequest, JsonError."""
    if not isinstance(data, dict):
        raise InvalidRequest("the message is not a request", [Problem("", "must be an object")])
    if "task_request" not in data:
        return request_from_data(data)
    inner = data["task_request"]
    metadata = data.get("metadata") or {}
    word = metadata.get("priority") if isinstance(metadata, dict) else None
    if isinstance(inner, dict) and "priority" not in inner and word is not None:
        if not isinstance(word, str) or word.lower() not in PRIORITIES:
            wrong = Problem("metadata.priority", f"must be Low, Normal, High or Urgent (got {word!r})")
            raise InvalidRequest("the message is not a request", [wrong])
        inner = {**inner, "priority": PRIORITIES[word.lower()]}
    return request_from_data(inner)
