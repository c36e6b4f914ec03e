"""A retry goes rather to another worker than the one that failed, and waits for nobody where there is none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.db.conftest import Kernel, failed, released

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def ms(count: float) -> timedelta:
    return timedelta(milliseconds=count)


async def beat(kernel: Kernel, worker: str, **different: Any) -> None:
    said = {"state": "running", "slots": 4, "running": 0, "tags": [], "namespaces": ["tests"], "unserved": "[]"}
    said |= different
    await kernel.connection.execute(
        "select tasker.worker_beat($1, $1, 'host', 1, $2, interval '10 s', '1', $3, $4, $5, 0, $6, $7, $8::json)",
        *(worker, NOW, said["state"], said["slots"], said["running"], said["tags"], said["namespaces"]),
        said["unserved"],
    )


async def waiting(kernel: Kernel) -> int:
    """The template of a task whose only step failed on `w` and is due at NOW + 1 s."""
    await kernel.clock(NOW)
    template = await kernel.template({"only": []})
    await kernel.submit(template)
    (step,) = (await kernel.claim()).steps
    taken = await kernel.finish(failed(step, retry_after=ms(1000)))
    assert taken.left == ["tests"]  # others are told, so that they know when it is due
    await beat(kernel, "w")
    return template


async def test_the_worker_that_failed_leaves_it_to_another_one(kernel):
    await waiting(kernel)
    await beat(kernel, "other")
    await kernel.clock(NOW + ms(1000))
    left = await kernel.claim()
    assert (left.steps, left.next_due_seconds) == ([], 0.005)
    await kernel.clock(NOW + ms(1005))
    (step,) = (await kernel.claim("other")).steps
    assert step.attempt == 2


async def test_it_takes_it_back_when_nobody_else_did(kernel):
    await waiting(kernel)
    await beat(kernel, "other")
    for later in (1000, 1019):
        await kernel.clock(NOW + ms(later))
        assert (await kernel.claim()).steps == []
    await kernel.clock(NOW + ms(1024))
    (step,) = (await kernel.claim()).steps
    assert step.attempt == 2


@pytest.mark.parametrize(
    "different",
    [
        {"state": "draining"},
        {"state": "shedding"},
        {"state": "blocked"},
        {"running": 4},
        {"namespaces": ["others"]},
        {"unserved": '[{"template_id": 1, "step": "only"}]'},
    ],
    ids=lambda different: next(iter(different)),
)
async def test_a_worker_that_would_not_take_it_is_not_waited_for(kernel, different):
    assert await waiting(kernel) == 1
    await beat(kernel, "other", **different)
    await kernel.clock(NOW + ms(1000))
    assert len((await kernel.claim()).steps) == 1


async def test_a_worker_that_is_not_heard_of_is_not_waited_for(kernel):
    await waiting(kernel)
    await beat(kernel, "other")
    await kernel.connection.execute("update tasker.workers set seen_at = $1", NOW - timedelta(seconds=30))
    await kernel.clock(NOW + ms(1000))
    assert len((await kernel.claim()).steps) == 1


async def test_a_worker_with_other_tags_is_not_waited_for(kernel):
    await kernel.clock(NOW)
    await kernel.submit(await kernel.template({"only": []}), tags=["gpu"])
    (step,) = (await kernel.claim(tags=["gpu"])).steps
    await kernel.finish(failed(step, retry_after=ms(0)))
    await beat(kernel, "other", tags=["cpu"])
    assert len((await kernel.claim(tags=["gpu"])).steps) == 1


async def test_alone_it_waits_for_nobody(kernel):
    await waiting(kernel)
    await kernel.clock(NOW + ms(1000))
    assert len((await kernel.claim()).steps) == 1


async def test_what_was_given_back_is_nobodys_failure(kernel):
    await kernel.clock(NOW)
    await kernel.submit(await kernel.template({"only": []}))
    await beat(kernel, "other")
    (step,) = (await kernel.claim()).steps
    await kernel.finish(released(step))
    assert len((await kernel.claim()).steps) == 1
