"""Customers: demo orders, placed and paid over REST like anybody's, and what became of them."""

import asyncio
import random
from typing import Any

import httpx

ARTICLE = "DEMO-MUG"
_STOCK = 100_000
_AT_ONCE = 10

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


class ServiceFailed(Exception):
    """A service did not do what the laboratory asked of it. The message says which, and its answer."""


class Customers:
    """Places orders at the Order service, and asks both sides about them. All raise ServiceFailed."""

    def __init__(self, http: httpx.AsyncClient, order_url: str, scm_url: str) -> None:
        self._http = http
        self._order = order_url.rstrip("/")
        self._scm = scm_url.rstrip("/")

    async def stock(self, authorization: str) -> None:
        """Puts enough of the demo article into stock, in the name of the operator who asks for orders."""
        await self._ask(
            "PUT",
            f"{self._scm}/back-office/stock/{ARTICLE}",
            json={"onHand": _STOCK},
            headers={"authorization": authorization},
        )

    async def listening(self, queue: str, change: str, authorization: str) -> None:
        """`change` is pause or resume: whether SCM takes messages from the queue."""
        url = f"{self._scm}/listeners/{queue}/{change}"
        await self._ask("POST", url, headers={"authorization": authorization})

    async def buy(self) -> str:
        """Places an order and pays it; returns its id."""
        line = {"sku": ARTICLE, "name": "Demo mug", "quantity": random.randint(1, 3), "unitPrice": 12_000}  # noqa: S311
        placed = await self._ask("POST", f"{self._order}/orders", json={**_ORDER, "orderLines": [line]})
        await self._ask("POST", f"{self._order}/orders/{placed['id']}/complete")
        return str(placed["id"])

    async def buy_many(self, count: int) -> list[str]:
        """So many orders, a few at once."""
        customers = asyncio.Semaphore(_AT_ONCE)

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
        """Whether SCM has issued its invoice, and the order knows it."""
        order = await self._ask("GET", f"{self._order}/orders/{order_id}")
        return order["invoiceId"] is not None

    async def invoices(self, order_id: str) -> int:
        return len(await self._ask("GET", f"{self._scm}/external-api/invoices", params={"orderId": order_id}))

    async def duplicates(self, order_id: str) -> int:
        """How many deliveries of the order's messages were absorbed, at both ends."""
        events = [
            await self._ask("GET", f"{url}/orders/{order_id}/events") for url in (self._order, self._scm)
        ]
        return sum(message["duplicates"] for side in events for message in side["received"])

    async def _ask(self, method: str, url: str, **request: Any) -> Any:
        try:
            answer = await self._http.request(method, url, timeout=5, **request)
        except httpx.RequestError as error:
            raise ServiceFailed(f"{url} does not answer: {type(error).__name__}") from error
        if answer.is_error:
            raise ServiceFailed(f"{method} {url} answered {answer.status_code}: {answer.text[:300]}")
        return answer.json()
