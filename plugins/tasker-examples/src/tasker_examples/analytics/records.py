"""What the three systems of the example company hold; it is the same on every day."""

from __future__ import annotations

from typing import Any

SALES: list[dict[str, Any]] = [
    {"sale_id": "S-1", "product_id": "P-1", "customer_id": "C-1", "quantity": 10, "amount": 999.90},
    {"sale_id": "S-2", "product_id": "P-2", "customer_id": "C-2", "quantity": 5, "amount": 499.95},
    {"sale_id": "S-3", "product_id": "P-1", "customer_id": "C-3", "quantity": 8, "amount": 799.92},
    {"sale_id": "S-4", "product_id": "P-3", "customer_id": "C-1", "quantity": 3, "amount": 299.97},
    {"sale_id": "S-5", "product_id": "P-2", "customer_id": "C-4", "quantity": 6, "amount": 599.99},
]

INVENTORY: list[dict[str, Any]] = [
    {"product_id": "P-1", "warehouse": "east", "on_hand": 150, "reorder_point": 50},
    {"product_id": "P-1", "warehouse": "west", "on_hand": 100, "reorder_point": 40},
    {"product_id": "P-2", "warehouse": "east", "on_hand": 200, "reorder_point": 75},
    {"product_id": "P-3", "warehouse": "west", "on_hand": 125, "reorder_point": 25},
]

CUSTOMERS: list[dict[str, Any]] = [
    {"customer_id": "C-1", "tier": "gold", "lifetime_value": 15_000.0},
    {"customer_id": "C-2", "tier": "silver", "lifetime_value": 6_000.0},
    {"customer_id": "C-3", "tier": "silver", "lifetime_value": 5_000.0},
    {"customer_id": "C-4", "tier": "standard", "lifetime_value": 3_000.0},
    {"customer_id": "C-5", "tier": "standard", "lifetime_value": 1_500.0},
]
