"""A process that runs handlers for a worker: `python -m tasker_host.worker.child`, spoken to by its stdin and stdout.

Frames are a length of four bytes and a pickle. First the module search path; then calls, one after the other:
(key, source or None, context), where source, sent once for each key, is that of a BoundHandler. What comes back is None
when the handler begins, and then its answer, an `handlers.elsewhere.Answer`; that alone when it cannot be made.
"""

from __future__ import annotations

import io
import os
import pickle
import select
import struct
import sys
from typing import IO, Any

from tasker_host.handlers.elsewhere import bound_from, made, sendable
from tasker_host.hooks.bound import BoundHandler

_LENGTH = struct.Struct(">I")


def write_frame(stream: IO[bytes], value: Any) -> None:
    data = pickle.dumps(value)
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def read_frame(stream: IO[bytes]) -> Any:
    """Raises EOFError at the end of the stream."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return pickle.loads(data)  # noqa: S301 - from the other end of our own pipe


def end_with(pipe: int) -> None:
    """Ends this process group when the other end of `pipe` closes, also in the middle of a handler.

    By a signal whose default is to end the process: no thread of ours would get its turn while a handler holds the
    interpreter.
    """
    import fcntl

    os.set_inheritable(pipe, False)
    fcntl.fcntl(pipe, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([pipe], [], [], 0)[0]:
        sys.exit(0)  # it closed before we listened


def main() -> None:
    if len(sys.argv) > 1:
        end_with(int(sys.argv[1]))
    requests = sys.stdin.buffer
    answers = io.FileIO(os.dup(sys.stdout.fileno()), "wb")
    # What a handler prints must not get between the answers.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.path[:] = read_frame(requests)
    handlers: dict[Any, BoundHandler] = {}
    while True:
        try:
            key, source, context = read_frame(requests)
        except EOFError:
            return
        try:
            if source is not None:
                handlers[key] = bound_from(source, *key)
            handler = handlers[key]
        except Exception as error:
            why = f"handler {key[0]!r} cannot be made here: {type(error).__name__}: {error}"
            write_frame(answers, ("raised", RuntimeError(why)))
            continue
        write_frame(answers, None)
        write_frame(answers, sendable(handler, made(handler.call, context)))


if __name__ == "__main__":
    main()
