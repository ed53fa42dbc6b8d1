"""SCM with a fake Order service and order events on the topic. Without an adapter: SCM's events stay in its
event log, where REST shows them."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from snsqs import Message, SnsChannel, Topology, aws_clients
from snsqs.headers import ID, SEQUENCE, SUBJECT, TYPE
from snsqs.postgres import Database

from local.order import ORDER
from local.ports import HOST
from services.scm.order_lock import lock_order
from tests.serving import OPERATOR, Served, eventually, scm_service, serving

QUEUE = "scm-adapter-order-event-queue"

ADDRESS: dict[str, Any] = ORDER["deliveryAddress"]
ELSEWHERE = ADDRESS | {"street": "99 Gangnam-daero"}

NOON = 1626523200000
"""2021-07-17, 12:00 UTC, in milliseconds since the epoch."""


class OrderService:
    """Fake Order service: addresses by order id, at version 2 unless set, with the lines of the first event
    that is sent about the order. Records the ids requested; can be unavailable, or delay its responses until
    `may_respond` is set."""

    def __init__(self) -> None:
        self.is_unavailable = False
        self.may_respond = asyncio.Event()
        self.may_respond.set()
        self.addresses: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, int] = {}
        self.lines: dict[str, list[dict[str, Any]]] = {}
        self.unpaid: set[str] = set()
        self.requests: list[str] = []
        self.app = FastAPI()
        self.app.add_api_route("/orders/{order_id}", self.read)

    async def read(self, order_id: str) -> Response:
        self.requests.append(order_id)
        await self.may_respond.wait()
        if self.is_unavailable:
            return Response(status_code=503)
        if order_id not in self.addresses:
            return JSONResponse({"detail": "unknown order"}, 404)
        version, address = self.versions.get(order_id, 2), self.addresses[order_id]
        return JSONResponse(
            {
                "id": order_id,
                "version": version,
                "deliveryAddress": address,
                "orderLines": self.lines.get(order_id, []),
                "completedAt": None if order_id in self.unpaid else "2021-07-17T12:00:00Z",
            }
        )


@dataclass(frozen=True)
class Scm:
    """The SCM service, its topic and the fake Order service."""

    served: Served
    orders: OrderService
    topic: SnsChannel

    @property
    def database(self) -> Database:
        return self.served.database

    async def stock(self, **on_hand: int) -> None:
        for sku, count in on_hand.items():
            await self.put(f"/back-office/stock/{sku}", onHand=count)

    async def send(self, *messages: Message[str]) -> None:
        """Publish the messages without waiting."""
        for message in messages:
            self.orders.lines.setdefault(message.subject, json.loads(message.payload)["source"]["orderLines"])
        await self.topic.send(messages)

    async def deliver(self, *messages: Message[str]) -> None:
        """Publish the messages one by one, each after the one before is handled."""
        for message in messages:
            await self.send(message)
            await self.wait_until_handled(message)

    async def wait_until_handled(self, message: Message[str], queue: str = QUEUE) -> dict[str, Any]:
        """Wait until the message is handled or superseded. Return its inbox record."""

        async def record() -> dict[str, Any] | None:
            """SCM has handled the message."""
            received = (await self.get(f"/orders/{message.subject}/events"))["received"]
            records = {(each["consumer"], each["messageId"]): each for each in received}
            return records.get((queue, message.id))

        return await eventually(record)

    async def invoiced_order(self, **lines: int) -> str:
        """Deliver a completed order that gets its invoice. Return the order's id."""
        order_id = self.new_order(ADDRESS)
        await self.stock(**(lines or {"mug": 1_000}))
        await self.deliver(completed(order_id, **lines))
        assert await self.status(order_id) == "INVOICED"
        return order_id

    def new_order(self, address: dict[str, Any]) -> str:
        """Add an order to the fake Order service. Return its id."""
        order_id = datetime.now(UTC).strftime("%Y%m%d%H%M%S%f")
        self.orders.addresses[order_id] = address
        return order_id

    async def status(self, order_id: str) -> str:
        status: str = (await self.get(f"/orders/{order_id}"))["status"]
        return status

    async def invoices(self, order_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.get("/external-api/invoices", orderId=order_id)
        return found

    async def live_invoice(self, order_id: str) -> dict[str, Any]:
        """Return the invoice that is not void."""
        [live] = [each for each in await self.invoices(order_id) if each["status"] != "VOID"]
        return live

    async def report(self, invoice_id: str, step: str) -> httpx.Response:
        """Send a carrier's report: `dispatched` or `delivered`."""
        return await self.served.http.post(f"/external-api/invoices/{invoice_id}/{step}", headers=OPERATOR)

    async def published(self, order_id: str) -> list[str]:
        """Return the types of SCM's events about the order."""
        return [each["type"] for each in (await self.get(f"/orders/{order_id}/events"))["published"]]

    async def get(self, path: str, **params: str) -> Any:
        return (await self.served.http.get(path, params=params)).raise_for_status().json()

    async def put(self, path: str, **body: object) -> Any:
        return (await self.served.http.put(path, json=body, headers=OPERATOR)).raise_for_status().json()


def completed(order_id: str, version: int = 2, at: int = NOON, **lines: int) -> Message[str]:
    return order_event("OrderCompleted", order_id, version, "COMPLETED", lines, at)


def address_changed(order_id: str, version: int = 3, **lines: int) -> Message[str]:
    return order_event("DeliveryAddressChanged", order_id, version, "COMPLETED", lines)


def cancelled(order_id: str, version: int = 4, **lines: int) -> Message[str]:
    return order_event("OrderCancelled", order_id, version, "CANCELLING", lines)


def order_event(
    event_type: str, order_id: str, version: int, status: str, lines: dict[str, int], at: int = NOON
) -> Message[str]:
    """Message as the adapter publishes it; for one mug without `lines`."""
    order_lines = [{"sku": sku, "quantity": quantity} for sku, quantity in (lines or {"mug": 1}).items()]
    source = {"id": order_id, "version": version, "status": status, "orderLines": order_lines}
    headers = {ID: str(uuid.uuid4()), TYPE: event_type, SUBJECT: order_id, SEQUENCE: str(version)}
    return Message(json.dumps({"source": source, "occurenceOn": at}), headers)


@asynccontextmanager
async def supply_chain(database_url: str, aws_url: str) -> AsyncIterator[Scm]:
    """Run SCM with a fake Order service."""
    orders = OrderService()
    async with (
        serving(orders.app) as order,
        scm_service(database_url, aws_url, f"http://{HOST}:1", order.url) as served,
        aws_clients(region="us-east-1", endpoint_url=aws_url) as clients,
    ):
        yield Scm(served, orders, SnsChannel(clients.sns, Topology(clients, create=True), "order-events"))


@asynccontextmanager
async def order_locked(
    database: Database, order_id: str
) -> AsyncIterator[Callable[[int], Coroutine[Any, Any, None]]]:
    """Hold the order lock until the body ends. Yield a function that waits until so many transactions wait
    for it."""

    async def wait_for_waiters(count: int) -> None:
        async def are_waiting() -> bool:
            """So many transactions wait for the order lock."""
            async with database.connection() as connection:
                locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                return bool(await connection.fetchval(locks) == count)

        await eventually(are_waiting)

    async with database.transaction() as tx:
        await lock_order(tx, order_id)
        yield wait_for_waiters
