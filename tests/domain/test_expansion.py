"""What decisions and batches make, template by template."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tasker_host.domain.batches import Batches, Cursor
from tasker_host.domain.expansion import Expansion, ExpansionError, expand_batches, expand_decision
from tasker_host.domain.making import Link
from tasker_host.domain.result import Decision, decision_of
from tasker_host.domain.template import TaskTemplate
from tests.expansions import cut, template


def parents(expansion: Expansion) -> dict[str, Any]:
    """Per new step its candidates, single ones as they are."""
    return {step.name: [one[0] if len(one) == 1 else one for one in step.parents] for step in expansion.steps}


def route(of: TaskTemplate, step: str, *names: str, max_steps: int = 100, max_depth: int = 20) -> Expansion:
    return expand_decision(of, step, Decision(names), max_steps=max_steps, max_depth=max_depth)


TIERS = template("""
    intake
    pick d < intake
    self < pick
    lead < pick
    board < pick
    wrap_up j < self lead board
""")


def test_a_join_waits_for_the_branches_that_were_chosen():
    assert parents(route(TIERS, "pick", "self")) == {"self": ["pick"], "wrap_up": ["self"]}
    both = route(TIERS, "pick", "board", "lead")
    assert parents(both) == {"lead": ["pick"], "board": ["pick"], "wrap_up": ["lead", "board"]}
    assert both.links == ()


def test_no_branches_make_nothing():
    assert not route(TIERS, "pick")


def test_steps_below_a_branch_come_with_it_when_all_they_need_is_there():
    chains = template("""
        intake
        pick d < intake
        a < pick
        a2 < a intake
        b < pick
        b2 < b
        both < a2 b2
        any j < a2 b2
        last < any
    """)
    assert parents(route(chains, "pick", "a")) == {"a": ["pick"], "a2": ["a", "intake"], "any": ["a2"], "last": ["any"]}
    assert set(parents(route(chains, "pick", "a", "b"))) == {"a", "a2", "b", "b2", "both", "any", "last"}


def test_what_hangs_on_another_decision_too_is_said_as_a_condition():
    two = template("""
        root
        d1 d < root
        d2 d < root
        a < d1
        b < d2
        both < a b
        any j < a b
    """)
    made = {step.name: step for step in route(two, "d1", "a").steps}
    assert (made["both"].if_all, made["both"].parents) == (("b",), (("a",), ("b", "d2")))
    assert (made["any"].if_all, made["any"].if_any, made["any"].parents) == ((), (), (("a",), ("b", "d2")))
    assert route(two, "d1", "a").links == (
        Link("both", ("a",), ("root", "d1", "d2", "a", "b")),
        Link("any", ("a",), ("root", "d1", "d2", "a", "b")),
    )


def test_a_chosen_step_that_exists_waits_for_workers_that_are_made_later():
    mixed = template("""
        root
        pick d < root
        plan b < root
        shard w < plan
        branch < pick shard
    """)
    assert [(link.name, link.parents) for link in expand_batches(mixed, "plan", cut(2)).links] == [
        ("branch", ("shard",))
    ]


def test_the_name_of_a_worker_stands_for_all_of_them():
    batch = template("""
        plan b
        work w < plan
        report < work
    """)
    made = expand_batches(batch, "plan", cut(2))
    assert parents(made) == {"work": ["plan"], "report": ["work"]}
    assert [one.name for one in made.steps[0].instances] == ["work_001", "work_002"]
    assert made.steps[0].instances[1].inputs["batch_metadata"]["batch_index"] == 1


@pytest.mark.parametrize(
    ("batch_id", "message"),
    [
        ("x" * 300, "a name is 255 printable characters at most (its batch_id has 300)"),
        ("a\nb", "a name is 255 printable characters at most (its batch_id has 3)"),
        ("up", "the template has one of that name; change batch_id 'up'"),
    ],
)
def test_a_batch_that_cannot_be_the_name_of_a_step_is_refused(batch_id, message):
    batch = template("""
        plan b
        work w < plan
        work_up < plan
    """)
    with pytest.raises(ExpansionError) as refused:
        expand_batches(batch, "plan", Batches((Cursor(batch_id, 0, 1),), 1))
    assert str(refused.value).endswith(message)


def test_two_batches_of_one_id_are_refused():
    batch = template("""
        plan b
        work w < plan
    """)
    with pytest.raises(ExpansionError, match="gave two batches the batch_id 'x'"):
        expand_batches(batch, "plan", Batches((Cursor("x", 0, 1), Cursor("x", 1, 2)), 2))


def test_an_analyzer_that_names_another_worker_is_told_its_own():
    batch = template("""
        plan b
        work w < plan
        more w < plan
    """)
    assert [step.name for step in expand_batches(batch, "plan", replace(cut(1), worker_template="more")).steps] == [
        "more"
    ]
    with pytest.raises(ExpansionError, match="names no worker; batch_worker steps that depend on it: work, more"):
        expand_batches(batch, "plan", cut(1))
    with pytest.raises(ExpansionError, match="names 'wrk' as its worker; did you mean 'work'"):
        expand_batches(batch, "plan", replace(cut(1), worker_template="wrk"))


def test_limits_of_decisions():
    nested = template("""
        root
        d1 d < root
        d2 d < d1
        a < d2
        b < d2
    """)
    assert parents(route(nested, "d1", "d2")) == {"d2": ["d1"]}
    with pytest.raises(ExpansionError, match="chose 2 steps; the limit is 1"):
        route(nested, "d2", "a", "b", max_steps=1)
    with pytest.raises(ExpansionError, match="is number 2 of decisions in a row; the limit is 1"):
        route(nested, "d2", "a", max_depth=1)


@pytest.mark.parametrize("wrong", [5, None, ["a"]])
def test_a_decision_names_steps_by_text(wrong):
    with pytest.raises(ValueError, match="a decision names steps by text"):
        decision_of(Decision(("a", wrong)))
