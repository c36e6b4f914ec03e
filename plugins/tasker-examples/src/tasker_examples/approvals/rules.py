"""Who must approve an amount."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tasker_examples.errors import InvalidInputError

SMALL, LARGE = 1_000, 5_000
"""Below the first nobody is asked, from the second on finance looks too."""


def checked(amount: object, requester: object, purpose: object) -> dict[str, Any]:
    """The request, if it can be decided on. Raises InvalidInputError."""
    if amount is None:
        raise InvalidInputError("amount is missing", error_code="MISSING_AMOUNT")
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not math.isfinite(amount) or amount <= 0:
        raise InvalidInputError(f"amount must be a number above 0, got: {amount!r}", error_code="INVALID_AMOUNT")
    for name, text in (("requester", requester), ("purpose", purpose)):
        if text is None:
            raise InvalidInputError(f"{name} is missing", error_code=f"MISSING_{name.upper()}")
        if not isinstance(text, str) or not text.strip():
            raise InvalidInputError(f"{name} is empty", error_code=f"EMPTY_{name.upper()}")
    return {"amount": amount, "requester": requester, "purpose": purpose, "validated": True}


def path_of(amount: float) -> str:
    """`auto`, `manager` or `dual`."""
    if amount < SMALL:
        return "auto"
    return "manager" if amount < LARGE else "dual"


def steps_of(path: str) -> list[str]:
    return {
        "auto": ["auto_approve"],
        "manager": ["manager_approval"],
        "dual": ["manager_approval", "finance_review"],
    }[path]


def together(approvals: list[Mapping[str, Any]]) -> dict[str, Any]:
    """What the approvals that were asked for come to."""
    everyone = all(approval["approved"] for approval in approvals)
    return {
        "final_status": "approved" if everyone else "rejected",
        "approval_count": len(approvals),
        "all_approved": everyone,
    }
