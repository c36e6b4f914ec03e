"""Tasks that others wrote, or asked for, straight in the database.

Requests come as messages of the queue `orchestration_task_requests`, from whoever can only send one. A message is a
task request, or {"request_id", "task_request": {…}, "metadata": {"priority": "Low" | "Normal" | "High" | "Urgent"}}. A
task and the end of its message are one transaction, so every message makes one task at most and none is lost. What
cannot be carried out goes to the archive of the queue, with the reason in its headers.

Tasks made by `tasker.task_submit` of a template with an input_schema are paused until their context is checked here.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from uuid import UUID

import asyncpg
import structlog

from tasker_host.db.database import CONNECTION_LOST, Database
from tasker_host.db.listen import ENDED, work
from tasker_host.db.sqlfiles import query
from tasker_host.domain.json import dumps, loads
from tasker_host.domain.request import TaskRequest, request_from_data
from tasker_host.domain.template import IdentityStrategy
from tasker_host.errors import (
    DatabaseError,
    InvalidRequest,
    JsonError,
    Problem,
    ProblemsError,
    TaskerError,
    TemplateUnavailable,
)
from tasker_host.orchestration.catalog import Entry
from tasker_host.orchestration.submit import Submissions, Templates

if TYPE_CHECKING:
    from asyncpg import Connection

log = structlog.get_logger("tasker.requests")

POLL_SECONDS = 2.5
"""Between looks where nothing is: one small query. Whoever writes may also ring (`select tasker.ring()`)."""

MOST_AT_ONCE = 100

AGAIN_SECONDS = 30
"""After which a request is looked at again whose template this host cannot serve: another one may."""

MOST_LOOKS = 10
"""At such a request, before it is refused."""

MOST_TOLD = 10
"""Problems of a context told in the history of its task."""

PRIORITIES: Mapping[str, int] = {"low": -50, "normal": 0, "high": 50, "urgent": 100}
"""What the words of a message's metadata mean, unless its request has a priority of its own."""


class Catalog(Templates, Protocol):
    async def entry(self, template_id: int) -> Entry: ...


class _Asked(NamedTuple):
    """A message that means a request; `request_id` is empty where it has none."""

    message: int
    looks: int
    request: TaskRequest
    request_id: str


