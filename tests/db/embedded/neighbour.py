"""Another process with an embedded server: takes commands from standard input, answers each with a line of JSON.

Run as `python neighbour.py DATA_DIR`. A command is the name of a function below. At the end of the input it ends as any
Python program does, without a word to the server. `NEIGHBOUR_PROGRAMS` says where PostgreSQL is; else it is looked for.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tasker_host.db.embedded import EmbeddedServer
from tasker_host.errors import EmbeddedUnavailable


class Commands:
    def __init__(self, data_dir: Path) -> None:
        programs = os.environ.get("NEIGHBOUR_PROGRAMS")
        binaries = Path(programs) if programs else None
        self._server = EmbeddedServer(data_dir, binaries=binaries, options={"fsync": "off"})

    def start(self) -> dict[str, Any]:
        self._server.start()
        return self.look()

    def check(self) -> dict[str, Any]:
        return {"restarted": self._server.check(), **self.look()}

    def stop(self) -> dict[str, Any]:
        self._server.stop()
        return self.look()

    def look(self) -> dict[str, Any]:
        server = self._server
        return {"is_owner": server.is_owner, "pid": server.pid, "dsn": server.dsn, "version": server.version}

    def fork(self) -> dict[str, Any]:
        """A forked child that looks at the server, stops it, ends as programs do; what it saw."""
        return self._forked("look", "stop")

    def fork_and_start(self) -> dict[str, Any]:
        return self._forked("start", "stop")

    def _forked(self, *commands: str) -> dict[str, Any]:
        reading, writing = os.pipe()
        if os.fork() == 0:
            os.write(writing, json.dumps([answer(self, command) for command in commands]).encode())
            sys.exit(0)
        os.close(writing)
        with os.fdopen(reading) as stream:
            told = json.load(stream)
        os.wait()
        return {"child": told, **self.look()}

    def fork_and_stay(self) -> dict[str, Any]:
        """A forked child that outlives us."""
        child = os.fork()
        if child == 0:
            signal.pause()
        return {"child": child}

    def run_and_stay(self) -> dict[str, Any]:
        """A program that outlives us."""
        return {"child": subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL).pid}


def answer(commands: Commands, command: str) -> dict[str, Any]:
    try:
        told: dict[str, Any] = getattr(commands, command)()
    except EmbeddedUnavailable as error:
        return {"error": str(error)}
    return told


def main() -> None:
    commands = Commands(Path(sys.argv[1]))
    print(json.dumps({"here": os.getpid()}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(commands, line.strip())), flush=True)


if __name__ == "__main__":
    main()
