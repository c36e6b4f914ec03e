"""Input for the example templates, as it could be submitted."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def orders() -> list[dict[str, Any]]:
    """A day of orders in the sequence they were placed: contexts for `examples_orders/business_workflow`.

    Most are fine; some break the template's input schema, some fail for reasons of business (an unknown product, too
    little stock, a declined card), and some are paid through a gateway that does not answer the first time.
    """
    return _read("orders.json")


def numbers() -> list[dict[str, Any]]:
    """A request (`namespace`, `name`, `context`) for each of the number templates."""
    return _read("numbers.json")


def _read(name: str) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = json.loads(files(__name__).joinpath(name).read_text(encoding="utf-8"))
    return content
