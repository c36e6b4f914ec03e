"""Doorbells and those who listen to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tasker_host.db.database import Database
from tasker_host.db.listen import Doorbell, Listener


@asynccontextmanager
async def running(*loops: object) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(loop.run()) for loop in loops]  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Heard:
    """A queue of what a listener heard."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[str] = asyncio.Queue()

    def __call__(self, channel: str) -> None:
        self.queue.put_nowait(channel)

    async def next(self) -> str:
        async with asyncio.timeout(10):
            return await self.queue.get()


async def test_a_bell_is_heard_on_its_channel_after_the_first_look(database):
    heard, bell = Heard(), Doorbell(database)
    async with running(bell, Listener(database, ["tasker.a"], heard)):
        assert await heard.next() == "tasker.a"  # connected: look once
        bell.ring(["tasker.b", "tasker.a"])
        assert await heard.next() == "tasker.a"
        assert heard.queue.empty()


async def test_bells_that_ring_at_once_are_one_call(database):
    heard, bell = Heard(), Doorbell(database)
    async with running(Listener(database, ["tasker.a"], heard)):
        await heard.next()
        for _ in range(50):
            bell.ring(["tasker.a"])
        async with running(bell):
            assert await heard.next() == "tasker.a"
            bell.ring(["tasker.a"])
            assert await heard.next() == "tasker.a"
        assert heard.queue.empty()


async def test_what_the_own_doorbell_rings_is_not_heard(database):
    heard, bell, stranger = Heard(), Doorbell(database), Doorbell(database)
    async with running(bell, stranger, Listener(database, ["tasker.a", "tasker.z"], heard, own=bell)):
        assert {await heard.next(), await heard.next()} == {"tasker.a", "tasker.z"}
        bell.ring(["tasker.a"])
        while bell.pid is None:
            await asyncio.sleep(0)
        stranger.ring(["tasker.z"])
        assert await heard.next() == "tasker.z"


async def cut(database: Database, role: str) -> None:
    await database.fetch(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and application_name = $1",
        f"tasker {role}",
    )


async def test_a_listener_that_is_cut_comes_back_and_looks_again(database):
    heard, bell = Heard(), Doorbell(database)
    async with running(bell, Listener(database, ["tasker.a"], heard, retry_seconds=0.01)):
        await heard.next()
        await cut(database, "listener")
        assert await heard.next() == "tasker.a"
        bell.ring(["tasker.a"])
        assert await heard.next() == "tasker.a"


async def test_a_doorbell_that_is_cut_rings_again(database):
    heard, bell = Heard(), Doorbell(database)
    async with running(bell, Listener(database, ["tasker.a"], heard)):
        await heard.next()
        bell.ring(["tasker.a"])
        await heard.next()
        await cut(database, "doorbell")
        while heard.queue.empty():
            bell.ring(["tasker.a"])  # the first one after the cut may be lost: a bell is a hint
            await asyncio.sleep(0)
        assert await heard.next() == "tasker.a"


async def test_a_doorbell_that_the_server_refuses_rings_again_later(database):
    """A full notification queue, for example; here a function of the same name stands in its way."""
    name = await database.fetchval("select current_database()")
    await database.fetch("create schema mute")
    await database.fetch(
        "create function mute.pg_notify(text, text) returns void language plpgsql as $$ begin raise 'full'; end $$"
    )
    await database.fetch(f'alter database "{name}" set search_path = mute, pg_catalog')
    heard, bell = Heard(), Doorbell(database)
    async with running(bell, Listener(database, ["tasker.a"], heard)):
        await heard.next()
        bell.ring(["tasker.a"])
        while bell.failures == 0:
            await asyncio.sleep(0)
        await database.fetch("drop schema mute cascade")
        while heard.queue.empty():
            bell.ring(["tasker.a"])
            await asyncio.sleep(0)
        assert await heard.next() == "tasker.a"
