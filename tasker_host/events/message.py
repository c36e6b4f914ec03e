"""The texts that messages of events are put together from."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tasker_host.domain.json import dumps
from tasker_host.domain.text import json_has_nul, said, storable

METADATA = frozenset(
    {
        "task_uuid", "step_uuid", "step_name", "namespace", "correlation_id", "parent_correlation_id",
        "traceparent", "attempt", "outcome", "fired_at", "fired_by",
    }
)  # fmt: skip
"""What the host itself says in the metadata of an event; a publisher cannot change it."""


class PublisherError(Exception):
    """The event cannot be published; the text says why."""


def rfc3339(moment: datetime, precision: str) -> str:
    """A moment of UTC as text."""
    return moment.replace(tzinfo=None).isoformat(timespec=precision) + "Z"


HEX2 = [f"{number:02x}" for number in range(0x100)]
HEX3 = [f"{number:03x}" for number in range(0x1000)]
"""Looked up, where putting a number into a format would take five times as long."""


class Clock:
    """The time and the ids of events, as text, from one look at the clock for many of them."""

    __slots__ = ("_millisecond", "_number", "_prefix", "text")

    def __init__(self) -> None:
        self._millisecond = -1
        self._number = random.getrandbits(12)
        self._prefix = ""
        self.text = ""
        """When it was looked at last, in RFC 3339."""

    def look(self) -> None:
        """What is made from here on is of this moment."""
        millisecond, rest = divmod(time.time_ns(), 1_000_000)
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            self.text = rfc3339(datetime.fromtimestamp(millisecond / 1000, UTC), "milliseconds")
        time_part = f"{millisecond >> 16:08x}-{millisecond & 0xFFFF:04x}"
        self._prefix = f"{time_part}-7{HEX3[rest * 512 // 125_000]}-8"

    def event_id(self, step_uuid: str) -> str:
        """A new uuid7; those of one step are in the order in which they are made.

        After the time to 4096ths of a millisecond come a number that grows with each event, which tells those of this
        process apart, and the end of the step's uuid, which tells them from those of others: an id is no secret.
        """
        self._number = number = (self._number + 1) & 0xFFF
        if number == 0:
            # What starts again from 0 must be of a later time.
            before = self._prefix
            while self._prefix == before:
                self.look()
        return f"{self._prefix}{HEX3[number]}-{step_uuid[24:]}"


def more_members(more: Mapping[str, Any]) -> str:
    """Additional metadata as further members of a JSON object; the host's own names are left out."""
    own = {key: value for key, value in more.items() if key not in METADATA}
    return f",{dumps(own)[1:-1]}" if own else ""


def check_size(message: str, most: int) -> None:
    """Raises PublisherError for a message of more than so many bytes."""
    # At most four bytes a character: small messages need not be encoded to be measured.
    if len(message) * 4 > most and (size := len(message.encode())) > most:
        raise PublisherError(
            f"the message would have {size} bytes; the limit is {most} (events.message_max_bytes): publish a reference"
            " instead"
        )


def check_storable(message: str) -> None:
    """Raises PublisherError for what PostgreSQL's jsonb, of which queue messages are made, cannot hold."""
    if json_has_nul(message):
        raise PublisherError("the payload has the character U+0000, which a message of a queue cannot hold")


def error_text(error: BaseException) -> str:
    """`ValueError: no gateway`; of a PublisherError what it says."""
    kind = type(error).__qualname__
    text = storable(said(error))  # it is kept in the database too
    if isinstance(error, PublisherError):
        return text
    return f"{kind}: {text}" if text else kind
