"""Did you mean …?"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'charge'?` when a known word is close to `word`, else an empty string: to end a message with."""
    names = {name.lower(): name for name in known}
    matches = get_close_matches(word.lower(), names, n=1)
    return f"; did you mean '{names[matches[0]]}'?" if matches else ""
