"""Submitting and watching tasks from other programs: over HTTP, or in the transaction of the caller's own rows."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from uuid import UUID

import asyncpg
import httpx

from tasker_host.config import Config, load
from tasker_host.db.sqlfiles import query
from tasker_host.domain.json import dumps, loads
from tasker_host.domain.request import request_from_data
from tasker_host.domain.source import template_from_data
from tasker_host.domain.states import TASK_SETTLED
from tasker_host.errors import (
    DatabaseUnavailable,
    HostUnavailable,
    IllegalMove,
    InvalidRequest,
    JsonError,
    Problem,
    ProblemsError,
    SchemaMismatch,
    StepNotFound,
    TaskerError,
    TaskExists,
    TaskNotFound,
    TemplateNotFound,
    TemplateUnavailable,
)
from tasker_host.orchestration.catalog import Entry, first_steps
from tasker_host.orchestration.check import Checks, exists, submit_options

if TYPE_CHECKING:
    from asyncpg import Connection

URL = "http://127.0.0.1:8080"

FIRST_LOOK_SECONDS = 0.05
MOST_LOOK_SECONDS = 1.0
"""`wait` asks after a moment, then less and less often: each time after half as long again, at most this."""

ACTOR = "client"

_ERRORS: dict[str, type[ProblemsError]] = {
    kind.code: kind
    for kind in (
        InvalidRequest, TemplateNotFound, TemplateUnavailable, TaskExists, TaskNotFound, StepNotFound, IllegalMove,
    )
}  # fmt: skip

_T = TypeVar("_T")


class Client:
    """Speaks to a host at `url`; `submit(…, connection=…)` needs none.

    What a host answers is raised as what it is: TaskExists, InvalidRequest …; HostUnavailable when it does not answer
    within `timeout_seconds` or cannot do it now, DatabaseUnavailable when its database is away. `config` has the limits
    of what is submitted on a connection; without, it is read as a host would read it here.
    """

    def __init__(self, url: str = URL, *, timeout_seconds: float = 30, config: Config | None = None) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout_seconds)
        self._config = config
        self._checks: Checks | None = None
        self._entries: dict[str, Entry] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    # Submitting -------------------------------------------------------------------------------------------------------

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
        open there: it exists when that commits, and workers notice it within their poll interval, or at once when you
        `ring` afterwards. It is checked as by a host; a task that is refused leaves the transaction as it was.
        """
        data = {"namespace": namespace, "name": name, "context": {} if context is None else context, **more}
        if connection is None:
            return UUID((await self._ask("POST", "/v1/tasks", data))["task_uuid"])
        return await self._submit_on(connection, data)

    async def ring(self, connection: Connection, *namespaces: str) -> None:
        """After the commit of tasks that were submitted on a connection: workers of these namespaces look at once.

        Not before: within a transaction a notification holds up every other commit of the server until its own is done.
        """
        await connection.execute(query("ring"), namespaces)

    async def _submit_on(self, connection: Connection, data: Mapping[str, Any]) -> UUID:
        if self._checks is None:
            self._checks = Checks(submit_options((self._config or load()).settings))
        request = request_from_data(data)
        try:
            sha256, entry = await self._template(connection, request.namespace, request.name, request.version)
            task = self._checks.task(entry, request)
            # One text, so that it is understood the same whatever codecs the connection was given.
            written = task._asdict() | {
                "sha256": sha256,
                "tags": None if task.tags is None else loads(task.tags),
                "limit_keys": None if task.limit_keys is None else loads(task.limit_keys),
                "aging_seconds": self._checks.options.aging_interval.total_seconds(),
            }
            refused = await connection.fetchval(query("task_create"), dumps(written))
        except (asyncpg.UndefinedFunctionError, asyncpg.InvalidSchemaNameError) as error:
            raise SchemaMismatch(
                f"the database of this connection has no tasker-host of this version ({error}): start a host on it,"
                " or run `tasker db migrate`"
            ) from error
        if refused == "exists":
            raise exists(entry.template, request.idempotency_key)
        if refused is not None:
            raise InvalidRequest(f"the database refused the task: {refused}")
        return task.task_uuid

    async def _template(
        self, connection: Connection, namespace: str, name: str, version: str | None
    ) -> tuple[str, Entry]:
        """The template a request means, with the sha256 of its content; each content is read once."""
        rows = loads(await connection.fetchval(query("template_versions"), namespace, name))
        found = [row["sha256"] for row in rows if version is None or row["version"] == version]
        if not found:
            hint = await connection.fetchval(query("template_hint"), namespace, name)
            what = f"'{namespace}/{name}'{f' of version {version}' if version else ''}"
            raise TemplateNotFound(f"no template named {what}; {hint}")
        sha256: str = found[0]
        if sha256 not in self._entries:
            content = await connection.fetchval(query("template_content"), sha256)
            template, _ = template_from_data(loads(content), source=f"template {namespace}/{name} of the database")
            # Numbered by ourselves: connections may lead to different databases, with numbers of their own.
            self._entries[sha256] = Entry(len(self._entries), template, first_steps(template))
        return sha256, self._entries[sha256]

    # Watching and operating -------------------------------------------------------------------------------------------

    async def get(self, task: UUID) -> dict[str, Any]:
        """The task with its steps, as `GET /v1/tasks/{task_uuid}` says it. Raises TaskNotFound."""
        found: dict[str, Any] = await self._ask("GET", f"/v1/tasks/{task}")
        return found

    async def wait(self, task: UUID, *, timeout_seconds: float | None = None) -> dict[str, Any]:
        """The task when it has come to rest: complete, in error, cancelled, resolved or blocked. Raises TimeoutError.

        With `timeout_seconds` a host that does not answer meanwhile is asked again until then.
        """
        seconds = FIRST_LOOK_SECONDS
        last = "was not seen"
        try:
            async with asyncio.timeout(timeout_seconds):
                while True:
                    try:
                        found = await self.get(task)
                        if found["status"] in TASK_SETTLED:
                            return found
                        last = f"is {found['status']}"
                    except (HostUnavailable, DatabaseUnavailable) as error:
                        if timeout_seconds is None:
                            raise
                        last = f"was not seen: {error}"
                    await asyncio.sleep(seconds)
                    seconds = min(seconds * 1.5, MOST_LOOK_SECONDS)
        except TimeoutError:
            raise TimeoutError(f"after {timeout_seconds} s task {task} {last}") from None

    async def cancel(self, task: UUID, *, reason: str, actor: str = ACTOR, interrupt: bool = False) -> dict[str, Any]:
        """The cancelled task; with `interrupt` its running steps are stopped too. Raises TaskNotFound, IllegalMove."""
        return await self._act(task, "cancel", reason, actor, running="interrupt" if interrupt else "finish")

    async def pause(self, task: UUID, *, reason: str, actor: str = ACTOR) -> dict[str, Any]:
        """The task, of which nothing more starts until `resume`. Raises TaskNotFound, IllegalMove."""
        return await self._act(task, "pause", reason, actor)

    async def resume(self, task: UUID, *, reason: str, actor: str = ACTOR) -> dict[str, Any]:
        """The task, which goes on. Raises TaskNotFound, IllegalMove."""
        return await self._act(task, "resume", reason, actor)

    async def _act(self, task: UUID, action: str, reason: str, actor: str, **more: str) -> dict[str, Any]:
        said = {"reason": reason, "actor": actor, **more}
        found: dict[str, Any] = await self._ask("POST", f"/v1/tasks/{task}/{action}", said)
        return found

    async def _ask(self, method: str, path: str, data: Any = None) -> Any:
        try:
            content = None if data is None else dumps(data)
        except JsonError as error:
            where = error.path.removeprefix("$.")
            raise InvalidRequest("the request is not valid", [Problem(where, error.message)]) from None
        headers = None if content is None else {"Content-Type": "application/json"}
        try:
            answer = await self._http.request(method, path, content=content, headers=headers)
        except httpx.HTTPError as error:
            said = str(error) or type(error).__name__
            raise HostUnavailable(f"the host at {self._http.base_url} does not answer: {said}") from error
        if not answer.is_success:
            raise _error(answer)
        try:
            return loads(answer.content)
        except JsonError:
            raise HostUnavailable(f"{answer.request.url} did not answer JSON: is it a tasker-host?") from None


