"""`/v1/dlq`: investigations of tasks that failed for good or stopped moving. Nothing is run again from here."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from litestar import Controller, Request, Response, get, patch, post
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import Operation
from litestar.params import FromPath
from pydantic import BaseModel

from tasker_host.api import deadletter_bodies as bodies
from tasker_host.api.docs import described, parameters_of, problems, request_body
from tasker_host.api.problems import body, host_of, not_json, once_started
from tasker_host.api.reading import body_of, query_of, uuid_of
from tasker_host.db.deadletter import (
    dead_letter_file,
    dead_letter_get,
    dead_letter_of_task,
    dead_letter_update,
    dead_letters_list,
    dead_letters_queue,
    dead_letters_stats,
    tasks_staleness,
)

Model = TypeVar("Model", bound=BaseModel)


@dataclass
class _List(Operation):
    def __post_init__(self) -> None:
        self.parameters = parameters_of(bodies.DeadLetterQuery)


@dataclass
class _Limited(Operation):
    def __post_init__(self) -> None:
        self.parameters = parameters_of(bodies.LimitQuery)


@dataclass
class _Change(Operation):
    def __post_init__(self) -> None:
        self.request_body = request_body(bodies.DeadLetterChange, bodies.CHANGE)


@dataclass
class _File(Operation):
    def __post_init__(self) -> None:
        self.request_body = request_body(bodies.DeadLetterRequest, bodies.REQUEST)


def _rows(container: Any, example: dict[str, Any]) -> dict[int, ResponseSpec]:
    return {**described(list[container], [example], description="They."), **problems(400, 503)}


class DeadLetterController(Controller):
    path = "/v1/dlq"
    tags = ["dlq"]  # noqa: RUF012 - as the framework declares it
    before_request = staticmethod(once_started)

    @get(
        "/",
        operation_class=_List,
        responses=_rows(bodies.DeadLetterBody, bodies.DEAD_LETTER),
        summary="List dead letters",
    )
    async def list_entries(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """Investigations, newest first, each with the snapshot of its task."""
        asked = query_of(request, bodies.DeadLetterQuery)
        return body(
            await dead_letters_list(
                host_of(request).database, asked.resolution_status, asked.reason, limit=asked.limit, offset=asked.offset
            )
        )

    @post(
        "/",
        operation_class=_File,
        responses={
            **described(bodies.DeadLetterBody, bodies.DEAD_LETTER, status=HTTPStatus.CREATED, description="Filed."),
            **problems(400, 404, 409, 415, 503),
        },
        summary="File a dead letter",
    )
    async def file(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """Open an investigation by hand, with the reason manual_dlq. The task itself goes on as it does."""
        if (refused := not_json(request)) is not None:
            return refused
        asked = await body_of(request, bodies.DeadLetterRequest)
        database = host_of(request).database
        entry = await dead_letter_file(database, asked.task_uuid, notes=asked.notes, metadata=asked.metadata)
        headers = {"Location": f"/v1/dlq/task/{asked.task_uuid}"}
        return body(await dead_letter_get(database, entry), status=HTTPStatus.CREATED, headers=headers)

    @get(
        "/task/{task_uuid:str}",
        responses={
            **described(bodies.DeadLetterBody, bodies.DEAD_LETTER, description="It."),
            **problems(400, 404, 503),
        },
        summary="Show the dead letter of a task",
    )
    async def show(self, request: Request[Any, Any, Any], task_uuid: FromPath[str]) -> Response[bytes]:
        """The latest investigation of a task."""
        return body(await dead_letter_of_task(host_of(request).database, uuid_of(task_uuid, "task_uuid")))

    @patch(
        "/entry/{dlq_entry_uuid:str}",
        operation_class=_Change,
        responses={
            **described(bodies.DeadLetterChangedBody, bodies.CHANGED, description="Changed."),
            **problems(400, 404, 409, 415, 503),
        },
        summary="Close or annotate a dead letter",
    )
    async def update(self, request: Request[Any, Any, Any], dlq_entry_uuid: FromPath[str]) -> Response[bytes]:
        """Say how an investigation ended, or what is known so far. It ends once: 409 when it has ended otherwise."""
        if (refused := not_json(request)) is not None:
            return refused
        entry = uuid_of(dlq_entry_uuid, "dlq_entry_uuid")
        asked = await body_of(request, bodies.DeadLetterChange)
        await dead_letter_update(
            host_of(request).database,
            entry,
            status=asked.resolution_status,
            notes=asked.resolution_notes,
            resolved_by=asked.resolved_by,
            metadata=asked.metadata,
        )
        return body({"success": True, "message": "updated", "dlq_entry_uuid": entry})

    @get("/stats", responses=_rows(bodies.DeadLetterStatsBody, bodies.STATS), summary="Count dead letters")
    async def stats(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """By reason: how many in each status, since when, and how long closing one takes on average."""
        return body(await dead_letters_stats(host_of(request).database))

    @get(
        "/investigation-queue",
        operation_class=_Limited,
        responses=_rows(bodies.InvestigationBody, bodies.INVESTIGATION),
        summary="Pending investigations",
    )
    async def queue(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """Pending investigations, the most urgent first."""
        limit = query_of(request, bodies.LimitQuery).limit
        return body(await dead_letters_queue(host_of(request).database, limit=limit))

    @get(
        "/staleness",
        operation_class=_Limited,
        responses=_rows(bodies.StalenessBody, bodies.STALENESS),
        summary="Tasks that may be stale",
    )
    async def staleness(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """Tasks that wait or work and how near to being stale they are, the nearest first."""
        host = host_of(request)
        limit = query_of(request, bodies.LimitQuery).limit
        return body(await tasks_staleness(host.database, host.sweeper.options.thresholds, limit=limit))
