"""The body of an answer, as it arrives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx

_SAID = ("http_version", "reason_phrase")
"""What httpx knows of an answer beside its head."""


class Body:
    """The body of an answer, unpacked; `check` is told its size so far, also while nothing can be unpacked yet."""

    def __init__(self, check: Callable[[int], None]) -> None:
        self._check = check
        self._pieces: list[bytes] = []
        self._size = 0

    def arrives(self) -> None:
        self._check(self._size)

    def add(self, piece: bytes) -> None:
        self._size += len(piece)
        self._check(self._size)
        self._pieces.append(piece)

    def of(self, response: httpx.Response) -> httpx.Response:
        """The same answer with its body, which is not packed any more."""
        headers = response.headers.copy()
        headers.pop("content-encoding", None)
        whole = httpx.Response(
            response.status_code,
            headers=headers,
            content=b"".join(self._pieces),
            request=response.request,
            extensions={name: response.extensions[name] for name in _SAID if name in response.extensions},
            history=response.history,
        )
        whole.elapsed = response.elapsed
        return whole


class Arriving(httpx.SyncByteStream, httpx.AsyncByteStream):
    """An answer as it arrives; `arrives` is called at each piece."""

    def __init__(self, inner: Any, arrives: Callable[[], None]) -> None:
        self._inner = inner
        self._arrives = arrives

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._inner:
            self._arrives()
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._inner:
            self._arrives()
            yield piece

    def close(self) -> None:
        self._inner.close()

    async def aclose(self) -> None:
        await self._inner.aclose()
