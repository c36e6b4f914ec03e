"""Dollars: exact decimals while we calculate, JSON numbers at the edges."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

CENT = Decimal("0.01")


def dollars(number: float) -> Decimal:
    """The amount that a JSON number writes out: 29.99 is 29.99, not the nearest binary fraction."""
    return Decimal(str(number))


def rounded(amount: Decimal) -> Decimal:
    """To whole cents, half a cent up."""
    return amount.quantize(CENT, ROUND_HALF_UP)
