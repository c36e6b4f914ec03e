"""Kinds of cases that are tables: pure functions of the product."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from tasker_host.domain.backoff import BackoffPolicy, delay_seconds, parse_retry_after
from tasker_host.domain.batches import cursor_ranges
from tasker_host.domain.graph import initial_steps, parents, steps_by_level
from tasker_host.domain.identity import identity_key
from tasker_host.domain.moves import (
    STEP_MOVES,
    TASK_MOVES,
    StepEvent,
    TaskEvent,
)
from tasker_host.domain.publishing import fires
from tasker_host.domain.readiness import StepFacts, progress
from tasker_host.domain.segments import segments
from tasker_host.domain.states import STEP_SATISFIED, StepState, TaskState
from tasker_host.domain.template import Backoff, IdentityStrategy, PublishCondition, TaskTemplate
from tasker_host.domain.template.parts import event_name
from tasker_host.errors import InvalidRequest, Problem, TemplateError
from tests.conformance.compare import compare
from tests.conformance.engine import template_of

Case = Mapping[str, Any]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def template(case: Case, _: Mapping[str, Any]) -> None:
    expected = case["expect"]
    if not expected["valid"]:
        with pytest.raises(TemplateError) as refused:
            template_of(case["inline_template"])
        assert refused.value.problems
        return
    found = _without_strangers(case["inline_template"])
    if found is None:
        return
    shown = _normalized(found)
    for key in ("normalized", "lifecycle"):
        if key in expected:
            compare(shown if key == "normalized" else shown["lifecycle"], expected[key], key)
    if "retry" in expected:
        compare(shown["steps"][0]["retry"], expected["retry"], "retry")
    for key, field in (("types", "type"), ("dependencies", "dependencies")):
        for name, value in expected.get(key, {}).items():
            assert _shown_step(found.step(name))[field] == value
    for env, steps in expected.get("resolved", {}).items():
        resolved = found.for_environment(env)
        for name, values in steps.items():
            step = _shown_step(resolved.step(name))
            compare(step | {"initialization": step["handler"]["initialization"]}, values, f"{env}.{name}")


def _without_strangers(data: Mapping[str, Any]) -> TaskTemplate | None:
    """The template; None when it has unknown keys, which others drop silently and we refuse, and nothing else wrong."""
    problems: tuple[Problem, ...] = ()
    try:
        return template_of(data)
    except TemplateError as error:
        problems = error.problems
    strange = [problem for problem in problems if "unknown key" not in problem.message]
    assert strange == []
    return None


def _normalized(found: TaskTemplate) -> dict[str, Any]:
    shown = found.model_dump(mode="json", by_alias=True)
    shown["steps"] = [_shown_step(step) for step in found.steps]
    return shown


def _shown_step(step: Any) -> dict[str, Any]:
    """With the effective backoff: what a fixture calls the defaults of a template, is here the host's."""
    shown = step.model_dump(mode="json", by_alias=True)
    retry = shown["retry"]
    retry["backoff"] = retry["backoff"] or "exponential"
    if not step.retry.model_fields_set:
        retry_given = "retry" in step.model_fields_set
        retry["backoff_base_ms"] = None if retry_given else 1000
        retry["max_backoff_ms"] = None if retry_given else 30000
    shown["handler"]["effective_method"] = shown["handler"]["method"] or "call"
    return shown


def event_names(case: Case, _: Mapping[str, Any]) -> None:
    try:
        event_name(case["name"])
        valid = True
    except ValueError:
        valid = False
    assert valid is case["expect"]["valid"]


def initial(case: Case, templates: Mapping[str, Any]) -> None:
    found = template_of(case.get("inline_template") or templates[case["template"]])
    names = initial_steps(found)
    above = {name: [parent for parent in parents(found)[name] if parent in names] for name in names}
    shown = {
        "initial_steps": names,
        "edges": [[parent, child] for child in names for parent in above[child]],
        "levels": {name: level for level, row in enumerate(steps_by_level(above)) for name in row},
        "graphs": [
            {"kind": s.kind, "entry": s.entry, "exits": list(s.exits), "steps": list(s.steps)} for s in segments(found)
        ],
    }
    compare(shown, case["expect"])


def fsm(case: Case, _: Mapping[str, Any]) -> None:
    """Every listed move is ours; what is not listed is refused, but for the operator actions that README.md names."""
    is_task = "steps_in_process" in case["states"]
    moves: Any = TASK_MOVES if is_task else STEP_MOVES
    states: Any = TaskState if is_task else StepState
    events: Any = TaskEvent if is_task else StepEvent
    listed = {(state, event): to for state, event, to in case["transitions"]}
    known = {event.value for event in events}
    for state in case["states"]:
        for event in case["events"]:
            found = moves.get((states(state), events(event))) if event in known else None
            if found is not None and (state, event) not in listed:
                assert is_task, (state, event)
                assert state in case["terminal"], (state, event)
                assert event in ("reset", "resolve_manually"), (state, event)
            else:
                assert found == listed.get((state, event)), (state, event)
    if "satisfies_dependencies" in case:
        assert set(case["satisfies_dependencies"]) == {state.value for state in STEP_SATISFIED}


