"""Signatures as the Standard Webhooks specification has them: HMAC-SHA256 over `{id}.{timestamp}.{body}`, in base64.

`sign` is what this plugin does, `verify` what a receiver does.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Iterable, Mapping

PREFIX = "whsec_"
VERSION = "v1"
LEAST_BYTES, MOST_BYTES = 24, 64
"""Of a secret, as the specification asks for."""

TOLERANCE_SECONDS = 300


class NotVerified(ValueError):
    """A message that is not from who knows the secret, or is too old."""


def key(secret: str) -> bytes:
    """The bytes of a secret such as `whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD`. Raises ValueError, without it."""
    try:
        found = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"must be base64, with {PREFIX} before it: make one by `openssl rand -base64 32`") from None
    if not LEAST_BYTES <= len(found) <= MOST_BYTES:
        raise ValueError(f"must be from {LEAST_BYTES} to {MOST_BYTES} bytes before base64 (got {len(found)})")
    return found


def sign(keys: Iterable[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature`: one for each key, so that receivers may know the old or the new one while it changes."""
    content = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(one, content, hashlib.sha256) for one in keys)
    return " ".join(f"{VERSION},{base64.b64encode(digest).decode()}" for digest in digests)


def verify(
    secret: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    tolerance_seconds: float = TOLERANCE_SECONDS,
    now: float | None = None,
) -> str:
    """The id of a message that was signed with `secret`, of whatever age its delivery is within the tolerance.

    `headers` are found whatever their case; `body` are the bytes as they came. Raises NotVerified.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, stamp, given = (lower[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
        timestamp = int(stamp)
    except (KeyError, ValueError):
        raise NotVerified("webhook-id, webhook-timestamp and webhook-signature are needed") from None
    if abs((time.time() if now is None else now) - timestamp) > tolerance_seconds:
        raise NotVerified("the message is too old, or from the future")
    expected = sign([key(secret)], message_id, timestamp, body).encode()
    if not any(hmac.compare_digest(expected, one.encode()) for one in given.split(" ")):
        raise NotVerified("no signature is one of this secret")
    return message_id
