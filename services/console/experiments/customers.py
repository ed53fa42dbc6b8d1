"""Customers: place and pay demo orders over REST, and read their state."""

import asyncio
import random
from typing import Any

from shared.runtime.service_client import ServiceClient

ARTICLE = "DEMO-MUG"
_STOCK = 100_000
_MAX_CONCURRENCY = 10

_ORDER: dict[str, Any] = {
    "buyer": {"name": "Demo customer", "phoneNumber": "010-0000-0000"},
    "deliveryAddress": {
        "receiver": "Demo customer",
        "phoneNumber": "010-0000-0000",
        "postalCode": "06236",
        "street": "12 Teheran-ro",
        "city": "Seoul",
    },
}


class Customers:
    """Client of the Order and SCM services. All methods raise ServiceUnavailable and RequestRejected."""

    def __init__(self, order: ServiceClient, scm: ServiceClient) -> None:
        self._order = order
        self._scm = scm

    async def stock(self, authorization: str) -> None:
        """Put the demo article into stock, with the operator's authorization."""
        operated = self._scm.with_headers({"authorization": authorization})
        await operated.send("PUT", f"/back-office/stock/{ARTICLE}", {"onHand": _STOCK})

    async def listening(self, queue: str, change: str, authorization: str) -> None:
        """Change SCM's listener of a queue: `change` is pause or resume."""
        operated = self._scm.with_headers({"authorization": authorization})
        await operated.send("POST", f"/listeners/{queue}/{change}")

    async def buy(self) -> str:
        """Place and pay an order; return its id."""
        line = {"sku": ARTICLE, "name": "Demo mug", "quantity": random.randint(1, 3), "unitPrice": 12_000}  # noqa: S311
        placed = await self._order.send("POST", "/orders", {**_ORDER, "orderLines": [line]})
        await self._order.send("POST", f"/orders/{placed['id']}/complete")
        return str(placed["id"])

    async def buy_many(self, count: int) -> list[str]:
        """Place and pay `count` orders, some of them concurrently; return their ids."""
        customers = asyncio.Semaphore(_MAX_CONCURRENCY)

        async def one() -> str:
            async with customers:
                return await self.buy()

        try:
            async with asyncio.TaskGroup() as group:
                orders = [group.create_task(one()) for _ in range(count)]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [order.result() for order in orders]

    async def is_prepared(self, order_id: str) -> bool:
        """Return True when the order has received its invoice."""
        order = await self._order.get(f"/orders/{order_id}")
        return order["invoiceId"] is not None

    async def invoices(self, order_id: str) -> int:
        return len(await self._scm.get("/external-api/invoices", {"orderId": order_id}))

    async def duplicates(self, order_id: str) -> int:
        """Return the number of duplicate deliveries that both services absorbed."""
        events = [await side.get(f"/orders/{order_id}/events") for side in (self._order, self._scm)]
        return sum(message["duplicates"] for side in events for message in side["received"])