class SyncClient:
    """A `Client` for programs without an event loop, of one thread at a time. It has an event loop of its own.

    In the transaction of a synchronous driver use `select tasker.task_submit(…)`.
    """

    def __init__(self, url: str = URL, *, timeout_seconds: float = 30) -> None:
        self._client = Client(url, timeout_seconds=timeout_seconds)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._run(self._client.close())
        self._runner.close()

    def submit(self, namespace: str, name: str, context: Mapping[str, Any] | None = None, **more: Any) -> UUID:
        """As `Client.submit` over HTTP."""
        return self._run(self._client.submit(namespace, name, context, **more))

    def get(self, task: UUID) -> dict[str, Any]:
        """As `Client.get`."""
        return self._run(self._client.get(task))

    def wait(self, task: UUID, *, timeout_seconds: float | None = None) -> dict[str, Any]:
        """As `Client.wait`."""
        return self._run(self._client.wait(task, timeout_seconds=timeout_seconds))

    def cancel(self, task: UUID, *, reason: str, actor: str = ACTOR, interrupt: bool = False) -> dict[str, Any]:
        """As `Client.cancel`."""
        return self._run(self._client.cancel(task, reason=reason, actor=actor, interrupt=interrupt))

    def pause(self, task: UUID, *, reason: str, actor: str = ACTOR) -> dict[str, Any]:
        """As `Client.pause`."""
        return self._run(self._client.pause(task, reason=reason, actor=actor))

    def resume(self, task: UUID, *, reason: str, actor: str = ACTOR) -> dict[str, Any]:
        """As `Client.resume`."""
        return self._run(self._client.resume(task, reason=reason, actor=actor))

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._runner.run(work)
        work.close()
        raise RuntimeError("SyncClient was called inside a running event loop: use Client there, and await it")


def _error(answer: httpx.Response) -> TaskerError:
    """What a host refused; HostUnavailable where it could not do it, or is no host."""
    try:
        told = loads(answer.content)
        code, message = told["code"], told["detail"]
        problems = [Problem(each["where"], each["message"]) for each in told["problems"]]
    except (KeyError, TypeError, TaskerError):
        return HostUnavailable(f"{answer.request.url} answered {answer.status_code} {answer.reason_phrase}")
    if code in _ERRORS:
        return _ERRORS[code](message, problems)
    if code == DatabaseUnavailable.code:
        return DatabaseUnavailable(message)
    if answer.is_client_error and code != "NOT_FOUND":
        return InvalidRequest(message, problems)
    return HostUnavailable(f"{answer.request.url}: {message}")
