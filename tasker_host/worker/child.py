"""A process that runs handlers for a worker: `python -m tasker_host.worker.child`, spoken to by its stdin and stdout.

Frames are a length of four bytes and a pickle. First the module search path; then calls, one after the other:
(key, source or None, context), where source, sent once for each key, is what `handlers.bound.bind` is given. The answer
is ("value", value), ("raised", exception) or, when that cannot be pickled, ("failed", Failed).
"""

from __future__ import annotations

import asyncio
import inspect
import io
import os
import pickle
import struct
import sys
from typing import IO, Any

from tasker_host.handlers.bound import bind
from tasker_host.handlers.classify import failed
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


def main() -> None:
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
        write_frame(answers, _answer(handlers, key, source, context))


def _answer(handlers: dict[Any, BoundHandler], key: Any, source: bytes | None, context: Any) -> tuple[str, Any]:
    handler: BoundHandler | None = None
    try:
        if source is not None:
            handlers[key] = _bound(source, key)
        handler = handlers[key]
        value = handler.call(context)
        if inspect.isawaitable(value):
            value = asyncio.run(_awaited(value))
        return _picklable("value", value)
    except BaseException as error:
        try:
            return _picklable("raised", error)
        except Exception:
            if handler is None:
                raise
            return "failed", failed(error, handler, ())


async def _awaited(value: Any) -> Any:
    return await value


def _bound(source: bytes, key: Any) -> BoundHandler:
    given, plugin, settings = pickle.loads(source)  # noqa: S301 - from our own worker
    name, method = key
    (handler,) = [bound for bound in bind(given, plugin=plugin, settings=settings) if bound.name == name]
    return handler.for_method(method)


def _picklable(kind: str, value: Any) -> tuple[str, Any]:
    pickle.loads(pickle.dumps(value))  # noqa: S301 - an exception may be written and yet not be read again
    return kind, value


if __name__ == "__main__":
    main()
