"""The order of steps."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_host.domain.graph import (
    ancestors,
    children,
    cycles,
    find_problems,
    initial_steps,
    parents,
    reads,
    steps_by_level,
    topological_order,
)
from tasker_host.domain.states import StepType

WEAVE = {
    "seed": [],
    "left": ["seed"],
    "right": ["seed"],
    "check": ["left", "right"],
    "shape": ["left"],
    "gauge": ["right"],
    "seal": ["check", "shape", "gauge"],
}


@dataclass
class Step:
    name: str
    dependencies: tuple[str, ...] = ()
    type: StepType = StepType.STANDARD


@dataclass
class Template:
    steps: list[Step]


def messages(*steps: Step, warnings: bool = False) -> list[str]:
    return [problem.message for problem in find_problems(steps) if problem.warning == warnings]


def test_levels_are_distances_from_the_roots_by_the_longest_way() -> None:
    assert steps_by_level(WEAVE) == [["seed"], ["left", "right"], ["check", "shape", "gauge"], ["seal"]]
    assert steps_by_level({"a": [], "b": ["a"], "c": ["a", "b"]}) == [["a"], ["b"], ["c"]]
    assert steps_by_level({}) == []


def test_ancestors_are_everything_above_parents_first() -> None:
    above = ancestors(WEAVE)
    assert above["seed"] == ()
    assert above["shape"] == ("seed", "left")
    assert above["seal"] == ("seed", "left", "right", "check", "shape", "gauge")


def test_children_are_those_that_depend_on_a_step() -> None:
    assert children(WEAVE)["left"] == ("check", "shape")
    assert children(WEAVE)["seal"] == ()


def test_the_order_stays_as_near_to_the_declared_one_as_dependencies_allow() -> None:
    assert topological_order({"c": ["a"], "b": [], "a": []}) == ["b", "a", "c"]


def test_a_circle_has_no_order() -> None:
    with pytest.raises(ValueError, match="a → b → a"):
        topological_order({"a": ["b"], "b": ["a"]})


def test_a_handler_reads_all_ancestors_up_to_64_and_beyond_that_its_parents() -> None:
    chain = {f"s{n}": [f"s{n - 1}"] if n else [] for n in range(66)}
    assert reads(chain)["s64"] == tuple(f"s{n}" for n in range(64))
    assert reads(chain)["s65"] == ("s64",)


def test_a_chain_of_ten_thousand_steps_is_nothing_special() -> None:
    chain = {f"s{n}": [f"s{n - 1}"] if n else [] for n in range(10_000)}
    assert topological_order(chain) == list(chain)
    assert len(steps_by_level(chain)) == 10_000
    assert cycles(chain) == []
    assert cycles(chain | {"s0": ["s9999"]}) == [[*chain, "s0"]]


def test_a_task_starts_with_what_no_decision_and_no_batch_has_to_be_waited_for() -> None:
    template = Template(
        [
            Step("validate"),
            Step("route", ("validate",), StepType.DECISION),
            Step("auto", ("route",)),
            Step("manual", ("route",)),
            Step("finalize", ("auto", "manual"), StepType.DEFERRED_CONVERGENCE),
            Step("archive", ("finalize",)),
            Step("analyze", ("validate",), StepType.BATCHABLE),
            Step("part", ("analyze",), StepType.BATCH_WORKER),
            Step("merge", ("part",), StepType.DEFERRED_CONVERGENCE),
            Step("report", ("merge", "validate")),
            Step("audit", ("validate",)),
            Step("join", ("audit", "validate"), StepType.DEFERRED_CONVERGENCE),
        ]
    )
    assert initial_steps(template) == ["validate", "route", "analyze", "audit", "join"]


def test_all_problems_are_found_at_once() -> None:
    steps = [
        Step("a", ("c",)),
        Step("b", ("a", "b")),
        Step("c", ("a", "chrge")),
        Step("charge"),
        Step("charge", ("a",)),
        Step("x", ("y",)),
        Step("y", ("z",)),
        Step("z", ("x",)),
        Step("route", (), StepType.DECISION),
        Step("fan", ("a",), StepType.BATCHABLE),
        Step("worker", ("a",), StepType.BATCH_WORKER),
        Step("join", (), StepType.DEFERRED_CONVERGENCE),
    ]
    assert [(p.step, p.dependency, p.message) for p in find_problems(steps) if not p.warning] == [
        (0, 0, "cycle a → c → a"),
        (1, 1, "step 'b': depends on itself"),
        (2, 1, "step 'c': depends on unknown step 'chrge'; did you mean 'charge'?"),
        (4, None, "step 'charge': a step of this name is already there"),
        (5, 0, "cycle x → z → y → x"),
        (8, None, "step 'route': a decision needs at least one dependency: what it decides on"),
        (9, None, "step 'fan': a batchable step needs a batch_worker that depends on it"),
        (10, None, "step 'worker': a batch_worker needs a batchable step among its dependencies"),
        (11, None, "step 'join': a deferred_convergence needs dependencies: what it brings together"),
    ]


def test_cycles_that_share_a_step_are_each_named_once() -> None:
    assert cycles({"a": ["b", "c"], "b": ["a"], "c": ["a"]}) == [["a", "b", "a"], ["a", "c", "a"]]


def test_what_can_run_but_was_hardly_meant_is_a_warning() -> None:
    assert messages(Step("a"), Step("b", ("a", "a")), Step("alone"), warnings=True) == [
        "step 'b': names its dependency 'a' 2 times",
        "step 'alone': stands alone: it depends on no step, and none depends on it",
    ]
    assert messages(Step("a"), Step("d", ("a",), StepType.DECISION), warnings=True) == [
        "step 'd': a decision that no step depends on has nothing to choose from"
    ]
    assert messages(Step("a"), Step("b"), warnings=True) == []


@st.composite
def dags(draw: st.DrawFn) -> dict[str, list[str]]:
    """Steps in a random order of declaration, each with parents among those before it in a hidden order."""
    count = draw(st.integers(0, 9))
    hidden = [f"s{n}" for n in range(count)]
    graph = {}
    for index, name in enumerate(hidden):
        graph[name] = draw(st.lists(st.sampled_from(hidden[:index]), unique=True)) if index else []
    return {name: graph[name] for name in draw(st.permutations(hidden))}


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    names = [f"s{n}" for n in range(draw(st.integers(1, 6)))]
    return {name: draw(st.lists(st.sampled_from(names), unique=True, max_size=3)) for name in names}


def closure(graph: dict[str, list[str]], name: str) -> set[str]:
    """Everything above `name`, found by walking up."""
    seen: set[str] = set()
    waiting = list(graph[name])
    while waiting:
        step = waiting.pop()
        if step not in seen:
            seen.add(step)
            waiting += graph[step]
    return seen


@given(dags())
def test_order_and_levels_respect_every_edge(graph: dict[str, list[str]]) -> None:
    order = topological_order(graph)
    level = {name: index for index, row in enumerate(steps_by_level(graph)) for name in row}
    assert sorted(order) == sorted(graph) == sorted(level)
    for name, above in graph.items():
        assert all(order.index(parent) < order.index(name) for parent in above)
        assert level[name] == max((level[parent] + 1 for parent in above), default=0)


@given(dags())
def test_ancestors_are_the_transitive_closure_in_order(graph: dict[str, list[str]]) -> None:
    order = topological_order(graph)
    for name, above in ancestors(graph).items():
        assert set(above) == closure(graph, name)
        assert list(above) == sorted(above, key=order.index)
    assert reads(graph) == ancestors(graph)


@given(dags())
def test_children_are_parents_seen_from_the_other_side(graph: dict[str, list[str]]) -> None:
    edges = {(parent, name) for name, above in parents(graph).items() for parent in above}
    assert {(name, child) for name, below in children(graph).items() for child in below} == edges


@given(graphs())
def test_a_cycle_is_reported_exactly_when_there_is_one(graph: dict[str, list[str]]) -> None:
    found = cycles(graph)
    assert bool(found) == any(name in closure(graph, name) for name in graph)
    assert len({tuple(cycle) for cycle in found}) == len(found)
    for cycle in found:
        assert cycle[0] == cycle[-1]
        assert len(set(cycle)) == len(cycle) - 1
        assert all(above in graph[below] for above, below in pairwise(cycle))


@given(graphs())
def test_steps_can_be_put_in_order_exactly_when_no_error_is_found(graph: dict[str, list[str]]) -> None:
    steps = [Step(name, tuple(above)) for name, above in graph.items()]
    if messages(*steps):
        with pytest.raises(ValueError, match="→"):
            topological_order(graph)
    else:
        assert sorted(topological_order(graph)) == sorted(graph)
