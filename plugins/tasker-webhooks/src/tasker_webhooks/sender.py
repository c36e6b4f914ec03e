"""Sending one event to one endpoint, and what its answer means."""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import unquote, urlsplit

import httpx
from tasker_host import DomainEvent, PermanentError, RetryableError, TargetGone

from tasker_webhooks.signature import sign

MOST_ANSWER_CHARACTERS = 200
"""Of the body of an answer that are kept in an error."""

MOST_ANSWER_BYTES = 4_096
"""Of the body of an answer that are read at all."""

READ_OUT_SECONDS = 1.0
"""For what an answer says beyond its status."""

LEAST_PRIVATE = 4
"""Characters of a text that is kept out of errors; shorter ones would take away too much else."""

MOST_WAIT_SECONDS = 86_400.0
"""That a Retry-After may ask for."""


class Clients:
    """The HTTP clients of one host: each made when it is first used, all closed together."""

    def __init__(self) -> None:
        self._clients: dict[str, httpx.AsyncClient] = {}

    def client(self, name: str, *, connections: int) -> httpx.AsyncClient:
        if name not in self._clients:
            limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
            self._clients[name] = httpx.AsyncClient(follow_redirects=False, limits=limits)
        return self._clients[name]

    async def close(self) -> None:
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.aclose()


class Sender:
    """Delivers to one endpoint. `keys` sign; `headers` are added; `clock` is the time of day in seconds."""

    def __init__(
        self,
        name: str,
        url: str,
        keys: Sequence[bytes],
        clients: Clients,
        *,
        whole_event: bool = False,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float = 15,
        give_up_on: Sequence[int] = (),
        concurrency: int = 8,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._url = url
        self._keys = tuple(keys)
        self._clients = clients
        self._whole_event = whole_event
        self._headers = dict(headers or {})
        self._private = _private(url, self._headers)
        self._timeout_seconds = timeout_seconds
        self._give_up_on = frozenset(give_up_on)
        self._concurrency = concurrency
        self._clock = clock

    def __repr__(self) -> str:
        return f"Sender({self._name!r})"

    async def deliver(self, event: DomainEvent) -> None:
        """Returns when the endpoint has taken it; raises what says whether and when to try again."""
        body = body_of(event, whole=self._whole_event)
        message_id, timestamp = str(event.event_id), int(self._clock())
        headers = {
            **self._headers,
            "content-type": "application/json",
            "user-agent": f"tasker-webhooks/{_version()}",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(self._keys, message_id, timestamp, body),
        }
        client = self._clients.client(self._name, connections=self._concurrency)
        timeout = self._timeout_seconds
        try:
            async with client.stream("POST", self._url, content=body, headers=headers, timeout=timeout) as answer:
                # Whatever becomes of the rest, the status is the answer.
                said = await _beginning(answer)
                if answer.is_success:
                    return
        except httpx.TimeoutException:
            raise RetryableError(f"no answer within {timeout:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # Its text may hold the URL, which may hold a token.
            raise RetryableError(f"no answer: {type(error).__name__}: {str(error).replace(self._url, '…')}") from None
        self._judge(answer.status_code, answer.headers.get("retry-after"), said)

    def _judge(self, status: int, retry_after: str | None, said: str) -> None:
        """Raises what the answer means."""
        try:
            phrase = f"{status} {HTTPStatus(status).phrase}"
        except ValueError:
            phrase = str(status)
        # Many servers say which address they do not know.
        for text in self._private:
            said = said.replace(text, "…")
        told = f"{phrase}: {said[:MOST_ANSWER_CHARACTERS]}" if said else phrase
        if status == HTTPStatus.GONE:
            raise TargetGone(told, error_code="HTTP_410")
        if status in self._give_up_on:
            raise PermanentError(told, error_code=f"HTTP_{status}")
        wait = None if retry_after is None else asked_wait(retry_after, self._clock())
        raise RetryableError(told, error_code=f"HTTP_{status}", retry_after=wait)


def body_of(event: DomainEvent, *, whole: bool) -> bytes:
    """The body of the request: the event as it is in its queue, or as the specification recommends."""
    message = event.as_message()
    if not whole:
        message = {
            "type": event.event_name,
            "timestamp": event.metadata.get("fired_at"),
            "data": event.payload,
            "id": str(event.event_id),
            "version": event.event_version,
            "metadata": dict(event.metadata),
        }
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()


def asked_wait(header: str, now: float) -> float | None:
    """Seconds that a Retry-After asks for: a number of them, or a date; None for what is neither, 0 or in the past."""
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), MOST_WAIT_SECONDS) or None
    try:
        due = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    due = due if due.tzinfo else due.replace(tzinfo=UTC)
    wait = (due - datetime.fromtimestamp(now, UTC)).total_seconds()
    return min(wait, MOST_WAIT_SECONDS) if wait > 0 else None


async def _beginning(answer: httpx.Response) -> str:
    """What the answer says, on one line; not all of it, however much that is, and nothing where it cannot be read.

    One that was not read to its end costs its connection; one that does not end is worth no more than that.
    """
    read = b""
    with contextlib.suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(READ_OUT_SECONDS):
            async for chunk in answer.aiter_bytes():
                read += chunk
                if len(read) >= MOST_ANSWER_BYTES:
                    break
    text = read[:MOST_ANSWER_BYTES].decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _private(url: str, headers: Mapping[str, str]) -> list[str]:
    """What an answer may repeat of the request and no error is to show, the longest first."""
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    texts = {url, target, unquote(target), parts.query, parts.path, *headers.values()}
    texts |= {html.escape(text) for text in texts}
    return sorted((text for text in texts if len(text) >= LEAST_PRIVATE), key=len, reverse=True)


def _version() -> str:
    try:
        return version("tasker-webhooks")
    except PackageNotFoundError:
        return "0"
