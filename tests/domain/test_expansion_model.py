"""Whatever the template and whatever is decided in whatever order: the same steps are made, and none starts early."""

from __future__ import annotations

from hypothesis import given, note, settings
from hypothesis import strategies as st

from tests.expansions import ModelTask, cases, expected, started_early, told


@settings(max_examples=500, deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_in_which_steps_finish_changes_nothing(case, random):
    template, results = case
    note(told(template, results))
    task = ModelTask(template, results)
    while ready := task.ready():
        task.finish(random.choice(ready))
    note(f"finished {task.finished}")
    assert [name for name, step in task.steps.items() if not step.is_done] == []
    assert {step.template_step for step in task.steps.values()} == expected(template, results)
    made = {name: step.template_step for name, step in task.steps.items()}
    assert started_early(template, made, task.finished) == []