def backoff(case: Case, _: Mapping[str, Any]) -> None:
    """There `base × 2^attempts`; here the base is the first wait: `2·base × 2^(attempts − 1)`."""
    for row in case["rows"]:
        if row["attempts"] == 0:
            continue  # no wait comes before the first execution
        policy = BackoffPolicy(Backoff.EXPONENTIAL, int(2000 * row["base"]), int(1000 * row["cap"]), jitter=0)
        assert delay_seconds(row["attempts"], policy, jitter=0.5) == row["seconds"], row


def jitter(case: Case, _: Mapping[str, Any]) -> None:
    """There whole seconds after the cap; here a fraction of the wait, so the ends agree to less than a second."""
    for row in case["rows"]:
        policy = BackoffPolicy(Backoff.LINEAR, row["delay"] * 1000, 10**9, jitter=row["fraction"])
        low, high = (delay_seconds(1, policy, jitter=at) for at in (0.0, 1.0))
        assert row["low"] - 1 < low <= row["delay"] <= high < row["high"] + 1, row


def retry_after(case: Case, _: Mapping[str, Any]) -> None:
    for row in case["rows"]:
        assert parse_retry_after(row["value"], NOW) == row["seconds"], row


def readiness_by_state(case: Case, _: Mapping[str, Any]) -> None:
    for state in case["ready"]:
        assert StepFacts(StepState(state or "pending")).is_ready(NOW), state
    for state in case["not_ready"]:
        assert not StepFacts(StepState(state)).is_ready(NOW), state


def execution_status(case: Case, templates: Mapping[str, Any]) -> None:
    graph = parents(template_of(templates["rhombus"]))
    for row in case["rows"]:
        state = dict(zip(graph, map(StepState, row["states"]), strict=True))
        facts = [
            StepFacts(state[name], len(above), sum(state[parent] in STEP_SATISFIED for parent in above))
            for name, above in graph.items()
        ]
        found = progress(facts, NOW)
        assert found.ready_steps == row["ready"], row
        assert found.completion_percentage == row["completion"], row
        can_run = row["ready"] or any(s in ("enqueued", "in_progress") for s in row["states"])
        if row["status"] == "blocked_by_failures" and can_run:
            # Here a task is blocked only when nothing can run any more.
            assert found.status != "blocked_by_failures", row
            continue
        assert (found.status, found.recommended_action) == (row["status"], row["action"]), row
        assert found.health_status == row.get("health", found.health_status), row
    nothing = progress([], NOW)
    for key, value in case.get("zero_steps", {}).items():
        shown = {"status": nothing.status, "completion": nothing.completion_percentage, "health": nothing.health_status}
        assert shown[key] == value


def identity(case: Case, templates: Mapping[str, Any]) -> None:
    base = template_of(templates["chain4"])
    for row in case["rows"]:
        a, b = (identity_key(base, row[side], row.get(f"key_{side}")) for side in "ab")
        assert (a == b) is row["same"], row
    caller = base.model_copy(update={"identity_strategy": IdentityStrategy.CALLER_PROVIDED})
    with pytest.raises(InvalidRequest, match="idempotency_key"):
        identity_key(caller, {})
    assert identity_key(caller, {"x": 1}, "k") == identity_key(base, {"x": 2}, "k")
    unique = base.model_copy(update={"identity_strategy": IdentityStrategy.ALWAYS_UNIQUE})
    assert identity_key(unique, {}) is None
    assert identity_key(unique, {}, "k") == identity_key(base, {}, "k")


def batch_ranges(case: Case, _: Mapping[str, Any]) -> None:
    for row in case["rows"]:
        found = cursor_ranges(row["total"], row["size"], max_batches=row["cap"])
        assert [list(one) for one in found] == row["ranges"], row


def publish_condition(case: Case, _: Mapping[str, Any]) -> None:
    for row in case["rows"]:
        assert fires(PublishCondition(row["condition"]), row["outcome"]) is row["fires"], row


TABLES = {
    "template": template,
    "event_name": event_names,
    "initial_steps": initial,
    "fsm": fsm,
    "backoff": backoff,
    "jitter": jitter,
    "retry_after": retry_after,
    "readiness_by_state": readiness_by_state,
    "execution_status": execution_status,
    "identity": identity,
    "batch_ranges": batch_ranges,
    "publish_condition": publish_condition,
}
