"""What the shop sells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Product:
    """`stock` is the number of pieces at `location`; orders do not use it up, so every run finds the same."""

    sku: str
    name: str
    category: str
    stock: int
    location: str


CATALOGUE = {
    product.sku: product
    for product in (
        Product("WIDGET-001", "Premium Widget A", "widgets", 100, "WH-EAST-A1"),
        Product("WIDGET-002", "Deluxe Widget B", "widgets", 50, "WH-WEST-B2"),
        Product("GADGET-002", "Standard Gadget C", "gadgets", 200, "WH-CENTRAL-C3"),
    )
}
