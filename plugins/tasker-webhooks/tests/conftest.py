"""A real HTTP server on this machine that answers as a test says, and databases for whole hosts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest
from tasker_host.db.database import Database
from tasker_host.db.embedded import EmbeddedServer, temporary_data_dir
from tasker_host.db.migrate import migrate

NEW = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


@dataclass(frozen=True)
class Got:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Answer = tuple[int, dict[str, str], bytes]
STALL = (0, {}, b"")
"""In place of an answer: none is given."""
HANG_UP = (-1, {}, b"")
"""In place of an answer: the connection is closed."""


@dataclass
class Server:
    """`answers` are given one after the other, the last one from then on."""

    url: str = ""
    got: list[Got] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=lambda: [(204, {}, b"")])
    more: asyncio.Event = field(default_factory=asyncio.Event)
    under_way: int = 0
    most: int = 0
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.got.append(Got(method, path, headers, body))
        self.more.set()
        try:
            status, said, text = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
            if status == 0:
                await reader.read()  # until the client gives up
            if status <= 0:
                return False
            await asyncio.sleep(0)
            lines = [
                f"HTTP/1.1 {status} Whatever",
                f"content-length: {len(text)}",
                *(f"{k}: {v}" for k, v in said.items()),
            ]
            writer.write("\r\n".join([*lines, "", ""]).encode() + text)
            await writer.drain()
            return True
        finally:
            self.under_way -= 1

    async def heard(self, count: int) -> list[Got]:
        """The requests, once there were so many."""
        async with asyncio.timeout(20):
            while len(self.got) < count:
                self.more.clear()
                await self.more.wait()
        return self.got


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    made.url = f"http://127.0.0.1:{port}/hooks?token=in-the-url"
    yield made
    listening.close()


async def _on(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[str], str]]:
    """The DSN of a database on a server of this run's own, by its name."""
    options = {"fsync": "off", "synchronous_commit": "off"}
    with temporary_data_dir() as folder, EmbeddedServer(folder, options=options) as started:
        yield lambda name: started.dsn.replace("/postgres?", f"/{name}?")


@pytest.fixture
async def dsn(postgres: Callable[[str], str], request: Any) -> str:
    name = f"hooks_{abs(hash(request.node.nodeid)):x}"
    await _on(postgres("postgres"), f"create database {name}")
    await migrate(Database(postgres(name)))
    return postgres(name)
