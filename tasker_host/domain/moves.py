"""The legal moves of tasks and steps.

A table says where an event leads from a state; what is not in it is refused. The kernel writes only the state that is
committed, so one committed move may be several events in a row: `is_legal_task_path` and `is_legal_step_path` tell
whether it can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import TypeVar

from tasker_host.domain.states import StepState, TaskState
from tasker_host.errors import IllegalMove


class TaskEvent(StrEnum):
    START = "start"
    READY_STEPS_FOUND = "ready_steps_found"
    NO_STEPS_FOUND = "no_steps_found"
    NO_DEPENDENCIES_READY = "no_dependencies_ready"
    DEPENDENCIES_READY = "dependencies_ready"
    STEPS_ENQUEUED = "steps_enqueued"
    ENQUEUE_FAILED = "enqueue_failed"
    STEP_COMPLETED = "step_completed"
    STEP_FAILED = "step_failed"
    ALL_STEPS_COMPLETED = "all_steps_completed"
    ALL_STEPS_SUCCESSFUL = "all_steps_successful"
    PERMANENT_FAILURE = "permanent_failure"
    RETRY_READY = "retry_ready"
    GIVE_UP = "give_up"
    COMPLETE = "complete"
    FAIL = "fail"
    # By an operator:
    CANCEL = "cancel"
    PAUSE = "pause"
    RESUME = "resume"
    RESET = "reset"
    RERUN = "rerun"
    """Some of its steps begin anew, so it is judged anew."""
    REPAIR = "repair"
    """A step was repaired by hand, so the task is judged anew."""
    MANUAL_RESOLUTION = "manual_resolution"
    RESOLVE_MANUALLY = "resolve_manually"


class StepEvent(StrEnum):
    ENQUEUE = "enqueue"
    START = "start"
    ENQUEUE_FOR_ORCHESTRATION = "enqueue_for_orchestration"
    ENQUEUE_AS_ERROR_FOR_ORCHESTRATION = "enqueue_as_error_for_orchestration"
    COMPLETE = "complete"
    FAIL = "fail"
    WAIT_FOR_RETRY = "wait_for_retry"
    RETRY = "retry"
    # By an operator:
    CANCEL = "cancel"
    RESET_FOR_RETRY = "reset_for_retry"
    RERUN = "rerun"
    COMPLETE_MANUALLY = "complete_manually"
    RESOLVE_MANUALLY = "resolve_manually"


S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)

_T, _TE = TaskState, TaskEvent
_S, _SE = StepState, StepEvent

_TASK_OPEN = (
    _T.PENDING,
    _T.INITIALIZING,
    _T.ENQUEUING_STEPS,
    _T.STEPS_IN_PROCESS,
    _T.EVALUATING_RESULTS,
    _T.WAITING_FOR_DEPENDENCIES,
    _T.WAITING_FOR_RETRY,
    _T.BLOCKED_BY_FAILURES,
)

_TASK_BY_ITSELF: dict[tuple[TaskState, TaskEvent], TaskState] = {
    (_T.PENDING, _TE.START): _T.INITIALIZING,
    (_T.INITIALIZING, _TE.READY_STEPS_FOUND): _T.ENQUEUING_STEPS,
    (_T.INITIALIZING, _TE.NO_STEPS_FOUND): _T.COMPLETE,
    (_T.INITIALIZING, _TE.NO_DEPENDENCIES_READY): _T.WAITING_FOR_DEPENDENCIES,
    (_T.ENQUEUING_STEPS, _TE.STEPS_ENQUEUED): _T.STEPS_IN_PROCESS,
    (_T.ENQUEUING_STEPS, _TE.ENQUEUE_FAILED): _T.ERROR,
    (_T.STEPS_IN_PROCESS, _TE.STEP_COMPLETED): _T.EVALUATING_RESULTS,
    (_T.STEPS_IN_PROCESS, _TE.ALL_STEPS_COMPLETED): _T.EVALUATING_RESULTS,
    (_T.STEPS_IN_PROCESS, _TE.STEP_FAILED): _T.WAITING_FOR_RETRY,
    (_T.STEPS_IN_PROCESS, _TE.COMPLETE): _T.COMPLETE,
    (_T.STEPS_IN_PROCESS, _TE.FAIL): _T.ERROR,
    (_T.EVALUATING_RESULTS, _TE.ALL_STEPS_SUCCESSFUL): _T.COMPLETE,
    (_T.EVALUATING_RESULTS, _TE.READY_STEPS_FOUND): _T.ENQUEUING_STEPS,
    (_T.EVALUATING_RESULTS, _TE.NO_DEPENDENCIES_READY): _T.WAITING_FOR_DEPENDENCIES,
    (_T.EVALUATING_RESULTS, _TE.PERMANENT_FAILURE): _T.BLOCKED_BY_FAILURES,
    (_T.WAITING_FOR_DEPENDENCIES, _TE.DEPENDENCIES_READY): _T.EVALUATING_RESULTS,
    (_T.WAITING_FOR_RETRY, _TE.RETRY_READY): _T.ENQUEUING_STEPS,
    (_T.BLOCKED_BY_FAILURES, _TE.GIVE_UP): _T.ERROR,
}

_TASK_BY_OPERATOR: dict[tuple[TaskState, TaskEvent], TaskState] = {
    **{(state, _TE.CANCEL): _T.CANCELLED for state in (*_TASK_OPEN, _T.PAUSED)},
    **{(state, _TE.PAUSE): _T.PAUSED for state in _TASK_OPEN},
    # Resumed, a task is looked at as if for the first time: from pending every state can be reached.
    (_T.PAUSED, _TE.RESUME): _T.PENDING,
    (_T.ERROR, _TE.RESET): _T.PENDING,
    (_T.BLOCKED_BY_FAILURES, _TE.REPAIR): _T.EVALUATING_RESULTS,
    (_T.ERROR, _TE.REPAIR): _T.EVALUATING_RESULTS,
    (_T.BLOCKED_BY_FAILURES, _TE.MANUAL_RESOLUTION): _T.RESOLVED_MANUALLY,
    **{
        (state, _TE.RERUN): _T.EVALUATING_RESULTS
        for state in (_T.BLOCKED_BY_FAILURES, _T.COMPLETE, _T.ERROR, _T.CANCELLED, _T.RESOLVED_MANUALLY)
    },
    **{(state, _TE.RESOLVE_MANUALLY): _T.RESOLVED_MANUALLY for state in _T},
}

TASK_MOVES: Mapping[tuple[TaskState, TaskEvent], TaskState] = _TASK_BY_ITSELF | _TASK_BY_OPERATOR

_STEP_OPEN = (
    _S.PENDING,
    _S.ENQUEUED,
    _S.IN_PROGRESS,
    _S.ENQUEUED_FOR_ORCHESTRATION,
    _S.ENQUEUED_AS_ERROR_FOR_ORCHESTRATION,
    _S.WAITING_FOR_RETRY,
)

_STEP_BY_ITSELF: dict[tuple[StepState, StepEvent], StepState] = {
    (_S.PENDING, _SE.ENQUEUE): _S.ENQUEUED,
    (_S.PENDING, _SE.START): _S.IN_PROGRESS,
    (_S.ENQUEUED, _SE.START): _S.IN_PROGRESS,
    (_S.IN_PROGRESS, _SE.ENQUEUE_FOR_ORCHESTRATION): _S.ENQUEUED_FOR_ORCHESTRATION,
    (_S.IN_PROGRESS, _SE.ENQUEUE_AS_ERROR_FOR_ORCHESTRATION): _S.ENQUEUED_AS_ERROR_FOR_ORCHESTRATION,
    (_S.IN_PROGRESS, _SE.COMPLETE): _S.COMPLETE,
    (_S.ENQUEUED_FOR_ORCHESTRATION, _SE.COMPLETE): _S.COMPLETE,
    (_S.ENQUEUED_AS_ERROR_FOR_ORCHESTRATION, _SE.COMPLETE): _S.COMPLETE,
    **{(state, _SE.FAIL): _S.ERROR for state in _STEP_OPEN if state is not _S.WAITING_FOR_RETRY},
    **{
        (state, _SE.WAIT_FOR_RETRY): _S.WAITING_FOR_RETRY
        for state in (_S.PENDING, _S.ENQUEUED, _S.IN_PROGRESS, _S.ENQUEUED_AS_ERROR_FOR_ORCHESTRATION)
    },
    (_S.WAITING_FOR_RETRY, _SE.RETRY): _S.PENDING,
}

_STEP_BY_OPERATOR: dict[tuple[StepState, StepEvent], StepState] = {
    **{(state, _SE.CANCEL): _S.CANCELLED for state in (*_STEP_OPEN, _S.ERROR)},
    # A step in error is never retried by itself; both events name the operator's wish.
    (_S.ERROR, _SE.RETRY): _S.PENDING,
    (_S.ERROR, _SE.RESET_FOR_RETRY): _S.PENDING,
    **{
        (state, _SE.RERUN): _S.PENDING
        for state in (_S.PENDING, _S.COMPLETE, _S.ERROR, _S.CANCELLED, _S.RESOLVED_MANUALLY)
    },
    **{(state, _SE.COMPLETE_MANUALLY): _S.COMPLETE for state in _S},
    **{(state, _SE.RESOLVE_MANUALLY): _S.RESOLVED_MANUALLY for state in _S},
}

STEP_MOVES: Mapping[tuple[StepState, StepEvent], StepState] = _STEP_BY_ITSELF | _STEP_BY_OPERATOR


def task_move(state: TaskState, event: TaskEvent) -> TaskState:
    """The state of a task after `event`. Raises IllegalMove naming what is allowed instead."""
    if (state, event) in TASK_MOVES:
        return TASK_MOVES[state, event]
    raise _refusal("task", state, event, [e for s, e in TASK_MOVES if s is state])


def step_move(state: StepState, event: StepEvent) -> StepState:
    """The state of a step after `event`. Raises IllegalMove naming what is allowed instead."""
    if (state, event) in STEP_MOVES:
        return STEP_MOVES[state, event]
    raise _refusal("step", state, event, [e for s, e in STEP_MOVES if s is state])


@cache
def is_legal_task_path(start: TaskState, end: TaskState) -> bool:
    """Whether one commit may move it from `start` to `end`: by at most one operator's event, then by itself."""
    return end in _reachable(start, _TASK_BY_ITSELF, _TASK_BY_OPERATOR)


@cache
def is_legal_step_path(start: StepState, end: StepState) -> bool:
    """Whether one commit may move it from `start` to `end`: by at most one operator's event, then by itself."""
    return end in _reachable(start, _STEP_BY_ITSELF, _STEP_BY_OPERATOR)


def _reachable(start: S, by_itself: Mapping[tuple[S, E], S], by_operator: Mapping[tuple[S, E], S]) -> set[S]:
    found: set[S] = set()
    waiting = [after for (state, _), after in (*by_itself.items(), *by_operator.items()) if state is start]
    while waiting:
        state = waiting.pop()
        if state not in found:
            found.add(state)
            waiting += [after for (before, _), after in by_itself.items() if before is state]
    return found


def _refusal(what: str, state: StrEnum, event: StrEnum, allowed: Sequence[StrEnum]) -> IllegalMove:
    return IllegalMove(f"a {what} that is {state} cannot {event}; it can {', '.join(sorted(allowed))}")
