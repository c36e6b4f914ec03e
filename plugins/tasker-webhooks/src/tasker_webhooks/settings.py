"""`[plugins.webhooks.settings]`."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, field_validator

from tasker_webhooks.sender import Clients
from tasker_webhooks.signature import key

PREFIX = "webhook_"
"""Before the name of an endpoint, in that of its relay."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,27}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OWN_HEADERS = ("webhook-", "content-", "host", "transfer-encoding", "connection")


def _secret(value: SecretStr) -> SecretStr:
    key(value.get_secret_value())
    return value


Secret = Annotated[SecretStr, AfterValidator(_secret)]


class Endpoint(BaseModel):
    """One `[plugins.webhooks.settings.endpoints.<name>]`: where events are sent to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(description="Where to: http:// or https://.", repr=False)
    secrets: Annotated[tuple[Secret, ...], Field(min_length=1, max_length=5)] = Field(
        description="Each message is signed with all of them: the new and the old one, while they change."
    )
    events: tuple[str, ...] = Field(
        default=("**",), min_length=1, description="Patterns of names: payment.*, order.**."
    )
    namespaces: tuple[str, ...] = Field(default=(), description="Only events of tasks of these; empty: of all.")
    ordered_by: str | None = Field(default=None, description="Where in an event its key is, to keep that in order.")
    body: Literal["standard", "event"] = Field(
        default="standard", description="standard: type, timestamp, data; event: as it is in the queue."
    )
    headers: dict[str, SecretStr] = Field(default_factory=dict, description="More headers, by name.")
    timeout_seconds: float = Field(default=15, gt=0, le=3_600, description="How long an answer may take.")
    give_up_on: tuple[Annotated[int, Field(ge=400, le=499)], ...] = Field(
        default=(), description="Answers after which an event is not tried again, such as 400 and 422."
    )
    concurrency: int = Field(default=8, ge=1, le=1_000, description="Requests under way at the same time.")
    max_attempts: int | None = Field(default=None, ge=1, le=1_000, description="None: as events.relays says.")
    retry_base_seconds: float | None = Field(default=None, ge=0, le=86_400, description="None: as events.relays says.")
    retry_max_seconds: float | None = Field(default=None, ge=0, le=604_800, description="None: as events.relays says.")

    @field_validator("url")
    @classmethod
    def _absolute(cls, value: str) -> str:
        # What is refused is not quoted: it may hold a token.
        try:
            parts = urlsplit(value)
            whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            whole = False
        if not whole or any(ord(character) <= 32 for character in value):
            raise ValueError("must be a whole URL that begins with https:// or http://")
        return value

    @field_validator("headers")
    @classmethod
    def _sendable(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, text in value.items():
            if not _HEADER.fullmatch(name) or name.lower().startswith(_OWN_HEADERS):
                raise ValueError(f"'{name}' is no header that can be set")
            if not text.get_secret_value().isprintable() or not text.get_secret_value().isascii():
                raise ValueError(f"'{name}' must be printable ASCII")
        return value


class WebhooksSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoints: dict[str, Endpoint] = Field(default_factory=dict, description="By name: of a-z, 0-9 and _.")

    _clients: Clients = PrivateAttr(default_factory=Clients)

    @property
    def clients(self) -> Clients:
        """The HTTP clients of the host that has these settings."""
        return self._clients

    @field_validator("endpoints")
    @classmethod
    def _named(cls, value: dict[str, Endpoint]) -> dict[str, Endpoint]:
        for name in value:
            if not _NAME.fullmatch(name):
                raise ValueError(f"'{name}' is no name of an endpoint: from 1 to 28 characters of a-z, 0-9 and _")
        return value
