"""Submitting and watching tasks from other programs: over HTTP, or in the transaction of the caller's own rows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import httpx

from tasker_host.db.sqlfiles import query
from tasker_host.domain.json import dumps, loads
from tasker_host.domain.request import request_from_data
from tasker_host.domain.source import template_from_data
from tasker_host.domain.states import TASK_SETTLED
from tasker_host.errors import (
    DatabaseUnavailable,
    IllegalMove,
    InvalidRequest,
    Problem,
    ProblemsError,
    StepNotFound,
    TaskerError,
    TaskExists,
    TaskNotFound,
    TemplateNotFound,
    TemplateUnavailable,
)
from tasker_host.orchestration.catalog import Entry, first_steps
from tasker_host.orchestration.submit import Submissions, SubmitOptions

if TYPE_CHECKING:
    from asyncpg import Connection

LOOK_SECONDS = 0.2
"""How often `wait` asks."""

_ERRORS: dict[str, type[ProblemsError]] = {
    kind.code: kind
    for kind in (
        InvalidRequest, TemplateNotFound, TemplateUnavailable, TaskExists, TaskNotFound, StepNotFound, IllegalMove,
    )
}  # fmt: skip


class Client:
    """Speaks to hosts at `url`; with a `connection` of its own, `submit` needs none.

    Errors of the host are raised as what they are: TaskExists, InvalidRequest … A host that does not answer is
    DatabaseUnavailable.
    """

    def __init__(self, url: str = "http://127.0.0.1:8080", *, timeout_seconds: float = 30) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout_seconds)
        self._entries: dict[int, Entry] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def submit(
        self,
        namespace: str,
        name: str,
        context: Mapping[str, Any] | None = None,
        *,
        connection: Connection | None = None,
        **more: Any,
    ) -> UUID:
        """The uuid of a new task; `more` are further fields of a request (`version`, `priority`, `idempotency_key` …).

        With `connection`, an asyncpg connection to the same database, the task is written in the transaction that is
        open there: it exists when that commits, and workers notice it within their poll interval. It is checked as by
        a host; a task that is refused leaves the transaction as it was.
        """
        data = {"namespace": namespace, "name": name, "context": dict(context or {}), **more}
        if connection is None:
            return UUID((await self._ask("POST", "/v1/tasks", data))["task_uuid"])
        return await self._submit_on(connection, data)

    async def get(self, task: UUID) -> dict[str, Any]:
        """The task with its steps, as `GET /v1/tasks/{task_uuid}` says it."""
        found: dict[str, Any] = await self._ask("GET", f"/v1/tasks/{task}")
        return found

    async def wait(self, task: UUID, *, timeout_seconds: float | None = None) -> dict[str, Any]:
        """The task when it has come to rest. Raises TimeoutError."""
        async with asyncio.timeout(timeout_seconds):
            while True:
                found = await self.get(task)
                if found["status"] in TASK_SETTLED:
                    return found
                await asyncio.sleep(LOOK_SECONDS)

    async def cancel(
        self, task: UUID, *, reason: str, actor: str = "client", interrupt: bool = False
    ) -> dict[str, Any]:
        """The cancelled task; with `interrupt` its running steps are stopped too."""
        said = {"reason": reason, "actor": actor, "running": "interrupt" if interrupt else "finish"}
        found: dict[str, Any] = await self._ask("POST", f"/v1/tasks/{task}/cancel", said)
        return found

    async def _ask(self, method: str, path: str, data: Any = None) -> Any:
        try:
            answer = await self._http.request(
                method,
                path,
                content=None if data is None else dumps(data),
                headers=None if data is None else {"Content-Type": "application/json"},
            )
        except httpx.HTTPError as error:
            raise DatabaseUnavailable(f"the host at {self._http.base_url} does not answer: {error}") from error
        if answer.is_success:
            return loads(answer.content)
        raise _error(answer)

    async def _submit_on(self, connection: Connection, data: Mapping[str, Any]) -> UUID:
        catalog = _Templates(connection, self._entries)
        options = SubmitOptions(context_max_bytes=1 << 20, context_max_depth=64, aging_interval=timedelta(seconds=300))
        submissions = Submissions(catalog, options, None)
        (answer,) = await submissions.submit_on(connection, [request_from_data(dict(data))])
        if isinstance(answer, TaskerError):
            raise answer
        return answer


class _Templates:
    """The templates of the database behind a connection; each content is read once."""

    def __init__(self, connection: Connection, entries: dict[int, Entry]) -> None:
        self._connection = connection
        self._entries = entries

    async def find(self, namespace: str, name: str, version: str | None) -> Entry:
        rows = await self._connection.fetch(query("templates_of_name"), namespace, name)
        found = [row for row in rows if version is None or row["version"] == version]
        if not found:
            there = f"; there is {', '.join(row['version'] for row in rows)}" if rows else ""
            what = f"'{namespace}/{name}'{f' of version {version}' if version else ''}"
            raise TemplateNotFound(f"no template {what}{there}")
        chosen = found[0]
        if chosen["template_id"] not in self._entries:
            content = await self._connection.fetchval(
                "select content::text from tasker.templates where template_id = $1", chosen["template_id"]
            )
            template, _ = template_from_data(loads(content), source=f"template {namespace}/{name} of the database")
            self._entries[chosen["template_id"]] = Entry(chosen["template_id"], template, first_steps(template))
        return self._entries[chosen["template_id"]]


def _error(answer: httpx.Response) -> TaskerError:
    try:
        told = loads(answer.content)
        kind = _ERRORS.get(told["code"])
        problems = [Problem(each["where"], each["message"]) for each in told["problems"]]
        message = told["detail"]
    except (ValueError, KeyError, TypeError, TaskerError):
        return DatabaseUnavailable(f"{answer.request.url} answered {answer.status_code} {answer.reason_phrase}")
    if kind is None:
        return DatabaseUnavailable(f"{answer.request.url}: {message}")
    return kind(message, problems)
