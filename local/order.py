"""The example order of `docs/order.json`, also with other lines."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ORDER: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "docs" / "order.json").read_text(encoding="utf-8")
)

_PRICES = {"MUG-01": 12_000, "TEAPOT-02": 48_000, "TRAY-03": 21_000, "LAMP-04": 96_000}


def order_of(quantities: Mapping[str, int]) -> dict[str, Any]:
    """Return the example order with these quantities by SKU."""
    lines = [
        {"sku": sku, "name": sku.title(), "quantity": quantity, "unitPrice": _PRICES[sku]}
        for sku, quantity in quantities.items()
    ]
    return ORDER | {"orderLines": lines}
