"""Tasks and steps move only as the tables say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_host.domain.moves import (
    STEP_MOVES,
    TASK_MOVES,
    StepEvent,
    TaskEvent,
    is_legal_step_path,
    is_legal_task_path,
    step_move,
    task_move,
)
from tasker_host.domain.states import STEP_TERMINAL, TASK_TERMINAL, StepState, TaskState
from tasker_host.errors import IllegalMove

TASK_MOVES_OF_THE_SPEC = [
    ("pending", "start", "initializing"),
    ("initializing", "ready_steps_found", "enqueuing_steps"),
    ("initializing", "no_steps_found", "complete"),
    ("initializing", "no_dependencies_ready", "waiting_for_dependencies"),
    ("enqueuing_steps", "steps_enqueued", "steps_in_process"),
    ("enqueuing_steps", "enqueue_failed", "error"),
    ("steps_in_process", "step_completed", "evaluating_results"),
    ("steps_in_process", "all_steps_completed", "evaluating_results"),
    ("steps_in_process", "step_failed", "waiting_for_retry"),
    ("steps_in_process", "complete", "complete"),
    ("steps_in_process", "fail", "error"),
    ("evaluating_results", "all_steps_successful", "complete"),
    ("evaluating_results", "ready_steps_found", "enqueuing_steps"),
    ("evaluating_results", "no_dependencies_ready", "waiting_for_dependencies"),
    ("evaluating_results", "permanent_failure", "blocked_by_failures"),
    ("waiting_for_dependencies", "dependencies_ready", "evaluating_results"),
    ("waiting_for_retry", "retry_ready", "enqueuing_steps"),
    ("blocked_by_failures", "give_up", "error"),
    ("blocked_by_failures", "manual_resolution", "resolved_manually"),
    ("pending", "cancel", "cancelled"),
    ("waiting_for_retry", "cancel", "cancelled"),
    ("blocked_by_failures", "cancel", "cancelled"),
    ("steps_in_process", "resolve_manually", "resolved_manually"),
    ("error", "resolve_manually", "resolved_manually"),
    ("error", "reset", "pending"),
]

OUR_TASK_MOVES = [
    ("steps_in_process", "pause", "paused"),
    ("waiting_for_retry", "pause", "paused"),
    ("paused", "resume", "pending"),
    ("paused", "cancel", "cancelled"),
    ("blocked_by_failures", "repair", "evaluating_results"),
    ("error", "repair", "evaluating_results"),
    ("complete", "rerun", "evaluating_results"),
    ("cancelled", "rerun", "evaluating_results"),
]

OUR_STEP_MOVES = [
    ("complete", "rerun", "pending"),
    ("cancelled", "rerun", "pending"),
]

STEP_MOVES_OF_THE_SPEC = [
    ("pending", "enqueue", "enqueued"),
    ("enqueued", "start", "in_progress"),
    ("in_progress", "enqueue_for_orchestration", "enqueued_for_orchestration"),
    ("in_progress", "enqueue_as_error_for_orchestration", "enqueued_as_error_for_orchestration"),
    ("enqueued_for_orchestration", "complete", "complete"),
    ("enqueued_for_orchestration", "fail", "error"),
    ("enqueued_as_error_for_orchestration", "wait_for_retry", "waiting_for_retry"),
    ("enqueued_as_error_for_orchestration", "fail", "error"),
    ("enqueued_as_error_for_orchestration", "complete", "complete"),
    ("in_progress", "wait_for_retry", "waiting_for_retry"),
    ("in_progress", "complete", "complete"),
    ("in_progress", "fail", "error"),
    ("enqueued", "fail", "error"),
    ("waiting_for_retry", "retry", "pending"),
    ("error", "retry", "pending"),
    ("error", "reset_for_retry", "pending"),
    ("error", "cancel", "cancelled"),
    ("waiting_for_retry", "cancel", "cancelled"),
    ("pending", "complete_manually", "complete"),
    ("cancelled", "complete_manually", "complete"),
    ("complete", "resolve_manually", "resolved_manually"),
]


@pytest.mark.parametrize(("state", "event", "expected"), TASK_MOVES_OF_THE_SPEC + OUR_TASK_MOVES)
def test_every_legal_move_of_a_task(state: str, event: str, expected: str) -> None:
    assert task_move(TaskState(state), TaskEvent(event)) == expected


@pytest.mark.parametrize(("state", "event", "expected"), STEP_MOVES_OF_THE_SPEC + OUR_STEP_MOVES)
def test_every_legal_move_of_a_step(state: str, event: str, expected: str) -> None:
    assert step_move(StepState(state), StepEvent(event)) == expected


def test_there_are_as_many_moves_as_the_spec_and_we_have_added() -> None:
    # 35 of the spec's table; reset and resolve_manually of what has ended (1 + 4), which it documents; resolving and
    # cancelling what is paused (2), pausing 8 states, resuming, two repairs, rerunning what has come to rest (5).
    assert len(TASK_MOVES) == 35 + 5 + 2 + 8 + 1 + 2 + 5
    # 47 of the spec's table; rerunning what does not run (5).
    assert len(STEP_MOVES) == 47 + 5


@pytest.mark.parametrize(
    ("state", "event"),
    [("pending", "step_completed"), ("complete", "cancel"), ("cancelled", "start"), ("paused", "pause")],
)
def test_what_a_task_refuses(state: str, event: str) -> None:
    with pytest.raises(IllegalMove):
        task_move(TaskState(state), TaskEvent(event))


def test_a_refusal_says_what_is_allowed() -> None:
    with pytest.raises(IllegalMove) as caught:
        step_move(StepState.WAITING_FOR_RETRY, StepEvent.START)
    assert str(caught.value) == (
        "a step that is waiting_for_retry cannot start; it can cancel, complete_manually, resolve_manually, retry"
    )


def test_ended_tasks_move_only_by_an_operator() -> None:
    events = {event for (state, event) in TASK_MOVES if state in TASK_TERMINAL}
    assert events == {TaskEvent.RESET, TaskEvent.REPAIR, TaskEvent.RERUN, TaskEvent.RESOLVE_MANUALLY}


def test_ended_steps_move_only_by_an_operator() -> None:
    events = {event for (state, event) in STEP_MOVES if state in STEP_TERMINAL}
    assert events == {StepEvent.COMPLETE_MANUALLY, StepEvent.RERUN, StepEvent.RESOLVE_MANUALLY}


@pytest.mark.parametrize(
    ("start", "end", "legal"),
    [
        ("pending", "steps_in_process", True),
        ("pending", "complete", True),
        ("steps_in_process", "blocked_by_failures", True),
        ("steps_in_process", "waiting_for_retry", True),
        ("waiting_for_retry", "steps_in_process", True),
        ("blocked_by_failures", "steps_in_process", True),
        ("error", "steps_in_process", True),
        ("steps_in_process", "paused", True),
        ("paused", "steps_in_process", True),
        ("paused", "complete", True),
        ("steps_in_process", "pending", False),
        ("complete", "steps_in_process", True),
        ("cancelled", "pending", False),
        ("complete", "paused", False),
        ("complete", "cancelled", False),
        ("resolved_manually", "paused", False),
    ],
)
def test_which_single_commits_may_move_a_task(start: str, end: str, legal: bool) -> None:
    assert is_legal_task_path(TaskState(start), TaskState(end)) is legal


@pytest.mark.parametrize(
    ("start", "end", "legal"),
    [
        ("pending", "in_progress", True),
        ("in_progress", "enqueued", True),
        ("in_progress", "in_progress", True),
        ("waiting_for_retry", "in_progress", True),
        ("error", "enqueued", True),
        ("complete", "resolved_manually", True),
        ("complete", "pending", True),
        ("complete", "cancelled", False),
        ("enqueued_for_orchestration", "in_progress", False),
        ("enqueued_for_orchestration", "waiting_for_retry", False),
    ],
)
def test_which_single_commits_may_move_a_step(start: str, end: str, legal: bool) -> None:
    assert is_legal_step_path(StepState(start), StepState(end)) is legal


@given(st.lists(st.sampled_from(TaskEvent)))
def test_whatever_happens_a_task_stays_within_the_table(events: list[TaskEvent]) -> None:
    state = TaskState.PENDING
    for event in events:
        try:
            after = task_move(state, event)
        except IllegalMove:
            assert (state, event) not in TASK_MOVES
        else:
            assert TASK_MOVES[state, event] is after
            assert is_legal_task_path(state, after)
            state = after


@given(st.lists(st.sampled_from(StepEvent)))
def test_whatever_happens_a_step_stays_within_the_table(events: list[StepEvent]) -> None:
    state = StepState.PENDING
    for event in events:
        try:
            after = step_move(state, event)
        except IllegalMove:
            assert (state, event) not in STEP_MOVES
        else:
            assert STEP_MOVES[state, event] is after
            assert is_legal_step_path(state, after)
            state = after
