"""What is not shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, SecretBytes, SecretStr

from tasker_host.config.resolve import type_at
from tasker_host.domain.faults import Path

MASK = "•••"

_NAME = re.compile(r"password|passwd|passphrase|secret|token|api_?key|private_?key|credential")
# A password may hold what a URL should not: as long as an @ follows, rather too much is masked than too little.
_IN_URL = re.compile(r"(?P<before>[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#@:]*:)(?:[^\s?#]*|\S*)(?=@)")
_IN_QUERY = re.compile(r"(?P<before>[?&\s](?:\w*password|\w*secret|\w*token|\w*api_?key)=)[^&\s'\"#]+", re.IGNORECASE)


def is_secret(path: Path, models: Mapping[str, type[BaseModel]]) -> bool:
    """Whether the whole value at `path` is a secret: by its name, or because the plugin's model says so.

    A name counts inside a plugin's settings only as a part of their keys, so a plugin may be called `token-bucket`.
    """
    is_plugins = path[:1] == ("plugins",) and len(path) > 1
    names = path[2:] if is_plugins else path
    if any(isinstance(part, str) and _NAME.search(part.lower().replace("-", "_")) for part in names):
        return True
    model = models.get(str(path[1])) if is_plugins and path[2:3] == ("settings",) else None
    return model is not None and any(
        _is_secret_type(type_at(model, path[3:length])) for length in range(4, len(path) + 1)
    )


def without_passwords(text: str) -> str:
    """The text with the passwords of its URLs masked; hosts and names stay readable."""
    return _IN_QUERY.sub(rf"\g<before>{MASK}", _IN_URL.sub(rf"\g<before>{MASK}", text))


def shown(value: Any, path: Path, models: Mapping[str, type[BaseModel]]) -> Any:
    """The value at `path` as it may be shown: secrets in it as •••, but nothing in place of an empty one."""
    match value:
        case dict():
            return {key: shown(item, (*path, key), models) for key, item in value.items()}
        case list() | tuple():
            return [shown(item, (*path, index), models) for index, item in enumerate(value)]
        case str() if not value:
            return value
        case _ if is_secret(path, models):
            return MASK
        case str():
            return without_passwords(value)
        case _:
            return value


def _is_secret_type(kind: Any) -> bool:
    options = getattr(kind, "__args__", (kind,))
    return any(isinstance(option, type) and issubclass(option, SecretStr | SecretBytes) for option in options)
