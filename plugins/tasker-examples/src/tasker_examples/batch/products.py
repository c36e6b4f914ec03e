"""The product file: which rows there are, and what they come to."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

from tasker_host import PermanentError, RetryableError

from tasker_examples.errors import InvalidInputError
from tasker_examples.settings import ExamplesSettings

Row = Mapping[str, str]


def product_file(given: object, settings: ExamplesSettings) -> Path | None:
    """The file that a task names, within the folder that the settings allow; None when it is not there.

    Raises InvalidInputError: a request must not be able to name any file of the machine.
    """
    if not isinstance(given, str) or not given:
        raise InvalidInputError("csv_file_path is missing", error_code="MISSING_CSV_FILE_PATH")
    folder = (settings.csv_folder or Path(str(files("tasker_examples") / "data"))).resolve()
    found = (folder / given).resolve()
    if not found.is_relative_to(folder):
        raise InvalidInputError(f"csv_file_path leads out of {folder}", error_code="FILE_NOT_ALLOWED")
    return found if found.is_file() else None


def count_rows(file: Path) -> int:
    """Rows below the header. Raises RetryableError when the file cannot be read."""
    return sum(1 for _ in _rows(file))


def rows_between(file: Path, start: int, end: int) -> list[Row]:
    """Rows `start` (the first is 0) up to `end`, which is not part of it. Raises as `count_rows`."""
    return list(islice(_rows(file), start, end))


def summary(rows: Iterable[Row]) -> dict[str, Any]:
    """What rows come to, to the cent."""
    value, rating, count = Decimal(0), Decimal(0), 0
    categories: Counter[str] = Counter()
    dearest, dearest_product = Decimal(0), ""
    for row in rows:
        price = Decimal(row["price"])
        value += price * int(row["stock"])
        rating += Decimal(row["rating"])
        categories[row["category"]] += 1
        count += 1
        if price > dearest:
            dearest, dearest_product = price, row["title"]
    return {
        "processed_count": count,
        "total_inventory_value": float(value),
        "category_counts": dict(sorted(categories.items())),
        "max_price": float(dearest),
        "max_price_product": dearest_product,
        "average_rating": float(rating / count) if count else 0.0,
    }


def together(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Summaries of parts of a file as one; the rating is weighted by rows."""
    parts = [part for part in parts if part["processed_count"]]
    count = sum(part["processed_count"] for part in parts)
    categories: Counter[str] = Counter()
    for part in parts:
        categories.update(part["category_counts"])
    dearest: Mapping[str, Any] = max(parts, key=lambda part: part["max_price"], default={})
    rating = sum(Decimal(str(part["average_rating"])) * part["processed_count"] for part in parts)
    return {
        "total_processed": count,
        "total_inventory_value": float(sum(Decimal(str(part["total_inventory_value"])) for part in parts)),
        "category_counts": dict(sorted(categories.items())),
        "max_price": dearest.get("max_price", 0.0),
        "max_price_product": dearest.get("max_price_product", ""),
        "overall_average_rating": round(float(rating / count), 4) if count else 0.0,
    }


def _rows(file: Path) -> Iterator[Row]:
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            yield from csv.DictReader(lines, strict=True)
    except OSError as error:
        raise RetryableError(f"{file.name} cannot be read: {error.strerror}", error_code="FILE_ERROR") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise PermanentError(f"{file.name} is not a CSV file: {error}", error_code="FILE_NOT_CSV") from error
