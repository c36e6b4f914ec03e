"""A pipeline: three sources read at the same time, each transformed on its own, brought together and judged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Annotated, Any

from tasker_host import From, step_handler, workflow

from tasker_examples.analytics.records import CUSTOMERS, INVENTORY, SALES
from tasker_examples.clock import now

Mapped = Mapping[str, Any]
Record = dict[str, Any]


@step_handler("examples.analytics.extract_sales_data")
def extract_sales_data() -> Record:
    return _extracted("sales", SALES)


@step_handler("examples.analytics.extract_inventory_data")
def extract_inventory_data() -> Record:
    return _extracted("inventory", INVENTORY)


@step_handler("examples.analytics.extract_customer_data")
def extract_customer_data() -> Record:
    return _extracted("customers", CUSTOMERS)


@step_handler("examples.analytics.transform_sales")
def transform_sales(sales: Annotated[Mapped, From("extract_sales_data")]) -> Record:
    by_product: dict[str, Decimal] = defaultdict(Decimal)
    for sale in sales["records"]:
        by_product[sale["product_id"]] += _exact(sale["amount"])
    return {
        "revenue_by_product": {product: float(value) for product, value in sorted(by_product.items())},
        "total_revenue": float(sum(by_product.values())),
        "units_sold": sum(sale["quantity"] for sale in sales["records"]),
        "transactions": len(sales["records"]),
    }


@step_handler("examples.analytics.transform_inventory")
def transform_inventory(inventory: Annotated[Mapped, From("extract_inventory_data")]) -> Record:
    records = inventory["records"]
    return {
        "quantity_on_hand": sum(record["on_hand"] for record in records),
        "warehouses": sorted({record["warehouse"] for record in records}),
        "reorder_alerts": sum(record["on_hand"] <= record["reorder_point"] for record in records),
    }


@step_handler("examples.analytics.transform_customers")
def transform_customers(customers: Annotated[Mapped, From("extract_customer_data")]) -> Record:
    records = customers["records"]
    values = _sum(record["lifetime_value"] for record in records)
    return {
        "customers": len(records),
        "total_lifetime_value": float(values),
        "average_lifetime_value": float(values / len(records)),
        "tiers": {tier: sum(r["tier"] == tier for r in records) for tier in ("gold", "silver", "standard")},
    }


@step_handler("examples.analytics.aggregate_metrics")
def aggregate_metrics(
    sales: Annotated[Mapped, From("transform_sales")],
    inventory: Annotated[Mapped, From("transform_inventory")],
    customers: Annotated[Mapped, From("transform_customers")],
) -> Record:
    revenue = _exact(sales["total_revenue"])
    return {
        "total_revenue": sales["total_revenue"],
        "total_inventory_quantity": inventory["quantity_on_hand"],
        "total_customers": customers["customers"],
        "total_customer_lifetime_value": customers["total_lifetime_value"],
        "average_customer_lifetime_value": customers["average_lifetime_value"],
        "sales_transactions": sales["transactions"],
        "inventory_reorder_alerts": inventory["reorder_alerts"],
        "revenue_per_customer": float(round(revenue / customers["customers"], 2)),
        "inventory_turnover_indicator": float(round(revenue / inventory["quantity_on_hand"], 4)),
    }


@step_handler("examples.analytics.generate_insights")
def generate_insights(metrics: Annotated[Mapped, From("aggregate_metrics")]) -> Record:
    revenue, alerts = metrics["revenue_per_customer"], metrics["inventory_reorder_alerts"]
    value = metrics["average_customer_lifetime_value"]
    score = (40 if revenue > 500 else 0) + (0 if alerts else 30) + (30 if value > 3000 else 0)
    rating = next((word for least, word in ((80, "Excellent"), (60, "Good"), (40, "Fair")) if score >= least), "Poor")
    return {
        "insights": [
            {
                "about": "revenue",
                "finding": f"${revenue:.2f} for each customer",
                "advice": "Keep the best sellers in stock",
            },
            {
                "about": "inventory",
                "finding": f"{alerts} products are to be ordered again" if alerts else "nothing is to be ordered again",
                "advice": "Order again" if alerts else "Leave it as it is",
            },
            {
                "about": "customers",
                "finding": f"an average lifetime value of ${value:.2f}",
                "advice": "Focus on retention programs" if value > 3000 else "Find out why customers leave",
            },
        ],
        "health_score": {"score": score, "max_score": 100, "rating": rating},
        "generated_at": now().isoformat(),
    }


def _extracted(source: str, records: list[Record]) -> Record:
    return {"source": source, "records": records, "total": len(records), "extracted_at": now().isoformat()}


def _exact(amount: float) -> Decimal:
    return Decimal(str(amount))


def _sum(amounts: Iterable[float]) -> Decimal:
    return sum((_exact(amount) for amount in amounts), Decimal(0))


_EXTRACT = {"max_attempts": 3, "backoff": "exponential", "backoff_base_ms": 2000, "max_backoff_ms": 30000}
_TRANSFORM = {"max_attempts": 2}

ANALYTICS = (
    workflow(
        "examples_analytics/analytics_pipeline",
        description="Sales, stock and customers are read at the same time, transformed, brought together and judged",
        metadata={"author": "tasker-examples", "tags": ["pipeline", "tree", "code"]},
        input_schema={"type": "object"},
        identity_strategy="always_unique",
    )
    .step(extract_sales_data, retry=_EXTRACT, timeout_seconds=30)
    .step(extract_inventory_data, retry=_EXTRACT, timeout_seconds=30)
    .step(extract_customer_data, retry=_EXTRACT, timeout_seconds=30)
    .step(transform_sales, retry=_TRANSFORM, timeout_seconds=30)
    .step(transform_inventory, retry=_TRANSFORM, timeout_seconds=30)
    .step(transform_customers, retry=_TRANSFORM, timeout_seconds=30)
    .step(aggregate_metrics, retry=_TRANSFORM, timeout_seconds=30)
    .step(generate_insights, retry=_TRANSFORM, timeout_seconds=30)
)
