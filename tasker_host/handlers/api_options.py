"""How a handler asks another system, and on whose behalf."""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from uuid import uuid5

import httpx

from tasker_host.domain.context import StepContext
from tasker_host.domain.json import canonical_json
from tasker_host.handlers.api_response import ApiResponse

RESPONSE_MAX_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiOptions:
    """How a handler asks. `timeout_seconds` is for connecting, and for the whole answer; None: no limit.

    After `breaker_failures` requests in a row to one host that failed (no answer, or 5xx) nothing is sent there for
    `breaker_open_seconds`; 0: it is always tried. `client` are further arguments of `httpx.Client`, like `auth`.
    """

    base_url: str = ""
    timeout_seconds: float | None = 30.0
    headers: Mapping[str, str] = field(default_factory=dict)
    breaker_failures: int = 5
    breaker_open_seconds: float = 30.0
    response_max_bytes: int = RESPONSE_MAX_BYTES
    client: Mapping[str, Any] = field(default_factory=dict)


def base_url_problem(base_url: Any) -> str:
    """What is wrong with it; empty when nothing is, or when there is none."""
    if not isinstance(base_url, str):
        return f"base_url must be text (got {base_url!r})"
    if base_url and not base_url.lower().startswith(("http://", "https://")):
        return f"base_url must begin with http:// or https:// (got {base_url!r})"
    return ""


class Attempt:
    """Which step asks: its headers, the same in every attempt where they must be."""

    def __init__(self, context: StepContext, *, is_async: bool = False) -> None:
        self.is_async = is_async
        self._context = context
        self._asked: Counter[str] = Counter()
        self._unanswered: dict[tuple[str, bytes], list[int]] = {}
        self._mutex = threading.Lock()

    @contextmanager
    def asking(self, request: httpx.Request) -> Iterator[Callable[[ApiResponse], None]]:
        """Around one request, which gets its headers; what is yielded is told the answer.

        `Idempotency-Key` is the same in every attempt of the step, and another for each request that one attempt makes:
        the n-th of the same method and url. One that is repeated because it was not answered, or refused for now, is
        the same request. After a checkpoint the requests are others.
        """
        where = f"{request.method} {request.url}"
        again = _repeatable(where, request)
        with self._mutex:
            if again is not None and (earlier := self._unanswered.get(again)):
                number = earlier.pop(0)
            else:
                self._asked[where] += 1
                number = self._asked[where]
        for name, value in self._headers(f"{where}\n{number}").items():
            request.headers.setdefault(name, value)
        is_settled = False

        def told(response: ApiResponse) -> None:
            nonlocal is_settled
            is_settled = not response.is_retryable

        try:
            yield told
        finally:
            if not is_settled and again is not None:
                with self._mutex:
                    self._unanswered.setdefault(again, []).append(number)

    def _headers(self, request: str) -> dict[str, str]:
        cursor = canonical_json(self._context.checkpoint_cursor)
        correlation_id = self._context.correlation_id
        return {
            "idempotency-key": str(uuid5(self._context.step_uuid, f"{cursor}\n{request}")),
            "traceparent": f"00-{correlation_id.hex}-{secrets.token_hex(8)}-01",
            "x-correlation-id": str(correlation_id),
        }


def _repeatable(where: str, request: httpx.Request) -> tuple[str, bytes] | None:
    """By what the same request is known; None when its body is only read while it is sent."""
    try:
        return where, sha256(request.content).digest()
    except httpx.RequestNotRead:
        return None
