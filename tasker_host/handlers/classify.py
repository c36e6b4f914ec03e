"""What an exception means for its step: whether it is tried again, and how the failure is told."""

from __future__ import annotations

import math
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import ValidationError

from tasker_host.domain.backoff import parse_retry_after
from tasker_host.domain.faults import path_text
from tasker_host.domain.result import Failed
from tasker_host.domain.text import storable
from tasker_host.errors import HandlerError
from tasker_host.hooks.bound import BoundHandler
from tasker_host.hooks.records import Classifier

_PERMANENT = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    IndexError,
    AssertionError,
    SyntaxError,
    NameError,
    ImportError,
    NotImplementedError,
)
"""Mistakes in a program or in its input: the next attempt would make the same."""

_RETRYABLE = (ConnectionError, OSError)

MOST_FRAMES = 20
MOST_TRACEBACK_BYTES = 4096
MOST_MESSAGE = 2_000

_PACKAGE = Path(__file__).parents[1]
_CALLERS = (str(_PACKAGE / "handlers"), str(_PACKAGE / "worker"))


def failed(error: BaseException, handler: BoundHandler, classifiers: Sequence[Classifier]) -> Failed:
    """The failure that an exception of `handler` is.

    In this order: what a HandlerError says of itself; `retry_on` of the handler; the classifier of the most specific
    type (among equals the first); an attribute `retryable`; the kind of Python's own exception; else it is tried again.
    """
    if isinstance(error, BaseExceptionGroup):
        return _of_group(error, handler, classifiers)
    if isinstance(error, HandlerError):
        return _as_said(error)
    classifier = _classifier(error, classifiers)
    delay_seconds = None
    if isinstance(error, handler.retry_on):
        error_type, retryable = _type_of(error, default="retryable_error"), True
    elif classifier is not None:
        retryable = classifier.retryable
        delay_seconds = classifier.delay_seconds
        error_type = _type_of(error, default="retryable_error" if retryable else "permanent_error")
    else:
        error_type, retryable = _by_kind(error)
    metadata = {"exception_type": type(error).__qualname__, "traceback": _traceback(error)}
    return Failed(_message(error), error_type, retryable, asked_seconds(delay_seconds), None, metadata)


def _of_group(group: BaseExceptionGroup[Any], handler: BoundHandler, classifiers: Sequence[Classifier]) -> Failed:
    """Of a group, what forbids another attempt; else its first exception."""
    each = [failed(error, handler, classifiers) for error in group.exceptions]
    first = next((failure for failure in each if not failure.retryable), each[0])
    if len(each) == 1:
        return first
    message = f"{first.message} (and {len(each) - 1} more)"
    return Failed(
        message, first.error_type, first.retryable, first.retry_after_seconds, first.error_code, first.metadata
    )


def _as_said(error: HandlerError) -> Failed:
    retryable = bool(error.retryable)
    # Attributes that a subclass did not set, because it has an __init__ of its own, are read as unset.
    metadata: dict[str, Any] = {"exception_type": type(error).__qualname__}
    given = getattr(error, "metadata", None)
    metadata |= given if isinstance(given, Mapping) else {}
    if error.__cause__ is not None:
        metadata.setdefault("traceback", _traceback(error))
    error_type = getattr(error, "error_type", None)
    if not isinstance(error_type, str):
        error_type = "handler_error" if type(error) is HandlerError else f"{_word(retryable)}_error"
    code = getattr(error, "error_code", None)
    return Failed(
        _message(error),
        error_type,
        retryable,
        asked_seconds(getattr(error, "retry_after", None)),
        None if code is None else str(code),
        metadata,
    )


def _word(retryable: bool) -> str:
    return "retryable" if retryable else "permanent"


def _classifier(error: BaseException, classifiers: Sequence[Classifier]) -> Classifier | None:
    fitting = [classifier for classifier in classifiers if isinstance(error, classifier.error_type)]
    order = type(error).__mro__
    return min(fitting, key=lambda classifier: order.index(classifier.error_type), default=None)


def _by_kind(error: BaseException) -> tuple[str, bool]:
    said = getattr(error, "retryable", None)
    if isinstance(said, bool):
        return _type_of(error, default=f"{_word(said)}_error"), said
    if isinstance(error, _PERMANENT):
        return _type_of(error, default="permanent_error"), False
    if isinstance(error, _RETRYABLE):
        return _type_of(error, default="retryable_error"), True
    return "handler_error", True


def _type_of(error: BaseException, *, default: str) -> str:
    match error:
        case ValidationError():
            return "validation_error"
        case TimeoutError():
            return "timeout"
    return default


def asked_seconds(value: Any) -> float | None:
    """A wait that can be kept: seconds, a timedelta, or the text of a Retry-After header; None for what is none."""
    match value:
        case timedelta():
            value = value.total_seconds()
        case str():
            value = parse_retry_after(value, datetime.now(UTC))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        seconds = float(value)
    except OverflowError:  # an integer that no float can be
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


# Words ----------------------------------------------------------------------------------------------------------------


def _message(error: BaseException) -> str:
    try:
        text = _told(error)
    except Exception:  # a plugin's own __str__
        text = f"{type(error).__qualname__} (which cannot be shown)"
    text = storable(text)
    return text if len(text) <= MOST_MESSAGE else f"{text[: MOST_MESSAGE - 1]}…"


def _told(error: BaseException) -> str:
    match error:
        case ValidationError():
            found = [f"{path_text(item['loc'])}: {item['msg']}".removeprefix(": ") for item in error.errors()]
            return f"{error.title}: {'; '.join(found)}"
        case KeyError() if type(error) is KeyError and error.args:
            return f"key {error.args[0]!r} not found"
        case SystemExit():
            return f"the handler called sys.exit({'' if error.code is None else repr(error.code)})"
    return str(error) or type(error).__qualname__


def _traceback(error: BaseException) -> str:
    """The end of the traceback, from where the plugin's code begins."""
    told = traceback.TracebackException(
        type(error), error, _from_plugin(error.__traceback__), limit=-MOST_FRAMES, compact=True
    )
    try:
        text = storable("".join(told.format()).rstrip())
    except Exception:  # a plugin's own __str__
        return ""
    encoded = text.encode()
    if len(encoded) > MOST_TRACEBACK_BYTES:
        text = "…" + encoded[-MOST_TRACEBACK_BYTES + 3 :].decode(errors="ignore")
    return text


def _from_plugin(found: TracebackType | None) -> TracebackType | None:
    """The traceback without our own frames at its beginning, and whatever is between them."""
    start = frame = found
    while frame is not None:
        if frame.tb_frame.f_code.co_filename.startswith(_CALLERS) and frame.tb_next is not None:
            start = frame.tb_next
        frame = frame.tb_next
    return start
