"""Asking a server over its socket how it is, in the few bytes of PostgreSQL's protocol that this takes."""

from __future__ import annotations

import re
import socket
import struct
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

_PROTOCOL = 3 << 16
_CANNOT_CONNECT_NOW = b"57P03"


class State(Enum):
    DOWN = "nobody listens"
    BUSY = "starting, stopping, recovering, or not answering"
    READY = "accepts connections"


@dataclass(frozen=True, slots=True)
class Answer:
    """How the server is and, when it let us in, its version (major, minor)."""

    state: State
    version: tuple[int, int] | None = None


def probe(directory: Path, port: int, *, timeout_seconds: float = 1.0) -> Answer:
    """Log in over the socket in `directory` and leave again."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_seconds)
        try:
            connection.connect(str(directory / f".s.PGSQL.{port}"))
        except TimeoutError:
            return Answer(State.BUSY)
        except OSError:
            return Answer(State.DOWN)
        try:
            return _log_in(connection)
        except OSError:
            return Answer(State.BUSY)  # it ended, or went silent, in mid-sentence


def _log_in(connection: socket.socket) -> Answer:
    body = struct.pack("!i", _PROTOCOL) + b"user\0postgres\0database\0postgres\0\0"
    connection.sendall(struct.pack("!i", len(body) + 4) + body)
    version = None
    with connection.makefile("rb") as stream:
        while len(head := stream.read(5)) == 5:
            kind, size = struct.unpack("!ci", head)
            content = stream.read(size - 4)
            if kind == b"E":
                # Any other refusal ("too many clients") comes from a server that works.
                busy = b"C" + _CANNOT_CONNECT_NOW in content.split(b"\0")
                return Answer(State.BUSY if busy else State.READY)
            if kind == b"S" and content.startswith(b"server_version\0"):
                version = _version(content.split(b"\0")[1].decode())
            if kind == b"Z":
                connection.sendall(b"X\0\0\0\4")
                return Answer(State.READY, version)
    return Answer(State.BUSY)


def _version(told: str) -> tuple[int, int] | None:
    match = re.match(r"(\d+)(?:\.(\d+))?", told)
    return (int(match[1]), int(match[2] or 0)) if match else None
