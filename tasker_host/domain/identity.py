"""When two submissions mean the same task."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol, assert_never

from tasker_host.domain.json import canonical_json
from tasker_host.domain.template import IdentityStrategy
from tasker_host.errors import InvalidRequest, Problem

__all__ = ["canonical_json", "identity_key"]


class Identified(Protocol):
    """What of a template takes part in the identity of its tasks."""

    @property
    def namespace_name(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def identity_strategy(self) -> IdentityStrategy: ...


def identity_key(
    template: Identified, context: Mapping[str, Any], idempotency_key: str | None = None
) -> str | None:  # fmt: skip
    """What is unique among tasks: a SHA-256 in hex, or None when every submission is a task of its own.

    A key given by the caller counts instead of the context, whatever the template's strategy. Raises InvalidRequest
    when the strategy demands a key and there is none.
    """
    if idempotency_key is not None:
        return _digest(template, "key", idempotency_key)
    match template.identity_strategy:
        case IdentityStrategy.STRICT:
            return _digest(template, "context", context)
        case IdentityStrategy.CALLER_PROVIDED:
            raise InvalidRequest(
                f"{template.namespace_name}/{template.name} {template.version} needs an idempotency_key",
                [Problem("idempotency_key", "is required: the template's identity_strategy is caller_provided")],
            )
        case IdentityStrategy.ALWAYS_UNIQUE:
            return None
        case strategy:
            assert_never(strategy)


def _digest(template: Identified, kind: str, value: Any) -> str:
    # One JSON array rather than joined strings: no value can pass for a part of another.
    identity = [template.namespace_name, template.name, template.version, kind, value]
    return hashlib.sha256(canonical_json(identity).encode()).hexdigest()
