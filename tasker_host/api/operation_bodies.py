"""What the API says and hears of operator actions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field

from tasker_host.domain.text import without_nul

ACTOR = "api"
"""Who acted, when the request does not say."""


_Reason = Annotated[
    str, Field(min_length=1, max_length=500, description="Why; kept in the history."), AfterValidator(without_nul)
]
_Actor = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(without_nul)]
_Name = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(without_nul)]


def _completion(data: dict[str, Any]) -> dict[str, Any]:
    if "result" not in data:
        raise ValueError("must have result, the step's value")
    if strange := sorted(data.keys() - {"result", "metadata"}):
        raise ValueError(f"has result and metadata, not {', '.join(strange)}")
    return data


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class ActionRequest(_Given):
    reason: _Reason
    actor: _Actor = Field(default=ACTOR, description="Who does it.")


class CancelRequest(ActionRequest):
    reason: _Reason = "cancelled"
    running: Literal["finish", "interrupt"] = Field(
        default="finish", description="Whether running steps end on their own, or are stopped."
    )


class RerunRequest(ActionRequest):
    from_steps: list[_Name] | None = Field(
        default=None,
        alias="from",
        min_length=1,
        description="Names of steps: they and all below them begin anew. Else: all steps in error or cancelled.",
    )


class StepActionRequest(_Given):
    """What is done with a step; `completion_data` is for `complete_manually`."""

    action_type: Literal["reset_for_retry", "resolve_manually", "complete_manually"]
    reason: _Reason
    actor: _Actor = Field(
        default=ACTOR,
        validation_alias=AliasChoices("actor", "reset_by", "resolved_by", "completed_by"),
        description="Who does it; also read from reset_by, resolved_by and completed_by.",
    )
    completion_data: Annotated[dict[str, Any], AfterValidator(_completion)] | None = Field(
        default=None, description="`result` is the value that the step is given; `metadata` is for readers, not kept."
    )


class LimitRequest(_Given):
    """What is left out is not limited."""

    model_config = ConfigDict(strict=True)

    reason: _Reason
    actor: _Actor = Field(default=ACTOR, description="Who does it.")
    max_running: Annotated[int, Field(ge=0)] | None = Field(default=None, description="Steps that run at once.")
    per_second: Annotated[float, Field(gt=0)] | None = Field(default=None, description="Steps that start in a second.")
    burst: Annotated[int, Field(ge=1)] | None = Field(default=None, description="So many may start at once; else 1.")
    paused: bool = Field(default=False, description="Nothing starts.")


@dataclass(frozen=True, slots=True)
class MoveBody:
    """One thing that happened; without a step it happened to the task itself."""

    at: datetime
    step_uuid: UUID | None
    step_name: str | None
    from_state: str | None
    to_state: str
    attempt: int | None
    worker: str | None
    took_ms: float | None
    error: dict[str, Any] | None
    actor: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class LimitBody:
    """`running` steps count under the key, `waiting` ones wait for room. `is_fixed`: set by somebody."""

    key: str
    is_fixed: bool
    max_running: int | None
    per_second: float | None
    burst: int
    paused: bool
    running: int
    waiting: int


MOVE: dict[str, Any] = {
    "at": "2026-01-01T09:30:00.215Z",
    "step_uuid": "019b7a5c-2f10-7d3e-9c41-0b6f2d000001",
    "step_name": "charge_card",
    "from_state": "error",
    "to_state": "enqueued",
    "attempt": 0,
    "worker": None,
    "took_ms": None,
    "error": None,
    "actor": "ada",
    "reason": "the gateway is back",
}

LIMIT: dict[str, Any] = {
    "key": "handler:charge_card",
    "is_fixed": True,
    "max_running": 20,
    "per_second": None,
    "burst": 1,
    "paused": False,
    "running": 20,
    "waiting": 310,
}

ACTION: dict[str, Any] = {"reason": "the gateway is down", "actor": "ada"}
CANCEL: dict[str, Any] = {**ACTION, "running": "interrupt"}
RERUN: dict[str, Any] = {**ACTION, "from": ["charge_card"]}
STEP_ACTION: dict[str, Any] = {
    "action_type": "complete_manually",
    "completion_data": {"result": {"transaction_id": "tx-9"}},
    "reason": "charged by hand",
    "completed_by": "ada",
}
LIMIT_REQUEST: dict[str, Any] = {**ACTION, "max_running": 20}
