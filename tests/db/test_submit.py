"""What a submission writes, to the last column."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from tasker_host.db.kernel import NewTask, Taker, tasks_submit
from tasker_host.domain.ids import WorkerId, uuid7
from tests.db.conftest import AGING, LEASE, done

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NOW_MICROSECONDS = 1_767_225_600_000_000
DIAMOND = {"top": [], "left": ["top"], "right": ["top"], "end": ["left", "right"]}
ONE = {"only": []}


async def test_the_steps_of_a_task_know_their_parents_children_and_what_they_read(kernel):
    (task,), _ = await kernel.submit(await kernel.template(DIAMOND, max_attempts=7))
    rows = await kernel.connection.fetch("select * from tasker.steps where task_uuid = $1 order by position", task)
    name = {row["step_uuid"]: row["name"] for row in rows}
    edges = {
        row["name"]: tuple([name[other] for other in row[column]] for column in ("parents", "children", "reads"))
        for row in rows
    }
    assert edges == {
        "top": ([], ["left", "right"], []),
        "left": (["top"], ["end"], ["top"]),
        "right": (["top"], ["end"], ["top"]),
        "end": (["left", "right"], [], ["left", "right"]),
    }
    assert [(row["waits_on"], row["attempts"], row["max_attempts"], row["worker"]) for row in rows] == [
        (0, 0, 7, None), (1, 0, 7, None), (1, 0, 7, None), (2, 0, 7, None),
    ]  # fmt: skip


async def test_a_message_is_two_uuids_and_the_rank_of_its_task(kernel):
    await kernel.clock(NOW)
    (task,), _ = await kernel.submit(await kernel.template(ONE), priority=2)
    message, headers, vt = await kernel.connection.fetchrow("select message, headers, vt from pgmq.q_tests_queue")
    step = await kernel.connection.fetchval("select step_uuid from tasker.steps")
    assert json.loads(message) == {"task_uuid": str(task), "step_uuid": str(step)}
    # Two levels of priority are worth two aging intervals of 300 s.
    assert json.loads(headers) == {"rank": NOW_MICROSECONDS - 2 * 300_000_000}
    assert vt == NOW
    assert await kernel.connection.fetchval("select rank from tasker.tasks") == NOW_MICROSECONDS - 600_000_000


async def test_everything_about_a_task_is_kept_as_it_was_given(kernel):
    template = await kernel.template(ONE)
    task = NewTask(
        task_uuid=uuid7(),
        template_id=template,
        context='{"big":  12345678901234567890.10, "text": "\\u0000 \\ud83d\\ude00"}',
        priority=-3,
        identity_key="ä" * 64,
        tags='["gpu", "eu west", "\\""]',
        correlation_id=uuid7(),
        parent_correlation_id=uuid7(),
        initiator="me",
        source_system="tests",
        reason="why",
        start_at=NOW,
    )
    await kernel.clock(NOW)
    await tasks_submit(kernel.connection, [task], aging_interval=AGING)
    row = await kernel.connection.fetchrow("select * from tasker.tasks")
    for column in (
        "task_uuid", "template_id", "context", "priority", "identity_key", "correlation_id", "parent_correlation_id",
        "initiator", "source_system", "reason", "start_at",
    ):  # fmt: skip
        assert row[column] == getattr(task, column), column
    assert row["tags"] == ["gpu", "eu west", '"']
    assert (row["namespace"], row["state"], row["created_at"], row["completed_at"]) == (
        "tests", "steps_in_process", NOW, None,
    )  # fmt: skip


async def test_a_start_in_the_past_is_now(kernel):
    await kernel.clock(NOW)
    (task,), _ = await kernel.submit(await kernel.template(ONE), start_at=NOW - timedelta(days=1))
    assert await kernel.connection.fetchval("select rank from tasker.tasks") == NOW_MICROSECONDS
    assert [step.task_uuid for step in (await kernel.claim()).steps] == [task]


async def test_a_task_that_waits_for_its_start_is_ranked_from_then_on(kernel):
    await kernel.clock(NOW)
    await kernel.submit(await kernel.template(ONE), start_at=NOW + timedelta(seconds=1))
    assert await kernel.connection.fetchval("select rank from tasker.tasks") == NOW_MICROSECONDS + 1_000_000
    history = await kernel.connection.fetch("select from_state, to_state from tasker.task_history")
    assert [tuple(line) for line in history] == [(None, "pending")]


async def test_tasks_of_several_templates_and_namespaces_go_in_one_call_and_one_without_steps_among_them(kernel):
    one = await kernel.template(ONE, namespace="one")
    two = await kernel.template(DIAMOND, namespace="two")
    none = await kernel.template({}, namespace="none")
    made = []
    for template in (two, none, one, two):
        task = uuid7()
        made.append(NewTask(task, template, "{}", 0, None, None, task, None, "me", "tests", "why", None))
    submitted = await tasks_submit(kernel.connection, made, aging_interval=AGING)
    assert submitted.created == [True] * 4
    totals = await kernel.connection.fetch(
        "select task_uuid, namespace, state, steps_total, steps_active from tasker.tasks"
    )
    assert {row["task_uuid"]: tuple(row)[1:] for row in totals} == {
        made[0].task_uuid: ("two", "steps_in_process", 4, 1),
        made[1].task_uuid: ("none", "complete", 0, 0),
        made[2].task_uuid: ("one", "steps_in_process", 1, 1),
        made[3].task_uuid: ("two", "steps_in_process", 4, 1),
    }
    assert [await kernel.messages(name) for name in ("one", "two", "none")] == [1, 2, 0]


async def test_first_steps_are_in_the_order_of_their_tasks_whatever_their_identities(kernel):
    template = await kernel.template(ONE)
    made = []
    for identity in ("c", None, "a", "b"):
        task = uuid7()
        made.append(NewTask(task, template, "{}", 0, identity, None, task, None, "me", "tests", "why", None))
    await tasks_submit(kernel.connection, made, aging_interval=AGING)
    order = [(await kernel.claim(want=1)).steps[0].task_uuid for _ in made]
    assert order == [task.task_uuid for task in made]


async def test_a_taker_that_knows_that_nothing_waits_is_not_asked_again(kernel):
    template = await kernel.template(ONE)
    await kernel.submit(template)
    _, submitted = await kernel.submit(template, taker=Taker(WorkerId("w"), ["tests"], 5, LEASE, look=False))
    assert len(submitted.steps) == 1


async def test_a_taker_of_other_namespaces_or_too_early_is_given_nothing(kernel):
    await kernel.clock(NOW)
    await kernel.template(ONE, namespace="others")
    template = await kernel.template(ONE)
    other = Taker(WorkerId("w"), ["others"], 5, LEASE)
    assert (await kernel.submit(template, taker=other))[1].steps == []
    same = Taker(WorkerId("v"), ["tests"], 5, LEASE, look=False)
    later = NOW + timedelta(minutes=1)
    assert (await kernel.submit(template, taker=same, start_at=later))[1].steps == []
    assert (await kernel.claim()).next_due_seconds == 30.0


async def test_a_task_may_have_more_steps_than_two_bytes_count(kernel):
    wide = await kernel.template({f"s{number}": [] for number in range(65_537)})
    (task,), _ = await kernel.submit(wide)
    assert await kernel.connection.fetchval("select count(distinct step_uuid) from tasker.steps") == 65_537
    taken = await kernel.claim(want=2)
    await kernel.finish(*map(done, taken.steps))
    assert await kernel.connection.fetchval("select steps_done from tasker.tasks where task_uuid = $1", task) == 2
