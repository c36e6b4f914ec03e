"""How the example steps fail, where the host's own two errors say too little."""

from __future__ import annotations

from tasker_host import PermanentError, RetryableError


class InvalidInputError(PermanentError):
    """The task was given what no step can work with, and will have it on every attempt."""

    error_type = "validation_error"


class MissingResultError(RetryableError):
    """An earlier step left nothing to work with."""

    error_type = "dependency_error"