class RequestQueue:
    """Makes the tasks of requests and checks those of SQL; safe on many hosts at once.

    `ring` tells workers and watchers (channels of `db.listen`).
    """

    def __init__(
        self, database: Database, catalog: Catalog, submissions: Submissions, ring: Callable[[list[str]], None]
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._submissions = submissions
        self._ring = ring
        self._wanted = asyncio.Event()

    def look(self) -> None:
        """There may be something."""
        self._wanted.set()

    async def run(self) -> None:
        """Until cancelled."""
        failing = False
        while True:
            self._wanted.clear()
            try:
                there = await self._database.fetchrow(query("requests_there"))
                assert there is not None
                done = await self.read() if there["requests"] else 0
                done = max(done, await self.check() if there["unchecked"] else 0)
            except (DatabaseError, asyncpg.PostgresError, *CONNECTION_LOST) as error:
                if not failing:
                    log.warning("requests not read", error=str(error) or type(error).__name__)
                done, failing = 0, True
            else:
                failing = False
            if done < MOST_AT_ONCE:
                try:
                    async with asyncio.timeout(POLL_SECONDS * random.uniform(0.9, 1.1)):  # noqa: S311 - jitter
                        await self._wanted.wait()
                except TimeoutError:
                    pass

    # Messages ---------------------------------------------------------------------------------------------------------

    async def read(self) -> int:
        """One batch of messages; how many there were."""
        async with self._database.acquire() as connection, connection.transaction():
            rows = await connection.fetch(query("requests_take"), MOST_AT_ONCE)
            asked: list[_Asked] = []
            for row in rows:
                try:
                    asked.append(await self._asked(row["msg_id"], row["read_ct"], row["message"]))
                except DatabaseError:
                    raise
                except TaskerError as error:
                    await self._refuse(connection, row["msg_id"], error)
            answers = await self._submissions.submit_on(connection, [each.request for each in asked])
            done: list[int] = []
            for each, answer in zip(asked, answers, strict=True):
                if isinstance(answer, UUID):
                    done.append(each.message)
                elif isinstance(answer, TemplateUnavailable) and each.looks + 1 < MOST_LOOKS:
                    await connection.execute(query("requests_postpone"), each.message, AGAIN_SECONDS)
                else:
                    await self._refuse(connection, each.message, answer)
            await connection.execute(query("requests_done"), done)
        made = {each.request.namespace for each, answer in zip(asked, answers, strict=True) if isinstance(answer, UUID)}
        self._ring([work(namespace) for namespace in made])
        return len(rows)

    async def _asked(self, message: int, looks: int, text: str | None) -> _Asked:
        """What a message means. Raises InvalidRequest, JsonError, and DatabaseError, which says nothing of it."""
        # PGMQ takes an SQL null for a message, too.
        request, request_id = _request(None if text is None else loads(text))
        if request_id and request.idempotency_key is None:
            try:
                entry = await self._catalog.find(request.namespace, request.name, request.version)
            except (ProblemsError, JsonError):
                return _Asked(message, looks, request, request_id)  # told by the submission
            if entry.template.identity_strategy is not IdentityStrategy.STRICT:
                # A sender that does not know whether it has sent sends again.
                request = request.model_copy(update={"idempotency_key": request_id})
        return _Asked(message, looks, request, request_id)

    async def _refuse(self, connection: Connection, message: int, error: TaskerError) -> None:
        found = error.problems if isinstance(error, ProblemsError) else ()
        reason = {
            "code": error.code,
            "message": error.summary if isinstance(error, ProblemsError) else str(error),
            "problems": [{"where": problem.where, "message": problem.message} for problem in found],
        }
        log.warning("request refused", message=message, code=error.code, error=str(error))
        await connection.execute(query("requests_refuse"), message, dumps(reason))

    # Tasks of SQL -----------------------------------------------------------------------------------------------------

    async def check(self) -> int:
        """One batch of tasks whose contexts no host has checked; how many there were."""
        async with self._database.acquire() as connection, connection.transaction():
            rows = await connection.fetch(query("unchecked_take"), MOST_AT_ONCE)
            fit: list[UUID] = []
            unfit: list[UUID] = []
            why: list[str] = []
            for row in rows:
                if row["template_id"] is None:
                    fit.append(row["task_uuid"])  # the task is gone, and so is what is known of it
                    continue
                said = self._unfit(await self._catalog.entry(row["template_id"]), row["context"])
                if said is None:
                    fit.append(row["task_uuid"])
                else:
                    unfit.append(row["task_uuid"])
                    why.append(said)
                    log.warning("context refused", task=str(row["task_uuid"]), error=said)
            await connection.execute(query("unchecked_fit"), fit)
            await connection.execute(query("unchecked_unfit"), unfit, why)
        self._ring([ENDED, *{work(row["namespace"]) for row in rows if row["namespace"] is not None}])
        return len(rows)

    def _unfit(self, entry: Entry, text: str) -> str | None:
        """Why a context is none for that template."""
        try:
            _, problems = self._submissions.checks.context(entry, loads(text))
        except (JsonError, InvalidRequest) as error:
            return str(error)
        if not problems:
            return None
        more = f"; and {len(problems) - MOST_TOLD} more" if len(problems) > MOST_TOLD else ""
        told = "; ".join(map(str, problems[:MOST_TOLD]))
        return f"the context does not fit template {entry.template.label}: {told}{more}"


def _request(data: Any) -> tuple[TaskRequest, str]:
    """The request that a message means, and its request_id. Raises InvalidRequest, JsonError."""
    if not isinstance(data, dict):
        raise InvalidRequest("the message is not a request", [Problem("", "must be an object")])
    if "task_request" not in data:
        return request_from_data(data), ""
    wrong = []
    inner = data["task_request"]
    request_id = data.get("request_id") or ""
    if not isinstance(request_id, str) or len(request_id) > 255:
        wrong.append(Problem("request_id", "must be text of at most 255 characters"))
    metadata = data.get("metadata") or {}
    word = metadata.get("priority") if isinstance(metadata, dict) else None
    if isinstance(inner, dict) and "priority" not in inner and word is not None:
        if isinstance(word, str) and word.lower() in PRIORITIES:
            inner = {**inner, "priority": PRIORITIES[word.lower()]}
        else:
            wrong.append(Problem("metadata.priority", f"must be Low, Normal, High or Urgent (got {word!r})"))
    if wrong:
        raise InvalidRequest("the message is not a request", wrong)
    return request_from_data(inner), request_id
