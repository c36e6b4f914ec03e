"""Whatever the template and whatever is decided in whatever order: the same steps are made, and none starts early."""

from __future__ import annotations

from hypothesis import given, note, settings
from hypothesis import strategies as st

from tests.expansions import ModelTask, answers, cases, expected, started_early, told


@settings(max_examples=500, deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_in_which_steps_finish_changes_nothing(case, random):
    template, results = case
    note(told(template, results))
    task = ModelTask(template, results)
    _to_the_end(task, random)
    assert {step.template_step for step in task.steps.values()} == expected(template, results)
    made = {name: step.template_step for name, step in task.steps.items()}
    assert started_early(template, made, task.finished) == []


@settings(max_examples=500, deadline=None)
@given(cases(), st.data(), st.randoms(use_true_random=False))
def test_a_task_run_again_and_decided_otherwise_has_what_those_who_decide_now_want(case, data, random):
    template, results = case
    note(told(template, results))
    task = ModelTask(template, results)
    _to_the_end(task, random)
    again = random.choice(task.finished)
    run_again = {task.steps[name].template_step for name in task.below([again]) | {again}}
    others = data.draw(answers(template))
    said = {step.template_step for step in task.steps.values()} - run_again
    results = {name: results[name] if name in said else others[name] for name in results}
    note(f"again {again}\n{told(template, results)}")
    task.rerun(again, results)
    _to_the_end(task, random)
    assert {step.template_step for step in task.steps.values()} == expected(template, results)
    made = {name: step.template_step for name, step in task.steps.items()}
    assert started_early(template, made, task.finished) == []


def _to_the_end(task, random):
    while ready := task.ready():
        task.finish(random.choice(ready))
    note(f"finished {task.finished}")
    assert [name for name, step in task.steps.items() if not step.is_done] == []
