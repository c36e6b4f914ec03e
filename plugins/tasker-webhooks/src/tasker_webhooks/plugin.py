"""What this package gives to the host: a relay for each endpoint."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from tasker_host import Relay, hookimpl

from tasker_webhooks.sender import Sender
from tasker_webhooks.settings import PREFIX, WebhooksSettings
from tasker_webhooks.signature import key


@hookimpl
def tasker_settings() -> type[WebhooksSettings]:
    return WebhooksSettings


@hookimpl
def tasker_relays(settings: WebhooksSettings) -> Iterable[Relay]:
    for name, endpoint in settings.endpoints.items():
        sender = Sender(
            name,
            endpoint.url,
            [key(secret.get_secret_value()) for secret in endpoint.secrets],
            settings.clients,
            whole_event=endpoint.body == "event",
            headers={header: value.get_secret_value() for header, value in endpoint.headers.items()},
            timeout_seconds=endpoint.timeout_seconds,
            give_up_on=endpoint.give_up_on,
            concurrency=endpoint.concurrency,
        )
        yield Relay(
            PREFIX + name,
            endpoint.events,
            sender.deliver,
            ordered_by=endpoint.ordered_by,
            namespaces=endpoint.namespaces,
            concurrency=endpoint.concurrency,
            timeout_seconds=endpoint.timeout_seconds + 1,
            max_attempts=endpoint.max_attempts,
            retry_base_seconds=endpoint.retry_base_seconds,
            retry_max_seconds=endpoint.retry_max_seconds,
        )


@hookimpl
@asynccontextmanager
async def tasker_lifespan(settings: WebhooksSettings) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await settings.clients.close()
