"""What a relay's target raises, whatever it is, is a delivery that failed: it is told, and holds up nothing."""

from __future__ import annotations

import pytest

from tasker_host.errors import RetryableError, TargetGone
from tests.events.test_relay import bound, loop_of, message, running, send, stats, until

__all__ = ["bound"]


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class Stranger(BaseException):
    """As some libraries raise them."""


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (RetryableError("refused: a\x00b"), r"refused: a\0b (attempt 1 of 1)"),
        (OSError("no file \udcff"), r"OSError: no file \udcff (attempt 1 of 1)"),
        (Unprintable(), "Unprintable: (which cannot be shown) (attempt 1 of 1)"),
        (Stranger("stop"), "Stranger: stop (attempt 1 of 1)"),
        (TargetGone("gone\x00"), r"gone\0"),
        (RetryableError("later", retry_after=10**400), "later (attempt 1 of 1)"),
    ],
)
async def test_an_error_that_the_database_cannot_hold_as_it_is_gives_the_event_up_all_the_same(bound, raised, told):
    async def deliver(event):
        raise raised

    async def is_dead():
        return (await stats(bound))["dead_kept"] == 1

    async with running(loop_of(bound, deliver, max_attempts=1)):
        await send(bound, message("order.placed"))
        await until(is_dead)
    assert (await stats(bound))["last_error"] == told
