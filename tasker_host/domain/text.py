"""Text that PostgreSQL can keep: it holds neither the character U+0000 nor lone surrogates."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

NO_NUL = "must not contain the character U+0000"

_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""U+0000 as JSON writes it, which is not what follows a backslash that stands for itself."""


def storable(text: str) -> str:
    """The text, with what cannot be kept written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def said(error: BaseException) -> str:
    """What an error says; plugins' own may fail at that."""
    try:
        return str(error)
    except Exception:
        return "(which cannot be shown)"


def without_nul(text: str) -> str:
    """The same text. Raises ValueError where it has U+0000."""
    if "\0" in text:
        raise ValueError(NO_NUL)
    return text


StorableText = Annotated[str, AfterValidator(without_nul)]


def json_has_nul(text: str) -> bool:
    """Whether any string or key of this JSON text has U+0000."""
    return "\\u0000" in text and _ESCAPED_NUL.search(text) is not None
